// The host planner: the runs of keys that a launch hands to its kernel, from mask_mod or from a block mask of the caller's.
#pragma once

#include "BlockMask/BlockRows.h"
#include "BlockMask/Decider.h"
#include "attnjit/KernelAbi.h"

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

/// Runs for every tile. Deterministic; sound for any mask: what is not worth proving stays partial. The mask's own captured indices may
/// leave their tensors only where the kernel would report it too: a block is skipped only if they are proved in bounds there (A10).
Plan buildPlan(const expr::Formula &formula, const expr::Bindings &bindings, const PlanProblem &problem);

/// The runs of a block mask in blocks of blockQ x blockKv, which need not be multiples of the tile. Where a tile of queries meets rows that
/// disagree about a key, that key is partial: right if the mask_mod agrees with the blocks. `disagree` is set then.
Plan planOf(const BlockRows &rows, std::int64_t blockQ, std::int64_t blockKv, const PlanProblem &problem, bool &disagree);

} // namespace attnjit::plan
