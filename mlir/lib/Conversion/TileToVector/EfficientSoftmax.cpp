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
    // Keys past the block are none.
    emit.store(splatF(-INFINITY), emit.at(rowOf(layout.scores, row, pitch), compute, count));
    emit.store(emitMaps(block, count, row), rowOf(layout.laneMaxima, row, shape.lanes));
  });
  if (pass != Pass::Output)
    updateMaxima();
  forEachRow([&](Value row) {
    Value reference = softmax.reference(emit.load(compute, rowOf(layout.maxima, row, 1)));
    if (pass == Pass::Output) {
      emitExponentials(pass, block, count, row, reference, splatF(0.0));
      return;
    }
    Value sumAddress = rowOf(layout.sums, row, shape.lanes), factor = emit.load(compute, rowOf(layout.factors, row, 1));
    Value before = emit.mulF(emit.load(vectorType(), sumAddress), broadcast(factor));
    emit.store(emitExponentials(pass, block, count, row, reference, before), sumAddress);
    if (pass == Pass::Whole)
      rescaleRow(row, factor);
  });
}

/// From the maxima per lane of this block: the maxima so far, and the factors of what stands over the ones before. keyTile rows make one
/// vector: what one row would wait for alone, they wait for together.
void EfficientKernel::updateMaxima() {
  auto larger = [&](Value a, Value b) { return softmax.maximum(a, b); };
  emit.loop(emit.index(0), tile.rows, emit.index(shape.keyTile), [&](Value row) {
    Values ofRows;
    for (int64_t r = 0; r < shape.keyTile; ++r)
      ofRows.push_back(emit.load(vectorType(), emit.atBytes(rowOf(layout.laneMaxima, row, shape.lanes), r * shape.lanes * elementBytes())));
    Value blockMaxima = foldAcrossParts(foldWithinParts(ofRows, larger), larger), address = rowOf(layout.maxima, row, 1);
    Value oldMaxima = emit.load(blockMaxima.getType(), address), newMaxima = softmax.maximum(blockMaxima, oldMaxima);
    emit.store(newMaxima, address);
    emit.store(softmax.exponential(oldMaxima, softmax.reference(newMaxima)), rowOf(layout.factors, row, 1));
  });
}

/// Most blocks raise no maximum.
void EfficientKernel::rescaleRow(Value row, Value factor) {
  emit.ifThen(emit.cmp(Emitter::CmpF::UNE, factor, scalarF(1.0)), [&] {
    Value output = rowOf(layout.output, row, dv.padded()), factors = broadcast(factor);
    emit.loop(0, dv.padded(), shape.lanes, [&](Value column) {
      Value address = emit.at(output, compute, column);
      emit.store(emit.mulF(emit.load(vectorType(), address), factors), address);
    });
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
    if (score) // it may have made something of what is none
      value = emit.select(isInside, value, minusInf);
    if (score || mask)
      emit.store(value, address);
    return {softmax.maximum(value, carried[0])};
  })[0];
}

} // namespace attnjit::tile
