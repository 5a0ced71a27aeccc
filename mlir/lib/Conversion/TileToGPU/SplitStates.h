// States of the split schedule: of warps in shared memory, of parts in device memory, and what they come to together. Private to this room.
//
// A state row is MmaSplitShape::stateRowBytes: sums of the output for all columns of the tile of V, maximum (in the unit of FragmentRows)
// and sum. Rows that belong together are merged by one warp, each lane holding 4 neighbouring columns, in the order of their numbers (A11).
#pragma once

#include "MmaProducts.h"
#include "MmaSplit.h"

namespace attnjit::tile {

/// The states of one row.
struct StateRows {
  mlir::Value first;       ///< pointer, to shared or device memory
  mlir::Value strideBytes; ///< from one to the next, i64
  mlir::Value count;       ///< i64
};

class SplitStates {
public:
  SplitStates(const Emitter &emit, const TileProgram &program, const MmaSplitShape &shape, AbiAccess &abi, const ThreadPosition &position,
              const FragmentRows &rows)
      : emit(emit), program(program), shape(shape), abi(abi), position(position), rows(rows) {}

  /// What this thread holds of the state of its warp; `first`: state row 0 of the warp.
  void storeWarp(const MmaState &state, mlir::Value first) const;
  /// The state that several make; all lanes of the warp come with the same `states`.
  struct Merged {
    mlir::Value max, sum;
    llvm::SmallVector<mlir::Value> columns; ///< vectors of 4
  };
  Merged merge(const StateRows &states) const;
  void store(const Merged &state, mlir::Value to) const;
  /// Row `row` (i64) of the tile: its output, lse and max.
  void finish(const Merged &state, mlir::Value row) const;

private:
  void forEachColumns(llvm::function_ref<void(int64_t index, mlir::Value firstColumn)> body) const;
  mlir::Value maximumOf(const StateRows &states) const;
  mlir::Value maximumOfWarp(mlir::Value value) const;
  mlir::Value isSpeaker() const { return emit.cmp(Emitter::CmpI::eq, position.lane, emit.constInt(emit.i32(), 0)); }
  /// Vectors of columns that a lane holds.
  int64_t vectors() const { return (shape.valueDim + kLaneColumns * 32 - 1) / (kLaneColumns * 32); }
  int64_t maxOffset() const { return shape.valueDim * 4; }
  int64_t sumOffset() const { return shape.valueDim * 4 + 4; }

  static constexpr int64_t kLaneColumns = 4;
  const Emitter &emit;
  const TileProgram &program;
  const MmaSplitShape &shape;
  AbiAccess &abi;
  const ThreadPosition &position;
  const FragmentRows &rows;
};

} // namespace attnjit::tile
