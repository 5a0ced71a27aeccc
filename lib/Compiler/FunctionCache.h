// What was made before in this process of the functions of kernels, by their text: machine code of phases
// (Conversion/TileToVector/KernelPhases.h), and the objects of the functions that call them. Most of a kernel is the same for every
// formula: what is found here is not generated anew.
#pragma once

#include "Support/ForkMutex.h"

#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

namespace attnjit::compiler {

/// Thread safe.
template <typename Made> class FunctionCache {
public:
  using Kept = std::shared_ptr<const Made>;

  /// Null if there is none. `text`: the target, and the function at the vector stage.
  Kept find(const std::string &text) const {
    std::lock_guard lock(mutex);
    const auto found = entries.find(text);
    return found == entries.end() ? nullptr : found->second;
  }

  /// Keeps what was made, and returns what is kept under `text`.
  Kept keep(std::string text, Made made) {
    // A function is some 10 KiB of text and few of code. A process that makes kernels of ever new shapes begins anew after so many.
    constexpr std::size_t kMostEntries = 512;
    auto entry = std::make_shared<const Made>(std::move(made));
    std::lock_guard lock(mutex);
    if (entries.size() >= kMostEntries)
      entries.clear();
    return entries.try_emplace(std::move(text), std::move(entry)).first->second;
  }

private:
  mutable ForkMutex mutex;
  std::unordered_map<std::string, Kept> entries;
};

} // namespace attnjit::compiler
