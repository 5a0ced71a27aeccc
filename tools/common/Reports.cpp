#include "common/Reports.h"

#include <fmt/format.h>

#include <cmath>

namespace attnjit::tools {

using nlohmann::json;

namespace {

double milliseconds(std::int64_t ns) { return static_cast<double>(ns) * 1e-6; }

json toJson(const Deviation &deviation) {
  return {{"meanError", deviation.meanError},
          {"plainMeanError", deviation.plainMeanError},
          {"maxError", deviation.maxError},
          {"bound", deviation.bound}};
}

} // namespace

json toJson(const LoadedProblem &problem) {
  const Dims &dims = problem.dims;
  return {{"B", dims.B},
          {"Bkv", dims.Bkv},
          {"Hq", dims.Hq},
          {"Hkv", dims.Hkv},
          {"M", dims.M},
          {"N", dims.N},
          {"D", dims.D},
          {"Dv", dims.Dv},
          {"dtype", name(problem.dtype)},
          {"kvDtype", name(problem.kvDtype)},
          {"outDtype", name(problem.outDtype)},
          {"formula", problem.mod.canonicalText()}};
}

std::string describe(const BlockMask &mask) {
  const BlockMaskReport &report = mask.report();
  const std::string head =
      fmt::format("{} x {} of {} x {}, {:.1f} % skipped", mask.rows(), mask.cols(), mask.blockQ(), mask.blockKv(), mask.sparsity());
  if (!mask.isDerived())
    return head + "; from lists";
  const double share = report.blocks > 0 ? 100.0 * static_cast<double>(report.byAnalysis) / static_cast<double>(report.blocks) : 100;
  return fmt::format("{}; {:.2f} % decided by analysis, {} pairs evaluated, in {:.2f} ms", head, share, report.pairsEvaluated,
                     milliseconds(report.timeNs));
}

json toJson(const BlockMask &mask) {
  const BlockMaskReport &report = mask.report();
  return {{"shape", mask.shape()},
          {"block", {mask.blockQ(), mask.blockKv()}},
          {"sparsity", mask.sparsity()},
          {"bytes", mask.bytes()},
          {"blocks", report.blocks},
          {"byAnalysis", report.byAnalysis},
          {"bySamples", report.bySamples},
          {"byEvaluation", report.byEvaluation},
          {"pairsEvaluated", report.pairsEvaluated},
          {"valuesTabulated", report.valuesTabulated},
          {"ms", milliseconds(report.timeNs)}};
}

json toJson(const ForwardReport &report) {
  return {{"backend", name(report.backend)},
          {"pipeline", report.pipeline},
          {"source", name(report.source)},
          {"awaited", report.awaited},
          {"workers", report.workers},
          {"tileRows", report.tileRows},
          {"tileCols", report.tileCols},
          {"ms",
           {{"lookup", milliseconds(report.lookupNs)},
            {"compile", milliseconds(report.compileNs)},
            {"load", milliseconds(report.loadNs)},
            {"plan", milliseconds(report.planNs)},
            {"run", milliseconds(report.runNs)}}},
          {"plan",
           {{"hostPlan", report.plan.hostPlan},
            {"visibleBlocks", report.plan.visibleBlocks},
            {"fullBlocks", report.plan.fullBlocks},
            {"totalBlocks", report.plan.totalBlocks},
            {"elementsEvaluated", report.plan.elementsEvaluated}}}};
}

json toJson(const EngineCounters &counters) {
  return {{"compiles", counters.compiles},
          {"compileFailures", counters.compileFailures},
          {"memoryHits", counters.memoryHits},
          {"memoryMisses", counters.memoryMisses},
          {"diskHits", counters.diskHits},
          {"diskWrites", counters.diskWrites},
          {"diskRejects", counters.diskRejects},
          {"evictions", counters.evictions},
          {"launches", counters.launches},
          {"fallbacks", counters.fallbacks},
          {"kernelsInMemory", counters.kernelsInMemory},
          {"bytesInMemory", counters.bytesInMemory},
          {"awaited", counters.awaited}};
}

json toJson(const AutotuneReport &report) {
  const auto tiles = [](const TileOptions &of) { return json{{"rows", of.rows}, {"cols", of.cols}}; };
  json timings = json::array();
  for (const AutotuneReport::Timing &timing : report.timings)
    timings.push_back({{"tiles", tiles(timing.tiles)}, {"medianMs", timing.medianNs * 1e-6}});
  return {{"model", tiles(report.model)}, {"best", tiles(report.best)}, {"timings", timings}, {"onDisk", report.onDisk}};
}

json toJson(const ExplainReport &report) { return json::parse(report.json()); }

json toJson(const CheckResult &check) {
  json result{{"passed", check.passed()},
              {"failure", check.failure()},
              {"ratio", check.ratio()},
              {"rowStep", check.rowStep},
              {"out", toJson(check.out)}};
  if (check.lse)
    result["lse"] = toJson(*check.lse);
  if (check.max)
    result["max"] = toJson(*check.max);
  return result;
}

std::string describe(const LoadedProblem &problem) {
  const Dims &dims = problem.dims;
  const std::string pages = problem.call.pages ? fmt::format(", keys in pages of {}", problem.call.k.sizes[2]) : "";
  std::string dtypes(name(problem.dtype));
  if (problem.kvDtype != problem.dtype)
    dtypes += fmt::format(", k and v {}", name(problem.kvDtype));
  if (problem.outDtype != problem.dtype)
    dtypes += fmt::format(", out {}", name(problem.outDtype));
  return fmt::format("B={} Hq={} Hkv={} M={} N={} D={}{}{}, {}{}", dims.B, dims.Hq, dims.Hkv, dims.M, dims.N, dims.D,
                     dims.Dv != dims.D ? fmt::format(" Dv={}", dims.Dv) : "", dims.Bkv != dims.B ? fmt::format(" Bkv={}", dims.Bkv) : "",
                     dtypes, pages);
}

std::string describe(const CheckResult &check, DType dtype) {
  std::string text = fmt::format("mean error {:.2e}, worst {:.2e}", check.out.meanError, check.out.maxError);
  if (dtype != DType::F64)
    text += fmt::format("; {:.2f} times a plain {} implementation (allowed {})", check.ratio(), name(dtype), check.allowed);
  if (check.rowStep > 1)
    text += fmt::format("; every {}th row", check.rowStep);
  return text;
}

} // namespace attnjit::tools
