// The two products of attention by mma.sync, for the 16 rows of a warp and keys in shared memory. Private to this room.
#pragma once

#include "FragmentRows.h"
#include "SharedTile.h"

namespace attnjit::tile {

/// What a thread carries through the loops over keys, as one flat list.
struct MmaState {
  RowState row;
  Fragments out;

  static MmaState initial(const Emitter &emit, const FragmentRows &rows, int64_t valueDim);
  Emitter::Values flatten() const;
  static MmaState unflatten(mlir::ValueRange values);
};

/// Which factor of a product the 16x16 tiles of a shared tile become, and so what its rows are.
enum class SharedFactor {
  Left,       ///< A: rows are rows of the result (Q)
  RightByRow, ///< B: rows are columns of the result (K)
  Right,      ///< B: rows are summed over (V)
};

/// The byte, from the beginning of a 16x16 tile of a shared tile on, at which this lane points ldmatrix (emitLoadMatrices); i32.
mlir::Value emitLaneOffset(const Emitter &emit, const ThreadPosition &position, const SharedTile &tile, SharedFactor factor);

/// Q K^T for `keys` rows of K from `k` on, this lane's address of the first. `q`: 16x16 tiles by their first column.
Fragments emitScores(const Emitter &emit, mlir::Type type, llvm::function_ref<Fragment4(int64_t column)> q, const SharedTile &tile,
                     mlir::Value k, int64_t keys);

/// out += P V for the rows of V from `v` on, this lane's address of the first, that `probs` have columns.
/// `probs` as rounded here enter the sum of the output, as computed the sum of the state: the usual choice of flash kernels.
void emitOutputSums(const Emitter &emit, mlir::Type type, llvm::ArrayRef<Fragment4> probs, const SharedTile &tile, mlir::Value v,
                    Fragments &out);

} // namespace attnjit::tile
