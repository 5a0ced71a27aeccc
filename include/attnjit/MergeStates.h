// Attention over pieces of the keys, put together: split sequences, shared prefixes, keys on several machines.
//
//   Each piece is an ordinary forward call over some of the keys that wants lse as well. Then
//
//       lse = ln(sum_i e^lse_i)        out = sum_i e^(lse_i - lse) * out_i
//
//   is attention over all of them, up to rounding. A piece in which a row saw nothing has lse -inf there and weight 0: its out is not
//   looked at. A row that saw nothing anywhere gets out 0 and lse -inf (A5). Sinks (A15) belong to exactly one of the pieces: each piece
//   that is given them counts them in its lse.
#pragma once

#include "attnjit/Result.h"
#include "attnjit/Types.h"

#include <optional>
#include <span>

namespace attnjit::inline v0 {

/// What a forward call over some of the keys gave.
struct PartialState {
  TensorRef out; ///< [B, Hq, M, Dv], any float dtype; parts of 8 bits have few digits left to merge, so ask the calls for more
  TensorRef lse; ///< [B, Hq, M], natural log; f32, or f64 where out is f64
};

/// Merges `parts`, one at least, in index order into out and, where wanted, lse, of the same sizes and dtypes. All strides are free but for
/// those of outputs, whose elements need a place each. An output may be the very view (data and strides) that a part has, but may not
/// overlap one otherwise. Weights and sums are f32 (f64 for f64); same inputs, same bits, for any number of threads (A11). Errors:
/// InvalidArgument, naming the tensor, what was expected, what came and the cure.
Result<void> mergeStates(std::span<const PartialState> parts, const TensorRef &out, const std::optional<TensorRef> &lse = std::nullopt,
                         int threads = 0);

} // namespace attnjit::inline v0
