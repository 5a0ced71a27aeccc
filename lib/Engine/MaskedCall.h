// Calls with a block mask: which formula they compute, and which runs of keys.
#pragma once

#include "BlockMask/Planner.h"
#include "Engine/CallCheck.h"
#include "Support/KernelImage.h"
#include "attnjit/BlockMask.h"

namespace attnjit::engine {

/// Lengths, batch and heads of the mask against those of the call. Error: InvalidArgument with the cure.
Result<void> checkBlockMask(const BlockMask &mask, const Problem &problem);

/// `call` with its block mask's mask_mod where it has none, and the captures that this needs; unchanged without a block mask.
/// Error: InvalidArgument for a call whose mask_mod is another than the block mask's.
Result<ForwardCall> withBlockMask(const ForwardCall &call);
/// The same for a kernel that has a formula of its own: only captures are added.
Result<ForwardCall> withBlockMask(const ForwardCall &call, const Mod &formula);

/// `call`, which withBlockMask answered, with a table of the blocks in front of its mask: then blocks decide, whatever the mask_mod says.
Result<ForwardCall> withStateTable(const ForwardCall &call);

/// How a kernel asks its plan.
struct PlanGrid {
  std::int64_t rows = 1, cols = 1; ///< queries that share runs, keys per block
  bool sharesHeads = false;        ///< the query heads of a kv head walk the same runs
  /// False for a plan whose runs differ where the kernel cannot tell.
  bool takes(const plan::Plan &plan) const { return !sharesHeads || plan.headStride == 0; }
};
PlanGrid planGrid(const ImageMetadata &meta, const Problem &problem);

/// True when the queries that share runs meet rows of blocks that disagree and the mask_mod alone would not restore what the blocks say:
/// the call needs a table.
bool needsStateTable(const BlockMask &mask, const Problem &problem, const PlanGrid &grid);

/// The runs of the mask's blocks.
plan::Plan planOf(const BlockMask &mask, const Problem &problem, const PlanGrid &grid);

} // namespace attnjit::engine
