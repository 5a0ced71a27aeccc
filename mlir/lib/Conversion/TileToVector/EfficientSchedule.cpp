#include "EfficientSchedule.h"

#include "attnjit-mlir/Conversion/TileToVector/FormulaOps.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace attnjit::tile {

//===------------------------------------------------------------------------------------------------------------------===//
// Shape
//===------------------------------------------------------------------------------------------------------------------===//

EfficientShape::EfficientShape(const TileProgram &program, const CpuTarget &target)
    : lanes(target.vectorBits / program.computeType.getIntOrFloatBitWidth()), parts(target.vectorBits / 128), keyTile(lanes / parts),
      rowTile(target.registers / 8), valueVectors(4), wideKeys(target.registers / 2) {}

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
    return "it computes parts of the keys, the program does not cut them (tile.split)";
  return std::nullopt;
}

LogicalResult lowerEfficient(const TileProgram &program, const CpuTarget &target) {
  if (std::optional<std::string> reason = efficientRefusal(program, target))
    return program.kernel->emitError() << "EFFICIENT_ATTENTION cannot be used: " << *reason;
  if (failed(verifyFormulas(program)))
    return failure();
  divideOnceForTanh(program);
  OpBuilder builder(program.kernel->getContext());
  EfficientKernel(builder, program, target).emitFunction();
  program.kernel->erase();
  return success();
}

EfficientKernel::EfficientKernel(OpBuilder &builder, const TileProgram &program, const CpuTarget &target)
    : builder(builder), program(program), emit(builder, program.kernel->getLoc()), compute(program.computeType), shape(program, target),
      d{program.headDim, shape.lanes, program.contiguous && program.headDim >= shape.lanes},
      dv{program.valueDim, shape.lanes, program.contiguous && program.valueDim >= shape.lanes}, pitch(blockKeys() + shape.lanes),
      maxRows(llvm::alignTo(program.tileRows, std::max(shape.lanes, kRowGroup))), layout(layOut()),
      functions(AbiAccess::functionsOf(target)), softmax(builder, emit.loc) {}

EfficientWorkspace EfficientKernel::layOut() const {
  int64_t end = 0;
  auto place = [&](int64_t rows, int64_t columns) {
    int64_t offset = end;
    end += llvm::alignTo(rows * columns * elementBytes(), kCacheLineBytes);
    return offset;
  };
  EfficientWorkspace layout;
  layout.queries = place(maxRows, d.padded());
  layout.wideQueries = place(maxRows, d.count);
  layout.scores = place(maxRows, pitch);
  layout.output = place(maxRows, dv.padded());
  layout.sums = place(maxRows, shape.lanes);
  layout.laneMaxima = place(maxRows, shape.lanes);
  layout.maxima = place(maxRows, 1);
  layout.normalisers = place(program.isTwoPass ? maxRows : 0, 1);
  layout.factors = place(maxRows, 1);
  layout.keys = place(!d.inPlace ? program.tileCols : isNarrow() ? shape.wideKeys : 0, d.padded());
  layout.values = place(!dv.inPlace ? program.tileCols : isNarrow() ? keysOfGroup() : 0, dv.padded());
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
  AbiAccess access(builder, emit.loc, kernel.args, functions);
  abi = &access;
  workspace = kernel.workspace;
  placeDots();
  kernel.function->setAttr("attnjit.workspace_bytes", builder.getI64IntegerAttr(layout.bytes));
  kernel.function->setAttr("attnjit.state_row_bytes", builder.getI64IntegerAttr(stateRowElems() * elementBytes()));
  if (program.isTwoPass)
    kernel.function->setAttr("attnjit.rounds", builder.getI64IntegerAttr(2));
  auto units = [&](bool withDots) { emitUnits(kernel.begin, kernel.end, withDots); };
  if (dots.empty())
    units(false);
  else
    emit.ifElse(bindDotLengths(), [&] { units(true); }, [&] { units(false); });
}

void EfficientKernel::placeDots() {
  auto place = [&](int64_t rows, int64_t columns) {
    return std::exchange(layout.bytes, layout.bytes + llvm::alignTo(rows * columns * elementBytes(), kCacheLineBytes));
  };
  for (ExtraDot &dot : findExtraDots(program)) {
    EfficientDot &made = dots.emplace_back(builder, program, *abi, shape.lanes, std::move(dot));
    made.queries = place(maxRows, kMostDotLength);
    made.wideQueries = place(maxRows, kMostDotLength);
    made.keys = place(program.tileCols, kMostDotLength);
    made.scores = place(maxRows, pitch);
  }
}

void EfficientKernel::emitUnits(Value begin, Value end, bool withDots) {
  usesDots = withDots;
  hasScoreMap = program.score && !(withDots && dots.size() == 1 && dots.front().dot.isWholeMap);
  softmax.scoresAreLog2 = !hasScoreMap;
  auto expand = [&](std::optional<MapExpander> &expander, Region *formula) {
    expander.reset();
    if (formula)
      expander.emplace(builder, emit.loc, program, *formula, *abi, shape.lanes);
  };
  expand(score, hasScoreMap ? program.score : nullptr);
  expand(mask, program.mask);
  expand(prob, program.prob);
  if (hasScoreMap && withDots)
    for (EfficientDot &dot : dots)
      score->takeGiven(dot.dot.sum);
  emit.loop(begin, end, emit.index(1), [&](Value unit) { emitUnit(unit); });
}

/// Divisions stand inside the loop over units: where M, Hq or Hkv is 0 there is no unit, and nothing may divide by it.
void EfficientKernel::emitUnit(Value unit) {
  tile.group = emit.make<arith::DivUIOp>(abi->queryHeads(), abi->kvHeads());
  Value rows = emit.mul(abi->queries(), tile.group);
  Value rowTiles = emit.make<arith::DivUIOp>(emit.add(rows, program.tileRows - 1), emit.index(program.tileRows));
  Value parts = abi->splitParts();
  Value tiles = emit.mul(emit.mul(abi->batch(), abi->kvHeads()), rowTiles), units = emit.mul(tiles, parts);
  Value isSecondRound;
  if (program.isTwoPass) {
    Value perRound = emit.add(units, tiles);
    isSecondRound = emit.cmp(Emitter::CmpI::sge, unit, perRound);
    unit = emit.select(isSecondRound, emit.sub(unit, perRound), unit);
  }
  auto split = [&](Value index, Value by) {
    Value quotient = emit.make<arith::DivUIOp>(index, by);
    return std::pair(quotient, emit.sub(index, emit.mul(quotient, by)));
  };
  auto part = [&] {
    auto [headPart, rowTile] = split(unit, rowTiles);
    auto [head, index] = split(headPart, parts);
    bindTile(head, rowTile, rowTiles, parts);
    emitPart(unit, index, isSecondRound);
  };
  auto merge = [&] {
    auto [head, rowTile] = split(emit.sub(unit, units), rowTiles);
    bindTile(head, rowTile, rowTiles, parts);
    emitMerge(isSecondRound);
  };
  emit.ifElse(emit.cmp(Emitter::CmpI::slt, unit, units), part, merge);
}

/// The tile of kv head `head` (counted through all batches).
void EfficientKernel::bindTile(Value head, Value rowTile, Value rowTiles, Value parts) {
  Value hkv = abi->kvHeads(), rows = emit.mul(abi->queries(), tile.group);
  tile.b = emit.make<arith::DivUIOp>(head, hkv);
  tile.kvHead = emit.sub(head, emit.mul(tile.b, hkv));
  tile.row0 = emit.mul(rowTile, program.tileRows);
  tile.rows = emit.minS(emit.index(program.tileRows), emit.sub(rows, tile.row0));
  tile.wideRows = emit.bitAnd(emit.add(tile.rows, shape.lanes / 2 - 1), emit.index(-shape.lanes));
  tile.firstUnit = emit.add(emit.mul(emit.mul(head, parts), rowTiles), rowTile);
  tile.unitStride = rowTiles;
  tile.parts = parts;
  factors = abi->headFactors(compute, tile.b, tile.kvHead);
}

Value EfficientKernel::operandBase(const OperandAccess &operand, Type element, Value head) {
  Value offset = emit.add(emit.mul(tile.b, operand.strides[0]), emit.mul(head, operand.strides[1]));
  return emit.at(operand.pointer, element, offset);
}

/// The tile's rows over one part of the keys; where that is all of them, up to the results.
void EfficientKernel::emitPart(Value unit, Value part, Value isSecondRound) {
  k = KvRows(builder, emit.loc, program, *abi, Operand::K, tile.b, tile.kvHead);
  v = KvRows(builder, emit.loc, program, *abi, Operand::V, tile.b, tile.kvHead);
  if (program.paged) // slots of rows that do not exist are asked for ahead, too
    for (int64_t pointers : {layout.keyPointers, layout.valuePointers})
      emit.loop(0, pointerSlots(), 1, [&](Value slot) { emit.store(workspace, emit.at(region(pointers), emit.ptr(), slot)); });
  packQueries();
  if (program.isTwoPass)
    return emitPartOfTwoPasses(unit, part, isSecondRound);
  walkKeys(Pass::Whole, part);
  auto finish = [&] {
    finishRows();
    writeOutput();
  };
  emit.ifElse(emit.cmp(Emitter::CmpI::eq, tile.parts, emit.index(1)), finish, [&] { writeState(Pass::Whole, unit); });
}

/// The state in the first round, the output in the second; both where there is but one part.
void EfficientKernel::emitPartOfTwoPasses(Value unit, Value part, Value isSecondRound) {
  Value isAlone = emit.cmp(Emitter::CmpI::eq, tile.parts, emit.index(1));
  auto state = [&] {
    walkKeys(Pass::State, part);
    emit.ifElse(isAlone, [&] { finishRows(); }, [&] { writeState(Pass::State, unit); });
  };
  emit.ifElse(isSecondRound, [&] { readFinishedRows(); }, state);
  emit.ifThen(emit.bitOr(isSecondRound, isAlone), [&] {
    walkKeys(Pass::Output, part);
    emit.ifElse(isAlone, [&] { writeOutput(); }, [&] { writeState(Pass::Output, unit); });
  });
}

void EfficientKernel::emitMerge(Value isSecondRound) {
  auto state = [&] {
    forEachRow([&](Value row) { mergeStateRow(row); });
    finishRows();
  };
  auto output = [&] {
    forEachRow([&](Value row) { mergeOutputRow(row); });
    writeOutput();
  };
  if (!program.isTwoPass) {
    state();
    return output();
  }
  auto firstRound = [&] {
    state();
    writeFinishedRows();
  };
  auto secondRound = [&] {
    readFinishedRows();
    output();
  };
  emit.ifElse(isSecondRound, secondRound, firstRound);
}

void EfficientKernel::walkKeys(Pass pass, Value part) {
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
    emitBlock(pass, block);
    return Values();
  });
}

void EfficientKernel::emitBlock(Pass pass, const KvBlock &block) {
  Value count = emit.sub(block.end, block.begin);
  EfficientRows keys = rowsOf(k, d, block, region(layout.keys), region(layout.keyPointers));
  if (usesDots)
    packDotKeys(block);
  emitProductOfKeys(keys, count);
  emitSoftmax(pass, block, count);
  if (pass == Pass::State)
    return;
  EfficientRows values = rowsOf(v, dv, block, region(layout.values), region(layout.valuePointers));
  byRowCount([&](RowCount rowCount) { emitValues(values, count, rowCount); });
}

/// Emits `body` for each count of rows that this tile may have; at run time one of them happens.
void EfficientKernel::byRowCount(llvm::function_ref<void(RowCount)> body) {
  auto one = [&] { body(RowCount::One); };
  auto few = [&] { body(RowCount::Few); };
  auto many = [&] { body(RowCount::Many); };
  Value isOne = emit.cmp(Emitter::CmpI::eq, tile.rows, emit.index(1)), isFew = emit.cmp(Emitter::CmpI::eq, tile.wideRows, emit.index(0));
  emit.ifElse(isOne, one, [&] { emit.ifElse(isFew, few, many); });
}

/// S, and the dots that a map takes.
void EfficientKernel::emitProductOfKeys(const EfficientRows &keys, Value count) {
  bool mapsDots = usesDots && hasScoreMap;
  auto alongColumns = [&](RowCount rowCount) {
    emitScores(keys, count, rowCount);
    if (mapsDots)
      for (const EfficientDot &dot : dots)
        emitDotScores(dot, count, rowCount);
  };
  auto alongRows = [&] {
    SmallVector<EfficientProduct> products{productOf(keys)};
    if (const EfficientDot *dot = addedDot())
      products.push_back(productOf(*dot));
    emitWideScores(products, count, layout.scores);
    if (mapsDots)
      for (const EfficientDot &dot : dots)
        emitWideScores(productOf(dot), count, dot.scores);
  };
  auto several = [&] {
    emit.ifThen(emit.cmp(Emitter::CmpI::sgt, tile.wideRows, emit.index(0)), alongRows);
    emit.ifThen(emit.cmp(Emitter::CmpI::slt, tile.wideRows, tile.rows), [&] { alongColumns(RowCount::Few); });
  };
  emit.ifElse(emit.cmp(Emitter::CmpI::eq, tile.rows, emit.index(1)), [&] { alongColumns(RowCount::One); }, several);
}

} // namespace attnjit::tile
