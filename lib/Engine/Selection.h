// Which backend computes a call: each backend is an ordered list of named predicates, kept as data, and says everything that speaks against
// it.
#pragma once

#include "Engine/FlashImpls.h"
#include "attnjit/Backend.h"
#include "attnjit/Pipeline.h"
#include "attnjit/Problem.h"
#include "attnjit/Result.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace attnjit::engine {

/// What an embedder registered.
struct Registered {
  std::vector<std::shared_ptr<const OverridePipeline>> overrides; ///< in order
  FlashImpls::Active flash;
};

/// A backend (or one registered pipeline) with its verdict.
struct Candidate {
  BackendReport report;
  std::shared_ptr<const OverridePipeline> pipeline; ///< null: a built-in one
  std::uint64_t serial = 0;                         ///< FlashImpls::Active::serial
};

/// In the engine's own order EFFICIENT_ATTENTION is asked before FLASH_ATTENTION for this problem, because it is faster: few queries.
bool prefersEfficient(const Problem &problem);

/// What selection makes of the sizes that are no part of a kernel's class: problems of one class and one size class are judged alike by
/// built-in backends.
std::uint8_t sizeClass(const Problem &problem);

/// Every allowed backend in the order in which it is asked, then those that are not allowed. All predicates of all of them are asked.
std::vector<Candidate> judge(const Problem &problem, const BackendSet &allowed, const Registered &registered);

/// "FLASH_ATTENTION  refused: ..." per candidate, one line each reason.
std::string describe(const std::vector<Candidate> &candidates);

/// What forward() answers when no candidate is both allowed and accepted.
Error noBackendError(const std::vector<Candidate> &candidates);

} // namespace attnjit::engine
