#include "BlockMask/Planner.h"

#include <algorithm>

namespace attnjit::plan {

namespace {

void setStrides(Plan &plan, std::int64_t batches, std::int64_t heads, std::int64_t tiles) {
  plan.headStride = heads > 1 ? tiles : 0;
  plan.batchStride = batches > 1 ? heads * tiles : 0;
}

} // namespace

Plan buildPlan(const expr::Formula &formula, const expr::Bindings &bindings, const PlanProblem &problem) {
  const BlockProblem blocks{problem.B, problem.Hq, problem.M, problem.N, problem.tileRows, problem.tileCols};
  DecideOptions options;
  options.exact = false;
  Decided decided = decide(formula, bindings, blocks, options);
  const BlockRows &rows = decided.rows;

  Plan plan;
  setStrides(plan, rows.batches, rows.heads, rows.rows);
  plan.runs.reserve(rows.runs.size());
  for (const BlockRun &run : rows.runs)
    plan.runs.push_back({run.begin * problem.tileCols, std::min(problem.N, run.end * problem.tileCols), run.full});
  const std::int64_t shares = rows.batches * rows.heads > 0 ? problem.B * problem.Hq / (rows.batches * rows.heads) : 0;
  const BlockCounts counts = count(rows);
  plan.visibleBlocks = (counts.partial + counts.full) * shares;
  plan.fullBlocks = counts.full * shares;
  plan.totalBlocks = problem.B * problem.Hq * blocks.rows() * blocks.cols();
  plan.elementsEvaluated = decided.statistics.pairsEvaluated;
  plan.offsets = std::move(decided.rows.offsets);
  return plan;
}

namespace {

/// The rows [first, last] of one (b, h) as one row; what they disagree on is partial.
void uniteRows(const BlockRows &rows, std::int64_t first, std::int64_t last, std::vector<BlockRun> &united, bool &disagree) {
  const std::span<const BlockRun> row = rows.row(first);
  united.assign(row.begin(), row.end());
  std::vector<BlockRun> next;
  for (std::int64_t index = first + 1; index <= last; ++index) {
    next.clear();
    forEachStretch(united, rows.row(index), rows.cols, [&](std::int64_t begin, std::int64_t end, Verdict x, Verdict y) {
      if (x != Verdict::Empty || y != Verdict::Empty)
        append(next, 0, begin, end, x == Verdict::Full && y == Verdict::Full);
      disagree |= x != y;
    });
    united.swap(next);
  }
}

} // namespace

Plan planOf(const BlockRows &rows, std::int64_t blockQ, std::int64_t blockKv, const PlanProblem &problem, bool &disagree) {
  disagree = false;
  const std::int64_t tiles = (problem.M + problem.tileRows - 1) / problem.tileRows;
  Plan plan;
  setStrides(plan, rows.batches, rows.heads, tiles);
  plan.offsets.push_back(0);
  std::vector<BlockRun> united;
  std::int64_t visible = 0, full = 0;
  for (std::int64_t head = 0; head < rows.batches * rows.heads; ++head)
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
      const std::int64_t first = tile * problem.tileRows / blockQ, last = (std::min(problem.M, (tile + 1) * problem.tileRows) - 1) / blockQ;
      uniteRows(rows, head * rows.rows + first, head * rows.rows + last, united, disagree);
      for (const BlockRun &run : united) {
        const std::int64_t begin = run.begin * blockKv, end = std::min(problem.N, run.end * blockKv);
        plan.runs.push_back({begin, end, run.full});
        const std::int64_t blocks = (end - begin + problem.tileCols - 1) / problem.tileCols;
        visible += blocks;
        full += run.full ? blocks : 0;
      }
      plan.offsets.push_back(static_cast<std::int64_t>(plan.runs.size()));
    }
  const std::int64_t shares = rows.batches * rows.heads > 0 ? problem.B * problem.Hq / (rows.batches * rows.heads) : 0;
  plan.visibleBlocks = visible * shares;
  plan.fullBlocks = full * shares;
  plan.totalBlocks = problem.B * problem.Hq * tiles * ((problem.N + problem.tileCols - 1) / problem.tileCols);
  return plan;
}

} // namespace attnjit::plan
