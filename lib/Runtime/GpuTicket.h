// What a launch on a GPU says after it has run: whether an index left its captured tensor (A10), and how long it took.
#pragma once

#include "Runtime/Cuda/Device.h"

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace attnjit::runtime {

/// A word that a kernel lowers and the host reads, in pinned memory that both see: nothing has to be copied, so nothing has to be waited
/// for. With it the events around its launch.
struct GpuSlot {
  std::int64_t *word = nullptr; ///< as KernelArgs::status
  CudaPointer onDevice = nullptr;
  CudaEvent begin = nullptr, end = nullptr;
  bool captured = false; ///< a graph holds it, and may write again at any time: it is never used for another launch
};

/// A launch that has something to say, to whoever holds this.
class GpuTicket {
public:
  /// kStatusOk, or the smallest code so far; final once the caller has waited for the stream.
  std::int64_t status() const;
  /// Nanoseconds on the device. Errors: InvalidArgument for a launch that was captured, or has not ended.
  Result<std::int64_t> deviceNs() const;

private:
  friend class GpuTickets;
  std::shared_ptr<GpuSlot> slot;
  CudaDevice *device = nullptr;
  bool timed = false;
};

/// Makes tickets of a device, and uses their slots again. Thread safe. One per device, which lives as long as the process: a launch that is
/// still running writes its word whether or not the engine that began it is there.
class GpuTickets {
public:
  static GpuTickets &of(CudaDevice &device);

  /// A slot with a fresh word and events, for one launch. The device's context is current.
  Result<std::shared_ptr<GpuSlot>> take();
  /// Around the launch.
  Result<void> begin(GpuSlot &slot, CudaStream stream, bool timed);
  Result<void> end(const GpuSlot &slot, CudaStream stream);
  GpuTicket ticketOf(std::shared_ptr<GpuSlot> slot, bool timed);

private:
  explicit GpuTickets(CudaDevice &device) : device(device) {}
  Result<void> addSlots();
  void giveBack(GpuSlot slot);

  CudaDevice &device;
  std::mutex mutex;
  std::vector<GpuSlot> idle; ///< their launches may still be running
};

} // namespace attnjit::runtime
