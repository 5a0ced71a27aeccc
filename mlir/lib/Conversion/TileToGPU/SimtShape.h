// How the SIMT schedule cuts a tile among threads, and what lies where in shared memory. Private to this room.
//
// `rowLanes` neighbouring lanes share their rows. A thread holds of the scores columns lane, lane + rowLanes ..., of the output vectors of
// 16 bytes at the same distances. The rows of a warp lie side by side, so that their factors are in different banks:
//
//   row i of a thread = warp * warpRows + group + i * groups,     groups = 32 / rowLanes, group = lane / rowLanes
#pragma once

#include "attnjit-mlir/Conversion/TileToGPU/Schedules.h"
#include "attnjit-mlir/Dialect/Tile/Tile.h"
#include "llvm/Support/MathExtras.h"

namespace attnjit::tile {

/// Rows of elements of the compute type in shared memory. `padding` moves neighbouring rows to different banks.
struct StagedTile {
  int64_t offsetBytes, rows, cols, padding, elementBytes;
  int64_t pitchBytes() const { return (cols + padding) * elementBytes; }
  int64_t endBytes() const { return offsetBytes + rows * pitchBytes(); }
};

struct SimtShape {
  int64_t rows, cols, headDim, valueDim;
  int64_t threads, rowLanes, depth, valueRows;
  int64_t elementBytes; ///< of the compute type
  StagedTile q, k, v, p;

  static SimtShape of(const TileProgram &program, SimtAttr choices) {
    SimtShape shape{program.tileRows,
                    program.tileCols,
                    program.headDim,
                    program.valueDim,
                    choices.getThreads(),
                    choices.getRowLanes(),
                    choices.getDepth(),
                    choices.getValueRows(),
                    program.computeType.getIntOrFloatBitWidth() / 8,
                    {},
                    {},
                    {},
                    {}};
    int64_t bytes = shape.elementBytes, unit = shape.vector();
    int64_t depth =
        llvm::alignTo(std::min(shape.depth, shape.headDim), 2 * unit); // so that a row and its padding are an odd number of units
    shape.q = {0, shape.rows, depth, unit, bytes};
    shape.k = {shape.q.endBytes(), shape.cols, depth, unit, bytes};
    shape.v = {shape.k.endBytes(), shape.valueRows, shape.valueVectors() * shape.rowLanes * unit, 0, bytes};
    shape.p = {shape.v.endBytes(), shape.rows, shape.cols, unit, bytes};
    return shape;
  }

  /// Elements that move at once.
  int64_t vector() const { return 16 / elementBytes; }
  int64_t groups() const { return 32 / rowLanes; }
  int64_t rowsPerThread() const { return rows * rowLanes / threads; }
  int64_t warpRows() const { return groups() * rowsPerThread(); }
  int64_t colsPerThread() const { return cols / rowLanes; }
  /// Of a row of the output in one thread; those past Dv are computed and not stored.
  int64_t valueVectors() const { return llvm::divideCeil(valueDim, vector() * rowLanes); }
  int64_t scoresPerThread() const { return rowsPerThread() * colsPerThread(); }
  int64_t outPerThread() const { return rowsPerThread() * valueVectors() * vector(); }
  /// Q stays for the whole tile; all of V comes with K.
  bool keepsQ() const { return depth >= headDim; }
  bool bringsV() const { return valueRows >= cols; }
  int64_t sharedBytes() const { return p.endBytes(); }
};

} // namespace attnjit::tile
