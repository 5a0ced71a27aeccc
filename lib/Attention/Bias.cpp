#include "attnjit/Bias.h"

#include "Attention/FixedMod.h"

namespace attnjit::inline v0 {

const Mod &CausalBias::mod() const {
  static const Mod upperLeft = attention::fixedMod("", "q_idx >= kv_idx");
  static const Mod lowerRight = attention::fixedMod("", "kv_idx <= q_idx + causal_offset", {{"causal_offset", DType::I64}});
  return variant == CausalVariant::UpperLeft ? upperLeft : lowerRight;
}

std::vector<CaptureArgument> CausalBias::captures() const {
  if (variant == CausalVariant::UpperLeft)
    return {};
  return {{"causal_offset", offset()}};
}

std::string CausalBias::toString() const {
  std::string text;
  for (std::int64_t q = 0; q < seqLenQ; ++q) {
    for (std::int64_t kv = 0; kv < seqLenKv; ++kv)
      text += isVisible(q, kv) ? 'x' : '.';
    text += '\n';
  }
  return text;
}

CausalBias causalUpperLeft(std::int64_t seqLenQ, std::int64_t seqLenKv) { return {CausalVariant::UpperLeft, seqLenQ, seqLenKv}; }
CausalBias causalLowerRight(std::int64_t seqLenQ, std::int64_t seqLenKv) { return {CausalVariant::LowerRight, seqLenQ, seqLenKv}; }

} // namespace attnjit::inline v0
