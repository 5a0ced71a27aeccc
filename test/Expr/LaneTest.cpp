// LaneInterp means what Interp means, lane by lane; trends() is never wrong.
#include "RandomFormula.h"

#include "Expr/LaneInterp.h"
#include "Expr/Loops.h"
#include "Expr/Monotone.h"

using namespace attnjit;
using namespace attnjit::expr;
using namespace attnjit::expr::test;

TEST_CASE("lanes along either axis have the values that Interp finds, bit by bit") {
  const Captures captures;
  Random random(17);
  for (int i = 0; i < 1500; ++i) {
    Formula formula = randomFormula(random, static_cast<int>(random.between(4, 30)));
    if (random.oneIn(2))
      simplify(formula);
    for (Function *function : {&formula.score, &formula.mask}) {
      const Param axis = random.oneIn(2) ? Param::Q : Param::Kv;
      const Floats floats = random.oneIn(2) ? Floats::F32 : Floats::F64;
      const std::vector<ValueId> roots{function->result};
      LaneInterp lanes(*function, captures.bindings(), roots, axis, floats);
      Interp interp(formula, *function, captures.bindings(), floats);
      for (int probe = 0; probe < 4; ++probe) {
        const Position first{random.between(0, kB - 1), random.between(0, kH - 1), random.between(0, kM - 1), random.between(0, kN - 1)};
        const std::int64_t step = random.between(1, 3);
        const int count = static_cast<int>(random.between(1, 5));
        const bool hasScores = random.oneIn(2);
        double scores[5] = {};
        for (double &score : scores)
          score = hasScores ? 0.125 * static_cast<double>(random.between(-40, 40)) : 0;
        const bool outside = lanes.run(first, step, count, hasScores ? scores : nullptr);
        bool anyOutside = false;
        for (int lane = 0; lane < count; ++lane) {
          Position at = first;
          (axis == Param::Q ? at.q : at.kv) += lane * step;
          const Value expected = interp.evaluate(scores[lane], at, anyOutside);
          if ((*function)[function->result].kind == Kind::Float)
            CHECK_MESSAGE(sameBits(lanes.floats(function->result)[lane], expected.f), print(formula));
          else
            CHECK_MESSAGE(lanes.ints(function->result)[lane] == expected.i, print(formula));
        }
        CHECK(outside == anyOutside);
      }
    }
  }
}

TEST_CASE("every element type is gathered") {
  const std::vector<std::int64_t> wanted{3, 0, 1, 2, 100, 5, 0, 1};
  const auto check = [&](auto example, DType dtype) {
    std::vector<decltype(example)> data(wanted.begin(), wanted.end());
    const TensorRef tensor = TensorRef::dense(data.data(), dtype, {8});
    for (const char *text : {"t[kv_idx] == 1", "t[7 - kv_idx] == 1", "t[kv_idx - 8] == 1", "t[q_idx] == 1"}) {
      const CaptureInfo info{"t", dtype, 1};
      Result<Formula> formula = parseFormula({"", text}, std::span(&info, 1));
      REQUIRE(formula);
      const Bindings bindings{{&tensor, 1}, {}};
      LaneInterp lanes(formula->mask, bindings, std::span(&formula->mask.result, 1), Param::Kv);
      Interp interp(*formula, formula->mask, bindings);
      CHECK_FALSE(lanes.run({0, 0, 3, 0}, 1, 8));
      for (int lane = 0; lane < 8; ++lane) {
        bool ignored = false;
        CHECK(lanes.ints(formula->mask.result)[lane] == interp.evaluate(0, {0, 0, 3, lane}, ignored).i);
      }
    }
  };
  check(double{}, DType::F64);
  check(float{}, DType::F32);
  check(std::uint16_t{}, DType::BF16);
  check(std::uint16_t{}, DType::F16);
  check(std::int8_t{}, DType::I8);
  check(std::uint8_t{}, DType::U8);
  check(std::int16_t{}, DType::I16);
  check(std::int32_t{}, DType::I32);
  check(std::int64_t{}, DType::I64);
}

TEST_CASE("what is called rising or falling is, for random formulas") {
  const Captures captures;
  Random random(23);
  const Box box{.bHi = 0, .qHi = 40, .kvHi = 40};
  int settled = 0;
  for (int i = 0; i < 3000; ++i) {
    Formula formula = randomFormula(random, static_cast<int>(random.between(3, 12)));
    simplify(formula);
    const Function &mask = formula.mask;
    const std::vector<Range> known = ranges(formula, mask, box, captures.scalars, false, nullptr);
    for (const Param axis : {Param::Q, Param::Kv}) {
      const std::vector<Trend> found = trends(mask, axis, known);
      const std::vector<std::uint8_t> open = openLevels(mask.nodes);
      for (ValueId id = 0; id < mask.nodes.size(); ++id) {
        if (found[id] == Trend::Unknown || open[id])
          continue;
        LaneInterp lanes(mask, captures.bindings(), std::span(&id, 1), axis);
        lanes.run({0, 0, 0, 0}, 1, 41);
        for (int lane = 1; lane < 41; ++lane) {
          const double before = mask[id].kind == Kind::Float ? lanes.floats(id)[lane - 1] : static_cast<double>(lanes.ints(id)[lane - 1]),
                       after = mask[id].kind == Kind::Float ? lanes.floats(id)[lane] : static_cast<double>(lanes.ints(id)[lane]);
          if (found[id] == Trend::Constant)
            CHECK_MESSAGE(sameBits(before, after), print(formula));
          else
            CHECK_MESSAGE((found[id] == Trend::Rising ? before <= after : before >= after), print(formula));
          settled += found[id] != Trend::Constant;
        }
      }
    }
  }
  CHECK(settled > 20000);
}
