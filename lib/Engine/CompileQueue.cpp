#include "Engine/CompileQueue.h"

#include "Engine/Guard.h"

#include <unistd.h>

namespace attnjit::engine {

namespace {

/// A program that asks for new formulas faster than they compile must not fill the memory with wishes.
constexpr std::size_t kMaxWaiting = 256, kMaxFailures = 4096;

} // namespace

CompileQueue::CompileQueue(int threads) : threadCount(threads), crew(new Crew{::getpid()}) {}

CompileQueue::~CompileQueue() {
  Crew *ours;
  std::deque<Entry> dropped; // ends outside of the lock, as all work does
  {
    std::lock_guard lock(mutex);
    ours = &here();
    ending = true;
    dropped.swap(waiting);
  }
  ours->something.notify_all();
  for (std::thread &thread : ours->threads)
    thread.join();
}

void CompileQueue::add(const Hash128 &fingerprint, Work work) {
  std::lock_guard lock(mutex);
  Crew &ours = here();
  if (waiting.size() >= kMaxWaiting || !underWay.insert(fingerprint).second)
    return;
  waiting.push_back({fingerprint, std::move(work)});
  startThreads(ours);
  ours.something.notify_one();
}

bool CompileQueue::hasFailed(const Hash128 &fingerprint) const {
  std::lock_guard lock(mutex);
  return failed.contains(fingerprint);
}

void CompileQueue::wait() {
  std::unique_lock lock(mutex);
  Crew &ours = here();
  if (!waiting.empty())
    startThreads(ours);
  ours.nothing.wait(lock, [&] { return underWay.empty(); });
}

std::size_t CompileQueue::size() const {
  std::lock_guard lock(mutex);
  here();
  return underWay.size();
}

/// This process's. In a child of fork() the threads are gone, and with them what they were at; what waited is here still. The parent's crew
/// is left as it is: ending a thread that nobody joined would end the process, and nobody can say who sleeps there.
CompileQueue::Crew &CompileQueue::here() const {
  if (crew->process == ::getpid())
    return *crew;
  [[maybe_unused]] const Crew *theirs = crew.release();
  crew.reset(new Crew{::getpid()});
  underWay.clear();
  for (const Entry &entry : waiting)
    underWay.insert(entry.fingerprint);
  return *crew;
}

void CompileQueue::startThreads(Crew &ours) {
  while (ours.threads.size() < static_cast<std::size_t>(threadCount))
    ours.threads.emplace_back([this, &ours] { run(ours); });
}

void CompileQueue::run(Crew &ours) {
  std::unique_lock lock(mutex);
  while (true) {
    ours.something.wait(lock, [&] { return ending || !waiting.empty(); });
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
      ours.nothing.notify_all();
  }
}

} // namespace attnjit::engine
