// The transposed flash schedule of the CPU: its shape, its workspace and the parts it is made of. Private to this room.
//
// Everything runs transposed, so that a vector lane is one query from beginning to end and softmax needs no operation across lanes:
//
//     S^T = K Q^T        a register tile is keyTile keys x one panel of queries; K is broadcast from where it lies, Q^T is packed once
//     P^T = 2^(S^T - m)  vertical max, exp2 and sum
//     O^T += V^T P^T     a register tile is valueTile columns of V x one panel; V is broadcast from where it lies
//
// A query tile is `panels` panels of panelWidth = panelVectors * lanes queries. For each block of keys all panels are computed, one after
// the other, while K and V of the block stay in the second-level cache. Rows past the last query or key never need a mask: they are
// duplicates of the last valid one (addresses and indices are clamped), which changes no maximum and is never summed or written.
//
// Workspace, all f32, every region on a cache line:
//
//     scores  [blockKeys + padding][panelWidth]        S^T, then P^T, of one panel
//     queries [panels][headDim][panelWidth]            Q^T times scale (times log2 e where there is no score map)
//     output  [panels][valueDim][panelWidth]           O^T, not normalised
//     maxima, sums, lse [panels][panelWidth]
//     keys [blockKeys][headDim], values [blockKeys][valueDim]     used where K and V are not dense rows of f32
#pragma once

#include "Emitter.h"
#include "attnjit-mlir/Conversion/TileToVector/KernelFrame.h"
#include "attnjit-mlir/Conversion/TileToVector/MapExpander.h"
#include "attnjit-mlir/Conversion/TileToVector/Schedules.h"

#include <deque>

namespace attnjit::tile {

inline constexpr int64_t kCacheLineBytes = 64;

/// The shape of the register tiles on a machine; measured, see docs/performance.md.
struct FlashShape {
  int64_t lanes;        ///< f32 in a vector
  int64_t panelVectors; ///< vectors in a panel
  int64_t keyTile;      ///< keys per register tile of S^T
  int64_t valueTile;    ///< columns of V per register tile of O^T
  int64_t headUnroll;   ///< steps per turn of the inner loop of S^T, over the head dimension
  int64_t softmaxRows;  ///< rows of S^T per step of the exponential pass

  explicit FlashShape(const CpuTarget &target);
  int64_t panelWidth() const { return panelVectors * lanes; }
};

/// Byte offsets of the workspace regions.
struct FlashWorkspace {
  int64_t scores, queries, output, maxima, sums, lse, keys, values, bytes;
};

/// One block of keys as the micro kernels read it: pointers to dense rows of f32.
struct FlashBlock {
  mlir::Value keys, values;
  mlir::Value begin, count; ///< first key, number of keys
  mlir::Value partial;      ///< the mask must be evaluated (i1)
};

/// One panel of the query tile. Pointers into the workspace.
struct FlashPanel {
  mlir::Value firstQuery, lastQuery; ///< inclusive
  mlir::Value index, queries, output, maxima, sums, lse;
};

/// Keys [begin, end) of a block, relative to it, that a panel has to visit.
struct FlashKeys {
  mlir::Value begin, end, partial;
};

/// Emits one kernel. The parts stand in one file each: FlashSchedule.cpp (loops and plan), FlashMicroKernel.cpp (the two products),
/// FlashSoftmax.cpp (maps, mask, exponentials), FlashPack.cpp (what goes in and out).
class FlashKernel {
public:
  FlashKernel(mlir::OpBuilder &builder, const TileProgram &program, const CpuTarget &target);
  void emitFunction();

private:
  using Value = mlir::Value;
  using Values = Emitter::Values;

  // FlashSchedule.cpp
  void emitTile(const TileCoords &tile);
  void emitBlock(const KvBlock &kvBlock);
  void emitPanel(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys);
  FlashKeys narrowKeys(const FlashBlock &block, const FlashPanel &panel);
  FlashPanel panelAt(Value index);
  Value operandBase(const OperandAccess &operand, mlir::Type element, Value head);
  Value region(int64_t offset) const { return emit.atBytes(workspace, offset); }

  // FlashMicroKernel.cpp
  /// S^T of `keys` into the scores region, from its first row; returns the maximum per lane if `wantMax`, else nothing.
  Values emitScores(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, bool wantMax);
  /// O^T = rescale * O^T + V^T P^T over `count` rows of the scores region.
  void emitValues(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count, mlir::ValueRange rescale);
  void emitStep(llvm::MutableArrayRef<Value> accumulators, llvm::function_ref<Value(int64_t row)> address, Value panelRow);
  void emitValueTile(int64_t columns, Value values, Value output, Value count, mlir::ValueRange rescale);

  // FlashSoftmax.cpp
  void bindHeads();
  /// Applies score_mod, and mask_mod where `partial` (always, if it is null), to `count` rows of the scores region; returns the maximum per
  /// lane.
  Values emitMaps(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count, Value partial);
  /// Turns the scores region into P^T, updates maxima and sums; returns the factor by which O^T so far must be multiplied.
  Values emitSoftmax(const FlashPanel &panel, Value count, mlir::ValueRange blockMax);
  /// Turns maxima and sums into what is written: natural maxima, lse, and in place of sums their reciprocals (0 for a row that saw no
  /// key).
  void emitFinish(const FlashPanel &panel);
  Value exponent(Value difference) const;
  Value maximum(Value candidate, Value current) const;

  // FlashPack.cpp
  void packQueries();
  FlashBlock loadBlock(const KvBlock &kvBlock);
  Value loadRows(const KvRows &rows, Value begin, Value count, int64_t columns, Value copy);
  void convertRows(const KvRows &rows, Value begin, Value count, int64_t columns, Value target);
  int64_t prefetchedRows() const;
  Values firstPrefetch(const FlashBlock &block, const FlashPanel &panel);
  Values emitPrefetch(mlir::ValueRange rows);
  void writeOutput();
  void writeScalar(const OperandAccess &operand, Value row, Value source);

  mlir::Type vectorType() const { return emit.vec(shape.lanes, emit.f32()); }
  Value splatF(double value) const { return emit.constFloat(vectorType(), value); }
  /// Loads or stores the `panelVectors` vectors of one row of a panel.
  Values loadRow(Value address) const;
  void storeRow(mlir::ValueRange row, Value address) const;
  int64_t rowBytes() const { return shape.panelWidth() * int64_t(sizeof(float)); }

  mlir::OpBuilder &builder;
  const TileProgram &program;
  Emitter emit;
  FlashShape shape;
  int64_t panels;
  FlashWorkspace layout;
  bool scoresAreLog2; ///< log2 e is folded into Q: there is no score map

  // Known once the function exists, resp. inside the loop over tiles.
  AbiAccess *abi = nullptr;
  Value workspace;
  TileCoords tile;
  KvRows k, v; ///< of this batch and kv head
  Value panelCount, lastRow;
  std::deque<MapExpander> score, mask; ///< one per vector of the panel
};

} // namespace attnjit::tile
