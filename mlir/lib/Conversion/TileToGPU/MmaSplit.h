// How the split schedule cuts its work, and what lies where in shared memory. Private to this room.
//
// A tile is up to 64 packed rows, a block of threads four warps. As few rows as decoding has would leave three of them idle, so the warps
// are dealt out when the rows are counted: one, two or four groups of 16 rows, and within a group four, two or one warps that share the
// keys of a block among them, 16 at a time, each with a state of its own.
#pragma once

#include "SharedTile.h"
#include "attnjit-mlir/Conversion/TileToGPU/Schedules.h"
#include "attnjit-mlir/Dialect/Tile/Tile.h"

namespace attnjit::tile {

struct MmaSplitShape {
  static constexpr int64_t kWarps = 4, kWarpRows = 16, kStepKeys = 16;
  static constexpr int64_t kMaxRows = kWarps * kWarpRows;

  int64_t cols, valueDim, stages;
  SharedTile k, v;    ///< of the first stage
  int64_t stageBytes; ///< from one to the next
  int64_t flagOffset; ///< a word that says to all threads what one has found

  static MmaSplitShape of(const TileProgram &program, int64_t stages) {
    MmaSplitShape shape{program.tileCols, program.valueDim, stages, {}, {}, 0, 0};
    shape.k = {0, shape.cols, program.headDim};
    shape.v = {shape.k.sizeBytes(), shape.cols, program.valueDim};
    shape.stageBytes = shape.v.offsetBytes + shape.v.sizeBytes();
    // When all keys are through the states of the warps lie here instead.
    shape.flagOffset = std::max(stages * shape.stageBytes, kMaxRows * shape.stateRowBytes());
    return shape;
  }
  int64_t threads() const { return kWarps * 32; }
  int64_t sharedBytes() const { return flagOffset + 16; }
  /// A row of a state, f32: sums of the output, then maximum and sum; whole units of 16 bytes.
  int64_t stateRowBytes() const { return (valueDim + 4) * 4; }
};

} // namespace attnjit::tile
