#include "Engine/TensorCheck.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <utility>

namespace attnjit::engine {

namespace {

/// Views larger than this cannot exist on any machine with 64-bit addresses; staying far below INT64_MAX keeps every later sum of offsets
/// exact.
constexpr __int128 kMaxSpanBytes = __int128{1} << 60;

std::int64_t elementCount(const TensorRef &tensor) {
  std::int64_t count = 1;
  for (int dim = 0; dim < tensor.rank; ++dim)
    count *= tensor.sizes[dim];
  return count;
}

bool hasNoElements(const TensorRef &tensor) {
  return std::any_of(tensor.sizes.begin(), tensor.sizes.begin() + tensor.rank, [](std::int64_t size) { return size == 0; });
}

} // namespace

std::string sizesText(const TensorRef &tensor) {
  const int rank = std::clamp(tensor.rank, 0, kMaxRank);
  return fmt::format("[{}]", fmt::join(tensor.sizes.begin(), tensor.sizes.begin() + rank, ", "));
}

Error invalidTensor(std::string_view tensor, std::string_view why) {
  return {ErrorCode::InvalidArgument, fmt::format("{}: {}", tensor, why)};
}

Result<void> checkView(std::string_view name, const TensorRef &tensor, int rank, bool needsData) {
  if (tensor.rank != rank)
    return invalidTensor(name, fmt::format("expected {} dimensions, got {}{}", rank, tensor.rank,
                                           tensor.rank > 0 && tensor.rank <= kMaxRank ? " of sizes " + sizesText(tensor) : ""));
  if (static_cast<std::size_t>(tensor.dtype) > static_cast<std::size_t>(DType::I64))
    return invalidTensor(name, fmt::format("its dtype ({}) is no member of DType", static_cast<int>(tensor.dtype)));
  for (int dim = 0; dim < rank; ++dim)
    if (tensor.sizes[dim] < 0)
      return invalidTensor(name, fmt::format("size {} of dimension {} is negative (sizes {})", tensor.sizes[dim], dim, sizesText(tensor)));
  if (hasNoElements(tensor))
    return {};

  __int128 span = 1, count = 1;
  for (int dim = 0; dim < rank; ++dim) {
    const __int128 stride = tensor.strides[dim] < 0 ? -static_cast<__int128>(tensor.strides[dim]) : tensor.strides[dim];
    count *= tensor.sizes[dim];
    span += (tensor.sizes[dim] - 1) * stride;
    if (count > kMaxSpanBytes || span > kMaxSpanBytes)
      return invalidTensor(name, fmt::format("sizes {} with strides [{}] reach further than memory can (overflow)", sizesText(tensor),
                                             fmt::join(tensor.strides.begin(), tensor.strides.begin() + rank, ", ")));
  }
  if (span * static_cast<__int128>(sizeInBytes(tensor.dtype)) > kMaxSpanBytes)
    return invalidTensor(name, fmt::format("sizes {} of {} take more bytes than memory can have (overflow)", sizesText(tensor),
                                           attnjit::name(tensor.dtype)));
  if (!needsData)
    return {};
  if (!tensor.data)
    return invalidTensor(name, fmt::format("data is null, but sizes {} hold elements", sizesText(tensor)));
  if (reinterpret_cast<std::uintptr_t>(tensor.data) % sizeInBytes(tensor.dtype) != 0)
    return invalidTensor(
        name, fmt::format("data is not aligned to {} bytes, the size of {}", sizeInBytes(tensor.dtype), attnjit::name(tensor.dtype)));
  return {};
}

namespace {

/// The narrowest dtype that holds the numbers of both.
DType commonDType(DType a, DType b) {
  for (DType wide : {DType::F16, DType::BF16, DType::F32})
    if (holdsExactly(wide, a) && holdsExactly(wide, b))
      return wide;
  return DType::F64;
}

} // namespace

Result<void> checkOperandDTypes(const OperandDType &q, const OperandDType &k, const OperandDType &v) {
  for (const OperandDType *operand : {&q, &k, &v})
    if (!isFloat(operand->dtype))
      return invalidTensor(operand->name,
                           fmt::format("its dtype is {}; expected f64, f32, bf16, f16, f8e4m3fn or f8e5m2", name(operand->dtype)));
  for (const OperandDType *operand : {&k, &v})
    if (!holdsExactly(q.dtype, operand->dtype))
      return invalidTensor(operand->name,
                           fmt::format("its dtype is {}, that of {} is {}, which does not hold all its numbers; {} and {} may be "
                                       "narrower than {} but not wider: convert {} to {}, or them to {}",
                                       name(operand->dtype), q.name, name(q.dtype), k.name, v.name, q.name, q.name,
                                       name(commonDType(q.dtype, operand->dtype)), name(q.dtype)));
  if (v.dtype != k.dtype)
    return invalidTensor(v.name, fmt::format("its dtype is {}, that of {} is {}; they must be equal: convert one of them", name(v.dtype),
                                             k.name, name(k.dtype)));
  return {};
}

Result<void> checkDisjointElements(std::string_view name, const TensorRef &tensor) {
  if (hasNoElements(tensor))
    return {};
  std::array<std::pair<std::int64_t, int>, kMaxRank> byStride{};
  int count = 0;
  for (int dim = 0; dim < tensor.rank; ++dim)
    if (tensor.sizes[dim] > 1)
      byStride[count++] = {std::abs(tensor.strides[dim]), dim};
  std::sort(byStride.begin(), byStride.begin() + count);

  std::int64_t span = 1;
  for (int i = 0; i < count; ++i) {
    const auto [stride, dim] = byStride[i];
    if (stride < span)
      return invalidTensor(
          name, fmt::format(
                    "stride {} of dimension {} (size {}) makes elements share memory; an output needs a place of its own for each element",
                    tensor.strides[dim], dim, tensor.sizes[dim]));
    span += (tensor.sizes[dim] - 1) * stride;
  }
  return {};
}

ByteRange touchedBytes(const TensorRef &tensor) {
  if (hasNoElements(tensor) || !tensor.data)
    return {};
  const auto bytes = static_cast<std::intptr_t>(sizeInBytes(tensor.dtype));
  ByteRange range{reinterpret_cast<std::intptr_t>(tensor.data), reinterpret_cast<std::intptr_t>(tensor.data) + bytes};
  for (int dim = 0; dim < tensor.rank; ++dim)
    (tensor.strides[dim] < 0 ? range.begin : range.end) += (tensor.sizes[dim] - 1) * tensor.strides[dim] * bytes;
  return range;
}

bool isGapless(const TensorRef &tensor) {
  const ByteRange range = touchedBytes(tensor);
  return range.end - range.begin == elementCount(tensor) * static_cast<std::int64_t>(sizeInBytes(tensor.dtype)) &&
         checkDisjointElements("", tensor);
}

} // namespace attnjit::engine
