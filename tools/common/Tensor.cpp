#include "common/Tensor.h"

#include "Reference/Elements.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fmt/format.h>
#include <functional>
#include <limits>
#include <numeric>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace attnjit::tools {

namespace {

Error invalid(std::string message) { return {ErrorCode::InvalidArgument, std::move(message)}; }

constexpr std::pair<std::string_view, Layout> kLayouts[] = {{"bhmd", Layout::Bhmd},       {"bmhd", Layout::Bmhd},
                                                            {"bhdm", Layout::Bhdm},       {"padded", Layout::Padded},
                                                            {"strided", Layout::Strided}, {"reversed", Layout::Reversed}};

/// Memory whose first or last byte touches an unmapped page.
std::shared_ptr<void> guardedMemory(std::size_t bytes, Placement placement) {
  const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const std::size_t body = (bytes + page - 1) / page * page, total = body + 2 * page;
  void *base = mmap(nullptr, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED)
    return nullptr;
  char *inner = static_cast<char *>(base) + page;
  if (body && mprotect(inner, body, PROT_READ | PROT_WRITE) != 0) {
    munmap(base, total);
    return nullptr;
  }
  return {placement == Placement::GuardHigh ? inner + (body - bytes) : inner, [base, total](void *) { munmap(base, total); }};
}

std::shared_ptr<void> heapMemory(std::size_t bytes) {
  void *memory = std::aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
  if (!memory)
    return nullptr;
  std::memset(memory, 0, bytes);
  return {memory, std::free};
}

/// SplitMix64: tiny, stateless, the same everywhere.
std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

} // namespace

Result<Layout> parseLayout(std::string_view text) {
  std::string known;
  for (const auto &[name, layout] : kLayouts) {
    if (name == text)
      return layout;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", name);
  }
  return invalid(fmt::format("--layout: unknown layout '{}'; known are {}", text, known));
}

std::optional<std::int64_t> checkedProduct(std::span<const std::int64_t> sizes, std::int64_t factor) {
  // A size of 0 makes the product 0, but must not hide that the others overflow or are negative.
  std::int64_t product = factor, nonZero = factor;
  for (const std::int64_t size : sizes) {
    if (size < 0 || (size > 0 && __builtin_mul_overflow(nonZero, size, &nonZero)))
      return std::nullopt;
    product = size == 0 ? 0 : product * size;
  }
  return product;
}

std::string formatBytes(double bytes) {
  static constexpr const char *kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  int unit = 0;
  for (; bytes >= 1024 && unit < 6; ++unit)
    bytes /= 1024;
  return fmt::format("{:.3g} {}", bytes, kUnits[unit]);
}

Result<Tensor::Extent> Tensor::extentOf(const std::vector<std::int64_t> &sizes, Layout layout) {
  if (sizes.size() > kMaxRank)
    return invalid(fmt::format("a tensor of rank {} is too deep: at most {} dimensions", sizes.size(), kMaxRank));
  if (!checkedProduct(sizes, 64))
    return invalid(fmt::format("sizes {} overflow or are negative", fmt::join(sizes, "x")));
  Extent extent;
  std::vector<std::int64_t> order(sizes.size()), inMemory = sizes, &strides = extent.strides;
  strides.resize(sizes.size());
  std::iota(order.begin(), order.end(), 0); // outermost first
  std::int64_t columnStride = 1;
  if (sizes.size() == 4) {
    if (layout == Layout::Bmhd)
      std::swap(order[1], order[2]);
    else if (layout == Layout::Bhdm)
      std::swap(order[2], order[3]);
    else if (layout == Layout::Padded)
      inMemory[3] += 3;
    else if (layout == Layout::Strided)
      columnStride = 2;
  }
  std::int64_t stride = columnStride;
  for (std::size_t i = order.size(); i-- > 0;) {
    strides[order[i]] = stride;
    stride *= inMemory[order[i]];
  }
  // Tight: memory ends with the last element, not with the gap after it.
  std::int64_t last = 0;
  for (std::size_t dim = 0; dim < sizes.size(); ++dim)
    last += (std::max<std::int64_t>(sizes[dim], 1) - 1) * strides[dim];
  extent.elements = *checkedProduct(sizes) == 0 ? 0 : last + 1;
  if (layout == Layout::Reversed && sizes.size() == 4)
    for (int dim : {2, 3}) {
      extent.first += extent.elements ? (sizes[dim] - 1) * strides[dim] : 0;
      strides[dim] = -strides[dim];
    }
  return extent;
}

Result<Tensor> Tensor::allocate(DType dtype, std::vector<std::int64_t> sizes, Placement placement, Layout layout) {
  Result<Extent> extent = extentOf(sizes, layout);
  if (!extent)
    return extent.error();
  return allocateStrided(dtype, std::move(sizes), std::move(extent->strides), extent->elements, extent->first, placement);
}

Result<Tensor> Tensor::shapeOnly(DType dtype, std::vector<std::int64_t> sizes, Layout layout) {
  Result<Extent> extent = extentOf(sizes, layout);
  if (!extent)
    return extent.error();
  Tensor tensor;
  tensor.type = dtype;
  tensor.extents = std::move(sizes);
  tensor.strides = std::move(extent->strides);
  return tensor;
}

Result<Tensor> Tensor::allocateStrided(DType dtype, std::vector<std::int64_t> sizes, std::vector<std::int64_t> strides,
                                       std::int64_t elements, std::int64_t first, Placement placement) {
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(elements, static_cast<std::int64_t>(sizeInBytes(dtype)), &bytes) || bytes < 0)
    return invalid(fmt::format("sizes {} overflow", fmt::join(sizes, "x")));
  const double physical = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  if (static_cast<double>(bytes) > physical)
    return invalid(fmt::format("a tensor of {} needs {}, this machine has {}", fmt::join(sizes, "x"),
                               formatBytes(static_cast<double>(bytes)), formatBytes(physical)));
  Tensor tensor;
  tensor.type = dtype;
  tensor.extents = std::move(sizes);
  tensor.strides = std::move(strides);
  tensor.bytes = static_cast<std::size_t>(bytes);
  tensor.storage = placement == Placement::Heap ? heapMemory(tensor.bytes) : guardedMemory(tensor.bytes, placement);
  if (!tensor.storage)
    return invalid(
        fmt::format("out of memory: a tensor of {} needs {}", fmt::join(tensor.extents, "x"), formatBytes(static_cast<double>(bytes))));
  tensor.origin = static_cast<std::byte *>(tensor.storage.get()) + first * static_cast<std::int64_t>(sizeInBytes(dtype));
  return tensor;
}

Tensor Tensor::viewedAs(DType dtype) const {
  Tensor view = *this;
  view.type = dtype;
  return view;
}

TensorRef Tensor::ref() const {
  TensorRef ref{origin, type, static_cast<int>(extents.size()), {}, {}};
  std::copy(extents.begin(), extents.end(), ref.sizes.begin());
  std::copy(strides.begin(), strides.end(), ref.strides.begin());
  return ref;
}

std::int64_t Tensor::elementCount() const { return checkedProduct(extents).value_or(0); }

/// Calls body(begin, end) for parts of the elements, side by side where there are many: operands of GPUs have hundreds of millions.
static void forParts(std::int64_t elements, const std::function<void(std::int64_t begin, std::int64_t end)> &body) {
  constexpr std::int64_t kLeast = 1 << 20;
  const std::int64_t most = std::max<std::int64_t>(std::thread::hardware_concurrency(), 1);
  const std::int64_t parts = std::clamp<std::int64_t>(elements / kLeast, 1, most), each = (elements + parts - 1) / parts;
  std::vector<std::jthread> threads;
  for (std::int64_t part = 1; part < parts; ++part)
    threads.emplace_back(body, std::min(part * each, elements), std::min((part + 1) * each, elements));
  body(0, std::min(each, elements));
}

void fillRandom(const Tensor &tensor, std::uint64_t seed, double amplitude) {
  const TensorRef ref = tensor.ref();
  const std::uint64_t counter = mix(seed);
  forParts(tensor.elementCount(), [&](std::int64_t begin, std::int64_t end) {
    tensor.forEachOffset(begin, end, [&](std::int64_t n, std::int64_t offset) {
      const std::uint64_t bits = mix(counter + static_cast<std::uint64_t>(n));
      if (isFloat(ref.dtype))
        reference::storeFloat(ref.data, ref.dtype, offset, (static_cast<double>(bits >> 11) * 0x1p-52 - 1) * amplitude);
      else
        storeInt(ref.data, ref.dtype, offset, static_cast<std::int64_t>(bits % (ref.dtype == DType::Bool ? 2 : 100)));
    });
  });
}

void fillPosition(const Tensor &tensor) {
  const TensorRef ref = tensor.ref();
  for (std::int64_t b = 0; b < ref.sizes[0]; ++b)
    for (std::int64_t h = 0; h < ref.sizes[1]; ++h)
      for (std::int64_t n = 0; n < ref.sizes[2]; ++n)
        for (std::int64_t d = 0; d < ref.sizes[3]; ++d) {
          const double value = static_cast<double>(n % 128) + static_cast<double>(d % 8) / 8;
          reference::storeFloat(ref.data, ref.dtype, b * ref.strides[0] + h * ref.strides[1] + n * ref.strides[2] + d * ref.strides[3],
                                h % 2 ? -value : value);
        }
}

void storeInt(void *data, DType dtype, std::int64_t offset, std::int64_t value) {
  const std::size_t size = sizeInBytes(dtype); // little endian: the low bytes are the value
  std::memcpy(static_cast<char *>(data) + offset * static_cast<std::int64_t>(size), &value, size);
}

void fillConstant(const Tensor &tensor, double value) {
  const TensorRef ref = tensor.ref();
  tensor.forEachOffset([&](std::int64_t offset) {
    if (isFloat(ref.dtype))
      reference::storeFloat(ref.data, ref.dtype, offset, value);
    else
      storeInt(ref.data, ref.dtype, offset, static_cast<std::int64_t>(value));
  });
}

Result<std::int64_t> parseInt(std::string_view text, std::string_view what) {
  std::int64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem == std::errc::result_out_of_range)
    return invalid(fmt::format("{}: {} does not fit into 64 bits", what, text));
  if (problem != std::errc() || end != text.data() + text.size())
    return invalid(fmt::format("{}: '{}' is not an integer", what, text));
  return value;
}

Result<double> parseNumber(std::string_view text, std::string_view what) {
  double value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size())
    return invalid(fmt::format("{}: '{}' is not a number", what, text));
  return value;
}

Result<std::vector<std::int64_t>> parseSizes(std::string_view text) {
  std::vector<std::int64_t> sizes;
  for (std::size_t begin = 0; begin <= text.size() && !text.empty();) {
    const std::size_t end = std::min(text.find('x', begin), text.size());
    const Result<std::int64_t> size = parseInt(text.substr(begin, end - begin), fmt::format("size in '{}'", text));
    if (!size)
      return size.error();
    if (*size < 0)
      return invalid(fmt::format("size in '{}': {} is negative", text, *size));
    sizes.push_back(*size);
    begin = end + 1;
  }
  return sizes;
}

} // namespace attnjit::tools
