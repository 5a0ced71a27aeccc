#include "Runtime/Workspace.h"

#include <algorithm>
#include <cstdint>
#include <exception>
#include <fmt/format.h>
#include <new>

namespace attnjit::runtime {

WorkspacePool::WorkspacePool(MemoryHook hook, std::size_t keptBuffers) : hook(std::move(hook)), keptBuffers(keptBuffers) {
  idle.reserve(keptBuffers);
}

WorkspacePool::~WorkspacePool() {
  for (Buffer buffer : idle)
    free(buffer);
}

Result<WorkspacePool::Buffer> WorkspacePool::acquire(std::size_t bytes) {
  if (bytes == 0)
    return Buffer{};
  {
    std::lock_guard lock(mutex);
    // The smallest that fits, so that one large kernel's buffer stays free for it.
    auto best = idle.end();
    for (auto it = idle.begin(); it != idle.end(); ++it)
      if (it->bytes >= bytes && (best == idle.end() || it->bytes < best->bytes))
        best = it;
    if (best != idle.end()) {
      const Buffer buffer = *best;
      idle.erase(best);
      return buffer;
    }
  }
  return allocate(bytes);
}

void WorkspacePool::release(Buffer buffer) {
  if (!buffer.memory)
    return;
  {
    std::lock_guard lock(mutex);
    if (idle.size() < keptBuffers) {
      idle.push_back(buffer);
      return;
    }
  }
  free(buffer);
}

Result<WorkspacePool::Buffer> WorkspacePool::allocate(std::size_t bytes) {
  void *memory = nullptr;
  std::string_view who = "the system";
  if (hook.allocate) {
    who = "the memory hook";
    try {
      memory = hook.allocate(bytes, kWorkspaceAlignment);
    } catch (const std::exception &exception) {
      return Error{ErrorCode::Unsupported,
                   fmt::format("the memory hook threw an exception when asked for {} bytes: {}", bytes, exception.what())};
    } catch (...) {
      return Error{ErrorCode::Unsupported, fmt::format("the memory hook threw an exception when asked for {} bytes", bytes)};
    }
  } else {
    memory = ::operator new(bytes, std::align_val_t(kWorkspaceAlignment), std::nothrow);
  }
  if (!memory)
    return Error{ErrorCode::Unsupported,
                 fmt::format("out of memory: {} gave none of the {} bytes of scratch that the kernel needs", who, bytes)};
  if (reinterpret_cast<std::uintptr_t>(memory) % kWorkspaceAlignment != 0) {
    free({memory, bytes});
    return Error{ErrorCode::InvalidArgument,
                 fmt::format("the memory hook gave memory that is not aligned to {} bytes as asked", kWorkspaceAlignment)};
  }
  return Buffer{memory, bytes};
}

void WorkspacePool::free(Buffer buffer) {
  if (!hook.free)
    return ::operator delete(buffer.memory, std::align_val_t(kWorkspaceAlignment));
  try {
    hook.free(buffer.memory, buffer.bytes, kWorkspaceAlignment);
  } catch (...) {
    // Nobody is left to tell: the call that used the buffer has its result already.
  }
}

} // namespace attnjit::runtime
