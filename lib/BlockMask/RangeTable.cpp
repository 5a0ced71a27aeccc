#include "BlockMask/RangeTable.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>

namespace attnjit::plan {

using expr::Kind;
using expr::Range;

namespace {

/// log2 of the side of the smallest cells: smaller boxes are read element by element.
constexpr int kBase = 3;
/// A box that meets more planes than this is answered "anything".
constexpr std::int64_t kMaxPlanes = 64;

int levelsFor(std::int64_t size, int base) {
  int count = 1;
  while ((std::int64_t{1} << (base + count - 1)) < size)
    ++count;
  return count;
}

std::int64_t cellsFor(std::int64_t size, int shift) { return ((size - 1) >> shift) + 1; }

/// The largest cell side of which about four fit into `count`.
int coveringShift(std::int64_t count, int base, int levels) {
  const int wanted = std::bit_width(static_cast<std::uint64_t>(count)) - 1 - 2;
  return std::clamp(wanted, base, base + levels - 1);
}

Range unknown(Kind kind) {
  Range range;
  range.kind = kind;
  if (kind == Kind::Bool) {
    range.lo = 0;
    range.hi = 1;
  }
  range.flo = -std::numeric_limits<double>::infinity();
  range.fhi = std::numeric_limits<double>::infinity();
  range.maybeNan = kind == Kind::Float;
  return range;
}

} // namespace

RangeTable::Bounds::Bounds() : flo(std::numeric_limits<double>::infinity()), fhi(-std::numeric_limits<double>::infinity()) {}

void RangeTable::Bounds::add(const Bounds &other) {
  lo = std::min(lo, other.lo);
  hi = std::max(hi, other.hi);
  flo = std::min(flo, other.flo);
  fhi = std::max(fhi, other.fhi);
  nan |= other.nan;
}

RangeTable::RangeTable(const TensorRef &tensor, bool withCells) : tensor(tensor) {
  kind = isFloat(tensor.dtype) ? Kind::Float : tensor.dtype == DType::Bool ? Kind::Bool : Kind::Int;
  if (tensor.rank >= 1) {
    cols = tensor.sizes[tensor.rank - 1];
    colStride = tensor.strides[tensor.rank - 1];
  }
  if (tensor.rank >= 2) {
    rows = tensor.sizes[tensor.rank - 2];
    rowStride = tensor.strides[tensor.rank - 2];
  }
  for (int dim = 0; dim + 2 < tensor.rank; ++dim)
    planes *= tensor.sizes[dim];
  isEmpty = planes <= 0 || rows <= 0 || cols <= 0;
  if (isEmpty || !withCells)
    return;
  // Few rows are heads or batches: never worth mixing.
  rowBase = rows >= 64 ? kBase : 0;
  colBase = kBase;
  rowLevels = rowBase ? levelsFor(rows, rowBase) : 1;
  colLevels = levelsFor(cols, colBase);
  levels.resize(static_cast<std::size_t>(rowLevels * colLevels));
  buildBase();
  for (int i = 0; i < rowLevels; ++i)
    for (int j = 0; j < colLevels; ++j) {
      if (i == 0 && j == 0)
        continue;
      const bool alongRows = j == 0;
      coarsen(levels[alongRows ? (i - 1) * colLevels : i * colLevels + j - 1], levels[i * colLevels + j], alongRows);
    }
}

namespace {

template <typename T> struct RowBounds {
  T lo, hi; ///< NaN when there is nothing else
  bool nan = false;
};

/// `stride` is a constant 1 where the caller knows it: then this is one vector loop.
template <typename T, typename Stride> RowBounds<T> scanRow(const T *at, std::int64_t count, Stride stride) {
  RowBounds<T> bounds{*at, *at};
  for (std::int64_t i = 0; i < count; ++i) {
    const T x = at[i * stride];
    bounds.lo = x < bounds.lo || bounds.lo != bounds.lo ? x : bounds.lo;
    bounds.hi = x > bounds.hi || bounds.hi != bounds.hi ? x : bounds.hi;
    bounds.nan |= x != x;
  }
  return bounds;
}

} // namespace

/// Every element is read, so the element loop knows its type.
template <typename T> void RangeTable::scanAs(std::int64_t offset, Extent rows, Extent cols, Bounds &bounds) const {
  for (std::int64_t row = rows.lo; row <= rows.hi; ++row) {
    const T *at = static_cast<const T *>(tensor.data) + offset + row * rowStride + cols.lo * colStride;
    const auto [lo, hi, nan] =
        colStride == 1 ? scanRow(at, cols.count(), std::integral_constant<std::int64_t, 1>()) : scanRow(at, cols.count(), colStride);
    Bounds ofRow;
    ofRow.nan = nan;
    if constexpr (std::is_floating_point_v<T>) {
      if (lo == lo) { // else nothing but NaN
        ofRow.flo = lo;
        ofRow.fhi = hi;
      }
    } else {
      ofRow.lo = kind == Kind::Bool ? lo != 0 : lo; // any byte but 0 is true
      ofRow.hi = kind == Kind::Bool ? hi != 0 : hi;
    }
    bounds.add(ofRow);
  }
}

/// Element types without arithmetic of their own.
void RangeTable::scanConverted(std::int64_t offset, Extent rows, Extent cols, Bounds &bounds) const {
  for (std::int64_t row = rows.lo; row <= rows.hi; ++row)
    for (std::int64_t col = cols.lo; col <= cols.hi; ++col) {
      const expr::Value value = expr::loadElement(tensor.data, tensor.dtype, offset + row * rowStride + col * colStride);
      Bounds ofElement;
      if (kind != Kind::Float)
        ofElement.lo = ofElement.hi = value.i;
      else if (std::isnan(value.f))
        ofElement.nan = true;
      else
        ofElement.flo = ofElement.fhi = value.f;
      bounds.add(ofElement);
    }
}

void RangeTable::scan(std::int64_t offset, Extent rows, Extent cols, Bounds &bounds) const {
  switch (tensor.dtype) {
  case DType::F64:
    return scanAs<double>(offset, rows, cols, bounds);
  case DType::F32:
    return scanAs<float>(offset, rows, cols, bounds);
  case DType::I8:
    return scanAs<std::int8_t>(offset, rows, cols, bounds);
  case DType::Bool:
  case DType::U8:
    return scanAs<std::uint8_t>(offset, rows, cols, bounds);
  case DType::I16:
    return scanAs<std::int16_t>(offset, rows, cols, bounds);
  case DType::I32:
    return scanAs<std::int32_t>(offset, rows, cols, bounds);
  case DType::I64:
    return scanAs<std::int64_t>(offset, rows, cols, bounds);
  case DType::BF16:
  case DType::F16:
  case DType::F8E4M3:
  case DType::F8E5M2:
    return scanConverted(offset, rows, cols, bounds);
  }
}

void RangeTable::buildBase() {
  Level &base = levels[0];
  base.rows = cellsFor(rows, rowBase);
  base.cols = cellsFor(cols, colBase);
  base.cells.resize(static_cast<std::size_t>(planes * base.rows * base.cols));
  std::size_t cell = 0;
  for (std::int64_t plane = 0; plane < planes; ++plane) {
    std::int64_t offset = 0, rest = plane;
    for (int dim = tensor.rank - 3; dim >= 0; --dim) {
      offset += rest % tensor.sizes[dim] * tensor.strides[dim];
      rest /= tensor.sizes[dim];
    }
    for (std::int64_t i = 0; i < base.rows; ++i)
      for (std::int64_t j = 0; j < base.cols; ++j)
        scan(offset, {i << rowBase, std::min(rows, (i + 1) << rowBase) - 1}, {j << colBase, std::min(cols, (j + 1) << colBase) - 1},
             base.cells[cell++]);
  }
}

void RangeTable::coarsen(const Level &fine, Level &coarse, bool alongRows) const {
  coarse.rows = alongRows ? (fine.rows + 1) / 2 : fine.rows;
  coarse.cols = alongRows ? fine.cols : (fine.cols + 1) / 2;
  coarse.cells.resize(static_cast<std::size_t>(planes * coarse.rows * coarse.cols));
  for (std::int64_t plane = 0; plane < planes; ++plane)
    for (std::int64_t i = 0; i < fine.rows; ++i)
      for (std::int64_t j = 0; j < fine.cols; ++j)
        coarse.cells[(plane * coarse.rows + (alongRows ? i / 2 : i)) * coarse.cols + (alongRows ? j : j / 2)].add(
            fine.cells[(plane * fine.rows + i) * fine.cols + j]);
}

// Exact: elements up to the first cell border, then the largest cells that fit, growing and shrinking again, then elements.
void RangeTable::queryRow(std::int64_t row, std::int64_t offset, Extent cols, Bounds &bounds) const {
  std::int64_t col = cols.lo;
  while (col <= cols.hi) {
    int shift = colBase;
    const auto fits = [&](int candidate) {
      const std::int64_t side = std::int64_t{1} << candidate;
      return (col & (side - 1)) == 0 && std::min(this->cols, col + side) - 1 <= cols.hi;
    };
    if (!fits(shift)) {
      const std::int64_t stop = std::min(cols.hi, col | ((std::int64_t{1} << colBase) - 1));
      scan(offset, {0, 0}, {col, stop}, bounds);
      col = stop + 1;
      continue;
    }
    while (shift + 1 < colBase + colLevels && fits(shift + 1))
      ++shift;
    const Level &cells = level(0, shift);
    bounds.add(cells.cells[row * cells.cols + (col >> shift)]);
    col += std::int64_t{1} << shift;
  }
}

void RangeTable::queryPlane(std::int64_t plane, std::int64_t offset, Extent rows, Extent cols, Bounds &bounds) const {
  if (levels.empty())
    return scan(offset, rows, cols, bounds);
  if (rowBase == 0) {
    for (std::int64_t row = rows.lo; row <= rows.hi; ++row)
      queryRow(plane * this->rows + row, offset + row * rowStride, cols, bounds);
    return;
  }
  if (rows.count() * cols.count() <= 64)
    return scan(offset, rows, cols, bounds);
  const int rowShift = coveringShift(rows.count(), rowBase, rowLevels), colShift = coveringShift(cols.count(), colBase, colLevels);
  const Level &cells = level(rowShift, colShift);
  for (std::int64_t i = rows.lo >> rowShift; i <= rows.hi >> rowShift; ++i)
    for (std::int64_t j = cols.lo >> colShift; j <= cols.hi >> colShift; ++j)
      bounds.add(cells.cells[(plane * cells.rows + i) * cells.cols + j]);
}

Range RangeTable::query(std::span<const Range> indices, std::int64_t scanLimit) const {
  Range range = unknown(kind);
  if (isEmpty || static_cast<int>(indices.size()) != tensor.rank)
    return range;
  Extent extents[kMaxRank];
  std::int64_t planesMet = 1;
  for (int dim = 0; dim < tensor.rank; ++dim) {
    const std::int64_t size = tensor.sizes[dim], lo = indices[dim].lo, hi = indices[dim].hi;
    if (lo >= 0 && lo <= hi && hi < size)
      extents[dim] = {lo, hi};
    else if (lo >= -size && lo <= hi && hi < 0)
      extents[dim] = {lo + size, hi + size};
    else
      extents[dim] = {0, size - 1};
    if (dim + 2 < tensor.rank)
      planesMet *= std::min(extents[dim].count(), kMaxPlanes + 1);
    if (planesMet > kMaxPlanes)
      return range;
  }
  Bounds bounds;
  const Extent colExtent = tensor.rank >= 1 ? extents[tensor.rank - 1] : Extent{0, 0};
  const Extent rowExtent = tensor.rank >= 2 ? extents[tensor.rank - 2] : Extent{0, 0};
  if (levels.empty() && rowExtent.count() > scanLimit / colExtent.count() / planesMet)
    return range;
  for (std::int64_t step = 0; step < planesMet; ++step) {
    std::int64_t rest = step, plane = 0, offset = 0, planeStride = 1;
    for (int dim = tensor.rank - 3; dim >= 0; --dim) {
      const std::int64_t index = extents[dim].lo + rest % extents[dim].count();
      rest /= extents[dim].count();
      plane += index * planeStride;
      planeStride *= tensor.sizes[dim];
      offset += index * tensor.strides[dim];
    }
    queryPlane(plane, offset, rowExtent, colExtent, bounds);
  }
  range.maybeNan = bounds.nan;
  if (kind == Kind::Float) {
    range.flo = bounds.flo;
    range.fhi = bounds.fhi;
    if (bounds.flo > bounds.fhi) // nothing but NaN
      range = unknown(kind);
  } else {
    range.lo = bounds.lo;
    range.hi = bounds.hi;
  }
  return range;
}

} // namespace attnjit::plan
