// Values of score_mod that are cheaper computed for a whole block of pairs than pair by pair. Private to this room.
//
// *Values of a diagonal* move with q_idx - kv_idx alone: relative position biases (ALiBi, T5, Swin, sandwich), decays, buckets of
// distances. A panel of Q queries and a block of K keys has Q * K pairs but Q + K - 1 diagonals. Computed once per diagonal, such a value
// costs an element no more than a load, and because neighbouring queries are neighbouring diagonals it is one of a whole vector, where the
// formula as written gathers its captured tensor lane by lane.
//
// *Loads along keys* read t[..., kv_idx] with an index for the query: biases with an element for each pair. Lanes are queries, which lie a
// row of t apart, so that each vector would be a gather out of as many cache lines. Read along the keys and transposed, a block of them
// takes whole lines.
#pragma once

#include "attnjit-mlir/Dialect/Attn/Attn.h"
#include "attnjit-mlir/Dialect/Tile/TileProgram.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"

#include <optional>

namespace attnjit::tile {

/// Which values of score_mod, or of mask_mod, are of a diagonal.
class DiagonalValues {
public:
  explicit DiagonalValues(mlir::Region &formula);

  bool contains(mlir::Value value) const { return isOfDiagonal(value) && !isUniform(value); }
  /// Those that cost more than the load that a table asks for, as far up in the formula as they go.
  llvm::SmallVector<mlir::Operation *> worthTables() const;
  /// Those that are floats, as far up as they go.
  llvm::SmallVector<mlir::Operation *> numbers() const;

  /// An integer that is q * slope.q + kv * slope.kv + what moves with neither.
  struct Slope {
    int64_t q = 0, kv = 0;
  };
  /// Of an integer, if it is one.
  std::optional<Slope> slopeOf(mlir::Value value) const;

private:
  void visit(mlir::Operation &op);
  std::optional<Slope> slopeMadeBy(mlir::Operation &op) const;
  bool isUniform(mlir::Value value) const;
  bool isOfDiagonal(mlir::Value value) const;
  bool leaves(mlir::Operation &op) const;
  bool isWorthTable(mlir::Operation &op) const;

  mlir::Block &body;
  llvm::DenseMap<mlir::Value, Slope> slopes; ///< of integers, and zero of whatever is uniform
  llvm::DenseSet<mlir::Value> diagonal;      ///< of whatever else moves with the diagonal
};

/// The loads along keys of score_mod: one index is kv_idx, the others do not move with it, and one moves with the query.
llvm::SmallVector<attn::LoadOp> findKeyLoads(mlir::Region &scoreMod);
/// Which index of such a load is kv_idx.
unsigned keyDimension(attn::LoadOp load);

/// One term of a bias, and its sign.
struct BiasTerm {
  mlir::Value value;
  bool isNegated;
};

/// The terms of a score_mod that is score plus or minus some, none of which needs the score; none if it is not, or if they take so much
/// code per key that a loop over the rows of scores is the better place. What `isLoaded` from a table takes none.
llvm::SmallVector<BiasTerm> readBias(mlir::Region &scoreMod, llvm::function_ref<bool(mlir::Value)> isLoaded);

} // namespace attnjit::tile
