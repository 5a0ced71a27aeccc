#include "Reference/Reference.h"

#include "Expr/EvalOp.h"
#include "Expr/LaneInterp.h"
#include "Reference/Elements.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <thread>
#include <type_traits>

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

/// The factor of a kv head.
double descaleOf(const std::optional<TensorRef> &descale, std::int64_t b, std::int64_t kvHead) {
  if (!descale)
    return 1;
  const std::int64_t batch = descale->sizes[0] == 1 ? 0 : b, head = descale->sizes[1] == 1 ? 0 : kvHead;
  return loadFloat(descale->data, descale->dtype, batch * descale->strides[0] + head * descale->strides[1]);
}

/// One (batch, head) slice of a rank-4 operand, times `factor`, as dense T; `transposed` puts the columns first.
template <typename T> std::vector<T> denseSlice(const TensorRef &x, double factor, std::int64_t b, std::int64_t h, bool transposed) {
  const std::int64_t rows = x.sizes[2], cols = x.sizes[3];
  std::vector<T> dense(static_cast<std::size_t>(rows * cols));
  const std::int64_t base = (x.sizes[0] == 1 ? 0 : b) * x.strides[0] + h * x.strides[1];
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t col = 0; col < cols; ++col)
      dense[transposed ? col * rows + row : row * cols + col] =
          static_cast<T>(factor * loadFloat(x.data, x.dtype, base + row * x.strides[2] + col * x.strides[3]));
  return dense;
}

/// A function of the formula at the keys of a row: many at a time, and singly where an index leaves its tensor, to tell whose.
class RowOfKeys {
public:
  RowOfKeys(const Call &call, const expr::Function &function, expr::Floats floats)
      : single(*call.formula, function, call.bindings, floats), result(function.result),
        isFloat(function[function.result].kind == expr::Kind::Float),
        lanes(function, call.bindings, {&result, 1}, expr::Param::Kv, floats) {}

  /// For each kv of [0, count): use(kv, value, outOfRange). `scores` may be null, and so may `wanted`, which says for what keys else.
  template <typename T> void evaluate(expr::Position at, std::int64_t count, const T *scores, const char *wanted, auto use) {
    for (std::int64_t first = 0; first < count; first += expr::LaneInterp::kLanes) {
      const int size = static_cast<int>(std::min<std::int64_t>(expr::LaneInterp::kLanes, count - first));
      if (scores)
        std::copy_n(scores + first, size, given);
      at.kv = first;
      const bool someOutside = lanes.run(at, 1, size, scores ? given : nullptr);
      for (int i = 0; i < size; ++i) {
        at.kv = first + i;
        bool outOfRange = false;
        if (wanted && !wanted[at.kv])
          continue;
        const expr::Value value = someOutside ? single.evaluate(scores ? given[i] : 0, at, outOfRange) : lane(i);
        use(at.kv, value, outOfRange);
      }
    }
  }

private:
  expr::Value lane(int i) const { return isFloat ? expr::Value{0, lanes.floats(result)[i]} : expr::Value{lanes.ints(result)[i], 0}; }

  expr::Interp single;
  const expr::ValueId result;
  const bool isFloat;
  expr::LaneInterp lanes;
  double given[expr::LaneInterp::kLanes];
};

/// Computes rows in the arithmetic of T, one thread at a time. `plain`: the plain implementation, which stores P and the output in few
/// bits.
template <typename T> class RowWorker {
public:
  RowWorker(const Call &call, bool plain, Output &output)
      : call(call), dims(call), plain(plain), outType(call.outType.value_or(call.q.dtype)), roundsP(plain && !isFloat8(call.q.dtype)),
        output(output), score(call, call.formula->score, kFloats), mask(call, call.formula->mask, expr::Floats::F64),
        prob(call, call.formula->prob, kFloats), scores(dims.N), visible(dims.N), sum(dims.Dv) {}

  std::int64_t status = kStatusOk;

  /// `row` = (b * Hq + h) * M + q.
  void compute(std::int64_t row) {
    const std::int64_t q = row % dims.M, h = row / dims.M % dims.Hq, b = row / dims.M / dims.Hq;
    selectHead(b, dims.kvHead(h));
    dotProducts(b, h, q);
    applyFormula(row, {b, h, q, 0});
    softmaxTimesV(row, {b, h, q, 0});
  }

private:
  /// Of score_mod and prob_mod. mask_mod is always computed in f64: a key that f32 shows and f64 hides would make a yardstick of any
  /// length.
  static constexpr expr::Floats kFloats = std::is_same_v<T, float> ? expr::Floats::F32 : expr::Floats::F64;

  void selectHead(std::int64_t b, std::int64_t kvHead) {
    if (b == currentB && kvHead == currentHead)
      return;
    keysTransposed = denseSlice<T>(call.k, descaleOf(call.kDescale, b, kvHead), b, kvHead, true);
    values = denseSlice<T>(call.v, descaleOf(call.vDescale, b, kvHead), b, kvHead, false);
    currentB = b;
    currentHead = kvHead;
  }

  // Along kv for one d at a time: the order of additions of the definition, yet free of a dependence that would forbid vector code.
  void dotProducts(std::int64_t b, std::int64_t h, std::int64_t q) {
    std::fill(scores.begin(), scores.end(), T(0));
    const double factor = descaleOf(call.qDescale, b, dims.kvHead(h));
    const std::int64_t base = b * call.q.strides[0] + h * call.q.strides[1] + q * call.q.strides[2];
    for (std::int64_t d = 0; d < dims.D; ++d) {
      const T x = static_cast<T>(factor * loadFloat(call.q.data, call.q.dtype, base + d * call.q.strides[3]));
      const T *column = keysTransposed.data() + d * dims.N;
      for (std::int64_t kv = 0; kv < dims.N; ++kv)
        scores[kv] += x * column[kv];
    }
    const T scale = static_cast<T>(call.scale.value_or(1.0 / std::sqrt(static_cast<double>(dims.D))));
    for (T &s : scores)
      s *= scale;
    if (const T cap = static_cast<T>(call.softcap); cap != 0)
      for (T &s : scores)
        s = cap * std::tanh(s / cap);
  }

  void applyFormula(std::int64_t row, const expr::Position &position) {
    std::fill(visible.begin(), visible.end(), true);
    if (!call.formula->maskIsTrue())
      mask.evaluate<T>(position, dims.N, nullptr, nullptr, [&](std::int64_t kv, const expr::Value &value, bool outOfRange) {
        visible[kv] = value.i != 0;
        note(outOfRange, row, kv);
      });
    if (!call.formula->scoreIsIdentity())
      mapVisible(score, row, position);
  }

  /// scores become what score_mod or prob_mod makes of them, where a key is visible.
  void mapVisible(RowOfKeys &function, std::int64_t row, const expr::Position &position) {
    function.evaluate(position, dims.N, scores.data(), visible.data(), [&](std::int64_t kv, const expr::Value &value, bool outOfRange) {
      scores[kv] = static_cast<T>(value.f);
      note(outOfRange, row, kv);
    });
  }

  void note(bool outOfRange, std::int64_t row, std::int64_t kv) {
    if (outOfRange)
      status = std::min(status, dims.code(row, kv));
  }

  /// The sink of a head as one more logit; -inf, which is none, if there are no sinks.
  T sinkOf(std::int64_t h) const {
    return call.sinks ? static_cast<T>(loadFloat(call.sinks->data, call.sinks->dtype, h * call.sinks->strides[0]))
                      : static_cast<T>(-kInfinity);
  }

  void applyDropout(std::int64_t row) {
    const double share = static_cast<float>(call.dropoutP);
    for (std::int64_t kv = 0; kv < dims.N; ++kv) {
      const std::uint64_t place = call.dropoutOffset + static_cast<std::uint64_t>(dims.code(row, kv));
      const double number = expr::eval::philoxUniform(static_cast<std::int64_t>(call.dropoutSeed), static_cast<std::int64_t>(place));
      scores[kv] = number < share ? T(0) : scores[kv] / static_cast<T>(1 - call.dropoutP);
    }
  }

  void softmaxTimesV(std::int64_t row, const expr::Position &position) {
    for (std::int64_t kv = 0; kv < dims.N; ++kv)
      visible[kv] &= scores[kv] != static_cast<T>(-kInfinity); // a NaN stays
    T max = static_cast<T>(-kInfinity);
    for (std::int64_t kv = 0; kv < dims.N; ++kv)
      if (visible[kv] && !(scores[kv] <= max)) // takes a NaN and keeps it
        max = std::isnan(max) ? max : scores[kv];
    output.max[row] = max;
    const T sink = sinkOf(position.h);
    if (max == -kInfinity) {
      output.lse[row] = sink;
      return; // the output is 0 already
    }
    const T reference = sink > max ? sink : max;
    T total = std::exp(sink - reference);
    for (std::int64_t kv = 0; kv < dims.N; ++kv)
      total += scores[kv] = visible[kv] ? std::exp(scores[kv] - reference) : T(0);
    output.lse[row] = reference + std::log(total);
    for (T &p : scores)
      p /= total;
    if (!call.formula->probIsIdentity())
      mapVisible(prob, row, position); // A13
    if (call.dropoutP != 0)
      applyDropout(row);
    std::fill(sum.begin(), sum.end(), T(0));
    for (std::int64_t kv = 0; kv < dims.N; ++kv) {
      if (!visible[kv])
        continue;
      T p = scores[kv];
      if (roundsP)
        p = static_cast<T>(roundTo(call.q.dtype, p));
      const T *v = values.data() + kv * dims.Dv;
      for (std::int64_t d = 0; d < dims.Dv; ++d)
        sum[d] += p * v[d];
    }
    for (std::int64_t d = 0; d < dims.Dv; ++d)
      output.out[row * dims.Dv + d] = plain ? roundTo(outType, sum[d]) : static_cast<double>(sum[d]);
  }

  const Call &call;
  const Dims dims;
  const bool plain;
  const DType outType;
  const bool roundsP; ///< to q's dtype
  Output &output;
  RowOfKeys score, mask, prob;
  std::vector<T> scores;
  std::vector<char> visible;
  std::vector<T> sum, keysTransposed, values;
  std::int64_t currentB = -1, currentHead = -1;
};

template <typename T> Output forward(const Call &call, bool plain) {
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
    RowWorker<T> worker(call, plain, output);
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
