#include "Engine/CompileQueue.h"

#include "Engine/Guard.h"

#include <unistd.h>

namespace attnjit::engine {

namespace {

/// A program that asks for new formulas faster than they compile must not fill the memory with wishes.
constexpr std::size_t kMaxWaiting = 256, kMaxFailures = 4096;

} // namespace

CompileQueue::~CompileQueue() {
  {
    std::lock_guard lock(mutex);
    ending = true;
    waiting.clear();
  }
  something.notify_all();
  if (startedIn != ::getpid())
    leaveThreads();
  else
    for (std::thread &thread : *threads)
      thread.join();
}

void CompileQueue::add(const Hash128 &fingerprint, Work work) {
  std::lock_guard lock(mutex);
  startThreads();
  if (waiting.size() >= kMaxWaiting || !underWay.insert(fingerprint).second)
    return;
  waiting.push_back({fingerprint, std::move(work)});
  something.notify_one();
}

bool CompileQueue::hasFailed(const Hash128 &fingerprint) const {
  std::lock_guard lock(mutex);
  return failed.contains(fingerprint);
}

void CompileQueue::wait() {
  std::unique_lock lock(mutex);
  nothing.wait(lock, [&] { return underWay.empty(); });
}

std::size_t CompileQueue::size() const {
  std::lock_guard lock(mutex);
  return underWay.size();
}

/// Those of the parent, if any: ending a thread that nobody joined would end the process.
void CompileQueue::leaveThreads() { [[maybe_unused]] const auto *theirs = threads.release(); }

/// In a child of fork() the threads are gone, and with them what they were at; what waited is here still.
void CompileQueue::startThreads() {
  if (startedIn == ::getpid())
    return;
  leaveThreads();
  threads = std::make_unique<std::vector<std::thread>>();
  underWay.clear();
  for (const Entry &entry : waiting)
    underWay.insert(entry.fingerprint);
  startedIn = ::getpid();
  for (int i = 0; i < threadCount; ++i)
    threads->emplace_back([this] { run(); });
}

void CompileQueue::run() {
  std::unique_lock lock(mutex);
  while (true) {
    something.wait(lock, [&] { return ending || !waiting.empty(); });
    if (ending)
      return;
    Entry entry = std::move(waiting.front());
    waiting.pop_front();
    lock.unlock();
    const Result<void> done = guarded(entry.work);
    entry.work = nullptr; // what it holds ends here, not under the lock
    lock.lock();
    underWay.erase(entry.fingerprint);
    if (!done) {
      if (failed.size() >= kMaxFailures)
        failed.clear();
      failed.insert(entry.fingerprint);
    }
    if (underWay.empty())
      nothing.notify_all();
  }
}

} // namespace attnjit::engine
