#include "BlockMask/Decider.h"

#include "BlockMask/AxisTable.h"
#include "BlockMask/RangeTable.h"
#include "Expr/LaneInterp.h"
#include "Expr/Loops.h"
#include "Expr/NumericDomain.h"

#include <algorithm>
#include <memory>

namespace attnjit::plan {

using expr::Box;
using expr::LaneInterp;
using expr::Param;
using expr::Position;
using expr::Range;
using expr::ValueId;

namespace {

/// Pairs that one block may cost when the answer need not be exact. A block that stays undecided halves the budget of later ones and a
/// block that pairs decided doubles it, so that masks which only look random cost little.
constexpr std::int64_t kMaxBudget = 16384, kMinBudget = 128;
/// A table with cells is built for a tensor of at most this many elements per block that is asked about: beyond, reading the boxes that
/// matter is cheaper than reading everything ahead.
constexpr std::int64_t kElementsPerBlock = 16, kSmallTensor = 65536;

/// What a mask's nodes move with; those on one axis are tabulated, those on both are computed box by box.
struct Partition {
  std::vector<ValueId> uniform, onQ, onKv; ///< read by a node of both axes, or the result
  std::vector<ValueId> joint;              ///< in order, with the loops of reductions that move with both axes
  std::vector<ValueId> jointLoads, uniformLoads;

  explicit Partition(const expr::Function &mask) {
    const std::vector<std::uint8_t> depends = expr::dependences(mask), open = expr::openLevels(mask.nodes);
    constexpr std::uint8_t kBoth = expr::DependsQ | expr::DependsKv;
    // From the result down: what a joint node reads, and, inside of a loop that is joint, whatever its steps compute. A loop on one axis is
    // tabulated by its result.
    std::vector<bool> isRead(mask.nodes.size()), isJoint(mask.nodes.size());
    isRead[mask.result] = true;
    for (ValueId id = static_cast<ValueId>(mask.nodes.size()); id-- > 0;) {
      isJoint[id] = open[id] ? isRead[id] : (depends[id] & kBoth) == kBoth;
      if (isJoint[id])
        for (const ValueId operand : mask[id].operands)
          isRead[operand] = true;
    }
    for (ValueId id = 0; id < mask.nodes.size(); ++id) {
      const bool isLoad = mask[id].op == expr::Op::Load;
      if (isJoint[id]) {
        joint.push_back(id);
        if (isLoad)
          jointLoads.push_back(id);
        continue;
      }
      if (open[id])
        continue;
      if ((isLoad || expr::isReduction(mask[id].op)) && !(depends[id] & kBoth))
        uniformLoads.push_back(id);
      if (isRead[id])
        (depends[id] & expr::DependsQ ? onQ : depends[id] & expr::DependsKv ? onKv : uniform).push_back(id);
    }
  }
};

/// What all workers of one (b, h) read.
struct Shared {
  Shared(const expr::Formula &formula, const expr::Bindings &bindings, const BlockProblem &problem, const DecideOptions &options)
      : formula(formula), bindings(bindings), problem(problem), options(options), partition(formula.mask),
        q(formula, bindings, Param::Q, partition.onQ, problem.M, problem.blockQ,
          options.knownCols >= problem.cols() ? options.knownRows : 0),
        kv(formula, bindings, Param::Kv, partition.onKv, problem.N, problem.blockKv,
           options.knownRows >= problem.rows() ? options.knownCols : 0),
        tables(formula.captures.size()) {
    const std::int64_t blocks = problem.rows() * problem.cols();
    for (const ValueId load : partition.jointLoads) {
      const std::int64_t capture = formula.mask[load].imm.i;
      if (tables[capture])
        continue;
      const TensorRef &tensor = bindings.captures[capture];
      std::int64_t elements = 1;
      for (int dim = 0; dim < tensor.rank; ++dim)
        elements *= tensor.sizes[dim];
      tables[capture] = std::make_unique<RangeTable>(tensor, elements <= kSmallTensor || elements / kElementsPerBlock <= blocks);
    }
  }

  const expr::Formula &formula;
  const expr::Bindings bindings;
  const BlockProblem problem;
  const DecideOptions &options;
  const Partition partition;
  AxisTable q, kv;
  std::vector<std::unique_ptr<RangeTable>> tables; ///< of captures that a joint load reads
  std::int64_t b = 0, h = 0;
  std::vector<Range> uniform;     ///< of partition.uniform
  bool uniformOutOfRange = false; ///< an index that does not move leaves its tensor

  void moveTo(std::int64_t batch, std::int64_t head) {
    b = batch;
    h = head;
    q.fill(b, h);
    kv.fill(b, h);
    std::vector<ValueId> roots = partition.uniform;
    roots.insert(roots.end(), partition.uniformLoads.begin(), partition.uniformLoads.end());
    LaneInterp interp(formula.mask, bindings, roots, Param::Q);
    uniformOutOfRange = interp.run({b, h, 0, 0}, 1, 1);
    uniform.clear();
    for (const ValueId id : partition.uniform) {
      Range range;
      range.kind = formula.mask[id].kind;
      if (range.kind == expr::Kind::Float) {
        const double value = interp.floats(id)[0];
        range.maybeNan = value != value;
        range.flo = range.maybeNan ? -expr::NumericDomain::kInf : value;
        range.fhi = range.maybeNan ? expr::NumericDomain::kInf : value;
      } else {
        range.lo = range.hi = interp.ints(id)[0];
      }
      uniform.push_back(range);
    }
  }
};

/// Decides the rows of one strip of a (b, h), and keeps their runs.
class Worker {
public:
  explicit Worker(const Shared &shared)
      : shared(shared), formula(shared.formula), problem(shared.problem), walk(formula, formula.mask, leaves),
        scalar(formula, formula.mask, shared.bindings), lanes(formula.mask, shared.bindings, {&formula.mask.result, 1}, Param::Kv) {
    leaves.scalars = shared.bindings.scalars;
    leaves.captureRange = &captureRange;
  }

  /// Rows of the cell `row` of level `level` of the q axis, in order.
  void decideStrip(int level, std::int64_t row) {
    firstRow = row << level;
    open.assign(static_cast<std::size_t>(std::min(problem.rows(), (row + 1) << level) - firstRow), {});
    closed.clear();
    for (std::size_t i = 0; i < shared.partition.uniform.size(); ++i)
      walk.set(shared.partition.uniform[i], shared.uniform[i]);
    qSet = kvSet = {};
    visit({level, row, shared.kv.levels() - 1, 0});
    finish();
  }

  std::vector<BlockRun> runs;
  std::vector<std::int64_t> lengths; ///< runs per row
  DecideStatistics statistics;
  std::optional<Position> outOfRange;

private:
  struct Node {
    int qLevel;
    std::int64_t q;
    int kvLevel;
    std::int64_t kv;
  };
  struct Cell {
    int level = -1;
    std::int64_t index = -1;
    bool operator==(const Cell &) const = default;
  };
  struct Judgement {
    Verdict verdict = Verdict::Partial; ///< Partial: not decided
    bool inBounds = true;               ///< no captured index can leave its tensor
  };
  struct Seen {
    bool visible = false, hidden = false, outOfRange = false;
    bool both() const { return visible && hidden; }
  };

  void visit(const Node &node);
  Box boxOf(const Node &node) const;
  Judgement judge(const Node &node);
  Verdict settle(const Node &node, Judgement judgement);
  void sample(const Box &box, Seen &seen);
  bool evaluate(const Box &box, bool stopEarly, std::int64_t limit, Seen &seen);
  void reportFirstOutOfRange(const Box &box);
  void record(const Node &node, Verdict verdict);
  void finish();

  const Shared &shared;
  const expr::Formula &formula;
  const BlockProblem &problem;
  std::int64_t scanLimit = 0; ///< elements that a query of a table without cells may read
  expr::CaptureRangeFn captureRange = [this](int index, std::span<const Range> indices) {
    return shared.tables[index]->query(indices, scanLimit);
  };
  expr::NumericLeaves leaves;
  expr::NumericWalk walk;
  expr::Interp scalar;
  LaneInterp lanes;
  Cell qSet, kvSet; ///< whose ranges the walk holds

  std::int64_t firstRow = 0, budget = kMaxBudget;
  std::vector<BlockRun> open; ///< the run of each row that the next one may extend; end 0: none
  struct Closed {
    std::uint32_t row; ///< within the strip
    BlockRun run;
  };
  std::vector<Closed> closed;
};

void Worker::visit(const Node &node) {
  const DecideOptions &options = shared.options;
  const std::int64_t rowEnd = std::min(problem.rows(), (node.q + 1) << node.qLevel),
                     colEnd = std::min(problem.cols(), (node.kv + 1) << node.kvLevel);
  if (rowEnd <= options.knownRows && colEnd <= options.knownCols)
    return;
  const bool meetsKnown = (node.q << node.qLevel) < options.knownRows && (node.kv << node.kvLevel) < options.knownCols;
  if (outOfRange) { // only what comes before it matters now
    const Box box = boxOf(node);
    if (std::tuple(box.qLo, box.kvLo) >= std::tuple(outOfRange->q, outOfRange->kv))
      return;
  }
  if (!meetsKnown) {
    const Judgement judgement = judge(node);
    const bool isBlock = node.qLevel == 0 && node.kvLevel == 0;
    if (judgement.inBounds && judgement.verdict != Verdict::Partial) {
      statistics.byIntervals += (rowEnd - (node.q << node.qLevel)) * (colEnd - (node.kv << node.kvLevel));
      return record(node, judgement.verdict);
    }
    if (isBlock)
      return record(node, settle(node, judgement));
  }
  // Quarters in the order in which every row receives its runs from left to right.
  for (std::int64_t i = 0; i < (node.qLevel > 0 ? 2 : 1); ++i)
    for (std::int64_t j = 0; j < (node.kvLevel > 0 ? 2 : 1); ++j) {
      const Node quarter{std::max(node.qLevel - 1, 0), node.qLevel > 0 ? 2 * node.q + i : node.q, std::max(node.kvLevel - 1, 0),
                         node.kvLevel > 0 ? 2 * node.kv + j : node.kv};
      if (quarter.q << quarter.qLevel < problem.rows() && quarter.kv << quarter.kvLevel < problem.cols())
        visit(quarter);
    }
}

Box Worker::boxOf(const Node &node) const {
  return {shared.b,
          shared.b,
          shared.h,
          shared.h,
          (node.q << node.qLevel) * problem.blockQ,
          std::min(problem.M, ((node.q + 1) << node.qLevel) * problem.blockQ) - 1,
          (node.kv << node.kvLevel) * problem.blockKv,
          std::min(problem.N, ((node.kv + 1) << node.kvLevel) * problem.blockKv) - 1};
}

Worker::Judgement Worker::judge(const Node &node) {
  const auto load = [&](const AxisTable &table, Cell cell, Cell &loaded) {
    if (loaded == cell)
      return;
    loaded = cell;
    const std::span<const Range> ranges = table.cell(cell.level, cell.index);
    for (std::size_t i = 0; i < ranges.size(); ++i)
      walk.set(table.nodes()[i], ranges[i]);
  };
  ++statistics.boxes;
  load(shared.q, {node.qLevel, node.q}, qSet);
  load(shared.kv, {node.kvLevel, node.kv}, kvSet);
  for (const ValueId id : shared.partition.joint)
    walk.step(id);

  Judgement judgement;
  judgement.inBounds =
      !shared.uniformOutOfRange && !shared.q.isOutOfRange(node.qLevel, node.q) && !shared.kv.isOutOfRange(node.kvLevel, node.kv);
  for (const ValueId id : shared.partition.jointLoads) {
    const expr::Node &load = formula.mask[id];
    const TensorRef &tensor = shared.bindings.captures[load.imm.i];
    for (std::size_t dim = 0; dim < load.operands.size(); ++dim) {
      const Range index = walk.range(load.operands[dim]);
      judgement.inBounds &= index.lo >= -tensor.sizes[dim] && index.hi < tensor.sizes[dim];
    }
  }
  const Range result = walk.range(formula.mask.result);
  if (result.lo == result.hi)
    judgement.verdict = result.lo ? Verdict::Full : Verdict::Empty;
  return judgement;
}

/// A single block that intervals left open, or on which an index may leave its tensor.
Verdict Worker::settle(const Node &node, Judgement judgement) {
  const Box box = boxOf(node);
  const bool exact = shared.options.exact;
  const std::int64_t area = (box.qHi - box.qLo + 1) * (box.kvHi - box.kvLo + 1);
  Seen seen;
  sample(box, seen);
  const bool mustSeeAll = exact && !judgement.inBounds;
  if (!mustSeeAll && (seen.both() || seen.outOfRange)) {
    ++statistics.bySamples;
    return Verdict::Partial;
  }
  const bool canScan = std::any_of(shared.partition.jointLoads.begin(), shared.partition.jointLoads.end(),
                                   [&](ValueId id) { return !shared.tables[formula.mask[id].imm.i]->hasCells(); });
  if (canScan && judgement.inBounds) {
    scanLimit = 4 * area;
    judgement = judge(node);
    scanLimit = 0;
    if (judgement.inBounds && judgement.verdict != Verdict::Partial) {
      ++statistics.byIntervals;
      return judgement.verdict;
    }
  }
  const std::int64_t before = statistics.pairsEvaluated;
  const bool isComplete = evaluate(box, !mustSeeAll, exact ? area : std::min(budget, area), seen);
  if (seen.outOfRange && exact)
    reportFirstOutOfRange(box);
  if (!isComplete && !seen.both() && !seen.outOfRange) {
    ++statistics.undecided;
    if (statistics.pairsEvaluated - before > kMinBudget)
      budget = std::max(budget / 2, kMinBudget);
    return Verdict::Partial;
  }
  ++statistics.byPairs;
  budget = std::min(budget * 2, kMaxBudget);
  return seen.both() || seen.outOfRange ? Verdict::Partial : seen.visible ? Verdict::Full : Verdict::Empty;
}

/// Most blocks that are partial show it at a few places.
void Worker::sample(const Box &box, Seen &seen) {
  const std::int64_t qs[] = {box.qLo, box.qHi, (box.qLo + box.qHi) / 2}, kvs[] = {box.kvLo, box.kvHi, (box.kvLo + box.kvHi) / 2};
  for (const std::int64_t q : qs)
    for (const std::int64_t kv : kvs) {
      (scalar.evaluate(0, {shared.b, shared.h, q, kv}, seen.outOfRange).i ? seen.visible : seen.hidden) = true;
      ++statistics.pairsEvaluated;
      if (seen.both())
        return;
    }
}

/// True when all pairs of the box were seen.
bool Worker::evaluate(const Box &box, bool stopEarly, std::int64_t limit, Seen &seen) {
  const std::int64_t end = statistics.pairsEvaluated + limit;
  for (std::int64_t q = box.qLo; q <= box.qHi; ++q)
    for (std::int64_t kv = box.kvLo; kv <= box.kvHi; kv += LaneInterp::kLanes) {
      if (stopEarly && (seen.both() || seen.outOfRange || statistics.pairsEvaluated >= end))
        return false;
      const int count = static_cast<int>(std::min<std::int64_t>(LaneInterp::kLanes, box.kvHi - kv + 1));
      seen.outOfRange |= lanes.run({shared.b, shared.h, q, kv}, 1, count);
      const std::int64_t *visible = lanes.ints(formula.mask.result);
      std::int64_t sum = 0;
      for (int i = 0; i < count; ++i)
        sum += visible[i];
      seen.visible |= sum > 0;
      seen.hidden |= sum < count;
      statistics.pairsEvaluated += count;
    }
  return true;
}

void Worker::reportFirstOutOfRange(const Box &box) {
  for (std::int64_t q = box.qLo; q <= box.qHi; ++q)
    for (std::int64_t kv = box.kvLo; kv <= box.kvHi; ++kv) {
      if (outOfRange && std::tuple(q, kv) >= std::tuple(outOfRange->q, outOfRange->kv))
        return;
      bool outside = false;
      scalar.evaluate(0, {shared.b, shared.h, q, kv}, outside);
      if (outside) {
        outOfRange = Position{shared.b, shared.h, q, kv};
        return;
      }
    }
}

void Worker::record(const Node &node, Verdict verdict) {
  if (verdict == Verdict::Empty)
    return;
  const auto begin = static_cast<std::uint32_t>(node.kv << node.kvLevel),
             end = static_cast<std::uint32_t>(std::min(problem.cols(), (node.kv + 1) << node.kvLevel));
  const std::uint32_t full = verdict == Verdict::Full;
  const std::int64_t rowEnd = std::min(problem.rows(), (node.q + 1) << node.qLevel);
  for (std::int64_t row = node.q << node.qLevel; row < rowEnd; ++row) {
    BlockRun &run = open[row - firstRow];
    if (run.end == begin && run.full == full && run.end != 0) {
      run.end = end;
      continue;
    }
    if (run.end != 0)
      closed.push_back({static_cast<std::uint32_t>(row - firstRow), run});
    run.begin = begin;
    run.end = end;
    run.full = full;
  }
}

/// Brings the runs, which are in order within each row, into the order of rows.
void Worker::finish() {
  for (std::size_t row = 0; row < open.size(); ++row)
    if (open[row].end != 0)
      closed.push_back({static_cast<std::uint32_t>(row), open[row]});
  lengths.assign(open.size(), 0);
  for (const Closed &entry : closed)
    ++lengths[entry.row];
  std::vector<std::int64_t> next(open.size());
  for (std::size_t row = 1; row < open.size(); ++row)
    next[row] = next[row - 1] + lengths[row - 1];
  runs.resize(closed.size());
  for (const Closed &entry : closed)
    runs[next[entry.row]++] = entry.run;
}

bool isBefore(const std::optional<Position> &x, const std::optional<Position> &y) {
  return x && (!y || std::tuple(x->b, x->h, x->q, x->kv) < std::tuple(y->b, y->h, y->q, y->kv));
}

/// Strips of rows, all alike but the last: one for one worker, since the first cuts are shared then, else a few per worker.
int stripLevel(const Shared &shared) {
  int level = shared.q.levels() - 1;
  if (shared.options.workers > 1 && shared.options.parallelFor && shared.options.exact)
    while (level > 0 && shared.q.cells(level) < 4 * shared.options.workers)
      --level;
  return level;
}

void decideHead(const Shared &shared, Decided &decided) {
  const int level = stripLevel(shared);
  const int strips = static_cast<int>(shared.q.cells(level));
  std::vector<std::unique_ptr<Worker>> workers(static_cast<std::size_t>(strips));
  const auto decideStrip = [&](int strip) {
    workers[strip] = std::make_unique<Worker>(shared);
    workers[strip]->decideStrip(level, strip);
  };
  if (strips > 1)
    shared.options.parallelFor(strips, decideStrip);
  else
    decideStrip(0);
  for (const std::unique_ptr<Worker> &worker : workers) {
    for (const std::int64_t length : worker->lengths)
      decided.rows.offsets.push_back(decided.rows.offsets.back() + length);
    decided.rows.runs.insert(decided.rows.runs.end(), worker->runs.begin(), worker->runs.end());
    decided.statistics.add(worker->statistics);
    if (isBefore(worker->outOfRange, decided.outOfRange))
      decided.outOfRange = worker->outOfRange;
  }
}

} // namespace

void DecideStatistics::add(const DecideStatistics &other) {
  blocks += other.blocks;
  byIntervals += other.byIntervals;
  bySamples += other.bySamples;
  byPairs += other.byPairs;
  undecided += other.undecided;
  boxes += other.boxes;
  pairsEvaluated += other.pairsEvaluated;
  valuesTabulated += other.valuesTabulated;
}

Decided decide(const expr::Formula &formula, const expr::Bindings &bindings, const BlockProblem &problem, const DecideOptions &options) {
  std::uint8_t depends = 0;
  for (const std::uint8_t ofNode : expr::dependences(formula.mask))
    depends |= ofNode; // every node, not only the result: an index that leaves its tensor may depend on a head that the value does not
  Decided decided;
  BlockRows &rows = decided.rows;
  rows.batches = depends & expr::DependsB ? problem.B : std::min<std::int64_t>(problem.B, 1);
  rows.heads = depends & expr::DependsH ? problem.H : std::min<std::int64_t>(problem.H, 1);
  rows.rows = problem.rows();
  rows.cols = problem.cols();
  rows.offsets.reserve(static_cast<std::size_t>(rows.batches * rows.heads * rows.rows + 1));
  rows.offsets.push_back(0);
  if (rows.rows == 0 || rows.cols == 0) {
    rows.offsets.resize(static_cast<std::size_t>(rows.batches * rows.heads * rows.rows + 1), 0);
    return decided;
  }
  Shared shared(formula, bindings, problem, options);
  for (std::int64_t b = 0; b < rows.batches && !decided.outOfRange; ++b)
    for (std::int64_t h = 0; h < rows.heads && !decided.outOfRange; ++h) {
      shared.moveTo(b, h);
      decideHead(shared, decided);
    }
  decided.statistics.blocks =
      rows.batches * rows.heads * (rows.rows * rows.cols - std::min(options.knownRows, rows.rows) * std::min(options.knownCols, rows.cols));
  decided.statistics.valuesTabulated = shared.q.evaluated() + shared.kv.evaluated();
  return decided;
}

} // namespace attnjit::plan
