// Work that no call waits for: kernels that are made in the background.
//
// An entry is a class of calls (its fingerprint) and what has to be done for it. The threads start with the first entry and end with the
// queue. What failed is remembered, so that the next call of the class does the work itself and tells its caller why. A child of fork()
// goes on with what waited, by threads of its own.
#pragma once

#include "Engine/Hashing.h"
#include "Support/ForkMutex.h"
#include "attnjit/Result.h"

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <sys/types.h>
#include <thread>
#include <unordered_set>
#include <vector>

namespace attnjit::engine {

class CompileQueue {
public:
  explicit CompileQueue(int threads);
  /// Drops what waits and waits for what runs.
  ~CompileQueue();
  CompileQueue(const CompileQueue &) = delete;
  CompileQueue &operator=(const CompileQueue &) = delete;

  using Work = std::function<Result<void>()>;

  /// Does `work` some time, unless that class waits or is at work already. Nothing happens when too many wait: a later call asks again.
  void add(const Hash128 &fingerprint, Work work);
  /// Whether work for that class has failed.
  bool hasFailed(const Hash128 &fingerprint) const;
  /// Returns when nothing waits and nothing is at work.
  void wait();
  /// Entries that wait or are at work.
  std::size_t size() const;

private:
  struct Entry {
    Hash128 fingerprint;
    Work work;
  };

  /// The threads of a process, and what they and those who wait for them sleep on: none of it survives fork().
  struct Crew {
    pid_t process;
    std::vector<std::thread> threads = {};
    std::condition_variable_any something = {}, nothing = {};
  };

  Crew &here() const;
  void startThreads(Crew &crew);
  void run(Crew &crew);

  const int threadCount;
  mutable ForkMutex mutex;
  std::deque<Entry> waiting;
  mutable std::unordered_set<Hash128, HashOfHash> underWay; ///< those that wait, too
  std::unordered_set<Hash128, HashOfHash> failed;
  mutable std::unique_ptr<Crew> crew;
  bool ending = false;
};

} // namespace attnjit::engine
