#include "attnjit/DeviceBuffer.h"

#include "Engine/EngineImpl.h"
#include "Engine/Guard.h"

namespace attnjit::inline v0 {

struct DeviceBufferImpl {
  std::shared_ptr<const runtime::GpuLauncher> gpu;
  std::size_t bytes = 0;
  void *stream = nullptr;
  runtime::CudaPointer memory = nullptr;
};

DeviceBuffer::DeviceBuffer(std::unique_ptr<DeviceBufferImpl> buffer) : buffer(std::move(buffer)) {}
DeviceBuffer::DeviceBuffer(DeviceBuffer &&) noexcept = default;
DeviceBuffer &DeviceBuffer::operator=(DeviceBuffer &&other) noexcept {
  std::swap(buffer, other.buffer);
  return *this;
}

DeviceBuffer::~DeviceBuffer() {
  if (buffer)
    (void)buffer->gpu->free(buffer->memory, buffer->bytes, buffer->stream); // there is nobody to tell
}

Result<DeviceBuffer> DeviceBuffer::allocate(const Engine &engine, std::size_t bytes, void *stream) {
  return engine::guarded([&]() -> Result<DeviceBuffer> {
    if (engine.impl().target.kind != TargetDesc::Kind::Nvptx)
      return Error{ErrorCode::InvalidArgument,
                   "DeviceBuffer: the engine's target is " + engine.target() + ", whose memory is the host's own"};
    auto buffer = std::make_unique<DeviceBufferImpl>(DeviceBufferImpl{engine.impl().site.gpu, bytes, stream, nullptr});
    Result<runtime::CudaPointer> memory = buffer->gpu->allocate(bytes > 0 ? bytes : 1, stream);
    if (!memory)
      return memory.error();
    buffer->memory = *memory;
    return DeviceBuffer(std::move(buffer));
  });
}

void *DeviceBuffer::data() const { return buffer->memory; }
std::size_t DeviceBuffer::bytes() const { return buffer->bytes; }

Result<void> DeviceBuffer::copyFrom(const void *host) const {
  return buffer->bytes > 0 ? buffer->gpu->copyIn(buffer->memory, host, buffer->bytes, buffer->stream) : Result<void>();
}

Result<void> DeviceBuffer::copyTo(void *host) const {
  if (buffer->bytes > 0)
    if (Result<void> copied = buffer->gpu->copyOut(host, buffer->memory, buffer->bytes, buffer->stream); !copied)
      return copied;
  return buffer->gpu->synchronize(buffer->stream);
}

} // namespace attnjit::inline v0
