// Any number of batch dimensions on top of an engine that has one.
//
// Batch dimensions [a, b, c] become one of a * b * c where every operand can be walked with a single stride (dense tensors, and those that
// repeat over all of them), so one call does. Where some operand cannot, say one that repeats over b only, the widest run of
// dimensions that folds becomes the batch and the others are stepped through, one call for each step.
#pragma once

#include "attnjit/Result.h"
#include "attnjit/Types.h"

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace attnjit::attention {

/// The view with size-1 dimensions put in front. `rank` must not be smaller than its own.
TensorRef withRank(const TensorRef &tensor, int rank);

/// The view repeated to `sizes` (as many as it has dimensions) without a copy. Error: InvalidArgument naming the dimension.
Result<TensorRef> expandTo(std::string_view name, const TensorRef &tensor, std::span<const std::int64_t> sizes);

/// One step: each operand as [batch, its other dimensions...], in the order given.
using FoldedStep = std::vector<TensorRef>;

/// `operands` all begin with the same `leading` (at least 1) batch dimensions. Error: InvalidArgument when the product of sizes does not
/// fit 64 bits or there would be more than a million steps.
Result<std::vector<FoldedStep>> foldBatch(std::span<const TensorRef> operands, int leading);

} // namespace attnjit::attention
