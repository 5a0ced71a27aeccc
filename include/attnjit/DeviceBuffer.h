// Memory of an engine's GPU for programs that have no CUDA of their own: enough to bring operands there and results back.
#pragma once

#include "attnjit/Engine.h"
#include "attnjit/Result.h"

#include <cstddef>
#include <memory>

namespace attnjit::inline v0 {

struct DeviceBufferImpl;

/// Owns bytes on the GPU; moved, not copied. It is given back in the order of the stream it was made on, so it may end while work that was
/// enqueued there still uses it.
class DeviceBuffer {
public:
  /// Uninitialised. Errors: InvalidArgument for an engine whose target is a CPU, Unsupported without a GPU or memory.
  static Result<DeviceBuffer> allocate(const Engine &engine, std::size_t bytes, void *stream = nullptr);
  ~DeviceBuffer();
  DeviceBuffer(DeviceBuffer &&) noexcept;
  DeviceBuffer &operator=(DeviceBuffer &&) noexcept;

  /// For the `data` of a TensorRef.
  void *data() const;
  std::size_t bytes() const;
  /// All bytes from host memory, which may be changed once this returns.
  Result<void> copyFrom(const void *host) const;
  /// All bytes to host memory, once all that is on the stream has run: waits for it.
  Result<void> copyTo(void *host) const;

private:
  explicit DeviceBuffer(std::unique_ptr<DeviceBufferImpl> buffer);
  std::unique_ptr<DeviceBufferImpl> buffer;
};

} // namespace attnjit::inline v0
