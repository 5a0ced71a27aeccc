// What the tests of lib/Expr share: a set of captures with known contents, and evaluation of a text at a position.
#pragma once

#include "Expr/Analysis.h"
#include "Expr/Frontend.h"
#include "Expr/Interp.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace attnjit::expr::test {

inline constexpr std::int64_t kB = 2, kH = 3, kM = 7, kN = 9;

/// Captures that every test may use: slope[H] f32, bias[H, N] f64, doc[B, N] i32, flag[N] bool, off[B] i64, temp[] f32, and numbers w (int
/// 3), p (int 4), cap (float 2.5), on (bool True).
class Captures {
public:
  Captures() {
    for (int h = 0; h < kH; ++h)
      slope[h] = std::exp2(-float(h + 1));
    for (int i = 0; i < kH * kN; ++i)
      bias[i] = 0.25 * i - 1;
    for (int i = 0; i < kB * kN; ++i)
      doc[i] = i % kN / 4;
    for (int i = 0; i < kN; ++i)
      flag[i] = i % 3 == 0;
    tensors = {TensorRef::dense(slope, DType::F32, {kH}),   TensorRef::dense(bias, DType::F64, {kH, kN}),
               TensorRef::dense(doc, DType::I32, {kB, kN}), TensorRef::dense(flag, DType::Bool, {kN}),
               TensorRef::dense(off, DType::I64, {kB}),     TensorRef::dense(temp, DType::F32, {})};
    scalars.resize(4);
    scalars[0].i = 3;
    scalars[1].i = 4;
    scalars[2].f = 2.5;
    scalars[3].i = 1;
  }
  Captures(const Captures &) = delete;

  static const std::vector<CaptureInfo> &infos() {
    static const std::vector<CaptureInfo> kInfos = {
        {"slope", DType::F32, 1}, {"bias", DType::F64, 2}, {"doc", DType::I32, 2}, {"flag", DType::Bool, 1}, {"off", DType::I64, 1},
        {"temp", DType::F32, 0},  {"w", DType::I64, -1},   {"p", DType::I64, -1},  {"cap", DType::F64, -1},  {"on", DType::Bool, -1}};
    return kInfos;
  }
  Bindings bindings() const { return {tensors, scalars}; }

  float slope[kH];
  double bias[kH * kN];
  std::int32_t doc[kB * kN];
  bool flag[kN];
  std::int64_t off[kB] = {2, 5};
  float temp[1] = {1.5f};
  std::vector<TensorRef> tensors;
  std::vector<ScalarArg> scalars;
};

inline Result<Formula> parseScore(std::string_view text) { return parseFormula({text, ""}, Captures::infos()); }
inline Result<Formula> parseMask(std::string_view text) { return parseFormula({"", text}, Captures::infos()); }

/// Parses or fails the test with the message.
inline Formula score(std::string_view text) {
  Result<Formula> formula = parseScore(text);
  INFO(std::string(text));
  REQUIRE_MESSAGE(formula, (formula ? "" : formula.error().message));
  return *formula;
}
inline Formula mask(std::string_view text) {
  Result<Formula> formula = parseMask(text);
  INFO(std::string(text));
  REQUIRE_MESSAGE(formula, (formula ? "" : formula.error().message));
  return *formula;
}

/// Same bits, any NaN equal to any other.
inline bool sameBits(double a, double b) {
  if (std::isnan(a) || std::isnan(b))
    return std::isnan(a) && std::isnan(b);
  return std::memcmp(&a, &b, sizeof a) == 0;
}

/// Deterministic on every standard library, unlike the distributions of <random>.
class Random {
public:
  explicit Random(std::uint64_t seed) : engine(seed) {}
  std::int64_t between(std::int64_t lo, std::int64_t hi) {
    return lo + static_cast<std::int64_t>(engine() % static_cast<std::uint64_t>(hi - lo + 1));
  }
  bool oneIn(int n) { return between(1, n) == 1; }
  template <typename T, std::size_t N> const T &pick(const T (&list)[N]) { return list[between(0, N - 1)]; }

private:
  std::mt19937_64 engine;
};

} // namespace attnjit::expr::test
