// Engine::autotune: tile sizes by measurement. The winner is stored under the key of the call that leaves its tiles open, where the
// schedule's own choice would stand, so that the way of every other call stays as it is.
#include "Engine/EngineImpl.h"
#include "Engine/Keys.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace attnjit::inline v0 {

using namespace engine;

namespace {

using Clock = std::chrono::steady_clock;

/// A candidate has to be faster than the schedule's choice by so much: less is noise, and not worth other results.
constexpr double kLeastGain = 0.02;
/// Fewer rounds than these say nothing, however long they take.
constexpr int kLeastRounds = 5, kMostRounds = 1000;

struct Contender {
  KernelImage image;
  KernelPtr kernel;
  std::vector<double> times; ///< ns

  TileOptions tiles() const { return {image.meta.tileRows, image.meta.tileCols}; }
  double median() const {
    std::vector<double> sorted = times;
    std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2), sorted.end());
    return sorted[sorted.size() / 2];
  }
};

/// Half and twice the rows and the keys of the model's choice, which is left out.
std::vector<TileOptions> neighbours(const TileOptions &model) {
  std::vector<TileOptions> found;
  for (const std::int64_t rows : {model.rows / 2, model.rows, model.rows * 2})
    for (const std::int64_t cols : {model.cols / 2, model.cols, model.cols * 2})
      if (rows >= 1 && cols >= 1 && TileOptions{rows, cols} != model)
        found.push_back({rows, cols});
  return found;
}

Result<void> checkTunable(const ForwardCall &call, const Problem &problem, double seconds) {
  const auto refuse = [](std::string_view why) { return Error{ErrorCode::InvalidArgument, fmt::format("autotune: {}", why)}; };
  if (!(seconds > 0) || !std::isfinite(seconds))
    return refuse(fmt::format("seconds = {} is not positive", seconds));
  if (problem.tiles != TileOptions{})
    return refuse(fmt::format("the call sets tiles ({} rows, {} cols), which are then its own; leave both 0", problem.tiles.rows,
                              problem.tiles.cols));
  if (call.blockMask)
    return refuse("a call with a block mask may take another kernel for other tiles; tune the same call without it");
  if (problem.B == 0 || problem.Hq == 0 || problem.M == 0)
    return refuse("the call has no rows, so there is nothing to measure");
  if (problem.forGpu)
    return Error{ErrorCode::Unsupported, "autotune: it measures on CPUs only; set ForwardCall::tiles and time calls with timeOnDevice"};
  return {};
}

} // namespace

Result<AutotuneReport> EngineImpl::autotune(const ForwardCall &given, double seconds) {
  const Result<ForwardCall> resolved = resolve(given);
  if (!resolved)
    return resolved.error();
  const ForwardCall &call = *resolved;
  const Result<CheckedCall> checked = check(call, CheckFor::Launch);
  if (!checked)
    return checked.error();
  if (Result<void> tunable = checkTunable(given, checked->problem, seconds); !tunable)
    return tunable.error();

  // The backend that forward() would take, its own refusals included.
  const Result<Obtained> obtained = obtain(call, *checked);
  if (!obtained)
    return obtained.error();
  const std::vector<Candidate> candidates =
      judge(checked->problem, call.backends ? *call.backends : SdpaKernelScope::current(), registered());
  const auto chosen = std::find_if(candidates.begin(), candidates.end(),
                                   [&](const Candidate &candidate) { return candidate.report.pipeline == obtained->kernel->pipeline; });
  if (chosen == candidates.end() || chosen->pipeline)
    return Error{ErrorCode::Unsupported,
                 fmt::format("autotune: '{}' is a registered pipeline, which chooses for itself", obtained->kernel->pipeline)};

  const compiler::KernelSpec open = specOf(checked->problem, chosen->report.backend, call.mod);
  std::vector<Contender> contenders;
  const auto compile = [&](const TileOptions &tiles) -> Result<void> {
    compiler::KernelSpec spec = open;
    spec.config = {tiles.rows, tiles.cols};
    Obtained how;
    Result<KernelImage> image = compileImage(spec, how);
    if (!image)
      return image.error();
    Result<KernelPtr> kernel = loadImage(*image, call.mod, site);
    if (!kernel)
      return kernel.error();
    contenders.push_back({std::move(*image), std::move(*kernel), {}});
    return {};
  };
  if (Result<void> compiled = compile({}); !compiled)
    return compiled.error();
  for (const TileOptions &tiles : neighbours(contenders.front().tiles()))
    if (Result<void> compiled = compile(tiles); !compiled && compiled.error().code != ErrorCode::NoBackend)
      return compiled.error();

  const int threads = call.threads > 0 ? call.threads : site.threads;
  const auto run = [&](Contender &contender) -> Result<void> {
    Result<CheckedCall> again = check(call, CheckFor::Launch);
    if (!again)
      return again.error();
    Result<PreparedCall> prepared = prepareLaunch(*contender.kernel, call.mod.impl(), std::move(*again), call);
    if (!prepared)
      return prepared.error();
    launches.fetch_add(1, std::memory_order_relaxed);
    std::size_t failed;
    const Result<ForwardReport> report = launch({&*prepared, 1}, *site.launcher, threads, failed);
    if (!report)
      return report.error();
    contender.times.push_back(static_cast<double>(report->runNs + report->planNs));
    return {};
  };
  const auto start = Clock::now();
  const auto isOver = [&](int round) {
    return round >= kLeastRounds && (round >= kMostRounds || static_cast<double>(nanosecondsSince(start)) * 1e-9 > seconds);
  };
  for (int round = 0; !isOver(round); ++round)
    for (Contender &contender : contenders)
      if (Result<void> ran = run(contender); !ran)
        return ran.error();

  AutotuneReport report{.model = contenders.front().tiles(), .best = {}, .timings = {}};
  Contender *best = &contenders.front();
  const double limit = best->median() * (1 - kLeastGain);
  for (Contender &contender : contenders) {
    report.timings.push_back({contender.tiles(), contender.median()});
    if (contender.median() < limit && contender.median() < best->median())
      best = &contender;
  }
  report.best = best->tiles();
  const Hash128 key = keyOf(open, *chosen);
  memory.replace({key, std::nullopt, compiler::print(open)}, best->kernel);
  report.onDisk = store(key, best->image);
  log(LogLevel::Info, fmt::format("autotune: {} takes tiles of {} rows x {} keys for calls of this class", chosen->report.pipeline,
                                  report.best.rows, report.best.cols));
  if (Result<void> ran = run(*best); !ran) // what forward() will compute from now on
    return ran.error();
  return report;
}

} // namespace attnjit::inline v0
