// Inlining with other arguments and captures, and merged tables of captures.
#include "Expr/Rewrite.h"
#include "RandomFormula.h"

using namespace attnjit;
using namespace attnjit::expr;
using namespace attnjit::expr::test;

namespace {

Formula parse(std::string_view score, std::string_view mask, std::span<const expr::CaptureInfo> captures) {
  Result<Formula> formula = parseFormula({score, mask}, captures);
  REQUIRE_MESSAGE(formula, formula.error().message);
  return std::move(*formula);
}

} // namespace

TEST_CASE("inlining with replaced arguments is the formula at other positions") {
  const Captures captures;
  const Formula inner = parse("score * slope[h] + bias[h, kv_idx] + off[b]", "(q_idx + b >= kv_idx) & flag[kv_idx]", Captures::infos());
  // What it is to see: b -> 1 - b, h -> 2 - h, q_idx -> q_idx + w, kv_idx -> (kv_idx + p) % 9, score -> -score.
  const Formula outer = parse("-score", "kv_idx == kv_idx", Captures::infos());
  Formula merged = Formula::identity();
  Result<Renaming> names = adopt(merged, outer);
  REQUIRE(names);
  names = adopt(merged, inner);
  REQUIRE(names);
  for (Function *function : {&merged.score, &merged.mask}) {
    Builder b;
    Replacements with;
    with[Param::Score] = b.op(Op::Neg, {b.param(Param::Score)});
    with[Param::B] = b.op(Op::Sub, {b.constantInt(1), b.param(Param::B)});
    with[Param::H] = b.op(Op::Sub, {b.constantInt(2), b.param(Param::H)});
    with[Param::Q] = b.op(Op::Add, {b.param(Param::Q), b.scalar(0, Kind::Int)});
    with[Param::Kv] = b.op(Op::FloorMod, {b.op(Op::Add, {b.param(Param::Kv), b.scalar(1, Kind::Int)}), b.constantInt(9)});
    *function = b.finish(inlineInto(b, function == &merged.score ? inner.score : inner.mask, *names, with));
  }
  REQUIRE(verify(merged));
  Interp score(merged, merged.score, captures.bindings()), mask(merged, merged.mask, captures.bindings());
  Interp innerScore(inner, inner.score, captures.bindings()), innerMask(inner, inner.mask, captures.bindings());
  bool outside = false;
  for (int b = 0; b < kB; ++b)
    for (int h = 0; h < kH; ++h)
      for (int q = 0; q < kM; ++q)
        for (int kv = 0; kv < kN; ++kv) {
          const Position there{1 - b, 2 - h, q + 3, (kv + 4) % 9};
          CHECK(score.evaluate(0.75, {b, h, q, kv}, outside).f == innerScore.evaluate(-0.75, there, outside).f);
          CHECK(mask.evaluate(0, {b, h, q, kv}, outside).i == innerMask.evaluate(0, there, outside).i);
        }
  CHECK(!outside);
}

TEST_CASE("captures of the same name are shared, others are added, clashes are errors") {
  const expr::CaptureInfo first[] = {{"doc", DType::I32, 1}, {"w", DType::I64, -1}};
  const expr::CaptureInfo second[] = {{"slope", DType::F32, 1}, {"cap", DType::F64, -1}, {"doc", DType::I32, 1}};
  Formula merged = Formula::identity();
  REQUIRE(adopt(merged, parse("", "doc[q_idx] < w", first)));
  const Result<Renaming> names = adopt(merged, parse("score + cap", "doc[kv_idx] > 0", second));
  REQUIRE(names);
  CHECK(names->captures == std::vector<int>{1, 0});
  CHECK(names->scalars == std::vector<int>{1});
  REQUIRE(merged.captures.size() == 2);
  CHECK(merged.captures[1].name == "slope");
  CHECK(merged.scalars[1].name == "cap");

  for (const expr::CaptureInfo &other : {expr::CaptureInfo{"doc", DType::I64, 1},
                                         {"doc", DType::I32, 2},
                                         {"doc", DType::I64, -1},
                                         {"w", DType::F64, -1},
                                         {"w", DType::I32, 0}}) {
    Formula into = merged;
    const Result<Renaming> refused = adopt(into, parse("", "", {&other, 1}));
    REQUIRE(!refused);
    CHECK(refused.error().code == ErrorCode::InvalidArgument);
    CHECK(refused.error().message.find("capture '" + other.name + "' is a ") == 0);
    CHECK(refused.error().message.find("rename one of them") != std::string::npos);
  }
}
