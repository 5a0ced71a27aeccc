// Calls with a block mask: which formula they compute, and which runs of keys.
#pragma once

#include "BlockMask/Planner.h"
#include "Engine/CallCheck.h"
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

/// True when tiles of `tileRows` queries meet rows of blocks that disagree and the mask_mod alone would not restore what the blocks say:
/// the call needs a table.
bool needsStateTable(const BlockMask &mask, const Problem &problem, std::int64_t tileRows, std::int64_t tileCols);

/// The runs of the mask's blocks.
plan::Plan planOf(const BlockMask &mask, const Problem &problem, std::int64_t tileRows, std::int64_t tileCols);

} // namespace attnjit::engine
