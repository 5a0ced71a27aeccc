// prob_mod: its text, its canonical form, the proof that it is proportional to p; and the random numbers that dropout takes.
#include "Expr/EvalOp.h"
#include "ExprTestUtil.h"

#include <set>

using namespace attnjit;
using namespace attnjit::expr;
using namespace attnjit::expr::test;

namespace {

/// The captures of the other tests without `p`, which is the argument here.
std::vector<CaptureInfo> infos() {
  std::vector<CaptureInfo> kept;
  for (const CaptureInfo &info : Captures::infos())
    if (info.name != "p")
      kept.push_back(info);
  return kept;
}

struct ProbCaptures : Captures {
  ProbCaptures() { scalars.erase(scalars.begin() + 1); }
};

Result<Formula> parseProb(std::string_view text, std::string_view module = {}) {
  return parseFormula({.scoreMod = {}, .maskMod = {}, .module = module, .probMod = text}, infos());
}

Formula prob(std::string_view text) {
  Result<Formula> formula = parseProb(text);
  INFO(std::string(text));
  REQUIRE_MESSAGE(formula, (formula ? "" : formula.error().message));
  return *formula;
}

std::string messageOf(std::string_view text) {
  const Result<Formula> formula = parseProb(text);
  return formula ? "no error" : formula.error().message;
}

} // namespace

TEST_CASE("a prob_mod maps p, with captures and positions") {
  const ProbCaptures captures;
  const Formula formula = prob("p * slope[h] + 0.5 * (kv_idx == q_idx)");
  CHECK(formula.scoreIsIdentity());
  CHECK(formula.maskIsTrue());
  CHECK_FALSE(formula.probIsIdentity());
  Interp interp(formula, formula.prob, captures.bindings());
  bool outside = false;
  CHECK(interp.evaluate(0.25, {0, 1, 3, 3}, outside).f == 0.25 * 0.25 + 0.5);
  CHECK(interp.evaluate(0.25, {0, 1, 3, 4}, outside).f == 0.25 * 0.25);
}

TEST_CASE("in a prob_mod p is the argument, elsewhere a name like any other") {
  const Captures captures; // p is a captured 4
  const Formula formula = score("score * p");
  bool outside = false;
  CHECK(Interp(formula, formula.score, captures.bindings()).evaluate(0.5, {}, outside).f == 2);
}

TEST_CASE("a prob_mod may be a lambda, a function of a module, or a factory with numbers") {
  for (const char *text :
       {"lambda w, b, h, q, k: torch.where(q == k, 0.0, w)", "drop_self", "masked(0.0)", "torch.where(q_idx == kv_idx, 0, p)"}) {
    const Result<Formula> formula =
        parseProb(text, "def drop_self(x, b, h, q, kv):\n    return torch.where(q == kv, 0.0, x)\n"
                        "def masked(value):\n    return lambda x, b, h, q, kv: torch.where(q == kv, value, x)\n");
    INFO(text);
    REQUIRE_MESSAGE(formula, (formula ? "" : formula.error().message));
    std::vector<ScalarArg> scalars(formula->scalars.size());
    bindOwnScalars(*formula, {}, scalars);
    Interp interp(*formula, formula->prob, {{}, scalars});
    bool outside = false;
    CHECK(interp.evaluate(0.5, {0, 0, 1, 1}, outside).f == 0);
    CHECK(interp.evaluate(0.5, {0, 0, 1, 2}, outside).f == 0.5);
  }
}

TEST_CASE("the canonical text has a prob_mod where there is one, and reads back") {
  CHECK(print(Formula::identity()).find("prob") == std::string::npos);
  const std::string text = print(prob("torch.where(kv_idx < w, p, p * cap)"));
  CHECK(text.find("prob(%p: float, %b: int, %h: int, %q: int, %kv: int)\n") != std::string::npos);
  const Result<Formula> again = parseCanonical(text);
  REQUIRE_MESSAGE(again, (again ? "" : again.error().message));
  CHECK(print(*again) == text);
  CHECK(hash(*again) == hash(prob("torch.where(w > kv_idx, p, p * cap)")));
  CHECK_FALSE(hash(*again) == hash(Formula::identity()));
  // What is called score there is p here, and the other way round.
  CHECK_FALSE(
      parseCanonical(text.substr(0, text.find("prob(")) + "prob(%p: float, %b: int, %h: int, %q: int, %kv: int)\n  return %score\n"));
}

TEST_CASE("what a prob_mod cannot be") {
  CHECK(messageOf("p > 0.5").find("a prob_mod returns a float, found a bool") != std::string::npos);
  CHECK(messageOf("score * 2").find("a prob_mod sees no score") != std::string::npos);
  CHECK(messageOf("lambda p, b, h, q: p").find("a prob_mod takes 5 arguments") != std::string::npos);
  CHECK(messageOf("p +").starts_with("prob_mod:1:"));
}

TEST_CASE("proportional to p: proved op by op") {
  for (const char *text : {"p",
                           "0.0",
                           "2 * p",
                           "p * slope[h]",
                           "p / (1 + kv_idx)",
                           "-p",
                           "abs(p)",
                           "p + p * bias[h, kv_idx]",
                           "torch.where(kv_idx > q_idx, p, 0)",
                           "torch.where(flag[kv_idx], p * 2, p * cap)",
                           "torch.minimum(p, 3 * p)",
                           "torch.maximum(p * cap, 0.0)",
                           "p * p / p",
                           "torch.sqrt(p * p)",
                           "torch.where(p > 0, p, 0.0)",
                           "torch.where(p < 2 * p, p, 0.0)",
                           "p * torch.sin(q_idx - kv_idx)",
                           "p * (p == 0)",
                           "torch.where(rand(1, kv_idx) < 0.5, p * 2, 0)",
                           "torch.hypot(p, 2 * p)",
                           "p - 0.0",
                           "torch.where(torch.isnan(p), 0.0, p)"}) {
    INFO(text);
    CHECK(isHomogeneous(prob(text).prob));
  }
  for (const char *text :
       {"p + 0.1", "p * p", "torch.sqrt(p)", "torch.exp(p)", "1.0", "kv_idx", "torch.minimum(p, 0.5)", "torch.where(p < 0.1, 0.0, p)",
        "torch.clamp(p, 0.0, 0.5)", "p / p", "torch.where(p > 0, 1.0, 0.0)", "p + p * p", "1 / p", "torch.floor(p)", "p * torch.log(p)"}) {
    INFO(text);
    CHECK_FALSE(isHomogeneous(prob(text).prob));
  }
}

TEST_CASE("what is proved proportional is, at random places") {
  const ProbCaptures captures;
  Random random(7);
  for (const char *text : {"p * slope[h] + torch.where(flag[kv_idx], p, 0.0)", "torch.maximum(p * (kv_idx - 4), p * cap)",
                           "torch.where(3 * p > p, abs(p) / 4, -p)", "torch.sqrt(p * p * 4) - p * off[b]"}) {
    const Formula formula = prob(text);
    REQUIRE(isHomogeneous(formula.prob));
    Interp interp(formula, formula.prob, captures.bindings());
    for (int i = 0; i < 200; ++i) {
      const Position at{random.between(0, kB - 1), random.between(0, kH - 1), random.between(0, kM - 1), random.between(0, kN - 1)};
      const double p = static_cast<double>(random.between(0, 1000)) / 1000, c = std::exp2(static_cast<double>(random.between(-20, 20)));
      bool outside = false;
      INFO(text);
      CHECK(interp.evaluate(c * p, at, outside).f == c * interp.evaluate(p, at, outside).f); // exact: c is a power of two
    }
  }
}

TEST_CASE("Philox4x32-10 gives the known answers") {
  using Words = std::array<std::uint32_t, 4>;
  // The vectors that the authors of the paper publish with their library (Random123, kat_vectors).
  CHECK(eval::philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(eval::philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}) == Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(eval::philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("rand and randint are its first word, of a seed and an offset of 64 bits") {
  const auto evaluate = [](std::string_view text) {
    const Formula formula = prob(text);
    const ProbCaptures captures;
    bool outside = false;
    return Interp(formula, formula.prob, captures.bindings()).evaluate(0, {0, 0, 0, 0}, outside).f;
  };
  const auto word = [](std::uint32_t c0, std::uint32_t c1, std::uint32_t k0, std::uint32_t k1) {
    return static_cast<std::int32_t>(eval::philox({c0, c1, 0, 0}, {k0, k1})[0]);
  };
  CHECK(evaluate("randint(0, 0)") == 0x6627e8d5);
  CHECK(evaluate("randint(1, kv_idx)") == word(0, 0, 1, 0)); // at run time, and folded: the same
  CHECK(evaluate("randint(5 * 2**32 + 7, 3 * 2**32 + 11)") == word(11, 3, 7, 5));
  CHECK(evaluate("randint(-1, -2)") == word(~1u, ~0u, ~0u, ~0u));
  CHECK(evaluate("rand(0, 0)") == static_cast<double>(float(0x6627e8d5) * 0x1.fffffep-32f));
  std::set<double> seen;
  double sum = 0, least = 1, most = 0;
  for (std::int64_t i = 0; i < 10000; ++i) {
    const double number = eval::philoxUniform(42, i);
    CHECK(number == static_cast<float>(number));
    seen.insert(number);
    sum += number;
    least = std::min(least, number);
    most = std::max(most, number);
  }
  CHECK(least >= 0);
  CHECK(most < 1);
  CHECK(seen.size() > 9990);
  CHECK(std::abs(sum / 10000 - 0.5) < 4 * 0.2887 / 100); // four standard deviations of the mean
  CHECK(static_cast<double>(0x7fffffff) * 0x1.fffffep-32 < 1);
}

TEST_CASE("rand says what it wants") {
  CHECK(messageOf("p * rand(0.5, kv_idx)").find("the seed of rand is a float") != std::string::npos);
  CHECK(messageOf("p * torch.rand(1, 2)").find("a generator, which a formula has none of") != std::string::npos);
}
