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
//     maxima, normalisers [rows]        running maximum; what makes p of e^(score - maximum)
//     factors [rows]                    what the block rescales O by; at the end, what is left to multiply it by
//     keys [blockKeys][padded D], values [blockKeys][padded Dv]      copies, where rows cannot be used in place
//     key and value pointers [2 blockKeys]                           where K and V lie in pages: rows of this block and the next
//
// and for each further product of queries and keys in score_mod (ExtraDots.h), r being its length, known at run time only:
//
//     dot queries [rows][padded r], dot keys [blockKeys][padded r], and dot scores like scores where a map takes it
//
// A state (SplitArg::states) has per row the padded O, then one vector that holds maximum, sum and, while merging, weight. Where prob_mod
// needs the normalised p, parts are computed in two rounds (KernelAbi.h): the first one leaves maxima and sums, and what merges them writes
// maxima and normalisers and leaves them in the state of the tile's first part; parts of the second round read it there.
#pragma once

#include "Emitter.h"
#include "ExtraDots.h"
#include "OnlineSoftmax.h"
#include "attnjit-mlir/Conversion/TileToVector/KernelFrame.h"
#include "attnjit-mlir/Conversion/TileToVector/MapExpander.h"
#include "attnjit-mlir/Conversion/TileToVector/Schedules.h"

#include <deque>
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
  int64_t queries, scores, output, sums, maxima, normalisers, factors, keys, values, keyPointers, valuePointers, bytes;
};

/// The packed rows of one unit, i64 values.
struct EfficientTile {
  mlir::Value b, kvHead, group;             ///< group: query heads per kv head
  mlir::Value row0, rows;                   ///< first packed row, number of rows
  mlir::Value firstUnit, unitStride, parts; ///< units of its parts
};

/// A further product of queries and keys, asked for by score_mod.
struct EfficientDot : PackedDot {
  EfficientDot(mlir::OpBuilder &builder, const TileProgram &program, AbiAccess &abi, int64_t lanes, ExtraDot extra)
      : PackedDot(builder, program, abi, lanes, std::move(extra)),
        query(builder, program.kernel->getLoc(), program, *dot.querySide, abi, lanes) {}

  MapExpander query;
  int64_t queries = 0, keys = 0, scores = 0; ///< offsets of its regions
};

/// Rows of K or V of one block: where row 0 is and elements between rows, or else where each row is; element type.
struct EfficientRows {
  mlir::Value base, stride;
  mlir::Value pointers; ///< one per row of this and of the next block; null: base and stride say it
  mlir::Type type;
  EfficientColumns columns;
};

/// Emits one kernel. EfficientSchedule.cpp: units and blocks; EfficientDots.cpp: the two products; EfficientSoftmax.cpp: maps, mask,
/// exponentials; EfficientState.cpp: states, their merging and what comes out; EfficientPack.cpp: what goes in.
class EfficientKernel {
public:
  EfficientKernel(mlir::OpBuilder &builder, const TileProgram &program, const CpuTarget &target);
  void emitFunction();

private:
  using Value = mlir::Value;
  using Values = Emitter::Values;

  // EfficientSchedule.cpp
  void placeDots();
  void emitUnits(Value begin, Value end, bool withDots);
  void emitUnit(Value unit);
  void bindTile(Value head, Value rowTile, Value rowTiles, Value parts);
  void emitPart(Value unit, Value part, Value isSecondRound);
  void emitPartOfTwoPasses(Value unit, Value part, Value isSecondRound);
  void emitMerge(Value isSecondRound);
  void walkKeys(Pass pass, Value part);
  void emitBlock(Pass pass, const KvBlock &block);
  EfficientWorkspace layOut() const;

  // EfficientDots.cpp
  /// S of rows [row, row + rows) x all keys of the block.
  void emitScores(const EfficientRows &keys, Value count, Value row, int64_t rows);
  /// O = factors * O + P V for rows [row, row + rows).
  void emitValues(const EfficientRows &values, Value count, Value row, int64_t rows);
  void emitValueTile(const EfficientRows &values, Value count, Value row, int64_t rows, mlir::ArrayRef<Value> columns, Value slot);
  Values accumulateScores(const EfficientRows &keys, mlir::ArrayRef<Value> keyRows, Value queryRow, int64_t rows);
  /// The same of a dot that a map takes, into its own region.
  void emitDotScores(const EfficientDot &dot, Value count, Value row, int64_t rows);
  Values accumulateDot(const EfficientDot &dot, mlir::ArrayRef<Value> keys, Value row, int64_t rows, Values sums);
  void storeScores(mlir::ArrayRef<Value> sums, Value target, int64_t rows, Value key);
  /// Keys of a register tile of S. A single row needs more chains of additions.
  int64_t keysOfTile(int64_t rows) const { return rows == 1 ? 2 * shape.keyTile : shape.keyTile; }
  /// Key `key` and those behind it that make a register tile of S; past the last one, that one again, which becomes -inf later.
  Values tileOfKeys(Value key, Value count, int64_t rows);
  void emitPrefetch(const EfficientRows &rows, Value key, int64_t count, Value column, int64_t bytes);
  void sharePrefetch(Value row);
  Value rowAt(const EfficientRows &rows, Value index) const;
  Value loadColumns(const EfficientRows &rows, Value rowPointer, Value column, bool isTail);
  Value isNewInTail(const EfficientColumns &columns) const;
  Value addWithinParts(mlir::ArrayRef<Value> vectors);
  Value addAcrossParts(mlir::ArrayRef<Value> vectors);

  // EfficientSoftmax.cpp
  /// Turns the scores of every row into P, but for a walk of the state alone; updates maxima and sums, unless they are known; leaves in
  /// `factors` what O so far must be multiplied with.
  void emitSoftmax(Pass pass, const KvBlock &block, Value count);
  /// The exponentials of a row of scores over `reference`, in their place after prob_mod unless `pass` is of the state; returns `sums` plus
  /// those before prob_mod.
  Value emitExponentials(Pass pass, const KvBlock &block, Value count, Value row, Value reference, Value sums);
  /// Scores of one row after map and mask, in place; keys past the block become -inf. Returns the maximum per lane.
  Value emitMaps(const KvBlock &block, Value count, Value row);
  Value applyProb(const KvBlock &block, Value row, Value key, Value p, Value score);
  Value fold(Value vector, llvm::function_ref<Value(Value, Value)> combine) const;
  Value sumOf(Value row) const;
  /// Binds a formula to a row: one query of one head.
  void bindRow(MapExpander &expander, Value row);
  /// Keys key, key + 1 ... of a block, one per lane. Lanes past the block stand for its last key once more: their indices are in bounds.
  Value keysAt(const KvBlock &block, Value key);

  // EfficientPack.cpp
  void packQueries();
  void packQueryRow(const OperandAccess &q, Value scale, Value row);
  EfficientRows rowsOf(const KvRows &rows, const EfficientColumns &columns, const KvBlock &block, Value copy, Value pointers);
  void convertRows(const KvRows &rows, const EfficientColumns &columns, const KvBlock &block, Value target);
  Value bindDotLengths();
  void packDotQueries(EfficientDot &dot);
  void packDotKeys(const KvBlock &block);
  /// The dot that goes on in the accumulators of the scores; null: none.
  const EfficientDot *addedDot() const { return usesDots && program.score && !hasScoreMap ? &dots.front() : nullptr; }

  // EfficientState.cpp
  /// From maxima and sums: natural maxima and lse, which are written; normalisers, if there is a second pass; and in `factors` what O must
  /// be multiplied with.
  void finishRows();
  void writeOutput();
  void writeState(Pass pass, Value unit);
  /// What the first round found out about the rows: into the state of the tile's first part, and from there.
  void writeFinishedRows();
  void readFinishedRows();
  /// From the states of the parts: maxima and sums, and the weight of each part.
  void mergeStateRow(Value row);
  /// The weighted sum of their outputs.
  void mergeOutputRow(Value row);
  Value rowsPerState();
  Value stateRow(Value unit, Value row);
  Value stateSlot(Value state, int64_t element) { return emit.atBytes(state, (dv.padded() + element) * elementBytes()); }
  Value nextState(Value state) { return emit.at(state, compute, emit.mul(emit.mul(tile.unitStride, rowsPerState()), stateRowElems())); }
  void writeRowScalar(Operand which, Value head, Value query, llvm::function_ref<Value()> value);
  void writeOutputRow(Value row);

  // Rows and memory.
  Value headOf(Value row) {
    return emit.add(emit.mul(tile.kvHead, tile.group), emit.make<mlir::arith::RemUIOp>(emit.add(tile.row0, row), tile.group));
  }
  Value queryOf(Value row) { return emit.make<mlir::arith::DivUIOp>(emit.add(tile.row0, row), tile.group); }
  Value operandBase(const OperandAccess &operand, mlir::Type element, Value head);
  Value region(int64_t offset) const { return emit.atBytes(workspace, offset); }
  Value rowOf(int64_t offset, Value row, int64_t pitch) const { return emit.at(region(offset), compute, emit.mul(row, pitch)); }
  void forEachRow(llvm::function_ref<void(Value row)> body) { emit.loop(emit.index(0), tile.rows, emit.index(1), body); }
  /// Rows in whole register tiles.
  Value paddedRows() { return emit.alignedTo(tile.rows, shape.rowTile); }

  static constexpr int64_t kPointerBytes = 8, kCacheLineBytes = 64;
  /// Rows of a block and the next.
  int64_t pointerSlots() const { return 2 * program.tileCols; }
  int64_t elementBytes() const { return compute.getIntOrFloatBitWidth() / 8; }
  /// Elements behind the output of a state's row. Normalisers stand in the first part of a tile only.
  enum StateElement : int64_t { kStateMax, kStateSum, kStateWeight, kStateNormaliser, kStateElements };
  int64_t stateRowElems() const { return dv.padded() + std::max<int64_t>(shape.lanes, kStateElements); }
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
  bool usesDots = false;    ///< the code being emitted computes extra dots as products, not within the map
  bool hasScoreMap = false; ///< it maps scores
  const AbiAccess::Functions functions;
  OnlineSoftmax softmax;

  // Known once the function exists, resp. inside the loop over units.
  AbiAccess *abi = nullptr;
  Value workspace;
  EfficientTile tile;
  HeadFactors factors;
  KvRows k, v;                       ///< of this batch and kv head
  Value prefetchShare, prefetchBase; ///< of the register tile at work; null: all of it
  std::optional<MapExpander> score, mask, prob;
  std::deque<EfficientDot> dots;
};

} // namespace attnjit::tile
