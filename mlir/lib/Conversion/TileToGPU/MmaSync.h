// How the mma.sync schedule cuts a tile. Private to this room.
#pragma once

#include "SharedTile.h"
#include "attnjit-mlir/Conversion/TileToGPU/Schedules.h"

namespace attnjit::tile {

struct MmaSyncShape {
  int64_t rows, cols, headDim, valueDim; ///< padded
  SharedTile q, k, v;

  static MmaSyncShape of(const TileProgram &program) {
    MmaSyncShape shape{program.tileRows, program.tileCols, paddedColumns(program.headDim), paddedColumns(program.valueDim), {}, {}, {}};
    shape.q = {0, shape.rows, shape.headDim};
    shape.k = {shape.q.sizeBytes(), shape.cols, shape.headDim};
    shape.v = {shape.k.offsetBytes + shape.k.sizeBytes(), shape.cols, shape.valueDim};
    return shape;
  }
  /// One warp per 16 rows.
  int64_t threads() const { return rows / 16 * 32; }
  int64_t sharedBytes() const { return v.offsetBytes + v.sizeBytes(); }
};

} // namespace attnjit::tile
