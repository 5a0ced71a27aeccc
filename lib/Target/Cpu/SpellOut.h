// What a CPU older than AVX2 lacks, in terms of what it has.
#pragma once

namespace llvm {
class Function;
}

namespace attnjit::target {

/// Replaces fused multiply-adds and conversions between f16 and f32, which would become calls into libraries: images have no external
/// symbol. An fma of f32 rounds
/// otherwise once in 2^29 times, one of f64 is within its last place; but in sums that a loop carries, product and sum are rounded one
/// after the other.
void spellOut(llvm::Function &function);

} // namespace attnjit::target
