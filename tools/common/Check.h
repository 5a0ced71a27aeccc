// Holds a result against the f64 reference, by the measure of issue and documentation: the mean error, as a multiple of that of a plain
// implementation.
#pragma once

#include "common/ProblemFlags.h"

#include "Reference/Reference.h"

namespace attnjit::tools {

/// What the definition says of a problem, and how well a plain implementation does. Depends on operands and formulas only, so one serves
/// many pipelines.
struct Oracle {
  reference::Output exact, plain;
  std::int64_t rowStep = 1; ///< only every rowStep-th query row was computed
};

/// `rowStep` 0: chosen so that this takes seconds, not minutes.
Oracle computeOracle(const LoadedProblem &problem, int threads, std::int64_t rowStep = 0);

/// One output tensor under comparison.
struct Deviation {
  double meanError = 0, plainMeanError = 0;
  double maxError = 0;
  double bound = 0;    ///< of meanError
  std::string failure; ///< empty if within bounds; else what is wrong and where
};

struct CheckResult {
  Deviation out;
  std::optional<Deviation> lse, max;
  std::int64_t rowStep = 1;
  double allowed = 0; ///< of ratio()
  bool passed() const { return failure().empty(); }
  std::string failure() const;
  /// meanError / plainMeanError of out; 0 when both are.
  double ratio() const;
};

/// Allowed multiple of the plain implementation's mean error, by the precision of the output: its dtype, or what it was computed in if that
/// is narrower.
double allowedRatio(DType dtype);

CheckResult compare(const LoadedProblem &problem, const Oracle &oracle);

/// Pairs (b, h, q, kv) that mask_mod leaves visible: what GFLOP/s counts. Blocks are settled by the planner, the rest pair by pair.
std::int64_t visiblePairs(const LoadedProblem &problem);
/// 2 (D + Dv) for every visible pair.
double usefulFlops(const LoadedProblem &problem, std::int64_t visiblePairs);

} // namespace attnjit::tools
