#include "EfficientSchedule.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace attnjit::tile {

static constexpr int64_t kCacheLineBytes = 64;

//===------------------------------------------------------------------------------------------------------------------===//
// Shape
//===------------------------------------------------------------------------------------------------------------------===//

EfficientShape::EfficientShape(const TileProgram &program, const CpuTarget &target)
    : lanes(target.vectorBits / program.computeType.getIntOrFloatBitWidth()), rowTile(target.vectorBits / 128), keyTile(lanes / rowTile),
      valueVectors(4) {}

/// Packed rows of a tile: K and V are streamed once per tile. More would only grow the workspace: 64 rows are bound by arithmetic on any
/// machine.
static constexpr int64_t kTileRows = 64;
/// Keys per block: enough to spread the work per block and row, few enough that two blocks of K and V stay in the second-level cache.
static constexpr int64_t kBlockKeys = 128;

TileSizes chooseEfficientTile(int64_t headDim, int64_t valueDim, const CpuTarget &) {
  return {kTileRows, headDim + valueDim > 512 ? kBlockKeys / 2 : kBlockKeys};
}

std::optional<std::string> efficientRefusal(const TileProgram &program, const CpuTarget &target) {
  if (!program.isSplit)
    return program.isTwoPass ? "prob_mod is not proportional to p, so it takes two passes over the keys; this schedule has one"
                             : "it computes parts of the keys, the program does not cut them (tile.split)";
  if (target.vectorBits != 256 && target.vectorBits != 512)
    return "it is written for vectors of 256 or 512 bits, the target has " + std::to_string(target.vectorBits);
  return std::nullopt;
}

LogicalResult lowerEfficient(const TileProgram &program, const CpuTarget &target) {
  if (std::optional<std::string> reason = efficientRefusal(program, target))
    return program.kernel->emitError() << "EFFICIENT_ATTENTION cannot be used: " << *reason;
  if (failed(verifyFormulas(program)))
    return failure();
  OpBuilder builder(program.kernel->getContext());
  EfficientKernel(builder, program, target).emitFunction();
  program.kernel->erase();
  return success();
}

EfficientKernel::EfficientKernel(OpBuilder &builder, const TileProgram &program, const CpuTarget &target)
    : builder(builder), program(program), emit(builder, program.kernel->getLoc()), compute(program.computeType), shape(program, target),
      d{program.headDim, shape.lanes, program.contiguous && program.headDim >= shape.lanes},
      dv{program.valueDim, shape.lanes, program.contiguous && program.valueDim >= shape.lanes},
      pitch(llvm::alignTo(program.tileCols, shape.lanes)), maxRows(llvm::alignTo(program.tileRows, shape.rowTile)), layout(layOut()),
      scoresAreLog2(!program.score) {}

EfficientWorkspace EfficientKernel::layOut() const {
  int64_t end = 0;
  auto place = [&](int64_t rows, int64_t columns) {
    int64_t offset = end;
    end += llvm::alignTo(rows * columns * elementBytes(), kCacheLineBytes);
    return offset;
  };
  EfficientWorkspace layout;
  layout.queries = place(maxRows, d.padded());
  layout.scores = place(maxRows, pitch);
  layout.output = place(maxRows, dv.padded());
  layout.sums = place(maxRows, shape.lanes);
  layout.maxima = place(maxRows, 1);
  layout.factors = place(maxRows, 1);
  layout.keys = place(d.inPlace ? 0 : program.tileCols, d.padded());
  layout.values = place(dv.inPlace ? 0 : program.tileCols, dv.padded());
  layout.keyPointers = place(program.paged ? pointerSlots() : 0, kPointerBytes / elementBytes());
  layout.valuePointers = place(program.paged ? pointerSlots() : 0, kPointerBytes / elementBytes());
  layout.bytes = end;
  return layout;
}

//===------------------------------------------------------------------------------------------------------------------===//
// Units
//===------------------------------------------------------------------------------------------------------------------===//

void EfficientKernel::emitFunction() {
  KernelFunction kernel = createKernelFunction(builder, program);
  kernel.function->setAttr("attnjit.workspace_bytes", builder.getI64IntegerAttr(layout.bytes));
  kernel.function->setAttr("attnjit.state_row_bytes", builder.getI64IntegerAttr(stateRowElems() * elementBytes()));
  AbiAccess access(builder, emit.loc, kernel.args);
  abi = &access;
  workspace = kernel.workspace;
  if (program.score)
    score.emplace(builder, emit.loc, program, *program.score, access, shape.lanes);
  if (program.mask)
    mask.emplace(builder, emit.loc, program, *program.mask, access, shape.lanes);
  if (program.prob)
    prob.emplace(builder, emit.loc, program, *program.prob, access, shape.lanes);
  emit.loop(kernel.begin, kernel.end, emit.index(1), [&](Value unit) { emitUnit(unit); });
}

/// Divisions stand inside the loop over units: where M, Hq or Hkv is 0 there is no unit, and nothing may divide by it.
void EfficientKernel::emitUnit(Value unit) {
  tile.group = emit.make<arith::DivUIOp>(abi->queryHeads(), abi->kvHeads());
  Value rows = emit.mul(abi->queries(), tile.group);
  Value rowTiles = emit.make<arith::DivUIOp>(emit.add(rows, program.tileRows - 1), emit.index(program.tileRows));
  Value parts = abi->splitParts();
  Value tiles = emit.mul(emit.mul(abi->batch(), abi->kvHeads()), rowTiles), units = emit.mul(tiles, parts);
  auto split = [&](Value index, Value by) {
    Value quotient = emit.make<arith::DivUIOp>(index, by);
    return std::pair(quotient, emit.sub(index, emit.mul(quotient, by)));
  };
  auto part = [&] {
    auto [headPart, rowTile] = split(unit, rowTiles);
    auto [head, index] = split(headPart, parts);
    bindTile(head, rowTile);
    emitPart(index);
    emit.ifElse(emit.cmp(Emitter::CmpI::eq, parts, emit.index(1)), [&] { writeResults(); }, [&] { writeState(unit); });
  };
  auto merge = [&] {
    auto [head, rowTile] = split(emit.sub(unit, units), rowTiles);
    bindTile(head, rowTile);
    mergeStates(emit.add(emit.mul(emit.mul(head, parts), rowTiles), rowTile), rowTiles, parts);
    writeResults();
  };
  emit.ifElse(emit.cmp(Emitter::CmpI::slt, unit, units), part, merge);
}

/// The tile of kv head `head` (counted through all batches).
void EfficientKernel::bindTile(Value head, Value rowTile) {
  Value hkv = abi->kvHeads(), rows = emit.mul(abi->queries(), tile.group);
  tile.b = emit.make<arith::DivUIOp>(head, hkv);
  tile.kvHead = emit.sub(head, emit.mul(tile.b, hkv));
  tile.row0 = emit.mul(rowTile, program.tileRows);
  tile.rows = emit.minS(emit.index(program.tileRows), emit.sub(rows, tile.row0));
  factors = abi->headFactors(compute, tile.b, tile.kvHead);
}

Value EfficientKernel::operandBase(const OperandAccess &operand, Type element, Value head) {
  Value offset = emit.add(emit.mul(tile.b, operand.strides[0]), emit.mul(head, operand.strides[1]));
  return emit.at(operand.pointer, element, offset);
}

/// The state of the tile's rows over one part of the keys.
void EfficientKernel::emitPart(Value part) {
  k = KvRows(builder, emit.loc, program, *abi, Operand::K, tile.b, tile.kvHead);
  v = KvRows(builder, emit.loc, program, *abi, Operand::V, tile.b, tile.kvHead);
  if (program.paged) // slots of rows that do not exist are asked for ahead, too
    for (int64_t pointers : {layout.keyPointers, layout.valuePointers})
      emit.loop(0, pointerSlots(), 1, [&](Value slot) { emit.store(workspace, emit.at(region(pointers), emit.ptr(), slot)); });
  packQueries();

  Value keyBegin = emit.mul(part, abi->splitKeys());
  KvScope scope;
  scope.b = tile.b;
  scope.headFirst = emit.mul(tile.kvHead, tile.group);
  scope.headLast = emit.sub(emit.add(scope.headFirst, tile.group), 1);
  scope.qFirst = queryOf(emit.index(0));
  scope.qLast = queryOf(emit.sub(tile.rows, 1));
  // All queries of the launch are one tile of the plan.
  scope.planIndex = abi->planIndex(tile.b, scope.headFirst, emit.index(0));
  scope.keyBegin = keyBegin;
  scope.keyEnd = emit.minS(emit.add(keyBegin, abi->splitKeys()), abi->keys());
  forEachKvBlock(builder, emit.loc, program, *abi, scope, program.tileCols, {}, [&](const KvBlock &block, ValueRange) {
    emitBlock(block);
    return Values();
  });
}

void EfficientKernel::emitBlock(const KvBlock &block) {
  Value count = emit.sub(block.end, block.begin), zero = emit.index(0);
  EfficientRows keys = rowsOf(k, d, block, region(layout.keys), region(layout.keyPointers));
  EfficientRows values = rowsOf(v, dv, block, region(layout.values), region(layout.valuePointers));
  Value isOneRow = emit.cmp(Emitter::CmpI::eq, tile.rows, emit.index(1));
  auto overRows = [&](llvm::function_ref<void(Value row, int64_t rows)> body) {
    auto one = [&] {
      prefetchShare = nullptr; // all of it
      body(zero, 1);
    };
    auto many = [&] {
      emit.loop(zero, tile.rows, emit.index(shape.rowTile), [&](Value row) {
        sharePrefetch(row);
        body(row, shape.rowTile);
      });
    };
    emit.ifElse(isOneRow, one, many);
  };
  overRows([&](Value row, int64_t rows) { emitScores(keys, count, row, rows); });
  emitSoftmax(block, count);
  overRows([&](Value row, int64_t rows) { emitValues(values, count, row, rows); });
}

/// The rows of K or V of a block as the products read them.
EfficientRows EfficientKernel::rowsOf(const KvRows &rows, const EfficientColumns &columns, const KvBlock &block, Value copy,
                                      Value pointers) {
  if (!columns.inPlace) {
    convertRows(rows, columns, block, copy);
    return {copy, emit.index(columns.padded()), nullptr, compute, columns};
  }
  if (!rows.inPages())
    return {rows.at(block.begin), rows.stride(), nullptr, program.kvType, columns};
  Value known = emit.minS(emit.sub(abi->keys(), block.begin), emit.index(pointerSlots()));
  rows.forEachStretch(block.begin, known, [&](Value address, Value first, Value count) {
    emit.loop(emit.index(0), count, emit.index(1), [&](Value row) {
      emit.store(emit.at(address, program.kvType, emit.mul(row, rows.stride())), emit.at(pointers, emit.ptr(), emit.add(first, row)));
    });
  });
  return {nullptr, nullptr, pointers, program.kvType, columns};
}

} // namespace attnjit::tile
