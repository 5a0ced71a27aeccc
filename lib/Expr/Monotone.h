// How values move along one of the sequence axes: what rises or falls needs to be looked at only where a stretch begins and ends.
#pragma once

#include "Expr/Analysis.h"

#include <span>
#include <vector>

namespace attnjit::expr {

/// Trend of a value as one argument grows and all others stand still. Bools count as 0 and 1.
enum class Trend : std::uint8_t { Constant, Rising, Falling, Unknown };

/// One Trend per node of `function` along `axis`, for positions over which `ranges` (one per node) hold: they settle the signs of factors
/// and rule out overflow and NaN. Unknown is always a legal answer.
std::vector<Trend> trends(const Function &function, Param axis, std::span<const Range> ranges);

} // namespace attnjit::expr
