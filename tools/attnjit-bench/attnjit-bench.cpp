// attnjit-bench: how fast, as a share of what the machine can do at that moment; and how long one waits for a kernel.
#include "Bench.h"
#include "GridTable.h"

#include "attnjit/Version.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <cstdio>
#include <functional>
#include <sys/wait.h>
#include <unistd.h>

using namespace attnjit;
using namespace attnjit::tools;
using nlohmann::json;

namespace {

constexpr const char *kExamples = R"(Examples:
  The figures of the documentation (about two minutes):
    attnjit-bench --all --json > figures.json
  One problem, one thread:
    attnjit-bench --shape H=8,S=2048,D=64 --mask-mod 'q_idx >= kv_idx' --threads 1
  Does decoding keep up with memory, on all threads?
    attnjit-bench --bandwidth --shape Hq=8,Hkv=2,M=1,N=131072,D=128 --dtype bf16
  How long does one wait for a kernel?
    attnjit-bench --latency
  Does a second thread help?
    attnjit-bench --scaling --shape H=8,S=4096,D=64
  How long does a block mask take, and how much memory?
    attnjit-bench --block-masks
  How much memory does a long sequence take?
    attnjit-bench --memory --shape S=65536,D=64
  A grid of cases, each with its share of the peak and its ratio to the case that it is relative to; the cases alone; some of them:
    attnjit-bench --grid tools/attnjit-bench/grids/forward.grid
    attnjit-bench --grid tools/attnjit-bench/grids/forward.grid --list
    attnjit-bench --grid tools/attnjit-bench/grids/forward.grid --filter S=2048,D=64 --passes 15
  Is it faster than it was? And than PyTorch (tools/bench-peers --help)?
    attnjit-bench --grid tools/attnjit-bench/grids/small.grid --json > before.json
    attnjit-bench --grid tools/attnjit-bench/grids/small.grid --peer before.json
  What do packed sequences cost?
    attnjit-bench --varlen --threads 1 --passes 15
Percentages are of multiply-adds on registers (FMA; AVX-512 BF16 or AMX where the kernel multiplies with those), probed right before and
after every work item. Quote p10, median and p90 together.)";

struct BenchOptions {
  ProblemOptions problem;
  bool all = false, bandwidth = false, latency = false, scaling = false, memory = false, blockMasks = false, varlen = false, json = false;
  GridOptions grid;
  std::string target = "native";
  int passes = 5, formulas = 20;
};

struct NamedProblem {
  const char *name;
  const char *shape;
  const char *dtype;
  const char *maskMod;
};
/// The throughput rows of --all.
constexpr NamedProblem kStandard[] = {
    {"flash f32 D64 full", "H=8,S=2048,D=64", "f32", ""},
    {"flash f32 D128 full", "H=8,S=2048,D=128", "f32", ""},
    {"flash f32 D64 causal", "H=8,S=2048,D=64", "f32", "q_idx >= kv_idx"},
    {"flash f32 D128 causal", "H=8,S=2048,D=128", "f32", "q_idx >= kv_idx"},
    {"flash bf16 D64 full", "H=8,S=2048,D=64", "bf16", ""},
};

Result<json> throughput(const Engine &engine, const BenchOptions &options) {
  json rows = json::array();
  const auto add = [&](std::string_view title, const ProblemOptions &problem) -> Result<void> {
    Result<json> row = measureThroughput(engine, problem, options.passes);
    if (!row)
      return row.error();
    (*row)["name"] = title;
    if (!options.json)
      std::fputs(fmt::format("{:<26} {:<16} {} thread(s)  GFLOP/s {}  % of {} peak {}  ms {}\n", title,
                             (*row)["pipeline"].get<std::string>(), (*row)["threads"].get<int>(), show((*row)["gflops"], 1),
                             (*row)["peakUnit"].get<std::string>(), show((*row)["percentOfPeak"], 1), show((*row)["ms"], 2))
                     .c_str(),
                 stdout);
    std::fflush(stdout);
    rows.push_back(std::move(*row));
    return {};
  };
  if (options.all)
    for (const NamedProblem &standard : kStandard) {
      ProblemOptions problem;
      problem.shape = standard.shape;
      problem.dtype = standard.dtype;
      problem.maskMod = standard.maskMod;
      problem.threads = 1;
      if (const Result<void> added = add(standard.name, problem); !added)
        return added.error();
    }
  else if (const Result<void> added = add(options.problem.shape, options.problem); !added)
    return added.error();
  return rows;
}

/// The decoding rows of --all: every thread, few queries, long keys.
constexpr NamedProblem kDecoding[] = {
    {"M1 N131072 f32", "Hq=1,M=1,N=131072,D=128", "f32", ""},
    {"M1 GQA4 N131072 f32", "Hq=8,Hkv=2,M=1,N=131072,D=128", "f32", ""},
    {"M1 GQA4 N131072 bf16", "Hq=8,Hkv=2,M=1,N=131072,D=128", "bf16", ""},
    {"M1 GQA4 N16384 f16", "Hq=32,Hkv=8,M=1,N=16384,D=128", "f16", ""},
    {"M4 GQA4 N65536 f32", "Hq=8,Hkv=2,M=4,N=65536,D=128", "f32", ""},
    {"M16 N65536 f32", "Hq=2,Hkv=2,M=16,N=65536,D=128", "f32", ""},
};

Result<json> bandwidth(const Engine &engine, const BenchOptions &options) {
  json rows = json::array();
  const auto add = [&](std::string_view title, const ProblemOptions &problem) -> Result<void> {
    Result<json> row = measureBandwidth(engine, problem, options.passes);
    if (!row)
      return row.error();
    (*row)["name"] = title;
    if (!options.json)
      std::fputs(fmt::format("{:<26} {:<19} {} thread(s)  GB/s of K and V {}  % of reading alone {}  % of FMA peak {}  ms {}\n", title,
                             (*row)["pipeline"].get<std::string>(), (*row)["threads"].get<int>(), show((*row)["gigabytesPerSecond"], 1),
                             show((*row)["percentOfRead"], 1), show((*row)["percentOfPeak"], 1), show((*row)["ms"], 2))
                     .c_str(),
                 stdout);
    std::fflush(stdout);
    rows.push_back(std::move(*row));
    return {};
  };
  if (!options.all) {
    if (const Result<void> added = add(options.problem.shape, options.problem); !added)
      return added.error();
    return rows;
  }
  for (const NamedProblem &standard : kDecoding) {
    ProblemOptions problem;
    problem.shape = standard.shape;
    problem.dtype = standard.dtype;
    if (const Result<void> added = add(standard.name, problem); !added)
      return added.error();
  }
  return rows;
}

Result<json> latency(const BenchOptions &options) {
  Result<json> result = measureLatency(options.formulas);
  if (result && !options.json)
    std::fputs(fmt::format("cold compile of a new formula   ms {}, causal {}   (the first of the process {:.1f})\n"
                           "found in memory                 us {}   (whole call {})\n"
                           "found on disk                   ms {}\n",
                           show((*result)["coldCompileFull"]["compileMs"], 1), show((*result)["coldCompile"]["compileMs"], 1),
                           (*result)["coldCompile"]["firstInProcessMs"].get<double>(), show((*result)["memoryHit"]["lookupUs"], 2),
                           show((*result)["memoryHit"]["wholeCallUs"], 2), show((*result)["diskHit"]["findMs"], 2))
                   .c_str(),
               stdout);
  return result;
}

Result<json> scaling(const Engine &engine, const BenchOptions &options) {
  ProblemOptions problem = options.problem;
  if (options.all)
    problem.shape = "H=8,S=4096,D=64";
  Result<json> result = measureScaling(engine, problem, std::max(1, engine.threads()), options.passes);
  if (result && !options.json)
    for (const json &row : (*result)["rows"])
      std::fputs(fmt::format("{:>3} thread(s)   ms {}   {:.2f} times one thread\n", row["threads"].get<int>(), show(row["ms"], 1),
                             row["speedup"].get<double>())
                     .c_str(),
                 stdout);
  return result;
}

/// Resident memory only ever grows in the eyes of the system: this is measured in a process of its own, `argv0` again.
Result<json> memory(const char *argv0, const BenchOptions &options) {
  const std::string shape = options.all ? "S=65536,D=64" : options.problem.shape;
  std::string output;
  int ends[2];
  std::fflush(nullptr);
  const pid_t child = pipe(ends) == 0 ? fork() : -1;
  if (child == 0) {
    dup2(ends[1], 1);
    close(ends[0]);
    execl("/proc/self/exe", argv0, "--memory-here", "--shape", shape.c_str(), "--dtype", options.problem.dtype.c_str(), "--mask-mod",
          options.problem.maskMod.c_str(), static_cast<char *>(nullptr));
    _exit(127);
  }
  if (child < 0)
    return Error{ErrorCode::Io, "no child process to measure memory in"};
  close(ends[1]);
  char chunk[4096];
  for (ssize_t got = 0; (got = read(ends[0], chunk, sizeof chunk)) > 0;)
    output.append(chunk, static_cast<std::size_t>(got));
  close(ends[0]);
  int state = 0;
  waitpid(child, &state, 0);
  json result = json::parse(output, nullptr, false);
  if (!WIFEXITED(state) || WEXITSTATUS(state) != 0 || result.is_discarded())
    return Error{ErrorCode::Internal, fmt::format("measuring memory failed: {}", output)};
  if (!options.json)
    std::fputs(fmt::format("peak memory of {}: {} resident, of which {} are q, k, v and out; {:.0f} ms\n", shape,
                           formatBytes(result["peakBytes"].get<double>()), formatBytes(result["operandBytes"].get<double>()),
                           result["ms"].get<double>())
                   .c_str(),
               stdout);
  return result;
}

Result<json> blockMasks(const BenchOptions &options) {
  Result<json> rows = measureBlockMasks({16384, 131072, 1048576}, options.passes);
  if (rows && !options.json)
    for (const json &row : *rows)
      std::fputs(fmt::format("{:<24} {:>8} x {:<8} ms {}   {}   {:.3f} % by analysis, {} pairs evaluated, {:.1f} % skipped\n",
                             row["name"].get<std::string>(), row["shape"][2].get<std::int64_t>(), row["shape"][3].get<std::int64_t>(),
                             show(row["ms"], 2), formatBytes(row["bytes"].get<double>()),
                             100.0 * row["byAnalysis"].get<double>() / row["blocks"].get<double>(),
                             row["pairsEvaluated"].get<std::int64_t>(), row["sparsity"].get<double>())
                     .c_str(),
                 stdout);
  return rows;
}

Result<json> varlen(const Engine &engine, const BenchOptions &options) {
  Result<json> rows = measureVarlen(engine, options.passes);
  if (rows && !options.json)
    for (const json &row : *rows)
      std::fputs(
          fmt::format("{:>3} sequences of {:<5} one batch ms {}   varlenAttention {} times that   one call, document mask {} times\n",
                      row["sequences"].get<int>(), row["length"].get<int>(), show(row["batch"]["ms"], 2), show(row["varlen"]["ratio"], 2),
                      show(row["documentMask"]["ratio"], 2))
              .c_str(),
          stdout);
  return rows;
}

int memoryHere(const Engine &engine, const BenchOptions &options) {
  const Result<json> result = measurePeakMemory(engine, options.problem);
  if (!result)
    return fail("attnjit-bench", result.error());
  std::fputs(result->dump().c_str(), stdout);
  return 0;
}

/// What a GPU engine is measured by.
int runOnGpu(const Engine &engine, const BenchOptions &options) {
  if (options.all || options.bandwidth || options.latency || options.scaling || options.memory || options.blockMasks || options.varlen)
    return fail(
        "attnjit-bench",
        {ErrorCode::InvalidArgument,
         fmt::format("--target {}: on a GPU the throughput of --shape or of the cases of --grid is measured, and nothing else; leave "
                     "the other flags out",
                     engine.target())});
  if (!options.grid.file.empty()) {
    Result<json> grid = benchGrid(engine, options.grid, options.problem, options.passes, options.json);
    if (!grid)
      return fail("attnjit-bench", grid.error());
    if (options.json)
      std::fputs(
          (json{{"version", ATTNJIT_VERSION_STRING}, {"target", engine.target()}, {"grid", std::move(*grid)}}.dump(2) + "\n").c_str(),
          stdout);
    return 0;
  }
  const Result<json> row = measureOnGpu(engine, options.problem, options.passes);
  if (!row)
    return fail("attnjit-bench", row.error());
  const std::string text = options.json
                               ? row->dump(2) + "\n"
                               : fmt::format("{} on {}, {}  TFLOP/s {}  ms {}\n", options.problem.shape, engine.target(),
                                             (*row)["pipeline"].get<std::string>(), show((*row)["tflops"], 1), show((*row)["ms"], 3));
  std::fputs(text.c_str(), stdout);
  return 0;
}

int run(const char *argv0, const Engine &engine, const BenchOptions &options) {
  if (isOnGpu(engine))
    return runOnGpu(engine, options);
  json report{{"version", ATTNJIT_VERSION_STRING},
              {"target", engine.target()},
              {"threads", engine.threads()},
              {"peakGflopsOneThread", probePeakGflops(50000)},
              {"peakIsa", peakProbeIsa()}};
  if (!options.json)
    std::fputs(fmt::format("attnjit {} on {}, {} FMA peak of one thread {:.0f} GFLOP/s; p10 / median / p90\n", ATTNJIT_VERSION_STRING,
                           engine.target(), peakProbeIsa(), report["peakGflopsOneThread"].get<double>())
                   .c_str(),
               stdout);
  const bool onlyThroughput = !options.bandwidth && !options.latency && !options.scaling && !options.memory && !options.blockMasks &&
                              !options.varlen && options.grid.file.empty();
  const std::tuple<const char *, bool, std::function<Result<json>()>> parts[] = {
      {"throughput", options.all || onlyThroughput, [&] { return throughput(engine, options); }},
      {"bandwidth", options.all || options.bandwidth, [&] { return bandwidth(engine, options); }},
      {"latency", options.all || options.latency, [&] { return latency(options); }},
      {"scaling", options.all || options.scaling, [&] { return scaling(engine, options); }},
      {"blockMasks", options.all || options.blockMasks, [&] { return blockMasks(options); }},
      {"varlen", options.varlen, [&] { return varlen(engine, options); }},
      {"memory", options.all || options.memory, [&] { return memory(argv0, options); }},
      {"grid", !options.grid.file.empty(), [&] { return benchGrid(engine, options.grid, options.problem, options.passes, options.json); }},
  };
  for (const auto &[name, isWanted, measure] : parts) {
    if (!isWanted)
      continue;
    Result<json> result = measure();
    if (!result)
      return fail("attnjit-bench", result.error());
    report[name] = std::move(*result);
  }
  if (options.json)
    std::fputs((report.dump(2) + "\n").c_str(), stdout);
  return 0;
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app("Measures attention kernels against what this machine can do.", "attnjit-bench");
  app.set_version_flag("--version", ATTNJIT_VERSION_STRING);
  app.footer(kExamples);
  BenchOptions options;
  bool isMemoryChild = false, isServer = false;
  const std::string what = "What to measure (default: the throughput of --shape)";
  app.add_flag("--all", options.all, "everything, on the standard problems")->group(what);
  app.add_flag("--bandwidth", options.bandwidth, "short queries: K and V per second, as a share of what reading them alone takes")
      ->group(what);
  app.add_flag("--latency", options.latency, "cold compiles, hits in memory and on disk")->group(what);
  app.add_flag("--scaling", options.scaling, "the problem on 1, 2, 4 ... threads")->group(what);
  app.add_flag("--memory", options.memory, "peak resident memory of the problem, in a process of its own")->group(what);
  app.add_flag("--block-masks", options.blockMasks, "making block masks of the families in use")->group(what);
  app.add_flag("--varlen", options.varlen,
               "packed sequences: varlenAttention and one call with a document mask, as multiples of a batch over the same memory")
      ->group(what);
  app.add_flag("--json", options.json, "print one JSON object")->group(what);
  app.add_option("--passes", options.passes, "passes over the heads, or repetitions (default 5)")->check(CLI::Range(1, 10000))->group(what);
  app.add_option("--formulas", options.formulas, "new formulas of --latency (default 20)")->check(CLI::Range(1, 63))->group(what);
  app.add_option(
         "--target", options.target,
         "compile throughput and scaling kernels for native, x86-64-v2, x86-64-v3, x86-64-v4, x86-64-v4+bf16 or x86-64-v4+amx (default: "
         "native); or native-gpu, sm_90 ...: throughput and grids on a GPU")
      ->group(what);
  app.add_flag("--memory-here", isMemoryChild)->group("");
  app.add_flag("--serve", isServer, "time calls for another program, which asks by lines on standard input (docs/cli.md)")->group(what);
  addGridOptions(app, options.grid);
  addProblemOptions(app, options.problem);
  if (const std::optional<int> ended = parseFlags(app, argc, argv))
    return *ended;
  if (options.grid.list)
    return finish("attnjit-bench", listGrid(options.grid, options.problem, options.json));
  EngineOptions engineOptions;
  engineOptions.cacheDirectory = "";
  engineOptions.target = options.target;
  engineOptions.threads = isMemoryChild ? 0 : options.problem.threads;
  const Result<Engine> engine = Engine::create(engineOptions);
  if (!engine)
    return fail("attnjit-bench", engine.error());
  if (isServer)
    return serve(*engine, options.problem);
  return finish("attnjit-bench", isMemoryChild ? memoryHere(*engine, options) : run(argv[0], *engine, options));
}
