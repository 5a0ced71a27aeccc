// Decides which blocks of a mask are empty, partial or full, without building the mask.
//
// The plane of queries x keys is cut into quarters until intervals decide (every pair visible, or none), down to single blocks. Along the
// edges of a mask blocks remain that intervals cannot decide: a few pairs show most of them to be partial, and what is left is evaluated
// pair by pair, in lanes. Work is therefore proportional to the length of the mask's edges, not to its area:
//
//   causal at 1 048 576 x 1 048 576 in blocks of 128: 67 108 864 blocks, 57 341 boxes asked about, 16 384 pairs evaluated.
#pragma once

#include "BlockMask/BlockRows.h"
#include "Expr/Interp.h"

#include <functional>
#include <optional>

namespace attnjit::plan {

/// A mask over B x H x M x N positions in blocks of blockQ x blockKv.
struct BlockProblem {
  std::int64_t B = 0, H = 0, M = 0, N = 0;
  std::int64_t blockQ = 0, blockKv = 0;
  std::int64_t rows() const { return (M + blockQ - 1) / blockQ; }
  std::int64_t cols() const { return (N + blockKv - 1) / blockKv; }
};

/// Runs body(0) .. body(tasks - 1), in any order and at once or not.
using ParallelFor = std::function<void(int tasks, const std::function<void(int)> &body)>;

struct DecideOptions {
  /// True: every answer is what looking at all pairs of the block would give. False: a block on which much work was spent in vain may be
  /// called partial, which is always legal and costs a kernel a mask evaluation.
  bool exact = true;
  /// Blocks of the first knownRows x knownCols are not asked about and come out empty: they are known from before.
  std::int64_t knownRows = 0, knownCols = 0;
  ParallelFor parallelFor; ///< empty: on this thread alone
  int workers = 1;
};

/// How blocks were decided; each of the distinct (b, h) counts.
struct DecideStatistics {
  std::int64_t blocks = 0;          ///< asked about
  std::int64_t byIntervals = 0;     ///< by analysis, no pair looked at
  std::int64_t bySamples = 0;       ///< partial, shown by at most nine pairs
  std::int64_t byPairs = 0;         ///< by evaluating pairs
  std::int64_t undecided = 0;       ///< called partial because the effort was not worth it; 0 when exact
  std::int64_t boxes = 0;           ///< intervals computed
  std::int64_t pairsEvaluated = 0;  ///< pairs, those of samples included
  std::int64_t valuesTabulated = 0; ///< evaluations along one axis
  void add(const DecideStatistics &other);
};

struct Decided {
  BlockRows rows;
  DecideStatistics statistics;
  /// When exact: the first position, in the order (b, h, q, kv), at which the mask indexes a captured tensor outside its sizes. `rows` is
  /// of no use then. When not exact such blocks are partial, for the kernel to report (A10).
  std::optional<expr::Position> outOfRange;
};

/// Decides every block of `formula`'s mask. Deterministic for any number of workers when exact.
Decided decide(const expr::Formula &formula, const expr::Bindings &bindings, const BlockProblem &problem, const DecideOptions &options);

} // namespace attnjit::plan
