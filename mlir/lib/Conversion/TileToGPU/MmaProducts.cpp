#include "MmaProducts.h"

using namespace mlir;

namespace attnjit::tile {

MmaState MmaState::initial(const Emitter &emit, const FragmentRows &rows, int64_t valueDim) {
  Value zero = emit.constFloat(emit.f32(), 0.0);
  return {rows.initialState(), Fragments(valueDim / 8, {zero, zero, zero, zero})};
}

Emitter::Values MmaState::flatten() const {
  Emitter::Values values = {row.max[0], row.max[1], row.sum[0], row.sum[1]};
  for (const Fragment4 &fragment : out)
    values.append(fragment.begin(), fragment.end());
  return values;
}

MmaState MmaState::unflatten(ValueRange values) {
  MmaState state{{{values[0], values[1]}, {values[2], values[3]}}, {}};
  for (size_t i = 4; i < values.size(); i += 4)
    state.out.push_back({values[i], values[i + 1], values[i + 2], values[i + 3]});
  return state;
}

/// Matrices 0 .. 3 of Q and of V are the quarters (top, left), (bottom, left), (top, right), (bottom, right) of a 16x16 tile; those of K,
/// whose rows are columns of B, (top, left), (top, right), (bottom, left), (bottom, right).
Value emitLaneOffset(const Emitter &emit, const ThreadPosition &position, const SharedTile &tile, SharedFactor factor) {
  auto bits = [&](int64_t mask) { return emit.bitAnd(position.lane, emit.constInt(emit.i32(), mask)); };
  Value upper = emit.shl(emit.shrU(position.lane, 4), 3), row, column;
  if (factor == SharedFactor::RightByRow)
    row = emit.add(bits(7), upper), column = bits(8);
  else
    row = bits(15), column = upper;
  return emit.add(emit.mul(row, tile.pitchBytes()), emit.shl(column, 1));
}

Fragments emitScores(const Emitter &emit, Type type, llvm::function_ref<Fragment4(int64_t)> q, const SharedTile &tile, Value k,
                     int64_t keys) {
  Value zero = emit.constFloat(emit.f32(), 0.0);
  Fragments scores(keys / 8, {zero, zero, zero, zero});
  for (int64_t column = 0; column < tile.cols; column += 16) {
    Fragment4 left = q(column);
    for (int64_t key = 0; key < keys; key += 16) {
      Fragment4 right = emitLoadMatrices(emit, emitByteOffset(emit, k, key * tile.pitchBytes() + column * 2), /*transposed=*/false);
      for (int64_t half = 0; half < 2; ++half) {
        Fragment4 &sum = scores[key / 8 + half];
        sum = emitMma(emit, type, left, right[2 * half], right[2 * half + 1], sum);
      }
    }
  }
  return scores;
}

void emitOutputSums(const Emitter &emit, Type type, ArrayRef<Fragment4> probs, const SharedTile &tile, Value v, Fragments &out) {
  for (int64_t key = 0; key < int64_t(probs.size()) * 8; key += 16) {
    Fragment4 p = emitLeftFactor(emit, type, probs[key / 8], probs[key / 8 + 1]);
    for (int64_t column = 0; column < tile.cols; column += 16) {
      Fragment4 right = emitLoadMatrices(emit, emitByteOffset(emit, v, key * tile.pitchBytes() + column * 2), /*transposed=*/true);
      for (int64_t half = 0; half < 2; ++half) {
        Fragment4 &sum = out[column / 8 + half];
        sum = emitMma(emit, type, p, right[2 * half], right[2 * half + 1], sum);
      }
    }
  }
}

} // namespace attnjit::tile
