#include "common/Check.h"

#include "BlockMask/Planner.h"
#include "Reference/Elements.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace attnjit::tools {

namespace {

/// Multiply-adds that both references together may take: some seconds.
constexpr double kOracleBudget = 6e9;

/// Which elements take part, and how strictly.
struct Yardstick {
  double factor;                      ///< times the plain implementation's mean error
  double floor;                       ///< mean error that is always allowed: a plain result may be exact by luck
  double elementFactor, elementFloor; ///< the same of one element
  std::int64_t rowStep;
  std::int64_t rows, cols; ///< rows per (b, h), elements per row
};

std::string where(const Yardstick &yardstick, std::int64_t heads, std::int64_t index) {
  const std::int64_t col = index % yardstick.cols, row = index / yardstick.cols % yardstick.rows,
                     head = index / yardstick.cols / yardstick.rows;
  return fmt::format("[b={}, h={}, row={}{}]", head / heads, head % heads, row, yardstick.cols > 1 ? fmt::format(", column={}", col) : "");
}

/// What two equally good results may differ by: elements of a row share the rounding of its probabilities, so a mean error is one over as
/// many samples as there are rows, each of which is off by about a third (seen on GPUs, whose probabilities are bf16).
double byChance(std::int64_t rows) { return 1 + 0.5 / std::sqrt(static_cast<double>(std::max<std::int64_t>(rows, 1))); }

Deviation deviationOf(const Tensor &tensor, const std::vector<double> &exact, const std::vector<double> &plain, const Yardstick &yardstick,
                      const char *what) {
  Deviation deviation;
  const TensorRef ref = tensor.ref();
  const std::int64_t heads = ref.sizes[1];
  std::int64_t index = -1, counted = 0, worst = 0;
  double plainMax = 0;
  tensor.forEachOffset([&](std::int64_t offset) {
    ++index;
    if (index / yardstick.cols % yardstick.rows % yardstick.rowStep != 0 || !deviation.failure.empty())
      return;
    const double got = reference::loadFloat(ref.data, ref.dtype, offset), wanted = exact[index];
    const double rounded = reference::roundTo(ref.dtype, wanted);
    if (!std::isfinite(rounded) || !std::isfinite(got)) {
      if (std::isnan(rounded) != std::isnan(got) || (!std::isnan(rounded) && got != rounded))
        deviation.failure = fmt::format("{} {} is {}, expected {}", what, where(yardstick, heads, index), got, wanted);
      return;
    }
    ++counted;
    const double error = std::fabs(got - wanted);
    deviation.meanError += error;
    if (error > deviation.maxError) {
      deviation.maxError = error;
      worst = index;
    }
    if (std::isfinite(plain[index])) {
      deviation.plainMeanError += std::fabs(plain[index] - wanted);
      plainMax = std::max(plainMax, std::fabs(plain[index] - wanted));
    }
  });
  if (counted) {
    deviation.meanError /= static_cast<double>(counted);
    deviation.plainMeanError /= static_cast<double>(counted);
  }
  deviation.bound = std::max(yardstick.factor * byChance(counted / yardstick.cols) * deviation.plainMeanError, yardstick.floor);
  if (deviation.failure.empty() && deviation.meanError > deviation.bound)
    deviation.failure = fmt::format(
        "{}: mean error {:.3g} exceeds {:.3g} (a plain implementation has {:.3g}); worst {:.3g} at {}, expected {:.6g}", what,
        deviation.meanError, deviation.bound, deviation.plainMeanError, deviation.maxError, where(yardstick, heads, worst), exact[worst]);
  // A mean may hide one wrong element among many.
  const double elementBound = std::max(yardstick.elementFactor * plainMax, yardstick.elementFloor);
  if (deviation.failure.empty() && deviation.maxError > elementBound)
    deviation.failure = fmt::format("{}: error {:.3g} at {} exceeds {:.3g} (a plain implementation's worst is {:.3g}); expected {:.6g}",
                                    what, deviation.maxError, where(yardstick, heads, worst), elementBound, plainMax, exact[worst]);
  return deviation;
}

/// Mean and largest magnitude of the finite entries.
std::pair<double, double> magnitude(const std::vector<double> &values) {
  double sum = 0, largest = 0;
  std::int64_t count = 0;
  for (const double value : values)
    if (std::isfinite(value)) {
      sum += std::fabs(value);
      largest = std::max(largest, std::fabs(value));
      ++count;
    }
  return {count ? sum / static_cast<double>(count) : 0, largest};
}

double largestFinite(const Tensor &tensor) {
  double largest = 0;
  const TensorRef ref = tensor.ref();
  tensor.forEachOffset([&](std::int64_t offset) {
    const double value = std::fabs(reference::loadFloat(ref.data, ref.dtype, offset));
    largest = std::isfinite(value) ? std::max(largest, value) : largest;
  });
  return largest;
}

reference::Call referenceCall(const LoadedProblem &problem, int threads, std::int64_t rowStep) {
  reference::Call call;
  call.formula = &problem.formula;
  call.bindings = problem.bindings();
  call.q = problem.q.ref();
  call.k = problem.k.ref();
  call.v = problem.v.ref();
  call.scale = problem.call.scale;
  call.qDescale = problem.call.qDescale;
  call.kDescale = problem.call.kDescale;
  call.vDescale = problem.call.vDescale;
  call.outType = problem.outDtype;
  call.sinks = problem.call.sinks;
  call.threads = threads;
  call.rowStep = rowStep;
  if (!problem.optionNumbers.empty())
    return call; // the formula has them in it
  call.softcap = problem.call.softcap;
  if (problem.call.dropout) {
    call.dropoutP = problem.call.dropout->p;
    call.dropoutSeed = problem.call.dropout->seed;
    call.dropoutOffset = problem.call.dropout->offset;
  }
  return call;
}

} // namespace

double allowedRatio(DType dtype) { return dtype == DType::F32 ? 2.0 : dtype == DType::F64 ? 4.0 : 1.1; }

std::string CheckResult::failure() const {
  if (!out.failure.empty())
    return out.failure;
  if (lse && !lse->failure.empty())
    return lse->failure;
  return max ? max->failure : "";
}

double CheckResult::ratio() const { return out.plainMeanError > 0 ? out.meanError / out.plainMeanError : 0; }

Oracle computeOracle(const LoadedProblem &problem, int threads, std::int64_t rowStep) {
  Oracle oracle;
  const Dims &dims = problem.dims;
  if (rowStep <= 0) {
    // A pair costs about 30 multiply-adds for its formulas besides those of its dot products.
    const double work = 2.0 * static_cast<double>(dims.B * dims.Hq) * static_cast<double>(dims.M) * static_cast<double>(dims.N) *
                        static_cast<double>(dims.D + dims.Dv + 30);
    rowStep = std::max<std::int64_t>(1, static_cast<std::int64_t>(work / kOracleBudget));
    if (rowStep > 1)
      rowStep |= 1; // odd: so that every lane of a tile gets its turn
  }
  oracle.rowStep = rowStep;
  const reference::Call call = referenceCall(problem, threads, rowStep);
  oracle.exact = reference::forwardF64(call);
  oracle.plain = reference::forwardPlain(call);
  return oracle;
}

CheckResult compare(const LoadedProblem &problem, const Oracle &oracle) {
  CheckResult result;
  result.rowStep = oracle.rowStep;
  const bool isF64 = problem.dtype == DType::F64;
  // What the output loses: it is computed in f32 or f64 and kept in a dtype of its own.
  const DType computed = isF64 ? DType::F64 : DType::F32,
              precision = holdsExactly(problem.outDtype, computed) ? computed : problem.outDtype;
  const double factor = result.allowed = allowedRatio(precision), unit = isF64 ? 0x1p-53 : 0x1p-24;
  const auto [meanScore, maxScore] = magnitude(oracle.exact.max);
  const auto [meanOut, maxOut] = magnitude(oracle.exact.out);
  // In f64 the plain implementation is the reference itself. What is left are the roundings of scores, exponentials and sums, each in
  // proportion to its operands.
  const double kappa = 1 + meanScore + std::sqrt(static_cast<double>(problem.dims.D)) / 4;
  const double floor = isF64 ? 4 * 0x1p-52 * kappa * largestFinite(problem.v) : unit * meanOut;
  // Neighbouring 8-bit floats lie so far apart that an element may be one off, not many.
  const double elementFactor = isFloat8(precision) ? 2 : 32;
  const double elementFloor = 2 * elementFactor * reference::unitRoundoff(precision) * (1 + (isF64 ? maxScore : 0)) *
                              std::max(maxOut, largestFinite(problem.v) * 0x1p-10);
  result.out = deviationOf(problem.out, oracle.exact.out, oracle.plain.out,
                           {factor, floor, elementFactor, elementFloor, oracle.rowStep, problem.dims.M, problem.dims.Dv}, "out");
  const auto statistic = [&](const std::optional<Tensor> &tensor, const std::vector<double> &exact, const std::vector<double> &plain,
                             const char *what) {
    const auto [mean, largest] = magnitude(exact);
    // Beside operands of 16 bits functions in formulas may be rougher (docs/semantics.md, "Precision").
    const double roundings = isF64 ? 8 : problem.dtype == DType::F32 ? 2 : 16;
    const double allowance = roundings * unit * (1 + mean + (isF64 ? kappa : 0));
    return tensor ? std::optional(deviationOf(*tensor, exact, plain,
                                              {2.0, allowance, 32, 64 * unit * (1 + largest), oracle.rowStep, problem.dims.M, 1}, what))
                  : std::nullopt;
  };
  result.lse = statistic(problem.lse, oracle.exact.lse, oracle.plain.lse, "lse");
  result.max = statistic(problem.max, oracle.exact.max, oracle.plain.max, "max");
  return result;
}

std::int64_t visiblePairs(const LoadedProblem &problem) {
  const Dims &dims = problem.dims;
  if (problem.formula.maskIsTrue())
    return dims.B * dims.Hq * dims.M * dims.N;
  plan::PlanProblem blocks{dims.B, dims.Hq, dims.M, dims.N, 64, 64};
  const plan::Plan plan = plan::buildPlan(problem.formula, problem.bindings(), blocks);
  expr::Interp interp(problem.formula, problem.formula.mask, problem.bindings());
  const std::int64_t qTiles = (dims.M + 63) / 64;
  const std::int64_t batches = plan.batchStride ? dims.B : 1, heads = plan.headStride ? dims.Hq : 1;
  std::int64_t pairs = 0;
  for (std::int64_t b = 0; b < batches; ++b)
    for (std::int64_t h = 0; h < heads; ++h)
      for (std::int64_t tile = 0; tile < qTiles; ++tile) {
        const std::int64_t at = b * plan.batchStride + h * plan.headStride + tile;
        const std::int64_t qEnd = std::min(dims.M, (tile + 1) * 64);
        for (std::int64_t i = plan.offsets[at]; i < plan.offsets[at + 1]; ++i) {
          const RunArg &run = plan.runs[i];
          if (run.full) {
            pairs += (qEnd - tile * 64) * (run.kvEnd - run.kvBegin);
            continue;
          }
          bool outOfRange = false;
          for (std::int64_t q = tile * 64; q < qEnd; ++q)
            for (std::int64_t kv = run.kvBegin; kv < run.kvEnd; ++kv)
              pairs += interp.evaluate(0, {b, h, q, kv}, outOfRange).i != 0;
        }
      }
  return pairs * (dims.B * dims.Hq / (batches * heads));
}

double usefulFlops(const LoadedProblem &problem, std::int64_t visiblePairs) {
  return 2.0 * static_cast<double>(problem.dims.D + problem.dims.Dv) * static_cast<double>(visiblePairs);
}

} // namespace attnjit::tools
