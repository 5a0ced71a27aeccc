#include "FlashSchedule.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace attnjit::tile {

//===------------------------------------------------------------------------------------------------------------------===//
// Shape
//===------------------------------------------------------------------------------------------------------------------===//

/// Keys by which the key range of a panel in a partial block is trimmed.
static constexpr int64_t kKeyGranule = 16;

FlashShape::FlashShape(const CpuTarget &target) : lanes(target.vectorBits / 32) {
  if (target.registers >= 32) { // 8 x 32 on AVX-512: 16 accumulators, 2 of the panel, 1 broadcast, 2 maxima
    panelVectors = 2;
    keyTile = valueTile = 8;
    headUnroll = 2;
    softmaxRows = 2;
  } else { // 4 x 24 on AVX2: 12 accumulators, 3 of the panel, 1 broadcast
    panelVectors = 3;
    keyTile = valueTile = 4;
    headUnroll = 4;
    softmaxRows = 1;
  }
}

/// Rows of a tile: K and V are streamed once per tile, so fewer cost bandwidth (4 points of peak at 96 rows, S 16384); more leave threads idle.
static constexpr int64_t kMostTileRows = 192;
/// Q^T and O^T of a tile together should take no more than this much of the second-level cache (512 KiB on the smaller machines).
static constexpr int64_t kTileBudgetBytes = 128 << 10;
static constexpr int64_t kBlockKeys = 128;

TileSizes chooseFlashTile(int64_t headDim, int64_t valueDim, const CpuTarget &target) {
  FlashShape shape(target);
  int64_t panelBytes = shape.panelWidth() * (headDim + valueDim) * int64_t(sizeof(float));
  int64_t panels = std::clamp<int64_t>(kTileBudgetBytes / panelBytes, 1, kMostTileRows / shape.panelWidth());
  return {panels * shape.panelWidth(), kBlockKeys};
}

std::optional<std::string> flashRefusal(const TileProgram &program, const CpuTarget &target) {
  if (!program.computeType.isF32())
    return "it computes in f32, the problem asks for f64";
  if (program.isSplit)
    return "it walks all keys of a tile at once, the program cuts them into parts (tile.split)";
  if (target.vectorBits != 256 && target.vectorBits != 512)
    return "it is written for vectors of 256 or 512 bits, the target has " + std::to_string(target.vectorBits);
  return std::nullopt;
}

LogicalResult lowerFlash(const TileProgram &program, const CpuTarget &target) {
  if (std::optional<std::string> reason = flashRefusal(program, target))
    return program.kernel->emitError() << "FLASH_ATTENTION cannot be used: " << *reason;
  if (failed(verifyFormulas(program)))
    return failure();
  OpBuilder builder(program.kernel->getContext());
  FlashKernel(builder, program, target).emitFunction();
  program.kernel->erase();
  return success();
}

static FlashWorkspace layOut(const FlashShape &shape, const TileProgram &program, int64_t panels) {
  int64_t end = 0;
  auto place = [&](int64_t rows, int64_t columns) {
    int64_t offset = end;
    end += llvm::alignTo(rows * columns * int64_t(sizeof(float)), kCacheLineBytes);
    return offset;
  };
  int64_t width = shape.panelWidth(), padding = std::max(shape.keyTile, shape.softmaxRows) - 1;
  FlashWorkspace layout;
  layout.scores = place(program.tileCols + padding, width);
  layout.queries = place(panels * program.headDim, width);
  layout.output = place(panels * program.valueDim, width);
  layout.maxima = place(panels, width);
  layout.sums = place(panels, width);
  layout.lse = place(panels, width);
  layout.keys = place(program.tileCols, program.headDim);
  layout.values = place(program.tileCols, program.valueDim);
  layout.bytes = end;
  return layout;
}

//===------------------------------------------------------------------------------------------------------------------===//
// Loops
//===------------------------------------------------------------------------------------------------------------------===//

FlashKernel::FlashKernel(OpBuilder &builder, const TileProgram &program, const CpuTarget &target)
    : builder(builder), program(program), emit(builder, program.kernel->getLoc()), shape(target),
      panels(llvm::divideCeil(program.tileRows, shape.panelWidth())), layout(layOut(shape, program, panels)), scoresAreLog2(!program.score) {}

void FlashKernel::emitFunction() {
  KernelFunction kernel = createKernelFunction(builder, program);
  kernel.function->setAttr("attnjit.workspace_bytes", builder.getI64IntegerAttr(layout.bytes));
  AbiAccess access(builder, emit.loc, kernel.args);
  abi = &access;
  workspace = kernel.workspace;
  for (int64_t vector = 0; vector < shape.panelVectors; ++vector) {
    if (program.score)
      score.emplace_back(builder, emit.loc, program, *program.score, access, shape.lanes);
    if (program.mask)
      mask.emplace_back(builder, emit.loc, program, *program.mask, access, shape.lanes);
  }
  forEachTile(builder, emit.loc, access, program.tileRows, kernel.begin, kernel.end, [&](const TileCoords &coords) { emitTile(coords); });
}

Value FlashKernel::operandBase(const OperandAccess &operand, Type element, Value head) {
  Value offset = emit.add(emit.mul(tile.b, operand.strides[0]), emit.mul(head, operand.strides[1]));
  return emit.at(operand.pointer, element, offset);
}

void FlashKernel::emitTile(const TileCoords &coords) {
  tile = coords;
  k = KvRows(builder, emit.loc, program, *abi, Operand::K, tile.b, tile.kvHead);
  v = KvRows(builder, emit.loc, program, *abi, Operand::V, tile.b, tile.kvHead);
  lastRow = emit.sub(tile.rows, 1);
  panelCount = emit.make<arith::DivUIOp>(emit.add(tile.rows, shape.panelWidth() - 1), emit.index(shape.panelWidth()));
  bindHeads();
  packQueries();
  forEachKvBlock(builder, emit.loc, program, *abi, scopeOf(builder, emit.loc, *abi, tile), program.tileCols, {}, [&](const KvBlock &block, ValueRange) {
    emitBlock(block);
    return Values();
  });
  writeOutput();
}

FlashPanel FlashKernel::panelAt(Value index) {
  Value firstRow = emit.mul(index, shape.panelWidth());
  Value endRow = emit.minS(emit.add(firstRow, shape.panelWidth() - 1), lastRow);
  auto part = [&](int64_t offset, int64_t rows) { return emit.at(region(offset), emit.f32(), emit.mul(firstRow, rows)); };
  return {emit.add(tile.q0, firstRow), emit.add(tile.q0, endRow), index, part(layout.queries, program.headDim),
          part(layout.output, program.valueDim), part(layout.maxima, 1), part(layout.sums, 1), part(layout.lse, 1)};
}

void FlashKernel::emitBlock(const KvBlock &kvBlock) {
  FlashBlock block = loadBlock(kvBlock);
  emit.loop(emit.index(0), panelCount, emit.index(1), [&](Value index) {
    FlashPanel panel = panelAt(index);
    FlashKeys keys = narrowKeys(block, panel);
    if (!program.closedForm)
      return emitPanel(block, panel, keys);
    emit.ifThen(emit.cmp(Emitter::CmpI::slt, keys.begin, keys.end), [&] { emitPanel(block, panel, keys); });
  });
}

void FlashKernel::emitPanel(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys) {
  Value count = emit.sub(keys.end, keys.begin);
  Values blockMax = emitScores(block, panel, keys, /*wantMax=*/!program.score);
  if (program.score) {
    blockMax = emitMaps(block, panel, keys, count, keys.partial);
  } else if (program.mask) {
    SmallVector<Type> types(shape.panelVectors, vectorType());
    blockMax = emit.ifElse(types, keys.partial, [&] { return emitMaps(block, panel, keys, count, nullptr); }, [&] { return blockMax; });
  }
  Values rescale = emitSoftmax(panel, count, blockMax);
  emitValues(block, panel, keys, count, rescale);
}

/// The part of a partial block that the panel sees, by the closed form of the mask, in granules. What lies between two visible
/// granules is visited; begin >= end means that nothing is.
FlashKeys FlashKernel::narrowKeys(const FlashBlock &block, const FlashPanel &panel) {
  if (!program.closedForm)
    return {emit.index(0), block.count, block.partial};
  Type i64 = emit.i64(), i1 = emit.i1();
  Value no = emit.truth(false);
  Values keys = emit.ifElse(
      {i64, i64, i1}, block.partial,
      [&] {
        Values found = emit.loop(
            emit.index(0), block.count, emit.index(kKeyGranule), {block.count, emit.index(0), no, no},
            [&](Value granule, ValueRange carried) -> Values {
              Value begin = carried[0], end = carried[1], partial = carried[2], sawGap = carried[3];
              Value granuleEnd = emit.minS(emit.add(granule, kKeyGranule), block.count);
              auto [mayBeTrue, mayBeFalse] =
                  emitClassify(builder, emit.loc, program, *abi, tile.b, tile.h, panel.firstQuery, panel.lastQuery,
                               emit.add(block.begin, granule), emit.sub(emit.add(block.begin, granuleEnd), 1));
              // A gap counts only if a visible granule stands on either side of it.
              Value isOpen = emit.cmp(Emitter::CmpI::ne, end, emit.index(0));
              Value needsMask = emit.bitOr(mayBeFalse, emit.bitAnd(isOpen, sawGap));
              return {emit.select(mayBeTrue, emit.minS(begin, granule), begin), emit.select(mayBeTrue, granuleEnd, end),
                      emit.bitOr(partial, emit.bitAnd(mayBeTrue, needsMask)), emit.logicalNot(mayBeTrue)};
            });
        return Values{found[0], found[1], found[2]};
      },
      [&] { return Values{emit.index(0), block.count, no}; });
  return {keys[0], keys[1], keys[2]};
}

Emitter::Values FlashKernel::loadRow(Value address) const {
  Values row;
  for (int64_t vector = 0; vector < shape.panelVectors; ++vector)
    row.push_back(emit.load(vectorType(), emit.atBytes(address, vector * shape.lanes * sizeof(float))));
  return row;
}

void FlashKernel::storeRow(ValueRange row, Value address) const {
  for (auto [vector, value] : llvm::enumerate(row))
    emit.store(value, emit.atBytes(address, vector * shape.lanes * sizeof(float)));
}

} // namespace attnjit::tile
