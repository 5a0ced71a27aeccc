#include "FlashSchedule.h"
#include "KernelPhases.h"

#include "attnjit-mlir/Conversion/TileToVector/FormulaOps.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/MathExtras.h"

#include <numbers>

using namespace mlir;

namespace attnjit::tile {

//===------------------------------------------------------------------------------------------------------------------===//
// Shape
//===------------------------------------------------------------------------------------------------------------------===//

// In vectors a register tile is the same whatever is computed: in f64, whose vectors hold half as many, 8 x 16 and 4 x 12.
FlashShape::FlashShape(int64_t computeBits, Bf16Unit unit, const CpuTarget &target) : unit(unit), lanes(target.vectorBits / computeBits) {
  if (target.registers >= 32) { // 8 x 32 on AVX-512, 8 x 8 on NEON: 16 accumulators, 2 of the panel, 1 broadcast, 2 maxima
    panelVectors = 2;
    keyTile = valueTile = 8;
    headUnroll = 2;
    softmaxRows = 2;
  } else { // 4 x 24 on AVX2, 4 x 12 on SSE: 12 accumulators, 3 of the panel, 1 broadcast
    panelVectors = 3;
    keyTile = valueTile = 4;
    headUnroll = 4;
    softmaxRows = 1;
  }
  keyGranule = 16;
  referenceSlack = 0;
  if (unit == Bf16Unit::Tile) {
    keyGranule = kTileKeys;
    referenceSlack = 8; // P and its sums stay far below infinity, and O^T is nearly never rescaled
  }
}

/// What multiplies the operands of a program whose dtypes and sizes are these. AMX takes whole tiles only.
static Bf16Unit unitFor(bool inBf16, int64_t headDim, int64_t valueDim, int64_t tileCols, const CpuTarget &target) {
  if (!inBf16)
    return Bf16Unit::None;
  bool fillsTiles = headDim % 32 == 0 && valueDim % 16 == 0 && tileCols % kTileKeys == 0;
  // Where there is AMX, vdpbf16ps takes longer than the two FMAs that it replaces (docs/performance.md).
  return target.bf16 == Bf16Unit::Tile && !fillsTiles ? Bf16Unit::None : target.bf16;
}

static Bf16Unit unitOf(const TileProgram &program, const CpuTarget &target) {
  Bf16Unit unit = unitFor(program.qType.isBF16() && program.kvType.isBF16(), program.headDim, program.valueDim, program.tileCols, target);
  return unit == Bf16Unit::Tile && !program.contiguous ? Bf16Unit::None : unit;
}

/// Rows of a tile: K and V are streamed once per tile, so fewer cost bandwidth (4 points of peak at 96 rows, S 16384); more leave threads
/// idle.
static constexpr int64_t kMostTileRows = 192;
/// Q^T and O^T of a tile together should take no more than this much of the second-level cache (512 KiB on the smaller machines).
static constexpr int64_t kTileBudgetBytes = 128 << 10;
static constexpr int64_t kBlockKeys = 128;
/// Machines with AMX have 2 MiB of second-level cache, and packing V weighs more where the products are this fast.
static constexpr int64_t kMostAmxTileRows = 384, kAmxTileBudgetBytes = 512 << 10;

TileSizes chooseFlashTile(int64_t headDim, int64_t valueDim, int64_t computeBits, bool inBf16, const CpuTarget &target) {
  FlashShape shape(computeBits, unitFor(inBf16, headDim, valueDim, kBlockKeys, target), target);
  bool isAmx = shape.unit == Bf16Unit::Tile;
  int64_t panelBytes = shape.panelWidth() * (headDim / shape.stepElems() + valueDim) * computeBits / 8;
  int64_t budget = isAmx ? kAmxTileBudgetBytes : kTileBudgetBytes, most = isAmx ? kMostAmxTileRows : kMostTileRows;
  int64_t panels = std::clamp<int64_t>(budget / panelBytes, 1, most / shape.panelWidth());
  return {panels * shape.panelWidth(), kBlockKeys};
}

std::optional<std::string> flashRefusal(const TileProgram &program, const CpuTarget &target) {
  if (program.isSplit)
    return "it walks all keys of a tile at once, the program cuts them into parts (tile.split)";
  return std::nullopt;
}

LogicalResult lowerFlash(const TileProgram &program, const CpuTarget &target, bool inPhases) {
  if (std::optional<std::string> reason = flashRefusal(program, target))
    return program.kernel->emitError() << "FLASH_ATTENTION cannot be used: " << *reason;
  if (failed(verifyFormulas(program)))
    return failure();
  divideOnceForTanh(program);
  OpBuilder builder(program.kernel->getContext());
  auto function = cast<func::FuncOp>(FlashKernel(builder, program, target).emitFunction());
  inPhases ? outlinePhases(function) : inlinePhases(function);
  program.kernel->erase();
  return success();
}

static FlashWorkspace layOut(const FlashShape &shape, const TileProgram &program, int64_t steps, int64_t panels) {
  int64_t end = 0;
  auto place = [&](int64_t rows, int64_t columns) {
    int64_t offset = end;
    end += llvm::alignTo(rows * columns * program.computeType.getIntOrFloatBitWidth() / 8, kCacheLineBytes);
    return offset;
  };
  int64_t width = shape.panelWidth(), padding = std::max(shape.keyTile, shape.softmaxRows) - 1;
  FlashWorkspace layout;
  layout.scores = place(program.tileCols + padding, width);
  layout.queries = place(panels * steps, width);
  layout.output = place(panels * program.valueDim, width);
  layout.maxima = place(panels, width);
  layout.references = shape.referenceSlack > 0 ? place(panels, width) : layout.maxima; // else they are the same
  layout.sums = place(panels, width);
  layout.lse = place(panels, width);
  layout.keys = place(program.tileCols, steps);
  layout.values = place(llvm::divideCeil(program.tileCols, shape.stepElems()), program.valueDim);
  layout.tileConfig = place(shape.unit == Bf16Unit::Tile ? 1 : 0, kTileWords);
  layout.bytes = end;
  return layout;
}

//===------------------------------------------------------------------------------------------------------------------===//
// Loops
//===------------------------------------------------------------------------------------------------------------------===//

FlashKernel::FlashKernel(OpBuilder &builder, const TileProgram &program, const CpuTarget &target)
    : builder(builder), program(program), emit(builder, program.kernel->getLoc()), compute(program.computeType),
      shape(compute.getIntOrFloatBitWidth(), unitOf(program, target), target), steps(llvm::divideCeil(program.headDim, shape.stepElems())),
      panels(llvm::divideCeil(program.tileRows, shape.panelWidth())), layout(layOut(shape, program, steps, panels)),
      functions(AbiAccess::functionsOf(target)), softmax(builder, emit.loc) {}

Operation *FlashKernel::emitFunction() {
  KernelFunction kernel = createKernelFunction(builder, program);
  AbiAccess access(builder, emit.loc, kernel.args, functions);
  abi = &access;
  workspace = kernel.workspace;
  for (ExtraDot &dot : findExtraDots(program)) {
    FlashDot &made = dots.emplace_back(builder, program, access, shape, std::move(dot));
    made.queries = reserve(panels * kMostDotLength * rowBytes());
    made.keys = reserve(program.tileCols * kMostDotLength * elementBytes());
    made.scores = reserve((program.tileCols + shape.keyTile - 1) * rowBytes());
  }
  findTablesAndBias();
  if (program.mask)
    visibleRows = reserve(program.tileCols * visibleRowBytes());
  kernel.function->setAttr("attnjit.workspace_bytes", builder.getI64IntegerAttr(layout.bytes));
  if (shape.unit == Bf16Unit::Tile)
    configureTiles();
  auto tiles = [&](bool withDots) { emitTiles(kernel.begin, kernel.end, withDots); };
  if (dots.empty())
    tiles(false);
  else
    emit.ifElse(bindDotLengths(), [&] { tiles(true); }, [&] { tiles(false); });
  if (shape.unit == Bf16Unit::Tile)
    releaseTiles();
  return kernel.function;
}

int64_t FlashKernel::reserve(int64_t bytes) { return std::exchange(layout.bytes, layout.bytes + llvm::alignTo(bytes, kCacheLineBytes)); }

void FlashKernel::emitTiles(Value begin, Value end, bool withDots) {
  usesDots = withDots;
  hasScoreMap = program.score && bias.empty() && !(withDots && dots.size() == 1 && dots.front().dot.isWholeMap);
  softmax.scoresAreLog2 = !hasScoreMap && bias.empty(); // a bias times log2 e would be rounded once more
  scoresAreRaw = shape.takesWords() && softmax.scoresAreLog2 && !addedDot();
  for (std::deque<MapExpander> *expanders : {&score, &mask, &prob})
    expanders->clear();
  for (int64_t vector = 0; vector < shape.panelVectors; ++vector) {
    if (hasScoreMap)
      score.emplace_back(builder, emit.loc, program, *program.score, *abi, shape.lanes);
    for (FlashDot &dot : dots)
      if (hasScoreMap && withDots)
        score.back().takeGiven(dot.dot.sum);
    if (hasScoreMap)
      scoreTables = giveTables(score.back());
    if (program.mask)
      mask.emplace_back(builder, emit.loc, program, *program.mask, *abi, shape.lanes);
    if (program.prob)
      prob.emplace_back(builder, emit.loc, program, *program.prob, *abi, shape.lanes);
  }
  forEachTile(builder, emit.loc, *abi, program.tileRows, begin, end, [&](const TileCoords &coords) { emitTile(coords); });
}

Value FlashKernel::operandBase(const OperandAccess &operand, Type element, Value head) {
  Value offset = emit.add(emit.mul(tile.b, operand.strides[0]), emit.mul(head, operand.strides[1]));
  return emit.at(operand.pointer, element, offset);
}

void FlashKernel::emitTile(const TileCoords &coords) {
  tile = coords;
  k = KvRows(builder, emit.loc, program, *abi, Operand::K, tile.b, tile.kvHead);
  v = KvRows(builder, emit.loc, program, *abi, Operand::V, tile.b, tile.kvHead);
  factors = abi->headFactors(compute, tile.b, tile.kvHead);
  scoreFactor = softmax.scoresAreLog2 ? emit.mulF(factors.score, emit.constFloat(compute, std::numbers::log2e)) : factors.score;
  if (scoresAreRaw)
    bindPositiveFactor();
  lastRow = emit.sub(tile.rows, 1);
  panelCount = emit.make<arith::DivUIOp>(emit.add(tile.rows, shape.panelWidth() - 1), emit.index(shape.panelWidth()));
  bindHeads();
  emit.phase("pack", [&] { packQueries(); });
  auto finish = [&] { forEachPanel([&](const FlashPanel &panel) { emit.phase("finish", [&] { emitFinish(panel); }); }); };
  if (program.isTwoPass) {
    walkKeys(Pass::State);
    finish();
    walkKeys(Pass::Output);
  } else {
    walkKeys(Pass::Whole);
    finish();
  }
  emit.phase("write", [&] { writeOutput(); });
}

void FlashKernel::walkKeys(Pass pass) {
  forEachKvBlock(builder, emit.loc, program, *abi, scopeOf(builder, emit.loc, *abi, tile), program.tileCols, {},
                 [&](const KvBlock &block, ValueRange) {
                   emitBlock(pass, block);
                   return Values();
                 });
}

void FlashKernel::forEachPanel(llvm::function_ref<void(const FlashPanel &)> body) {
  emit.loop(emit.index(0), panelCount, emit.index(1), [&](Value index) { body(panelAt(index)); });
}

FlashPanel FlashKernel::panelAt(Value index) {
  Value firstRow = emit.mul(index, shape.panelWidth());
  Value endRow = emit.minS(emit.add(firstRow, shape.panelWidth() - 1), lastRow);
  auto part = [&](int64_t offset, int64_t rows) { return emit.at(region(offset), compute, emit.mul(firstRow, rows)); };
  return {emit.add(tile.q0, firstRow),
          emit.add(tile.q0, endRow),
          index,
          part(layout.queries, steps),
          part(layout.output, program.valueDim),
          part(layout.maxima, 1),
          part(layout.references, 1),
          part(layout.sums, 1),
          part(layout.lse, 1)};
}

void FlashKernel::emitBlock(Pass pass, const KvBlock &kvBlock) {
  FlashBlock block = loadBlock(pass, kvBlock);
  if (usesDots)
    for (FlashDot &dot : dots)
      dot.packKeys(block.begin, block.count, region(dot.keys));
  forEachPanel([&](const FlashPanel &panel) {
    FlashKeys keys = narrowKeys(block, panel);
    if (!program.mask)
      return emitPanel(pass, block, panel, keys);
    emit.ifThen(emit.cmp(Emitter::CmpI::slt, keys.begin, keys.end), [&] { emitPanel(pass, block, panel, keys); });
  });
}

void FlashKernel::emitPanel(Pass pass, const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys) {
  Value count = emit.sub(keys.end, keys.begin);
  bool isAmx = shape.unit == Bf16Unit::Tile;
  if (hasScoreMap || !bias.empty())
    fillTables(block, panel, keys, count);
  bindBiasQueries(panel);
  if (isAmx && addedDot())
    emitDotScores(*addedDot(), panel, keys);
  SmallVector<Type> rowTypes(shape.panelVectors, vectorType());
  bool givesMax = !hasScoreMap && (isAmx || pass != Pass::Output);
  Values blockMax = emit.phase("scores", givesMax ? TypeRange(rowTypes) : TypeRange(),
                               [&] { return isAmx ? emitScoreTiles(block, panel, keys) : emitScores(block, panel, keys, givesMax); });
  auto maps = [&](Value partial) { return emit.phase("maps", rowTypes, [&] { return emitMaps(block, panel, keys, count, partial); }); };
  if (hasScoreMap) {
    if (usesDots)
      for (const FlashDot &dot : dots)
        emitDotScores(dot, panel, keys);
    blockMax = maps(keys.partial);
  } else if (program.mask && pass == Pass::Output) { // only the state asks for maxima
    emit.ifThen(keys.partial, [&] { maps(nullptr); });
  } else if (program.mask) {
    blockMax = emit.ifElse(rowTypes, keys.partial, [&] { return maps(nullptr); }, [&] { return blockMax; });
  }
  Values rescale(shape.panelVectors, splatF(1.0));
  if (pass == Pass::Output)
    emit.phase("normalised", [&] { emitNormalised(block, panel, keys, count); });
  else
    rescale = emit.phase("softmax", rowTypes, [&] { return emitSoftmax(pass, block, panel, keys, count, blockMax); });
  if (pass == Pass::State)
    return;
  emit.phase("values",
             [&] { isAmx ? emitValueTiles(block, panel, keys, count, rescale) : emitValues(block, panel, keys, count, rescale); });
}

Emitter::Values FlashKernel::loadRow(Value address) const {
  Values row;
  for (int64_t vector = 0; vector < shape.panelVectors; ++vector)
    row.push_back(emit.load(vectorType(), emit.atBytes(address, vector * shape.lanes * elementBytes())));
  return row;
}

void FlashKernel::storeRow(ValueRange row, Value address) const {
  for (auto [vector, value] : llvm::enumerate(row))
    emit.store(value, emit.atBytes(address, vector * shape.lanes * elementBytes()));
}

} // namespace attnjit::tile
