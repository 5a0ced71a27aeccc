// The last step of a CPU kernel: links one object, and functions that were linked before, into one block of bytes that runs at any address.
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace attnjit::target {

/// Code and constants in one piece. It has to be mapped at `alignment`, at most that of a page, and nothing in it is writable.
struct LinkedCode {
  std::vector<std::byte> bytes;
  std::uint64_t entryOffset = 0; ///< of the entry symbol in `bytes`
  std::uint64_t alignment = 1;
};

/// A function that was linked before, and the name it is called by.
struct LinkedPhase {
  std::string name;
  std::shared_ptr<const LinkedCode> code;
};

/// Links `object` (ELF, x86-64 or AArch64). Keeps what `entry` reaches, and puts those of `phases` that it calls behind it in their order.
/// Refuses, naming symbol and section, whatever would need a loader: symbols defined elsewhere, relocations that hold an absolute address,
/// writable or thread-local data.
llvm::Expected<LinkedCode> linkImage(llvm::StringRef object, llvm::StringRef entry, llvm::ArrayRef<LinkedPhase> phases = {});

} // namespace attnjit::target
