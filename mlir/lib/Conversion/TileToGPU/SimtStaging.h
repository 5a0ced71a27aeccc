// From operands in global memory to tiles of the compute type in shared memory, by all threads of a block. Private to this room.
#pragma once

#include "Fragments.h"
#include "SimtShape.h"
#include "attnjit-mlir/Conversion/TileToVector/KernelFrame.h"

#include <functional>

namespace attnjit::tile {

/// What a tile is filled from: rows [first, end) of one head of an operand. Tile rows past `end` and columns past `columns` become zero and
/// are never read from memory.
struct StagingSource {
  mlir::Type memory; ///< of its elements
  int64_t columns;
  std::function<mlir::Value(mlir::Value row)> rowAt; ///< pointer to the first element of a row
  mlir::Value columnStride;                          ///< elements; null: 1
  mlir::Value inVectors;                             ///< i1: its rows are aligned to what moves at once; null: they never are
  mlir::Value first, end;                            ///< i64; row end - 1 exists
};

/// Whether the rows of an operand are aligned to `bytes`, a power of two; i1, alike for all threads.
mlir::Value emitIsAligned(const Emitter &emit, const OperandAccess &operand, mlir::Type memory, int64_t bytes);

class SimtStaging {
public:
  SimtStaging(mlir::OpBuilder &builder, mlir::Location loc, mlir::Type compute, const ThreadPosition &position, int64_t threads,
              mlir::Value shared)
      : emit(builder, loc), compute(compute), position(position), threads(threads), shared(shared) {}

  /// Columns [firstColumn, firstColumn + tile.cols) of the source; firstColumn i32, null for 0. No barrier.
  void copy(const StagedTile &tile, const StagingSource &source, mlir::Value firstColumn) const;

private:
  struct Place;
  void copyVectors(const StagedTile &tile, const StagingSource &source, mlir::Value firstColumn) const;
  void copyElements(const StagedTile &tile, const StagingSource &source, mlir::Value firstColumn) const;
  mlir::Value rowOf(const StagedTile &tile, mlir::Value group) const;
  Place locate(const StagedTile &tile, const StagingSource &source, mlir::Value row) const;
  mlir::Value columnOf(const StagedTile &tile, int64_t turn, int64_t vector) const;
  mlir::Value elementAt(const Place &place, const StagingSource &source, mlir::Value column) const;
  int64_t vectorOf(const StagedTile &tile) const { return 16 / tile.elementBytes; }

  Emitter emit;
  mlir::Type compute;
  const ThreadPosition &position;
  int64_t threads;
  mlir::Value shared;
};

} // namespace attnjit::tile
