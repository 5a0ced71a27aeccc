// Element types and strided views: the vocabulary every other header speaks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string_view>

namespace attnjit::inline v0 {

/// The largest rank of a captured tensor. Operands (q, k, v, out) are always of rank 4.
inline constexpr int kMaxRank = 6;

/// Element type of an operand or of a captured tensor. The 8-bit floats are those of the OCP 8-bit Floating Point Specification: F8E4M3 has
/// no infinity (largest number 448, a NaN of either sign), F8E5M2 is the upper byte of an F16.
enum class DType : std::uint8_t { F64, F32, BF16, F16, F8E4M3, F8E5M2, Bool, I8, U8, I16, I32, I64 };

/// Size of one element in bytes.
std::size_t sizeInBytes(DType dtype);

/// The name used on command lines, in metadata and in messages: "f32", "bf16", "f8e4m3fn", "f8e5m2", "i64", "bool" ...
std::string_view name(DType dtype);

/// The inverse of name(); PyTorch's names ("float32", "bfloat16", "float8_e4m3fn", "int64" ...) are understood too. Empty for an unknown
/// name.
std::optional<DType> parseDType(std::string_view name);

/// True for F64, F32, BF16, F16, F8E4M3 and F8E5M2.
bool isFloat(DType dtype);

/// True for F8E4M3 and F8E5M2.
bool isFloat8(DType dtype);

/// Whether every number of the float dtype `narrow` is one of `wide`, too: F32 in F64, F8E5M2 in BF16, but neither of BF16 and F16 in the
/// other.
bool holdsExactly(DType wide, DType narrow);

/// A strided view of memory that somebody else owns. `strides` count elements, not bytes, and may be 0
/// (broadcast) or negative. Entries past `rank` are ignored.
struct TensorRef {
  void *data = nullptr;
  DType dtype = DType::F32;
  int rank = 0;
  std::array<std::int64_t, kMaxRank> sizes{};
  std::array<std::int64_t, kMaxRank> strides{};

  /// A dense row-major view.
  static TensorRef dense(void *data, DType dtype, std::initializer_list<std::int64_t> sizes);
};

} // namespace attnjit::inline v0
