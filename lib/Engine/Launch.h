// The last step of a call: plan, launch, and what came of it.
#pragma once

#include "Engine/CallCheck.h"
#include "Engine/KernelImpl.h"

#include <chrono>

namespace attnjit::engine {

/// Whether a kernel was compiled for problems of this class. Error: InvalidArgument with the first difference.
Result<void> checkFits(const KernelImpl &kernel, const Problem &problem);

/// Builds the host plan if the mask wants one and computes the call. `mod` is the formula that the captures of `checked` are bound to.
/// source and the times before the plan are left to the caller.
Result<ForwardReport> launch(const KernelImpl &kernel, const ModImpl &mod, const CheckedCall &checked, const ForwardCall &call);

/// Both functions of the memory hook or neither.
Result<void> checkHooks(const Hooks &hooks);

inline std::int64_t nanosecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start).count();
}

} // namespace attnjit::engine
