// Small integer tensors that say where things lie: prefix sums, lengths, page tables.
#pragma once

#include "attnjit/Result.h"
#include "attnjit/Types.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace attnjit::engine {

/// A readable i32 or i64 tensor of that rank.
Result<void> checkIndexTensor(std::string_view name, const TensorRef &tensor, int rank);

/// Element of a checked tensor of rank 1 (row 0) or 2.
std::int64_t indexAt(const TensorRef &tensor, std::int64_t row, std::int64_t column);

/// The elements of a tensor of rank 1.
Result<std::vector<std::int64_t>> readIndices(std::string_view name, const TensorRef &tensor);

} // namespace attnjit::engine
