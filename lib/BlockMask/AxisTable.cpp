#include "BlockMask/AxisTable.h"

#include "Expr/LaneInterp.h"
#include "Expr/Monotone.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace attnjit::plan {

using expr::Kind;
using expr::LaneInterp;
using expr::Param;
using expr::Range;
using expr::ValueId;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

/// Of no element yet.
Range nothing(Kind kind) {
  Range range;
  range.kind = kind;
  range.lo = INT64_MAX;
  range.hi = INT64_MIN;
  range.flo = kInf;
  range.fhi = -kInf;
  range.maybeNan = false;
  return range;
}

void unite(Range &range, const Range &other) {
  range.lo = std::min(range.lo, other.lo);
  range.hi = std::max(range.hi, other.hi);
  range.flo = std::min(range.flo, other.flo);
  range.fhi = std::max(range.fhi, other.fhi);
  range.maybeNan |= other.maybeNan;
}

void uniteInts(Range &range, const std::int64_t *x, std::int64_t count) {
  std::int64_t lo = range.lo, hi = range.hi;
  for (std::int64_t i = 0; i < count; ++i) {
    lo = x[i] < lo ? x[i] : lo;
    hi = x[i] > hi ? x[i] : hi;
  }
  range.lo = lo;
  range.hi = hi;
}

void uniteFloats(Range &range, const double *x, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    range.flo = x[i] < range.flo ? x[i] : range.flo;
    range.fhi = x[i] > range.fhi ? x[i] : range.fhi;
    range.maybeNan |= x[i] != x[i];
  }
  if (range.maybeNan) { // nothing is concluded from the numbers beside a NaN
    range.flo = -kInf;
    range.fhi = kInf;
  }
}

} // namespace

AxisTable::AxisTable(const expr::Formula &formula, const expr::Bindings &bindings, Param axis, std::vector<ValueId> nodes,
                     std::int64_t length, std::int64_t block, std::int64_t firstBlock)
    : formula(formula), bindings(bindings), axis(axis), ids(std::move(nodes)), length(length), block(block), firstBlock(firstBlock) {
  const std::vector<std::uint8_t> ofNode = expr::dependences(formula.mask);
  for (const ValueId id : ids)
    depends.push_back(ofNode[id]);
  for (std::int64_t count = (length + block - 1) / block; count > 0; count = count == 1 ? 0 : (count + 1) / 2) {
    counts.push_back(count);
    ranges.emplace_back(static_cast<std::size_t>(count) * ids.size());
    outOfRange.emplace_back(static_cast<std::size_t>(count));
  }
}

void AxisTable::fill(std::int64_t b, std::int64_t h) {
  if (ids.empty() || counts.empty())
    return;
  const bool isFirst = lastB < 0;
  const std::uint8_t changed = (b != lastB ? expr::DependsB : 0) | (h != lastH ? expr::DependsH : 0);
  lastB = b;
  lastH = h;

  const expr::Box whole{.bLo = b, .bHi = b, .hLo = h, .hHi = h, .qHi = length - 1, .kvHi = length - 1};
  const std::vector<Range> known = expr::ranges(formula, formula.mask, whole, bindings.scalars, false, nullptr);
  const std::vector<expr::Trend> trends = expr::trends(formula.mask, axis, known);
  std::vector<std::size_t> atEnds, everywhere;
  bool anyStale = false;
  for (std::size_t place = 0; place < ids.size(); ++place) {
    if (!isFirst && !(depends[place] & changed))
      continue;
    anyStale = true;
    (trends[ids[place]] == expr::Trend::Unknown ? everywhere : atEnds).push_back(place);
  }
  if (!anyStale)
    return;
  if (!everywhere.empty()) {
    // Flags are of the cell, not of a value: all values that can raise one are looked at together.
    everywhere.clear();
    for (std::size_t place = 0; place < ids.size(); ++place)
      if (trends[ids[place]] == expr::Trend::Unknown)
        everywhere.push_back(place);
    std::fill(outOfRange[0].begin(), outOfRange[0].end(), 0);
    fillAll(everywhere, b, h);
    coarsen(everywhere);
  }
  if (!atEnds.empty()) {
    fillEnds(atEnds, b, h);
    coarsen(atEnds);
  }
}

void AxisTable::fillEnds(std::span<const std::size_t> places, std::int64_t b, std::int64_t h) {
  std::vector<ValueId> roots;
  for (const std::size_t place : places)
    roots.push_back(ids[place]);
  LaneInterp interp(formula.mask, bindings, roots, axis);
  for (std::int64_t first = firstBlock; first < counts[0]; first += LaneInterp::kLanes) {
    const int lanes = static_cast<int>(std::min<std::int64_t>(LaneInterp::kLanes, counts[0] - first));
    for (const bool atEnd : {false, true}) {
      // The last block may be shorter than a step: it gets a run of its own.
      const bool hasShort = atEnd && first + lanes == counts[0];
      const auto run = [&](std::int64_t position, int count, std::int64_t cell) {
        if (count == 0)
          return;
        interp.run({b, h, position, position}, block, count); // what moves is no load, and what stands still is others' to check
        for (int i = 0; i < count; ++i) {
          for (const std::size_t place : places) {
            Range &range = ranges[0][(cell + i) * ids.size() + place];
            const ValueId id = ids[place];
            const Kind kind = formula.mask[id].kind;
            if (!atEnd)
              range = nothing(kind);
            kind == Kind::Float ? uniteFloats(range, interp.floats(id) + i, 1) : uniteInts(range, interp.ints(id) + i, 1);
          }
        }
      };
      const std::int64_t offset = atEnd ? block - 1 : 0;
      run(first * block + offset, hasShort ? lanes - 1 : lanes, first);
      if (hasShort)
        run(length - 1, 1, counts[0] - 1);
    }
  }
  elements += 2 * std::max<std::int64_t>(counts[0] - firstBlock, 0);
}

void AxisTable::fillAll(std::span<const std::size_t> places, std::int64_t b, std::int64_t h) {
  std::vector<ValueId> roots;
  for (const std::size_t place : places)
    roots.push_back(ids[place]);
  for (const std::size_t place : places)
    for (std::int64_t cell = firstBlock; cell < counts[0]; ++cell)
      ranges[0][cell * ids.size() + place] = nothing(formula.mask[ids[place]].kind);
  LaneInterp interp(formula.mask, bindings, roots, axis);
  for (std::int64_t first = firstBlock * block; first < length; first += LaneInterp::kLanes) {
    const int lanes = static_cast<int>(std::min<std::int64_t>(LaneInterp::kLanes, length - first));
    const bool outside = interp.run({b, h, first, first}, 1, lanes);
    for (std::int64_t at = first; at < first + lanes;) {
      const std::int64_t cell = at / block, end = std::min(first + lanes, (cell + 1) * block);
      for (const std::size_t place : places) {
        Range &range = ranges[0][cell * ids.size() + place];
        const ValueId id = ids[place];
        formula.mask[id].kind == Kind::Float ? uniteFloats(range, interp.floats(id) + (at - first), end - at)
                                             : uniteInts(range, interp.ints(id) + (at - first), end - at);
      }
      at = end;
    }
    if (!outside)
      continue;
    for (std::int64_t at = first; at < first + lanes; ++at)
      if (!outOfRange[0][at / block])
        outOfRange[0][at / block] = interp.run({b, h, at, at}, 1, 1);
  }
  elements += std::max<std::int64_t>(length - firstBlock * block, 0);
}

void AxisTable::coarsen(std::span<const std::size_t> places) {
  for (int level = 1; level < levels(); ++level)
    for (std::int64_t cell = firstBlock >> level; cell < counts[level]; ++cell) {
      const std::int64_t left = 2 * cell, right = std::min(2 * cell + 1, counts[level - 1] - 1);
      outOfRange[level][cell] = outOfRange[level - 1][left] | outOfRange[level - 1][right];
      for (const std::size_t place : places) {
        Range &range = ranges[level][cell * ids.size() + place];
        range = ranges[level - 1][left * ids.size() + place];
        unite(range, ranges[level - 1][right * ids.size() + place]);
      }
    }
}

} // namespace attnjit::plan
