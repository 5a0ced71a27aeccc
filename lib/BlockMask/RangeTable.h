// Smallest and largest element of any box of a captured tensor, fast: what turns "docs[kv] over keys 4096..8191" into an interval.
//
// The last two dimensions are covered by cells of 2^i x 2^j elements, every i and j from kBase up (a rip-map): a box is answered from at
// most a few dozen cells that cover it. They may stick out of it, which is sound and only matters while boxes are large. Where there are
// few rows (document ids, offsets and flags, perhaps per batch or head) each row is answered exactly, since planners live on such
// boundaries. Dimensions before the last two are looked at one by one.
#pragma once

#include "Expr/Analysis.h"

#include <span>
#include <vector>

namespace attnjit::plan {

class RangeTable {
public:
  /// With cells every element of `tensor` is read once, here. Without, nothing is read here and a query reads its box: right for a tensor
  /// that is about as large as the answer it serves, such as a mask given in full. The tensor must outlive the table.
  explicit RangeTable(const TensorRef &tensor, bool withCells = true);

  /// Range of the elements at `indices` (one inclusive Int range per dimension; negative ones count from the end, one that leaves the
  /// tensor or changes sign means all of it). Sound, not always tight. A table without cells answers "anything" for boxes of more than
  /// `scanLimit` elements.
  expr::Range query(std::span<const expr::Range> indices, std::int64_t scanLimit) const;
  bool hasCells() const { return !levels.empty(); }

private:
  /// Bounds of Int, Bool or Float elements. Integers need all of 64 bits, so there are two pairs.
  struct Bounds {
    std::int64_t lo = INT64_MAX, hi = INT64_MIN;
    double flo, fhi;
    bool nan = false;
    Bounds();
    void add(const Bounds &other);
  };
  struct Extent {
    std::int64_t lo, hi; ///< inclusive
    std::int64_t count() const { return hi - lo + 1; }
  };
  struct Level {
    std::int64_t rows = 0, cols = 0; ///< number of cells
    std::vector<Bounds> cells;       ///< [plane][row][col]
  };

  template <typename T> void scanAs(std::int64_t offset, Extent rows, Extent cols, Bounds &bounds) const;
  void scanConverted(std::int64_t offset, Extent rows, Extent cols, Bounds &bounds) const;
  void scan(std::int64_t offset, Extent rows, Extent cols, Bounds &bounds) const;
  void buildBase();
  void coarsen(const Level &fine, Level &coarse, bool alongRows) const;
  const Level &level(int rowShift, int colShift) const { return levels[(rowShift - rowBase) * colLevels + (colShift - colBase)]; }
  void queryPlane(std::int64_t plane, std::int64_t offset, Extent rows, Extent cols, Bounds &bounds) const;
  void queryRow(std::int64_t row, std::int64_t offset, Extent cols, Bounds &bounds) const;

  TensorRef tensor;
  expr::Kind kind;
  std::int64_t planes = 1, rows = 1, cols = 1;
  std::int64_t rowStride = 0, colStride = 0;
  bool isEmpty = false;
  int rowBase = 0, colBase = 0, rowLevels = 1, colLevels = 1;
  std::vector<Level> levels;
};

} // namespace attnjit::plan
