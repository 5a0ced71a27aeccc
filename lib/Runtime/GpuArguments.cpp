#include "Runtime/GpuArguments.h"

#include <cstring>

namespace attnjit::runtime {

std::size_t GpuArguments::add(const void *data, std::size_t bytes) {
  constexpr std::size_t kAlignment = 16;
  const std::size_t offset = (block.size() + kAlignment - 1) / kAlignment * kAlignment;
  block.resize(offset + (bytes + 7) / 8 * 8); // it travels in words of 8 bytes
  if (bytes > 0)
    std::memcpy(block.data() + offset, data, bytes);
  return offset;
}

void GpuArguments::bind(std::byte *base) {
  const auto write = [&](std::byte *at, std::size_t offset) {
    const auto address = reinterpret_cast<std::uintptr_t>(base + offset);
    std::memcpy(at, &address, sizeof address);
  };
  for (const Pointer &pointer : inArgs)
    write(reinterpret_cast<std::byte *>(&args) + pointer.place, pointer.offset);
  for (const Pointer &pointer : inBlock)
    write(block.data() + pointer.place, pointer.offset);
}

} // namespace attnjit::runtime
