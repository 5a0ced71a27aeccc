// Work that no call waits for: kernels that are made in the background.
//
// An entry is a class of calls (its fingerprint) and what has to be done for it. The threads start with the first entry and end with the
// queue. What failed is remembered, so that the next call of the class does the work itself and tells its caller why.
#pragma once

#include "Engine/Hashing.h"
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
  explicit CompileQueue(int threads) : threadCount(threads) {}
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

  void startThreads();
  void leaveThreads();
  void run();

  const int threadCount;
  mutable std::mutex mutex;
  std::condition_variable something, nothing;
  std::deque<Entry> waiting;
  std::unordered_set<Hash128, HashOfHash> underWay, failed; ///< underWay: those that wait, too
  std::unique_ptr<std::vector<std::thread>> threads;
  pid_t startedIn = 0; ///< threads do not survive fork(): in a child these are nobody's, and let go unjoined
  bool ending = false;
};

} // namespace attnjit::engine
