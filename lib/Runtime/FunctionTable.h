// The scalar functions that generated code may call through KernelArgs::functions.
#pragma once

#include "attnjit/KernelAbi.h"

namespace attnjit::runtime {

/// The C library's functions, one element after the other. f32 functions compute in f32.
const FunctionTable &functionTable();

} // namespace attnjit::runtime
