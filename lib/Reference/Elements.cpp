#include "Reference/Elements.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace attnjit::reference {

namespace {

/// A binary format narrower than double: stored fraction bits and the exponent range of normal numbers.
struct Format {
  int fractionBits;
  int minExponent;
  int maxExponent;
};
constexpr Format kBf16{7, -126, 127};
constexpr Format kF16{10, -14, 15};

/// Rounds straight from double: going through float first would round twice.
double roundToFormat(const Format &format, double value) {
  if (!std::isfinite(value) || value == 0)
    return value;
  int exponent = 0;
  std::frexp(value, &exponent);
  const int quantum = std::max(exponent - 1, format.minExponent) - format.fractionBits;
  const double rounded = std::ldexp(std::nearbyint(std::ldexp(value, -quantum)), quantum);
  const double limit = std::ldexp(2.0 - std::ldexp(1.0, -format.fractionBits), format.maxExponent);
  return std::fabs(rounded) > limit ? std::copysign(std::numeric_limits<double>::infinity(), value) : rounded;
}

/// Bits of a number that the format represents exactly.
std::uint16_t encode(const Format &format, double value) {
  const std::uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const int exponentOnes = (1 << (15 - format.fractionBits)) - 1;
  const auto pack = [&](int biasedExponent, int fraction) {
    return static_cast<std::uint16_t>(sign | (biasedExponent << format.fractionBits) | fraction);
  };
  if (std::isnan(value))
    return pack(exponentOnes, 1 << (format.fractionBits - 1));
  if (std::isinf(value))
    return pack(exponentOnes, 0);
  if (value == 0)
    return sign;
  int exponent = 0;
  std::frexp(value, &exponent);
  const bool isNormal = exponent - 1 >= format.minExponent;
  const int quantum = (isNormal ? exponent - 1 : format.minExponent) - format.fractionBits;
  const int digits = static_cast<int>(std::ldexp(std::fabs(value), -quantum));
  return isNormal ? pack(exponent - 1 - format.minExponent + 1, digits - (1 << format.fractionBits)) : pack(0, digits);
}

double decodeF16(std::uint16_t bits) {
  const int biasedExponent = (bits >> 10) & 31, fraction = bits & 1023;
  double magnitude = 0;
  if (biasedExponent == 31)
    magnitude = fraction ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  else if (biasedExponent == 0)
    magnitude = std::ldexp(fraction, -24);
  else
    magnitude = std::ldexp(1024 + fraction, biasedExponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

template <typename T> T loadAs(const void *data, std::int64_t offset) {
  T value;
  std::memcpy(&value, static_cast<const char *>(data) + offset * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  return value;
}

template <typename T> void storeAs(void *data, std::int64_t offset, T value) {
  std::memcpy(static_cast<char *>(data) + offset * static_cast<std::int64_t>(sizeof(T)), &value, sizeof(T));
}

} // namespace

double loadFloat(const void *data, DType dtype, std::int64_t offset) {
  switch (dtype) {
  case DType::F64:
    return loadAs<double>(data, offset);
  case DType::BF16:
    return std::bit_cast<float>(static_cast<std::uint32_t>(loadAs<std::uint16_t>(data, offset)) << 16);
  case DType::F16:
    return decodeF16(loadAs<std::uint16_t>(data, offset));
  default:
    return loadAs<float>(data, offset);
  }
}

double roundTo(DType dtype, double value) {
  switch (dtype) {
  case DType::F64:
    return value;
  case DType::BF16:
    return roundToFormat(kBf16, value);
  case DType::F16:
    return roundToFormat(kF16, value);
  default:
    return static_cast<float>(value);
  }
}

void storeFloat(void *data, DType dtype, std::int64_t offset, double value) {
  switch (dtype) {
  case DType::F64:
    return storeAs(data, offset, value);
  case DType::BF16:
    return storeAs(data, offset, encode(kBf16, roundToFormat(kBf16, value)));
  case DType::F16:
    return storeAs(data, offset, encode(kF16, roundToFormat(kF16, value)));
  default:
    return storeAs(data, offset, static_cast<float>(value));
  }
}

double unitRoundoff(DType dtype) {
  switch (dtype) {
  case DType::F64:
    return 0x1p-53;
  case DType::BF16:
    return 0x1p-8;
  case DType::F16:
    return 0x1p-11;
  default:
    return 0x1p-24;
  }
}

} // namespace attnjit::reference
