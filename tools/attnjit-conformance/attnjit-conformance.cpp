// Runs the cases of a text grid against the f64 reference, each twice: with every operand and capture tight against an unmapped page behind
// it, then before it. A failing case is shown as the attnjit-run command that repeats it. A .py file is a module of mods whose cases stand
// in its lines "#! ..."; each runs at several shapes on every pipeline, and the blocks that the planner finds for its mask are held against
// the mask itself.
#include "common/Check.h"
#include "common/ConformanceCases.h"
#include "common/PlacedProblem.h"
#include "common/Reports.h"

#include "BlockMask/Planner.h"
#include "Expr/Interp.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <map>
#include <thread>
#include <unistd.h>

using namespace attnjit;
using namespace attnjit::tools;

namespace {

/// What a build without a compiler answers, and a machine without the GPU: CTest's "skipped".
constexpr int kSkipped = 77;

/// The case at work, for the signal handler: generated code that reads past a tensor ends there.
char currentCase[8192];

void onCrash(int signal) {
  const char *text = signal == SIGSEGV ? "\nFAILED (SIGSEGV: memory outside a tensor was touched): " : "\nFAILED (the process crashed): ";
  (void)!write(1, text, std::strlen(text));
  (void)!write(1, currentCase, std::strlen(currentCase));
  (void)!write(1, "\n", 1);
  _exit(2);
}

/// The oracle of the previous problem, which the next case often shares: it differs in the backend only.
struct OracleCache {
  std::string problem;
  Oracle oracle;

  const Oracle &of(const std::string &commandLine, const LoadedProblem &loaded, int threads) {
    std::string key = withoutFlag(commandLine, "--backend");
    if (key != problem) {
      oracle = computeOracle(loaded, threads, 1);
      problem = std::move(key);
    }
    return oracle;
  }
};

/// What is wrong with the host plan of the problem's mask, held against every pair; empty if nothing is.
std::string checkPlan(const LoadedProblem &problem) {
  if (problem.formula.maskIsTrue())
    return "";
  const Dims &dims = problem.dims;
  constexpr std::int64_t kRows = 24, kCols = 16;
  const plan::Plan plan = plan::buildPlan(problem.formula, problem.bindings(), {dims.B, dims.Hq, dims.M, dims.N, kRows, kCols});
  expr::Interp interp(problem.formula, problem.formula.mask, problem.bindings());
  const std::int64_t tiles = (dims.M + kRows - 1) / kRows;
  enum : char { kSkipped, kPartial, kFull };
  for (std::int64_t b = 0; b < dims.B; ++b)
    for (std::int64_t h = 0; h < dims.Hq; ++h)
      for (std::int64_t tile = 0; tile < tiles; ++tile) {
        std::vector<char> state(static_cast<std::size_t>(dims.N), kSkipped);
        const std::int64_t row = b * plan.batchStride + h * plan.headStride + tile;
        for (std::int64_t run = plan.offsets[static_cast<std::size_t>(row)]; run < plan.offsets[static_cast<std::size_t>(row) + 1]; ++run) {
          const RunArg &keys = plan.runs[static_cast<std::size_t>(run)];
          std::fill(state.begin() + keys.kvBegin, state.begin() + keys.kvEnd, keys.full ? kFull : kPartial);
        }
        for (std::int64_t q = tile * kRows; q < std::min(dims.M, (tile + 1) * kRows); ++q)
          for (std::int64_t kv = 0; kv < dims.N; ++kv) {
            bool outOfRange = false;
            const bool visible = interp.evaluate(0, {b, h, q, kv}, outOfRange).i != 0;
            const char planned = state[static_cast<std::size_t>(kv)];
            if ((visible && planned == kSkipped) || (!visible && planned == kFull))
              return fmt::format("the plan has b {} h {} q {} kv {} as {}, the mask says {}", b, h, q, kv,
                                 planned == kFull ? "full" : "empty", visible);
          }
      }
  return "";
}

/// Where the engine computes; `out`, `lse` and `max` are in the problem then.
Result<ForwardReport> forward(const Engine &engine, const LoadedProblem &problem) {
  const Result<PlacedProblem> placed = PlacedProblem::place(engine, problem);
  if (!placed)
    return placed.error();
  Result<ForwardReport> report = placed->run();
  if (report)
    if (const Result<void> fetched = placed->fetch(); !fetched)
      return fetched.error();
  return report;
}

template <typename T> std::optional<Error> errorOf(const Result<T> &result) {
  return result ? std::nullopt : std::optional(result.error());
}

class Runner {
public:
  Runner(const Engine &engine, int threads) : engine(engine), onGpu(isOnGpu(engine)), threads(threads) {}

  int failures = 0, passed = 0;
  std::map<std::string, int> refusals; ///< by their reason; empty on a CPU, where every case has a pipeline
  bool compilerMissing = false;
  bool checksPlans = false;
  bool onlyPrepares = false; ///< compiles the kernels, for another machine perhaps, and computes nothing
  double worstRatio = 0;

  void run(const GridCase &gridCase) {
    for (const char *placement : {"guard-high", "guard-low"}) {
      const std::string commandLine = fmt::format("{} --placement {}", gridCase.commandLine, placement);
      const std::string failure = check(gridCase, commandLine);
      if (compilerMissing || wasRefused)
        return;
      if (failure.empty())
        continue;
      ++failures;
      std::fputs(
          fmt::format("FAILED line {}: {}\n  attnjit-run --check --target {} {}\n", gridCase.line, failure, engine.target(), commandLine)
              .c_str(),
          stdout);
      std::fflush(stdout);
      return;
    }
    ++passed;
  }

private:
  /// What is wrong; empty if nothing is, or if the case was refused.
  std::string check(const GridCase &gridCase, const std::string &commandLine) {
    wasRefused = false;
    const std::string shown = fmt::format("attnjit-run --check {}", commandLine);
    std::strncpy(currentCase, shown.c_str(), sizeof currentCase - 1);

    Result<ProblemOptions> options = conformance::parseCommandLine(commandLine);
    if (!options)
      return options.error().message;
    options->wantsLse = options->wantsMax = true;
    const Result<LoadedProblem> problem = loadProblem(*options);
    std::optional<Error> error;
    if (!problem)
      error = problem.error();
    else if (onlyPrepares)
      error = errorOf(engine.prepare(problem->call));
    else {
      // What a kernel leaves unwritten must show.
      std::memset(problem->out.memory().data(), 0xff, problem->out.memory().size());
      error = errorOf(forward(engine, *problem));
    }
    if (error && isRefusal(gridCase, *error))
      return refuse(*error);
    if (error && error->code == ErrorCode::Unsupported) {
      compilerMissing = true;
      std::fputs(fmt::format("skipped: {}\n", error->message).c_str(), stdout);
      return "";
    }
    if (onlyPrepares && (!error || !gridCase.expectedError.empty()))
      return ""; // errors of captures show when a kernel runs
    if (!gridCase.expectedError.empty()) {
      if (error && name(error->code) == gridCase.expectedError)
        return "";
      return error ? fmt::format("expected the error {}, got {}: {}", gridCase.expectedError, name(error->code), error->message)
                   : fmt::format("expected the error {}, but it was computed", gridCase.expectedError);
    }
    if (error)
      return fmt::format("{}: {}", name(error->code), error->message);
    if (checksPlans)
      if (std::string wrong = checkPlan(*problem); !wrong.empty())
        return wrong;
    const CheckResult result = compare(*problem, oracles.of(gridCase.commandLine, *problem, threads));
    worstRatio = std::max(worstRatio, result.out.bound > 0 ? result.out.meanError / result.out.bound : 0);
    return result.failure();
  }

  /// Not all pipelines are there on GPUs, and those that are do not take everything.
  bool isRefusal(const GridCase &gridCase, const Error &error) const {
    return onGpu && error.code == ErrorCode::NoBackend && gridCase.expectedError != name(ErrorCode::NoBackend);
  }
  std::string refuse(const Error &error) {
    wasRefused = true;
    ++refusals[error.message];
    return "";
  }

  const Engine &engine;
  const bool onGpu;
  const int threads;
  bool wasRefused = false;
  OracleCache oracles;
};

/// The cases of a module, for every pipeline that runs on this machine; EFFICIENT_ATTENTION is for few queries.
Result<std::vector<GridCase>> onEveryPipeline(const std::string &module) {
  constexpr std::int64_t kFewQueries = 48;
  Result<std::vector<GridCase>> cases = conformance::casesOfModule(module);
  if (!cases)
    return cases;
  std::vector<GridCase> all;
  for (const GridCase &one : *cases)
    for (const std::string_view backend : {"flash", "math", "efficient"}) {
      Result<std::string> problem = conformance::withShape(one.commandLine, [&](Dims &dims) {
        if (backend == "efficient")
          dims.M = std::min(dims.M, kFewQueries);
      });
      if (!problem)
        return problem.error();
      all.push_back(one);
      all.back().commandLine = fmt::format("{} --backend {}", *problem, backend);
    }
  return all;
}

Result<std::vector<GridCase>> casesOfGrid(const std::string &file) {
  const Result<std::string> text = readFile(file);
  return text ? parseGrid(*text) : text.error();
}

/// Which cases are run, and as what.
struct Choice {
  std::string filter, dtype;
  std::size_t part = 1, parts = 1;

  std::vector<GridCase> of(std::vector<GridCase> cases) const {
    std::erase_if(cases, [&](const GridCase &one) { return one.commandLine.find(filter) == std::string::npos; });
    // Neighbours share kernels and oracles: parts are of one piece.
    std::vector<GridCase> chosen(cases.begin() + static_cast<std::ptrdiff_t>(cases.size() * (part - 1) / parts),
                                 cases.begin() + static_cast<std::ptrdiff_t>(cases.size() * part / parts));
    for (GridCase &one : chosen)
      if (!dtype.empty() && one.commandLine.find("--dtype") == std::string::npos)
        one.commandLine += " --dtype " + dtype;
    return chosen;
  }
  /// "K/N"; empty if it is one.
  std::string readPart(const std::string &text) {
    const char *const begin = text.data(), *const end = begin + text.size(), *const middle = std::find(begin, end, '/');
    const bool isRead =
        middle != end && std::from_chars(begin, middle, part).ptr == middle && std::from_chars(middle + 1, end, parts).ptr == end;
    return isRead && part >= 1 && part <= parts ? "" : "expected K/N with K from 1 to N, e.g. 2/8";
  }
};

} // namespace

int main(int argc, char **argv) {
  CLI::App app("Runs text grids of attention problems against the f64 reference.", "attnjit-conformance");
  std::vector<std::string> files;
  std::string target = "native", cacheDirectory;
  Choice choice;
  bool list = false, prepare = false, refusals = false;
  app.add_option("grids", files, "grid files, or Python modules with cases in their lines '#! ...'")->required();
  app.add_option("--filter", choice.filter, "only cases whose command line contains this");
  app.add_option("--target", target,
                 "compile for native, x86-64-v2, x86-64-v3, x86-64-v4, x86-64-v4+bf16, x86-64-v4+amx, native-gpu, sm_80, sm_90a ...; a "
                 "GPU's cases run "
                 "there, and those that it has no pipeline for are counted");
  app.add_option("--dtype", choice.dtype, "for the cases that name none");
  app.add_option_function<std::string>(
         "--part", [&](const std::string &) {}, "K/N: the K-th of N parts of each file, for N processes")
      ->check([&](const std::string &text) { return choice.readPart(text); });
  app.add_flag("--refusals", refusals, "list why cases were refused");
  app.add_option("--cache-dir", cacheDirectory, "keep kernels there, and take those that are there (default: compile all anew)");
  app.add_flag("--prepare", prepare, "compile the kernels into --cache-dir instead of running the cases; any target will do");
  app.add_flag("--list", list, "print the cases instead of running them");
  CLI11_PARSE(app, argc, argv);
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT})
    std::signal(signal, onCrash);

  EngineOptions options;
  options.cacheDirectory = cacheDirectory; // by default none: what is tested was compiled now
  options.target = target;
  const Result<Engine> engine = Engine::create(options);
  if (!engine)
    return fail("attnjit-conformance", engine.error());
  Runner runner(*engine, static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
  runner.onlyPrepares = prepare;
  for (const std::string &file : files) {
    const bool isModule = file.ends_with(".py");
    runner.checksPlans = isModule;
    const Result<std::vector<GridCase>> cases = isModule ? onEveryPipeline(file) : casesOfGrid(file);
    if (!cases)
      return fail("attnjit-conformance", {cases.error().code, fmt::format("{}: {}", file, cases.error().message)});
    for (const GridCase &gridCase : choice.of(*cases)) {
      if (list) {
        std::fputs(fmt::format("attnjit-run --check {}\n", gridCase.commandLine).c_str(), stdout);
        continue;
      }
      runner.run(gridCase);
      if (runner.compilerMissing)
        return kSkipped;
    }
  }
  if (list)
    return 0;
  if (runner.passed + runner.failures == 0) {
    std::fputs("no case at all\n", stdout);
    return 1;
  }
  int refused = 0;
  for (const auto &[reason, count] : runner.refusals) {
    refused += count;
    if (refusals)
      std::fputs(fmt::format("{} refused: {}\n", count, reason).c_str(), stdout);
  }
  std::fputs(fmt::format("{} cases passed, {} failed, {} refused; the largest mean error is {:.2f} of its bound; {} kernels compiled\n",
                         runner.passed, runner.failures, refused, runner.worstRatio, engine->counters().compiles)
                 .c_str(),
             stdout);
  return runner.failures ? 1 : 0;
}
