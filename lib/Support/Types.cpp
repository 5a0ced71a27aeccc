#include "attnjit/Types.h"

#include <algorithm>

namespace attnjit::inline v0 {

namespace {

/// `fractionBits` and `exponentBits`: stored bits of a float.
struct DTypeRow {
  DType dtype;
  std::string_view name, torchName;
  std::size_t sizeInBytes;
  int fractionBits = 0, exponentBits = 0;
};

constexpr DTypeRow kDTypes[] = {
    {DType::F64, "f64", "float64", 8, 52, 11},
    {DType::F32, "f32", "float32", 4, 23, 8},
    {DType::BF16, "bf16", "bfloat16", 2, 7, 8},
    {DType::F16, "f16", "float16", 2, 10, 5},
    {DType::F8E4M3, "f8e4m3fn", "float8_e4m3fn", 1, 3, 4},
    {DType::F8E5M2, "f8e5m2", "float8_e5m2", 1, 2, 5},
    {DType::Bool, "bool", "bool", 1},
    {DType::I8, "i8", "int8", 1},
    {DType::U8, "u8", "uint8", 1},
    {DType::I16, "i16", "int16", 2},
    {DType::I32, "i32", "int32", 4},
    {DType::I64, "i64", "int64", 8},
};

// The table is indexed by the enumerator: a reordered enum must not go unnoticed.
constexpr bool tableMatchesEnum() {
  for (std::size_t i = 0; i < std::size(kDTypes); ++i)
    if (static_cast<std::size_t>(kDTypes[i].dtype) != i)
      return false;
  return true;
}
static_assert(tableMatchesEnum());

} // namespace

namespace {
const DTypeRow &rowOf(DType dtype) { return kDTypes[static_cast<std::size_t>(dtype)]; }
} // namespace

std::size_t sizeInBytes(DType dtype) { return rowOf(dtype).sizeInBytes; }

std::string_view name(DType dtype) { return rowOf(dtype).name; }

std::optional<DType> parseDType(std::string_view name) {
  for (const DTypeRow &row : kDTypes)
    if (row.name == name || row.torchName == name)
      return row.dtype;
  return std::nullopt;
}

bool isFloat(DType dtype) { return dtype <= DType::F8E5M2; }

bool isFloat8(DType dtype) { return dtype == DType::F8E4M3 || dtype == DType::F8E5M2; }

bool holdsExactly(DType wide, DType narrow) {
  return rowOf(wide).fractionBits >= rowOf(narrow).fractionBits && rowOf(wide).exponentBits >= rowOf(narrow).exponentBits;
}

TensorRef TensorRef::dense(void *data, DType dtype, std::initializer_list<std::int64_t> sizes) {
  // What cannot be (too many dimensions, more elements than 64 bits count) is refused where the view is used, which knows its name.
  TensorRef ref{data, dtype, static_cast<int>(sizes.size()), {}, {}};
  const int kept = std::min(ref.rank, kMaxRank);
  std::copy_n(sizes.begin(), kept, ref.sizes.begin());
  std::int64_t stride = 1;
  for (int dim = kept - 1; dim >= 0; --dim) {
    ref.strides[dim] = stride;
    if (__builtin_mul_overflow(stride, ref.sizes[dim], &stride))
      stride = INT64_MAX;
  }
  return ref;
}

} // namespace attnjit::inline v0
