// Host bytes into device memory, in stream order, without waiting and without memory that has to stay: they travel as the parameter of a
// little kernel, which the driver copies when the launch is asked for. So a captured launch carries them too, for all its replays.
#pragma once

#include "Runtime/Cuda/Device.h"

#include <atomic>
#include <span>

namespace attnjit::runtime {

class GpuUpload {
public:
  explicit GpuUpload(CudaDevice &device) : device(device) {}
  /// `bytes` are a multiple of 8 and aligned to 8, and so is `to`. The device's context is current.
  Result<void> upload(CudaPointer to, std::span<const std::byte> bytes, CudaStream stream);

private:
  template <typename Parcel>
  Result<void> send(std::atomic<CudaFunction> &kernel, CudaPointer to, std::span<const std::byte> bytes, CudaStream stream);

  CudaDevice &device;
  std::atomic<CudaFunction> smallKernel{nullptr}, largeKernel{nullptr}; ///< once they are loaded
};

} // namespace attnjit::runtime
