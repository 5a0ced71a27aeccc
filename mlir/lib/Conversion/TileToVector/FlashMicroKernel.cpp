// The two products of the flash schedule. A register tile is `rows` x panelVectors accumulators; per step of the inner loop it takes one
// row of the panel (vector loads) and `rows` scalars of the other operand (broadcasts from where they lie).
#include "FlashSchedule.h"

using namespace mlir;

namespace attnjit::tile {

/// accumulators[row][vector] += a[row] * panelRow[vector]
void FlashKernel::emitStep(MutableArrayRef<Value> accumulators, llvm::function_ref<Value(int64_t row)> address, Value panelRow) {
  Values panel = loadRow(panelRow);
  int64_t rows = accumulators.size() / shape.panelVectors;
  for (int64_t row = 0; row < rows; ++row) {
    Value a = emit.splat(emit.load(emit.f32(), address(row)), shape.lanes);
    for (int64_t vector = 0; vector < shape.panelVectors; ++vector) {
      Value &accumulator = accumulators[row * shape.panelVectors + vector];
      accumulator = emit.fma(a, panel[vector], accumulator);
    }
  }
}

//===------------------------------------------------------------------------------------------------------------------===//
// S^T = K Q^T
//===------------------------------------------------------------------------------------------------------------------===//

Emitter::Values FlashKernel::emitScores(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, bool wantMax) {
  constexpr int64_t elementBytes = sizeof(float);
  int64_t rows = shape.keyTile, vectors = shape.panelVectors, unroll = shape.headUnroll;
  int64_t unrolledDim = program.headDim / unroll * unroll;
  Value lastKey = emit.sub(keys.end, 1), scores = region(layout.scores);

  // Rows past the last key are duplicates of it: they are computed and stored, but change no maximum and are not read.
  auto rowPointers = [&](Value firstKey) {
    Values pointers;
    for (int64_t row = 0; row < rows; ++row) {
      Value key = emit.minS(emit.add(firstKey, row), lastKey);
      pointers.push_back(emit.at(block.keys, emit.f32(), emit.mul(key, program.headDim)));
    }
    return pointers;
  };
  auto product = [&](ArrayRef<Value> pointers) {
    Values carried(rows * vectors, splatF(0.0));
    carried.push_back(panel.queries);
    if (unrolledDim > 0)
      carried = emit.loop(emit.index(0), emit.index(unrolledDim), emit.index(unroll), carried, [&](Value dim, ValueRange state) {
        Values next(state);
        for (int64_t step = 0; step < unroll; ++step)
          emitStep(MutableArrayRef(next).drop_back(),
                   [&](int64_t row) { return emit.atBytes(emit.at(pointers[row], emit.f32(), dim), step * elementBytes); },
                   emit.atBytes(next.back(), step * rowBytes()));
        next.back() = emit.atBytes(next.back(), unroll * rowBytes());
        return next;
      });
    Value panelRow = carried.pop_back_val();
    for (int64_t dim = unrolledDim; dim < program.headDim; ++dim)
      emitStep(carried, [&](int64_t row) { return emit.atBytes(pointers[row], dim * elementBytes); },
               emit.atBytes(panelRow, (dim - unrolledDim) * rowBytes()));
    return carried;
  };

  // Carried: the maxima if wanted, where to store, what to prefetch.
  int64_t maxima = wantMax ? vectors : 0;
  Values initial(maxima, splatF(-INFINITY));
  initial.push_back(scores);
  initial.append(firstPrefetch(block, panel));
  Values result = emit.loop(keys.begin, keys.end, emit.index(rows), initial, [&](Value firstKey, ValueRange state) {
    Values next(state.take_front(maxima)), tileScores = product(rowPointers(firstKey));
    Value address = state[maxima];
    for (int64_t row = 0; row < rows; ++row) {
      ArrayRef<Value> rowScores = ArrayRef(tileScores).slice(row * vectors, vectors);
      storeRow(rowScores, emit.atBytes(address, row * rowBytes()));
      for (int64_t vector = 0; vector < maxima; ++vector)
        next[vector] = maximum(rowScores[vector], next[vector]);
    }
    next.push_back(emit.atBytes(address, rows * rowBytes()));
    next.append(emitPrefetch(state.drop_front(maxima + 1)));
    return next;
  });
  result.truncate(maxima);
  return result;
}

//===------------------------------------------------------------------------------------------------------------------===//
// O^T = rescale * O^T + V^T P^T
//===------------------------------------------------------------------------------------------------------------------===//

void FlashKernel::emitValues(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count, ValueRange rescale) {
  int64_t columns = shape.valueTile, tiledDim = program.valueDim / columns * columns;
  Value values = emit.at(block.values, emit.f32(), emit.mul(keys.begin, program.valueDim));
  if (tiledDim > 0) // `values` and `output` move along with the loop
    emit.loop(emit.index(0), emit.index(tiledDim), emit.index(columns), {values, panel.output}, [&](Value, ValueRange state) -> Values {
      emitValueTile(columns, state[0], state[1], count, rescale);
      return {emit.atBytes(state[0], columns * sizeof(float)), emit.atBytes(state[1], columns * rowBytes())};
    });
  if (tiledDim < program.valueDim)
    emitValueTile(program.valueDim - tiledDim, emit.atBytes(values, tiledDim * sizeof(float)),
                  emit.atBytes(panel.output, tiledDim * rowBytes()), count, rescale);
}

/// `columns` columns of V, from `values` on. V is read for exactly `count` keys: what lies behind might be NaN, or not there at all.
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
    emitStep(next, [&](int64_t column) { return emit.atBytes(row, column * sizeof(float)); }, probabilities);
    next.push_back(emit.atBytes(row, program.valueDim * sizeof(float)));
    next.push_back(emit.atBytes(probabilities, rowBytes()));
    return next;
  });
  for (int64_t column = 0; column < columns; ++column)
    storeRow(ArrayRef(carried).slice(column * shape.panelVectors, shape.panelVectors), emit.atBytes(output, column * rowBytes()));
}

} // namespace attnjit::tile
