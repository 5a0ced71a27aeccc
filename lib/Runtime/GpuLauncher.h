// Runs kernels on one GPU: asynchronously, on streams of the caller's, and never waiting for any of them.
//
// A launch may be captured into a CUDA graph: all that it needs besides the operands travels by value (GpuArguments, GpuUpload) or lies in
// memory that is taken and given back in stream order, inside the graph.
#pragma once

#include "Runtime/GpuArguments.h"
#include "Runtime/GpuTicket.h"
#include "Runtime/GpuUpload.h"
#include "Support/KernelImage.h"
#include "attnjit/Hooks.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace attnjit::runtime {

/// Where a pointer leads.
enum class MemoryPlace {
  Host,   ///< of this process, unknown to the driver
  Shared, ///< pinned or managed: read and written by the GPU too, so what it holds now is not always what it will hold in stream order
  Device, ///< of the launcher's GPU
  Other,  ///< of another GPU
};

/// 90 for "sm_90" and "sm_90a".
int capabilityOf(std::string_view builtFor);
/// Whether code that was compiled for "sm_90" or "sm_90a" runs on a GPU of a compute capability: an "a" is of that one alone, others run on
/// all later ones.
bool runsOnGpu(std::string_view builtFor, int computeCapability);

/// A PTX image with the function that became of it on the device of its launcher: of one, always the same.
class GpuProgram {
public:
  GpuProgram(GpuSource source, std::uint32_t threadsPerBlock, std::string builtFor)
      : source(std::move(source)), threadsPerBlock(threadsPerBlock), builtFor(std::move(builtFor)) {}
  const GpuSource source;
  const std::uint32_t threadsPerBlock;
  const std::string builtFor; ///< sm_80, sm_90a ...
  std::span<const std::byte> ptx() const { return std::as_bytes(std::span(source.ptx)); }
  bool isLoaded() const { return function.load() != nullptr; }

private:
  friend class GpuLauncher;
  mutable std::atomic<CudaFunction> function{nullptr};
};

/// Blocks of a launch, and the memory of a kernel with several parts: states, and behind them counters that it finds 0.
struct GpuGrid {
  std::int64_t blocks = 0;
  std::size_t stateBytes = 0, counterBytes = 0;
  std::size_t memoryBytes() const { return stateBytes + counterBytes; }
};

class GpuLauncher {
public:
  GpuLauncher(std::string library, int ordinal, DeviceMemoryHook memory)
      : library(std::move(library)), ordinal(ordinal), memory(std::move(memory)) {}

  /// Opens the device at the first call. Errors: as CudaDevice::open.
  Result<CudaDevice *> device() const;
  Result<MemoryPlace> placeOf(const void *pointer) const;

  struct Options {
    void *stream = nullptr;
    bool timed = false;   ///< the ticket tells how long it took
    bool reports = false; ///< args.status is wanted
  };
  /// Loads the program if need be, and enqueues a launch. A ticket, if options want one. Errors: the driver's, with the program's name.
  Result<std::optional<GpuTicket>> launch(const GpuProgram &program, GpuArguments &arguments, const GpuGrid &grid,
                                          const Options &options) const;
  /// Loads the program ahead of its first launch.
  Result<void> load(const GpuProgram &program) const;
  /// Waits for a stream. Errors: what went wrong on it.
  Result<void> synchronize(void *stream) const;

  /// Memory for what has no CUDA of its own; ends with the stream's work.
  Result<CudaPointer> allocate(std::size_t bytes, void *stream) const;
  Result<void> free(CudaPointer pointer, std::size_t bytes, void *stream) const;
  Result<void> copyIn(CudaPointer to, const void *from, std::size_t bytes, void *stream) const;
  Result<void> copyOut(void *to, CudaPointer from, std::size_t bytes, void *stream) const;

private:
  /// What is made once the device is open.
  struct Open {
    explicit Open(CudaDevice &device) : device(device), upload(device), tickets(GpuTickets::of(device)) {}
    CudaDevice &device;
    GpuUpload upload;
    GpuTickets &tickets;
  };
  Result<Open *> open() const;
  Result<CudaFunction> functionOf(CudaDevice &device, const GpuProgram &program) const;
  Result<CudaPointer> takeMemory(CudaDevice &device, std::size_t bytes, CudaStream stream) const;
  Result<void> giveMemory(CudaDevice &device, CudaPointer pointer, std::size_t bytes, CudaStream stream) const;
  template <typename Body> Result<void> withBlock(Open &on, GpuArguments &arguments, CudaStream stream, Body &&body) const;
  template <typename Body>
  Result<void> withStates(Open &on, GpuArguments &arguments, const GpuGrid &grid, CudaStream stream, Body &&body) const;
  Result<void> startKernel(Open &on, CudaFunction function, const GpuProgram &program, GpuArguments &arguments, const GpuGrid &grid,
                           CudaStream stream) const;

  const std::string library;
  const int ordinal;
  const DeviceMemoryHook memory;
  mutable std::mutex mutex;
  mutable std::unique_ptr<Open> opened;
};

} // namespace attnjit::runtime
