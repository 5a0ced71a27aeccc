// Loaded kernels by key: single-flight, least recently used leave first.
//
// Two ways in. A *fingerprint* is a cheap hash of a call's class, good enough for the hot path; it remembers to which key that class
// was resolved. A *key* is the hash of everything that is compiled in. obtain() makes a missing kernel exactly once, whatever number of
// threads ask: the first one makes it, the others wait and get the same kernel or the same error. Errors are not kept.
#pragma once

#include "Engine/Hashing.h"
#include "Engine/KernelImpl.h"
#include "attnjit/Result.h"

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>

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
  /// The kernel of `key`, made by `make` if need be, and remembered for `fingerprint`. `make` runs unlocked and may use the cache for other
  /// keys; asking for the same key from inside is answered with an error.
  Obtained obtain(const Hash128 &key, const Hash128 &fingerprint, const std::function<Result<KernelPtr>()> &make);

  /// Another kernel in the place of that of `key`, for all that ask from now on.
  void replace(const Hash128 &key, const KernelPtr &kernel);
  void clear();

  struct Counters {
    std::uint64_t hits = 0, misses = 0, evictions = 0, kernels = 0, bytes = 0;
  };
  Counters counters() const;

private:
  /// One making in progress; those who wait hold it too.
  struct Flight {
    std::thread::id maker;
    bool landed = false;
    Result<KernelPtr> outcome{Error{}};
    std::condition_variable done;
  };
  struct Entry {
    KernelPtr kernel;
    std::list<Hash128>::iterator age;
  };

  KernelPtr touch(const Hash128 &key);
  void remember(const Hash128 &fingerprint, const Hash128 &key);
  void insert(const Hash128 &key, const KernelPtr &kernel);
  void remove(const Hash128 &key);
  static std::size_t bytesOf(const KernelPtr &kernel) { return kernel->code().size(); }

  const std::size_t maxKernels, maxBytes;
  mutable std::mutex mutex;
  std::unordered_map<Hash128, Hash128, HashOfHash> resolved; ///< fingerprint -> key
  std::unordered_map<Hash128, Entry, HashOfHash> entries;
  std::unordered_map<Hash128, std::shared_ptr<Flight>, HashOfHash> flights;
  std::list<Hash128> ages; ///< keys, most recently used first
  std::size_t bytes = 0;
  std::uint64_t hits = 0, misses = 0, evictions = 0;
};

} // namespace attnjit::engine
