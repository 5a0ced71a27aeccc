// Intervals whose ends are numbers: the host's side of IntervalRules.h.
#pragma once

#include "Expr/IntervalRules.h"

namespace attnjit::expr {

/// What leaves are within, for one walk over a function.
struct NumericLeaves {
  Box box;
  std::span<const ScalarArg> scalars; ///< empty: unknown
  std::int64_t scalarLimit = 0;       ///< bounds of unknown Int scalars, 0 = none
  double floatScalarLimit = 0;        ///< bounds of unknown Float scalars, 0 = none
  double scoreLimit = 0;              ///< bounds of the score, 0 = none
  const CaptureRangeFn *captureRange = nullptr;
  /// Divisors of unknown sign are taken as positive, and floats past f32 as unknown: the companion of a closed form, which guards the one
  /// at run time and may be evaluated in f32.
  bool companion = false;
};

/// Range of every node.
std::vector<Range> numericRanges(const Formula &formula, const Function &function, const NumericLeaves &leaves);

} // namespace attnjit::expr
