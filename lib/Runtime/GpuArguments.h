// The arguments of one launch on a GPU. A kernel's first parameter is a KernelArgs, which the driver copies when the launch is asked for.
// What that points to has to lie on the device: operands do, and small tables that the engine has made (captures, numbers, the plan, pages)
// go there together, as one block.
#pragma once

#include "attnjit/KernelAbi.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace attnjit::runtime {

/// What a tensor map describes: a tensor of 16-bit elements on the device, and the boxes of 64 columns x `rows` that are copied of it.
/// Dimensions in the order of the driver, which is columns, rows, heads, batches.
struct TensorBoxes {
  bool isBf16 = false;
  void *data = nullptr;
  std::uint64_t sizes[4] = {};   ///< elements
  std::uint64_t strides[3] = {}; ///< bytes, of all but the columns
  std::uint32_t rows = 0;
};

class GpuArguments {
public:
  KernelArgs args{};
  /// Of a kernel that reads q, k and v by tensor copies (ImageMetadata::qBoxRows): three more parameters, and `counters`, two u32 that are
  /// 0.
  std::vector<TensorBoxes> boxes;
  std::uint32_t *counters = nullptr;

  /// Puts `bytes` bytes of host memory into the block; answers their place in it, aligned to 16.
  std::size_t add(const void *data, std::size_t bytes);
  template <typename T> std::size_t add(std::span<const T> table) { return add(table.data(), table.size_bytes()); }

  /// `pointer`, a member of args or `counters`, will point to `offset` bytes into the block.
  template <typename T> void point(T *&pointer, std::size_t offset) {
    inArgs.push_back({static_cast<std::size_t>(reinterpret_cast<std::byte *>(&pointer) - reinterpret_cast<std::byte *>(&args)), offset});
  }
  /// The pointer at `place` bytes into the block will.
  void pointInBlock(std::size_t place, std::size_t offset) { inBlock.push_back({place, offset}); }

  bool needsBlock() const { return !block.empty(); }
  std::span<const std::byte> bytes() const { return block; }
  /// Makes everything point into the block, which will lie at `base` on the device.
  void bind(std::byte *base);

private:
  struct Pointer {
    std::size_t place, offset;
  };
  std::vector<std::byte> block;
  std::vector<Pointer> inArgs, inBlock;
};

} // namespace attnjit::runtime
