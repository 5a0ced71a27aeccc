// Loads of every dtype, strides, ranges; and that remembering values between calls never shows.
#include "RandomFormula.h"

using namespace attnjit;
using namespace attnjit::expr;
using namespace attnjit::expr::test;

TEST_CASE("elements of every dtype") {
  const auto load = [](auto value, DType dtype) { return loadElement(&value, dtype, 0); };
  CHECK(load(1.25, DType::F64).f == 1.25);
  CHECK(load(1.25f, DType::F32).f == 1.25);
  CHECK(load(std::uint16_t{0x3FA0}, DType::BF16).f == 1.25);
  CHECK(load(std::uint16_t{0xFF80}, DType::BF16).f == -std::numeric_limits<double>::infinity());
  CHECK(load(std::uint16_t{0x3D00}, DType::F16).f == 1.25);
  CHECK(load(std::uint16_t{0x8001}, DType::F16).f == -std::ldexp(1.0, -24));
  CHECK(load(std::uint16_t{0x7BFF}, DType::F16).f == 65504);
  CHECK(load(std::uint16_t{0xFC00}, DType::F16).f == -std::numeric_limits<double>::infinity());
  CHECK(std::isnan(load(std::uint16_t{0x7C01}, DType::F16).f));
  CHECK(load(std::uint8_t{7}, DType::Bool).i == 1);
  CHECK(load(std::int8_t{-7}, DType::I8).i == -7);
  CHECK(load(std::uint8_t{250}, DType::U8).i == 250);
  CHECK(load(std::int16_t{-300}, DType::I16).i == -300);
  CHECK(load(std::int32_t{-70000}, DType::I32).i == -70000);
  CHECK(load(std::int64_t{1} << 40, DType::I64).i == std::int64_t{1} << 40);
}

TEST_CASE("indices wrap once; what is outside reads element 0 and says so") {
  float data[] = {10, 11, 12, 13};
  const CaptureInfo info{"t", DType::F32, 1};
  const Result<Formula> formula = parseFormula({"t[q_idx - 6]", ""}, {&info, 1});
  REQUIRE(formula);
  TensorRef tensor = TensorRef::dense(data, DType::F32, {4});
  const auto at = [&](std::int64_t q) {
    bool outOfRange = false;
    Interp interp(*formula, formula->score, {{&tensor, 1}, {}});
    const double value = interp.evaluate(0, {0, 0, q, 0}, outOfRange).f;
    return std::pair(value, outOfRange);
  };
  CHECK(at(6) == std::pair(10.0, false));
  CHECK(at(9) == std::pair(13.0, false));
  CHECK(at(10) == std::pair(10.0, true));
  CHECK(at(5) == std::pair(13.0, false));
  CHECK(at(2) == std::pair(10.0, false));
  CHECK(at(1) == std::pair(10.0, true));
  tensor.data = data + 3;
  tensor.strides[0] = -1;
  CHECK(at(6) == std::pair(13.0, false));
  CHECK(at(9) == std::pair(10.0, false));
  tensor.strides[0] = 0; // broadcast
  CHECK(at(9) == std::pair(13.0, false));
  tensor.sizes[0] = 0;
  tensor.data = nullptr;
  CHECK(at(6) == std::pair(0.0, true));
}

TEST_CASE("the order of calls does not change values or out-of-range flags") {
  const Captures captures;
  Random random(9);
  for (int i = 0; i < 300; ++i) {
    const Formula formula = randomFormula(random, 25);
    Interp reused(formula, formula.score, captures.bindings());
    for (int trial = 0; trial < 30; ++trial) {
      const Position at{random.between(0, kB - 1), random.between(0, kH - 1), random.between(0, kM - 1), random.between(0, kN - 1)};
      bool reusedOut = false, freshOut = false;
      Interp fresh(formula, formula.score, captures.bindings());
      const double a = reused.evaluate(0.5, at, reusedOut).f, b = fresh.evaluate(0.5, at, freshOut).f;
      CHECK(sameBits(a, b));
      CHECK(reusedOut == freshOut);
    }
  }
}

TEST_CASE("integer arithmetic wraps and never traps") {
  const auto value = [](std::string_view text) {
    const Captures captures;
    const Formula formula = score(text);
    bool ignored = false;
    return Interp(formula, formula.score, captures.bindings()).evaluate(0, {1, 1, 1, 0}, ignored).f;
  };
  CHECK(value("(q_idx + 9223372036854775807) // (kv_idx - 1)") == -9223372036854775808.0);
  CHECK(value("(q_idx + 9223372036854775807) % (kv_idx - 1)") == 0);
  CHECK(value("torch.fmod(q_idx + 9223372036854775807, kv_idx - 1)") == 0);
  CHECK(value("abs(q_idx + 9223372036854775807)") == -9223372036854775808.0);
  CHECK(value("q_idx // kv_idx + q_idx % kv_idx") == 0);
  CHECK(value("(q_idx * 1e300).int()") == 9223372036854775808.0);
  CHECK(value("(q_idx * float('nan')).int()") == 0);
  CHECK(value("(q_idx + 1) ** (kv_idx - 1) + (q_idx - 2) ** (kv_idx - 3)") == -1);
}
