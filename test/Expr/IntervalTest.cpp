// ranges() and classify() are sound: no evaluated value ever leaves its range.
#include "RandomFormula.h"

#include "Expr/Loops.h"

#include <algorithm>

using namespace attnjit;
using namespace attnjit::expr;
using namespace attnjit::expr::test;

namespace {

Box randomBox(Random &random, std::int64_t q, std::int64_t kv) {
  Box box;
  box.bLo = random.between(0, kB - 1);
  box.bHi = random.between(box.bLo, kB - 1);
  box.hLo = random.between(0, kH - 1);
  box.hHi = random.between(box.hLo, kH - 1);
  box.qLo = random.between(0, q);
  box.qHi = std::min(q, box.qLo + random.between(0, 6));
  box.kvLo = random.between(0, kv);
  box.kvHi = std::min(kv, box.kvLo + random.between(0, 6));
  return box;
}

template <typename F> void forEachPosition(const Box &box, F each) {
  for (std::int64_t b = box.bLo; b <= box.bHi; ++b)
    for (std::int64_t h = box.hLo; h <= box.hHi; ++h)
      for (std::int64_t q = box.qLo; q <= box.qHi; ++q)
        for (std::int64_t kv = box.kvLo; kv <= box.kvHi; ++kv)
          each(Position{b, h, q, kv});
}

bool contains(const Range &range, Kind kind, const Value &value) {
  if (kind != Kind::Float)
    return value.i >= range.lo && value.i <= range.hi;
  return std::isnan(value.f) ? range.maybeNan : value.f >= range.flo && value.f <= range.fhi;
}

/// The true range of a captured tensor over an index box, by looking at every element; elements that a wrapped index may reach included.
Range scan(const Captures &captures, int index, std::span<const Range> indices) {
  const TensorRef &tensor = captures.tensors[index];
  std::int64_t count = 1;
  for (int dim = 0; dim < tensor.rank; ++dim)
    count *= tensor.sizes[dim];
  Range range;
  range.lo = INT64_MAX;
  range.hi = INT64_MIN;
  range.flo = std::numeric_limits<double>::infinity();
  range.fhi = -range.flo;
  range.maybeNan = false;
  for (std::int64_t i = 0; i < count; ++i) {
    const Value value = loadElement(tensor.data, tensor.dtype, i);
    range.lo = std::min(range.lo, value.i);
    range.hi = std::max(range.hi, value.i);
    range.flo = std::min(range.flo, value.f);
    range.fhi = std::max(range.fhi, value.f);
  }
  return range;
}

} // namespace

TEST_CASE("every node of random formulas stays within its range") {
  const Captures captures;
  const CaptureRangeFn tables = [&](int index, std::span<const Range> indices) { return scan(captures, index, indices); };
  const double kScores[] = {0.0, 1.5, -2.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()};
  Random random(3);
  std::int64_t decided = 0;
  for (int i = 0; i < 4000; ++i) {
    Formula formula = randomFormula(random, static_cast<int>(random.between(4, 30)));
    if (random.oneIn(2))
      simplify(formula);
    const Box box = randomBox(random, kM - 1, kN - 1);
    const bool knowsScalars = random.oneIn(2), knowsCaptures = random.oneIn(2);
    for (Function *function : {&formula.score, &formula.mask}) {
      const std::vector<Range> known =
          ranges(formula, *function, box, knowsScalars ? std::span<const ScalarArg>(captures.scalars) : std::span<const ScalarArg>(),
                 random.oneIn(2), knowsCaptures ? tables : CaptureRangeFn());
      REQUIRE(known.size() == function->nodes.size());
      const std::vector<std::uint8_t> open = openLevels(function->nodes);
      // Looking at every node costs one Interp each: take the result and a few others.
      for (int probe = 0; probe < 4; ++probe) {
        Function part = *function;
        if (probe)
          part.result = static_cast<ValueId>(random.between(0, static_cast<std::int64_t>(part.nodes.size()) - 1));
        if (open[part.result])
          continue; // a value of some step of a loop, not of a position
        const Range &range = known[part.result];
        const Kind kind = part[part.result].kind;
        CHECK(range.kind == kind);
        decided += kind == Kind::Bool ? range.lo == range.hi : kind == Kind::Int ? range.lo > INT64_MIN : !range.maybeNan;
        Interp interp(formula, part, captures.bindings());
        forEachPosition(box, [&](const Position &at) {
          bool ignored = false;
          const double score = random.pick(kScores);
          const Value value = interp.evaluate(score, at, ignored);
          CHECK_MESSAGE(contains(range, kind, value), "node ", part.result, " is ", value.i, " / ", value.f, ", range ", range.lo, "..",
                        range.hi, " / ", range.flo, "..", range.fhi, "\n", print(formula));
        });
      }
    }
  }
  CHECK(decided > 4000); // not everything is unknown
}

TEST_CASE("classify is never wrong, and decides the common masks") {
  const Captures captures;
  struct Row {
    const char *text;
    bool exact; ///< decides every box
  };
  const Row kRows[] = {{"q_idx >= kv_idx", true},
                       {"q_idx >= kv_idx and q_idx - kv_idx <= w", true},
                       {"abs(q_idx - kv_idx) <= w", true},
                       {"kv_idx < p or q_idx >= kv_idx", true},
                       {"(q_idx - kv_idx) % 3 == 0", true},
                       {"(q_idx - kv_idx) % -3 == -1", false},
                       {"q_idx // 4 == kv_idx // 4", true},
                       {"q_idx + off[b] >= kv_idx", false},
                       {"doc[b, q_idx] == doc[b, kv_idx] and q_idx >= kv_idx", false},
                       {"(q_idx / 2).floor() >= kv_idx", true},
                       {"torch.where(h == 1, q_idx >= kv_idx, kv_idx < p)", false},
                       {"q_idx * q_idx > kv_idx * 3", true},
                       {"(q_idx ^ kv_idx) & 1 == 0", false},
                       {"torch.exp(-(q_idx - kv_idx).abs() / 2.0) > 0.2", true},
                       {"flag[kv_idx]", false},
                       {"True", true},
                       {"False", true}};
  Random random(5);
  for (const Row &row : kRows) {
    const Formula formula = mask(row.text);
    Interp interp(formula, formula.mask, captures.bindings());
    for (int i = 0; i < 400; ++i) {
      const Box box = randomBox(random, kM - 1, kN - 1);
      bool sawTrue = false, sawFalse = false;
      forEachPosition(box, [&](const Position &at) {
        bool ignored = false;
        (interp.evaluate(0, at, ignored).i ? sawTrue : sawFalse) = true;
      });
      const TileClass truth = sawTrue && sawFalse ? TileClass::Partial : sawTrue ? TileClass::Full : TileClass::Empty;
      const TileClass found = classify(formula, box, captures.scalars, nullptr);
      CHECK_MESSAGE((found == truth || (!row.exact && found == TileClass::Partial)), row.text, " q ", box.qLo, "..", box.qHi, " kv ",
                    box.kvLo, "..", box.kvHi);
    }
  }
}

TEST_CASE("captured tensors decide through their range tables") {
  const Captures captures;
  const Formula formula = mask("kv_idx < off[b]");
  int calls = 0;
  const CaptureRangeFn table = [&](int index, std::span<const Range> indices) {
    ++calls;
    CHECK(index == 4);
    REQUIRE(indices.size() == 1);
    CHECK(indices[0].lo == 0);
    CHECK(indices[0].hi == 1);
    Range range;
    range.lo = 2;
    range.hi = 5;
    return range;
  };
  CHECK(classify(formula, {0, 1, 0, 0, 0, 6, 0, 1}, captures.scalars, table) == TileClass::Full);
  CHECK(classify(formula, {0, 1, 0, 0, 0, 6, 5, 8}, captures.scalars, table) == TileClass::Empty);
  CHECK(classify(formula, {0, 1, 0, 0, 0, 6, 0, 8}, captures.scalars, table) == TileClass::Partial);
  CHECK(calls == 3);
}

TEST_CASE("overflow makes a range unknown instead of wrong") {
  const Formula formula = mask("q_idx + 9223372036854775807 > 0");
  CHECK(classify(formula, {0, 0, 0, 0, 0, 1, 0, 0}, {}, nullptr) == TileClass::Partial);
  CHECK(classify(formula, {0, 0, 0, 0, 0, 0, 0, 0}, {}, nullptr) == TileClass::Full);
  CHECK(classify(formula, {0, 0, 0, 0, 1, 1, 0, 0}, {}, nullptr) == TileClass::Empty); // it wraps
}

TEST_CASE("dependences") {
  const auto of = [](std::string_view text) {
    const Formula formula = score(text);
    return static_cast<int>(dependences(formula.score)[formula.score.result]);
  };
  CHECK(of("1.0") == DependsNone);
  CHECK(of("cap") == DependsNone);
  CHECK(of("slope[h]") == DependsH);
  CHECK(of("slope[h] * (kv_idx - q_idx)") == (DependsH | DependsQ | DependsKv));
  CHECK(of("score + b") == (DependsScore | DependsB));
  CHECK(of("bias[h, kv_idx] if q_idx > 2 else 0.0") == (DependsH | DependsKv | DependsQ));
}

TEST_CASE("indices proved in bounds") {
  const Captures captures;
  const Box whole{0, kB - 1, 0, kH - 1, 0, kM - 1, 0, kN - 1};
  const auto proved = [&](std::string_view text, const Box &box) {
    const Formula formula = score(text);
    return indicesProvedInBounds(formula, formula.score, box, captures.bindings());
  };
  CHECK(proved("score", whole));
  CHECK(proved("slope[h]", whole));
  CHECK(proved("bias[h, kv_idx]", whole));
  CHECK(proved("bias[h, kv_idx - q_idx]", whole)); // -6 .. 8 wraps
  CHECK(proved("slope[-1]", whole));
  CHECK(proved("bias[h, (q_idx + kv_idx) % 9]", whole));
  CHECK(proved("bias[h, min(q_idx + kv_idx, 8)]", whole));
  CHECK(!proved("bias[h, q_idx + kv_idx]", whole));
  CHECK(!proved("slope[kv_idx]", whole));
  CHECK(proved("slope[kv_idx]", {0, 1, 0, 2, 0, 6, 0, 2}));
  CHECK(!proved("slope[-4]", whole));
  CHECK(!proved("slope[doc[b, kv_idx]]", whole));            // contents are not looked at
  CHECK(proved("slope[kv_idx]", {0, 1, 0, 2, 0, 6, 0, -1})); // no position at all
  CHECK(proved("slope[w - 1]", whole));
  CHECK(!proved("slope[w]", whole));
}

TEST_CASE("rows without a visible key") {
  CHECK(!mayHaveEmptyRow(score("score")));
  CHECK(!mayHaveEmptyRow(mask("q_idx >= kv_idx")));
  CHECK(!mayHaveEmptyRow(mask("kv_idx < 4 or q_idx >= kv_idx")));
  CHECK(mayHaveEmptyRow(mask("q_idx >= kv_idx and q_idx - kv_idx <= w")));
  CHECK(mayHaveEmptyRow(mask("q_idx > kv_idx")));
  CHECK(mayHaveEmptyRow(mask("doc[b, q_idx] == doc[b, kv_idx]")));
  CHECK(!mayHaveEmptyRow(score("20.0 * torch.tanh(score / 20.0)")));
  CHECK(!mayHaveEmptyRow(score("torch.where(q_idx >= kv_idx, score, -math.inf)"))); // key 0
  CHECK(mayHaveEmptyRow(score("torch.where(q_idx > kv_idx, score, -math.inf)")));
  CHECK(mayHaveEmptyRow(score("score + bias[h, kv_idx]"))); // a captured -inf
}
