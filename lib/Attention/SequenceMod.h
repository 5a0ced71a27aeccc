// A user's formula as one sequence of a batch sees it.
#pragma once

#include "attnjit/Problem.h"
#include "attnjit/Result.h"
#include "attnjit/Varlen.h"

#include <cstdint>
#include <vector>

namespace attnjit::attention {

/// The formula for a call that computes one sequence: b is a captured number, and the window is part of the mask. Both are there only if
/// they are used, so most formulas stay as they are.
struct SequenceMod {
  Mod mod;
  bool usesSequence = false;

  /// What a sequence captures. `shift` is its number of keys less that of its queries.
  std::vector<CaptureArgument> numbers(std::int64_t sequence, std::int64_t shift, const VarlenWindow &window) const;
};

/// Recently made ones are remembered: the same formula comes with every layer and every step. Error: InvalidArgument for a window below -1,
/// and when the user's captures have a name that is needed here.
Result<SequenceMod> sequenceMod(const Mod &mod, const VarlenWindow &window);

} // namespace attnjit::attention
