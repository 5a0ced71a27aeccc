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

  int64_t cols, valueDim, stages; ///< valueDim: padded
  SharedTile kStage, vStage;      ///< of the first stage, as K and V arrive
  int64_t stageBytes;             ///< from one to the next
  SharedTile k, v;                ///< as they are computed on: in a stage, but 8-bit floats
  bool widens;                    ///< K and V are 8-bit floats, so that k and v have a place of their own
  int64_t flagOffset;             ///< a word that says to all threads what one has found

  static MmaSplitShape of(int64_t cols, int64_t headDim, int64_t valueDim, bool widens, int64_t stages) {
    MmaSplitShape shape{cols, paddedColumns(valueDim), stages, {}, {}, 0, {}, {}, widens, 0};
    auto pair = [&](int64_t offset, int64_t elementBytes, SharedTile &k, SharedTile &v) {
      k = {offset, cols, paddedColumns(headDim), elementBytes};
      v = {offset + k.sizeBytes(), cols, shape.valueDim, elementBytes};
      return v.offsetBytes + v.sizeBytes();
    };
    shape.stageBytes = pair(0, widens ? 1 : 2, shape.kStage, shape.vStage);
    int64_t end = stages * shape.stageBytes;
    if (widens)
      end = pair(end, 2, shape.k, shape.v);
    else
      shape.k = shape.kStage, shape.v = shape.vStage;
    // When all keys are through the states of the warps lie here instead.
    shape.flagOffset = std::max(end, kMaxRows * shape.stateRowBytes());
    return shape;
  }
  static MmaSplitShape of(const TileProgram &program, int64_t stages) {
    return of(program.tileCols, program.headDim, program.valueDim, program.kvType != program.qType, stages);
  }
  int64_t threads() const { return kWarps * 32; }
  int64_t sharedBytes() const { return flagOffset + 16; }
  /// A row of a state, f32: sums of the output, then maximum and sum; whole units of 16 bytes.
  int64_t stateRowBytes() const { return (valueDim + 4) * 4; }
};

} // namespace attnjit::tile
