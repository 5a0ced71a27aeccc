// What happens to scores between the two products of the efficient schedule. A row is one query of one head, so b, h and q are scalars and
// a vector holds the scores of neighbouring keys: packed heads cost a formula nothing.
#include "EfficientSchedule.h"

#include <cmath>

using namespace mlir;

namespace attnjit::tile {

/// Folds a vector by halves: a fixed order, and few steps.
Value EfficientKernel::fold(Value vector, llvm::function_ref<Value(Value, Value)> combine) const {
  for (int64_t half = shape.lanes / 2; half >= 1; half /= 2) {
    auto low = llvm::to_vector(llvm::seq<int64_t>(0, half)), high = llvm::to_vector(llvm::seq<int64_t>(half, 2 * half));
    Value lower = emit.make<vector::ShuffleOp>(vector, vector, low), upper = emit.make<vector::ShuffleOp>(vector, vector, high);
    vector = combine(lower, upper);
  }
  return emit.lane(vector, 0);
}

/// The sum of a row, of all lanes.
Value EfficientKernel::sumOf(Value row) const {
  return fold(emit.load(vectorType(), rowOf(layout.sums, row, shape.lanes)), [&](Value a, Value b) { return emit.addF(a, b); });
}

void EfficientKernel::emitSoftmax(Pass pass, const KvBlock &block, Value count) {
  forEachRow([&](Value row) {
    Value blockMax = emitMaps(block, count, row);
    if (pass == Pass::Output) {
      Value reference = softmax.reference(emit.load(compute, rowOf(layout.maxima, row, 1)));
      emitExponentials(pass, block, count, row, reference, splatF(0.0));
      return;
    }
    Value maxAddress = rowOf(layout.maxima, row, 1), sumAddress = rowOf(layout.sums, row, shape.lanes);
    Value oldMax = emit.load(compute, maxAddress);
    Value newMax = softmax.maximum(fold(blockMax, [&](Value a, Value b) { return softmax.maximum(a, b); }), oldMax);
    Value reference = softmax.reference(newMax), factor = softmax.exponential(oldMax, reference);
    emit.store(newMax, maxAddress);
    emit.store(factor, rowOf(layout.factors, row, 1));
    Value before = emit.mulF(emit.load(vectorType(), sumAddress), broadcast(factor));
    emit.store(emitExponentials(pass, block, count, row, reference, before), sumAddress);
  });
}

Value EfficientKernel::emitExponentials(Pass pass, const KvBlock &block, Value count, Value row, Value reference, Value sums) {
  bool mapsProb = prob && pass != Pass::State;
  Value scores = rowOf(layout.scores, row, pitch), references = broadcast(reference);
  Value normaliser = pass == Pass::Output ? broadcast(emit.load(compute, rowOf(layout.normalisers, row, 1))) : Value();
  if (mapsProb)
    bindRow(*prob, row);
  return emit.loop(emit.index(0), count, emit.index(shape.lanes), {sums}, [&](Value key, ValueRange carried) -> Values {
    Value address = emit.at(scores, compute, key), score = emit.load(vectorType(), address);
    Value p = softmax.exponential(score, references);
    if (normaliser)
      p = emit.mulF(p, normaliser);
    if (pass != Pass::State)
      emit.store(mapsProb ? applyProb(block, row, key, p, score) : p, address);
    return {emit.addF(carried[0], p)};
  })[0];
}

/// prob_mod on a vector of keys. Where the score is -inf, 0 whatever it says (A13); so it is past the block.
Value EfficientKernel::applyProb(const KvBlock &block, Value row, Value key, Value p, Value score) {
  Value visible = emit.cmp(Emitter::CmpF::UNE, score, splatF(-INFINITY)), kv = keysAt(block, key);
  prob->bindKey(kv);
  MapResult mapped = prob->expand(p);
  emitReport(builder, emit.loc, *abi, mapped.outOfRange, visible, tile.b, headOf(row), queryOf(row), kv, shape.lanes);
  return emit.select(visible, prob->splat(mapped.value), splatF(0.0));
}

void EfficientKernel::bindRow(MapExpander &expander, Value row) {
  expander.bindHeads(emit.toInt(program.indexType, tile.b), emit.toInt(program.indexType, headOf(row)));
  expander.bindQuery(emit.toInt(program.indexType, queryOf(row)));
}

Value EfficientKernel::keysAt(const KvBlock &block, Value key) {
  Type index = program.indexType;
  Value first = emit.splat(emit.toInt(index, emit.add(block.begin, key)), shape.lanes);
  Value last = emit.splat(emit.sub(emit.toInt(index, block.end), 1), shape.lanes);
  return emit.minS(emit.add(first, emit.iota(emit.vec(shape.lanes, index))), last);
}

Value EfficientKernel::emitMaps(const KvBlock &block, Value count, Value row) {
  int64_t lanes = shape.lanes;
  Type index = program.indexType, indexVector = emit.vec(lanes, index);
  Value scores = rowOf(layout.scores, row, pitch), minusInf = splatF(-INFINITY);
  for (std::optional<MapExpander> *expander : {&score, &mask})
    if (*expander)
      bindRow(**expander, row);

  Value counts = emit.splat(emit.toInt(index, count), lanes);
  return emit.loop(emit.index(0), count, emit.index(lanes), {minusInf}, [&](Value key, ValueRange carried) -> Values {
    Value address = emit.at(scores, compute, key), value = emit.load(vectorType(), address);
    Value position = emit.add(emit.splat(emit.toInt(index, key), lanes), emit.iota(indexVector));
    Value isInside = emit.cmp(Emitter::CmpI::slt, position, counts);
    Value kv = score || mask ? keysAt(block, key) : Value();
    auto report = [&](Value outOfRange, Value visible) {
      if (!outOfRange)
        return;
      Value counted = visible ? emit.bitAnd(isInside, visible) : isInside; // a lane past the block has a score that means nothing
      emitReport(builder, emit.loc, *abi, outOfRange, counted, tile.b, headOf(row), queryOf(row), kv, lanes);
    };
    Value outOfRange;
    if (score) {
      score->bindKey(kv);
      Values given;
      if (usesDots)
        for (const EfficientDot &dot : dots)
          given.push_back(emit.load(vectorType(), emit.at(rowOf(dot.scores, row, pitch), compute, key)));
      MapResult mapped = score->expand(value, given);
      value = score->splat(mapped.value);
      outOfRange = mapped.outOfRange;
    }
    auto masked = [&]() -> Values {
      mask->bindKey(kv);
      MapResult mapped = mask->expand(nullptr);
      Value visible = mask->splat(mapped.value);
      report(mapped.outOfRange, nullptr);
      report(outOfRange, visible);
      return {emit.select(visible, value, minusInf)};
    };
    auto unmasked = [&]() -> Values {
      report(outOfRange, nullptr);
      return {value};
    };
    value = mask ? emit.ifElse({vectorType()}, block.partial, masked, unmasked)[0] : unmasked()[0];
    value = emit.select(isInside, value, minusInf);
    emit.store(value, address);
    return {softmax.maximum(value, carried[0])};
  })[0];
}

} // namespace attnjit::tile
