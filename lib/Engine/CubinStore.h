// Assembled GPU kernels on disk, beside the images they were made of: the driver's assembler takes longer than everything else.
#pragma once

#include "Engine/DiskCache.h"
#include "Runtime/GpuLauncher.h"
#include "Support/KernelImage.h"
#include "attnjit/Hooks.h"

#include <atomic>
#include <cstdint>
#include <memory>

namespace attnjit::engine {

/// Shared by an engine and its kernels, which may outlive it. Thread safe.
struct CubinStore {
  std::shared_ptr<DiskCache> disk;
  LogHook log;
  std::atomic<std::uint64_t> hits{0}, writes{0};
};

/// What a launcher needs of a PTX image. `store` null: what the driver assembles is not kept.
std::shared_ptr<const runtime::GpuProgram> programOf(const KernelImage &image, const std::shared_ptr<CubinStore> &store);

} // namespace attnjit::engine
