// simplify() keeps every bit of every value, and is idempotent.
#include "RandomFormula.h"

using namespace attnjit;
using namespace attnjit::expr;
using namespace attnjit::expr::test;

TEST_CASE("random formulas keep their bits") {
  const Captures captures;
  const double kScores[] = {0.0,
                            -0.0,
                            1.0,
                            -1.5,
                            0.3,
                            1e30,
                            -1e-30,
                            std::numeric_limits<double>::infinity(),
                            -std::numeric_limits<double>::infinity(),
                            std::numeric_limits<double>::quiet_NaN()};
  Random random(7);
  std::size_t before = 0, after = 0;
  for (int i = 0; i < 3000; ++i) {
    const Formula raw = randomFormula(random, static_cast<int>(random.between(5, 40)));
    Formula simple = raw;
    simplify(simple);
    REQUIRE(verify(simple));
    before += raw.score.nodes.size() + raw.mask.nodes.size();
    after += simple.score.nodes.size() + simple.mask.nodes.size();
    Interp rawScore(raw, raw.score, captures.bindings()), simpleScore(simple, simple.score, captures.bindings());
    Interp rawMask(raw, raw.mask, captures.bindings()), simpleMask(simple, simple.mask, captures.bindings());
    for (int trial = 0; trial < 12; ++trial) {
      const Position at{random.between(0, kB - 1), random.between(0, kH - 1), random.between(0, kM - 1), random.between(0, kN - 1)};
      const double score = random.pick(kScores);
      bool ignored = false;
      const double expected = rawScore.evaluate(score, at, ignored).f, got = simpleScore.evaluate(score, at, ignored).f;
      CHECK_MESSAGE(sameBits(expected, got), expected, " became ", got, "\n", print(raw), "\n", print(simple));
      CHECK(rawMask.evaluate(0, at, ignored).i == simpleMask.evaluate(0, at, ignored).i);
    }
    const std::string once = print(simple);
    simplify(simple);
    CHECK(print(simple) == once);
  }
  CHECK(after * 10 < before * 9); // it does simplify
}

TEST_CASE("identities that are exact are applied, others are not") {
  const auto body = [](std::string_view text) {
    const std::string whole = print(score(text));
    const std::size_t begin = whole.find("%kv: int)\n") + 10;
    return whole.substr(begin, whole.find("mask(") - begin);
  };
  const std::string identity = "  return %score\n";
  for (const char *text : {"score * 1", "score * 1.0", "1 * score", "score / 1", "score - 0", "score + -0.0", "-(-score)",
                           "score if True else 1.0", "score if q_idx == q_idx else 0.0", "torch.where(q_idx >= kv_idx, score, score)",
                           "max(score, score)", "score.float()", "score ** 1"})
    CHECK_MESSAGE(body(text) == identity, text);
  for (const char *text :
       {"score + 0.0", "score * 0.0", "score - score", "score / score", "score * 3 / 3", "(score + 1) - 1", "max(score, -float('inf'))"})
    CHECK_MESSAGE(body(text) != identity, text);

  CHECK(body("score / 8") == body("score * 0.125"));
  CHECK(body("score / 3") == "  %0 = const 3 : float\n  %1 = div %score, %0 : float\n  return %1\n");
  CHECK(body("2 * 3 + 4") == "  %0 = const 10 : float\n  return %0\n");
  CHECK(body("(q_idx + 1) - 1 - 2 + 2") == body("q_idx"));
  CHECK(body("q_idx + kv_idx - kv_idx") != body("q_idx"));
  CHECK(body("score + q_idx * 0") == body("score + 0.0"));
  CHECK(body("exp(score) + exp(score)") == "  %0 = exp %score : float\n  %1 = add %0, %0 : float\n  return %1\n");
  CHECK(body("0.1 + 0.2") == "  %0 = const 0.30000000000000004 : float\n  return %0\n");
  CHECK(body("score if not on else 0.0") == body("0.0 if on else score"));
}

TEST_CASE("masks are simplified as logic") {
  const auto same = [](std::string_view a, std::string_view b) { CHECK_MESSAGE(print(mask(a)) == print(mask(b)), a, " and ", b); };
  same("q_idx >= kv_idx and True", "q_idx >= kv_idx");
  same("not q_idx < kv_idx", "q_idx >= kv_idx");
  same("not not q_idx < kv_idx", "q_idx < kv_idx");
  same("(q_idx >= kv_idx) == True", "q_idx >= kv_idx");
  same("q_idx >= kv_idx or q_idx >= kv_idx", "q_idx >= kv_idx");
  same("True if q_idx >= kv_idx else False", "q_idx >= kv_idx");
  same("False if q_idx >= kv_idx else True", "q_idx < kv_idx");
  same("(q_idx >= kv_idx).int().bool()", "q_idx >= kv_idx");
  same("q_idx != q_idx", "False");
  same("not q_idx == 3", "q_idx != 3");
  // An ordered comparison of floats is not the negation of its opposite: NaN.
  CHECK(print(mask("not slope[h] < 1.0")) != print(mask("slope[h] >= 1.0")));
}
