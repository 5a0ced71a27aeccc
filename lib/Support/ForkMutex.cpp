#include "Support/ForkMutex.h"

#include <pthread.h>
#include <thread>

namespace attnjit {

/// All mutexes that exist. Never destroyed: others may outlive it, and fork() may come at any time.
struct ForkMutexes {
  std::mutex mutex;
  ForkMutex *first = nullptr;

  static ForkMutexes &all() {
    static ForkMutexes &mutexes = *new ForkMutexes;
    [[maybe_unused]] static const int registered = ::pthread_atfork(&lockAll, &unlockAll, &unlockAll);
    return mutexes;
  }

  /// Sections may be nested in an order that is not known here, and make mutexes inside: all are taken at once or none, so that nobody
  /// waits for a thread that waits for this one.
  static void lockAll() {
    ForkMutexes &mutexes = all();
    for (mutexes.mutex.lock(); ForkMutex *busy = mutexes.tryAll(); mutexes.mutex.lock()) {
      mutexes.unlockUpTo(busy);
      mutexes.mutex.unlock();
      std::this_thread::yield();
    }
  }

  static void unlockAll() {
    ForkMutexes &mutexes = all();
    mutexes.unlockUpTo(nullptr);
    mutexes.mutex.unlock();
  }

  /// The first that somebody holds; those before it are then locked. Null: all are.
  ForkMutex *tryAll() {
    for (ForkMutex *one = first; one; one = one->after)
      if (!one->try_lock())
        return one;
    return nullptr;
  }

  void unlockUpTo(const ForkMutex *end) {
    for (ForkMutex *one = first; one != end; one = one->after)
      one->unlock();
  }
};

ForkMutex::ForkMutex() {
  ForkMutexes &mutexes = ForkMutexes::all();
  std::lock_guard lock(mutexes.mutex);
  after = mutexes.first;
  if (after)
    after->before = this;
  mutexes.first = this;
}

ForkMutex::~ForkMutex() {
  ForkMutexes &mutexes = ForkMutexes::all();
  std::lock_guard lock(mutexes.mutex);
  (before ? before->after : mutexes.first) = after;
  if (after)
    after->before = before;
}

} // namespace attnjit
