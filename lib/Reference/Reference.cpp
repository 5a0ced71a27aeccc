#include "Reference/Reference.h"

#include "Reference/Elements.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

namespace attnjit::reference {

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Dims {
  std::int64_t B, Hq, Hkv, M, N, D, Dv;
  explicit Dims(const Call &call)
      : B(call.q.sizes[0]), Hq(call.q.sizes[1]), Hkv(call.k.sizes[1]), M(call.q.sizes[2]), N(call.k.sizes[2]), D(call.q.sizes[3]),
        Dv(call.v.sizes[3]) {}
  std::int64_t kvHead(std::int64_t h) const { return h / (Hq / Hkv); }
  std::int64_t code(std::int64_t row, std::int64_t kv) const { return row * N + kv; }
};

/// One (batch, head) slice of a rank-4 operand as dense T; `transposed` puts the columns first.
template <typename T> std::vector<T> denseSlice(const TensorRef &x, std::int64_t b, std::int64_t h, bool transposed) {
  const std::int64_t rows = x.sizes[2], cols = x.sizes[3];
  std::vector<T> dense(static_cast<std::size_t>(rows * cols));
  const std::int64_t base = (x.sizes[0] == 1 ? 0 : b) * x.strides[0] + h * x.strides[1];
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t col = 0; col < cols; ++col)
      dense[transposed ? col * rows + row : row * cols + col] =
          static_cast<T>(loadFloat(x.data, x.dtype, base + row * x.strides[2] + col * x.strides[3]));
  return dense;
}

/// Computes rows in the arithmetic of T, one thread at a time. `roundP`: the plain implementation, which stores P and the output at the
/// operands' dtypes.
template <typename T> class RowWorker {
public:
  RowWorker(const Call &call, bool roundP, Output &output)
      : call(call), dims(call), roundP(roundP), output(output), score(*call.formula, call.formula->score, call.bindings),
        mask(*call.formula, call.formula->mask, call.bindings), scores(dims.N), visible(dims.N), sum(dims.Dv) {}

  std::int64_t status = kStatusOk;

  /// `row` = (b * Hq + h) * M + q.
  void compute(std::int64_t row) {
    const std::int64_t q = row % dims.M, h = row / dims.M % dims.Hq, b = row / dims.M / dims.Hq;
    selectHead(b, dims.kvHead(h));
    dotProducts(b, h, q);
    applyFormula(row, {b, h, q, 0});
    softmaxTimesV(row);
  }

private:
  void selectHead(std::int64_t b, std::int64_t kvHead) {
    if (b == currentB && kvHead == currentHead)
      return;
    keysTransposed = denseSlice<T>(call.k, b, kvHead, true);
    values = denseSlice<T>(call.v, b, kvHead, false);
    currentB = b;
    currentHead = kvHead;
  }

  // Along kv for one d at a time: the order of additions of the definition, yet free of a dependence that would forbid vector code.
  void dotProducts(std::int64_t b, std::int64_t h, std::int64_t q) {
    std::fill(scores.begin(), scores.end(), T(0));
    const std::int64_t base = b * call.q.strides[0] + h * call.q.strides[1] + q * call.q.strides[2];
    for (std::int64_t d = 0; d < dims.D; ++d) {
      const T x = static_cast<T>(loadFloat(call.q.data, call.q.dtype, base + d * call.q.strides[3]));
      const T *column = keysTransposed.data() + d * dims.N;
      for (std::int64_t kv = 0; kv < dims.N; ++kv)
        scores[kv] += x * column[kv];
    }
    const T scale = static_cast<T>(call.scale.value_or(1.0 / std::sqrt(static_cast<double>(dims.D))));
    for (T &s : scores)
      s *= scale;
  }

  void applyFormula(std::int64_t row, expr::Position position) {
    const bool allVisible = call.formula->maskIsTrue(), untouched = call.formula->scoreIsIdentity();
    for (std::int64_t kv = 0; kv < dims.N; ++kv) {
      position.kv = kv;
      bool outOfRange = false;
      visible[kv] = allVisible || mask.evaluate(0, position, outOfRange).i != 0;
      if (visible[kv] && !untouched)
        scores[kv] = static_cast<T>(score.evaluate(scores[kv], position, outOfRange).f);
      if (outOfRange)
        status = std::min(status, dims.code(row, kv));
    }
  }

  void softmaxTimesV(std::int64_t row) {
    T max = static_cast<T>(-kInfinity);
    for (std::int64_t kv = 0; kv < dims.N; ++kv)
      if (visible[kv] && !(scores[kv] <= max)) // takes a NaN and keeps it
        max = std::isnan(max) ? max : scores[kv];
    output.max[row] = max;
    if (max == -kInfinity) {
      output.lse[row] = -kInfinity;
      return; // the output is 0 already
    }
    T total = 0;
    for (std::int64_t kv = 0; kv < dims.N; ++kv)
      total += scores[kv] = visible[kv] ? std::exp(scores[kv] - max) : T(0);
    output.lse[row] = max + std::log(total);
    std::fill(sum.begin(), sum.end(), T(0));
    for (std::int64_t kv = 0; kv < dims.N; ++kv) {
      if (!visible[kv])
        continue;
      T p = scores[kv] / total;
      if (roundP)
        p = static_cast<T>(roundTo(call.v.dtype, p));
      const T *v = values.data() + kv * dims.Dv;
      for (std::int64_t d = 0; d < dims.Dv; ++d)
        sum[d] += p * v[d];
    }
    for (std::int64_t d = 0; d < dims.Dv; ++d)
      output.out[row * dims.Dv + d] = roundP ? roundTo(call.q.dtype, sum[d]) : static_cast<double>(sum[d]);
  }

  const Call &call;
  const Dims dims;
  const bool roundP;
  Output &output;
  expr::Interp score, mask;
  std::vector<T> scores;
  std::vector<char> visible;
  std::vector<T> sum, keysTransposed, values;
  std::int64_t currentB = -1, currentHead = -1;
};

template <typename T> Output forward(const Call &call, bool roundP) {
  const Dims dims(call);
  const std::int64_t rows = dims.B * dims.Hq * dims.M;
  Output output;
  output.out.assign(static_cast<std::size_t>(rows * dims.Dv), 0);
  output.lse.assign(static_cast<std::size_t>(rows), 0);
  output.max.assign(static_cast<std::size_t>(rows), 0);
  if (rows == 0)
    return output;

  constexpr std::int64_t kChunk = 64;
  std::atomic<std::int64_t> nextChunk{0}, status{kStatusOk};
  const auto work = [&] {
    RowWorker<T> worker(call, roundP, output);
    for (;;) {
      const std::int64_t begin = nextChunk.fetch_add(kChunk);
      if (begin >= rows)
        break;
      for (std::int64_t row = begin; row < std::min(rows, begin + kChunk); ++row)
        if (row % dims.M % call.rowStep == 0)
          worker.compute(row);
    }
    std::int64_t seen = status.load();
    while (worker.status < seen && !status.compare_exchange_weak(seen, worker.status)) {
    }
  };
  std::vector<std::thread> helpers;
  const std::int64_t wanted = std::min<std::int64_t>(std::max(call.threads, 1), (rows + kChunk - 1) / kChunk);
  for (std::int64_t i = 1; i < wanted; ++i)
    helpers.emplace_back(work);
  work();
  for (std::thread &helper : helpers)
    helper.join();
  output.status = status;
  return output;
}

} // namespace

Output forwardF64(const Call &call) { return forward<double>(call, false); }

Output forwardPlain(const Call &call) { return call.q.dtype == DType::F64 ? forward<double>(call, true) : forward<float>(call, true); }

} // namespace attnjit::reference
