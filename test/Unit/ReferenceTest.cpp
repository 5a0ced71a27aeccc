// The f64 oracle against cases worked out by hand: everything else is measured against it.
#include "Reference/Reference.h"

#include "Expr/Frontend.h"
#include "Reference/Elements.h"

#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace attnjit;
using attnjit::reference::Call;
using attnjit::reference::Output;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

/// A problem in f64 of which the test fills what matters.
struct Case {
  std::int64_t B = 1, Hq = 1, Hkv = 1, M = 1, N = 1, D = 1, Dv = 1;
  std::vector<double> q{}, k{}, v{};
  std::vector<expr::CaptureInfo> infos{};
  std::vector<TensorRef> captures{};
  std::vector<ScalarArg> scalars{};
  std::string_view scoreMod{}, maskMod{};
  std::optional<double> scale = 1.0;
  int threads = 1;

  Output run() {
    Result<expr::Formula> formula = expr::parseFormula({scoreMod, maskMod}, infos);
    REQUIRE_MESSAGE(formula, (formula ? "" : formula.error().message));
    Call call;
    call.formula = &*formula;
    call.bindings = {captures, scalars};
    call.q = TensorRef::dense(q.data(), DType::F64, {B, Hq, M, D});
    call.k = TensorRef::dense(k.data(), DType::F64, {B, Hkv, N, D});
    call.v = TensorRef::dense(v.data(), DType::F64, {B, Hkv, N, Dv});
    call.scale = scale;
    call.threads = threads;
    return reference::forwardF64(call);
  }
};

/// One row of scores 1 * k, with values 1, 2, 3.
Case threeKeys(double k0, double k1, double k2) { return {.N = 3, .q = {1}, .k = {k0, k1, k2}, .v = {1, 2, 3}}; }

} // namespace

TEST_CASE("A1 A5 A7: softmax of two equal scores is the mean, lse is score + ln 2") {
  Case two{.N = 2, .D = 2, .q = {1, 2}, .k = {3, 4, 3, 4}, .v = {10, 20}};
  const Output result = two.run();
  CHECK(result.out[0] == doctest::Approx(15));
  CHECK(result.max[0] == 11);
  CHECK(result.lse[0] == doctest::Approx(11 + std::log(2.0)));
}

TEST_CASE("A1: the default scale is 1/sqrt(D)") {
  Case one{.D = 4, .q = {1, 1, 1, 1}, .k = {2, 2, 2, 2}, .v = {5}, .scale = {}};
  CHECK(one.run().max[0] == 4);
}

TEST_CASE("weights are exp(score) / sum") {
  Case three = threeKeys(0, std::log(2.0), std::log(5.0));
  CHECK(three.run().out[0] == doctest::Approx((1 * 1 + 2 * 2 + 5 * 3) / 8.0));
}

TEST_CASE("A2 A3: the score is changed before the mask, which wins even over NaN") {
  Case three = threeKeys(0, 0, 0);
  three.scoreMod = "torch.where(kv_idx == 2, float('nan'), score + kv_idx)";
  three.maskMod = "kv_idx < 2";
  const Output result = three.run();
  CHECK(result.out[0] == doctest::Approx((1 + std::exp(1.0) * 2) / (1 + std::exp(1.0))));
  CHECK(result.max[0] == 1);
}

TEST_CASE("A6: a visible NaN reaches the output") {
  Case three = threeKeys(0, std::nan(""), 0);
  const Output result = three.run();
  CHECK(std::isnan(result.out[0]));
  CHECK(std::isnan(result.lse[0]));
  CHECK(std::isnan(result.max[0]));
}

TEST_CASE("A5: a row without visible keys gives 0 and -inf; -1e30 is a number") {
  Case three = threeKeys(0, 0, 0);
  SUBCASE("masked") { three.maskMod = "kv_idx > 5"; }
  SUBCASE("scored -inf") { three.scoreMod = "float('-inf')"; }
  const Output empty = three.run();
  CHECK(empty.out[0] == 0);
  CHECK(empty.lse[0] == -kInf);
  CHECK(empty.max[0] == -kInf);
  three.maskMod = "";
  three.scoreMod = "-1e30";
  CHECK(three.run().out[0] == doctest::Approx(2));
}

TEST_CASE("A5: a masked position contributes exactly 0") {
  Case three = threeKeys(0, 0, 0);
  three.v = {1, 2, 1e300};
  three.maskMod = "kv_idx != 2";
  CHECK(three.run().out[0] == 1.5);
}

TEST_CASE("A4: query heads share kv heads in groups, and h is the query head") {
  Case gqa{.Hq = 4, .Hkv = 2, .q = {1, 1, 1, 1}, .k = {1, 1}, .v = {10, 20}, .scoreMod = "score + h"};
  const Output result = gqa.run();
  CHECK(result.out == std::vector<double>{10, 10, 20, 20});
  CHECK(result.max == std::vector<double>{1, 2, 3, 4});
}

TEST_CASE("A9: M or N of 0") {
  Case none{.M = 2, .N = 0, .q = {1, 1}};
  const Output result = none.run();
  CHECK(result.out == std::vector<double>{0, 0});
  CHECK(result.lse == std::vector<double>{-kInf, -kInf});
  Case empty{.M = 0, .N = 2, .k = {1, 1}, .v = {1, 1}};
  CHECK(empty.run().out.empty());
}

TEST_CASE("A10: the smallest position with an index out of range") {
  std::vector<float> table{1, 2};
  Case rows{.M = 3, .N = 3, .q = {1, 1, 1}, .k = {0, 0, 0}, .v = {1, 2, 3}};
  rows.infos = {{"t", DType::F32, 1}};
  rows.captures = {TensorRef::dense(table.data(), DType::F32, {2})};
  SUBCASE("score_mod at a visible position") {
    rows.scoreMod = "score + t[kv_idx]";
    CHECK(rows.run().status == 2);
  }
  SUBCASE("score_mod behind the mask does not count") {
    rows.scoreMod = "score + t[kv_idx]";
    rows.maskMod = "kv_idx < 2";
    CHECK(rows.run().status == kStatusOk);
  }
  SUBCASE("mask_mod counts everywhere") {
    rows.maskMod = "(kv_idx <= q_idx) & (t[q_idx] > 0)";
    CHECK(rows.run().status == 2 * 3 + 0);
  }
  SUBCASE("a negative index counts from the end") {
    rows.scoreMod = "score + t[-1 - (kv_idx % 2)]";
    CHECK(rows.run().status == kStatusOk);
    rows.scoreMod = "score + t[-1 - kv_idx]";
    CHECK(rows.run().status == 2);
  }
}

TEST_CASE("any number of threads gives the same bits") {
  Case big{.B = 2, .Hq = 3, .Hkv = 3, .M = 70, .N = 33, .D = 5, .Dv = 4, .maskMod = "q_idx >= kv_idx"};
  double x = 0.3;
  for (auto [values, count] : {std::pair{&big.q, 2 * 3 * 70 * 5}, std::pair{&big.k, 2 * 3 * 33 * 5}, std::pair{&big.v, 2 * 3 * 33 * 4}})
    for (int i = 0; i < count; ++i)
      values->push_back(x = std::fmod(x * 7.13 + 0.17, 2.0) - 1);
  const Output one = big.run();
  big.threads = 3;
  CHECK(big.run().out == one.out);
}

TEST_CASE("strides, broadcast batches and a sample of rows") {
  // q is transposed in memory, k and v are shared by both batches.
  std::vector<double> q{1, 3, 2, 4}, k{1, 0, 0, 1}, v{1, 2};
  const expr::Formula formula = expr::Formula::identity();
  Call call;
  call.formula = &formula;
  call.q = {q.data(), DType::F64, 4, {2, 1, 2, 2}, {0, 0, 1, 2}}; // rows (1, 2) and (3, 4)
  call.k = TensorRef::dense(k.data(), DType::F64, {1, 1, 2, 2});
  call.v = TensorRef::dense(v.data(), DType::F64, {1, 1, 2, 1});
  call.scale = 1.0;
  const Output all = reference::forwardF64(call);
  CHECK(all.max == std::vector<double>{2, 4, 2, 4});
  call.rowStep = 2;
  CHECK(reference::forwardF64(call).max == std::vector<double>{2, 0, 2, 0});
}

TEST_CASE("elements: rounding to nearest even, subnormals, overflow, round trips of every pattern") {
  using namespace attnjit::reference;
  CHECK(roundTo(DType::BF16, 1 + 0x1p-8) == 1);
  CHECK(roundTo(DType::BF16, 1 + 0x1.8p-7) == 1 + 0x1p-6);
  CHECK(roundTo(DType::BF16, 1 + 0x1p-8 + 0x1p-40) == 1 + 0x1p-7); // float first would round twice
  CHECK(roundTo(DType::F16, 65519.0) == 65504);
  CHECK(roundTo(DType::F16, 65520.0) == kInf);
  CHECK(roundTo(DType::F16, 0x1p-25) == 0);
  CHECK(roundTo(DType::F16, 0x1.8p-25) == 0x1p-24);
  CHECK(std::isnan(roundTo(DType::F16, std::nan(""))));
  for (const DType dtype : {DType::F16, DType::BF16})
    for (int bits = 0; bits < 65536; ++bits) {
      const std::uint16_t in = static_cast<std::uint16_t>(bits);
      std::uint16_t out = 0;
      const double value = loadFloat(&in, dtype, 0);
      storeFloat(&out, dtype, 0, value);
      if (std::isnan(value) ? !std::isnan(loadFloat(&out, dtype, 0)) : in != out)
        FAIL("pattern ", bits, " came back as ", out);
    }
}

TEST_CASE("the plain implementation rounds P to q's dtype, 8 bits excepted, and the output to its own") {
  std::vector<std::uint16_t> q(1), k(3), v(3), out(1);
  for (int i = 0; i < 3; ++i) {
    reference::storeFloat(k.data(), DType::BF16, i, i == 0 ? 1 : 0);
    reference::storeFloat(v.data(), DType::BF16, i, i == 0 ? 1 : 0);
  }
  reference::storeFloat(q.data(), DType::BF16, 0, 1);
  const expr::Formula formula = expr::Formula::identity();
  Call call;
  call.formula = &formula;
  call.q = TensorRef::dense(q.data(), DType::BF16, {1, 1, 1, 1});
  call.k = TensorRef::dense(k.data(), DType::BF16, {1, 1, 3, 1});
  call.v = TensorRef::dense(v.data(), DType::BF16, {1, 1, 3, 1});
  const double exact = std::exp(1.0) / (std::exp(1.0) + 2);
  CHECK(reference::forwardF64(call).out[0] == doctest::Approx(exact).epsilon(1e-12));
  CHECK(reference::forwardPlain(call).out[0] == reference::roundTo(DType::BF16, exact));
  call.outType = DType::F32; // the output is not rounded; P still is
  CHECK(reference::forwardPlain(call).out[0] == reference::roundTo(DType::BF16, exact));

  std::uint8_t small[3] = {0x38, 0, 0}; // 1 in e4m3
  call.q = TensorRef::dense(small, DType::F8E4M3, {1, 1, 1, 1});
  call.k = call.v = TensorRef::dense(small, DType::F8E4M3, {1, 1, 3, 1});
  CHECK(reference::forwardPlain(call).out[0] == doctest::Approx(exact).epsilon(1e-7));
  call.outType = std::nullopt;
  CHECK(reference::forwardPlain(call).out[0] == reference::roundTo(DType::F8E4M3, exact));
}

TEST_CASE("the plain implementation rounds every operation of a formula to f32, and no visibility") {
  std::vector<float> one{0}, value{5}, table{0x1p24f, 1, 1};
  const std::vector<expr::CaptureInfo> infos{{"t", DType::F32, 1}};
  const std::vector<TensorRef> captures{TensorRef::dense(table.data(), DType::F32, {3})};
  const auto maxOf = [&](std::string_view scoreMod, std::string_view maskMod, Output (*forward)(const Call &)) {
    const Result<expr::Formula> formula = expr::parseFormula({scoreMod, maskMod}, infos);
    REQUIRE_MESSAGE(formula, (formula ? "" : formula.error().message));
    Call call;
    call.formula = &*formula;
    std::vector<ScalarArg> scalars(formula->scalars.size()); // the size of t
    expr::bindOwnScalars(*formula, captures, scalars);
    call.bindings = {captures, scalars};
    call.q = call.k = TensorRef::dense(one.data(), DType::F32, {1, 1, 1, 1});
    call.v = TensorRef::dense(value.data(), DType::F32, {1, 1, 1, 1});
    return forward(call).max[0];
  };
  for (const std::string_view sum :
       {"score + t[0] + t[1] + t[2] - t[0]", "score + torch.sum(t) - t[0]", "score + torch.dot(t, t) - t[0] * t[0]"}) {
    CAPTURE(sum);
    CHECK(maxOf(sum, "", reference::forwardF64) == 2);
    CHECK(maxOf(sum, "", reference::forwardPlain) == 0);
  }
  CHECK(maxOf("score + 0.1", "", reference::forwardPlain) == 0.1f);
  CHECK(maxOf("", "t[0] + t[1] > t[0]", reference::forwardPlain) == 0); // f32 would hide the key
}

TEST_CASE("descales are factors of the elements, one for each batch and kv head") {
  // One key head of two, so that query heads 0, 1 and 2, 3 share factors; one key: the output is v.
  std::vector<double> q(4, 1.0), k(2, 3.0), v{5, 7};
  const float qScale = 0.5f, kScale[2] = {2, 4}, vScale[2] = {10, 100};
  const expr::Formula formula = expr::Formula::identity();
  Call call;
  call.formula = &formula;
  call.q = TensorRef::dense(q.data(), DType::F64, {1, 4, 1, 1});
  call.k = TensorRef::dense(k.data(), DType::F64, {1, 2, 1, 1});
  call.v = TensorRef::dense(v.data(), DType::F64, {1, 2, 1, 1});
  call.qDescale = TensorRef::dense(const_cast<float *>(&qScale), DType::F32, {1, 1});
  call.kDescale = TensorRef::dense(const_cast<float *>(kScale), DType::F32, {1, 2});
  call.vDescale = TensorRef::dense(const_cast<float *>(vScale), DType::F32, {1, 2});
  const Output output = reference::forwardF64(call);
  CHECK(output.max == std::vector<double>{3, 3, 6, 6});
  CHECK(output.out == std::vector<double>{50, 50, 700, 700});
}
