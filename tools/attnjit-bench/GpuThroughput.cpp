#include "Bench.h"

#include "common/GpuStaging.h"

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

bool isOnGpu(const Engine &engine) { return engine.target().starts_with("sm_"); }

Result<json> measureOnGpu(const Engine &engine, const ProblemOptions &options, int passes) {
  const Result<LoadedProblem> problem = loadProblem(options);
  if (!problem)
    return problem.error();
  const Result<GpuStaging> staged = GpuStaging::stage(engine, *problem);
  if (!staged)
    return staged.error();
  const auto launch = [&] { return staged->run([&](const ForwardCall &call) { return engine.forward(call); }); };
  const Result<ForwardReport> first = launch();
  if (!first)
    return first.error();
  const auto timed = [&]() -> Result<double> {
    const Result<ForwardReport> report = launch();
    return report ? Result<double>(static_cast<double>(report->runNs)) : Result<double>(report.error());
  };
  std::vector<double> times; ///< ns, by the GPU's own clock: no probe of the host's peak says anything here
  for (int pass = 0; pass < passes; ++pass) {
    const Result<double> ns = sampleFor(kPassNs, timed);
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
