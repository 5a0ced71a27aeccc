// One GPU: its primary context, a pool of its memory, and the kernels that were loaded onto it.
#pragma once

#include "Runtime/Cuda/Driver.h"

#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace attnjit::runtime {

/// A kernel's text, and how messages call it.
struct GpuSource {
  std::string ptx;
  std::string entry;
  std::string name;
  std::uint32_t sharedBytes = 0;
};

/// Devices are opened once per process and driver and never closed; neither are kernels ever unloaded: a launch that is still running, and
/// a graph that was captured, need them without telling. So equal texts are loaded once per process.
class CudaDevice {
public:
  /// Errors: as CudaDriver::open; InvalidArgument for an ordinal that is none.
  static Result<CudaDevice *> open(const std::string &library, int ordinal);

  const CudaDriver &driver;
  const int ordinal;
  const std::string &name() const { return deviceName; } ///< NVIDIA H100 80GB HBM3
  int computeCapability() const { return capability; }   ///< 90 for sm_90
  int multiprocessors() const { return processors; }

  /// The function of `source`. Single flight. The driver assembles the text, and keeps what came of it on disk for later processes (CUDA
  /// C++ Programming Guide, "Just-in-Time Compilation": CUDA_CACHE_PATH, CUDA_CACHE_MAXSIZE). Errors: the driver's, with the assembler's
  /// words.
  Result<CudaFunction> function(const GpuSource &source);

  /// Stream-ordered memory of the device's pool, which keeps what comes back.
  Result<CudaPointer> allocate(std::size_t bytes, CudaStream stream);
  Result<void> free(CudaPointer memory, CudaStream stream);

  /// Runs the body with the primary context current.
  template <typename Body> auto inContext(Body &&body) -> decltype(body()) {
    if (Result<void> entered = enter(); !entered)
      return entered.error();
    const Leave leave{*this};
    return body();
  }

private:
  CudaDevice(const CudaDriver &driver, int ordinal) : driver(driver), ordinal(ordinal) {}
  Result<void> start();
  Result<void> enter();
  struct Leave {
    const CudaDevice &device;
    ~Leave();
  };
  Result<CudaModule> assemble(const GpuSource &source) const;
  Result<CudaFunction> loadFunction(const GpuSource &source) const;
  Result<CudaMemPool> memoryPool();

  int device = 0, capability = 0, processors = 1;
  std::string deviceName;
  CudaContext context = nullptr;
  std::mutex mutex; ///< of what follows
  CudaMemPool pool = nullptr;
  struct Loaded {
    std::mutex mutex;
    CudaFunction function = nullptr;
  };
  std::map<std::string, std::unique_ptr<Loaded>, std::less<>> functions; ///< by their text
};

/// While it lives, what this thread does beside its streams is no part of a capture that it has begun, and does not break one: loading a
/// kernel and taking pinned memory are such.
class OutsideCapture {
public:
  explicit OutsideCapture(const CudaDriver &driver) : driver(driver) { driver.cuThreadExchangeStreamCaptureMode(&mode); }
  ~OutsideCapture() { driver.cuThreadExchangeStreamCaptureMode(&mode); }
  OutsideCapture(const OutsideCapture &) = delete;
  OutsideCapture &operator=(const OutsideCapture &) = delete;

private:
  const CudaDriver &driver;
  int mode = cuda::kCaptureModeRelaxed;
};

} // namespace attnjit::runtime
