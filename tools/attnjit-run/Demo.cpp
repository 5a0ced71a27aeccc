#include "Demo.h"

#include "common/MaskPicture.h"
#include "common/PeakProbe.h"
#include "common/Reports.h"

#include <fmt/format.h>

#include <cstdio>

namespace attnjit::tools {

namespace {

/// The reference takes long: it computes every n-th query row. Odd, so that every lane of a tile gets its turn.
constexpr std::int64_t kCheckedRowStep = 31;

struct Variant {
  const char *name;
  const char *shape;
  const char *scoreMod;
  const char *maskMod;
  std::vector<std::string> captures;
};

const std::vector<Variant> &variants() {
  static const std::vector<Variant> list{
      {"full", "H=8,S=2048,D=64", "", "", {}},
      {"causal", "H=8,S=2048,D=64", "", "q_idx >= kv_idx", {}},
      {"ALiBi, causal", "H=8,S=2048,D=64", "score + slope[h] * (kv_idx - q_idx)", "q_idx >= kv_idx", {"slope=alibi:8"}},
      {"sliding window 256", "H=8,S=2048,D=64", "", "(q_idx >= kv_idx) & (q_idx - kv_idx < window)", {"window=256"}},
      {"softcap, causal, D 128", "H=8,S=2048,D=128", "cap * torch.tanh(score / cap)", "q_idx >= kv_idx", {"cap=30.0"}},
      {"documents, causal", "H=8,S=2048,D=64", "", "(docs[q_idx] == docs[kv_idx]) & (q_idx >= kv_idx)", {"docs=docs:2048:6"}},
      {"GQA 8:2, causal", "Hq=8,Hkv=2,S=2048,D=64", "", "q_idx >= kv_idx", {}},
  };
  return list;
}

struct Row {
  ForwardReport first; ///< the call that compiled
  double runMs = 0, gflops = 0, percentOfPeak = 0;
  CheckResult check;
  MaskGrid picture;
};

Result<Row> measure(const Engine &engine, const Variant &variant, int threads) {
  ProblemOptions options;
  options.shape = variant.shape;
  options.scoreMod = variant.scoreMod;
  options.maskMod = variant.maskMod;
  options.captures = variant.captures;
  options.threads = threads;
  Result<LoadedProblem> problem = loadProblem(options);
  if (!problem)
    return problem.error();
  Row row;
  const Result<ForwardReport> first = engine.forward(problem->call);
  if (!first)
    return first.error();
  row.first = *first;
  const double flops = usefulFlops(*problem, visiblePairs(*problem));
  std::vector<double> times, shares;
  for (int repeat = 0; repeat < 7; ++repeat) {
    const double peak = probePeakGflopsThreads(threads);
    const Result<ForwardReport> report = engine.forward(problem->call);
    if (!report)
      return report.error();
    times.push_back(static_cast<double>(report->runNs));
    shares.push_back(100 * flops / times.back() / peak);
  }
  const double medianNs = quantile(times, 0.5);
  row.runMs = medianNs * 1e-6;
  row.gflops = flops / medianNs;
  row.percentOfPeak = quantile(shares, 0.5);
  row.check = compare(*problem, computeOracle(*problem, threads, kCheckedRowStep));
  row.picture = sampleMask(problem->formula, problem->bindings(), problem->dims.M, problem->dims.N, 0, 0, 24, 24);
  return row;
}

/// The pictures side by side, three to a line of the terminal.
void printPictures(const std::vector<std::pair<std::string, MaskGrid>> &pictures) {
  constexpr std::size_t kPerLine = 3;
  for (std::size_t begin = 0; begin < pictures.size(); begin += kPerLine) {
    const std::size_t end = std::min(pictures.size(), begin + kPerLine);
    std::string lines;
    std::vector<std::string> drawings;
    for (std::size_t i = begin; i < end; ++i) {
      lines += fmt::format("{:<28}", pictures[i].first);
      drawings.push_back(drawTerminal(pictures[i].second));
    }
    lines += '\n';
    while (!drawings.front().empty()) {
      for (std::string &drawing : drawings) {
        const std::size_t newline = drawing.find('\n');
        lines += drawing.substr(0, newline) + "  ";
        drawing.erase(0, newline + 1);
      }
      lines += '\n';
    }
    std::fputs((lines + '\n').c_str(), stdout);
  }
}

} // namespace

int runDemo(const Engine &engine, int threads) {
  std::fputs(fmt::format("attnjit on {}: {} thread{}, {} FMA peak measured at {:.0f} GFLOP/s. f32, seven median runs; GFLOP/s count "
                         "visible pairs only; errors are of one row in {}.\n\n",
                         engine.target(), threads, threads > 1 ? "s" : "", peakProbeIsa(), probePeakGflopsThreads(threads, 20000),
                         kCheckedRowStep)
                 .c_str(),
             stdout);
  std::fputs(fmt::format("{:<24} {:<16} {:>10} {:>9} {:>9} {:>7}  {}\n", "variant", "pipeline", "compile ms", "run ms", "GFLOP/s", "% peak",
                         "mean error vs f64 (times plain f32)")
                 .c_str(),
             stdout);
  std::vector<std::pair<std::string, MaskGrid>> pictures;
  int status = 0;
  for (const Variant &variant : variants()) {
    const Result<Row> row = measure(engine, variant, threads);
    if (!row) {
      std::fputs(fmt::format("{:<24} failed\n", variant.name).c_str(), stdout);
      status = std::max(status, fail("attnjit-run", row.error()));
      continue;
    }
    const std::string compile = row->first.source == KernelSource::Compiled
                                    ? fmt::format("{:.1f}", static_cast<double>(row->first.compileNs) * 1e-6)
                                    : fmt::format("({})", name(row->first.source));
    std::fputs(fmt::format("{:<24} {:<16} {:>10} {:>9.2f} {:>9.1f} {:>7.1f}  {:.1e} ({:.2f}){}\n", variant.name, row->first.pipeline,
                           compile, row->runMs, row->gflops, row->percentOfPeak, row->check.out.meanError, row->check.ratio(),
                           row->check.passed() ? "" : "  WRONG")
                   .c_str(),
               stdout);
    std::fflush(stdout);
    if (!row->check.passed()) {
      std::fputs(fmt::format("  {}\n", row->check.failure()).c_str(), stdout);
      status = 2;
    }
    if (*variant.maskMod)
      pictures.emplace_back(variant.name, row->picture);
  }
  std::fputs("\nMasks: query rows downwards, keys to the right.\n\n", stdout);
  printPictures(pictures);
  return status;
}

} // namespace attnjit::tools
