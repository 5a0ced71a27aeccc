#include "Bench.h"

#include "Support/TargetDesc.h"

#include <algorithm>
#include <sys/resource.h>

namespace attnjit::tools {

using nlohmann::json;

namespace {

/// Item i of the work: one query head of one batch, with its kv head. The kernel is the same; the item is small enough that the machine
/// does not change under it.
ForwardCall headOf(const LoadedProblem &problem, std::int64_t b, std::int64_t h) {
  const auto slice = [](TensorRef tensor, std::int64_t batch, std::int64_t head) {
    const std::int64_t offset = (tensor.sizes[0] == 1 ? 0 : batch) * tensor.strides[0] + head * tensor.strides[1];
    tensor.data = static_cast<std::byte *>(tensor.data) + offset * static_cast<std::int64_t>(sizeInBytes(tensor.dtype));
    tensor.sizes[0] = tensor.sizes[1] = 1;
    return tensor;
  };
  ForwardCall call = problem.call;
  const std::int64_t kvHead = h / (problem.dims.Hq / problem.dims.Hkv);
  call.q = slice(call.q, b, h);
  call.k = slice(call.k, b, kvHead);
  call.v = slice(call.v, b, kvHead);
  call.out = slice(call.out, b, h);
  return call;
}

bool dependsOnHead(const LoadedProblem &problem) {
  for (const expr::Function *function : {&problem.formula.score, &problem.formula.mask})
    for (const expr::Node &node : function->nodes)
      if (node.op == expr::Op::Param && (node.imm.i == static_cast<int>(expr::Param::B) || node.imm.i == static_cast<int>(expr::Param::H)))
        return true;
  return false;
}

} // namespace

json summary(const std::vector<double> &samples) {
  return {
      {"p10", quantile(samples, 0.1)}, {"median", quantile(samples, 0.5)}, {"p90", quantile(samples, 0.9)}, {"samples", samples.size()}};
}

PeakUnit unitOf(const LoadedProblem &problem, std::string_view pipeline, const Engine &engine) {
  if (problem.dtype == DType::F64)
    return PeakUnit::FmaF64;
  const Result<TargetDesc> target = parseTarget(engine.target());
  if (!target || pipeline != name(SDPBackend::FlashAttention) || problem.dtype != DType::BF16 || problem.kvDtype != DType::BF16)
    return PeakUnit::FmaF32;
  return target->hasAmx() ? PeakUnit::TileBf16 : target->hasBf16() ? PeakUnit::DotBf16 : PeakUnit::FmaF32;
}

std::function<Result<double>()> kernelOf(const Engine &engine, const ForwardCall &call) {
  return [&engine, call]() -> Result<double> {
    const Result<ForwardReport> report = engine.forward(call);
    return report ? Result<double>(static_cast<double>(report->runNs)) : Result<double>(report.error());
  };
}

std::function<Result<double>()> wholeCall(const Engine &engine, const ForwardCall &call) {
  return [&engine, call]() -> Result<double> {
    const std::int64_t begin = nowNs();
    const Result<ForwardReport> report = engine.forward(call);
    const std::int64_t end = nowNs();
    return report ? Result<double>(static_cast<double>(end - begin)) : Result<double>(report.error());
  };
}

Result<json> measureThroughput(const Engine &engine, const ProblemOptions &options, int passes) {
  const Result<LoadedProblem> problem = loadProblem(options);
  if (!problem)
    return problem.error();
  const Result<ForwardReport> first = engine.forward(problem->call);
  if (!first)
    return first.error();
  const int threads = std::max(1, options.threads);
  const Dims &dims = problem->dims;
  const double flops = usefulFlops(*problem, visiblePairs(*problem));
  // A formula, or a descale, that tells heads apart would see h = 0 in every slice: then the whole call is the item. So it is with pages,
  // which are not cut.
  const bool mayCut = !dependsOnHead(*problem) && problem->descales.empty() && !problem->call.pages;
  const bool byHead = threads == 1 && mayCut && dims.B * dims.Hq > 1;
  const std::int64_t items = byHead ? dims.B * dims.Hq : 1;
  const PeakUnit unit = unitOf(*problem, first->pipeline, engine);

  std::vector<Contender> contenders;
  for (std::int64_t item = 0; item < items; ++item) {
    const ForwardCall call = byHead ? headOf(*problem, item / dims.Hq, item % dims.Hq) : problem->call;
    contenders.push_back({kernelOf(engine, call), Yardstick{unit, threads}});
  }
  const Result<std::vector<std::vector<Turn>>> turns = takeTurns(contenders, passes);
  if (!turns)
    return turns.error();
  std::vector<double> shares, rates, totals(static_cast<std::size_t>(passes), 0);
  double best = 0;
  for (const std::vector<Turn> &ofItem : *turns)
    for (std::size_t pass = 0; pass < ofItem.size(); ++pass) {
      const Turn &turn = ofItem[pass];
      rates.push_back(flops / static_cast<double>(items) / turn.ns);
      shares.push_back(100 * rates.back() / turn.peakGflops);
      totals[pass] += turn.ns * 1e-6;
      best = std::max(best, turn.peakGflops);
    }
  return json{{"problem", toJson(*problem)},
              {"pipeline", first->pipeline},
              {"threads", threads},
              {"tileRows", first->tileRows},
              {"tileCols", first->tileCols},
              {"item", byHead ? "one head" : "whole call"},
              {"gflops", summary(rates)},
              {"percentOfPeak", summary(shares)},
              {"ms", summary(totals)},
              {"bestPeakGflops", best},
              {"peakUnit", name(unit)},
              {"peakIsa", peakProbeIsa()},
              {"compileMs", static_cast<double>(first->compileNs) * 1e-6}};
}

Result<json> measureScaling(const Engine &engine, const ProblemOptions &options, int maxThreads, int repeats) {
  json rows = json::array();
  double one = 0;
  std::vector<int> counts;
  for (int threads = 1; threads < maxThreads; threads *= 2)
    counts.push_back(threads);
  counts.push_back(maxThreads);
  const Result<LoadedProblem> problem = loadProblem(options);
  if (!problem)
    return problem.error();
  std::vector<std::vector<double>> times(counts.size());
  // Interleaved: all counts see the same neighbours.
  for (int repeat = 0; repeat <= repeats; ++repeat)
    for (std::size_t i = 0; i < counts.size(); ++i) {
      ForwardCall call = problem->call;
      call.threads = counts[i];
      const Result<ForwardReport> report = engine.forward(call);
      if (!report)
        return report.error();
      if (repeat > 0) // the first round warms up
        times[i].push_back(static_cast<double>(report->runNs) * 1e-6);
    }
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double median = quantile(times[i], 0.5);
    one = i == 0 ? median : one;
    rows.push_back({{"threads", counts[i]}, {"ms", summary(times[i])}, {"speedup", one / median}});
  }
  return json{{"problem", toJson(*problem)}, {"rows", std::move(rows)}};
}

Result<json> measurePeakMemory(const Engine &engine, const ProblemOptions &options) {
  const Result<LoadedProblem> problem = loadProblem(options);
  if (!problem)
    return problem.error();
  const Result<ForwardReport> report = engine.forward(problem->call);
  if (!report)
    return report.error();
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  double operands = 0;
  for (const Tensor *tensor : {&problem->q, &problem->k, &problem->v, &problem->out})
    operands += static_cast<double>(tensor->memory().size());
  return json{{"problem", toJson(*problem)},
              {"peakBytes", static_cast<double>(usage.ru_maxrss) * 1024},
              {"operandBytes", operands},
              {"ms", static_cast<double>(report->runNs) * 1e-6}};
}

} // namespace attnjit::tools
