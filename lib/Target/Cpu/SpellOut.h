// What a CPU older than AVX2 lacks, in terms of what it has.
#pragma once

namespace llvm {
class Function;
}

namespace attnjit::target {

/// Replaces fused multiply-adds and conversions between f16 and f32, which would become calls into libraries: images have no external
/// symbol. An fma stays exact to the last place but one rounding in 2^29, except in sums that a loop carries, where product and sum are
/// rounded one after the other.
void spellOut(llvm::Function &function);

} // namespace attnjit::target
