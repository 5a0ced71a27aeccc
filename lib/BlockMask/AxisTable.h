// The ranges of values that move along one axis only, block by block and for blocks of blocks.
//
// A mask is decided on boxes of queries x keys. Most of what it computes depends on the query alone or on the key alone: docs[q_idx],
// kv_idx // 64, is_global[kv_idx]. Such a value has one range per block of its axis, found once, from all of its elements (or from the two
// ends of the block where it rises or falls), and a pyramid of unions over it. A box then costs two look-ups and the few ops that mix both
// axes. This is also what makes captured tensors cheap: whatever index a formula computes, the table holds what it loads.
#pragma once

#include "Expr/Analysis.h"

#include <span>
#include <vector>

namespace attnjit::plan {

class AxisTable {
public:
  /// `nodes` depend on `axis` (Param::Q or Param::Kv), on b and h, and on nothing else. The axis has `length` positions in blocks of
  /// `block`; no cell that holds a block before `firstBlock` is ever asked about.
  AxisTable(const expr::Formula &formula, const expr::Bindings &bindings, expr::Param axis, std::vector<expr::ValueId> nodes,
            std::int64_t length, std::int64_t block, std::int64_t firstBlock);

  /// Computes what depends on the batch or head that changed; everything the first time.
  void fill(std::int64_t b, std::int64_t h);

  const std::vector<expr::ValueId> &nodes() const { return ids; }
  /// Level 0 has a cell per block, each next level one per two cells; the last level has one.
  int levels() const { return static_cast<int>(counts.size()); }
  std::int64_t cells(int level) const { return counts[level]; }
  /// Ranges of nodes() over a cell, in their order.
  std::span<const expr::Range> cell(int level, std::int64_t index) const { return {ranges[level].data() + index * ids.size(), ids.size()}; }
  /// Whether a captured index that moves along the axis leaves its tensor somewhere in the cell.
  bool isOutOfRange(int level, std::int64_t index) const { return outOfRange[level][index]; }
  /// Elements evaluated so far.
  std::int64_t evaluated() const { return elements; }

private:
  void fillEnds(std::span<const std::size_t> places, std::int64_t b, std::int64_t h);
  void fillAll(std::span<const std::size_t> places, std::int64_t b, std::int64_t h);
  void coarsen(std::span<const std::size_t> places);

  const expr::Formula &formula;
  const expr::Bindings bindings;
  const expr::Param axis;
  const std::vector<expr::ValueId> ids;
  const std::int64_t length, block, firstBlock;
  std::vector<std::uint8_t> depends; ///< of each of ids
  std::vector<std::int64_t> counts;
  std::vector<std::vector<expr::Range>> ranges;      ///< [level][cell * ids + place]
  std::vector<std::vector<std::uint8_t>> outOfRange; ///< [level][cell]
  std::int64_t elements = 0, lastB = -1, lastH = -1;
};

} // namespace attnjit::plan
