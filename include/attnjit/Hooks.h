// What an embedder may replace: threads, memory, logging. An empty function means attnjit's own.
//
// Hooks may be called from several threads at once. An exception that leaves a hook does not cross the engine: the call that caused it
// fails with an Error that says so.
#pragma once

#include <cstddef>
#include <functional>
#include <string_view>

namespace attnjit::inline v0 {

/// Runs body(worker) exactly once for each worker of [0, workers), on any threads, and returns when all have returned. Running
/// them one after the other on the calling thread is legal: work is handed out dynamically, so no body waits for another.
using ParallelForHook = std::function<void(int workers, const std::function<void(int worker)> &body)>;

/// Scratch memory of kernels. `alignment` is a power of two. Null = out of memory.
struct MemoryHook {
  std::function<void *(std::size_t bytes, std::size_t alignment)> allocate;
  std::function<void(void *memory, std::size_t bytes, std::size_t alignment)> free;
};

enum class LogLevel { Debug, Info, Warning };

/// Memory of a GPU for what a launch needs while it runs, in stream order: what allocate answers may be used by what is enqueued on the
/// stream from then on, and free is called when the launch has been enqueued, not when it has run. Null = out of memory. Aligned to 16. A
/// stream that is being captured has to be reckoned with if the program captures launches.
struct DeviceMemoryHook {
  std::function<void *(std::size_t bytes, int device, void *stream)> allocate;
  std::function<void(void *memory, std::size_t bytes, int device, void *stream)> free;
};

/// One line without a line end. Nothing is logged when it is empty.
using LogHook = std::function<void(LogLevel level, std::string_view message)>;

struct Hooks {
  ParallelForHook parallelFor;
  MemoryHook memory; ///< both functions or neither
  LogHook log;
  DeviceMemoryHook deviceMemory = {}; ///< both functions or neither; default: a pool of attnjit's own on the device
};

} // namespace attnjit::inline v0
