// attnjit-run: states a problem by flags, computes it, says how it went and whether it is right.
#include "Demo.h"

#include "common/MaskPicture.h"
#include "common/Npy.h"
#include "common/PeakProbe.h"
#include "common/Reports.h"

#include "Support/KernelImage.h"
#include "attnjit/Version.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <thread>

using namespace attnjit;
using namespace attnjit::tools;

namespace {

constexpr const char *kExamples = R"(Examples:
  Causal attention, checked against f64:
    attnjit-run --shape H=8,S=1024,D=64 --mask-mod 'q_idx >= kv_idx' --check
  Softcap with a captured number, bf16, grouped heads:
    attnjit-run --shape B=2,Hq=8,Hkv=2,M=1000,N=1000,D=128 --dtype bf16 --score-mod 'cap * tanh(score / cap)' --capture cap=30.0
  ALiBi with a captured tensor:
    attnjit-run --shape H=8,S=1024,D=64 --score-mod 'score + slope[h] * (kv_idx - q_idx)' --capture slope=alibi:8 --check
  Documents, from your own arrays to your own file:
    attnjit-run --q q.npy --k k.npy --v v.npy --mask-mod 'doc[q_idx] == doc[kv_idx]' --capture doc=doc.npy --out out.npy
  Which tile sizes are fastest here? They stay in the cache.
    attnjit-run --shape H=8,S=1024,D=64 --autotune 0.5
  Why is this pipeline chosen, and not another?
    attnjit-run --shape H=8,S=1024,D=64 --backend efficient,flash --set-priority --explain
Exit status: 0 done (and right, with --check), 1 something about the call is wrong, 2 a bug of attnjit or a wrong result.)";

struct RunOptions {
  ProblemOptions problem;
  std::string outFile, lseFile, maxFile, saveFile, kernelFile;
  std::optional<std::string> cacheDirectory;
  std::string target = "native";
  bool noCache = false, check = false, explain = false, json = false, demo = false;
  std::int64_t checkEvery = 0;
  int repeat = 1;
  double autotuneSeconds = 0;
};

void declare(CLI::App &app, RunOptions &options) {
  addProblemOptions(app, options.problem);
  const std::string output = "Output";
  app.add_option("--out", options.outFile, "write out [B,Hq,M,Dv] to a .npy file")->group(output);
  app.add_option("--lse", options.lseFile, "write lse [B,Hq,M] to a .npy file")->group(output);
  app.add_option("--max", options.maxFile, "write the largest score of each row [B,Hq,M] to a .npy file")->group(output);
  app.add_flag("--check", options.check, "compare out, lse and max with the f64 reference; fail past the error bound")->group(output);
  app.add_option("--check-every", options.checkEvery, "check only every n-th query row (default: as many as take some seconds)")
      ->check(CLI::Range(1, 1 << 30))
      ->group(output);
  app.add_flag("--explain", options.explain, "print every backend's reasons for and against; compiles nothing, runs nothing")
      ->group(output);
  app.add_flag("--json", options.json, "print one JSON object: problem, times, GFLOP/s, plan, check, cache counters")->group(output);
  app.add_option("--repeat", options.repeat, "run n times and report the median")->check(CLI::Range(1, 1000000))->group(output);
  app.add_flag("--demo", options.demo, "run a tour of attention variants instead and print a table")->group(output);
  const std::string cache = "Kernels";
  app.add_option("--cache-dir", options.cacheDirectory, "directory of the disk cache (default $XDG_CACHE_HOME/attnjit)")->group(cache);
  app.add_flag("--no-cache", options.noCache, "neither read nor write the disk cache")->group(cache);
  app.add_option("--target", options.target, "compile for native, x86-64-v3, x86-64-v4, x86-64-v4+bf16 or x86-64-v4+amx (default: native)")->group(cache);
  app.add_option("--autotune", options.autotuneSeconds,
                 "first measure for about so many seconds which tile sizes are fastest; they stay in the cache for calls like this one")
      ->check(CLI::PositiveNumber)
      ->group(cache);
  app.add_option("--save-kernel", options.saveFile, "write the compiled kernel to a file")->group(cache);
  app.add_option("--kernel", options.kernelFile, "run a kernel that --save-kernel wrote; needs no compiler")->group(cache);
}

/// The calls of one invocation, over an engine or over a saved kernel.
struct Runner {
  std::optional<Engine> engine;
  std::optional<Kernel> kernel;

  Result<ForwardReport> forward(const ForwardCall &call) const { return kernel ? kernel->forward(call) : engine->forward(call); }
};

Result<Runner> makeRunner(const RunOptions &options) {
  Runner runner;
  if (!options.kernelFile.empty()) {
    Result<Kernel> kernel = Kernel::load(options.kernelFile);
    if (!kernel)
      return kernel.error();
    runner.kernel = *kernel;
    return runner;
  }
  EngineOptions engineOptions;
  engineOptions.threads = options.problem.threads;
  engineOptions.target = options.target;
  engineOptions.cacheDirectory = options.noCache ? std::string() : options.cacheDirectory;
  engineOptions.hooks.log = [](LogLevel level, std::string_view message) {
    if (level == LogLevel::Warning)
      std::fputs(fmt::format("attnjit-run: warning: {}\n", message).c_str(), stderr);
  };
  Result<Engine> engine = Engine::create(std::move(engineOptions));
  if (!engine)
    return engine.error();
  runner.engine = *engine;
  return runner;
}

/// A saved kernel computes its own formula whatever the flags say: the check, the share of visible pairs and the captures go by it.
Result<void> takeKernelFormula(const Kernel &kernel, RunOptions &options) {
  const std::string &text = kernel.problemText();
  options.problem.kernelMod = kernel.mod();
  if (!text.starts_with(kEditedKey))
    return {};
  const std::string stage = text.substr(kEditedKey.size(), text.find('\n') - kEditedKey.size());
  if (options.check)
    return Error{
        ErrorCode::InvalidArgument,
        fmt::format(
            "--check: {} was compiled from an edited '{}' text, and its formula is the one before the edit: there is nothing to compare "
            "with. Edit the 'attn' text instead, whose formula is read back, or leave --check out",
            options.kernelFile, stage)};
  std::fputs(fmt::format(
                 "attnjit-run: warning: {} was compiled from an edited '{}' text; visible pairs are those of the formula before the edit\n",
                 options.kernelFile, stage)
                 .c_str(),
             stderr);
  return {};
}

int explain(const Runner &runner, const RunOptions &options, const LoadedProblem &problem) {
  if (!runner.engine)
    return fail("attnjit-run", {ErrorCode::InvalidArgument, "--explain asks the engine; leave --kernel out"});
  const Result<ExplainReport> report = runner.engine->explain(problem.call);
  if (!report)
    return fail("attnjit-run", report.error());
  const std::string text = options.json ? toJson(*report).dump(2) + "\n" : report->text();
  std::fputs((text.ends_with('\n') ? text : text + "\n").c_str(), stdout);
  return report->chosen == SDPBackend::Error ? 1 : 0;
}

Result<void> writeOutputs(const RunOptions &options, const LoadedProblem &problem) {
  for (const auto &[path, tensor] :
       {std::pair{&options.outFile, &problem.out}, std::pair{&options.lseFile, problem.lse ? &*problem.lse : nullptr},
        std::pair{&options.maxFile, problem.max ? &*problem.max : nullptr}})
    if (!path->empty() && tensor)
      if (Result<void> written = writeNpy(*path, tensor->ref()); !written)
        return written;
  return {};
}

void printReport(const LoadedProblem &problem, const ForwardReport &first, double runMs, double gflops, double visibleShare, double peak) {
  const auto ms = [](std::int64_t ns) { return static_cast<double>(ns) * 1e-6; };
  std::string text = fmt::format("problem   {}; {:.1f} % of all pairs visible\n", describe(problem), 100 * visibleShare);
  text += fmt::format("kernel    {}, tiles of {} rows x {} keys, ", first.pipeline, first.tileRows, first.tileCols);
  if (first.source == KernelSource::Compiled)
    text += fmt::format("compiled in {:.1f} ms\n", ms(first.compileNs));
  else if (first.source == KernelSource::Disk)
    text += fmt::format("from the disk cache in {:.2f} ms\n", ms(first.loadNs));
  else
    text += fmt::format("{}\n", name(first.source));
  if (problem.call.blockMask)
    text += fmt::format("blocks    {}\n", describe(*problem.call.blockMask));
  if (first.plan.hostPlan)
    text += fmt::format("plan      {} of {} blocks visible, {} of them full, in {:.2f} ms\n", first.plan.visibleBlocks,
                        first.plan.totalBlocks, first.plan.fullBlocks, ms(first.planNs));
  text += fmt::format("run       {:.3f} ms on {} thread{}, {:.1f} GFLOP/s over visible pairs, {:.0f} % of the FMA peak\n", runMs,
                      first.workers, first.workers == 1 ? "" : "s", gflops, 100 * gflops / peak);
  std::fputs(text.c_str(), stdout);
}

/// Prints the candidates, best first, unless JSON is wanted.
Result<std::optional<AutotuneReport>> autotune(const Runner &runner, const RunOptions &options, const LoadedProblem &problem) {
  if (options.autotuneSeconds == 0)
    return std::optional<AutotuneReport>();
  if (!runner.engine)
    return Error{ErrorCode::InvalidArgument, "--autotune compiles kernels; leave --kernel out"};
  Result<AutotuneReport> report = runner.engine->autotune(problem.call, options.autotuneSeconds);
  if (!report)
    return report.error();
  if (!options.json) {
    std::sort(report->timings.begin(), report->timings.end(), [](const auto &a, const auto &b) { return a.medianNs < b.medianNs; });
    std::string text;
    for (const AutotuneReport::Timing &timing : report->timings)
      text += fmt::format("autotune  {:4} rows x {:4} keys {:10.3f} ms{}{}\n", timing.tiles.rows, timing.tiles.cols, timing.medianNs * 1e-6,
                          timing.tiles == report->model ? "  the schedule's choice" : "", timing.tiles == report->best ? "  used" : "");
    std::fputs(text.c_str(), stdout);
  }
  return std::optional(std::move(*report));
}

int run(const Runner &runner, const RunOptions &options, const LoadedProblem &problem) {
  const Result<std::optional<AutotuneReport>> tuned = autotune(runner, options, problem);
  if (!tuned)
    return fail("attnjit-run", tuned.error());
  const Result<ForwardReport> first = runner.forward(problem.call);
  if (!first)
    return fail("attnjit-run", first.error());
  std::vector<double> times{static_cast<double>(first->runNs)};
  for (int repeat = 1; repeat < options.repeat; ++repeat) {
    const Result<ForwardReport> again = runner.forward(problem.call);
    if (!again)
      return fail("attnjit-run", again.error());
    times.push_back(static_cast<double>(again->runNs));
  }
  if (Result<void> written = writeOutputs(options, problem); !written)
    return fail("attnjit-run", written.error());
  if (!options.saveFile.empty()) {
    const Result<Kernel> kernel = runner.kernel ? Result<Kernel>(*runner.kernel) : runner.engine->prepare(problem.call);
    const Result<void> saved = kernel ? kernel->save(options.saveFile) : Result<void>(kernel.error());
    if (!saved)
      return fail("attnjit-run", saved.error());
  }

  const std::int64_t pairs = visiblePairs(problem);
  const double medianNs = std::max(quantile(times, 0.5), 1.0), gflops = usefulFlops(problem, pairs) / medianNs;
  const double peak = probePeakGflopsThreads(std::max(first->workers, 1)) / (problem.dtype == DType::F64 ? 2 : 1);
  const double allPairs =
      static_cast<double>(problem.dims.B * problem.dims.Hq) * static_cast<double>(problem.dims.M) * static_cast<double>(problem.dims.N);
  std::optional<CheckResult> check;
  if (options.check)
    check =
        compare(problem, computeOracle(problem, static_cast<int>(std::max(1u, std::thread::hardware_concurrency())), options.checkEvery));
  if (options.json) {
    nlohmann::json json{{"problem", toJson(problem)},     {"call", toJson(*first)}, {"visiblePairs", pairs},
                        {"medianRunMs", medianNs * 1e-6}, {"gflops", gflops},       {"peakGflops", peak}};
    if (problem.call.blockMask)
      json["blockMask"] = toJson(*problem.call.blockMask);
    if (*tuned)
      json["autotune"] = toJson(**tuned);
    if (runner.engine)
      json["counters"] = toJson(runner.engine->counters());
    if (check)
      json["check"] = toJson(*check);
    std::fputs((json.dump(2) + "\n").c_str(), stdout);
  } else {
    printReport(problem, *first, medianNs * 1e-6, gflops, allPairs > 0 ? static_cast<double>(pairs) / allPairs : 0, peak);
    if (check)
      std::fputs(fmt::format("check     {}: {}\n", check->passed() ? "ok" : "WRONG",
                             check->passed() ? describe(*check, problem.dtype) : check->failure())
                     .c_str(),
                 stdout);
  }
  return check && !check->passed() ? 2 : 0;
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app("Compiles attention for this machine from formulas and runs it.", "attnjit-run");
  app.set_version_flag("--version", ATTNJIT_VERSION_STRING);
  app.footer(kExamples);
  RunOptions options;
  declare(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError &error) {
    return app.exit(error) == 0 ? 0 : 1;
  }
  const Result<Runner> runner = makeRunner(options);
  if (!runner)
    return fail("attnjit-run", runner.error());
  if (options.demo) {
    if (!runner->engine)
      return fail("attnjit-run", {ErrorCode::InvalidArgument, "--demo compiles its own kernels; leave --kernel out"});
    return runDemo(*runner->engine, runner->engine->threads());
  }
  options.problem.wantsLse = options.check || !options.lseFile.empty();
  options.problem.wantsMax = options.check || !options.maxFile.empty();
  if (runner->kernel)
    if (Result<void> taken = takeKernelFormula(*runner->kernel, options); !taken)
      return fail("attnjit-run", taken.error());
  const Result<LoadedProblem> problem = loadProblem(options.problem);
  if (!problem)
    return fail("attnjit-run", problem.error());
  return options.explain ? explain(*runner, options, *problem) : run(*runner, options, *problem);
}
