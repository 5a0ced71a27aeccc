// Finds the compiler when a kernel is missing, and not before: a process that hits its caches never maps LLVM.
#pragma once

#include "Compiler/CompilerInterface.h"
#include "attnjit/Result.h"

#include <functional>
#include <string>

namespace attnjit::engine {

/// Answers with the compiler, which lives as long as the process. Thread safe.
using CompilerSource = std::function<Result<compiler::CompilerInterface *>()>;

/// The compiler linked into this library if there is one; else libattnjit-compiler.so: `path` if given, $ATTNJIT_COMPILER_LIBRARY, or
/// beside this library. Error: Unsupported, saying where it was looked for and how to get one.
CompilerSource findCompiler(std::string path);

} // namespace attnjit::engine
