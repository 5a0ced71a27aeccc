#include "Bench.h"

#include "common/PeakProbe.h"

#include <algorithm>
#include <array>

namespace attnjit::tools {

using nlohmann::json;

Result<json> measureBandwidth(const Engine &engine, const ProblemOptions &options, int passes) {
  const Result<LoadedProblem> problem = loadProblem(options);
  if (!problem)
    return problem.error();
  const Result<ForwardReport> first = engine.forward(problem->call);
  if (!first)
    return first.error();
  const int threads = options.threads > 0 ? options.threads : std::max(1, engine.threads());
  const std::array<std::span<const std::byte>, 2> pieces{problem->k.memory(), problem->v.memory()};
  const double bytes = static_cast<double>(pieces[0].size() + pieces[1].size());
  const double flops = usefulFlops(*problem, visiblePairs(*problem)), peakFactor = problem->dtype == DType::F64 ? 0.5 : 1;

  std::vector<double> rates, reads, shares, peakShares, times;
  double before = probeReadGBps(pieces, threads);
  for (int pass = 0; pass < passes; ++pass) {
    const Result<ForwardReport> report = engine.forward(problem->call);
    if (!report)
      return report.error();
    const double ns = static_cast<double>(std::max<std::int64_t>(report->runNs, 1)), after = probeReadGBps(pieces, threads);
    rates.push_back(bytes / ns);
    reads.push_back(0.5 * (before + after));
    shares.push_back(100 * rates.back() / reads.back());
    peakShares.push_back(100 * flops / ns / (peakFactor * probePeakGflopsThreads(threads, 300)));
    times.push_back(ns * 1e-6);
    before = after;
  }
  return json{{"problem", toJson(*problem)},
              {"pipeline", first->pipeline},
              {"threads", first->workers},
              {"kvBytes", bytes},
              {"gigabytesPerSecond", summary(rates)},
              {"readProbe", summary(reads)},
              {"percentOfRead", summary(shares)},
              {"percentOfPeak", summary(peakShares)},
              {"ms", summary(times)}};
}

} // namespace attnjit::tools
