#include "attnjit/Types.h"

#include <algorithm>

namespace attnjit::inline v0 {

namespace {

struct DTypeRow {
  DType dtype;
  std::string_view name;
  std::size_t sizeInBytes;
};

constexpr DTypeRow kDTypes[] = {
    {DType::F64, "f64", 8}, {DType::F32, "f32", 4}, {DType::BF16, "bf16", 2}, {DType::F16, "f16", 2}, {DType::Bool, "bool", 1},
    {DType::I8, "i8", 1},   {DType::U8, "u8", 1},   {DType::I16, "i16", 2},   {DType::I32, "i32", 4}, {DType::I64, "i64", 8},
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

std::size_t sizeInBytes(DType dtype) { return kDTypes[static_cast<std::size_t>(dtype)].sizeInBytes; }

std::string_view name(DType dtype) { return kDTypes[static_cast<std::size_t>(dtype)].name; }

std::optional<DType> parseDType(std::string_view name) {
  for (const DTypeRow &row : kDTypes)
    if (row.name == name)
      return row.dtype;
  return std::nullopt;
}

bool isFloat(DType dtype) { return dtype <= DType::F16; }

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
