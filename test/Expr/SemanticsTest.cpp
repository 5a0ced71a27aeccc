// What formulas mean: each text against the same thing written in C++ by hand.
#include "ExprTestUtil.h"

#include <algorithm>
#include <functional>
#include <limits>

using namespace attnjit;
using namespace attnjit::expr;
using namespace attnjit::expr::test;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct At {
  double s;
  std::int64_t b, h, q, k;
};

std::int64_t pyDiv(std::int64_t x, std::int64_t y) { return static_cast<std::int64_t>(std::floor(double(x) / double(y))); }
std::int64_t pyMod(std::int64_t x, std::int64_t y) { return x - y * pyDiv(x, y); }

const Captures &captures() {
  static const Captures kCaptures;
  return kCaptures;
}

struct ScoreCase {
  const char *text;
  std::function<double(const At &)> expected;
};
struct MaskCase {
  const char *text;
  std::function<bool(const At &)> expected;
};

const double kScores[] = {0.0, -0.0, 1.0, -1.5, 2.5, 0.5, -0.5, 3.25, 700.0, -700.0, kInf, -kInf, kNan};

void check(const Formula &formula, const Function &function, const char *text,
           const std::function<void(const At &, const Value &)> &compare) {
  Interp interp(formula, function, captures().bindings());
  for (std::int64_t b = 0; b < kB; ++b)
    for (std::int64_t h = 0; h < kH; ++h)
      for (std::int64_t q = 0; q < kM; ++q)
        for (std::int64_t k = 0; k < kN; ++k) {
          const At at{kScores[(q * kN + k + h) % std::size(kScores)], b, h, q, k};
          bool outOfRange = false;
          const Value value = interp.evaluate(at.s, {b, h, q, k}, outOfRange);
          CHECK_MESSAGE(!outOfRange, text);
          compare(at, value);
        }
}

void checkScore(const ScoreCase &row) {
  const Formula formula = score(row.text);
  check(formula, formula.score, row.text, [&](const At &at, const Value &value) {
    const double expected = row.expected(at);
    const bool close =
        sameBits(value.f, expected) || value.f == expected || std::fabs(value.f - expected) <= 1e-13 * std::max(1.0, std::fabs(expected));
    CHECK_MESSAGE(close, row.text, " at score ", at.s, " q ", at.q, " kv ", at.k, ": ", value.f, ", expected ", expected);
  });
}

void checkMask(const MaskCase &row) {
  const Formula formula = mask(row.text);
  check(formula, formula.mask, row.text, [&](const At &at, const Value &value) {
    CHECK_MESSAGE((value.i == 1) == row.expected(at), row.text, " at b ", at.b, " h ", at.h, " q ", at.q, " kv ", at.k);
    CHECK((value.i == 0 || value.i == 1));
  });
}

} // namespace

TEST_CASE("arithmetic follows Python and promotes bool, int, float") {
  const ScoreCase kCases[] = {
      {"score", [](const At &a) { return a.s; }},
      {"score + 1", [](const At &a) { return a.s + 1; }},
      {"1 - score", [](const At &a) { return 1 - a.s; }},
      {"score * 2.5e-1", [](const At &a) { return a.s * 0.25; }},
      {"score / 3", [](const At &a) { return a.s / 3; }},
      {"q_idx / 2", [](const At &a) { return a.q / 2.0; }},
      {"(q_idx - kv_idx) // 3", [](const At &a) { return double(pyDiv(a.q - a.k, 3)); }},
      {"(q_idx - kv_idx) // -3", [](const At &a) { return double(pyDiv(a.q - a.k, -3)); }},
      {"(q_idx - kv_idx) % 3", [](const At &a) { return double(pyMod(a.q - a.k, 3)); }},
      {"(q_idx - kv_idx) % -3", [](const At &a) { return double(pyMod(a.q - a.k, -3)); }},
      {"(q_idx - kv_idx) % 0 + (q_idx // 0)", [](const At &) { return 0.0; }},
      {"(q_idx - kv_idx) / 2.0 // 1.5", [](const At &a) { return std::floor((a.q - a.k) / 2.0 / 1.5); }},
      {"(q_idx - kv_idx) % 2.5",
       [](const At &a) {
         const double x = double(a.q - a.k), r = std::fmod(x, 2.5);
         return r < 0 ? r + 2.5 : r;
       }},
      {"2 ** 3 ** 2", [](const At &) { return 512.0; }},
      {"-2 ** 2", [](const At &) { return -4.0; }},
      {"2 ** -1.0", [](const At &) { return 0.5; }},
      {"q_idx ** 2 - kv_idx ** 3", [](const At &a) { return double(a.q * a.q - a.k * a.k * a.k); }},
      {"w ** q_idx", [](const At &a) { return std::pow(3.0, double(a.q)); }},
      {"score ** 2", [](const At &a) { return a.s * a.s; }},
      {"1 + 2 * 3 - 4 // 3", [](const At &) { return 6.0; }},
      {"(1 << 4) + (256 >> 3) + (5 & 6) + (5 | 6) + (5 ^ 6)", [](const At &) { return 16.0 + 32 + 4 + 7 + 3; }},
      {"~q_idx", [](const At &a) { return double(~a.q); }},
      {"1 << q_idx", [](const At &a) { return double(1 << a.q); }},
      {"(w << 64) + (w << -1) + (-w >> 64)", [](const At &) { return -1.0; }},
      {"0x1F + 0b101 + 0o17 + 1_000", [](const At &) { return 31.0 + 5 + 15 + 1000; }},
      {"+score - -score", [](const At &a) { return a.s + a.s; }},
      {"score + True", [](const At &a) { return a.s + 1; }},
      {"score + (q_idx > 2) * 3", [](const At &a) { return a.s + (a.q > 2) * 3; }},
      {"score + on", [](const At &a) { return a.s + 1; }},
      {"q_idx", [](const At &a) { return double(a.q); }},
      {"True + 1", [](const At &) { return 2.0; }},
      {"1e400", [](const At &) { return kInf; }},
      {"batch + 10 * head", [](const At &a) { return double(a.b + 10 * a.h); }},
  };
  for (const ScoreCase &row : kCases)
    checkScore(row);
}

TEST_CASE("comparisons and logic") {
  const MaskCase kCases[] = {
      {"q_idx >= kv_idx", [](const At &a) { return a.q >= a.k; }},
      {"q_idx > kv_idx", [](const At &a) { return a.q > a.k; }},
      {"q_idx < kv_idx", [](const At &a) { return a.q < a.k; }},
      {"q_idx <= kv_idx", [](const At &a) { return a.q <= a.k; }},
      {"q_idx == kv_idx", [](const At &a) { return a.q == a.k; }},
      {"q_idx != kv_idx", [](const At &a) { return a.q != a.k; }},
      {"0 <= q_idx - kv_idx < 3", [](const At &a) { return a.q - a.k >= 0 && a.q - a.k < 3; }},
      {"0 < b == h < q_idx", [](const At &a) { return 0 < a.b && a.b == a.h && a.h < a.q; }},
      {"q_idx >= kv_idx and q_idx - kv_idx <= w", [](const At &a) { return a.q >= a.k && a.q - a.k <= 3; }},
      {"(q_idx >= kv_idx) & (q_idx - kv_idx <= w)", [](const At &a) { return a.q >= a.k && a.q - a.k <= 3; }},
      {"kv_idx < p or not q_idx < kv_idx", [](const At &a) { return a.k < 4 || a.q >= a.k; }},
      {"(kv_idx < p) | ~(q_idx < kv_idx)", [](const At &a) { return a.k < 4 || a.q >= a.k; }},
      {"(kv_idx < p) ^ (q_idx < 3)", [](const At &a) { return (a.k < 4) != (a.q < 3); }},
      {"(kv_idx < p) == (q_idx < 3)", [](const At &a) { return (a.k < 4) == (a.q < 3); }},
      {"(kv_idx < p) != (q_idx < 3)", [](const At &a) { return (a.k < 4) != (a.q < 3); }},
      {"(kv_idx < p) > (q_idx < 3)", [](const At &a) { return (a.k < 4) > (a.q < 3); }},
      {"(kv_idx < p) + (q_idx < 3)", [](const At &a) { return a.k < 4 || a.q < 3; }},
      {"(kv_idx < p) * (q_idx < 3)", [](const At &a) { return a.k < 4 && a.q < 3; }},
      {"not (q_idx > 3) == True", [](const At &a) { return !((a.q > 3) == true); }},
      {"q_idx & 3 == 1", [](const At &a) { return (a.q & 3) == 1; }},
      {"q_idx & (kv_idx > 2) == 1", [](const At &a) { return (a.q & (a.k > 2)) == 1; }},
      {"True", [](const At &) { return true; }},
      {"False", [](const At &) { return false; }},
      {"on", [](const At &) { return true; }},
      {"q_idx > 2 if b == 0 else kv_idx > 2", [](const At &a) { return a.b == 0 ? a.q > 2 : a.k > 2; }},
      {"torch.logical_and(q_idx, kv_idx)", [](const At &a) { return a.q && a.k; }},
      {"torch.logical_or(q_idx > 2, kv_idx)", [](const At &a) { return a.q > 2 || a.k; }},
      {"torch.logical_xor(q_idx > 2, kv_idx > 3)", [](const At &a) { return (a.q > 2) != (a.k > 3); }},
      {"torch.logical_not(q_idx)", [](const At &a) { return !a.q; }},
      {"(q_idx - kv_idx).abs() <= w", [](const At &a) { return std::abs(a.q - a.k) <= 3; }},
      {"abs(q_idx - kv_idx) <= w", [](const At &a) { return std::abs(a.q - a.k) <= 3; }},
      {"(q_idx - kv_idx) % 3 == 0", [](const At &a) { return pyMod(a.q - a.k, 3) == 0; }},
      {"torch.remainder(q_idx - kv_idx, 3).eq(0)", [](const At &a) { return pyMod(a.q - a.k, 3) == 0; }},
      {"torch.fmod(q_idx - kv_idx, 3) == -1", [](const At &a) { return (a.q - a.k) % 3 == -1; }},
      {"q_idx.ge(kv_idx) & kv_idx.lt(p) | h.ne(1)", [](const At &a) { return (a.q >= a.k && a.k < 4) || a.h != 1; }},
      {"torch.gt(q_idx, 2) & torch.le(kv_idx, 5)", [](const At &a) { return a.q > 2 && a.k <= 5; }},
      {"(q_idx / 2).floor() == kv_idx // 2", [](const At &a) { return a.q / 2 == a.k / 2; }},
      {"bool(q_idx)", [](const At &a) { return a.q != 0; }},
      {"(q_idx * 1.0).bool()", [](const At &a) { return a.q != 0; }},
      {"q_idx.to(torch.bool)", [](const At &a) { return a.q != 0; }},
      {"torch.isnan(q_idx) | torch.isinf(q_idx) | ~torch.isfinite(q_idx)", [](const At &) { return false; }},
      {"lambda x, y, z, t: z >= t", [](const At &a) { return a.q >= a.k; }},
      {"causal = lambda b, h, i, j: i >= j", [](const At &a) { return a.q >= a.k; }},
  };
  for (const MaskCase &row : kCases)
    checkMask(row);
}

TEST_CASE("captures: scalars, tensors, chained and negative indices") {
  const Captures &c = captures();
  const ScoreCase kScoresOf[] = {
      {"score + slope[h] * (kv_idx - q_idx)", [&](const At &a) { return a.s + double(c.slope[a.h]) * double(a.k - a.q); }},
      {"bias[h, kv_idx]", [&](const At &a) { return c.bias[a.h * kN + a.k]; }},
      {"bias[h][kv_idx]", [&](const At &a) { return c.bias[a.h * kN + a.k]; }},
      {"bias[h, (q_idx - kv_idx)]",
       [&](const At &a) {
         const auto i = a.q - a.k;
         return c.bias[a.h * kN + (i < 0 ? i + kN : i)];
       }},
      {"slope[-1] + slope[-3]", [&](const At &) { return double(c.slope[2]) + double(c.slope[0]); }},
      {"temp * cap", [&](const At &) { return 1.5 * 2.5; }},
      {"score.clamp(-cap, cap)", [](const At &a) { return std::isnan(a.s) ? kNan : std::min(std::max(a.s, -2.5), 2.5); }},
      {"cap * torch.tanh(score / cap)", [](const At &a) { return 2.5 * std::tanh(a.s / 2.5); }},
  };
  for (const ScoreCase &row : kScoresOf)
    checkScore(row);
  const MaskCase kMasks[] = {
      {"doc[b, q_idx] == doc[b, kv_idx]", [&](const At &a) { return a.q / 4 == a.k / 4; }},
      {"doc[b][q_idx] == doc[b][kv_idx] and q_idx >= kv_idx", [&](const At &a) { return a.q / 4 == a.k / 4 && a.q >= a.k; }},
      {"flag[kv_idx]", [&](const At &a) { return a.k % 3 == 0; }},
      {"flag[kv_idx] | (q_idx + off[b] >= kv_idx)", [&](const At &a) { return a.k % 3 == 0 || a.q + c.off[a.b] >= a.k; }},
      {"flag[doc[b, kv_idx]]", [&](const At &a) { return a.k / 4 % 3 == 0; }},
  };
  for (const MaskCase &row : kMasks)
    checkMask(row);
}

TEST_CASE("functions of torch and math, free, prefixed and as methods") {
  const ScoreCase kCases[] = {
      {"torch.abs(score)", [](const At &a) { return std::fabs(a.s); }},
      {"torch.sign(score) + (q_idx - kv_idx).sign()", [](const At &a) { return (a.s > 0) - (a.s < 0) + double((a.q > a.k) - (a.q < a.k)); }},
      {"torch.exp(score)", [](const At &a) { return std::exp(a.s); }},
      {"math.exp2(score)", [](const At &a) { return std::exp2(a.s); }},
      {"score.expm1()", [](const At &a) { return std::expm1(a.s); }},
      {"log(score)", [](const At &a) { return std::log(a.s); }},
      {"math.log(score, 2)", [](const At &a) { return std::log(a.s) / std::log(2.0); }},
      {"torch.log2(score) + score.log10() + torch.log1p(score)", [](const At &a) { return std::log2(a.s) + std::log10(a.s) + std::log1p(a.s); }},
      {"torch.sqrt(score)", [](const At &a) { return std::sqrt(a.s); }},
      {"torch.rsqrt(score)", [](const At &a) { return 1 / std::sqrt(a.s); }},
      {"sin(score) + cos(score) + tan(score)", [](const At &a) { return std::sin(a.s) + std::cos(a.s) + std::tan(a.s); }},
      {"torch.asin(score) + torch.arccos(score) + math.atan(score)", [](const At &a) { return std::asin(a.s) + std::acos(a.s) + std::atan(a.s); }},
      {"torch.atan2(score, q_idx)", [](const At &a) { return std::atan2(a.s, double(a.q)); }},
      {"sinh(score) + cosh(score) + tanh(score)", [](const At &a) { return std::sinh(a.s) + std::cosh(a.s) + std::tanh(a.s); }},
      {"asinh(score)", [](const At &a) { return std::asinh(a.s); }},
      {"acosh(score) + atanh(score)", [](const At &a) { return std::acosh(a.s) + std::atanh(a.s); }},
      {"torch.erf(torch.erfinv(torch.sin(score)))", [](const At &a) { return std::sin(a.s); }},
      {"torch.erf(score) + torch.special.erfc(score)", [](const At &a) { return std::erf(a.s) + std::erfc(a.s); }},
      {"math.hypot(score, 3)", [](const At &a) { return std::hypot(a.s, 3.0); }},
      {"torch.floor(score) + score.ceil() + torch.round(score) + torch.trunc(score)",
       [](const At &a) { return std::floor(a.s) + std::ceil(a.s) + std::nearbyint(a.s) + std::trunc(a.s); }},
      {"torch.frac(score)", [](const At &a) { return a.s - std::trunc(a.s); }},
      {"slope[math.floor(q_idx / 3)]", [](const At &a) { return double(captures().slope[a.q / 3]); }},
      {"max(score, 0)", [](const At &a) { return std::isnan(a.s) ? kNan : std::max(a.s, 0.0); }},
      {"torch.minimum(score, torch.tensor(1.0))", [](const At &a) { return std::isnan(a.s) ? kNan : std::min(a.s, 1.0); }},
      {"max(q_idx, kv_idx, 4) - min(q_idx, kv_idx)", [](const At &a) { return double(std::max({a.q, a.k, std::int64_t(4)}) - std::min(a.q, a.k)); }},
      {"torch.fmax(score, 0)", [](const At &a) { return std::isnan(a.s) ? 0.0 : std::max(a.s, 0.0); }},
      {"torch.clamp(score, min=-1)", [](const At &a) { return std::isnan(a.s) ? kNan : std::max(a.s, -1.0); }},
      {"score.clamp(max=1, min=-1)", [](const At &a) { return std::isnan(a.s) ? kNan : std::clamp(a.s, -1.0, 1.0); }},
      {"score.clamp(None, 1) + score.clamp_max(1)", [](const At &a) { return std::isnan(a.s) ? kNan : 2 * std::min(a.s, 1.0); }},
      {"(q_idx - kv_idx).clamp(0, 3)", [](const At &a) { return double(std::clamp<std::int64_t>(a.q - a.k, 0, 3)); }},
      {"torch.where(q_idx >= kv_idx, score, -float('inf'))", [](const At &a) { return a.q >= a.k ? a.s : -kInf; }},
      {"score.where(q_idx >= kv_idx, float(\"-inf\"))", [](const At &a) { return a.q >= a.k ? a.s : -kInf; }},
      {"score.masked_fill(q_idx < kv_idx, -math.inf)", [](const At &a) { return a.q >= a.k ? a.s : -kInf; }},
      {"score if q_idx > 2 else 1 if kv_idx > 2 else q_idx", [](const At &a) { return a.q > 2 ? a.s : a.k > 2 ? 1.0 : double(a.q); }},
      {"torch.sigmoid(score)", [](const At &a) { return 1 / (1 + std::exp(-a.s)); }},
      {"F.relu(score)", [](const At &a) { return std::isnan(a.s) ? kNan : std::max(a.s, 0.0); }},
      {"torch.nn.functional.relu6(score)", [](const At &a) { return std::isnan(a.s) ? kNan : std::clamp(a.s, 0.0, 6.0); }},
      {"F.gelu(score)", [](const At &a) { return 0.5 * a.s * (1 + std::erf(a.s * std::sqrt(0.5))); }},
      {"F.gelu(score, approximate='tanh')",
       [](const At &a) { return 0.5 * a.s * (1 + std::tanh(std::sqrt(2 / M_PI) * (a.s + 0.044715 * a.s * a.s * a.s))); }},
      {"F.silu(score)", [](const At &a) { return a.s / (1 + std::exp(-a.s)); }},
      {"F.softplus(score)", [](const At &a) { return a.s > 20 ? a.s : std::log1p(std::exp(a.s)); }},
      {"F.softplus(score, beta=2, threshold=1)", [](const At &a) { return 2 * a.s > 1 ? a.s : std::log1p(std::exp(2 * a.s)) / 2; }},
      {"F.logsigmoid(score)", [](const At &a) { return std::isnan(a.s) ? kNan : std::min(a.s, 0.0) - std::log1p(std::exp(-std::fabs(a.s))); }},
      {"F.mish(score)", [](const At &a) { return a.s * std::tanh(a.s > 20 ? a.s : std::log1p(std::exp(a.s))); }},
      {"F.elu(score, 2)", [](const At &a) { return a.s > 0 ? a.s : 2 * std::expm1(a.s); }},
      {"F.leaky_relu(score)", [](const At &a) { return a.s > 0 ? a.s : 0.01 * a.s; }},
      {"F.hardtanh(score)", [](const At &a) { return std::isnan(a.s) ? kNan : std::clamp(a.s, -1.0, 1.0); }},
      {"F.hardsigmoid(score)", [](const At &a) { return std::isnan(a.s) ? kNan : std::clamp(a.s + 3, 0.0, 6.0) / 6; }},
      {"F.softsign(score) + F.tanhshrink(score)", [](const At &a) { return a.s / (1 + std::fabs(a.s)) + (a.s - std::tanh(a.s)); }},
      {"torch.square(score) + q_idx.square()", [](const At &a) { return a.s * a.s + double(a.q * a.q); }},
      {"torch.reciprocal(score)", [](const At &a) { return 1 / a.s; }},
      {"torch.lerp(score, cap, 0.25)", [](const At &a) { return a.s + (2.5 - a.s) * 0.25; }},
      {"torch.pow(score, 3) + math.pow(q_idx, 2)", [](const At &a) { return a.s * a.s * a.s + double(a.q * a.q); }},
      {"torch.div(q_idx - kv_idx, 3, rounding_mode='trunc')", [](const At &a) { return double((a.q - a.k) / 3); }},
      {"torch.div(q_idx - kv_idx, 3, rounding_mode='floor')", [](const At &a) { return double(pyDiv(a.q - a.k, 3)); }},
      {"(q_idx + 1.0) // 0.1", [](const At &a) { return 10 * double(a.q) + 9; }}, // 0.1 is more than a tenth, though 1 / 0.1 rounds to 10
      {"torch.div(q_idx - kv_idx, 4)", [](const At &a) { return double(a.q - a.k) / 4; }},
      {"torch.floor_divide(q_idx - kv_idx, 3) + torch.true_divide(q_idx, 4)", [](const At &a) { return double(pyDiv(a.q - a.k, 3)) + double(a.q) / 4; }},
      {"torch.logaddexp(score, 1)",
       [](const At &a) { return std::isnan(a.s) ? kNan : std::max(a.s, 1.0) + std::log1p(std::exp(-std::fabs(a.s - 1))); }},
      {"torch.nan_to_num(score, 7, posinf=8, neginf=9)", [](const At &a) { return std::isnan(a.s) ? 7 : a.s == kInf ? 8 : a.s == -kInf ? 9 : a.s; }},
      {"score.isnan().float() + score.isinf() * 2 + score.isfinite().int() * 4", [](const At &a) { return std::isnan(a.s) ? 1.0 : std::isinf(a.s) ? 2.0 : 4.0; }},
      {"torch.isposinf(score) * 1 + torch.isneginf(score) * 2", [](const At &a) { return a.s == kInf ? 1.0 : a.s == -kInf ? 2.0 : 0.0; }},
      {"int(score.clamp(-9, 9)) + (score / 2).clamp(-9, 9).int() * 100",
       [](const At &a) { return std::isnan(a.s) ? 0.0 : std::trunc(std::clamp(a.s, -9.0, 9.0)) + 100 * std::trunc(std::clamp(a.s / 2, -9.0, 9.0)); }},
      {"q_idx.float() / 4 + q_idx.to(torch.float32) + q_idx.type(score.dtype)", [](const At &a) { return double(a.q) / 4 + 2 * double(a.q); }},
      {"torch.zeros_like(score) + torch.ones_like(q_idx) + torch.full_like(score, 3)", [](const At &) { return 4.0; }},
      {"math.pi + math.e + torch.pi + math.tau + pi", [](const At &) { return M_PI * 3 + M_E + 2 * M_PI; }},
      {"float('inf') if q_idx > kv_idx else torch.inf if q_idx == kv_idx else -math.inf", [](const At &a) { return a.q >= a.k ? kInf : -kInf; }},
      {"float('1e-3') + float('nan')", [](const At &) { return kNan; }},
      {"torch.deg2rad(q_idx) + math.degrees(kv_idx)", [](const At &a) { return double(a.q) * M_PI / 180 + double(a.k) * 180 / M_PI; }},
  };
  for (const ScoreCase &row : kCases)
    checkScore(row);
}

TEST_CASE("def: docstrings, comments, all kinds of assignment, helpers") {
  checkScore({R"(
def score_mod(score: float, b, h, q_idx, kv_idx) -> float:
    """Softcap, then ALiBi.

    Two steps."""
    capped = cap * torch.tanh(score / cap)  # soft cap
    distance: int = kv_idx - q_idx
    slope_here = slope[h]; scaled = slope_here * distance

    # augmented
    capped += scaled
    capped -= 1
    capped *= 2
    capped /= 4
    return capped
)",
              [](const At &a) { return (2.5 * std::tanh(a.s / 2.5) + double(captures().slope[a.h]) * double(a.k - a.q) - 1) * 2 / 4; }});
  checkScore({"def f(s, b, h, i, j): return s + i if i > j else \\\n  s - j",
              [](const At &a) { return a.q > a.k ? a.s + double(a.q) : a.s - double(a.k); }});
  checkScore(
      {"    def f(s, b, h, i, j):\n\n        x = (s +\n   1)\n\n        x //= 1\n        x %= 5\n        x **= 2\n        return x\n",
       [](const At &a) {
         double x = std::floor(a.s + 1);
         const double r = std::fmod(x, 5.0);
         x = r < 0 ? r + 5 : r;
         return x * x;
       }});
  checkMask({R"(import torch
from torch import where

def window(i, j, size):
	x = i - j
	return (x >= 0) & (x <= size)

def near(i, j):
	return window(i, j, size=w) | window(j, i, w)

def mask_mod(b, h, q_idx, kv_idx):
	return near(q_idx, kv_idx) | (kv_idx == 0)
)",
             [](const At &a) { return std::abs(a.q - a.k) <= 3 || a.k == 0; }});
  checkMask(
      {"def f(b, h, i, j):\n    i <<= 1\n    i >>= 1\n    m = i >= j\n    m &= i - j < 3\n    m |= j == 0\n    m ^= True\n    return m",
       [](const At &a) { return !((a.q >= a.k && a.q - a.k < 3) || a.k == 0); }});
}

TEST_CASE("an expression or lambda may run over several lines") {
  checkScore(
      {"score\n  + slope[h]\n  * (kv_idx - q_idx)\n", [](const At &a) { return a.s + double(captures().slope[a.h]) * double(a.k - a.q); }});
  checkMask({"lambda b, h, q, kv: (  # causal\n   q >= kv\n)", [](const At &a) { return a.q >= a.k; }});
}

TEST_CASE("empty texts are the defaults") {
  const Result<Formula> formula = parseFormula({"", " \n"}, {});
  REQUIRE(formula);
  CHECK(formula->scoreIsIdentity());
  CHECK(formula->maskIsTrue());
  CHECK(print(*formula) == print(Formula::identity()));
}

TEST_CASE("captures appear in their order, used or not") {
  const Formula formula = mask("kv_idx < p");
  REQUIRE(formula.captures.size() == 6);
  REQUIRE(formula.scalars.size() == 4);
  CHECK(formula.captures[2].name == "doc");
  CHECK(formula.captures[2].dtype == DType::I32);
  CHECK(formula.captures[2].rank == 2);
  CHECK(formula.scalars[1].name == "p");
  CHECK(formula.scalars[1].kind == Kind::Int);
  CHECK(formula.scalars[3].kind == Kind::Bool);
}
