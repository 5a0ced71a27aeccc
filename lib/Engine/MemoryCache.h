// Loaded kernels by key: single-flight, least recently used leave first.
//
// Two ways in. A *fingerprint* is a cheap hash of a call's class, good enough for the hot path; it remembers to which key that class
// was resolved. A *key* is the hash of everything that is compiled in. obtain() makes a missing kernel exactly once, whatever number of
// threads ask: the first one makes it, the others wait and get the same kernel or the same error. Errors are not kept.
#pragma once

#include "Engine/Hashing.h"
#include "Engine/KernelImpl.h"
#include "Support/ForkMutex.h"
#include "attnjit/Result.h"

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <sys/types.h>
#include <thread>
#include <unordered_map>
#include <vector>

namespace attnjit::engine {

using KernelPtr = std::shared_ptr<const KernelImpl>;

class MemoryCache {
public:
  /// Keeps at most `maxKernels` kernels and `maxBytes` of code; 0 kernels = keeps none, but concurrent askers still share one making.
  MemoryCache(std::size_t maxKernels, std::size_t maxBytes) : maxKernels(maxKernels), maxBytes(maxBytes) {}

  /// The kernel that a class of calls was resolved to, if it is still here; null otherwise. Counts a hit.
  KernelPtr find(const Hash128 &fingerprint);

  struct Obtained {
    Result<KernelPtr> kernel;
    bool made = false; ///< by this call: false for a hit and for those who waited
  };
  /// What is asked for: a key, the class of calls to remember it for (none when nobody calls yet), and the spec as text.
  struct Wanted {
    Hash128 key;
    std::optional<Hash128> fingerprint;
    std::string spec; ///< for the manifest; empty: it has no place there
  };
  /// The kernel of `wanted`, made by `make` if need be. `make` runs unlocked and may use the cache for other keys; asking for the same key
  /// from inside is answered with an error.
  Obtained obtain(const Wanted &wanted, const std::function<Result<KernelPtr>()> &make);

  /// Another kernel in the place of that of `wanted`, for all that ask from now on.
  void replace(const Wanted &wanted, const KernelPtr &kernel);
  void clear();

  using Predicate = std::function<bool(const KernelImpl &)>;
  /// The most recently used kernel of which `is` is true, or null. Counts nothing.
  KernelPtr findFirst(const Predicate &is) const;
  bool contains(const Hash128 &key) const;
  /// False for a capacity of 0.
  bool keepsAny() const { return maxKernels > 0; }
  /// Forgets the kernels of which `is` is true, and answers how many there were.
  std::size_t removeAll(const Predicate &is);
  /// Specs of what is here, most recently used first.
  std::vector<std::string> specs() const;

  struct Counters {
    std::uint64_t hits = 0, misses = 0, evictions = 0, kernels = 0, bytes = 0;
  };
  Counters counters() const;

private:
  /// One making in progress; those who wait hold it too.
  struct Flight {
    std::thread::id maker;
    pid_t process; ///< that the maker is in: a child of fork() has nobody to wait for
    bool landed = false;
    Result<KernelPtr> outcome{Error{}};
    std::condition_variable_any done;
  };
  struct Entry {
    KernelPtr kernel;
    std::string spec;
    std::list<Hash128>::iterator age;
    std::size_t bytes() const { return kernel->bytes() + spec.size(); }
  };

  KernelPtr touch(const Hash128 &key);
  void remember(const Wanted &wanted);
  void insert(const Wanted &wanted, const KernelPtr &kernel);
  void remove(const Hash128 &key);

  const std::size_t maxKernels, maxBytes;
  mutable ForkMutex mutex;
  std::unordered_map<Hash128, Hash128, HashOfHash> resolved; ///< fingerprint -> key
  std::unordered_map<Hash128, Entry, HashOfHash> entries;
  std::unordered_map<Hash128, std::shared_ptr<Flight>, HashOfHash> flights;
  std::list<Hash128> ages; ///< keys, most recently used first
  std::size_t bytes = 0;
  std::uint64_t hits = 0, misses = 0, evictions = 0;
};

} // namespace attnjit::engine
