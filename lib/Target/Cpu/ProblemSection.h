// How a kernel carries its problem description through the stages below MLIR: as a section of its own, which no loader maps. In "ll" and
// "asm" texts it stands as .ascii lines, so that an edited file still knows what it is.
#pragma once

#include "llvm/ADT/StringRef.h"

#include <optional>
#include <string>

namespace llvm {
class Module;
}

namespace attnjit::target {

/// Adds the section to a module.
void attachProblem(llvm::Module &module, llvm::StringRef text);

/// The text that attachProblem stored; empty when the section is absent or mangled.
std::optional<std::string> problemOfModule(const llvm::Module &module);
std::optional<std::string> problemOfAssembly(llvm::StringRef assembly);
std::optional<std::string> problemOfObject(llvm::StringRef object);

} // namespace attnjit::target
