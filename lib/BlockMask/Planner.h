// The host planner: turns mask_mod into runs of keys per query tile before a launch.
//
// It asks expr::classify about boxes, with range tables over captured tensors (documents, offsets, flags), splits what intervals cannot
// decide, and evaluates elements only at the bottom. Tiles of equal plan are shared when the mask does not depend on b or h.
#pragma once

#include "Expr/Analysis.h"

#include <vector>

namespace attnjit::plan {

struct PlanProblem {
  std::int64_t B = 0, Hq = 0, M = 0, N = 0;
  std::int64_t tileRows = 0, tileCols = 0; ///< granularity: query rows per tile, keys per block
};

/// An owned plan; arg() borrows from it.
struct Plan {
  std::vector<std::int64_t> offsets;
  std::vector<RunArg> runs;
  std::int64_t batchStride = 0, headStride = 0;
  std::int64_t visibleBlocks = 0, fullBlocks = 0, totalBlocks = 0; ///< over all (b, h)
  std::int64_t elementsEvaluated = 0;                              ///< pairs that intervals could not decide
  PlanArg arg() const { return {offsets.data(), runs.data(), batchStride, headStride}; }
};

/// Runs for every tile. Deterministic; sound for any mask: what is not proved stays partial. The mask's own captured indices may leave
/// their tensors only where the kernel would report it too: a block is skipped only if they are proved in bounds there (A10).
Plan buildPlan(const expr::Formula &formula, const expr::Bindings &bindings, const PlanProblem &problem);

} // namespace attnjit::plan
