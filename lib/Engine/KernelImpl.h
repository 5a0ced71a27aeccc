// A loaded kernel: an image's metadata with its mapped code, or a host callable.
#pragma once

#include "Engine/ModImpl.h"
#include "Runtime/CpuLauncher.h"
#include "Runtime/GpuLauncher.h"
#include "Runtime/ImageMapping.h"
#include "Support/KernelImage.h"
#include "attnjit/Kernel.h"
#include "attnjit/Pipeline.h"

#include <memory>

namespace attnjit::inline v0 {

/// Never changes once made; shared by the cache, Kernel values and running launches.
struct KernelImpl {
  SDPBackend backend = SDPBackend::Error;
  std::string pipeline;
  ImageMetadata meta;                                   ///< unset for a host callable but for the class of problem
  std::shared_ptr<const runtime::ImageMapping> mapping; ///< CPU code
  std::shared_ptr<const runtime::GpuProgram> program;   ///< PTX
  std::vector<std::byte> unmapped;                      ///< code for another CPU, or nothing when a compilation stopped early
  HostKernel host;
  Mod mod; ///< what Kernel::forward binds captures with
  std::shared_ptr<runtime::CpuLauncher> launcher;
  std::shared_ptr<const runtime::GpuLauncher> gpu;
  int threads = 1; ///< when a call does not say

  std::span<const std::byte> code() const {
    return program ? program->ptx() : mapping ? mapping->code() : std::span<const std::byte>(unmapped);
  }
  /// About what it takes in memory.
  std::size_t bytes() const { return sizeof *this + (mapping ? mapping->bytes() : code().size()) + meta.problemText.size(); }
};

} // namespace attnjit::inline v0

namespace attnjit::engine {

/// Where loaded kernels run.
struct LaunchSite {
  std::shared_ptr<runtime::CpuLauncher> launcher;
  int threads = 1;
  std::shared_ptr<const runtime::GpuLauncher> gpu; ///< opens its device when it is first used
};

/// Maps the image's code if this CPU can run it; a kernel for another machine can be kept and saved, and launch() refuses it. Errors: Io
/// for metadata that make no sense, Unsupported when the system gives no executable memory.
Result<std::shared_ptr<const KernelImpl>> loadImage(KernelImage image, const Mod &mod, const LaunchSite &site);

/// The same kernel with the numbers of `mod`, which has its formula, and its order of captures. A cached kernel serves all mods that differ
/// in these only; one that leaves the engine has to keep those it was asked for.
std::shared_ptr<const KernelImpl> withMod(const std::shared_ptr<const KernelImpl> &kernel, const Mod &mod);

/// What a GPU's launcher needs of a PTX image.
std::shared_ptr<const runtime::GpuProgram> programOf(const KernelImage &image);

/// Error: Unsupported, naming both CPUs.
Result<void> checkCpu(const ImageMetadata &meta);

/// The only image of `bytes`, or the best of several that this CPU or, for PTX, the GPU runs. Errors: those of deserialize(), Unsupported
/// naming what there is.
Result<KernelImage> chooseImage(std::span<const std::byte> bytes, const runtime::GpuLauncher &gpu);

/// The formula that the image says it computes.
Result<Mod> modOf(const ImageMetadata &meta);

/// The image's argument list describes the captures of `formula`.
bool sameCaptures(const ImageMetadata &meta, const expr::Formula &formula);

} // namespace attnjit::engine
