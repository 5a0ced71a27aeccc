// Scratch memory of kernels, kept from launch to launch.
#pragma once

#include "Support/ForkMutex.h"
#include "attnjit/Hooks.h"
#include "attnjit/Result.h"

#include <cstddef>
#include <mutex>
#include <vector>

namespace attnjit::runtime {

inline constexpr std::size_t kWorkspaceAlignment = 64;

/// Buffers of one memory hook. Thread safe. Everything is given back to the hook when the pool ends.
class WorkspacePool {
public:
  /// Keeps at most `keptBuffers` idle buffers; what comes back beyond that is freed.
  explicit WorkspacePool(MemoryHook hook, std::size_t keptBuffers = 64);
  ~WorkspacePool();
  WorkspacePool(const WorkspacePool &) = delete;
  WorkspacePool &operator=(const WorkspacePool &) = delete;

  struct Buffer {
    void *memory = nullptr;
    std::size_t bytes = 0;
  };

  /// A buffer of at least `bytes`, aligned to 64. Error: Unsupported when memory is out or the hook failed or threw.
  Result<Buffer> acquire(std::size_t bytes);
  void release(Buffer buffer);

private:
  Result<Buffer> allocate(std::size_t bytes);
  void free(Buffer buffer);

  const MemoryHook hook;
  const std::size_t keptBuffers;
  ForkMutex mutex;
  std::vector<Buffer> idle;
};

} // namespace attnjit::runtime
