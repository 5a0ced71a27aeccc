// What computes a call while the kernel that is best for it is compiled in the background (WhenMissing::Fallback).
#include "Engine/EngineImpl.h"
#include "Engine/Keys.h"

#include <algorithm>
#include <fmt/format.h>

namespace attnjit::inline v0 {

using namespace engine;

namespace {

bool isUsable(const Candidate &candidate) { return candidate.report.allowed && candidate.report.accepted; }

} // namespace

/// Empty: the call has to wait, because nothing else may compute it, because what it wants is there in no time, or because making it in the
/// background has failed and the caller is to hear why.
std::optional<EngineImpl::Obtained> EngineImpl::obtainMeanwhile(const std::vector<Candidate> &candidates, const Mod &mod,
                                                                const Problem &problem, const Hash128 &fingerprint) {
  const auto best = std::find_if(candidates.begin(), candidates.end(), isUsable);
  if (best == candidates.end() || best->pipeline || !memory.keepsAny() || later.hasFailed(fingerprint))
    return std::nullopt;
  const Hash128 key = keyOf(specOf(problem, best->report.backend, mod), *best);
  if (memory.contains(key) || (disk && disk->contains(key)))
    return std::nullopt;
  std::optional<Obtained> other = otherKernel(candidates, mod, problem);
  if (!other)
    return std::nullopt;
  later.add(fingerprint, [this, candidates, mod, problem, fingerprint]() -> Result<void> {
    const Result<Obtained> made = obtainFirst(candidates, mod, problem, fingerprint, Haste::Ahead);
    if (made)
      return {};
    log(LogLevel::Warning, "compiling in the background failed: " + made.error().message);
    return made.error();
  });
  other->awaited = best->report.pipeline;
  fallbacks.fetch_add(1, std::memory_order_relaxed);
  return other;
}

/// The most recently used kernel in memory that can compute the call, of whatever pipeline, tiles and wider class; else MATH, which
/// compiles fastest.
std::optional<EngineImpl::Obtained> EngineImpl::otherKernel(const std::vector<Candidate> &candidates, const Mod &mod,
                                                            const Problem &problem) {
  const auto usableOf = [&](SDPBackend backend) {
    return std::find_if(candidates.begin(), candidates.end(), [&](const Candidate &candidate) {
      return isUsable(candidate) && !candidate.pipeline && candidate.report.backend == backend;
    });
  };
  KernelPtr ready = memory.findFirst([&](const KernelImpl &kernel) {
    return !kernel.host && kernel.mod.impl().textHash == mod.impl().textHash && usableOf(kernel.backend) != candidates.end() &&
           checkFits(kernel, problem);
  });
  if (ready)
    return Obtained{std::move(ready), KernelSource::Memory};
  const auto math = usableOf(SDPBackend::Math);
  if (math == candidates.end() || math == std::find_if(candidates.begin(), candidates.end(), isUsable))
    return std::nullopt;
  Result<Obtained> made =
      obtainFrom(*math, mod, problem, fingerprintOf(problem, mod.impl(), BackendSet{SDPBackend::Math}, 0), Haste::Awaited);
  return made ? std::optional(std::move(*made)) : std::nullopt;
}

} // namespace attnjit::inline v0
