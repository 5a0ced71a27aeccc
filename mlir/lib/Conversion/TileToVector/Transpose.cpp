#include "Transpose.h"

using namespace mlir;

namespace attnjit::tile {

/// In step s, elements of rows i and i + s change places whose columns differ from their row in bit s.
Emitter::Values transpose(const Emitter &emit, ValueRange rows) {
  Emitter::Values current(rows);
  int64_t lanes = rows.size();
  for (int64_t s = 1; s < lanes; s *= 2) {
    SmallVector<int64_t> ofFirst, ofSecond;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      ofFirst.push_back(lane & s ? lanes + lane - s : lane);
      ofSecond.push_back(lane & s ? lanes + lane : lane + s);
    }
    for (int64_t i = 0; i < lanes; ++i)
      if (!(i & s)) {
        Value first = current[i], second = current[i + s];
        current[i] = emit.make<vector::ShuffleOp>(first, second, ofFirst);
        current[i + s] = emit.make<vector::ShuffleOp>(first, second, ofSecond);
      }
  }
  return current;
}

} // namespace attnjit::tile
