// Machine code of an image, mapped so that it can run and can no longer be written (W^X).
#pragma once

#include "attnjit/KernelAbi.h"
#include "attnjit/Result.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace attnjit::runtime {

/// Unmaps when the last owner leaves, so a running launch keeps its code whatever a cache evicts meanwhile.
class ImageMapping {
public:
  /// Copies `code` into fresh pages and makes them executable. Errors: Internal for an entry outside the code, Unsupported when the system
  /// refuses memory or executable pages (the message says which and why).
  static Result<std::shared_ptr<const ImageMapping>> map(std::span<const std::byte> code, std::uint64_t entryOffset);
  ~ImageMapping();
  ImageMapping(const ImageMapping &) = delete;
  ImageMapping &operator=(const ImageMapping &) = delete;

  CpuKernelFn entry() const { return entryPoint; }
  std::size_t bytes() const { return mappedBytes; } ///< whole pages
  std::span<const std::byte> code() const { return {static_cast<const std::byte *>(memory), codeBytes}; }

private:
  ImageMapping(void *memory, std::size_t mappedBytes, std::size_t codeBytes, CpuKernelFn entryPoint)
      : memory(memory), mappedBytes(mappedBytes), codeBytes(codeBytes), entryPoint(entryPoint) {}

  void *memory;
  std::size_t mappedBytes, codeBytes;
  CpuKernelFn entryPoint;
};

} // namespace attnjit::runtime
