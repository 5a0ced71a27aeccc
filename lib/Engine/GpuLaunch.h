// Calls for a GPU: where their tensors lie, what of them travels with the launch, and the launch.
#pragma once

#include "Engine/CallCheck.h"
#include "Engine/KernelImpl.h"
#include "Engine/Launch.h"
#include "Support/TargetDesc.h"
#include "attnjit/Engine.h"

#include <span>
#include <string>
#include <vector>

namespace attnjit::inline v0 {

/// A launch that was enqueued, and what makes a message of its status.
struct LaunchImpl {
  runtime::GpuTicket ticket;
  KernelArgs args;
  std::string captures; ///< their names
};

} // namespace attnjit::inline v0

namespace attnjit::engine {

/// The best target for the GPU that options name. Errors: as CudaDevice::open; Unsupported for one before sm_80.
Result<TargetDesc> nativeGpuTarget(const EngineOptions &options);

/// That the operands lie where the GPU reaches them, and page tables where the host does. Null pointers are left to checkCall, which may
/// read what this has found readable. Error: InvalidArgument naming the tensor.
Result<void> checkMemory(const ForwardCall &call, const runtime::GpuLauncher &gpu);

/// Where the captures of a call lie, in the order of CheckedCall::captures. Error: InvalidArgument for one that no launch can use.
Result<std::vector<runtime::MemoryPlace>> placesOfCaptures(const std::vector<TensorRef> &captures, const ModImpl &mod,
                                                           const runtime::GpuLauncher &gpu);

/// The host plan may read them all: they are in host memory, and no stream can change them.
bool areReadable(std::span<const runtime::MemoryPlace> places);

/// prepared.gpu: everything that the kernel reads and that lies in host memory, packed for the launch.
Result<void> packArguments(PreparedCall &prepared, const std::vector<TensorRef> &captures, std::span<const runtime::MemoryPlace> places);

/// Enqueues the call on its stream.
Result<void> enqueue(PreparedCall &prepared);

} // namespace attnjit::engine
