// What the engine asks about the options of a call besides attnjit/CallOptions.h.
#pragma once

#include "attnjit/CallOptions.h"

namespace attnjit::engine {

/// Whether a call has any.
bool hasOptions(const ForwardCall &call);
/// Whether a formula was made by withOptions().
bool hasOptions(const Mod &formula);

/// withOptions() for a kernel that computes `formula`, which must have the options that the call has. Error: InvalidArgument if it has
/// others.
Result<ForwardCall> withKernelOptions(const ForwardCall &call, const Mod &formula);

/// `mod` behind a softcap that is no number of the call: `cap` is part of the formula, for programs that have no call options. Errors:
/// InvalidArgument for a number out of range.
Result<Mod> withSoftcap(const Mod &mod, double cap);

} // namespace attnjit::engine
