#include "FragmentRows.h"

#include "ElementMaps.h"
#include "attnjit-mlir/Conversion/TileToVector/SoftmaxEnd.h"
#include "attnjit-mlir/Conversion/TileToVector/VectorMath.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

#include <cmath>

using namespace mlir;

namespace attnjit::tile {

using CmpI = Emitter::CmpI;
using CmpF = Emitter::CmpF;
using Values = Emitter::Values;

FragmentRows::FragmentRows(OpBuilder &builder, Location loc, const TileProgram &program, AbiAccess &abi, const ThreadPosition &position,
                           Value firstRow, int64_t cols, bool joinsFactors)
    : emit(builder, loc), program(program), abi(abi), position(position), firstRow(firstRow), cols(cols), joinsFactors(joinsFactors),
      readsByQuery(readsAtQuery(program)), readsByKey(readsAtKey(program)), sharesUnits(usesSpecialFunctions(program.score)) {
  if (!program.score)
    ofCall = factorsOf(abi.scale(emit.f32()));
}

Value FragmentRows::minusInfinity() const { return emit.constFloat(emit.f32(), -HUGE_VAL); }

/// e^x. The difference to the reference is formed before this: folding log2(e) into one fma would lose a score of -1e30 to rounding (A5).
Value FragmentRows::exponential(Value x) const { return emitFastExp2(emit, emit.mulF(x, emit.constFloat(emit.f32(), M_LOG2E))); }

void FragmentRows::bindTile(const TileCoords &coords, Value packedBy) {
  tile = coords;
  group = packedBy;
  for (int64_t index = 0; index < kRowsPerThread; ++index) {
    Value row = widen(emit.add(emit.add(firstRow, position.group), 8 * index));
    std::tie(heads[index], queries[index]) = placeOf(row);
    rowExists[index] = emit.cmp(CmpI::slt, row, tile.rows);
  }
  // An index that may leave its tensor has to be seen by the map of each element.
  if (program.score && joinsFactors && !program.checkedIndices)
    ends = scoreFactorsOf(*program.score);
  bindFactors();
  bindRefinements();
  bindFormulas();
}

std::pair<Value, Value> FragmentRows::placeOf(Value row) const {
  Value number = emit.add(tile.q0, row);
  if (!group)
    return {tile.h, number};
  Value query = emit.make<arith::DivUIOp>(number, group);
  return {emit.add(tile.h, emit.sub(number, emit.mul(query, group))), query};
}

/// What multiplies products before score_mod, and what multiplies its result, which may wait for the exponential: a positive factor changes
/// no maximum.
void FragmentRows::bindFactors() {
  pair = program.indexType.isInteger(32) ? position.pair : widen(position.pair);
  assert(!(joinsFactors && group) && "packed rows differ in their heads");
  auto ofHead = [&] { return abi.headFactors(emit.f32(), tile.b, tile.kvHead).score; };
  if (!program.score) {
    SmallVector<Type> types(ofCall.size(), emit.f32());
    useFactors(emit.ifElse(types, abi.hasDescales(), [&] { return factorsOf(ofHead()); }, [&] { return ofCall; }));
    return;
  }
  scoreFactor = productOf(ofHead(), ends.first);
  if (Value last = productOf(Value(), ends.last))
    return useFactors(factorsOf(last));
  toPower = emit.constFloat(emit.f32(), M_LOG2E);
  coarseToPower = powerAbove(toPower);
}

/// What bindFactors needs of a factor that may wait: unit, early, toPower, coarseToPower.
Values FragmentRows::factorsOf(Value last) const {
  Value one = emit.constFloat(emit.f32(), 1.0), isUsual = emit.cmp(CmpF::OGT, last, emit.constFloat(emit.f32(), 0.0));
  Value ofUnit = emit.select(isUsual, last, one), power = emit.mulF(ofUnit, emit.constFloat(emit.f32(), M_LOG2E));
  return {ofUnit, emit.select(isUsual, one, last), power, powerAbove(power)};
}

void FragmentRows::useFactors(ValueRange factors) {
  unit = factors[0], early = factors[1], toPower = factors[2], coarseToPower = factors[3];
  isUnusual = emit.cmp(CmpF::UNE, early, emit.constFloat(emit.f32(), 1.0));
}

/// A power of two in (x, 2 x]: the exponent field plus one.
Value FragmentRows::powerAbove(Value x) const {
  Value bits = emit.bitcast(emit.i32(), x), exponent = emit.bitAnd(bits, emit.constInt(emit.i32(), 0x7f800000));
  return emit.bitcast(emit.f32(), emit.add(exponent, 0x00800000));
}

/// Beside the rounding of probabilities to 16 bits, 2e-4 at least, an error of 5e-5 in a score is not seen.
void FragmentRows::bindRefinements() {
  if (!program.score || group)
    return;
  constexpr double kLargestError = 5e-5;
  Value limit = emit.constFloat(emit.f32(), kLargestError / kCoarseError), one = emit.constFloat(emit.f32(), 1.0);
  for (ArrayRef<Value> gains : refinementGainsOf(*program.score)) {
    Value gain = emit.make<LLVM::FAbsOp>(emit.f32(), productOf(one, gains), LLVM::FastmathFlagsAttr());
    Value isLarge = emit.cmp(CmpF::UGT, gain, limit); // or NaN
    isRefined = isRefined ? emit.bitOr(isRefined, isLarge) : isLarge;
  }
}

/// `product`, or nothing, times values of score_mod that are the same for all pairs of a head.
Value FragmentRows::productOf(Value product, ArrayRef<Value> factors) {
  for (Value factor : factors) {
    MapExpander expander(emit.builder, emit.loc, program, *program.score, abi, /*lanes=*/1, factor);
    expander.bindHeads(tile.b, tile.h);
    Value value = expander.expand(Value()).value;
    product = product ? emit.mulF(product, value) : value;
  }
  return product;
}

/// Rows of a packed tile keep their queries too: what depends on them alone is computed here, once.
void FragmentRows::bindFormulas() {
  auto bind = [&](Formula &formula, Region *region, const ScoreFactors &ends = {}) {
    if (!region)
      return;
    for (int64_t row = 0; row < (group ? kRowsPerThread : 1); ++row) {
      formula[row].emplace(emit.builder, emit.loc, program, *region, abi, /*lanes=*/1, ends.root);
      if (ends.firstProduct)
        formula[row]->takeGiven(ends.firstProduct);
      formula[row]->bindHeads(tile.b, heads[row]);
      if (group)
        bindQuery(*formula[row], row);
    }
  };
  bind(score, program.score, ends);
  bind(prob, program.prob);
  Value dense = program.score ? score[0]->hasUnitStrides() : Value();
  isStrided = dense ? emit.logicalNot(dense) : Value();
  const FormulaFrame frame{emit.builder, emit.loc, program, abi};
  rowMask.emplace(frame, /*isPacked=*/group != Value());
  rowMask->bindTile(tile, heads, std::array{queryOf(0), queryOf(1)});
  blockScore.reset();
  if (!program.score || group)
    return;
  std::optional<StageRoom> stage;
  if (room)
    stage = StageRoom{room, position.lane, firstRow, cols};
  blockScore.emplace(frame, ends, stage);
  if (blockScore->isUseful())
    blockScore->bindTile(tile);
  else
    blockScore.reset();
}

//===------------------------------------------------------------------------------------------------------------------===//
// Formulas
//===------------------------------------------------------------------------------------------------------------------===//

/// The first key of this thread.
Value FragmentRows::keyBase(const KvBlock &block) { return emit.add(emit.toInt(program.indexType, block.begin), pair); }
/// A key as i64.
Value FragmentRows::keyAt(const KvBlock &block, int64_t column) { return emit.add(emit.toInt(emit.i64(), keyBase(block)), column); }

/// Padding positions only have to be harmless where a captured tensor is read at them (A10).
Value FragmentRows::insideOf(bool needed, Value index, Value end) {
  return needed ? emit.minS(index, emit.toInt(program.indexType, emit.sub(end, 1))) : index;
}

Value FragmentRows::queryOf(int64_t row) { return insideOf(readsByQuery, emit.toInt(program.indexType, queries[row]), abi.queries()); }

FragmentOrigin FragmentRows::originOf(const KvBlock &block) { return {{queryOf(0), queryOf(1)}, keyBase(block)}; }

void FragmentRows::bindQuery(MapExpander &expander, int64_t row) { expander.bindQuery(queryOf(row)); }

/// Visits (tile, part) of every element in this thread, with the expander bound to it. `isPlain`: the block is not special.
void FragmentRows::forEachElement(Formula &formula, const KvBlock &block, bool isPlain, Refinement refinement,
                                  llvm::function_ref<void(MapExpander &, int64_t, int64_t)> body) {
  Value base = keyBase(block);
  for (int64_t row = 0; row < kRowsPerThread; ++row) {
    MapExpander &expander = *formula[group ? row : 0];
    expander.assumeUnitStrides(isPlain);
    expander.takeOfRefinements(refinement);
    if (!group)
      bindQuery(expander, row);
    for (int64_t tile = 0; tile < cols / 8; ++tile)
      for (int64_t column = 0; column < 2; ++column) {
        Value key = emit.make<arith::AddIOp>(base, emit.constInt(base.getType(), 8 * tile + column), arith::IntegerOverflowFlags::nsw);
        expander.bindKey(insideOf(readsByKey && !isPlain, key, block.end));
        body(expander, tile, row * 2 + column);
      }
  }
}

void FragmentRows::stageLoads(const KvBlock &block) {
  if (!room || !blockScore)
    return;
  emit.make<NVVM::SyncWarpOp>(emit.constInt(emit.i32(), -1)); // all lanes have read what came before
  emit.ifThen(emit.logicalNot(isIrregular(block)), [&] { blockScore->stage(block); });
}

/// Where keys of the tile do not exist, or captured tensors do not lie as most do.
Value FragmentRows::isIrregular(const KvBlock &block) {
  Value isShort = emit.cmp(CmpI::slt, emit.sub(block.end, block.begin), emit.index(cols));
  return either(emit, either(emit, isShort, isStrided), isUnfit(block));
}

Value FragmentRows::isSpecial(const KvBlock &block) {
  Value special = either(emit, isIrregular(block), program.mask ? block.partial : Value());
  return either(emit, either(emit, special, isUnusual), isRefined);
}

Value FragmentRows::isSpecialTile() const { return either(emit, either(emit, isStrided, isUnusual), isRefined); }
Value FragmentRows::isUnfit(const KvBlock &block) { return blockScore ? blockScore->isUnfit(block) : Value(); }

static Values flatten(const Fragments &fragments) {
  Values values;
  for (const Fragment4 &fragment : fragments)
    values.append(fragment.begin(), fragment.end());
  return values;
}

/// What one of two ways makes of the scores. Where the threads of a warp do not take the same, they go both.
static void applyEither(const Emitter &emit, Value condition, Fragments &scores, llvm::function_ref<void(Fragments &)> ifTrue,
                        llvm::function_ref<void(Fragments &)> ifFalse) {
  const Fragments before = scores;
  auto result = [&](llvm::function_ref<void(Fragments &)> apply) {
    return [&before, apply] {
      Fragments changed = before;
      apply(changed);
      return flatten(changed);
    };
  };
  SmallVector<Type> types(scores.size() * 4, emit.f32());
  Values changed = emit.ifElse(types, condition, result(ifTrue), result(ifFalse));
  for (size_t i = 0; i < changed.size(); ++i)
    scores[i / 4][i % 4] = changed[i];
}

static void applyWhere(const Emitter &emit, Value condition, Fragments &scores, llvm::function_ref<void(Fragments &)> apply) {
  applyEither(emit, condition, scores, apply, [](Fragments &) {});
}

/// A plain block needs no refinement, or all of it: where all of its scores are so small that this is better.
FragmentRows::Flags FragmentRows::applyScore(Fragments &scores, const KvBlock &block, bool isPlain) {
  Flags outOfRange(scores.size() * 4);
  if (!program.score)
    return outOfRange;
  auto plain = [&](Refinement refinement) {
    return [&, refinement](Fragments &all) { applyPlainScore(all, block, refinement, outOfRange); };
  };
  if (isPlain && isRefined && !program.checkedIndices && refinesScaledScore(*program.score, ends))
    applyEither(emit, areAllNear(scores), scores, plain(Refinement::First), plain(Refinement::Second));
  else if (isPlain)
    plain(isRefined ? Refinement::Second : Refinement::Choice)(scores);
  else if (!blockScore)
    applyGeneralScore(scores, block, /*isPlain=*/false, Refinement::Choice, outOfRange);
  else
    applyEither(
        emit, isIrregular(block), scores,
        [&](Fragments &all) { applyGeneralScore(all, block, /*isPlain=*/false, Refinement::Choice, outOfRange); },
        [&](Fragments &all) { applyBlockScore(all, block, Refinement::Choice); });
  return outOfRange;
}

void FragmentRows::applyPlainScore(Fragments &scores, const KvBlock &block, Refinement refinement, Flags &outOfRange) {
  if (blockScore)
    applyBlockScore(scores, block, refinement);
  else
    applyGeneralScore(scores, block, /*isPlain=*/true, refinement, outOfRange);
}

/// For all threads of the warp.
Value FragmentRows::areAllNear(const Fragments &products) const {
  auto size = [&](Value a) -> Value { return emit.make<LLVM::FAbsOp>(emit.f32(), a, LLVM::FastmathFlagsAttr()); };
  Value largest[2]; // two chains, which do not wait for each other
  for (const Fragment4 &fragment : products)
    for (int64_t part = 0; part < 4; ++part) {
      Value &chain = largest[part % 2];
      chain = chain ? maximum(chain, size(fragment[part])) : size(fragment[part]);
    }
  Value scaledLargest = emit.mulF(maximum(largest[0], largest[1]), size(scoreFactor));
  Value isNear = emit.cmp(CmpF::OLT, scaledLargest, emit.constFloat(emit.f32(), kNearTanh)); // or NaN
  return emit.make<NVVM::VoteSyncOp>(emit.i1(), emit.constInt(emit.i32(), -1), isNear, NVVM::VoteSyncKind::all);
}

void FragmentRows::applyGeneralScore(Fragments &scores, const KvBlock &block, bool isPlain, Refinement refinement, Flags &outOfRange) {
  forEachElement(score, block, isPlain, refinement, [&](MapExpander &expander, int64_t tile, int64_t part) {
    Value product = scaled(scores[tile][part]);
    MapResult result = ends.firstProduct ? expander.expand(Value(), product) : expander.expand(product);
    scores[tile][part] = result.value;
    outOfRange[tile * 4 + part] = result.outOfRange;
  });
}

Value FragmentRows::scaled(Value product) {
  auto contract = arith::FastMathFlagsAttr::get(emit.builder.getContext(), arith::FastMathFlags::contract); // with a sum in score_mod
  return emit.make<arith::MulFOp>(emit.f32(), product, scoreFactor, contract);
}

/// From left to right, so that what both rows share need not be kept for long.
void FragmentRows::applyBlockScore(Fragments &scores, const KvBlock &block, Refinement refinement) {
  blockScore->bindBlock(originOf(block), refinement);
  for (int64_t tile = 0; tile < cols / 8; ++tile)
    for (int64_t part = 0; part < 4; ++part)
      scores[tile][part] = blockScore->expand({rowOf(part), tile, columnOf(part)}, scaled(scores[tile][part]));
}

void FragmentRows::beginFormulas(bool special, const KvBlock &block) {
  if (special)
    rowMask->bindBlock(block, originOf(block), position.pair, cols);
}

void FragmentRows::endFormulas(bool special, Fragments &scores, const KvBlock &block) {
  Flags outOfRange = applyScore(scores, block, /*isPlain=*/!special);
  if (special)
    dropHidden(scores, block, outOfRange);
  else
    reportScores(outOfRange, block);
}

/// Most blocks are not special, so what those need is one branch, which all threads of a warp take alike.
void FragmentRows::applyFormulas(Fragments &scores, const KvBlock &block) {
  Flags outOfRange = applyScore(scores, block, /*isPlain=*/false);
  applyEither(
      emit, isSpecial(block), scores,
      [&](Fragments &all) {
        beginFormulas(/*special=*/true, block);
        dropHidden(all, block, outOfRange);
      },
      [&](Fragments &) { reportScores(outOfRange, block); });
}

/// A select after score_mod: it wins even over NaN (A3). Special blocks that need neither step are the first ones of tiles.
void FragmentRows::dropHidden(Fragments &scores, const KvBlock &block, ArrayRef<Value> scoreOutOfRange) {
  if (early)
    applyWhere(emit, isUnusual, scores, [&](Fragments &all) { scaleRows(all, {early, early}); });
  Value isShort = emit.cmp(CmpI::slt, emit.sub(block.end, block.begin), emit.index(cols));
  applyEither(
      emit, program.mask ? emit.bitOr(isShort, block.partial) : isShort, scores,
      [&](Fragments &all) { dropUnseen(all, block, scoreOutOfRange); }, [&](Fragments &) { reportScores(scoreOutOfRange, block); });
}

void FragmentRows::dropUnseen(Fragments &scores, const KvBlock &block, ArrayRef<Value> scoreOutOfRange) {
  for (int64_t tile = 0; tile < int64_t(scores.size()); ++tile)
    for (int64_t part = 0; part < 4; ++part) {
      MapResult seen = rowMask->at({rowOf(part), tile, columnOf(part)});
      report(seen.outOfRange, block.partial, block, tile, part);
      report(scoreOutOfRange[tile * 4 + part], seen.value, block, tile, part);
      scores[tile][part] = emitSelectAtOnce(emit, seen.value, scores[tile][part], minusInfinity());
    }
}

void FragmentRows::reportScores(ArrayRef<Value> outOfRange, const KvBlock &block) {
  for (size_t i = 0; i < outOfRange.size(); ++i)
    report(outOfRange[i], Value(), block, i / 4, i % 4);
}

/// Notes the positions at which a captured index left its tensor; padding never counts.
void FragmentRows::report(Value outOfRange, Value counts, const KvBlock &block, int64_t tile, int64_t part) {
  if (!outOfRange)
    return;
  Value key = keyAt(block, 8 * tile + columnOf(part));
  Value exists = emit.bitAnd(rowExists[rowOf(part)], emit.cmp(CmpI::slt, key, block.end));
  emitReport(emit.builder, emit.loc, abi, outOfRange, counts ? emit.bitAnd(exists, counts) : exists, this->tile.b, heads[rowOf(part)],
             queries[rowOf(part)], key, /*lanes=*/1);
}

/// prob_mod on p as it stands before the row is normalised. Where the score is -inf, 0 whatever it says (A13).
void FragmentRows::applyProb(Fragments &probs, ArrayRef<Value> visible, const KvBlock &block) {
  Value zero = emit.constFloat(emit.f32(), 0.0);
  forEachElement(prob, block, /*isPlain=*/false, Refinement::Choice, [&](MapExpander &expander, int64_t tile, int64_t part) {
    Value counts = visible[tile * 4 + part], &element = probs[tile][part];
    MapResult mapped = expander.expand(element);
    report(mapped.outOfRange, counts, block, tile, part);
    element = emit.select(counts, mapped.value, zero);
  });
}

//===------------------------------------------------------------------------------------------------------------------===//
// Softmax
//===------------------------------------------------------------------------------------------------------------------===//

RowState FragmentRows::initialState() const {
  Value zero = emit.constFloat(emit.f32(), 0.0), lowest = minusInfinity();
  return {{lowest, lowest}, {zero, zero}};
}

/// Combines the elements of a row in two chains, which do not wait for each other.
static Value combineRow(const Fragments &fragments, int64_t row, llvm::function_ref<Value(Value, Value)> combine) {
  Value chains[2];
  for (const Fragment4 &fragment : fragments)
    for (int64_t column = 0; column < 2; ++column) {
      Value element = fragment[row * 2 + column], &chain = chains[column];
      chain = chain ? combine(chain, element) : element;
    }
  return combine(chains[0], chains[1]);
}

/// Probabilities are 2^(score * toPower - power), one fma each. `power`, as rounded, is the row's reference point, so its rounding cancels
/// as long as it is small beside 1. Where it is not, from scores of 10^8 on, neighbouring scores are so far apart that next to the largest
/// the others are as good as nothing: a factor that multiplies without rounding keeps the largest at exactly 1 (A5: a score of -1e30 is a
/// number).
FragmentRows::Reference FragmentRows::referenceOf(Value max) const {
  constexpr double kLargest = 1 << 27; // spaced 16 apart
  Reference reference;
  Value power = emit.mulF(max, toPower), size = emit.make<LLVM::FAbsOp>(emit.f32(), power, LLVM::FastmathFlagsAttr());
  Value isEmpty = emit.cmp(CmpF::OEQ, max, minusInfinity());
  // A row that has seen nothing keeps -inf as its maximum, and 0 as the reference, so that no -inf + inf arises (A5).
  reference.isCoarse = emit.bitAnd(emit.cmp(CmpF::UGE, size, emit.constFloat(emit.f32(), kLargest)), emit.logicalNot(isEmpty));
  reference.toPower = emit.select(reference.isCoarse, coarseToPower, toPower);
  reference.power = emit.select(reference.isCoarse, emit.mulF(max, coarseToPower), power);
  reference.power = emit.select(isEmpty, emit.constFloat(emit.f32(), 0.0), reference.power);
  return reference;
}

Value FragmentRows::rescale(Value max, Value newMax, const Reference &reference) const {
  return emitFastExp2(emit, emit.select(reference.isCoarse, emit.mulF(emit.subF(max, newMax), toPower),
                                        emit.subF(emit.mulF(max, toPower), reference.power)));
}

/// Where score_mod takes functions of the special function units too, those are what a multiprocessor waits for: every eighth exponential
/// is a polynomial then.
Value FragmentRows::probability(Value power, int64_t tile) const {
  constexpr int64_t kShare = 8;
  return sharesUnits && tile % kShare == 0 ? emitExp2Short(emit.builder, emit.loc, power) : emitFastExp2(emit, power);
}

RowValues FragmentRows::takeIntoState(RowState &state, Fragments &scores, const KvBlock &block) {
  SmallVector<Value> visible; // above -inf, or NaN: where prob_mod counts
  if (program.prob)
    for (const Fragment4 &fragment : scores)
      for (Value element : fragment)
        visible.push_back(emit.cmp(CmpF::UNE, element, minusInfinity()));

  RowValues alpha;
  for (int64_t row = 0; row < kRowsPerThread; ++row) {
    auto larger = [&](Value a, Value b) { return maximum(a, b); };
    Value newMax = maximum(state.max[row], emitRowReduce(emit, combineRow(scores, row, larger), larger));
    Reference reference = referenceOf(newMax);
    alpha[row] = rescale(state.max[row], newMax, reference);
    for (auto [tile, fragment] : llvm::enumerate(scores))
      for (int64_t column = 0; column < 2; ++column) {
        Value &element = fragment[row * 2 + column];
        element = probability(emit.fma(element, reference.toPower, emit.negF(reference.power)), tile);
      }
    state.max[row] = newMax;
    Value sum = combineRow(scores, row, [&](Value a, Value b) { return emit.addF(a, b); });
    state.sum[row] = emit.fma(state.sum[row], alpha[row], sum);
  }
  if (program.prob)
    applyProb(scores, visible, block);
  return alpha;
}

void FragmentRows::scaleRows(Fragments &fragments, const RowValues &factors) const {
  for (Fragment4 &fragment : fragments)
    for (int64_t part = 0; part < 4; ++part)
      fragment[part] = emit.mulF(fragment[part], factors[rowOf(part)]);
}

//===------------------------------------------------------------------------------------------------------------------===//
// The end
//===------------------------------------------------------------------------------------------------------------------===//

/// Not kept through the loop, whose registers are all taken.
Value FragmentRows::outputFactor() const { return abi.headFactors(emit.f32(), tile.b, tile.kvHead).output; }

FragmentRows::RowEnd FragmentRows::endOf(Value h, Value max, Value sum) const {
  Value natural = unit ? emit.mulF(max, unit) : max, sink = emitSink(emit.builder, emit.loc, program, abi, tile.b, h);
  SoftmaxEnd end = emitSoftmaxEnd(emit.builder, emit.loc, abi, natural, sum, sink, [&](Value x) { return exponential(x); });
  // The total is 1 at least, or NaN, where the row is not empty.
  Value inverse = emitFastReciprocal(emit, end.total);
  return {end.weight ? emit.mulF(end.weight, inverse) : inverse, end.isEmpty, end.lse, natural};
}

FragmentRows::RowEnds FragmentRows::endRows(const RowState &state) const {
  RowEnds ends;
  Value ofOutput = outputFactor();
  for (int64_t row = 0; row < kRowsPerThread; ++row)
    ends.sum[row] = emitRowReduce(emit, state.sum[row], [&](Value a, Value b) { return emit.addF(a, b); });
  for (int64_t row = 0; row < kRowsPerThread; ++row)
    ends.factor[row] = emit.mulF(endOf(heads[row], state.max[row], ends.sum[row]).factor, ofOutput);
  return ends;
}

void FragmentRows::finish(const RowState &state, const RowEnds &ends, Fragments &out) {
  scaleRows(out, ends.factor);
  // 0 in empty rows, which are few, and not 0 times the sum, which a NaN in a masked row of V may have reached (A5).
  RowValues isEmpty;
  for (int64_t row = 0; row < kRowsPerThread; ++row)
    isEmpty[row] = emit.cmp(CmpF::OEQ, state.max[row], minusInfinity());
  applyWhere(emit, emit.bitOr(isEmpty[0], isEmpty[1]), out, [&](Fragments &all) {
    for (Fragment4 &fragment : all)
      for (int64_t part = 0; part < 4; ++part)
        fragment[part] = emit.select(isEmpty[rowOf(part)], emit.constFloat(emit.f32(), 0.0), fragment[part]);
  });
  storeRows(state, ends);
}

/// `column`: of the output, that of the first of four threads. Others have the columns after it: `pair` says which.
void FragmentRows::ifColumnExists(int64_t column, llvm::function_ref<void()> body) {
  constexpr int64_t kLastPair = 6;
  int64_t left = program.valueDim - column;
  if (left > kLastPair)
    body();
  else if (left > 0)
    emit.ifThen(emit.cmp(CmpI::slt, position.pair, emit.constInt(emit.i32(), left)), body);
}

void FragmentRows::storeElements(const Fragments &out) {
  OperandAccess access = abi.operand(Operand::Out);
  Type memory = program.outType;
  Value firstColumn = widen(position.pair);
  for (int64_t row = 0; row < kRowsPerThread; ++row)
    emit.ifThen(rowExists[row], [&] {
      Value first = emit.at(rowPointer(access, memory, heads[row], queries[row]), memory, emit.mul(firstColumn, access.strides[3]));
      for (auto [tile, fragment] : llvm::enumerate(out))
        for (int64_t column = 0; column < 2; ++column) {
          Value element = fragment[row * 2 + column];
          ifColumnExists(8 * int64_t(tile) + column, [&] {
            Value rounded = memory.isF32() ? element : Value(emit.make<arith::TruncFOp>(memory, element));
            emit.store(rounded, emit.at(first, memory, emit.mul(access.strides[3], 8 * int64_t(tile) + column)));
          });
        }
    });
}

/// lse and max may not be.
static Value isWanted(const Emitter &emit, const OperandAccess &operand) {
  return emit.make<LLVM::ICmpOp>(LLVM::ICmpPredicate::ne, operand.pointer, emit.make<LLVM::ZeroOp>(emit.ptr()));
}

/// The first of the four threads of two rows has the word for one of them, the second for the other.
void FragmentRows::storeRows(const RowState &state, const RowEnds &ends) {
  Value isSecond = emit.cmp(CmpI::eq, position.pair, emit.constInt(emit.i32(), 2));
  auto own = [&](ArrayRef<Value> values) { return emit.select(isSecond, values[1], values[0]); };
  Value h = own(heads), query = own(queries);
  Value speaks = emit.bitAnd(own(rowExists), emit.cmp(CmpI::slt, position.pair, emit.constInt(emit.i32(), 4)));
  emit.ifThen(speaks, [&] {
    RowEnd end = endOf(h, own(state.max), own(ends.sum));
    storeRow(Operand::Lse, h, query, end.lse);
    storeRow(Operand::Max, h, query, end.max);
  });
}

void FragmentRows::storeRow(Operand which, Value h, Value query, Value value) const {
  OperandAccess operand = abi.operand(which);
  emit.ifThen(isWanted(emit, operand), [&] { emit.store(value, rowPointer(operand, emit.f32(), h, query)); });
}

Value FragmentRows::rowPointer(const OperandAccess &operand, Type memory, Value h, Value query) const {
  Value offset = emit.add(emit.mul(tile.b, operand.strides[0]), emit.mul(h, operand.strides[1]));
  return emit.at(operand.pointer, memory, emit.add(offset, emit.mul(query, operand.strides[2])));
}

} // namespace attnjit::tile
