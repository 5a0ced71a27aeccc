// The host planner against brute force: no visible pair outside a run, no hidden pair inside a full one, nothing skipped that the kernel
// has to report, and no block left where the mask is simple enough to know better.
#include "BlockMask/Planner.h"

#include "BlockMask/RangeTable.h"
#include "Expr/Frontend.h"

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <limits>
#include <random>
#include <string>

using namespace attnjit;

namespace {

struct Captured {
  std::string name;
  std::vector<std::int64_t> values;
  std::vector<std::int64_t> sizes;
};

struct Mask {
  std::string text;
  std::vector<Captured> captures;
  plan::PlanProblem problem{1, 2, 200, 200, 16, 32};
};

struct Planned {
  expr::Formula formula;
  std::vector<std::vector<std::int64_t>> data;
  std::vector<TensorRef> captures;
  plan::PlanProblem problem;
  plan::Plan plan;
  expr::Bindings bindings() const { return {captures, {}}; }
};

Planned planOf(const Mask &mask) {
  Planned planned;
  std::vector<expr::CaptureInfo> infos;
  for (const Captured &capture : mask.captures) {
    infos.push_back({capture.name, DType::I64, static_cast<int>(capture.sizes.size())});
    planned.data.push_back(capture.values);
  }
  for (std::size_t i = 0; i < mask.captures.size(); ++i) {
    TensorRef ref{planned.data[i].data(), DType::I64, static_cast<int>(mask.captures[i].sizes.size()), {}, {}};
    std::int64_t stride = 1;
    for (int dim = ref.rank - 1; dim >= 0; --dim) {
      ref.sizes[dim] = mask.captures[i].sizes[dim];
      ref.strides[dim] = stride;
      stride *= ref.sizes[dim];
    }
    planned.captures.push_back(ref);
  }
  Result<expr::Formula> formula = expr::parseFormula({"", mask.text}, infos);
  REQUIRE_MESSAGE(formula, (formula ? "" : formula.error().message));
  planned.formula = *formula;
  planned.problem = mask.problem;
  planned.plan = plan::buildPlan(planned.formula, planned.bindings(), mask.problem);
  return planned;
}

/// Visits every block of every tile and says what the plan claims (0 skipped, 1 partial, 2 full) and what is true of its pairs.
struct Truth {
  bool visible = false, hidden = false, outOfRange = false;
};
template <typename F> void forEachBlock(const Planned &planned, F each) {
  const plan::PlanProblem &p = planned.problem;
  const PlanArg arg = planned.plan.arg();
  expr::Interp interp(planned.formula, planned.formula.mask, planned.bindings());
  for (std::int64_t b = 0; b < p.B; ++b)
    for (std::int64_t h = 0; h < p.Hq; ++h)
      for (std::int64_t tile = 0; tile * p.tileRows < p.M; ++tile) {
        const std::int64_t at = b * arg.batchStride + h * arg.headStride + tile;
        std::vector<int> claim(p.N, 0);
        std::int64_t last = -1;
        for (std::int64_t i = arg.offsets[at]; i < arg.offsets[at + 1]; ++i) {
          const RunArg &run = arg.runs[i];
          REQUIRE(run.kvBegin >= last); // ascending, disjoint
          REQUIRE(run.kvBegin < run.kvEnd);
          REQUIRE(run.kvEnd <= p.N);
          last = run.kvEnd;
          std::fill(claim.begin() + run.kvBegin, claim.begin() + run.kvEnd, run.full ? 2 : 1);
        }
        for (std::int64_t kvBegin = 0; kvBegin < p.N; kvBegin += p.tileCols) {
          Truth truth;
          for (std::int64_t q = tile * p.tileRows; q < std::min(p.M, (tile + 1) * p.tileRows); ++q)
            for (std::int64_t kv = kvBegin; kv < std::min(p.N, kvBegin + p.tileCols); ++kv) {
              bool out = false;
              (interp.evaluate(0, {b, h, q, kv}, out).i ? truth.visible : truth.hidden) = true;
              truth.outOfRange |= out;
              REQUIRE(claim[kv] == claim[kvBegin]);
            }
          each(claim[kvBegin], truth);
        }
      }
}

void checkSound(const Planned &planned) {
  std::int64_t visible = 0, full = 0, total = 0;
  forEachBlock(planned, [&](int claim, const Truth &truth) {
    ++total;
    visible += claim > 0;
    full += claim == 2;
    CHECK_FALSE((claim == 0 && (truth.visible || truth.outOfRange)));
    CHECK_FALSE((claim == 2 && (truth.hidden || truth.outOfRange)));
  });
  CHECK(planned.plan.visibleBlocks == visible);
  CHECK(planned.plan.fullBlocks == full);
  CHECK(planned.plan.totalBlocks == total);
}

void checkTight(const Planned &planned) {
  forEachBlock(planned, [&](int claim, const Truth &truth) {
    const int exact = truth.outOfRange || (truth.visible && truth.hidden) ? 1 : truth.visible ? 2 : 0;
    CHECK(claim == exact);
  });
}

std::vector<std::int64_t> documents(std::int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::int64_t> ids;
  for (std::int64_t id = 0; static_cast<std::int64_t>(ids.size()) < n; ++id)
    ids.insert(ids.end(), 1 + random() % 60, id);
  ids.resize(n);
  return ids;
}

} // namespace

TEST_CASE("masks that intervals or a few elements settle are planned exactly") {
  const std::vector<Mask> masks{
      {"True", {}},
      {"False", {}},
      {"q_idx >= kv_idx", {}},
      {"(q_idx >= kv_idx) & (q_idx - kv_idx < 50)", {}},
      {"abs(q_idx - kv_idx) <= 20", {}},
      {"(kv_idx < 37) | (q_idx >= kv_idx)", {}},
      {"(q_idx // 40) >= (kv_idx // 40)", {}},
      {"(q_idx - kv_idx) % 3 == 0", {}},
      {"docs[q_idx] == docs[kv_idx]", {{"docs", documents(200, 1), {200}}}},
      {"(docs[q_idx] == docs[kv_idx]) & (q_idx >= kv_idx)", {{"docs", documents(200, 2), {200}}}},
      {"(kv_idx < prefix[b]) | (q_idx >= kv_idx)", {{"prefix", {5, 120}, {2}}}, {2, 2, 200, 200, 16, 32}},
      {"(q_idx - kv_idx >= 0) & (q_idx - kv_idx < width[h])", {{"width", {3, 64, 1000}, {3}}}, {1, 3, 200, 200, 16, 32}},
      {"kv_idx < lengths[b]", {{"lengths", {0, 1, 200}, {3}}}, {3, 1, 70, 200, 16, 32}},
      {"docs[b, q_idx] == docs[b, kv_idx]", {{"docs", documents(2 * 150, 3), {2, 150}}}, {2, 1, 150, 150, 16, 32}},
      {"table[q_idx // 16, kv_idx // 32] > 0",
       {{"table",
         [] {
           std::vector<std::int64_t> t(13 * 7);
           for (std::size_t i = 0; i < t.size(); ++i)
             t[i] = i * 7 % 3 == 0;
           return t;
         }(),
         {13, 7}}}},
      {"q_idx >= kv_idx", {}, {1, 1, 1, 1, 16, 32}},
      {"(q_idx == 77) & (kv_idx == 131)", {}},
      {"docs[-1 - kv_idx] == docs[q_idx]", {{"docs", documents(200, 4), {200}}}},
  };
  for (const Mask &mask : masks) {
    CAPTURE(mask.text);
    const Planned planned = planOf(mask);
    checkSound(planned);
    checkTight(planned);
  }
}

TEST_CASE("masks that look random stay sound and cost little") {
  for (const char *text : {"(q_idx * 7919 + kv_idx * 104729) % 97 < 3", "(q_idx * 7919 + kv_idx * 104729) % 9973 != 5",
                           "(q_idx * 31 + kv_idx * 17 + h * 5) % 1009 == 1", "(q_idx ^ kv_idx) & 64 == 0"}) {
    CAPTURE(text);
    const Planned planned = planOf({text, {}, {1, 2, 300, 500, 48, 64}});
    checkSound(planned);
    CHECK(planned.plan.elementsEvaluated < 2 * 300 * 500);
  }
}

TEST_CASE("a block whose index may leave its tensor is neither skipped nor full (A10)") {
  const Planned planned = planOf({"(kv_idx < 10) & (docs[q_idx] >= 0)", {{"docs", std::vector<std::int64_t>(150, 1), {150}}}});
  checkSound(planned);
  checkTight(planned);
}

TEST_CASE("tiles are shared between the batches and heads that the mask does not tell apart") {
  const plan::PlanProblem problem{3, 4, 100, 100, 16, 32};
  CHECK(planOf({"q_idx >= kv_idx", {}, problem}).plan.offsets.size() == 7 + 1);
  CHECK(planOf({"q_idx >= kv_idx + h", {}, problem}).plan.offsets.size() == 4 * 7 + 1);
  CHECK(planOf({"q_idx >= kv_idx + b", {}, problem}).plan.offsets.size() == 3 * 7 + 1);
  CHECK(planOf({"q_idx >= kv_idx + b * h", {}, problem}).plan.offsets.size() == 12 * 7 + 1);
}

TEST_CASE("empty problems") {
  for (const plan::PlanProblem &problem :
       {plan::PlanProblem{1, 1, 0, 5, 16, 32}, plan::PlanProblem{1, 1, 5, 0, 16, 32}, plan::PlanProblem{0, 1, 5, 5, 16, 32}}) {
    const Planned planned = planOf({"q_idx >= kv_idx", {}, problem});
    CHECK(planned.plan.runs.empty());
    CHECK(planned.plan.totalBlocks == 0);
  }
}

TEST_CASE("a long document mask costs far less than its pairs") {
  const std::int64_t n = 16384;
  const Planned planned = planOf({"docs[q_idx] == docs[kv_idx]", {{"docs", documents(n, 5), {n}}}, {1, 1, n, n, 64, 128}});
  CHECK(planned.plan.elementsEvaluated < n * 4);
  CHECK(planned.plan.visibleBlocks < planned.plan.totalBlocks / 50);
}

TEST_CASE("block masks become runs of tiles whose size is another") {
  // Blocks of 10 queries x 8 keys; row 0 sees keys 0..15 in full, row 1 keys 0..7 in part and 16..20 in full.
  plan::BlockRows rows;
  rows.rows = 2, rows.cols = 3;
  rows.offsets = {0, 1, 3};
  rows.runs.resize(3);
  rows.runs[0].begin = 0, rows.runs[0].end = 2, rows.runs[0].full = 1;
  rows.runs[1].begin = 0, rows.runs[1].end = 1, rows.runs[1].full = 0;
  rows.runs[2].begin = 2, rows.runs[2].end = 3, rows.runs[2].full = 1;
  bool disagree = false;
  const plan::Plan fine = plan::planOf(rows, 10, 8, {2, 3, 17, 21, 5, 4}, disagree);
  CHECK_FALSE(disagree); // no tile of 5 queries meets both rows
  CHECK(fine.offsets == std::vector<std::int64_t>{0, 1, 2, 4, 6});
  CHECK(fine.runs[5].kvBegin == 16);
  CHECK(fine.runs[5].kvEnd == 21);
  CHECK(fine.totalBlocks == 6 * 4 * 6);
  CHECK(fine.visibleBlocks == 6 * (4 + 4 + 4 + 4));
  const plan::Plan coarse = plan::planOf(rows, 10, 8, {2, 3, 17, 21, 16, 64}, disagree);
  CHECK(disagree);
  REQUIRE(coarse.offsets == std::vector<std::int64_t>{0, 1, 2 + 1});
  CHECK(coarse.runs[0].kvBegin == 0); // [0, 16) and [16, 21) are partial in the first tile: one run
  CHECK(coarse.runs[0].kvEnd == 21);
  CHECK(coarse.runs[0].full == 0);
}

TEST_CASE("range tables: every answer contains the elements, one-dimensional ones are exact") {
  std::mt19937 random(7);
  const auto checkTensor = [&](std::vector<std::int64_t> sizes, bool exact) {
    std::int64_t count = 1;
    for (const std::int64_t size : sizes)
      count *= size;
    std::vector<std::int32_t> data(count);
    for (std::int32_t &x : data)
      x = static_cast<std::int32_t>(random() % 100000);
    TensorRef ref{data.data(), DType::I32, static_cast<int>(sizes.size()), {}, {}};
    std::int64_t stride = 1;
    for (int dim = ref.rank - 1; dim >= 0; --dim) {
      ref.sizes[dim] = sizes[dim];
      ref.strides[dim] = stride;
      stride *= sizes[dim];
    }
    const plan::RangeTable table(ref);
    for (int trial = 0; trial < 300; ++trial) {
      std::vector<expr::Range> box(sizes.size());
      for (std::size_t dim = 0; dim < sizes.size(); ++dim) {
        box[dim].lo = random() % sizes[dim];
        box[dim].hi = box[dim].lo + random() % (sizes[dim] - box[dim].lo);
      }
      std::int64_t lo = INT64_MAX, hi = INT64_MIN;
      for (std::int64_t at = 0; at < count; ++at) {
        bool inside = true;
        for (std::size_t dim = 0; dim < sizes.size(); ++dim) {
          const std::int64_t index = at / ref.strides[dim] % sizes[dim];
          inside &= index >= box[dim].lo && index <= box[dim].hi;
        }
        if (inside) {
          lo = std::min<std::int64_t>(lo, data[at]);
          hi = std::max<std::int64_t>(hi, data[at]);
        }
      }
      const expr::Range answer = table.query(box, 0);
      CHECK(answer.lo <= lo);
      CHECK(answer.hi >= hi);
      if (exact) {
        CHECK(answer.lo == lo);
        CHECK(answer.hi == hi);
      }
    }
  };
  checkTensor({1}, true);
  checkTensor({7}, true);
  checkTensor({1000}, true);
  checkTensor({3, 257}, true);
  checkTensor({2, 3, 77}, true);
  checkTensor({130, 150}, false);
  checkTensor({2, 70, 33}, false);
}

TEST_CASE("range tables without cells read the boxes that they are asked about, up to a limit") {
  std::vector<std::uint8_t> keep(70 * 90, 1);
  keep[33 * 90 + 40] = 0;
  const plan::RangeTable table(TensorRef::dense(keep.data(), DType::Bool, {70, 90}), false);
  expr::Range box[2];
  box[0].lo = 0, box[0].hi = 31, box[1].lo = 0, box[1].hi = 89;
  CHECK(table.query(box, 32 * 90).lo == 1);
  CHECK(table.query(box, 32 * 90 - 1).lo == 0); // too large to read: anything
  box[0].lo = 32, box[0].hi = 63, box[1].hi = 63;
  CHECK(table.query(box, 32 * 64).lo == 0);
  CHECK(table.query(box, 32 * 64).hi == 1);
}

TEST_CASE("range tables read every element type") {
  const auto rangeOf = [](const void *data, DType dtype) {
    expr::Range index;
    index.lo = 0, index.hi = 2;
    return plan::RangeTable(TensorRef::dense(const_cast<void *>(data), dtype, {3})).query(std::span(&index, 1), 0);
  };
  const std::int8_t i8[] = {-3, 5, 1};
  const std::uint8_t u8[] = {200, 5, 1}, bools[] = {0, 7, 1}, truths[] = {2, 1, 255};
  const std::int16_t i16[] = {-300, 5, 1};
  const std::int64_t i64[] = {INT64_MIN, 5, INT64_MAX};
  const double f64[] = {-2.5, 5, 1};
  const std::uint16_t bf16[] = {0xc040, 0x3f80, 0x4000}; // -3, 1, 2
  CHECK(rangeOf(i8, DType::I8).lo == -3);
  CHECK(rangeOf(i8, DType::I8).hi == 5);
  CHECK(rangeOf(u8, DType::U8).hi == 200);
  CHECK(rangeOf(bools, DType::Bool).lo == 0);
  CHECK(rangeOf(bools, DType::Bool).hi == 1);
  CHECK(rangeOf(truths, DType::Bool).lo == 1);
  CHECK(rangeOf(truths, DType::Bool).hi == 1);
  CHECK(rangeOf(i16, DType::I16).lo == -300);
  CHECK(rangeOf(i64, DType::I64).lo == INT64_MIN);
  CHECK(rangeOf(i64, DType::I64).hi == INT64_MAX);
  CHECK(rangeOf(f64, DType::F64).flo == -2.5);
  CHECK(rangeOf(bf16, DType::BF16).flo == -3);
  CHECK(rangeOf(bf16, DType::BF16).fhi == 2);
}

TEST_CASE("range tables: NaN, floats and empty tensors") {
  std::vector<float> data(100, 1.0f);
  data[40] = std::numeric_limits<float>::quiet_NaN();
  data[60] = -3;
  const plan::RangeTable table(TensorRef::dense(data.data(), DType::F32, {100}));
  expr::Range index;
  index.lo = 50, index.hi = 99;
  expr::Range answer = table.query(std::span(&index, 1), 0);
  CHECK(answer.flo == -3);
  CHECK(answer.fhi == 1);
  CHECK_FALSE(answer.maybeNan);
  index.lo = 30;
  CHECK(table.query(std::span(&index, 1), 0).maybeNan);
  data.assign(100, std::numeric_limits<float>::quiet_NaN());
  answer = plan::RangeTable(TensorRef::dense(data.data(), DType::F32, {100})).query(std::span(&index, 1), 0);
  CHECK(answer.maybeNan);
  CHECK(answer.fhi == std::numeric_limits<double>::infinity());
  const plan::RangeTable empty(TensorRef::dense(nullptr, DType::I32, {0}));
  answer = empty.query(std::span(&index, 1), 0);
  CHECK(answer.lo == INT64_MIN);
  CHECK(answer.hi == INT64_MAX);
}
