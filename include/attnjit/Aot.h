// Ahead of time: one problem as files that other programs link, with a typed C function in front of it.
//
//   AotOptions options{.name = "causal", .targets = {"x86-64-v2", "x86-64-v3", "x86-64-v4"}};
//   Result<std::vector<AotFile>> files = compileAheadOfTime(call, options);
//
// A call of `causal` picks the best of the targets that the machine has. What is compiled in and what is not is the same as for
// Kernel::save: lengths, batch, heads, strides and numbers are arguments.
#pragma once

#include "attnjit/Problem.h"
#include "attnjit/Result.h"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace attnjit::inline v0 {

enum class AotKind {
  Runtime, ///< the object holds kernel images; libattnjit launches them, on threads or on a GPU, and plans by masks. No compiler is needed
  Bare,    ///< the object is code alone and needs nothing at all (libm, where NAME.h says so); the caller brings threads and scratch memory
};

/// How compileAheadOfTime() goes about it.
struct AotOptions {
  std::string name = "attention"; ///< of the function, and what the files' names begin with: a C identifier
  /// As EngineOptions::target, "native" excluded. Either CPUs or GPUs: their operands lie in different memory.
  std::vector<std::string> targets = {"x86-64-v3"};
  AotKind kind = AotKind::Runtime;
  /// Assembles PTX for one target ("sm_80"): a cubin to lie beside it. Empty: PTX alone, which the driver assembles.
  std::function<Result<std::string>(const std::string &ptx, const std::string &target)> assemble = {};
  std::string compilerLibrary = {}; ///< as EngineOptions::compilerLibrary
};

/// One file to write: a name without a folder.
struct AotFile {
  std::string name;
  std::string bytes;
};

/// Compiles `call` for every target. The files, with NAME for AotOptions::name:
///
///     NAME.h                        struct NAME_args and the functions, in C; its comments say how to call them
///     NAME.json                     the manifest: what was compiled in, targets, arguments, files
///     NAME-x86_64.o, NAME-aarch64.o one per architecture; of kind Runtime x86_64 alone, which runs libattnjit
///     NAME.attnjit                  of kind Runtime: the images, for Kernel::load
///     NAME-sm_80.ptx, .cubin        for GPUs
///
/// The softcap of the call is compiled in. Errors: InvalidArgument for what the function could not say (pages, block masks, dropout of the
/// call, mixed targets, a name that is no identifier), and those of Engine::prepare.
Result<std::vector<AotFile>> compileAheadOfTime(const ForwardCall &call, const AotOptions &options);

} // namespace attnjit::inline v0
