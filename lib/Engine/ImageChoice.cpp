#include "Engine/KernelImpl.h"
#include "Runtime/Cuda/Device.h"
#include "Support/TargetDesc.h"

#include <fmt/format.h>

namespace attnjit::engine {

namespace {

/// A machine, as far as images differ for it.
class Machine {
public:
  explicit Machine(const runtime::GpuLauncher &gpu) : gpu(gpu) {}

  /// How much of the machine an image uses; 0: it does not run here. Error: there is no such machine.
  Result<int> fitOf(const ImageMetadata &meta) { return isCpu(meta.kind) ? fitOnCpu(meta) : fitOnGpu(meta); }
  std::string text() const { return description; }

private:
  Result<int> fitOnCpu(const ImageMetadata &meta) {
    const Result<TargetDesc> host = hostTarget(), wanted = parseTarget(meta.cpu);
    if (!host)
      return host.error();
    description = "this CPU is " + host->cpu;
    if (!wanted || !host->runs(*wanted))
      return 0;
    return wanted->vectorBits + wanted->hasBf16() + wanted->hasAmx();
  }

  Result<int> fitOnGpu(const ImageMetadata &meta) {
    const Result<runtime::CudaDevice *> device = gpu.device();
    if (!device)
      return device.error();
    const int capability = (*device)->computeCapability();
    description = fmt::format("the GPU, {}, is an sm_{}", (*device)->name(), capability);
    if (!runtime::runsOnGpu(meta.cpu, capability))
      return 0;
    return 2 * runtime::capabilityOf(meta.cpu) + meta.cpu.ends_with('a'); // "sm_90a" may use more than "sm_90"
  }

  const runtime::GpuLauncher &gpu;
  std::string description;
};

} // namespace

Result<KernelImage> chooseImage(std::span<const std::byte> bytes, const runtime::GpuLauncher &gpu) {
  const std::vector<std::span<const std::byte>> images = splitImages(bytes);
  if (images.size() <= 1)
    return deserialize(bytes);
  Machine machine(gpu);
  std::optional<KernelImage> best;
  int bestFit = 0;
  std::string targets;
  for (const std::span<const std::byte> one : images) {
    Result<KernelImage> image = deserialize(one);
    if (!image)
      return image.error();
    targets += (targets.empty() ? "" : ", ") + image->meta.cpu;
    const Result<int> fit = machine.fitOf(image->meta);
    if (!fit)
      return fit.error();
    if (*fit > bestFit) {
      bestFit = *fit;
      best = std::move(*image);
    }
  }
  if (best)
    return std::move(*best);
  return Error{ErrorCode::Unsupported, fmt::format("the kernel was compiled for {}; {}", targets, machine.text())};
}

} // namespace attnjit::engine
