// The rows of a query tile that a thread holds in C fragments (Fragments.h), and what becomes of them between the two products and at the
// end, whichever instruction multiplied: the formulas on every element, the step of the online softmax, the stores. Private to this room.
//
// A warp holds 16 rows, a thread two of them: group and group + 8. An element is one scalar at a known place: its key is a base of this
// thread plus a constant.
#pragma once

#include "BlockScore.h"
#include "Fragments.h"
#include "RowMask.h"
#include "attnjit-mlir/Conversion/TileToVector/MapExpander.h"

namespace attnjit::tile {

/// 16x8 tiles of scores, probabilities or accumulators, from left to right.
using Fragments = llvm::SmallVector<Fragment4>;

inline constexpr int64_t kRowsPerThread = 2;

/// The softmax state of a thread's rows. `max` is in the unit of the scores that were taken in; `sum` is partial: of this thread's columns.
struct RowState {
  mlir::Value max[kRowsPerThread], sum[kRowsPerThread];
};

/// One number for each row of a thread.
using RowValues = std::array<mlir::Value, kRowsPerThread>;

class FragmentRows {
public:
  /// `firstRow`: of this warp in its tile, i32. `cols`: keys per block. `joinsFactors`: those of score_mod join scale and exponent, which
  /// takes registers.
  FragmentRows(mlir::OpBuilder &builder, mlir::Location loc, const TileProgram &program, AbiAccess &abi, const ThreadPosition &position,
               mlir::Value firstRow, int64_t cols, bool joinsFactors = false);

  /// What stays the same for the whole tile. Products enter as they are where no score_mod wants them scaled: see `unit`.
  /// Rows that are packed by `group` heads (KernelAbi.h): row r of the tile is query (q0 + r) / group of head h + (q0 + r) % group.
  void bindTile(const TileCoords &coords, mlir::Value group = {});

  /// Shared memory of this warp, i32, for what score_mod reads: before bindTile.
  void useRoom(mlir::Value address) { room = address; }
  /// With room: starts to bring what score_mod reads for this block. The formulas of the block staged before are done with, those of this
  /// one come next.
  void stageLoads(const KvBlock &block);

  RowState initialState() const;
  /// A block is special where the mask must be evaluated, where it has fewer keys than the tile, where the products need more than `unit`,
  /// where score_mod must be refined, or where captured tensors do not lie as most do; i1.
  mlir::Value isSpecial(const KvBlock &block);
  /// The reasons that all blocks of the tile share, and those that are neither mask nor number of keys; null: there are none.
  mlir::Value isSpecialTile() const;
  mlir::Value isUnfit(const KvBlock &block);
  /// From products q.k to scores: scale, score_mod, mask_mod; -inf where there is no key.
  void applyFormulas(Fragments &scores, const KvBlock &block);
  /// The same for a block that is known to be special, or not to be, in two steps: what the mask reads is on its way while the products
  /// are.
  void beginFormulas(bool special, const KvBlock &block);
  void endFormulas(bool special, Fragments &scores, const KvBlock &block);
  /// Takes a block of scores into the state (tile.softmax_step): they become probabilities of the returned scale; whatever was summed up
  /// with the old one has to be multiplied by it (scaleRows). Then prob_mod, whose sums are of p before it.
  RowValues takeIntoState(RowState &state, Fragments &scores, const KvBlock &block);
  void scaleRows(Fragments &fragments, const RowValues &factors) const;
  /// Where the powers of a row are counted from.
  struct Reference {
    mlir::Value toPower, power; ///< see referenceOf
    mlir::Value isCoarse;       ///< i1
  };
  Reference referenceOf(mlir::Value max) const;
  /// What multiplies sums that were counted from `max` where they go on from `newMax`, whose reference is given.
  mlir::Value rescale(mlir::Value max, mlir::Value newMax, const Reference &reference) const;
  /// What multiplies the outputs of the tile's kv head.
  mlir::Value outputFactor() const;
  /// The end of a row of head h, from its whole state: what makes the output of its sums, with outputFactor(), unless it is empty; lse and
  /// max as they are stored.
  struct RowEnd {
    mlir::Value factor, isEmpty, lse, max;
  };
  RowEnd endOf(mlir::Value h, mlir::Value max, mlir::Value sum) const;
  /// What the whole sums of a thread's rows come to: `factor` makes the output of what was summed up, unless the row is empty.
  struct RowEnds {
    RowValues sum, factor;
  };
  RowEnds endRows(const RowState &state) const;
  /// tile.softmax_finish: `out` becomes the output. Stores lse and max.
  void finish(const RowState &state, const RowEnds &ends, Fragments &out);
  /// Stores the columns of the output that there are element by element, whatever its strides.
  void storeElements(const Fragments &out);
  /// Stores a value of a row, lse or max, unless it is not wanted.
  void storeRow(Operand which, mlir::Value h, mlir::Value query, mlir::Value value) const;
  /// Element (b, h, query, 0) of an operand.
  mlir::Value rowPointer(const OperandAccess &operand, mlir::Type memory, mlir::Value h, mlir::Value query) const;
  /// Head and query of row `row` (i64) of the tile.
  std::pair<mlir::Value, mlir::Value> placeOf(mlir::Value row) const;
  mlir::Value maximum(mlir::Value a, mlir::Value b) const { return emit.make<mlir::arith::MaximumFOp>(a, b); } // NaN propagates (A6)
  mlir::Value minusInfinity() const;
  const TileCoords &coords() const { return tile; }

private:
  /// A formula, bound to each row where rows are packed, so that heads differ; else one for both rows.
  using Formula = std::array<std::optional<MapExpander>, kRowsPerThread>;
  using Refinement = MapExpander::Refinement;
  void bindFactors();
  llvm::SmallVector<mlir::Value> factorsOf(mlir::Value last) const;
  void useFactors(mlir::ValueRange factors);
  mlir::Value powerAbove(mlir::Value x) const;
  void bindRefinements();
  mlir::Value productOf(mlir::Value product, llvm::ArrayRef<mlir::Value> factors);
  void bindFormulas();
  void bindQuery(MapExpander &expander, int64_t row);
  mlir::Value keyBase(const KvBlock &block);
  mlir::Value keyAt(const KvBlock &block, int64_t column);
  mlir::Value insideOf(bool needed, mlir::Value index, mlir::Value end);
  void forEachElement(Formula &formula, const KvBlock &block, bool isPlain, Refinement refinement,
                      llvm::function_ref<void(MapExpander &expander, int64_t tile, int64_t part)> body);
  /// Of the captured indices of score_mod, where each element stands; null: it cannot leave its tensor (A10).
  using Flags = llvm::SmallVector<mlir::Value>;
  Flags applyScore(Fragments &scores, const KvBlock &block, bool isPlain);
  void applyPlainScore(Fragments &scores, const KvBlock &block, Refinement refinement, Flags &outOfRange);
  void applyGeneralScore(Fragments &scores, const KvBlock &block, bool isPlain, Refinement refinement, Flags &outOfRange);
  mlir::Value areAllNear(const Fragments &products) const;
  mlir::Value isIrregular(const KvBlock &block);
  mlir::Value scaled(mlir::Value product);
  void applyBlockScore(Fragments &scores, const KvBlock &block, Refinement refinement);
  mlir::Value queryOf(int64_t row);
  FragmentOrigin originOf(const KvBlock &block);
  void dropHidden(Fragments &scores, const KvBlock &block, llvm::ArrayRef<mlir::Value> scoreOutOfRange);
  void dropUnseen(Fragments &scores, const KvBlock &block, llvm::ArrayRef<mlir::Value> scoreOutOfRange);
  void reportScores(llvm::ArrayRef<mlir::Value> outOfRange, const KvBlock &block);
  void report(mlir::Value outOfRange, mlir::Value counts, const KvBlock &block, int64_t tile, int64_t part);
  void applyProb(Fragments &probs, llvm::ArrayRef<mlir::Value> visible, const KvBlock &block);
  void ifColumnExists(int64_t column, llvm::function_ref<void()> body);
  void storeRows(const RowState &state, const RowEnds &ends);
  mlir::Value exponential(mlir::Value x) const;
  mlir::Value probability(mlir::Value power, int64_t tile) const;
  mlir::Value widen(mlir::Value a) const { return emit.make<mlir::arith::ExtUIOp>(emit.i64(), a); }

  Emitter emit;
  const TileProgram &program;
  AbiAccess &abi;
  const ThreadPosition &position;
  mlir::Value firstRow;
  int64_t cols;
  bool joinsFactors;
  mlir::Value room;              ///< null: none
  bool readsByQuery, readsByKey; ///< a captured tensor is read at an index that moves with q, with kv
  bool sharesUnits;              ///< score_mod has use for the special function units

  TileCoords tile;
  mlir::Value group;                     ///< of packed rows; null: all are of one head
  mlir::Value heads[kRowsPerThread];     ///< h, i64
  mlir::Value queries[kRowsPerThread];   ///< q_idx, i64; may lie past M
  mlir::Value rowExists[kRowsPerThread]; ///< i1
  mlir::Value pair;                      ///< of the index type
  ScoreFactors ends;                     ///< of score_mod
  /// What multiplies products before score_mod; null: there is none.
  mlir::Value scoreFactor;
  /// Of the numbers that enter the softmax `unit` > 0 makes scores, unless `isUnusual`, where `early` has done so; null: they are scores.
  mlir::Value unit, early, isUnusual;
  llvm::SmallVector<mlir::Value> ofCall; ///< factorsOf, without score_mod and where heads have no factors of their own: computed once
  mlir::Value isRefined;                 ///< score_mod amplifies what its refinements leave of an error (FormulaMath.h); null: it has none
  mlir::Value isStrided; ///< a captured tensor that score_mod reads by key has another last stride than 1; null: there is none
  /// What makes powers of 2 of e^score, and a power of two just above it.
  mlir::Value toPower, coarseToPower;
  Formula score, prob;
  std::optional<RowMask> rowMask;
  std::optional<BlockScore> blockScore; ///< for blocks that are not irregular, where it helps
};

} // namespace attnjit::tile
