// Tensors that the tools own: allocation, layouts, deterministic values, and memory between guard pages.
#pragma once

#include "attnjit/Result.h"
#include "attnjit/Types.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace attnjit::tools {

/// Where a tensor lies in memory.
enum class Placement {
  Heap,      ///< aligned to 64 bytes
  GuardHigh, ///< its last byte is the last of a page and the next page is unmapped
  GuardLow,  ///< its first byte is the first of a page and the page before is unmapped
};

/// How the elements of a rank-4 tensor [B,H,M,D] are ordered in memory.
enum class Layout {
  Bhmd,     ///< dense, row-major
  Bmhd,     ///< heads inside rows, as PyTorch's x.transpose(1, 2)
  Bhdm,     ///< columns outermost of the last two: the last stride is the number of rows
  Padded,   ///< rows 3 elements longer than D: no row is aligned
  Strided,  ///< every second element: the last stride is 2
  Reversed, ///< rows and columns in falling order: negative strides
};
/// "bhmd", "bmhd", "bhdm", "padded", "strided" or "reversed".
Result<Layout> parseLayout(std::string_view text);

/// A tensor with its memory; copies share it.
class Tensor {
public:
  /// Zero-filled. Errors: InvalidArgument for negative or overflowing sizes, or for more memory than the machine has.
  static Result<Tensor> allocate(DType dtype, std::vector<std::int64_t> sizes, Placement placement = Placement::Heap,
                                 Layout layout = Layout::Bhmd);
  /// As allocate(), with strides of the caller's choice; `elements` is the length of the memory and `first` the place of element (0, 0,
  /// ...).
  static Result<Tensor> allocateStrided(DType dtype, std::vector<std::int64_t> sizes, std::vector<std::int64_t> strides,
                                        std::int64_t elements, std::int64_t first, Placement placement);

  /// Sizes and strides of allocate() without memory: what compiling and explaining need.
  static Result<Tensor> shapeOnly(DType dtype, std::vector<std::int64_t> sizes, Layout layout = Layout::Bhmd);

  /// The same memory as elements of another dtype of the same size.
  Tensor viewedAs(DType dtype) const;

  TensorRef ref() const;
  DType dtype() const { return type; }
  std::span<const std::int64_t> sizes() const { return extents; }
  std::int64_t elementCount() const;
  /// All bytes of the memory, gaps of the layout included.
  std::span<std::byte> memory() const { return {static_cast<std::byte *>(storage.get()), bytes}; }

  /// Calls each(offset in elements) in row-major order of the indices.
  template <typename F> void forEachOffset(F each) const {
    forEachOffset(0, elementCount(), [&](std::int64_t, std::int64_t offset) { each(offset); });
  }
  /// Calls each(n, offset) of the elements n in [begin, end) of that order.
  template <typename F> void forEachOffset(std::int64_t begin, std::int64_t end, F each) const {
    std::vector<std::int64_t> index(extents.size(), 0);
    std::int64_t rest = begin;
    for (std::size_t dim = index.size(); dim-- > 0 && rest > 0; rest /= extents[dim])
      index[dim] = rest % extents[dim];
    for (std::int64_t n = begin; n < end; ++n) {
      std::int64_t offset = 0;
      for (std::size_t dim = 0; dim < index.size(); ++dim)
        offset += index[dim] * strides[dim];
      each(n, offset);
      for (std::size_t dim = index.size(); dim-- > 0 && ++index[dim] == extents[dim];)
        index[dim] = 0;
    }
  }

private:
  /// Where the elements of a layout lie: strides, length of the memory, place of element (0, 0, ...).
  struct Extent {
    std::vector<std::int64_t> strides;
    std::int64_t elements = 0, first = 0;
  };
  static Result<Extent> extentOf(const std::vector<std::int64_t> &sizes, Layout layout);

  DType type = DType::F32;
  std::vector<std::int64_t> extents, strides;
  std::shared_ptr<void> storage;
  std::size_t bytes = 0;
  void *origin = nullptr; ///< element (0, 0, ...)
};

/// Deterministic values by seed, the same on every machine: floats uniform in [-amplitude, amplitude), integers in [0, 100), bools even.
void fillRandom(const Tensor &tensor, std::uint64_t seed, double amplitude = 1);
/// Values that tell their position: element (b, h, n, d) is (n mod 128) + (d mod 8) / 8, negated for odd h. A permuted order of keys cannot
/// go unnoticed.
void fillPosition(const Tensor &tensor);
/// The same number everywhere.
void fillConstant(const Tensor &tensor, double value);
/// The integer at `offset`, in elements of an integer dtype or bool: its low bytes.
void storeInt(void *data, DType dtype, std::int64_t offset, std::int64_t value);

/// "16x4" or "16" or "" (a number): sizes, each at least 0.
Result<std::vector<std::int64_t>> parseSizes(std::string_view text);
/// One integer and nothing else.
Result<std::int64_t> parseInt(std::string_view text, std::string_view what);
/// One number, "inf", "-inf" and "nan" included.
Result<double> parseNumber(std::string_view text, std::string_view what);

/// sizes[0] * sizes[1] * ... * factor, or nothing on overflow or a negative size.
std::optional<std::int64_t> checkedProduct(std::span<const std::int64_t> sizes, std::int64_t factor = 1);

/// "3 MiB".
std::string formatBytes(double bytes);

} // namespace attnjit::tools
