#include "Bench.h"

#include "common/PeakProbe.h"

#include <cstdlib>
#include <filesystem>

namespace attnjit::tools {

using nlohmann::json;

namespace {

/// The n-th of 64 formulas of equal cost and different structure: signs of six terms.
std::string newFormula(int n) {
  static constexpr const char *kTerms[] = {"h", "b", "q_idx", "kv_idx", "(q_idx - kv_idx)", "(q_idx + kv_idx)"};
  std::string text = "score";
  for (int bit = 0; bit < 6; ++bit)
    text += std::string(n >> bit & 1 ? " - " : " + ") + "0.001 * " + kTerms[bit];
  return text;
}

Result<LoadedProblem> problemOf(int formula, const char *shape, bool causal = true) {
  ProblemOptions options;
  options.shape = shape;
  options.scoreMod = newFormula(formula);
  if (causal)
    options.maskMod = "q_idx >= kv_idx";
  options.threads = 1;
  return loadProblem(options);
}

/// A folder of our own that goes when this goes.
struct TemporaryFolder {
  std::string path = (std::filesystem::temp_directory_path() / "attnjit-bench-XXXXXX").string();
  bool isMade = mkdtemp(path.data()) != nullptr;
  ~TemporaryFolder() {
    std::error_code ignored;
    if (isMade)
      std::filesystem::remove_all(path, ignored);
  }
};

Result<Engine> engineWith(std::string cacheDirectory) {
  EngineOptions options;
  options.cacheDirectory = std::move(cacheDirectory);
  return Engine::create(options);
}

Result<json> coldCompiles(const Engine &engine, int formulas, bool causal) {
  std::vector<double> compiles, calls;
  double first = 0;
  for (int n = 0; n <= formulas; ++n) {
    const Result<LoadedProblem> problem = problemOf(n, "S=512,D=64", causal);
    if (!problem)
      return problem.error();
    const std::int64_t begin = nowNs();
    const Result<ForwardReport> report = engine.forward(problem->call);
    const double callMs = static_cast<double>(nowNs() - begin) * 1e-6;
    if (!report)
      return report.error();
    if (n == 0) { // loads the compiler, too
      first = static_cast<double>(report->compileNs) * 1e-6;
      continue;
    }
    compiles.push_back(static_cast<double>(report->compileNs) * 1e-6);
    calls.push_back(callMs);
  }
  return json{{"compileMs", summary(compiles)}, {"callMs", summary(calls)}, {"firstInProcessMs", first}};
}

/// A problem without query rows beyond one and one key: what is left of a call is finding the kernel.
Result<json> memoryHits(const Engine &engine) {
  const Result<LoadedProblem> problem = problemOf(1, "M=1,N=1,D=64");
  if (!problem)
    return problem.error();
  std::vector<double> lookups, calls;
  for (int n = 0; n < 2000; ++n) {
    const std::int64_t begin = nowNs();
    const Result<ForwardReport> report = engine.forward(problem->call);
    const double us = static_cast<double>(nowNs() - begin) * 1e-3;
    if (!report)
      return report.error();
    if (n < 100)
      continue;
    lookups.push_back(static_cast<double>(report->lookupNs) * 1e-3);
    calls.push_back(us);
  }
  return json{{"lookupUs", summary(lookups)}, {"wholeCallUs", summary(calls)}};
}

Result<json> diskHits(const std::string &folder) {
  std::vector<double> finds;
  for (int n = 0; n < 20; ++n) {
    const Result<LoadedProblem> problem = problemOf(n, "S=512,D=64");
    const Result<Engine> writer = engineWith(folder), reader = engineWith(folder);
    if (!problem || !writer || !reader)
      return !problem ? problem.error() : !writer ? writer.error() : reader.error();
    if (const Result<Kernel> kernel = writer->prepare(problem->call); !kernel)
      return kernel.error();
    const std::int64_t begin = nowNs();
    const Result<Kernel> kernel = reader->prepare(problem->call);
    const double ms = static_cast<double>(nowNs() - begin) * 1e-6;
    if (!kernel)
      return kernel.error();
    if (kernel->source() == KernelSource::Disk)
      finds.push_back(ms);
  }
  return json{{"findMs", summary(finds)}};
}

} // namespace

Result<json> measureLatency(int formulas) {
  const TemporaryFolder folder;
  const Result<Engine> engine = engineWith("");
  if (!engine)
    return engine.error();
  const Result<json> causal = coldCompiles(*engine, std::min(formulas, 63), true),
                     full = coldCompiles(*engine, std::min(formulas, 63), false);
  if (!causal || !full)
    return !causal ? causal.error() : full.error();
  const Result<json> memory = memoryHits(*engine);
  if (!memory)
    return memory.error();
  const Result<json> disk = diskHits(folder.path);
  if (!disk)
    return disk.error();
  return json{{"coldCompile", *causal}, {"coldCompileFull", *full}, {"memoryHit", *memory}, {"diskHit", *disk}};
}

} // namespace attnjit::tools
