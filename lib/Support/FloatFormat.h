// The float dtypes that C++ has no type for, as bits: exact decoding, rounding straight from f64. For oracles, interpreters and tools;
// kernels have conversions of their own, which are tested against these.
#pragma once

#include "attnjit/Types.h"

#include <cstdint>

namespace attnjit {

/// A binary format of at most 16 bits: stored fraction bits, the smallest exponent of normal numbers, what lies above.
struct FloatFormat {
  int fractionBits;
  int minExponent;
  int bits = 16;
  bool hasInfinity = true; ///< else all exponents are of numbers, and the largest pattern alone is NaN

  /// Of BF16, F16, F8E4M3 or F8E5M2; null for any other dtype.
  static const FloatFormat *of(DType dtype);

  /// The number, infinity or NaN that a pattern stands for.
  double decode(int pattern) const;
  /// `value` rounded once, to nearest even; overflow gives infinity, or NaN where there is none. NaN stays NaN.
  double round(double value) const;
  /// The pattern of a value that the format represents exactly.
  std::uint16_t encode(double value) const;
  /// The largest finite number.
  double largest() const;

private:
  int bias() const { return 1 - minExponent; }
  int exponentOnes() const { return (1 << (bits - 1 - fractionBits)) - 1; }
  int fractionOnes() const { return (1 << fractionBits) - 1; }
  int signBit() const { return 1 << (bits - 1); }
};

} // namespace attnjit
