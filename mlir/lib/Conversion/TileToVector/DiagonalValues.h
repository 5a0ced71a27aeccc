// Values of a map that move with q_idx - kv_idx alone: relative position biases (ALiBi, T5, Swin, sandwich), decays, buckets of distances.
//
// A panel of Q queries and a block of K keys has Q * K pairs but Q + K - 1 diagonals. Computed once per diagonal, such a value costs an
// element no more than a load, and because neighbouring queries are neighbouring diagonals it is one of a whole vector, where the formula
// as written gathers its captured tensor lane by lane. Private to this room.
#pragma once

#include "attnjit-mlir/Dialect/Tile/TileProgram.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"

#include <optional>

namespace attnjit::tile {

/// Which values of a map, a score_mod or prob_mod, are such.
class DiagonalValues {
public:
  explicit DiagonalValues(mlir::Region &map);

  bool contains(mlir::Value value) const { return isOfDiagonal(value) && !isUniform(value); }
  /// Those that cost more than the load that a table asks for, as far up in the formula as they go; at most `most`.
  llvm::SmallVector<mlir::Operation *> worthTables(unsigned most) const;

private:
  /// An integer that is q * slope.q + kv * slope.kv + what moves with neither.
  struct Slope {
    int64_t q = 0, kv = 0;
  };

  void visit(mlir::Operation &op);
  std::optional<Slope> slopeOf(mlir::Operation &op) const;
  bool isUniform(mlir::Value value) const;
  bool isOfDiagonal(mlir::Value value) const;
  bool leaves(mlir::Operation &op) const;
  bool isWorthTable(mlir::Operation &op) const;

  mlir::Block &body;
  llvm::DenseMap<mlir::Value, Slope> slopes; ///< of integers, and zero of whatever is uniform
  llvm::DenseSet<mlir::Value> diagonal;      ///< of whatever else moves with the diagonal
};

/// One term of a bias, and its sign.
struct BiasTerm {
  mlir::Value value;
  bool isNegated;
};

/// The terms of a score_mod that is score plus or minus some, none of which needs the score; none if it is not, or if they take so much
/// code per key that a loop over the rows of scores is the better place.
llvm::SmallVector<BiasTerm> readBias(mlir::Region &scoreMod, const DiagonalValues &diagonals);

} // namespace attnjit::tile
