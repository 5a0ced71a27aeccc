#include "Support/FloatFormat.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace attnjit {

const FloatFormat *FloatFormat::of(DType dtype) {
  static constexpr FloatFormat bf16{7, -126, 127}, f16{10, -14, 15}, e4m3{3, -6, 8, 8, false}, e5m2{2, -14, 15, 8};
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

/// Without infinity the fraction of the largest number stops one short of ones.
double FloatFormat::largest() const { return std::ldexp(2.0 - std::ldexp(hasInfinity ? 1.0 : 2.0, -fractionBits), maxExponent); }

/// Going through float first would round twice.
double FloatFormat::round(double value) const {
  const double overflow =
      std::copysign(hasInfinity ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN(), value);
  if (std::isinf(value))
    return overflow;
  if (std::isnan(value) || value == 0)
    return value;
  int exponent = 0;
  std::frexp(value, &exponent);
  const int quantum = std::max(exponent - 1, minExponent) - fractionBits;
  const double rounded = std::ldexp(std::nearbyint(std::ldexp(value, -quantum)), quantum);
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
  int exponent = 0;
  std::frexp(value, &exponent);
  const bool isNormal = exponent - 1 >= minExponent;
  const int quantum = (isNormal ? exponent - 1 : minExponent) - fractionBits;
  const int digits = static_cast<int>(std::ldexp(std::fabs(value), -quantum));
  return isNormal ? pack(exponent - 1 + bias(), digits - (1 << fractionBits)) : pack(0, digits);
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
    magnitude = std::ldexp(fraction + (1 << fractionBits), biasedExponent - bias() - fractionBits);
  return pattern & signBit() ? -magnitude : magnitude;
}

} // namespace attnjit
