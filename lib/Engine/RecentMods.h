// What was made of a Mod lately, so that a call which gives the same Mod again makes nothing.
#pragma once

#include "Engine/ModImpl.h"
#include "Support/ForkMutex.h"
#include "attnjit/Result.h"

#include <cstddef>
#include <list>
#include <mutex>

namespace attnjit::engine {

/// The last few values made of a Mod and a variant (a small value with ==). For any number of threads; one makes at a time.
template <class Made, class Variant> class RecentMods {
public:
  /// What make() gave for this Mod and variant, or gives now. Its errors are not kept.
  template <class Make> Result<Made> get(const Mod &mod, const Variant &variant, Make make) {
    std::lock_guard lock(mutex);
    for (auto entry = entries.begin(); entry != entries.end(); ++entry)
      if (&entry->original.impl() == &mod.impl() && entry->variant == variant) {
        entries.splice(entries.begin(), entries, entry);
        return entry->made;
      }
    Result<Made> made = make();
    if (!made)
      return made;
    entries.push_front({mod, variant, *made});
    if (entries.size() > kMost)
      entries.pop_back();
    return made;
  }

private:
  static constexpr std::size_t kMost = 32;

  /// Keeps its Mod, so that no other can come to lie at the same address.
  struct Entry {
    Mod original;
    Variant variant;
    Made made;
  };

  ForkMutex mutex;
  std::list<Entry> entries; ///< the latest first
};

} // namespace attnjit::engine
