// attnjit-run: states a problem by flags, computes it, says how it went and whether it is right.
#include "Demo.h"

#include "common/MaskPicture.h"
#include "common/Npy.h"
#include "common/PeakProbe.h"
#include "common/PlacedProblem.h"
#include "common/Reports.h"

#include "Support/Files.h"
#include "Support/KernelImage.h"
#include "attnjit/Version.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
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
  int device = 0;
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
  app.add_option(
         "--target", options.target,
         "compile for native (the default), x86-64-v2, x86-64-v3, x86-64-v4, x86-64-v4+bf16, x86-64-v4+amx; or for a GPU and run there: "
         "native-gpu, sm_80, sm_90 ...")
      ->group(cache);
  app.add_option("--device", options.device, "the GPU to run on, as the driver counts them (default 0)")
      ->check(CLI::Range(0, 1023))
      ->group(cache);
  app.add_option("--autotune", options.autotuneSeconds,
                 "first measure for about so many seconds which tile sizes are fastest; they stay in the cache for calls like this one")
      ->check(CLI::PositiveNumber)
      ->group(cache);
  app.add_option("--save-kernel", options.saveFile, "write the compiled kernel to a file")->group(cache);
  app.add_option("--kernel", options.kernelFile, "run a kernel that --save-kernel wrote; needs no compiler")->group(cache);
}

/// A file to write, and the flag that asks for it.
struct OutputFile {
  std::string_view flag;
  std::string path;
};

std::vector<OutputFile> outputsOf(const RunOptions &options) {
  std::vector<OutputFile> files{
      {"--out", options.outFile}, {"--lse", options.lseFile}, {"--max", options.maxFile}, {"--save-kernel", options.saveFile}};
  std::erase_if(files, [](const OutputFile &file) { return file.path.empty(); });
  return files;
}

/// Whether two names, links followed, are of one file, be it there or yet to be made.
bool isSameFile(const std::string &a, const std::string &b) {
  std::error_code ignored;
  const auto whole = [&](const std::string &path) {
    return std::filesystem::weakly_canonical(std::filesystem::absolute(behindLinks(path), ignored), ignored);
  };
  return std::filesystem::equivalent(a, b, ignored) || whole(a) == whole(b);
}

/// Contradictions between flags, found before anything is computed.
Result<void> checkFlags(const RunOptions &options) {
  const auto invalid = [](std::string message) { return Error{ErrorCode::InvalidArgument, std::move(message)}; };
  const std::vector<OutputFile> outputs = outputsOf(options);
  for (std::size_t second = 1; second < outputs.size(); ++second)
    for (std::size_t first = 0; first < second; ++first)
      if (isSameFile(outputs[first].path, outputs[second].path))
        return invalid(fmt::format("{} and {} name the same file, {}", outputs[first].flag, outputs[second].flag, outputs[second].path));
  if (options.kernelFile.empty())
    return {};
  if (options.demo)
    return invalid("--demo compiles its own kernels; leave --kernel out");
  if (options.explain)
    return invalid("--explain asks the engine; leave --kernel out");
  if (options.autotuneSeconds > 0)
    return invalid("--autotune compiles kernels; leave --kernel out");
  if (options.target != "native")
    return invalid("--target says what to compile for, and the kernel of --kernel is compiled already; leave one of them out");
  return {};
}

/// A saved kernel is what it is: flags that ask for another one have to agree with it.
Result<void> checkChoice(const Kernel &kernel, const RunOptions &options) {
  const auto invalid = [&](std::string_view flag, std::string_view is) {
    return Error{ErrorCode::InvalidArgument,
                 fmt::format("{}: the kernel of --kernel {} is {}; leave the flag out, or compile anew", flag, options.kernelFile, is)};
  };
  if (!options.problem.backend.empty()) {
    const Result<BackendSet> backends = parseBackends(options.problem.backend, options.problem.setPriority);
    if (!backends)
      return backends.error();
    if (!backends->contains(kernel.backend()))
      return invalid(fmt::format("--backend {}", options.problem.backend), fmt::format("of {}", kernel.pipeline()));
  }
  for (const auto &[flag, wanted, has] : {std::tuple{"--tile-rows", options.problem.tileRows, kernel.tileRows()},
                                          std::tuple{"--tile-cols", options.problem.tileCols, kernel.tileCols()}})
    if (wanted != 0 && wanted != has)
      return invalid(fmt::format("{} {}", flag, wanted), fmt::format("compiled for {}", has));
  return {};
}

/// The calls of one invocation, over an engine or over a saved kernel.
struct Runner {
  std::optional<Engine> engine; ///< with a saved kernel: only for a GPU, whose memory it gives
  std::optional<Kernel> kernel;
  std::optional<PlacedProblem> placed; ///< if there is an engine

  bool isOnGpu() const { return engine && tools::isOnGpu(*engine); }
  Result<void> place(const LoadedProblem &problem) {
    if (!engine)
      return {};
    Result<PlacedProblem> there = PlacedProblem::place(*engine, problem);
    if (!there)
      return there.error();
    placed.emplace(std::move(*there));
    return {};
  }
  Result<ForwardReport> forward(const ForwardCall &call) const {
    const auto launch = [&](const ForwardCall &one) { return kernel ? kernel->forward(one) : engine->forward(one); };
    return placed ? placed->run(launch) : launch(call);
  }
};

Result<Runner> makeRunner(const RunOptions &options) {
  Runner runner;
  if (!options.kernelFile.empty()) {
    Result<Kernel> kernel = Kernel::load(options.kernelFile, {}, options.device);
    if (!kernel)
      return kernel.error();
    runner.kernel = *kernel;
    if (kernel->ptx().empty())
      return runner;
  }
  EngineOptions engineOptions;
  engineOptions.threads = options.problem.threads;
  engineOptions.target = runner.kernel ? "native-gpu" : options.target;
  engineOptions.device = options.device;
  // The demo shows compiling, every time.
  engineOptions.cacheDirectory = options.noCache || options.demo ? std::string() : options.cacheDirectory;
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
  const Result<ExplainReport> report = runner.engine->explain(problem.call);
  if (!report)
    return fail("attnjit-run", report.error());
  const std::string text = options.json ? toJson(*report).dump(2) + "\n" : report->text();
  std::fputs((text.ends_with('\n') ? text : text + "\n").c_str(), stdout);
  return report->chosen == SDPBackend::Error ? 1 : 0;
}

/// Writes every file that was asked for, whether or not another one can be written; answers an exit status.
int writeOutputs(const Runner &runner, const RunOptions &options, const LoadedProblem &problem) {
  const auto saveKernel = [&]() -> Result<void> {
    const Result<Kernel> kernel = runner.kernel ? Result<Kernel>(*runner.kernel) : runner.engine->prepare(problem.call);
    return kernel ? kernel->save(options.saveFile) : Result<void>(kernel.error());
  };
  int status = 0;
  for (const OutputFile &file : outputsOf(options)) {
    const Tensor *tensor = file.flag == "--out"   ? &problem.out
                           : file.flag == "--lse" ? &*problem.lse
                           : file.flag == "--max" ? &*problem.max
                                                  : nullptr;
    const Result<void> written = tensor ? writeNpy(file.path, tensor->ref()) : saveKernel();
    if (!written)
      status = std::max(status, fail("attnjit-run", {written.error().code, fmt::format("{}: {}", file.flag, written.error().message)}));
  }
  return status;
}

/// `peak` 0: not known.
void printReport(const LoadedProblem &problem, const ForwardReport &first, double runMs, double gflops, double visibleShare, double peak) {
  const auto ms = [](std::int64_t ns) { return static_cast<double>(ns) * 1e-6; };
  std::string text = fmt::format("problem   {}; {:.1f} % of all pairs visible\n", describe(problem), 100 * visibleShare);
  const std::string kernel = fmt::format("kernel    {}, tiles of {} rows x {} keys, ", first.pipeline, first.tileRows, first.tileCols);
  if (first.source == KernelSource::None)
    text += "kernel    none is needed: the output has no elements\n";
  else if (first.source == KernelSource::Compiled)
    text += fmt::format("{}compiled in {:.1f} ms{}\n", kernel, ms(first.compileNs),
                        peak == 0 ? fmt::format(", assembled and loaded in {:.1f} ms", ms(first.loadNs)) : "");
  else if (first.source == KernelSource::Disk)
    text += fmt::format("{}from the disk cache in {:.2f} ms\n", kernel, ms(first.loadNs));
  else
    text += fmt::format("{}{}\n", kernel, name(first.source));
  if (problem.call.blockMask)
    text += fmt::format("blocks    {}\n", describe(*problem.call.blockMask));
  if (first.plan.hostPlan)
    text += fmt::format("plan      {} of {} blocks visible, {} of them full, in {:.2f} ms\n", first.plan.visibleBlocks,
                        first.plan.totalBlocks, first.plan.fullBlocks, ms(first.planNs));
  if (peak == 0)
    text += fmt::format("run       {:.3f} ms on the GPU, {:.1f} GFLOP/s over visible pairs\n", runMs, gflops);
  else
    text += fmt::format("run       {:.3f} ms on {} thread{}, {:.1f} GFLOP/s over visible pairs, {:.0f} % of the FMA peak\n", runMs,
                        first.workers, first.workers == 1 ? "" : "s", gflops, 100 * gflops / peak);
  std::fputs(text.c_str(), stdout);
}

/// Prints the candidates, best first, unless JSON is wanted.
Result<std::optional<AutotuneReport>> autotune(const Runner &runner, const RunOptions &options, const LoadedProblem &problem) {
  if (options.autotuneSeconds == 0)
    return std::optional<AutotuneReport>();
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

int compute(Runner &runner, const RunOptions &options, const LoadedProblem &problem) {
  if (const Result<void> placed = runner.place(problem); !placed)
    return fail("attnjit-run", placed.error());
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
  if (runner.placed)
    if (const Result<void> fetched = runner.placed->fetch(); !fetched)
      return fail("attnjit-run", fetched.error());
  int status = writeOutputs(runner, options, problem);

  const std::int64_t pairs = visiblePairs(problem);
  const double medianNs = std::max(quantile(times, 0.5), 1.0), gflops = usefulFlops(problem, pairs) / medianNs;
  const double peak = runner.isOnGpu() ? 0 : probePeakGflopsThreads(std::max(first->workers, 1)) / (problem.dtype == DType::F64 ? 2 : 1);
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
    if (runner.engine && !runner.kernel)
      json["counters"] = toJson(runner.engine->counters());
    if (check)
      json["check"] = toJson(*check);
    std::fputs((json.dump(2) + "\n").c_str(), stdout);
  } else {
    printReport(problem, *first, medianNs * 1e-6, gflops, allPairs > 0 ? static_cast<double>(pairs) / allPairs : 0, peak);
    if (check)
      std::fputs(fmt::format("check     {}: {}\n", check->passed() ? "ok" : "WRONG", describe(*check, problem.dtype)).c_str(), stdout);
  }
  if (check && !check->passed())
    status = fail("attnjit-run", {ErrorCode::Internal, fmt::format("--check: the result is wrong: {}", check->failure())});
  return status;
}

int run(RunOptions &options) {
  if (Result<void> checked = checkFlags(options); !checked)
    return fail("attnjit-run", checked.error());
  Result<Runner> runner = makeRunner(options);
  if (!runner)
    return fail("attnjit-run", runner.error());
  if (options.demo)
    return runDemo(*runner->engine, runner->engine->threads());
  options.problem.wantsLse = options.check || !options.lseFile.empty();
  options.problem.wantsMax = options.check || !options.maxFile.empty();
  if (runner->kernel)
    for (const Result<void> &step : {checkChoice(*runner->kernel, options), takeKernelFormula(*runner->kernel, options)})
      if (!step)
        return fail("attnjit-run", step.error());
  const Result<LoadedProblem> problem = loadProblem(options.problem);
  if (!problem)
    return fail("attnjit-run", problem.error());
  return options.explain ? explain(*runner, options, *problem) : compute(*runner, options, *problem);
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app("Compiles attention for this machine from formulas and runs it.", "attnjit-run");
  app.set_version_flag("--version", ATTNJIT_VERSION_STRING);
  app.footer(kExamples);
  RunOptions options;
  declare(app, options);
  if (const std::optional<int> ended = parseFlags(app, argc, argv))
    return *ended;
  return finish("attnjit-run", run(options));
}
