#include "Engine/Selection.h"

#include <algorithm>
#include <exception>
#include <fmt/format.h>
#include <span>

namespace attnjit::engine {

namespace {

/// One condition: "" when it holds, else why not, with the offending value.
struct Predicate {
  std::string_view name;
  std::string (*refusal)(const Problem &problem);
};

/// EFFICIENT keeps the rows of a tile beside K and V: more queries than this are FLASH's.
constexpr std::int64_t kEfficientMostQueries = 64;
/// Up to so many queries EFFICIENT is the faster one: FLASH computes a panel of 24 or 32 (on a GPU 64 or 128) however few there are
/// (docs/performance.md).
constexpr std::int64_t kEfficientBestQueries = 16;

struct BackendRow {
  SDPBackend backend;
  std::span<const Predicate> predicates;
};

std::string headDimRefusal(const Problem &problem) {
  if (problem.D <= kMaxHeadDim && problem.Dv <= kMaxHeadDim)
    return "";
  return fmt::format("D is {} and Dv {}; at most {} is served", problem.D, problem.Dv, kMaxHeadDim);
}

/// FLASH's and EFFICIENT's.
std::string tensorCoreRefusal(const Problem &problem) {
  if (!problem.forGpu)
    return "";
  if (problem.qType != DType::BF16 && problem.qType != DType::F16)
    return fmt::format("its GPU schedule uses tensor cores on bf16 and f16; q is {}", name(problem.qType));
  if (problem.kvType != problem.qType && !isFloat8(problem.kvType))
    return fmt::format("its GPU schedule takes K and V in the dtype of q or in 8 bits; they are {} and q is {}", name(problem.kvType),
                       name(problem.qType));
  if (problem.outType != problem.qType && problem.outType != DType::F32)
    return fmt::format("its GPU schedule writes f32 or the dtype of q, {}; out is {}", name(problem.qType), name(problem.outType));
  return "";
}

/// CPU schedules take any head; a GPU's keep fragments of the output in registers, which end at 256.
std::string tensorCoreHeadDimRefusal(const Problem &problem) {
  constexpr std::int64_t kMostOnGpu = 256;
  if (!problem.forGpu || std::max(problem.D, problem.Dv) <= kMostOnGpu)
    return headDimRefusal(problem);
  return fmt::format("D is {} and Dv {}; its GPU schedule takes at most {}", problem.D, problem.Dv, kMostOnGpu);
}

/// CPU schedules walk the keys twice where they must.
std::string twoPassRefusal(const Problem &problem) {
  if (!problem.forGpu || problem.probIsHomogeneous)
    return "";
  return "prob_mod is not proportional to p, so it takes two passes over the keys; this schedule has one";
}

std::string queryRowsRefusal(const Problem &problem) {
  if (problem.M <= kEfficientMostQueries)
    return "";
  return fmt::format("M is {}; it streams for at most {} query rows", problem.M, kEfficientMostQueries);
}

std::string notBuilt(const Problem &) { return "not built in this version"; }

constexpr Predicate kMath[] = {{"head-dim", headDimRefusal}};
constexpr Predicate kFlash[] = {{"dtype", tensorCoreRefusal}, {"head-dim", tensorCoreHeadDimRefusal}, {"prob-mod", twoPassRefusal}};
constexpr Predicate kEfficient[] = {
    {"dtype", tensorCoreRefusal}, {"query-rows", queryRowsRefusal}, {"head-dim", tensorCoreHeadDimRefusal}, {"prob-mod", twoPassRefusal}};
constexpr Predicate kNotBuilt[] = {{"built", notBuilt}};

constexpr BackendRow kBackends[] = {
    {SDPBackend::FlashAttention, kFlash},
    {SDPBackend::EfficientAttention, kEfficient},
    {SDPBackend::CudnnAttention, kNotBuilt},
    {SDPBackend::Math, kMath},
};

void conclude(BackendReport &report) {
  report.accepted = true;
  for (const BackendReason &reason : report.reasons)
    report.accepted &= reason.ok;
}

Candidate judgeBuiltIn(const BackendRow &row, const Problem &problem) {
  Candidate candidate;
  candidate.report.backend = row.backend;
  candidate.report.pipeline = name(row.backend);
  for (const Predicate &predicate : row.predicates) {
    std::string detail = predicate.refusal(problem);
    candidate.report.reasons.push_back({std::string(predicate.name), detail.empty(), std::move(detail)});
  }
  conclude(candidate.report);
  return candidate;
}

/// The embedder's code: whatever it throws is a reason against its pipeline.
std::string askGuarded(const PipelinePredicate &predicate, const Problem &problem) {
  try {
    return predicate.refusal ? predicate.refusal(problem) : "";
  } catch (const std::exception &exception) {
    return fmt::format("the predicate threw an exception: {}", exception.what());
  } catch (...) {
    return "the predicate threw an exception";
  }
}

Candidate judgeRegistered(const std::shared_ptr<const OverridePipeline> &pipeline, SDPBackend backend, const Problem &problem) {
  Candidate candidate;
  candidate.pipeline = pipeline;
  candidate.report.backend = backend;
  candidate.report.pipeline = pipeline->name;
  candidate.report.reasons.push_back(
      {"direction", pipeline->directions.forward, pipeline->directions.forward ? "" : "it does not offer the forward direction"});
  if (problem.hasDescales && !pipeline->takesDescales)
    candidate.report.reasons.push_back({"descale", false, "the call has descales, which it does not say it heeds (takesDescales)"});
  for (const PipelinePredicate &predicate : pipeline->predicates) {
    std::string detail = askGuarded(predicate, problem);
    candidate.report.reasons.push_back({predicate.name, detail.empty(), std::move(detail)});
  }
  conclude(candidate.report);
  return candidate;
}

void judgeBackend(SDPBackend backend, bool allowed, const Problem &problem, const Registered &registered,
                  std::vector<Candidate> &candidates) {
  const std::size_t first = candidates.size();
  if (backend == SDPBackend::FlashAttention && registered.flash.pipeline) {
    candidates.push_back(judgeRegistered(registered.flash.pipeline, backend, problem));
    candidates.back().serial = registered.flash.serial;
  } else {
    for (const BackendRow &row : kBackends)
      if (row.backend == backend)
        candidates.push_back(judgeBuiltIn(row, problem));
  }
  if (backend == SDPBackend::Overrideable) {
    for (const auto &pipeline : registered.overrides)
      candidates.push_back(judgeRegistered(pipeline, backend, problem));
    if (registered.overrides.empty()) {
      BackendReport none{
          SDPBackend::Overrideable, "OVERRIDEABLE", allowed, false, {{"registered", false, "no pipeline is registered with this engine"}}};
      candidates.push_back({std::move(none), nullptr, 0});
    }
  }
  for (std::size_t i = first; i < candidates.size(); ++i)
    candidates[i].report.allowed = allowed;
}

std::string title(const BackendReport &report) {
  const std::string_view backend = name(report.backend);
  return report.pipeline == backend ? std::string(backend) : fmt::format("{} '{}'", backend, report.pipeline);
}

} // namespace

bool prefersEfficient(const Problem &problem) { return problem.M <= kEfficientBestQueries; }

std::uint8_t sizeClass(const Problem &problem) {
  return static_cast<std::uint8_t>((problem.M <= kEfficientMostQueries ? 1 : 0) | (prefersEfficient(problem) ? 2 : 0));
}

namespace {

/// The engine's order suits the problem: EFFICIENT before FLASH where it is faster. An order that the caller gave stays, and so does a
/// FLASH_ATTENTION of the caller's, about whose speed nothing is known here.
bool choosesOrder(const BackendSet &set, const Registered &registered) { return !set.isOrdered() && !registered.flash.pipeline; }

std::vector<SDPBackend> orderFor(const Problem &problem, const BackendSet &set, const Registered &registered) {
  std::vector<SDPBackend> order = set.inOrder();
  const auto flash = std::find(order.begin(), order.end(), SDPBackend::FlashAttention);
  const auto efficient = std::find(order.begin(), order.end(), SDPBackend::EfficientAttention);
  if (choosesOrder(set, registered) && prefersEfficient(problem) && efficient != order.end() && flash < efficient)
    std::rotate(flash, efficient, efficient + 1);
  return order;
}

/// Says why EFFICIENT stands where it does in the engine's own order.
void explainOrder(const Problem &problem, std::vector<Candidate> &candidates) {
  const bool first = prefersEfficient(problem);
  for (Candidate &candidate : candidates)
    if (candidate.report.backend == SDPBackend::EfficientAttention && candidate.report.accepted)
      candidate.report.reasons.push_back({"order", true,
                                          fmt::format("asked {} FLASH_ATTENTION: M is {}, {} {}", first ? "before" : "after", problem.M,
                                                      first ? "at most" : "above", kEfficientBestQueries)});
}

} // namespace

std::vector<Candidate> judge(const Problem &problem, const BackendSet &allowed, const Registered &registered) {
  std::vector<Candidate> candidates;
  for (SDPBackend backend : orderFor(problem, allowed, registered))
    judgeBackend(backend, true, problem, registered, candidates);
  for (SDPBackend backend : orderFor(problem, BackendSet(), registered))
    if (!allowed.contains(backend))
      judgeBackend(backend, false, problem, registered, candidates);
  if (choosesOrder(allowed, registered))
    explainOrder(problem, candidates);
  return candidates;
}

std::string describe(const std::vector<Candidate> &candidates) {
  std::string text;
  for (const Candidate &candidate : candidates) {
    const BackendReport &report = candidate.report;
    text += fmt::format("  {}: {}{}\n", title(report), report.accepted ? "can compute it" : "cannot compute it",
                        report.allowed ? "" : ", and is not in the allowed set");
    for (const BackendReason &reason : report.reasons)
      if (!reason.ok)
        text += fmt::format("    {}: {}\n", reason.predicate, reason.detail);
  }
  return text;
}

Error noBackendError(const std::vector<Candidate> &candidates) {
  std::string message = "no allowed backend can compute this call:\n" + describe(candidates);
  for (const Candidate &candidate : candidates)
    if (candidate.report.accepted)
      return {ErrorCode::NoBackend, message + fmt::format("Allow {} to compute it.", title(candidate.report))};
  message.pop_back();
  return {ErrorCode::NoBackend, std::move(message)};
}

} // namespace attnjit::engine
