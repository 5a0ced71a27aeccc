#include "attnjit/MergeStates.h"

#include "Engine/Guard.h"
#include "Engine/TensorCheck.h"
#include "Runtime/ThreadPool.h"
#include "Support/FloatFormat.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <vector>

namespace attnjit {

namespace engine {

namespace {

/// Rows are handed out in pieces of about so many elements read: less is not worth a thread's waking up.
constexpr std::int64_t kPieceElems = std::int64_t{1} << 17;

struct BFloat16 {
  std::uint16_t bits;
};

template <DType kDType> struct Float8 {
  std::uint8_t bits;
};

template <DType kDType> float widen(Float8<kDType> x) {
  static const std::array<float, 256> kValues = [] {
    std::array<float, 256> values{};
    for (int pattern = 0; pattern < 256; ++pattern)
      values[static_cast<std::size_t>(pattern)] = static_cast<float>(FloatFormat::of(kDType)->decode(pattern));
    return values;
  }();
  return kValues[x.bits];
}
float widen(BFloat16 x) { return std::bit_cast<float>(static_cast<std::uint32_t>(x.bits) << 16); }
float widen(_Float16 x) { return static_cast<float>(x); }
float widen(float x) { return x; }
double widen(double x) { return x; }

template <DType kDType> void assign(Float8<kDType> &target, float x) {
  const FloatFormat &format = *FloatFormat::of(kDType);
  target.bits = static_cast<std::uint8_t>(format.encode(format.round(x)));
}
void assign(double &target, double x) { target = x; }
void assign(float &target, float x) { target = x; }
void assign(_Float16 &target, float x) { target = static_cast<_Float16>(x); }
void assign(BFloat16 &target, float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rounded = std::isnan(x) ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1); // to nearest even; NaN stays one
  target.bits = static_cast<std::uint16_t>(rounded >> 16);
}

template <typename T> T *elementAt(const TensorRef &tensor, std::int64_t b, std::int64_t h, std::int64_t row) {
  return static_cast<T *>(tensor.data) + b * tensor.strides[0] + h * tensor.strides[1] + row * tensor.strides[2];
}

/// One row. `weights` has room for one number per part. Element by element, so that an output may be a part.
template <typename T, typename Compute>
void mergeRow(std::span<const PartialState> parts, const TensorRef &out, const TensorRef *lse, std::int64_t b, std::int64_t h,
              std::int64_t row, std::vector<Compute> &weights) {
  constexpr Compute kMinusInf = -std::numeric_limits<Compute>::infinity();
  Compute largest = kMinusInf, sum = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    weights[i] = *elementAt<Compute>(parts[i].lse, b, h, row);
    largest = weights[i] > largest ? weights[i] : largest; // NaN passes, and comes back in the sum
  }
  // While no part saw anything the reference is 0: e^(-inf - 0) is 0, e^(-inf + inf) would be NaN.
  const Compute reference = largest == kMinusInf ? Compute(0) : largest;
  for (Compute &weight : weights)
    sum += weight = weight == kMinusInf ? Compute(0) : std::exp(weight - reference);
  if (lse)
    *elementAt<Compute>(*lse, b, h, row) = sum == 0 ? kMinusInf : reference + std::log(sum);

  T *target = elementAt<T>(out, b, h, row);
  for (std::int64_t column = 0; column < out.sizes[3]; ++column) {
    Compute merged = 0;
    for (std::size_t i = 0; i < parts.size(); ++i)
      if (weights[i] != 0)
        merged += weights[i] * widen(elementAt<const T>(parts[i].out, b, h, row)[column * parts[i].out.strides[3]]);
    assign(target[column * out.strides[3]], sum == 0 ? Compute(0) : merged / sum);
  }
}

template <typename T, typename Compute>
Result<void> mergeAll(std::span<const PartialState> parts, const TensorRef &out, const TensorRef *lse, int threads) {
  const std::int64_t heads = out.sizes[1], rowsPerHead = out.sizes[2], rows = out.sizes[0] * heads * rowsPerHead;
  const std::int64_t perRow = (out.sizes[3] + 1) * static_cast<std::int64_t>(parts.size());
  const std::int64_t piece = std::max<std::int64_t>(1, kPieceElems / perRow), pieces = (rows + piece - 1) / piece;
  const int workers = static_cast<int>(std::clamp<std::int64_t>(pieces, 1, threads));
  std::vector<std::vector<Compute>> weights(static_cast<std::size_t>(workers), std::vector<Compute>(parts.size()));
  std::atomic<std::int64_t> taken{0};
  return runtime::parallelFor({}, workers, [&](int worker) {
    for (std::int64_t begin; (begin = taken.fetch_add(piece)) < rows;)
      for (std::int64_t index = begin; index < std::min(rows, begin + piece); ++index)
        mergeRow<T>(parts, out, lse, index / rowsPerHead / heads, index / rowsPerHead % heads, index % rowsPerHead,
                    weights[static_cast<std::size_t>(worker)]);
  });
}

/// `tensor` against the output that names sizes and dtype.
Result<void> checkLike(std::string_view name, const TensorRef &tensor, int rank, DType dtype, const TensorRef &out) {
  if (Result<void> view = checkView(name, tensor, rank, true); !view)
    return view;
  if (tensor.dtype != dtype)
    return invalidTensor(name, fmt::format("its dtype is {}, expected {}", attnjit::name(tensor.dtype), attnjit::name(dtype)));
  if (!std::equal(tensor.sizes.begin(), tensor.sizes.begin() + rank, out.sizes.begin()))
    return invalidTensor(
        name, fmt::format("its sizes are {}, but out has {}; all parts and the result have the same", sizesText(tensor), sizesText(out)));
  return {};
}

bool isSameView(const TensorRef &a, const TensorRef &b) {
  return a.data == b.data && std::equal(a.strides.begin(), a.strides.begin() + a.rank, b.strides.begin());
}

/// An output that surely shares memory with an input without being the same view of it.
Result<void> checkOverlap(std::string_view outputName, const TensorRef &output, std::string_view inputName, const TensorRef &input) {
  const bool same = output.rank == input.rank && output.dtype == input.dtype && isSameView(output, input);
  if (same || !touchedBytes(output).intersects(touchedBytes(input)) || !(isGapless(output) || isGapless(input)))
    return {};
  return invalidTensor(outputName,
                       fmt::format("it shares memory with {}; give it memory of its own, or exactly the view of a part", inputName));
}

Result<void> check(std::span<const PartialState> parts, const TensorRef &out, const TensorRef *lse) {
  if (parts.empty())
    return Error{ErrorCode::InvalidArgument, "mergeStates: there are no parts; give one at least"};
  if (Result<void> view = checkView("out", out, 4, true); !view)
    return view;
  if (!isFloat(out.dtype))
    return invalidTensor("out", fmt::format("its dtype is {}; expected a float dtype, of the parts too", attnjit::name(out.dtype)));
  if (Result<void> disjoint = checkDisjointElements("out", out); !disjoint)
    return disjoint;
  const DType lseType = out.dtype == DType::F64 ? DType::F64 : DType::F32;
  if (lse) {
    if (Result<void> like = checkLike("lse", *lse, 3, lseType, out); !like)
      return like;
    if (Result<void> disjoint = checkDisjointElements("lse", *lse); !disjoint)
      return disjoint;
    if (Result<void> apart = checkOverlap("lse", *lse, "out", out); !apart)
      return apart;
  }
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string outName = fmt::format("parts[{}].out", i), lseName = fmt::format("parts[{}].lse", i);
    if (Result<void> like = checkLike(outName, parts[i].out, 4, out.dtype, out); !like)
      return like;
    if (Result<void> like = checkLike(lseName, parts[i].lse, 3, lseType, out); !like)
      return like;
    for (auto [name, input] : {std::pair{&outName, &parts[i].out}, {&lseName, &parts[i].lse}}) {
      if (Result<void> apart = checkOverlap("out", out, *name, *input); !apart)
        return apart;
      if (Result<void> apart = lse ? checkOverlap("lse", *lse, *name, *input) : Result<void>(); !apart)
        return apart;
    }
  }
  return {};
}

} // namespace

} // namespace engine

inline namespace v0 {

Result<void> mergeStates(std::span<const PartialState> parts, const TensorRef &out, const std::optional<TensorRef> &lse, int threads) {
  return engine::guarded([&]() -> Result<void> {
    const TensorRef *wanted = lse ? &*lse : nullptr;
    if (Result<void> checked = engine::check(parts, out, wanted); !checked)
      return checked;
    const int workers = threads > 0 ? threads : runtime::usableProcessors();
    switch (out.dtype) {
    case DType::F64:
      return engine::mergeAll<double, double>(parts, out, wanted, workers);
    case DType::BF16:
      return engine::mergeAll<engine::BFloat16, float>(parts, out, wanted, workers);
    case DType::F16:
      return engine::mergeAll<_Float16, float>(parts, out, wanted, workers);
    case DType::F8E4M3:
      return engine::mergeAll<engine::Float8<DType::F8E4M3>, float>(parts, out, wanted, workers);
    case DType::F8E5M2:
      return engine::mergeAll<engine::Float8<DType::F8E5M2>, float>(parts, out, wanted, workers);
    default:
      return engine::mergeAll<float, float>(parts, out, wanted, workers);
    }
  });
}

} // namespace v0

} // namespace attnjit
