#include "BlockMask/Planner.h"

#include "BlockMask/RangeTable.h"

#include <algorithm>
#include <memory>

namespace attnjit::plan {

using expr::Box;
using expr::Range;

namespace {

/// Boxes up to this area are evaluated pair by pair instead of being split further: asking for an interval costs about as much.
constexpr std::int64_t kLeafArea = 64;
/// Pairs that one block may cost. A block that stays undecided halves the budget of later ones and a block that elements decided doubles
/// it, so that masks which only look random cost little.
constexpr std::int64_t kMaxBudget = 4096, kMinBudget = 64;
/// What asking for an interval costs, in evaluated pairs.
constexpr std::int64_t kIntervalCost = 16;

enum class Verdict { Empty, Partial, Full };

/// Extends the runs of one query tile: blocks come in ascending order.
void append(std::vector<RunArg> &runs, std::int64_t kvBegin, std::int64_t kvEnd, bool full) {
  if (!runs.empty() && runs.back().kvEnd == kvBegin && runs.back().full == full)
    runs.back().kvEnd = kvEnd;
  else
    runs.push_back({kvBegin, kvEnd, full});
}

class Planner {
public:
  Planner(const expr::Formula &formula, const expr::Bindings &bindings, const PlanProblem &problem)
      : formula(formula), bindings(bindings), problem(problem), interp(formula, formula.mask, bindings), tables(formula.captures.size()) {
    qTiles = (problem.M + problem.tileRows - 1) / problem.tileRows;
    kvBlocks = (problem.N + problem.tileCols - 1) / problem.tileCols;
    for (const expr::Node &node : formula.mask.nodes)
      if (node.op == expr::Op::Load && !tables[node.imm.i])
        tables[node.imm.i] = std::make_unique<RangeTable>(bindings.captures[node.imm.i]);
    captureRange = [this](int index, std::span<const Range> indices) { return tables[index]->query(indices); };
  }

  Plan build();

private:
  /// Query tiles [qBegin, qEnd) x key blocks [kvBegin, kvEnd) of the current (b, h).
  struct Area {
    std::int64_t qBegin, qEnd, kvBegin, kvEnd;
    bool isBlock() const { return qEnd - qBegin == 1 && kvEnd - kvBegin == 1; }
  };

  void planArea(const Area &area);
  Verdict byIntervals(const Box &box) const;
  bool indicesInBounds(const std::vector<Range> &values) const;
  Verdict refineBlock(const Box &box);
  void look(const Box &box);
  void evaluate(const Box &box);
  void record(const Area &area, Verdict verdict);
  Box boxOf(const Area &area) const;

  const expr::Formula &formula;
  const expr::Bindings bindings;
  const PlanProblem problem;
  expr::Interp interp;
  std::vector<std::unique_ptr<RangeTable>> tables;
  expr::CaptureRangeFn captureRange;
  std::int64_t qTiles = 0, kvBlocks = 0;
  std::int64_t b = 0, h = 0;
  std::vector<std::vector<RunArg>> runsOfTile;
  Plan plan;
  std::int64_t budget = kMaxBudget;

  /// What was seen of the block under refinement. It is done once it is known to be partial.
  struct Seen {
    bool visible = false, hidden = false, unknown = false;
    std::int64_t budget = 0;
    bool isDone() const { return unknown || (visible && hidden); }
  } seen;
};

Plan Planner::build() {
  std::uint8_t depends = 0;
  for (const std::uint8_t ofNode : expr::dependences(formula.mask))
    depends |= ofNode; // every node, not only the result: an index that leaves its tensor may depend on a head that the value does not
  const std::int64_t batches = depends & expr::DependsB ? problem.B : std::min<std::int64_t>(problem.B, 1);
  const std::int64_t heads = depends & expr::DependsH ? problem.Hq : std::min<std::int64_t>(problem.Hq, 1);
  plan.headStride = heads > 1 ? qTiles : 0;
  plan.batchStride = batches > 1 ? heads * qTiles : 0;

  plan.offsets.push_back(0);
  for (b = 0; b < batches; ++b)
    for (h = 0; h < heads; ++h) {
      runsOfTile.assign(static_cast<std::size_t>(qTiles), {});
      if (qTiles && kvBlocks)
        planArea({0, qTiles, 0, kvBlocks});
      for (const std::vector<RunArg> &runs : runsOfTile) {
        plan.runs.insert(plan.runs.end(), runs.begin(), runs.end());
        plan.offsets.push_back(static_cast<std::int64_t>(plan.runs.size()));
      }
    }
  const std::int64_t shares = batches * heads > 0 ? problem.B * problem.Hq / (batches * heads) : 0;
  plan.visibleBlocks *= shares;
  plan.fullBlocks *= shares;
  plan.totalBlocks = problem.B * problem.Hq * qTiles * kvBlocks;
  return std::move(plan);
}

// Large areas first: where intervals decide, one question settles many blocks. Quarters are visited so that every tile receives its runs in
// ascending order.
void Planner::planArea(const Area &area) {
  const Verdict verdict = byIntervals(boxOf(area));
  if (verdict != Verdict::Partial)
    return record(area, verdict);
  if (area.isBlock())
    return record(area, refineBlock(boxOf(area)));
  const std::int64_t qMiddle = area.qBegin + (area.qEnd - area.qBegin + 1) / 2,
                     kvMiddle = area.kvBegin + (area.kvEnd - area.kvBegin + 1) / 2;
  for (const auto &[qBegin, qEnd] : {std::pair{area.qBegin, qMiddle}, std::pair{qMiddle, area.qEnd}})
    for (const auto &[kvBegin, kvEnd] : {std::pair{area.kvBegin, kvMiddle}, std::pair{kvMiddle, area.kvEnd}})
      if (qBegin < qEnd && kvBegin < kvEnd)
        planArea({qBegin, qEnd, kvBegin, kvEnd});
}

Box Planner::boxOf(const Area &area) const {
  return {b,
          b,
          h,
          h,
          area.qBegin * problem.tileRows,
          std::min(problem.M, area.qEnd * problem.tileRows) - 1,
          area.kvBegin * problem.tileCols,
          std::min(problem.N, area.kvEnd * problem.tileCols) - 1};
}

/// Partial stands for "not decided".
Verdict Planner::byIntervals(const Box &box) const {
  const std::vector<Range> values = expr::ranges(formula, formula.mask, box, bindings.scalars, false, captureRange);
  const Range &result = values[formula.mask.result];
  if (result.lo != result.hi || !indicesInBounds(values))
    return Verdict::Partial;
  return result.lo ? Verdict::Full : Verdict::Empty;
}

// A block that the kernel skips, or whose mask it does not evaluate, must not hide an index that leaves its tensor (A10).
bool Planner::indicesInBounds(const std::vector<Range> &values) const {
  for (const expr::Node &node : formula.mask.nodes) {
    if (node.op != expr::Op::Load)
      continue;
    const TensorRef &tensor = bindings.captures[node.imm.i];
    for (std::size_t dim = 0; dim < node.operands.size(); ++dim) {
      const Range &index = values[node.operands[dim]];
      if (index.lo < -tensor.sizes[dim] || index.hi >= tensor.sizes[dim])
        return false;
    }
  }
  return true;
}

Verdict Planner::refineBlock(const Box &box) {
  seen = {};
  seen.budget = budget;
  const std::int64_t before = plan.elementsEvaluated;
  // Most blocks that are partial show it at a few places.
  for (const std::int64_t q : {box.qLo, box.qHi, (box.qLo + box.qHi) / 2})
    for (const std::int64_t kv : {box.kvLo, box.kvHi, (box.kvLo + box.kvHi) / 2})
      if (!seen.isDone())
        evaluate({b, b, h, h, q, q, kv, kv});
  look(box);
  if (seen.isDone()) {
    const bool wasted = seen.unknown && plan.elementsEvaluated - before > kMinBudget;
    budget = wasted ? std::max(budget / 2, kMinBudget) : budget;
    return Verdict::Partial;
  }
  budget = std::min(budget * 2, kMaxBudget);
  return seen.visible ? Verdict::Full : Verdict::Empty;
}

void Planner::look(const Box &box) {
  if (seen.isDone())
    return;
  const std::int64_t rows = box.qHi - box.qLo + 1, cols = box.kvHi - box.kvLo + 1;
  seen.budget -= kIntervalCost;
  const Verdict verdict = byIntervals(box);
  if (verdict != Verdict::Partial) {
    (verdict == Verdict::Full ? seen.visible : seen.hidden) = true;
    return;
  }
  if (seen.budget <= 0) {
    seen.unknown = true;
    return;
  }
  if (rows * cols <= kLeafArea)
    return evaluate(box);
  Box first = box, second = box;
  if (rows >= cols) {
    first.qHi = box.qLo + rows / 2 - 1;
    second.qLo = first.qHi + 1;
  } else {
    first.kvHi = box.kvLo + cols / 2 - 1;
    second.kvLo = first.kvHi + 1;
  }
  look(first);
  look(second);
}

void Planner::evaluate(const Box &box) {
  for (std::int64_t q = box.qLo; q <= box.qHi; ++q)
    for (std::int64_t kv = box.kvLo; kv <= box.kvHi; ++kv) {
      bool outOfRange = false;
      const bool visible = interp.evaluate(0, {b, h, q, kv}, outOfRange).i != 0;
      ++plan.elementsEvaluated;
      --seen.budget;
      (visible ? seen.visible : seen.hidden) = true;
      seen.unknown |= outOfRange; // the kernel has to see it as well, to report it
      if (seen.isDone())
        return;
    }
}

void Planner::record(const Area &area, Verdict verdict) {
  if (verdict == Verdict::Empty)
    return;
  const std::int64_t blocks = (area.qEnd - area.qBegin) * (area.kvEnd - area.kvBegin);
  plan.visibleBlocks += blocks;
  plan.fullBlocks += verdict == Verdict::Full ? blocks : 0;
  const std::int64_t kvBegin = area.kvBegin * problem.tileCols, kvEnd = std::min(problem.N, area.kvEnd * problem.tileCols);
  for (std::int64_t tile = area.qBegin; tile < area.qEnd; ++tile)
    append(runsOfTile[tile], kvBegin, kvEnd, verdict == Verdict::Full);
}

} // namespace

Plan buildPlan(const expr::Formula &formula, const expr::Bindings &bindings, const PlanProblem &problem) {
  return Planner(formula, bindings, problem).build();
}

} // namespace attnjit::plan
