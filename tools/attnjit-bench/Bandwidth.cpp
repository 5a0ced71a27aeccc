#include "Bench.h"

#include <algorithm>

namespace attnjit::tools {

using nlohmann::json;

Result<json> measureBandwidth(const Engine &engine, const ProblemOptions &options, int passes) {
  const Result<LoadedProblem> problem = loadProblem(options);
  if (!problem)
    return problem.error();
  const Result<ForwardReport> first = engine.forward(problem->call);
  if (!first)
    return first.error();
  const std::vector<std::span<const std::byte>> pieces{problem->k.memory(), problem->v.memory()};
  const double bytes = static_cast<double>(pieces[0].size() + pieces[1].size());
  const double flops = usefulFlops(*problem, visiblePairs(*problem));

  const int threads = options.threads > 0 ? options.threads : std::max(1, engine.threads());
  const Contender contender{kernelOf(engine, problem->call), Yardstick{unitOf(*problem, first->pipeline, engine), threads, pieces}};
  const Result<std::vector<std::vector<Turn>>> turns = takeTurns({&contender, 1}, passes);
  if (!turns)
    return turns.error();
  const auto summed = [&](auto each) { return summary(valuesOf(turns->front(), each)); };
  return json{{"problem", toJson(*problem)},
              {"pipeline", first->pipeline},
              {"threads", first->workers},
              {"kvBytes", bytes},
              {"gigabytesPerSecond", summed([&](const Turn &turn) { return bytes / turn.ns; })},
              {"readProbe", summed([](const Turn &turn) { return turn.readGBps; })},
              {"percentOfRead", summed([&](const Turn &turn) { return 100 * bytes / turn.ns / turn.readGBps; })},
              {"percentOfPeak", summed([&](const Turn &turn) { return 100 * flops / turn.ns / turn.peakGflops; })},
              {"ms", summed([](const Turn &turn) { return turn.ns * 1e-6; })}};
}

} // namespace attnjit::tools
