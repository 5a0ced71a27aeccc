// The transposed flash schedule of the CPU: its shape, its workspace and the parts it is made of. Private to this room.
//
// Everything runs transposed, so that a vector lane is one query from beginning to end and softmax needs no operation across lanes:
//
//     S^T = K Q^T        a register tile is keyTile keys x one panel of queries; K is broadcast from where it lies, Q^T is packed once
//     P^T = 2^(S^T - m)  vertical max, exp2 and sum
//     O^T += V^T P^T     a register tile is valueTile columns of V x one panel; V is broadcast from where it lies
//
// A query tile is `panels` panels of panelWidth = panelVectors * lanes queries. For each block of keys all panels are computed, one after
// the other, while K and V of the block stay in the second-level cache. Rows past the last query or key never need a mask: addresses and
// indices are clamped to the last valid one. A duplicate of a key changes no maximum and is never summed; what a lane past the last query
// holds is of no one's concern.
//
// Where q, k and v are bf16 and the machine multiplies bf16, the products take words: pairs of elements that lie side by side along what is
// summed over, which is the head dimension in S^T and the keys in O^T. A word is as wide as an f32, so that nothing else changes for
// vdpbf16ps: K and Q^T have half as many steps, and V and P^T half as many rows, each of words of two keys. AMX takes the same Q^T, K and
// P^T as they lie, 16 x 16 words at a time, and V with words and columns exchanged.
//
// Workspace, in the compute type, every region on a cache line:
//
//     scores  [blockKeys + padding][panelWidth]        S^T, then P^T, of one panel
//     queries [panels][steps][panelWidth]              Q^T times scale (times log2 e where scoresAreLog2); of words, as it is
//     output  [panels][valueDim][panelWidth]           O^T, not normalised
//     maxima, references, sums, lse [panels][panelWidth]
//     keys [blockKeys][steps]                          used where K is not dense rows of what a step takes
//     values [blockKeys][valueDim]                     used where V is not dense rows of the compute type; words of two keys, as they are
//                                                      needed: [blockKeys / 2][valueDim], for AMX [valueDim / 16][blockKeys / 32][16][16]
//
// and for each further product of queries and keys in score_mod (FlashDots.cpp), r being its length, known at run time only:
//
//     dot queries [panels][r][panelWidth], dot keys [blockKeys][r], and dot scores like scores where a map takes it
//
// for a mask (FlashMask.cpp) a bit per pair of a panel and a block,
//
// and for each table of score_mod (FlashTables.cpp) one element per diagonal, [blockKeys + panelWidth] up to a whole vector, or one per
// pair, [blockKeys][panelWidth].
#pragma once

#include "Emitter.h"
#include "ExtraDots.h"
#include "OnlineSoftmax.h"
#include "attnjit-mlir/Conversion/TileToVector/KernelFrame.h"
#include "attnjit-mlir/Conversion/TileToVector/MapExpander.h"
#include "attnjit-mlir/Conversion/TileToVector/Schedules.h"

#include <deque>

namespace attnjit::tile {

inline constexpr int64_t kCacheLineBytes = 64;
/// An AMX tile of operands has 16 rows of 16 words; two of them are 32 keys.
inline constexpr int64_t kTileWords = 16, kTileKeys = 32;

/// The shape of the register tiles on a machine; measured, see docs/performance.md.
struct FlashShape {
  Bf16Unit unit;         ///< what computes the products; None: one element at a time, by FMA
  int64_t lanes;         ///< compute elements in a vector
  int64_t panelVectors;  ///< vectors in a panel
  int64_t keyTile;       ///< keys per register tile of S^T
  int64_t valueTile;     ///< columns of V per register tile of O^T
  int64_t headUnroll;    ///< steps per turn of the inner loop of S^T, over the head dimension
  int64_t softmaxRows;   ///< rows of S^T per step of the exponential pass
  int64_t keyGranule;    ///< keys by which the key range of a panel in a partial block is trimmed
  double referenceSlack; ///< so far may a maximum rise above what scores are taken relative to

  FlashShape(int64_t computeBits, Bf16Unit unit, const CpuTarget &target);
  int64_t panelWidth() const { return panelVectors * lanes; }
  bool takesWords() const { return unit != Bf16Unit::None; }
  /// Elements that one step of a product sums over.
  int64_t stepElems() const { return takesWords() ? 2 : 1; }
};

/// Byte offsets of the workspace regions.
struct FlashWorkspace {
  int64_t scores, queries, output, maxima, references, sums, lse, keys, values, tileConfig, bytes;
};

/// One block of keys as the micro kernels read it: pointers to dense rows.
struct FlashBlock {
  mlir::Value keys, values;
  mlir::Value begin, count; ///< first key, number of keys
  mlir::Value partial;      ///< the mask must be evaluated (i1)
};

/// One panel of the query tile. Pointers into the workspace.
struct FlashPanel {
  mlir::Value firstQuery, lastQuery; ///< inclusive
  mlir::Value index, queries, output, maxima, references, sums, lse;
};

/// Keys [begin, end) of a block, relative to it, that a panel has to visit.
struct FlashKeys {
  mlir::Value begin, end, partial;
};

/// One product that goes into the register tiles of S^T: rows of keys, `keyStride` floats apart, and the packed panel of queries.
struct FlashProduct {
  mlir::Value keys, keyStride, queries;
  mlir::Value depth;       ///< steps of the inner loop, a multiple of headUnroll; null: staticDepth
  int64_t staticDepth = 0; ///< any
  bool inWords = false;    ///< of words; else of the compute type
};

/// A further product of queries and keys, asked for by score_mod.
struct FlashDot : PackedDot {
  FlashDot(mlir::OpBuilder &builder, const TileProgram &program, AbiAccess &abi, const FlashShape &shape, ExtraDot extra);

  std::deque<MapExpander> query;             ///< one per vector of the panel
  int64_t queries = 0, keys = 0, scores = 0; ///< offsets of its regions
  mlir::Value depth;                         ///< length in whole steps
};

/// A value of score_mod that is computed for all pairs of a panel and a block before the scores are.
struct FlashTable {
  enum class Kind { Diagonals, Pairs };
  FlashTable(mlir::OpBuilder &builder, const TileProgram &program, AbiAccess &abi, const FlashShape &shape, Kind kind, mlir::Value source);

  Kind kind;
  mlir::Value source; ///< in score_mod
  MapExpander value;
  int64_t region = 0; ///< its offset
};

/// One term of a bias.
struct FlashBiasTerm {
  std::deque<MapExpander> values; ///< one per vector of the panel
  llvm::SmallVector<const FlashTable *> tables;
  bool isNegated = false;
};
inline constexpr unsigned kMostTables = 4;

/// Emits one kernel. The parts stand in one file each: FlashSchedule.cpp (loops and plan), FlashMask.cpp (which keys of a block),
/// FlashMicroKernel.cpp (the two products), FlashSoftmax.cpp (maps, mask, exponentials), FlashPack.cpp (what goes in and out),
/// FlashDots.cpp (further products), FlashTables.cpp and FlashBias.cpp (what is added to scores); for bf16 FlashWords.cpp (packing words)
/// and FlashTiles.cpp (the two products by AMX).
class FlashKernel {
public:
  FlashKernel(mlir::OpBuilder &builder, const TileProgram &program, const CpuTarget &target);
  /// Returns the func.func; phases of it are marked (KernelPhases.h).
  mlir::Operation *emitFunction();

private:
  using Value = mlir::Value;
  using Values = Emitter::Values;

  // FlashSchedule.cpp
  void emitTiles(mlir::Value begin, mlir::Value end, bool withDots);
  void emitTile(const TileCoords &tile);
  void walkKeys(Pass pass);
  void forEachPanel(llvm::function_ref<void(const FlashPanel &)> body);
  void emitBlock(Pass pass, const KvBlock &kvBlock);
  void emitPanel(Pass pass, const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys);
  FlashPanel panelAt(Value index);
  Value operandBase(const OperandAccess &operand, mlir::Type element, Value head);
  /// `bytes` more of the workspace; returns where they are.
  int64_t reserve(int64_t bytes);
  Value region(int64_t offset) const { return emit.atBytes(workspace, offset); }

  // FlashMask.cpp
  FlashKeys narrowKeys(const FlashBlock &block, const FlashPanel &panel);
  Values askClosedForm(const FlashBlock &block, const FlashPanel &panel);
  Value evaluateMask(int64_t vector, Value queries, Value key);
  Values lookAtMask(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys);
  Value loadVisible(Value key, int64_t vector) const;
  mlir::Type visibleType() const;
  int64_t visibleRowBytes() const;
  Value visibleAt(Value key, int64_t vector) const;

  // FlashMicroKernel.cpp
  /// S^T of `keys` into the scores region, from its first row; returns the maximum per lane if `wantMax`, else nothing.
  Values emitScores(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, bool wantMax);
  /// O^T = rescale * O^T + V^T P^T over `count` rows of the scores region.
  void emitValues(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count, mlir::ValueRange rescale);
  /// The same for a dot that a map takes, into its own region.
  void emitDotScores(const FlashDot &dot, const FlashPanel &panel, const FlashKeys &keys);
  Values emitProducts(llvm::ArrayRef<FlashProduct> products, const FlashKeys &keys, Value target, bool wantMax, mlir::ValueRange prefetch,
                      llvm::function_ref<Values(Value key)> bias = nullptr);
  Values accumulate(const FlashProduct &product, mlir::ValueRange tileKeys, Values accumulators);
  Value emitDot(Value a, Value b, Value sum, bool inWords) const;
  void emitStep(llvm::MutableArrayRef<Value> accumulators, llvm::function_ref<Value(int64_t row)> address, Value panelRow, bool inWords);
  void emitValueTile(int64_t columns, Value values, Value output, Value count, mlir::ValueRange rescale);

  // FlashSoftmax.cpp
  void bindHeads();
  /// Applies score_mod, and mask_mod where `partial` (always, if it is null), to `count` rows of the scores region; returns the maximum per
  /// lane.
  Values emitMaps(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count, Value partial);
  /// The queries of a panel, one vector each.
  Values queriesOf(const FlashPanel &panel);
  /// Takes `count` rows of the scores region into maxima and sums and, but for a walk of the state alone, turns them into P^T; returns the
  /// factor by which O^T so far must be multiplied.
  Values emitSoftmax(Pass pass, const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count,
                     mlir::ValueRange blockMax);
  /// Turns the scores region into P^T, normalised by the state that a walk before has finished.
  void emitNormalised(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count);
  /// The exponentials of the scores region over `reference`, in its place after prob_mod unless `pass` is of the state; returns their sums
  /// before prob_mod.
  Values emitExponentials(Pass pass, const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count,
                          mlir::ArrayRef<Value> reference);
  Value probability(Value score, Value reference) const;
  void applyProb(mlir::MutableArrayRef<Value> probabilities, mlir::ArrayRef<Value> scores, mlir::ArrayRef<Value> queries, Value key);
  /// Turns maxima and sums into lse, finished maxima, and in place of sums the factor that makes p of e^(score - maximum).
  void emitFinish(const FlashPanel &panel);
  /// Stores the probabilities of softmaxRows rows, [row * panelVectors + vector], as the second product takes them.
  void storeProbabilities(llvm::ArrayRef<Value> probabilities, Value address) const;

  // FlashDots.cpp
  Value bindDotLengths();
  FlashProduct productOf(const FlashDot &dot, const FlashPanel &panel) const;
  void packDotQueries(FlashDot &dot, const FlashPanel &panel);
  /// The dot that goes on in the accumulators of the scores; null: none.
  const FlashDot *addedDot() const { return usesDots && program.score && !hasScoreMap ? &dots.front() : nullptr; }

  // FlashTables.cpp
  void addTable(FlashTable::Kind kind, Value source);
  void fillTables(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count);
  void fillDiagonals(FlashTable &table, const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count);
  void fillPairs(FlashTable &table, const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count);
  Value loadTable(const FlashTable &table, const FlashKeys &keys, Value key, int64_t vector) const;

  // FlashBias.cpp
  void findTablesAndBias();
  llvm::SmallVector<const FlashTable *> giveTables(MapExpander &expander) const;
  void bindBiasHeads(Value b, Value h);
  void bindBiasQueries(const FlashPanel &panel);
  Values emitBias(const FlashBlock &block, const FlashKeys &keys, Value key);

  // FlashPack.cpp
  void packQueries();
  void packQueryPanel(const FlashPanel &panel, const OperandAccess &q, Value base);
  FlashBlock loadBlock(Pass pass, const KvBlock &kvBlock);
  Value loadRows(const KvRows &rows, Value begin, Value count, int64_t columns, Value copy);
  void convertRows(const KvRows &rows, Value begin, Value count, int64_t columns, Value target);
  int64_t prefetchedRows() const;
  Values firstPrefetch(const FlashBlock &block, const FlashPanel &panel);
  Values emitPrefetch(mlir::ValueRange rows, int64_t keysPerStep);
  void writeOutput();
  Value outputFactor(Value normalisers);
  void writeScalar(const OperandAccess &operand, Value row, Value value);

  // FlashWords.cpp
  void packQueryWords(const FlashPanel &panel, const OperandAccess &q, Value base);
  Value loadKeyWords(const KvRows &rows, Value begin, Value count);
  Value packValueWords(const KvRows &rows, Value begin, Value count);
  void copyKeyWords(const KvRows &rows, Value begin, Value count, Value target);
  void writeOutputRows(const FlashPanel &panel, const OperandAccess &out, Value base);
  Value loadBf16(Value address, mlir::Type memory, int64_t lanes) const;
  Value joinWords(Value low, Value high) const;
  Value roundToWords(Value low, Value high) const;
  void bindPositiveFactor();
  Value withQuerySigns(Value words) const;

  // FlashTiles.cpp
  void configureTiles();
  void releaseTiles();
  Values emitScoreTiles(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys);
  void emitValueTiles(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count, mlir::ValueRange rescale);
  Values maximaOfTiles(Value count);
  Values loadScores(Value address) const;
  void rescaleOutput(const FlashPanel &panel, mlir::ValueRange rescale);
  void padScores(Value count);

  mlir::Type vectorType() const { return emit.vec(shape.lanes, compute); }
  Value splatF(double value) const { return emit.constFloat(vectorType(), value); }
  int64_t elementBytes() const { return compute.getIntOrFloatBitWidth() / 8; }
  /// Loads or stores the `panelVectors` vectors of one row of a panel.
  Values loadRow(Value address) const;
  void storeRow(mlir::ValueRange row, Value address) const;
  int64_t rowBytes() const { return shape.panelWidth() * elementBytes(); }

  mlir::OpBuilder &builder;
  const TileProgram &program;
  Emitter emit;
  mlir::Type compute;
  FlashShape shape;
  int64_t steps; ///< of S^T: elements or words of a row of Q and K
  int64_t panels;
  FlashWorkspace layout;
  int64_t visibleRows = 0;   ///< bits of the mask
  bool usesDots = false;     ///< the code being emitted computes extra dots as products, not within the map
  bool hasScoreMap = false;  ///< it maps scores
  bool scoresAreRaw = false; ///< scores are products of words as they are; the exponential multiplies with scoreFactor, which is positive
  const AbiAccess::Functions functions;
  OnlineSoftmax softmax;

  // Known once the function exists, resp. inside the loop over tiles.
  AbiAccess *abi = nullptr;
  Value workspace;
  TileCoords tile;
  KvRows k, v; ///< of this batch and kv head
  HeadFactors factors;
  Value scoreFactor; ///< of the dots: scale, and log2 e where scoresAreLog2
  Value querySigns;  ///< what words of Q are XORed with where scoresAreRaw
  Value panelCount, lastRow;
  std::deque<MapExpander> score, mask, prob; ///< one per vector of the panel
  std::deque<FlashDot> dots;
  std::deque<FlashTable> tables;
  llvm::SmallVector<const FlashTable *> scoreTables; ///< those that the map takes, in order
  std::deque<FlashBiasTerm> bias;                    ///< all that score_mod does, then
};

} // namespace attnjit::tile
