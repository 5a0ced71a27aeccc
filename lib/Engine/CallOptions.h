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

} // namespace attnjit::engine
