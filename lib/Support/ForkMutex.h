// A mutex that fork() respects.
#pragma once

#include <mutex>

namespace attnjit {

/// Like std::mutex, but no child of fork() finds it locked by a thread that exists in the parent only: fork() waits until its holder lets
/// go, so that what it guards is whole in the child. For sections that end soon and call no code of the user's.
class ForkMutex {
public:
  ForkMutex();
  ~ForkMutex();
  ForkMutex(const ForkMutex &) = delete;
  ForkMutex &operator=(const ForkMutex &) = delete;

  void lock() { mutex.lock(); }
  bool try_lock() { return mutex.try_lock(); }
  void unlock() { mutex.unlock(); }

private:
  friend struct ForkMutexes;
  std::mutex mutex;
  ForkMutex *before = nullptr, *after = nullptr; ///< all that exist, in a list
};

} // namespace attnjit
