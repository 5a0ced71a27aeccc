// How a GPU kernel carries its problem description below MLIR: as named metadata in "ll" texts and as comments at the top of "ptx" texts.
// PTX has no sections of one's own.
#pragma once

#include "llvm/ADT/StringRef.h"

#include <optional>
#include <string>

namespace llvm {
class Module;
}

namespace attnjit::target {

/// Adds the metadata to a module.
void attachProblemMetadata(llvm::Module &module, llvm::StringRef text);
/// The text that attachProblemMetadata stored; empty when it is absent or mangled.
std::optional<std::string> problemOfMetadata(const llvm::Module &module);

/// `ptx` with the description in front.
std::string withProblemComment(llvm::StringRef ptx, llvm::StringRef text);
/// Takes the description off the front of `ptx`; empty when there is none.
std::optional<std::string> takeProblemComment(llvm::StringRef &ptx);

} // namespace attnjit::target
