// Operands that look like chance, what attention gives for them by its definition in double, and how far a kernel may be from it.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

namespace gpu {

/// The upper half of a float.
struct Bf16 {
  std::uint16_t bits;
};

inline Bf16 toElement(float value, Bf16 /*type*/) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return {static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
inline float toElement(float value, float /*type*/) { return value; }

inline double toDouble(Bf16 element) {
  const std::uint32_t bits = std::uint32_t{element.bits} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline double toDouble(float element) { return element; }

struct Sizes {
  std::int64_t B, Hq, Hkv, M, N, D;
};

/// The two formulas of a case, of positions as the kernel counts them.
struct Formulas {
  std::function<double(double score, std::int64_t h, std::int64_t q, std::int64_t kv)> score;
  std::function<bool(std::int64_t q, std::int64_t kv)> isVisible;
};

template <typename T> std::vector<T> chance(std::int64_t count, std::uint64_t seed) {
  std::vector<T> values(static_cast<std::size_t>(count));
  for (T &value : values) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    value = toElement(static_cast<float>(seed >> 40) / float(1 << 23) - 1.0f, T{});
  }
  return values;
}

/// Dense operands in host memory.
template <typename T> struct Operands {
  explicit Operands(const Sizes &sizes)
      : sizes(sizes), q(chance<T>(sizes.B * sizes.Hq * sizes.M * sizes.D, 1)), k(chance<T>(sizes.B * sizes.Hkv * sizes.N * sizes.D, 2)),
        v(chance<T>(sizes.B * sizes.Hkv * sizes.N * sizes.D, 3)) {}

  Sizes sizes;
  std::vector<T> q, k, v;
};

/// Compares out and lse with the definition; prints the worst errors under `name`. A row without a visible key is 0, its lse -inf (A5).
template <typename T>
bool isRight(const char *name, const Operands<T> &operands, const Formulas &formulas, const std::vector<T> &out,
             const std::vector<float> &lse) {
  const auto [B, Hq, Hkv, M, N, D] = operands.sizes;
  double worst = 0, worstLse = 0;
  std::int64_t emptyRows = 0;
  std::vector<double> sum(static_cast<std::size_t>(D));
  for (std::int64_t row = 0; row < B * Hq * M; ++row) {
    const std::int64_t m = row % M, h = row / M % Hq, b = row / M / Hq;
    const T *q = &operands.q[static_cast<std::size_t>(row * D)];
    const auto first = static_cast<std::size_t>((b * Hkv + h / (Hq / Hkv)) * N * D);
    double weights = 0;
    sum.assign(sum.size(), 0);
    for (std::int64_t n = 0; n < N; ++n) {
      if (!formulas.isVisible(m, n))
        continue;
      const std::size_t key = first + static_cast<std::size_t>(n * D);
      double score = 0;
      for (std::int64_t d = 0; d < D; ++d)
        score += toDouble(q[d]) * toDouble(operands.k[key + static_cast<std::size_t>(d)]);
      const double weight = std::exp(formulas.score(score / std::sqrt(static_cast<double>(D)), h, m, n)); // scores are small
      weights += weight;
      for (std::int64_t d = 0; d < D; ++d)
        sum[static_cast<std::size_t>(d)] += weight * toDouble(operands.v[key + static_cast<std::size_t>(d)]);
    }
    emptyRows += weights == 0;
    for (std::int64_t d = 0; d < D; ++d) {
      const double expected = weights == 0 ? 0 : sum[static_cast<std::size_t>(d)] / weights;
      const double error = std::abs(toDouble(out[static_cast<std::size_t>(row * D + d)]) - expected);
      worst = error <= worst ? worst : error; // NaN counts
    }
    const double got = lse[static_cast<std::size_t>(row)], expected = std::log(weights);
    const double error = got == expected ? 0 : std::abs(got - expected);
    worstLse = error <= worstLse ? worstLse : error;
  }
  const bool isNarrow = sizeof(T) == 2;
  const bool right = worst <= (isNarrow ? 1e-2 : 1e-5) && worstLse <= (isNarrow ? 1e-3 : 1e-5);
  std::printf("%s %s: B=%d Hq=%d Hkv=%d M=%d N=%d D=%d, %d rows without a key: errors %.1e of out, %.1e of lse\n",
              right ? "ok    " : "FAILED", name, int(B), int(Hq), int(Hkv), int(M), int(N), int(D), int(emptyRows), worst, worstLse);
  return right;
}

} // namespace gpu
