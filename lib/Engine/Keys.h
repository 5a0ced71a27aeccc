// What identifies a kernel: cheaply, on the way of every call, and in full.
#pragma once

#include "Compiler/CompilerInterface.h"
#include "Engine/Hashing.h"
#include "Engine/ModImpl.h"
#include "Engine/Selection.h"

namespace attnjit::engine {

/// A hash of the class of a call: everything that decides which kernel it gets, apart from the engine itself. `flash` says which activation
/// of a registered FLASH_ATTENTION is in place, 0 = the built-in one.
Hash128 fingerprintOf(const Problem &problem, const ModImpl &mod, const BackendSet &allowed, std::uint64_t flash);

/// The cache key: everything that is compiled in, and by what. What a registered pipeline builds may look at the numbers of the formula
/// too.
Hash128 keyOf(const compiler::KernelSpec &spec, const Candidate &candidate);

} // namespace attnjit::engine
