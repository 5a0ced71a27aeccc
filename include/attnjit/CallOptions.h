// Options of a call that are formulas in truth: softcap is a score_mod in front of the user's, dropout a prob_mod behind it.
#pragma once

#include "attnjit/Problem.h"
#include "attnjit/Result.h"

namespace attnjit::inline v0 {

/// The call with its softcap and dropout written into its formula, and their numbers among its captures: what Engine::forward computes, and
/// what a registered pipeline is given. Formulas made so are remembered: the same Mod comes with every layer and every step. Errors:
/// InvalidArgument for a number out of range, and when the user's captures have a name that is needed.
Result<ForwardCall> withOptions(const ForwardCall &call);

} // namespace attnjit::inline v0
