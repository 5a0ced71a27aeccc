#include "Bench.h"

#include <algorithm>

namespace attnjit::tools {

using nlohmann::json;

namespace {

/// Calls shorter than this are repeated within a pass.
constexpr std::int64_t kPassNs = 20'000'000;

template <typename F> std::vector<double> each(std::vector<double> values, F of) {
  std::transform(values.begin(), values.end(), values.begin(), of);
  return values;
}

} // namespace

std::function<Result<double>()> callOf(const Engine &engine, const LoadedProblem &problem, const PlacedProblem &placed) {
  if (!isOnGpu(engine))
    return wholeCall(engine, problem.call);
  return [&placed]() -> Result<double> {
    const Result<ForwardReport> report = placed.run();
    return report ? Result<double>(static_cast<double>(report->runNs)) : Result<double>(report.error());
  };
}

Result<json> measureOnGpu(const Engine &engine, const ProblemOptions &options, int passes) {
  const Result<LoadedProblem> problem = loadProblem(options);
  if (!problem)
    return problem.error();
  const Result<PlacedProblem> placed = PlacedProblem::place(engine, *problem);
  if (!placed)
    return placed.error();
  const Result<ForwardReport> first = placed->run();
  if (!first)
    return first.error();
  std::vector<double> times; ///< ns, by the GPU's own clock: no probe of the host's peak says anything here
  for (int pass = 0; pass < passes; ++pass) {
    const Result<double> ns = sampleFor(kPassNs, callOf(engine, *problem, *placed));
    if (!ns)
      return ns.error();
    times.push_back(std::max(*ns, 1.0));
  }
  const double flops = usefulFlops(*problem, visiblePairs(*problem));
  return json{{"problem", toJson(*problem)},
              {"pipeline", first->pipeline},
              {"target", engine.target()},
              {"tileRows", first->tileRows},
              {"tileCols", first->tileCols},
              {"tflops", summary(each(times, [&](double ns) { return flops / ns * 1e-3; }))},
              {"ms", summary(each(times, [](double ns) { return ns * 1e-6; }))},
              {"compileMs", static_cast<double>(first->compileNs) * 1e-6},
              {"loadMs", static_cast<double>(first->loadNs) * 1e-6}};
}

} // namespace attnjit::tools
