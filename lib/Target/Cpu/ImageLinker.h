// The last step of a CPU kernel: links one object into one block of bytes that runs at any address.
#pragma once

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace attnjit::target {

/// Code and constants in one piece, aligned to at most a page. It has to be mapped at the alignment of a page, and nothing in it is
/// writable.
struct LinkedCode {
  std::vector<std::byte> bytes;
  std::uint64_t entryOffset = 0; ///< of the entry symbol in `bytes`
};

/// Links `object` (ELF, x86-64 or AArch64). Keeps what `entry` reaches. Refuses, naming symbol and section, whatever would need a loader:
/// symbols defined elsewhere, relocations that hold an absolute address, writable or thread-local data.
llvm::Expected<LinkedCode> linkImage(llvm::StringRef object, llvm::StringRef entry);

} // namespace attnjit::target
