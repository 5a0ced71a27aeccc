// Checks of one strided view on its own: rank, sizes, strides, overflow, overlap; and of dtypes that have to go together.
#pragma once

#include "attnjit/Result.h"
#include "attnjit/Types.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace attnjit::engine {

/// "[2, 8, 100, 64]".
std::string sizesText(const TensorRef &tensor);

/// "k: why".
Error invalidTensor(std::string_view tensor, std::string_view why);

/// Rank, sizes >= 0, and that no element lies further from `data` than an address can say. `needsData`: null is an error when there are
/// elements.
Result<void> checkView(std::string_view name, const TensorRef &tensor, int rank, bool needsData);

/// An operand's dtype, under the name that its caller gave it.
struct OperandDType {
  std::string_view name;
  DType dtype;
};
/// That all are floats, k and v alike, and q of a dtype that holds every number of theirs: then widening is exact, and an output of q's
/// dtype keeps what k and v have to say.
Result<void> checkOperandDTypes(const OperandDType &q, const OperandDType &k, const OperandDType &v);

/// That no two elements of an output share memory: every stride has to step over what the smaller ones span.
Result<void> checkDisjointElements(std::string_view name, const TensorRef &tensor);

/// The bytes from the first to one past the last that a view can touch; empty if it has no elements.
struct ByteRange {
  std::intptr_t begin = 0, end = 0;
  bool intersects(const ByteRange &other) const { return begin < other.end && other.begin < end; }
};
ByteRange touchedBytes(const TensorRef &tensor);
/// True when the view touches every byte of touchedBytes().
bool isGapless(const TensorRef &tensor);

} // namespace attnjit::engine
