#include "Runtime/ThreadPool.h"

#include <atomic>
#include <exception>
#include <fmt/format.h>
#include <sched.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>

#if ATTNJIT_HAVE_TBB
#include <tbb/parallel_for.h>
#include <tbb/partitioner.h>
#include <tbb/task_arena.h>
#endif

namespace attnjit::runtime {

namespace {

/// Threads made for this region and joined at its end. Slower to start than a pool, but depends on nothing that fork() breaks.
void runOnOwnThreads(int workers, const std::function<void(int)> &body) {
  std::vector<std::thread> threads;
  threads.reserve(static_cast<std::size_t>(workers - 1));
  int started = 1;
  try {
    for (; started < workers; ++started)
      threads.emplace_back(body, started);
  } catch (const std::system_error &) {
    // Out of threads: the calling thread does what is left.
  }
  body(0);
  for (int worker = started; worker < workers; ++worker)
    body(worker);
  for (std::thread &thread : threads)
    thread.join();
}

#if ATTNJIT_HAVE_TBB

/// oneTBB's workers live in the process that first used them; a child made by fork() has only their bookkeeping.
bool poolBelongsToThisProcess() {
  static const pid_t owner = ::getpid();
  return ::getpid() == owner;
}

void runByDefault(int workers, const std::function<void(int)> &body) {
  if (!poolBelongsToThisProcess())
    return runOnOwnThreads(workers, body);
  tbb::this_task_arena::isolate([&] { tbb::parallel_for(0, workers, 1, body, tbb::simple_partitioner()); });
}

#else

void runByDefault(int workers, const std::function<void(int)> &body) { runOnOwnThreads(workers, body); }

#endif

Error hookError(std::string_view what) {
  return {ErrorCode::InvalidArgument,
          fmt::format("the parallelFor hook {}: it must run body(worker) once for each worker and return after the last", what)};
}

/// Counts how often each worker ran, so that a hook that breaks its contract is found out instead of leaving holes in the output.
Result<void> runByHook(const ParallelForHook &hook, int workers, const std::function<void(int)> &body) {
  std::vector<std::atomic<int>> runs(static_cast<std::size_t>(workers));
  std::atomic<int> strangers{0};
  const std::function<void(int)> counted = [&](int worker) {
    if (worker < 0 || worker >= workers || runs[static_cast<std::size_t>(worker)].fetch_add(1) != 0) {
      strangers.fetch_add(1);
      return;
    }
    body(worker);
  };
  try {
    hook(workers, counted);
  } catch (const std::exception &exception) {
    return hookError(fmt::format("threw an exception ({})", exception.what()));
  } catch (...) {
    return hookError("threw an exception");
  }
  if (strangers.load() != 0)
    return hookError("ran a worker twice, or one that does not exist");
  for (const std::atomic<int> &count : runs)
    if (count.load() != 1)
      return hookError("left out a worker");
  return {};
}

} // namespace

int usableProcessors() {
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) == 0 && CPU_COUNT(&allowed) > 0)
    return CPU_COUNT(&allowed);
  // More processors than cpu_set_t holds.
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

Result<void> parallelFor(const ParallelForHook &hook, int workers, const std::function<void(int worker)> &body) {
  if (hook)
    return runByHook(hook, workers, body);
  if (workers == 1)
    body(0);
  else
    runByDefault(workers, body);
  return {};
}

} // namespace attnjit::runtime
