// Block by block against looking at every pair: the answer has to be the same for every mask, size and block size.
#include "BlockMask/Decider.h"

#include "Expr/Frontend.h"

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "Expr/RandomFormula.h"

#include <numeric>
#include <random>
#include <string>
#include <thread>

using namespace attnjit;
using plan::BlockProblem;
using plan::Decided;
using plan::Verdict;

namespace {

/// Captures for sequences of up to kLength: docs, shuffled, flags, page, keep (a whole mask), rel, width, lengths, level; numbers w and
/// cap.
constexpr std::int64_t kLength = 300, kHeads = 3, kBatches = 2;
class World {
public:
  World() {
    std::mt19937 random(11);
    for (std::int64_t i = 0, id = 0, left = 0; i < kLength; ++i, --left) {
      if (left <= 0)
        ++id, left = 1 + random() % 60;
      docs.push_back(static_cast<std::int32_t>(id));
    }
    for (std::int64_t i = 0; i < kBatches * kLength; ++i)
      batchDocs.push_back(static_cast<std::int16_t>(i % kLength / (i < kLength ? 37 : 64)));
    shuffled = docs;
    std::shuffle(shuffled.begin(), shuffled.end(), random);
    for (std::int64_t i = 0; i < kLength; ++i) {
      flags.push_back(i < 5 || i == 200);
      page.push_back(kLength - 1 - i);
      level.push_back(static_cast<float>(i % 50) * 0.25f);
    }
    level[77] = std::numeric_limits<float>::quiet_NaN();
    for (std::int64_t i = 0; i < kLength * kLength; ++i)
      keep.push_back((i / kLength / 64 + i % kLength / 32) % 3 == 0 ? 0 : (i / kLength / 64) % 2 ? 1 : random() % 2);
    for (std::int64_t i = 0; i < 2 * kLength; ++i)
      rel.push_back(static_cast<std::int8_t>(i % 97 < 60));
    tensors = {
        TensorRef::dense(docs.data(), DType::I32, {kLength}),           TensorRef::dense(batchDocs.data(), DType::I16, {kBatches, kLength}),
        TensorRef::dense(shuffled.data(), DType::I32, {kLength}),       TensorRef::dense(flags.data(), DType::Bool, {kLength}),
        TensorRef::dense(page.data(), DType::I64, {kLength}),           TensorRef::dense(level.data(), DType::F32, {kLength}),
        TensorRef::dense(keep.data(), DType::Bool, {kLength, kLength}), TensorRef::dense(rel.data(), DType::I8, {2 * kLength}),
        TensorRef::dense(width.data(), DType::I32, {kHeads}),           TensorRef::dense(lengths.data(), DType::I64, {kBatches})};
    scalars.resize(2);
    scalars[0].i = 45;
    scalars[1].f = 2.5;
  }
  World(const World &) = delete;

  static std::vector<expr::CaptureInfo> infos() {
    return {{"docs", DType::I32, 1},  {"batch_docs", DType::I16, 2}, {"shuffled", DType::I32, 1}, {"flags", DType::Bool, 1},
            {"page", DType::I64, 1},  {"level", DType::F32, 1},      {"keep", DType::Bool, 2},    {"rel", DType::I8, 1},
            {"width", DType::I32, 1}, {"lengths", DType::I64, 1},    {"w", DType::I64, -1},       {"cap", DType::F64, -1}};
  }
  expr::Bindings bindings() const { return {tensors, scalars}; }
  expr::Formula parse(const std::string &text) const {
    Result<expr::Formula> formula = expr::parseFormula({"", text}, infos());
    REQUIRE_MESSAGE(formula, (formula ? "" : formula.error().message));
    return *formula;
  }

private:
  std::vector<std::int32_t> docs, shuffled, width{0, 20, 1000};
  std::vector<std::int16_t> batchDocs;
  std::vector<std::uint8_t> flags, keep;
  std::vector<std::int64_t> page, lengths{33, 280};
  std::vector<float> level;
  std::vector<std::int8_t> rel;
  std::vector<TensorRef> tensors;
  std::vector<ScalarArg> scalars;
};

const char *const kMasks[] = {
    "True",
    "False",
    "q_idx >= kv_idx",
    "kv_idx > q_idx",
    "(q_idx >= kv_idx) & (q_idx - kv_idx < w)",
    "abs(q_idx - kv_idx) <= 20",
    "(kv_idx < 37) | (q_idx >= kv_idx)",
    "(kv_idx < lengths[b]) | (q_idx >= kv_idx)",
    "kv_idx < lengths[b]",
    "(q_idx < lengths[b]) & (kv_idx < lengths[b])",
    "docs[q_idx] == docs[kv_idx]",
    "(docs[q_idx] == docs[kv_idx]) & (q_idx >= kv_idx)",
    "docs[q_idx] != docs[kv_idx]",
    "batch_docs[b, q_idx] == batch_docs[b, kv_idx]",
    "(kv_idx < 40) | ((docs[q_idx] == docs[kv_idx]) & (q_idx >= kv_idx))",
    "shuffled[q_idx] == shuffled[kv_idx]",
    "docs[page[kv_idx]] == docs[q_idx]",
    "docs[-1 - kv_idx] == docs[q_idx]",
    "flags[q_idx] | flags[kv_idx] | (abs(q_idx - kv_idx) <= 8)",
    "(q_idx - kv_idx >= 0) & (q_idx - kv_idx < width[h])",
    "(h == 1) | (q_idx >= kv_idx)",
    "(q_idx - kv_idx) % 3 == 0",
    "q_idx % 7 == 3",
    "kv_idx % 64 < 32",
    "q_idx > 100",
    "(q_idx // 40) >= (kv_idx // 40)",
    "(abs(q_idx // 16 - kv_idx // 16) <= 3) & (abs(q_idx % 16 - kv_idx % 16) <= 3)",
    "keep[q_idx, kv_idx]",
    "keep[kv_idx, q_idx] & (q_idx >= kv_idx)",
    "keep[q_idx // 2, kv_idx // 3]",
    "rel[q_idx - kv_idx + 299] > 0",
    "(q_idx * 7919 + kv_idx * 104729) % 97 < 3",
    "(q_idx * 7919 + kv_idx * 104729) % 9973 != 5",
    "(q_idx == 77) & (kv_idx == 131)",
    "(q_idx ^ kv_idx) & 64 == 0",
    "level[kv_idx] > cap",
    "level[kv_idx] * q_idx > 100.0",
    "torch.exp(-(q_idx - kv_idx).abs() / 20.0) > 0.2",
    "(q_idx / 2).floor() >= kv_idx * 0.75",
    "(-q_idx) * 3 <= (5 - kv_idx) * 2",
    "torch.where(q_idx < w, kv_idx < w, q_idx >= kv_idx)",
    "torch.where(kv_idx < 50, docs[q_idx] < 3, docs[q_idx] == docs[kv_idx])",
    "min(q_idx, 120) >= max(kv_idx, 30)",
    "(q_idx >> 5) == (kv_idx >> 5)",
    "9223372036854775807 - q_idx > kv_idx - 5",
};

struct Truth {
  std::vector<Verdict> verdicts; ///< [b][h][row][col]
  std::optional<expr::Position> outOfRange;
};
Truth lookAtAll(const expr::Formula &formula, const expr::Bindings &bindings, const BlockProblem &p) {
  Truth truth;
  expr::Interp interp(formula, formula.mask, bindings);
  for (std::int64_t b = 0; b < p.B; ++b)
    for (std::int64_t h = 0; h < p.H; ++h) {
      std::vector<std::uint8_t> seen(static_cast<std::size_t>(p.rows() * p.cols()));
      for (std::int64_t q = 0; q < p.M; ++q)
        for (std::int64_t kv = 0; kv < p.N; ++kv) {
          bool outside = false;
          seen[q / p.blockQ * p.cols() + kv / p.blockKv] |= interp.evaluate(0, {b, h, q, kv}, outside).i ? 1 : 2;
          if (outside && !truth.outOfRange)
            truth.outOfRange = expr::Position{b, h, q, kv};
        }
      for (const std::uint8_t bits : seen)
        truth.verdicts.push_back(bits == 3 ? Verdict::Partial : bits == 1 ? Verdict::Full : Verdict::Empty);
    }
  return truth;
}

std::vector<Verdict> expand(const plan::BlockRows &rows, const BlockProblem &p) {
  std::vector<Verdict> verdicts;
  for (std::int64_t b = 0; b < p.B; ++b)
    for (std::int64_t h = 0; h < p.H; ++h)
      for (std::int64_t row = 0; row < rows.rows; ++row) {
        const std::size_t begin = verdicts.size();
        verdicts.resize(begin + static_cast<std::size_t>(rows.cols), Verdict::Empty);
        std::int64_t last = -1;
        bool lastFull = false;
        for (const plan::BlockRun &run : rows.row(b, h, row)) {
          REQUIRE(run.begin < run.end);
          REQUIRE(run.end <= rows.cols);
          REQUIRE(std::int64_t{run.begin} >= last);
          REQUIRE((run.begin != last || run.full != lastFull)); // neighbours differ
          last = run.end;
          lastFull = run.full;
          std::fill(verdicts.begin() + begin + run.begin, verdicts.begin() + begin + run.end, run.full ? Verdict::Full : Verdict::Partial);
        }
      }
  return verdicts;
}

/// Threads, so that the strips really run at once.
void onThreads(int tasks, const std::function<void(int)> &body) {
  std::vector<std::thread> threads;
  for (int task = 0; task < tasks; ++task)
    threads.emplace_back(body, task);
  for (std::thread &thread : threads)
    thread.join();
}

} // namespace

TEST_CASE("every mask, size and block size is decided as brute force decides it") {
  const World world;
  const BlockProblem problems[] = {{1, 1, 300, 300, 128, 128}, {2, 3, 200, 170, 16, 32}, {1, 2, 97, 300, 25, 7},
                                   {2, 1, 300, 64, 64, 100},   {1, 1, 1, 300, 16, 16},   {1, 1, 65, 1, 8, 8}};
  for (const char *text : kMasks) {
    CAPTURE(std::string(text));
    const expr::Formula formula = world.parse(text);
    for (const BlockProblem &problem : problems) {
      CAPTURE(problem.M);
      CAPTURE(problem.N);
      const Truth truth = lookAtAll(formula, world.bindings(), problem);
      const Decided decided = plan::decide(formula, world.bindings(), problem, {});
      CHECK_FALSE(decided.outOfRange.has_value());
      CHECK(expand(decided.rows, problem) == truth.verdicts);
      const plan::DecideStatistics &how = decided.statistics;
      CHECK(how.byIntervals + how.bySamples + how.byPairs == how.blocks);
      CHECK(how.undecided == 0);

      plan::DecideOptions parallel;
      parallel.parallelFor = onThreads;
      parallel.workers = 2;
      CHECK(plan::decide(formula, world.bindings(), problem, parallel).rows == decided.rows);
    }
  }
}

TEST_CASE("random formulas of every op are decided as brute force decides them") {
  const expr::test::Captures captures;
  expr::test::Random random(29);
  std::int64_t byIntervals = 0, outside = 0;
  for (int i = 0; i < 4000; ++i) {
    expr::Formula formula = randomFormula(random, static_cast<int>(random.between(4, 40)));
    if (random.oneIn(2))
      expr::simplify(formula);
    const BlockProblem problem{2, 3, random.between(1, 12), random.between(1, 14), random.between(1, 5), random.between(1, 5)};
    const Truth truth = lookAtAll(formula, captures.bindings(), problem);
    const Decided decided = plan::decide(formula, captures.bindings(), problem, {});
    REQUIRE_MESSAGE(decided.outOfRange.has_value() == truth.outOfRange.has_value(), print(formula));
    if (truth.outOfRange) {
      const expr::Position &a = *truth.outOfRange, &b = *decided.outOfRange;
      CHECK_MESSAGE(std::tuple(a.b, a.h, a.q, a.kv) == std::tuple(b.b, b.h, b.q, b.kv), print(formula));
      ++outside;
      continue;
    }
    CHECK_MESSAGE(expand(decided.rows, problem) == truth.verdicts, print(formula));
    byIntervals += decided.statistics.byIntervals;
    plan::DecideOptions options;
    options.exact = false;
    const std::vector<Verdict> quick = expand(plan::decide(formula, captures.bindings(), problem, options).rows, problem);
    for (std::size_t at = 0; at < quick.size(); ++at)
      CHECK((quick[at] == truth.verdicts[at] || quick[at] == Verdict::Partial));
  }
  CHECK(byIntervals > 4000);
  CHECK(outside > 100);
}

TEST_CASE("an answer that need not be exact only errs towards partial") {
  const World world;
  const BlockProblem problem{2, 3, 200, 170, 16, 32};
  for (const char *text : kMasks) {
    CAPTURE(std::string(text));
    const expr::Formula formula = world.parse(text);
    plan::DecideOptions options;
    options.exact = false;
    const std::vector<Verdict> found = expand(plan::decide(formula, world.bindings(), problem, options).rows, problem),
                               truth = lookAtAll(formula, world.bindings(), problem).verdicts;
    for (std::size_t i = 0; i < truth.size(); ++i)
      CHECK((found[i] == truth[i] || found[i] == Verdict::Partial));
  }
}

TEST_CASE("blocks that are known are left out, and all others are as before") {
  const World world;
  for (const char *text : {"q_idx >= kv_idx", "docs[q_idx] == docs[kv_idx]", "keep[q_idx, kv_idx]"})
    for (const auto &[knownRows, knownCols] : {std::pair<std::int64_t, std::int64_t>{3, 5}, {13, 9}, {1, 100}, {100, 1}, {0, 7}}) {
      const BlockProblem problem{1, 1, 200, 290, 16, 32};
      const expr::Formula formula = world.parse(text);
      std::vector<Verdict> expected = lookAtAll(formula, world.bindings(), problem).verdicts;
      for (std::int64_t row = 0; row < std::min(knownRows, problem.rows()); ++row)
        for (std::int64_t col = 0; col < std::min(knownCols, problem.cols()); ++col)
          expected[row * problem.cols() + col] = Verdict::Empty;
      plan::DecideOptions options;
      options.knownRows = knownRows;
      options.knownCols = knownCols;
      const Decided decided = plan::decide(formula, world.bindings(), problem, options);
      CHECK(expand(decided.rows, problem) == expected);
      CHECK(decided.statistics.byIntervals + decided.statistics.bySamples + decided.statistics.byPairs == decided.statistics.blocks);
    }
}

TEST_CASE("the first index that leaves its tensor is named (A10)") {
  const World world;
  const BlockProblem problem{2, 3, 310, 320, 32, 16};
  for (const char *text : {"docs[q_idx] == docs[kv_idx]", "(kv_idx < 10) & (docs[q_idx] >= 0)", "docs[kv_idx + 20] > 2",
                           "keep[q_idx, kv_idx]", "(q_idx > 5) & (rel[q_idx - kv_idx + 310] > 0)", "lengths[h] > 4",
                           "(width[b + 2 * h] > 0) & (q_idx >= kv_idx)", "page[docs[page[kv_idx - 290]] + q_idx] > 100"}) {
    CAPTURE(std::string(text));
    const expr::Formula formula = world.parse(text);
    const Truth truth = lookAtAll(formula, world.bindings(), problem);
    REQUIRE(truth.outOfRange.has_value());
    for (const bool parallel : {false, true}) {
      plan::DecideOptions options;
      if (parallel)
        options.parallelFor = onThreads, options.workers = 3;
      const Decided decided = plan::decide(formula, world.bindings(), problem, options);
      REQUIRE(decided.outOfRange.has_value());
      CHECK(decided.outOfRange->b == truth.outOfRange->b);
      CHECK(decided.outOfRange->h == truth.outOfRange->h);
      CHECK(decided.outOfRange->q == truth.outOfRange->q);
      CHECK(decided.outOfRange->kv == truth.outOfRange->kv);
    }
  }
}

TEST_CASE("the named families are decided by analysis, and their answers are small") {
  constexpr std::int64_t n = 131072;
  std::vector<std::int32_t> docs(n);
  for (std::int64_t i = 0; i < n; ++i)
    docs[i] = static_cast<std::int32_t>(i / 1777);
  const TensorRef tensor = TensorRef::dense(docs.data(), DType::I32, {n});
  const expr::CaptureInfo info{"docs", DType::I32, 1};
  for (const char *text : {"q_idx >= kv_idx", "(q_idx >= kv_idx) & (q_idx - kv_idx < 4096)", "(kv_idx < 5000) | (q_idx >= kv_idx)",
                           "docs[q_idx] == docs[kv_idx]", "(kv_idx < 8192) | ((docs[q_idx] == docs[kv_idx]) & (q_idx >= kv_idx))"}) {
    CAPTURE(std::string(text));
    Result<expr::Formula> formula = expr::parseFormula({"", text}, std::span(&info, 1));
    REQUIRE(formula);
    const Decided decided = plan::decide(*formula, {{&tensor, 1}, {}}, {4, 16, n, n, 128, 128}, {});
    const plan::DecideStatistics &how = decided.statistics;
    CHECK(how.blocks == 1024 * 1024); // shared by all batches and heads
    CHECK(how.byIntervals * 1000 >= how.blocks * 995);
    CHECK(how.pairsEvaluated < n / 4);
    CHECK(decided.rows.bytes() < 64 * 1024);
  }
}

TEST_CASE("nothing to decide") {
  const World world;
  const expr::Formula formula = world.parse("q_idx >= kv_idx + h");
  for (const BlockProblem &problem : {BlockProblem{0, 1, 5, 5, 4, 4}, {1, 0, 5, 5, 4, 4}, {1, 2, 0, 5, 4, 4}, {1, 2, 5, 0, 4, 4}}) {
    const Decided decided = plan::decide(formula, world.bindings(), problem, {});
    CHECK(decided.rows.runs.empty());
    CHECK(static_cast<std::int64_t>(decided.rows.offsets.size()) == decided.rows.batches * decided.rows.heads * decided.rows.rows + 1);
  }
}
