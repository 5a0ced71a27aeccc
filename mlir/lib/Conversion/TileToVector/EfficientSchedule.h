// The efficient schedule of the CPU: K and V stream through once for all query heads of a kv head. Private to this room.
//
// With few queries attention reads far more than it computes, so everything serves the stream. The query rows of all heads of one kv head
// make one tile (packed rows, KernelAbi.h), keys are cut into parts that any processor may take, and inside a block of keys a vector lies
// along what is contiguous in memory, so that K and V are used where they lie, in their own type, at any row stride:
//
//     S[row][key]   lanes along D: a register tile is keyTile keys x rowTile rows; its sums across lanes are made by pairs, so that one
//     vector
//                   comes out per tile instead of one number per reduction
//     P = 2^(S-m)   lanes along keys; b, h and q are scalars of a row, which is all that packed heads ask of a formula
//     O[row][col]   lanes along Dv: a register tile is rowTile rows x valueVectors; P is broadcast
//
// One row (one head, one query) has register tiles of its own: rowTile 1, more keys and columns.
//
// The last vector of a row that is no multiple of the lanes overlaps the one before it instead of reading past the row: in K the lanes that
// were seen already are zeroed, in V and O they are computed twice, to the same bits. Rows that this cannot serve (strided columns, fewer
// columns than lanes) are copied block by block into padded rows of the compute type.
//
// Workspace, in the compute type, every region on a cache line:
//
//     queries [rows][padded D]          times scale (times log2 e where there is no score map); rows past the end are 0
//     scores  [rows][blockKeys]         S, then P
//     output  [rows][padded Dv]         not normalised
//     sums    [rows][lanes]             per lane; added up at the end
//     maxima, factors [rows]            running maximum; what the block rescales O by
//     keys [blockKeys][padded D], values [blockKeys][padded Dv]      copies, where rows cannot be used in place
//     key and value pointers [2 blockKeys]                           where K and V lie in pages: rows of this block and the next
//
// A state (SplitArg::states) has per row the padded O, then one vector that holds maximum, sum and, while merging, weight.
#pragma once

#include "Emitter.h"
#include "attnjit-mlir/Conversion/TileToVector/KernelFrame.h"
#include "attnjit-mlir/Conversion/TileToVector/MapExpander.h"
#include "attnjit-mlir/Conversion/TileToVector/Schedules.h"

#include <optional>

namespace attnjit::tile {

/// The columns of a row as whole vectors.
struct EfficientColumns {
  int64_t count, lanes;
  bool inPlace; ///< used where they lie; else copied, and padded with zeros

  int64_t full() const { return inPlace ? count / lanes : (count + lanes - 1) / lanes; }
  bool hasTail() const { return inPlace && count % lanes != 0; }
  int64_t vectors() const { return full() + hasTail(); }
  int64_t padded() const { return vectors() * lanes; }
  /// First column of vector `index`; the tail ends where the row does.
  int64_t columnOf(int64_t index) const { return index < full() ? index * lanes : count - lanes; }
  /// Lanes of the tail that the vector before it has, too.
  int64_t overlap() const { return lanes - count % lanes; }
};

/// Register tiles on a machine; measured, see docs/performance.md.
struct EfficientShape {
  int64_t lanes;        ///< compute elements in a vector
  int64_t rowTile;      ///< rows of a register tile: the 128-bit parts of a vector
  int64_t keyTile;      ///< keys of a register tile of S: the elements of a 128-bit part
  int64_t valueVectors; ///< vectors of a register tile of O

  EfficientShape(const TileProgram &program, const CpuTarget &target);
};

/// Byte offsets of the workspace regions.
struct EfficientWorkspace {
  int64_t queries, scores, output, sums, maxima, factors, keys, values, keyPointers, valuePointers, bytes;
};

/// The packed rows of one unit, i64 values.
struct EfficientTile {
  mlir::Value b, kvHead, group; ///< group: query heads per kv head
  mlir::Value row0, rows;       ///< first packed row, number of rows
};

/// Rows of K or V of one block: where row 0 is and elements between rows, or else where each row is; element type.
struct EfficientRows {
  mlir::Value base, stride;
  mlir::Value pointers; ///< one per row of this and of the next block; null: base and stride say it
  mlir::Type type;
  EfficientColumns columns;
};

/// Emits one kernel. EfficientSchedule.cpp: units and blocks; EfficientDots.cpp: the two products; EfficientSoftmax.cpp: maps, mask,
/// exponentials; EfficientState.cpp: what goes in and out, and merging.
class EfficientKernel {
public:
  EfficientKernel(mlir::OpBuilder &builder, const TileProgram &program, const CpuTarget &target);
  void emitFunction();

private:
  using Value = mlir::Value;
  using Values = Emitter::Values;

  // EfficientSchedule.cpp
  void emitUnit(Value unit);
  void emitPart(Value part);
  void emitBlock(const KvBlock &block);
  void bindTile(Value head, Value rowTile);
  EfficientRows rowsOf(const KvRows &rows, const EfficientColumns &columns, const KvBlock &block, Value copy, Value pointers);
  EfficientWorkspace layOut() const;

  // EfficientDots.cpp
  /// S of rows [row, row + rows) x all keys of the block.
  void emitScores(const EfficientRows &keys, Value count, Value row, int64_t rows);
  /// O = factors * O + P V for rows [row, row + rows).
  void emitValues(const EfficientRows &values, Value count, Value row, int64_t rows);
  void emitValueTile(const EfficientRows &values, Value count, Value row, int64_t rows, mlir::ArrayRef<Value> columns, Value slot);
  Values accumulateScores(const EfficientRows &keys, mlir::ArrayRef<Value> keyRows, Value queryRow, int64_t rows);
  void storeScores(mlir::ArrayRef<Value> sums, Value row, int64_t rows, Value key);
  void emitPrefetch(const EfficientRows &rows, Value key, int64_t count, Value column, int64_t bytes);
  void sharePrefetch(Value row);
  Value rowAt(const EfficientRows &rows, Value index) const;
  Value loadColumns(const EfficientRows &rows, Value rowPointer, Value column, bool isTail);
  Value isNewInTail(const EfficientColumns &columns) const;
  Value addWithinParts(mlir::ArrayRef<Value> vectors);
  Value addAcrossParts(mlir::ArrayRef<Value> vectors);

  // EfficientSoftmax.cpp
  void emitSoftmax(const KvBlock &block, Value count);
  /// Scores of one row after map and mask, in place; keys past the block become -inf. Returns the maximum per lane.
  Value emitMaps(const KvBlock &block, Value count, Value row);
  Value applyProb(const KvBlock &block, Value row, Value key, Value p, Value score);
  Value exponent(Value difference) const;
  Value maximum(Value candidate, Value current) const;
  Value fold(Value vector, llvm::function_ref<Value(Value, Value)> combine) const;

  // EfficientState.cpp
  void packQueries();
  void convertRows(const KvRows &rows, const EfficientColumns &columns, const KvBlock &block, Value target);
  void writeResults();
  void writeState(Value unit);
  /// From the states of units first, first + stride ... into sums, maxima and output.
  void mergeStates(Value first, Value stride, Value parts);
  Value rowsPerState();
  void mergeRow(Value firstState, Value stride, Value parts, Value row);
  void writeRowScalar(Operand which, Value head, Value query, llvm::function_ref<Value()> value);
  void writeOutputRow(Value head, Value query, Value row, Value isEmpty, Value factor);
  Value finishedMax(Value max, Value sum);
  /// Binds a formula to a row: one query of one head.
  void bindRow(MapExpander &expander, Value row);
  /// Keys key, key + 1 ... of a block, one per lane. Lanes past the block stand for its last key once more: their indices are in bounds.
  Value keysAt(const KvBlock &block, Value key);

  // Rows and memory.
  Value headOf(Value row) {
    return emit.add(emit.mul(tile.kvHead, tile.group), emit.make<mlir::arith::RemUIOp>(emit.add(tile.row0, row), tile.group));
  }
  Value queryOf(Value row) { return emit.make<mlir::arith::DivUIOp>(emit.add(tile.row0, row), tile.group); }
  Value operandBase(const OperandAccess &operand, mlir::Type element, Value head);
  Value region(int64_t offset) const { return emit.atBytes(workspace, offset); }
  Value rowOf(int64_t offset, Value row, int64_t pitch) const { return emit.at(region(offset), compute, emit.mul(row, pitch)); }
  void forEachRow(llvm::function_ref<void(Value row)> body) { emit.loop(emit.index(0), tile.rows, emit.index(1), body); }

  static constexpr int64_t kPointerBytes = 8;
  /// Rows of a block and the next.
  int64_t pointerSlots() const { return 2 * program.tileCols; }
  int64_t elementBytes() const { return compute.getIntOrFloatBitWidth() / 8; }
  int64_t stateRowElems() const { return dv.padded() + shape.lanes; }
  mlir::Type vectorType() const { return emit.vec(shape.lanes, compute); }
  Value scalarF(double value) const { return emit.constFloat(compute, value); }
  Value splatF(double value) const { return emit.constFloat(vectorType(), value); }
  Value broadcast(Value scalar) const { return emit.splat(scalar, shape.lanes); }

  mlir::OpBuilder &builder;
  const TileProgram &program;
  Emitter emit;
  mlir::Type compute;
  EfficientShape shape;
  EfficientColumns d, dv;
  int64_t pitch;   ///< of a row of scores
  int64_t maxRows; ///< of a tile, in whole register tiles
  EfficientWorkspace layout;
  bool scoresAreLog2; ///< log2 e is folded into Q: there is no score map

  // Known once the function exists, resp. inside the loop over units.
  AbiAccess *abi = nullptr;
  Value workspace;
  EfficientTile tile;
  HeadFactors factors;
  KvRows k, v;                       ///< of this batch and kv head
  Value prefetchShare, prefetchBase; ///< of the register tile at work; null: all of it
  std::optional<MapExpander> score, mask, prob;
};

} // namespace attnjit::tile
