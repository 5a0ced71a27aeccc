// Causal biases for queries and keys of different lengths, as torch.nn.attention.bias has them. They hold no data: lengths are run-time
// numbers of one formula, so a new length never compiles anything.
//
//   UPPER_LEFT, 2 x 4      LOWER_RIGHT, 2 x 4
//   x . . .                x x x .
//   x x . .                x x x x
#pragma once

#include "attnjit/Problem.h"

#include <cstdint>
#include <string>
#include <vector>

namespace attnjit::inline v0 {

/// Which corner of the matrix of scores the diagonal goes through.
enum class CausalVariant : std::uint8_t {
  UpperLeft = 1,  ///< query i sees keys j <= i: both sequences start together
  LowerRight = 2, ///< query i sees keys j <= i + (seqLenKv - seqLenQ): both end together, as in decoding with a cache
};

/// A causal mask of [seqLenQ, seqLenKv]. LowerRight with more queries than keys leaves the first rows without any key: they give 0 (A5),
/// where PyTorch's fused kernels give NaN.
struct CausalBias {
  CausalVariant variant = CausalVariant::UpperLeft;
  std::int64_t seqLenQ = 0, seqLenKv = 0;

  /// Keys that query 0 sees beyond key 0; negative when it sees none.
  std::int64_t offset() const { return variant == CausalVariant::UpperLeft ? 0 : seqLenKv - seqLenQ; }
  bool isVisible(std::int64_t q, std::int64_t kv) const { return kv <= q + offset(); }

  /// The mask for calls of the engine and for andMasks(), with the numbers it captures. Biases of one variant share one formula.
  const Mod &mod() const;
  std::vector<CaptureArgument> captures() const;

  /// One line per query, 'x' for a visible key and '.' for a hidden one.
  std::string toString() const;
};

CausalBias causalUpperLeft(std::int64_t seqLenQ, std::int64_t seqLenKv);
CausalBias causalLowerRight(std::int64_t seqLenQ, std::int64_t seqLenKv);

} // namespace attnjit::inline v0
