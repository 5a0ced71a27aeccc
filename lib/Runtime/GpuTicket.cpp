#include "Runtime/GpuTicket.h"

#include "attnjit/KernelAbi.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>

namespace attnjit::runtime {

std::int64_t GpuTicket::status() const { return std::atomic_ref<std::int64_t>(*slot->word).load(std::memory_order_acquire); }

Result<std::int64_t> GpuTicket::deviceNs() const {
  if (!timed || slot->captured)
    return Error{ErrorCode::InvalidArgument, slot->captured ? "the launch was captured: its replays are not timed"
                                                            : "the call did not ask for its time; set ForwardCall::timeOnDevice"};
  return device->inContext([&]() -> Result<std::int64_t> {
    float milliseconds = 0;
    const int status = device->driver.cuEventElapsedTime(&milliseconds, slot->begin, slot->end);
    if (status == cuda::kNotReady)
      return Error{ErrorCode::InvalidArgument, "the launch has not ended yet; wait for its stream first"};
    if (Result<void> read = device->driver.check(status, "timing a launch"); !read)
      return read.error();
    return static_cast<std::int64_t>(std::llround(static_cast<double>(milliseconds) * 1e6));
  });
}

GpuTickets &GpuTickets::of(CudaDevice &device) {
  static std::mutex mutex;
  static auto &all = *new std::map<CudaDevice *, std::unique_ptr<GpuTickets>>;
  std::lock_guard lock(mutex);
  std::unique_ptr<GpuTickets> &slot = all[&device];
  if (!slot)
    slot.reset(new GpuTickets(device));
  return *slot;
}

Result<std::shared_ptr<GpuSlot>> GpuTickets::take() {
  std::unique_lock lock(mutex);
  const auto isOver = [&](const GpuSlot &slot) { return device.driver.cuEventQuery(slot.end) == cuda::kSuccess; };
  OutsideCapture outside(device.driver);
  auto found = std::find_if(idle.begin(), idle.end(), isOver);
  if (found == idle.end()) {
    if (Result<void> added = addSlots(); !added)
      return added.error();
    found = idle.end() - 1;
  }
  const GpuSlot slot = *found;
  idle.erase(found);
  lock.unlock();
  std::atomic_ref<std::int64_t>(*slot.word).store(kStatusOk, std::memory_order_release);
  return std::shared_ptr<GpuSlot>(new GpuSlot(slot), [this](GpuSlot *ended) {
    giveBack(*ended);
    delete ended;
  });
}

Result<void> GpuTickets::addSlots() {
  constexpr std::size_t kSlots = 64;
  const CudaDriver &driver = device.driver;
  void *words = nullptr;
  CudaPointer onDevice = nullptr;
  constexpr std::string_view doing = "making status words in pinned memory";
  int status = driver.cuMemHostAlloc(&words, kSlots * sizeof(std::int64_t), cuda::kHostAllocPortable | cuda::kHostAllocDeviceMap);
  if (status == cuda::kSuccess)
    status = driver.cuMemHostGetDevicePointer_v2(&onDevice, words, 0);
  for (std::size_t i = 0; i < kSlots && status == cuda::kSuccess; ++i) {
    GpuSlot slot{static_cast<std::int64_t *>(words) + i, onDevice + i * sizeof(std::int64_t)};
    status = driver.cuEventCreate(&slot.begin, cuda::kEventDefault);
    if (status == cuda::kSuccess)
      status = driver.cuEventCreate(&slot.end, cuda::kEventDefault);
    if (status == cuda::kSuccess)
      idle.push_back(slot);
  }
  return driver.check(status, doing);
}

void GpuTickets::giveBack(GpuSlot slot) {
  if (slot.captured) { // its word is the graph's for good; its events were never recorded
    for (CudaEvent event : {slot.begin, slot.end})
      device.driver.cuEventDestroy_v2(event);
    return;
  }
  std::lock_guard lock(mutex);
  idle.push_back(slot);
}

Result<void> GpuTickets::begin(GpuSlot &slot, CudaStream stream, bool timed) {
  int capturing = cuda::kCaptureNone;
  if (Result<void> asked =
          device.driver.check(device.driver.cuStreamIsCapturing(stream, &capturing), "asking whether the stream is captured");
      !asked)
    return asked;
  slot.captured = capturing != cuda::kCaptureNone;
  if (slot.captured || !timed)
    return {};
  return device.driver.check(device.driver.cuEventRecord(slot.begin, stream), "recording the begin of a launch");
}

Result<void> GpuTickets::end(const GpuSlot &slot, CudaStream stream) {
  if (slot.captured)
    return {};
  return device.driver.check(device.driver.cuEventRecord(slot.end, stream), "recording the end of a launch");
}

GpuTicket GpuTickets::ticketOf(std::shared_ptr<GpuSlot> slot, bool timed) {
  GpuTicket ticket;
  ticket.slot = std::move(slot);
  ticket.device = &device;
  ticket.timed = timed;
  return ticket;
}

} // namespace attnjit::runtime
