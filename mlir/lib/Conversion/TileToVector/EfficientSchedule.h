// The efficient schedule of the CPU: K and V stream through once for all query heads of a kv head. Private to this room.
//
// With few queries attention reads far more than it computes, so everything serves the stream. The query rows of all heads of one kv head
// make one tile (packed rows, KernelAbi.h), keys are cut into parts that any processor may take, and inside a block of keys a vector lies
// along what is contiguous in memory, so that K and V are used where they lie, in their own type, at any row stride:
//
//     S[row][key]   whole vectors of rows have lanes along rows: a register tile is wideKeys keys x one vector, whose rows and keys change
//                   places at the end
//                   rows that are left have lanes along D: a register tile is keyTile keys x rowTile rows, whose sums across lanes are
//                   made by pairs, so that one vector comes out per tile instead of one number per reduction
//     P = 2^(S-m)   lanes along keys; b, h and q are scalars of a row, which is all that packed heads ask of a formula
//     O[row][col]   lanes along Dv: a register tile is rowTile rows x valueVectors; P is broadcast
//
// One row (one head, one query) has register tiles of its own: rowTile 1, more keys and columns. Many rows read K and V more than once:
// where those are narrower than the compute type, they are widened a few keys at a time, into the first-level cache.
//
// The last vector of a row that is no multiple of the lanes overlaps the one before it instead of reading past the row: in K the lanes that
// were seen already are zeroed, in V and O they are computed twice, to the same bits. Rows that this cannot serve (strided columns, fewer
// columns than lanes) are copied block by block into padded rows of the compute type.
//
// Workspace, in the compute type, every region on a cache line:
//
//     queries [rows][padded D]          times scale (times log2 e where there is no score map); rows past the end are 0
//     wide queries [rows / lanes][D][lanes]      the same as many rows need it
//     scores  [rows][blockKeys + padding]        S, then P
//     output  [rows][padded Dv]         not normalised
//     sums, lane maxima [rows][lanes]   per lane; the sums are added up at the end
//     maxima, normalisers [rows]        running maximum; what makes p of e^(score - maximum)
//     factors [rows]                    what the block rescales O by; at the end, what is left to multiply it by
//     keys [blockKeys][padded D], values [blockKeys][padded Dv]      copies, where rows cannot be used in place, or as many as are widened
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

#include "llvm/Support/MathExtras.h"

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

/// Register tiles on a machine: half of the registers hold sums of f32. Measured, see docs/performance.md.
struct EfficientShape {
  int64_t lanes;        ///< compute elements in a vector
  int64_t parts;        ///< 128-bit parts of a vector
  int64_t keyTile;      ///< keys of a register tile of S: the elements of a part
  int64_t rowTile;      ///< rows of a register tile: a multiple of the parts, and never one, which is a tile of its own kind
  int64_t valueVectors; ///< vectors of a register tile of O
  int64_t wideKeys;     ///< keys of a register tile of S with lanes along rows: a multiple of the lanes

  EfficientShape(const TileProgram &program, const CpuTarget &target);
};

/// Byte offsets of the workspace regions.
struct EfficientWorkspace {
  int64_t queries, wideQueries, scores, output, sums, laneMaxima, maxima, normalisers, factors, keys, values, keyPointers, valuePointers,
      bytes;
};

/// The packed rows of one unit, i64 values.
struct EfficientTile {
  mlir::Value b, kvHead, group;             ///< group: query heads per kv head
  mlir::Value row0, rows;                   ///< first packed row, number of rows
  mlir::Value wideRows;                     ///< of them, those that S has lanes along: whole vectors, more than half full
  mlir::Value firstUnit, unitStride, parts; ///< units of its parts
};

/// A further product of queries and keys, asked for by score_mod.
struct EfficientDot : PackedDot {
  EfficientDot(mlir::OpBuilder &builder, const TileProgram &program, AbiAccess &abi, int64_t lanes, ExtraDot extra)
      : PackedDot(builder, program, abi, lanes, std::move(extra)),
        query(builder, program.kernel->getLoc(), program, *dot.querySide, abi, lanes) {}

  MapExpander query;
  int64_t queries = 0, wideQueries = 0, keys = 0, scores = 0; ///< offsets of its regions
};

/// Rows of K or V of one block: where row 0 is and elements between rows, or else where each row is; element type.
struct EfficientRows {
  mlir::Value base, stride;
  mlir::Value pointers; ///< one per row of this and of the next block; null: base and stride say it
  mlir::Type type;
  EfficientColumns columns;
};

/// Rows of K or V that come soon, and how asking memory for them is spread over the work at hand.
struct EfficientAhead {
  EfficientRows rows;
  int64_t pieceLines;        ///< cache lines that are asked for at a time
  int64_t rowPieces, pieces; ///< such pieces of a row, and of all
  bool boundByMemory;        ///< few rows to compute with
  mlir::Value perStep;
};

/// Keys of a block that the second product takes together.
struct EfficientValueGroup {
  EfficientRows values;
  mlir::Value firstKey, count;
};

/// One product that goes into S with lanes along rows: keys in memory, queries as packWideQueries left them.
struct EfficientProduct {
  EfficientRows keys;
  mlir::Value queries, depth;
  int64_t rest; ///< of the depth, what is left after whole turns of the inner loop
};

/// Emits one kernel. EfficientSchedule.cpp: units and blocks; EfficientDots.cpp, EfficientWide.cpp and EfficientValues.cpp: the two
/// products; EfficientStream.cpp: rows of K and V; EfficientSoftmax.cpp: maps, mask, exponentials; EfficientState.cpp: states, their
/// merging and what comes out; EfficientPack.cpp: what goes in.
class EfficientKernel {
public:
  EfficientKernel(mlir::OpBuilder &builder, const TileProgram &program, const CpuTarget &target);
  void emitFunction();

private:
  using Value = mlir::Value;
  using Values = Emitter::Values;
  /// Rows of a tile: one, fewer than make a vector, or more.
  enum class RowCount { One, Few, Many };

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
  void byRowCount(llvm::function_ref<void(RowCount)> body);
  void emitProductOfKeys(const EfficientRows &keys, Value count);
  EfficientWorkspace layOut() const;

  // EfficientStream.cpp
  Value rowAt(const EfficientRows &rows, Value index) const;
  EfficientRows rowsFrom(EfficientRows rows, Value first) const;
  Value loadColumns(const EfficientRows &rows, Value rowPointer, Value column, bool isTail);
  Value isNewInTail(const EfficientColumns &columns) const;
  EfficientRows widenRows(const EfficientRows &rows, Value count, Value target);
  EfficientAhead planAhead(const EfficientRows &rows, int64_t count, Value steps, RowCount rowCount);
  Value askAhead(const EfficientAhead &ahead, Value cursor);

  // EfficientDots.cpp
  using Combine = llvm::function_ref<Value(Value, Value)>;
  /// S of all keys of the block and the rows from wideRows on.
  void emitScores(const EfficientRows &keys, Value count, RowCount rowCount);
  Values accumulateScores(const EfficientRows &keys, mlir::ArrayRef<Value> keyRows, Value row, int64_t rows, const EfficientAhead &ahead,
                          Value &cursor);
  /// The same of a dot that a map takes, into its own region.
  void emitDotScores(const EfficientDot &dot, Value count, RowCount rowCount);
  Values accumulateDot(const EfficientDot &dot, mlir::ArrayRef<Value> keys, Value row, int64_t rows, mlir::ValueRange sums);
  void storeScores(mlir::ArrayRef<Value> sums, Value target, int64_t rows, Value key);
  /// Rows of a register tile with lanes along columns.
  int64_t rowsOfTile(RowCount rowCount) const { return rowCount == RowCount::One ? 1 : shape.rowTile; }
  /// Keys of a register tile of S. A single row needs more chains of additions.
  int64_t keysOfTile(int64_t rows) const { return rows == 1 ? 2 * shape.keyTile : shape.keyTile; }
  Values tileOfKeys(Value key, Value count, int64_t tileKeys);
  int64_t rowsAhead(const EfficientRows &keys, int64_t tileKeys) const;
  Value foldWithinParts(mlir::ArrayRef<Value> vectors, Combine combine);
  Value foldAcrossParts(mlir::ArrayRef<Value> vectors, Combine combine);

  // EfficientWide.cpp
  void emitWideScores(mlir::ArrayRef<EfficientProduct> products, Value count, int64_t target);
  Values wideKeyRows(const EfficientRows &keys, Value key, Value count);
  void accumulateWide(const EfficientProduct &product, mlir::ValueRange keyRows, Value row, Values &sums, const EfficientAhead &ahead,
                      Value &cursor);
  void storeWide(mlir::ArrayRef<Value> sums, Value target);
  void packWideQueries();
  EfficientProduct productOf(const EfficientRows &keys) const;
  EfficientProduct productOf(const EfficientDot &dot) const;

  // EfficientValues.cpp
  int64_t keysOfGroup() const;
  /// O += P V for all rows.
  void emitValues(const EfficientRows &values, Value count, RowCount rowCount);
  void emitValueGroup(const EfficientValueGroup &group, int64_t rows, int64_t width, const EfficientAhead &ahead);
  Value emitValueTile(const EfficientValueGroup &group, Value row, int64_t rows, mlir::ArrayRef<Value> columns, Value slot,
                      const EfficientAhead &ahead, Value cursor);

  // EfficientSoftmax.cpp
  /// Turns the scores of every row into P, but for a walk of the state alone; updates maxima and sums, unless they are known, and rescales
  /// O.
  void emitSoftmax(Pass pass, const KvBlock &block, Value count);
  void updateMaxima();
  void rescaleRow(Value row, Value factor);
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
  /// Rows in whole register tiles with lanes along columns.
  Value paddedRows() { return emit.alignedTo(tile.rows, kRowGroup); }
  /// Tiles of so many rows from row `first` on.
  Value tilesFrom(Value first, int64_t rows) {
    return emit.make<mlir::arith::DivUIOp>(emit.add(emit.sub(tile.rows, first), rows - 1), emit.index(rows));
  }

  static constexpr int64_t kPointerBytes = 8, kCacheLineBytes = 64;
  /// What a tile's rows are filled up to; rowTile and keyTile divide it.
  static constexpr int64_t kRowGroup = 4;
  /// Keys of a block, in whole register tiles of any kind.
  int64_t blockKeys() const { return llvm::alignTo(program.tileCols, std::max(shape.wideKeys, keysOfTile(1))); }
  /// Rows of a block and the next.
  int64_t pointerSlots() const { return 2 * blockKeys(); }
  bool isNarrow() const { return program.kvType != compute; }
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
  int64_t pitch;   ///< of a row of scores: a vector more than a block, for the -inf behind the last key
  int64_t maxRows; ///< of a tile, in whole register tiles of any kind
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
  KvRows k, v; ///< of this batch and kv head
  std::optional<MapExpander> score, mask, prob;
  std::deque<EfficientDot> dots;
};

} // namespace attnjit::tile
