#include "Support/FloatFormat.h"

#include <bit>
#include <cmath>
#include <limits>

namespace attnjit {

namespace {

// Of an f64, whose bits most numbers go by here: formats differ from it in the width of their fraction and the bias of their exponent.
constexpr int kFractionBits = 52, kBias = 1023;

/// floor(log2(|value|)) of a normal number.
int exponentOf(double value) { return static_cast<int>(std::bit_cast<std::uint64_t>(value) >> kFractionBits & 0x7ff) - kBias; }

} // namespace

const FloatFormat *FloatFormat::of(DType dtype) {
  static constexpr FloatFormat bf16{7, -126}, f16{10, -14}, e4m3{3, -6, 8, false}, e5m2{2, -14, 8};
  switch (dtype) {
  case DType::BF16:
    return &bf16;
  case DType::F16:
    return &f16;
  case DType::F8E4M3:
    return &e4m3;
  case DType::F8E5M2:
    return &e5m2;
  default:
    return nullptr;
  }
}

/// The pattern before the one of infinity, or of NaN where there is none.
double FloatFormat::largest() const { return decode((exponentOnes() << fractionBits | (hasInfinity ? 0 : fractionOnes())) - 1); }

/// Going through float first would round twice.
double FloatFormat::round(double value) const {
  const double overflow =
      std::copysign(hasInfinity ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN(), value);
  if (std::isinf(value))
    return overflow;
  if (std::isnan(value) || value == 0)
    return value;
  double rounded = 0;
  if (exponentOf(value) >= minExponent) { // to nearest even by an addition, whose carry may go on into the exponent
    const int dropped = kFractionBits - fractionBits;
    const auto bits = std::bit_cast<std::uint64_t>(value), half = std::uint64_t{1} << (dropped - 1);
    rounded = std::bit_cast<double>((bits + (half - 1) + (bits >> dropped & 1)) & ~(2 * half - 1));
  } else {
    const int quantum = minExponent - fractionBits;
    rounded = std::ldexp(std::nearbyint(std::ldexp(value, -quantum)), quantum);
  }
  return std::fabs(rounded) > largest() ? overflow : rounded;
}

std::uint16_t FloatFormat::encode(double value) const {
  const auto pack = [&](int biasedExponent, int fraction) {
    return static_cast<std::uint16_t>((std::signbit(value) ? signBit() : 0) | (biasedExponent << fractionBits) | fraction);
  };
  if (std::isnan(value)) // of several NaNs the quiet one without a payload; in 8 bits that of all ones, as in PyTorch
    return pack(exponentOnes(), bits == 8 ? fractionOnes() : 1 << (fractionBits - 1));
  if (std::isinf(value))
    return pack(exponentOnes(), 0);
  if (value == 0)
    return pack(0, 0);
  if (const int exponent = exponentOf(value); exponent >= minExponent)
    return pack(exponent + bias(),
                static_cast<int>(std::bit_cast<std::uint64_t>(value) >> (kFractionBits - fractionBits)) & fractionOnes());
  return pack(0, static_cast<int>(std::ldexp(std::fabs(value), fractionBits - minExponent)));
}

double FloatFormat::decode(int pattern) const {
  const int biasedExponent = (pattern >> fractionBits) & exponentOnes(), fraction = pattern & fractionOnes();
  const bool isTop = biasedExponent == exponentOnes();
  double magnitude = 0;
  if (isTop && (hasInfinity ? fraction != 0 : fraction == fractionOnes()))
    magnitude = std::numeric_limits<double>::quiet_NaN();
  else if (isTop && hasInfinity)
    magnitude = std::numeric_limits<double>::infinity();
  else if (biasedExponent == 0)
    magnitude = std::ldexp(fraction, minExponent - fractionBits);
  else
    magnitude = std::bit_cast<double>(static_cast<std::uint64_t>(biasedExponent - bias() + kBias) << kFractionBits |
                                      static_cast<std::uint64_t>(fraction) << (kFractionBits - fractionBits));
  return pattern & signBit() ? -magnitude : magnitude;
}

} // namespace attnjit
