// The two products of the flash schedule. A register tile is `rows` x panelVectors accumulators; per step of the inner loop it takes one
// row of the panel (vector loads) and `rows` scalars of the other operand (broadcasts from where they lie).
#include "FlashSchedule.h"

using namespace mlir;

namespace attnjit::tile {

/// sum + a * b; of words, the products of both elements.
Value FlashKernel::emitDot(Value a, Value b, Value sum, bool inWords) const {
  if (!inWords)
    return emit.fma(a, b, sum);
  Type pairs = emit.vec(2 * shape.lanes, builder.getBF16Type());
  auto asPairs = [&](Value words) { return Value(emit.make<LLVM::BitcastOp>(pairs, words)); };
  return emit.intrinsic("llvm.x86.avx512bf16.dpbf16ps.512", sum.getType(), {sum, asPairs(a), asPairs(b)});
}

/// accumulators[row][vector] += a[row] * panelRow[vector]
void FlashKernel::emitStep(MutableArrayRef<Value> accumulators, llvm::function_ref<Value(int64_t row)> address, Value panelRow,
                           bool inWords) {
  Values panel = loadRow(panelRow);
  int64_t rows = accumulators.size() / shape.panelVectors;
  for (int64_t row = 0; row < rows; ++row) {
    Value a = emit.splat(emit.loadUnaligned(compute, address(row), inWords ? 2 : elementBytes()), shape.lanes);
    for (int64_t vector = 0; vector < shape.panelVectors; ++vector) {
      Value &accumulator = accumulators[row * shape.panelVectors + vector];
      accumulator = emitDot(a, panel[vector], accumulator, inWords);
    }
  }
}

//===------------------------------------------------------------------------------------------------------------------===//
// S^T = K Q^T
//===------------------------------------------------------------------------------------------------------------------===//

Emitter::Values FlashKernel::emitScores(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, bool wantMax) {
  SmallVector<FlashProduct> products{{block.keys, emit.index(steps), panel.queries, nullptr, steps, shape.takesWords()}};
  if (const FlashDot *dot = addedDot())
    products.push_back(productOf(*dot, panel));
  auto biasOf = [&](Value key) { return emitBias(block, keys, key); };
  return emitProducts(products, keys, region(layout.scores), wantMax, firstPrefetch(block, panel),
                      bias.empty() ? llvm::function_ref<Values(Value)>() : biasOf);
}

void FlashKernel::emitDotScores(const FlashDot &dot, const FlashPanel &panel, const FlashKeys &keys) {
  emitProducts(productOf(dot, panel), keys, region(dot.scores), /*wantMax=*/false, {});
}

/// The sum of `products` for all keys, and of `bias` if there is one, a register tile at a time, into `target`.
Emitter::Values FlashKernel::emitProducts(ArrayRef<FlashProduct> products, const FlashKeys &keys, Value target, bool wantMax,
                                          ValueRange prefetch, llvm::function_ref<Values(Value key)> bias) {
  int64_t rows = shape.keyTile, vectors = shape.panelVectors;
  // Carried: the maxima if wanted, where to store, what to prefetch.
  int64_t maxima = wantMax ? vectors : 0;
  Values initial(maxima, splatF(-INFINITY));
  initial.push_back(target);
  initial.append(prefetch.begin(), prefetch.end());
  Values result = emit.loop(keys.begin, keys.end, emit.index(rows), initial, [&](Value firstKey, ValueRange state) {
    // Rows past the last key are duplicates of it: they are computed and stored, but change no maximum and are not read.
    // Rows past the last key are duplicates of it: they are computed and stored, but change no maximum and are not read.
    Values next(state.take_front(maxima)), tileKeys, tileScores(rows * vectors, splatF(0.0));
    for (int64_t row = 0; row < rows; ++row)
      tileKeys.push_back(emit.minS(emit.add(firstKey, row), emit.sub(keys.end, 1)));
    for (const FlashProduct &product : products)
      tileScores = accumulate(product, tileKeys, std::move(tileScores));
    // Added last: if the sums began with a large bias, each of their steps would be rounded like it.
    if (bias)
      for (int64_t row = 0; row < rows; ++row)
        for (auto [vector, more] : llvm::enumerate(bias(tileKeys[row])))
          tileScores[row * vectors + vector] = emit.addF(tileScores[row * vectors + vector], more);
    Value address = state[maxima];
    for (int64_t row = 0; row < rows; ++row) {
      ArrayRef<Value> rowScores = ArrayRef(tileScores).slice(row * vectors, vectors);
      storeRow(rowScores, emit.atBytes(address, row * rowBytes()));
      for (int64_t vector = 0; vector < maxima; ++vector)
        next[vector] = softmax.maximum(rowScores[vector], next[vector]);
    }
    next.push_back(emit.atBytes(address, rows * rowBytes()));
    if (!prefetch.empty())
      next.append(emitPrefetch(state.drop_front(maxima + 1), rows));
    return next;
  });
  result.truncate(maxima);
  return result;
}

/// Adds one product to a register tile of these keys.
Emitter::Values FlashKernel::accumulate(const FlashProduct &product, ValueRange tileKeys, Values accumulators) {
  int64_t unroll = shape.headUnroll, unrolledDim = product.staticDepth / unroll * unroll;
  Values pointers;
  for (Value key : tileKeys)
    pointers.push_back(emit.at(product.keys, compute, emit.mul(key, product.keyStride)));
  Values carried = std::move(accumulators);
  carried.push_back(product.queries);
  if (product.depth || unrolledDim > 0) {
    Value end = product.depth ? product.depth : emit.index(unrolledDim);
    carried = emit.loop(emit.index(0), end, emit.index(unroll), carried, [&](Value dim, ValueRange state) {
      Values next(state);
      for (int64_t step = 0; step < unroll; ++step)
        emitStep(
            MutableArrayRef(next).drop_back(),
            [&](int64_t row) { return emit.atBytes(emit.at(pointers[row], compute, dim), step * elementBytes()); },
            emit.atBytes(next.back(), step * rowBytes()), product.inWords);
      next.back() = emit.atBytes(next.back(), unroll * rowBytes());
      return next;
    });
  }
  Value panelRow = carried.pop_back_val();
  for (int64_t dim = unrolledDim; dim < product.staticDepth; ++dim)
    emitStep(
        carried, [&](int64_t row) { return emit.atBytes(pointers[row], dim * elementBytes()); },
        emit.atBytes(panelRow, (dim - unrolledDim) * rowBytes()), product.inWords);
  if (product.inWords && !scoresAreRaw) // Q is as it was
    for (Value &sum : carried)
      sum = emit.mulF(sum, emit.splat(scoreFactor, shape.lanes));
  return carried;
}

//===------------------------------------------------------------------------------------------------------------------===//
// O^T = rescale * O^T + V^T P^T
//===------------------------------------------------------------------------------------------------------------------===//

void FlashKernel::emitValues(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count, ValueRange rescale) {
  int64_t columns = shape.valueTile, tiledDim = program.valueDim / columns * columns;
  Value first = keys.begin;
  if (shape.takesWords()) { // rows of two keys; the range of a panel begins with an even one
    first = emit.shrU(keys.begin, 1);
    count = emit.shrU(emit.add(count, 1), 1);
  }
  Value values = emit.at(block.values, compute, emit.mul(first, program.valueDim));
  if (tiledDim > 0) // `values` and `output` move along with the loop
    emit.loop(emit.index(0), emit.index(tiledDim), emit.index(columns), {values, panel.output}, [&](Value, ValueRange state) -> Values {
      emitValueTile(columns, state[0], state[1], count, rescale);
      return {emit.atBytes(state[0], columns * elementBytes()), emit.atBytes(state[1], columns * rowBytes())};
    });
  if (tiledDim < program.valueDim)
    emitValueTile(program.valueDim - tiledDim, emit.atBytes(values, tiledDim * elementBytes()),
                  emit.atBytes(panel.output, tiledDim * rowBytes()), count, rescale);
}

/// `columns` columns of V, from `values` on. V is read for exactly `count` rows: what lies behind might be NaN, or not there at all.
void FlashKernel::emitValueTile(int64_t columns, Value values, Value output, Value count, ValueRange rescale) {
  Values carried;
  for (int64_t column = 0; column < columns; ++column)
    for (auto [o, factor] : llvm::zip(loadRow(emit.atBytes(output, column * rowBytes())), rescale))
      carried.push_back(emit.mulF(o, factor));
  carried.push_back(values);
  carried.push_back(region(layout.scores));

  carried = emit.loop(emit.index(0), count, emit.index(1), carried, [&](Value, ValueRange state) {
    Values next(state);
    Value probabilities = next.pop_back_val(), row = next.pop_back_val();
    emitStep(next, [&](int64_t column) { return emit.atBytes(row, column * elementBytes()); }, probabilities, shape.takesWords());
    next.push_back(emit.atBytes(row, program.valueDim * elementBytes()));
    next.push_back(emit.atBytes(probabilities, rowBytes()));
    return next;
  });
  for (int64_t column = 0; column < columns; ++column)
    storeRow(ArrayRef(carried).slice(column * shape.panelVectors, shape.panelVectors), emit.atBytes(output, column * rowBytes()));
}

} // namespace attnjit::tile
