// Printing, reading back, hashing, verifying.
#include "RandomFormula.h"

#include <functional>

using namespace attnjit;
using namespace attnjit::expr;
using namespace attnjit::expr::test;

namespace {

bool sameFunction(const Function &a, const Function &b) {
  if (a.result != b.result || a.nodes.size() != b.nodes.size())
    return false;
  for (std::size_t i = 0; i < a.nodes.size(); ++i) {
    const Node &x = a.nodes[i], &y = b.nodes[i];
    const bool sameImmediate = x.op == Op::Const && x.kind == Kind::Float ? sameBits(x.imm.f, y.imm.f) : x.imm.i == y.imm.i;
    if (x.op != y.op || x.kind != y.kind || x.operands != y.operands || !sameImmediate)
      return false;
  }
  return true;
}

} // namespace

TEST_CASE("the worked example of Ir.h prints as shown there") {
  const CaptureInfo slope{"slope", DType::F32, 1};
  const Result<Formula> formula = parseFormula({"score + slope[h] * (kv_idx - q_idx)", ""}, {&slope, 1});
  REQUIRE(formula);
  CHECK(print(*formula) == R"(capture slope : f32 rank 1
score(%score: float, %b: int, %h: int, %q: int, %kv: int)
  %0 = load slope[%h] : float
  %1 = sub %kv, %q : int
  %2 = to_float %1 : float
  %3 = mul %0, %2 : float
  %4 = add %score, %3 : float
  return %4
mask(%b: int, %h: int, %q: int, %kv: int)
  %0 = const true : bool
  return %0
)");
}

TEST_CASE("print and parseCanonical are inverse") {
  for (const char *text : {"score", "score + slope[h] * (kv_idx - q_idx)", "torch.where(on, score, -math.inf)",
                           "bias[h, kv_idx] * 1e-300 + 0.1", "temp", "float('nan') * -0.0"}) {
    const Formula formula = score(text);
    const Result<Formula> again = parseCanonical(print(formula));
    REQUIRE(again);
    CHECK(sameFunction(formula.score, again->score));
    CHECK(sameFunction(formula.mask, again->mask));
    CHECK(hash(*again) == hash(formula));
  }
  Random random(11);
  for (int i = 0; i < 300; ++i) {
    Formula formula = randomFormula(random, 30);
    for (bool simple : {false, true}) {
      if (simple)
        simplify(formula);
      REQUIRE(verify(formula));
      const std::string text = print(formula);
      const Result<Formula> again = parseCanonical(text);
      REQUIRE_MESSAGE(again, (again ? "" : again.error().message), text);
      CHECK(print(*again) == text);
      CHECK(hash(*again) == hash(formula));
      CHECK(sameFunction(formula.score, again->score));
      CHECK(sameFunction(formula.mask, again->mask));
    }
  }
}

TEST_CASE("names, layout and spelling do not change the hash") {
  const char *const kSame[] = {"score + slope[h] * (kv_idx - q_idx)",
                               "score+slope[ h ]*(kv_idx-q_idx)   # alibi",
                               "lambda s, batch, head, i, j: s + slope[head] * (j - i)",
                               "def f(s, b, h, q, k):\n  d = k - q\n  bias = slope[h] * d\n  return s + bias",
                               "torch.add(score, torch.mul(slope[h], kv_idx.sub(q_idx)))",
                               "score + 1 * slope[h] * (kv_idx - q_idx)"};
  const Hash128 expected = hash(score(kSame[0]));
  for (const char *text : kSame)
    CHECK_MESSAGE(hash(score(text)) == expected, text);

  const char *const kOther[] = {"score",
                                "score - slope[h] * (kv_idx - q_idx)",
                                "score + slope[b] * (kv_idx - q_idx)",
                                "score + slope[h] * (q_idx - kv_idx)",
                                "score + 2 * slope[h] * (kv_idx - q_idx)",
                                "score * 0.0",
                                "score * -0.0"};
  std::vector<Hash128> seen{expected};
  for (const char *text : kOther) {
    const Hash128 mine = hash(score(text));
    for (const Hash128 &other : seen)
      CHECK_MESSAGE(!(mine == other), text);
    seen.push_back(mine);
  }
}

TEST_CASE("renaming a capture keeps the hash; another dtype, rank or order changes it") {
  const auto hashOf = [](std::vector<CaptureInfo> captures, std::string_view text) {
    const Result<Formula> formula = parseFormula({text, ""}, captures);
    REQUIRE(formula);
    return hash(*formula);
  };
  const Hash128 base = hashOf({{"a", DType::F32, 1}, {"n", DType::F64, -1}}, "score + a[h] * n");
  CHECK(base == hashOf({{"alibi", DType::F32, 1}, {"m", DType::F64, -1}}, "score + alibi[h] * m"));
  CHECK(!(base == hashOf({{"a", DType::BF16, 1}, {"n", DType::F64, -1}}, "score + a[h] * n")));
  CHECK(!(base == hashOf({{"a", DType::F32, 1}, {"n", DType::I64, -1}}, "score + a[h] * n")));
  CHECK(!(base == hashOf({{"z", DType::F32, 1}, {"a", DType::F32, 1}, {"n", DType::F64, -1}}, "score + a[h] * n")));
}

TEST_CASE("the hash is the same on every machine and run") {
  const Hash128 digest = hash(mask("q_idx >= kv_idx"));
  // A changed number means that every cache on disk is lost: raise the layout version with it.
  CHECK(digest.hi == 0x5E07A88477B31628);
  CHECK(digest.lo == 0x4E08AE494ECC0E73);
}

TEST_CASE("parseCanonical names the line and what it expected") {
  const auto messageOf = [](std::string_view text) {
    const Result<Formula> formula = parseCanonical(text);
    REQUIRE(!formula);
    CHECK(formula.error().code == ErrorCode::InvalidFormula);
    return formula.error().message;
  };
  const std::string head = "score(%score: float, %b: int, %h: int, %q: int, %kv: int)\n",
                    maskText = "mask(%b: int, %h: int, %q: int, %kv: int)\n  return %0\n";
  CHECK(messageOf("") == "canonical formula: line 0: expected 'score(%score: float, %b: int, %h: int, %q: int, %kv: int)'\n    ");
  CHECK(messageOf("captur x\n") == "canonical formula: line 1: expected 'capture', 'scalar' or 'score('\n    captur x");
  CHECK(messageOf("capture x : f33 rank 1\n") == "canonical formula: line 1: expected a dtype such as f32\n    capture x : f33 rank 1");
  CHECK(messageOf(head + "  %0 = adx %q, %kv : int\n") == "canonical formula: line 2: expected an operation\n    %0 = adx %q, %kv : int");
  CHECK(messageOf(head + "  %0 = add %q, %1 : int\n") ==
        "canonical formula: line 2: expected a value that is defined above\n    %0 = add %q, %1 : int");
  CHECK(messageOf(head + "  return %score\n" + maskText) ==
        "canonical formula: line 4: expected a value that is defined above\n    return %0");
  CHECK(messageOf(head + "  %0 = add %q, %score : int\n  return %score\nmask(%b: int, %h: int, %q: int, %kv: int)\n  %0 = const true : "
                         "bool\n  return %0\n") ==
        "invalid IR: score node 2: add does not take operands of these kinds, or yields another kind");
}

TEST_CASE("verify refuses broken IR") {
  const auto broken = [](const std::function<void(Formula &)> &damage) {
    Formula formula = score("score + slope[h] * (kv_idx - q_idx)");
    REQUIRE(verify(formula));
    damage(formula);
    const Result<void> result = verify(formula);
    REQUIRE(!result);
    return result.error().message;
  };
  CHECK(broken([](Formula &f) { f.score.result = 99; }) == "invalid IR: score node 99: the result does not exist");
  CHECK(broken([](Formula &f) { f.score.result = 1; }) == "invalid IR: score node 1: the result must be a float");
  CHECK(broken([](Formula &f) { f.score.nodes.back().operands[0] = 50; }) ==
        "invalid IR: score node 8: an operand does not come before its user");
  CHECK(broken([](Formula &f) { f.score.nodes.back().operands.pop_back(); }) == "invalid IR: score node 8: add takes 2 operands, got 1");
  CHECK(broken([](Formula &f) { f.score.nodes[2].imm.i = 17; }) == "invalid IR: score node 2: no such captured tensor");
  CHECK(broken([](Formula &f) { f.score.nodes[2].operands.clear(); }) ==
        "invalid IR: score node 2: 0 indices for a captured tensor of rank 1");
  CHECK(broken([](Formula &f) { f.score.nodes[0].imm.i = 9; }) == "invalid IR: score node 0: no such argument");
  CHECK(broken([](Formula &f) { f.mask.nodes[0].imm.i = 2; }) == "invalid IR: mask node 0: a bool must be 0 or 1");
  CHECK(broken([](Formula &f) { f.captures[0].rank = 7; }) == "invalid IR: captured tensor slope: rank 7, expected 0 to 6");
}
