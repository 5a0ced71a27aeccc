#include "Reference/Elements.h"

#include "Support/FloatFormat.h"

#include <cmath>
#include <cstring>

namespace attnjit::reference {

namespace {

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
  if (const FloatFormat *format = FloatFormat::of(dtype))
    return format->decode(format->bits == 8 ? loadAs<std::uint8_t>(data, offset) : loadAs<std::uint16_t>(data, offset));
  return dtype == DType::F64 ? loadAs<double>(data, offset) : loadAs<float>(data, offset);
}

double roundTo(DType dtype, double value) {
  if (const FloatFormat *format = FloatFormat::of(dtype))
    return format->round(value);
  return dtype == DType::F64 ? value : static_cast<float>(value);
}

void storeFloat(void *data, DType dtype, std::int64_t offset, double value) {
  if (const FloatFormat *format = FloatFormat::of(dtype)) {
    const std::uint16_t bits = format->encode(format->round(value));
    return format->bits == 8 ? storeAs(data, offset, static_cast<std::uint8_t>(bits)) : storeAs(data, offset, bits);
  }
  return dtype == DType::F64 ? storeAs(data, offset, value) : storeAs(data, offset, static_cast<float>(value));
}

double unitRoundoff(DType dtype) {
  if (const FloatFormat *format = FloatFormat::of(dtype))
    return std::ldexp(1.0, -format->fractionBits - 1);
  return dtype == DType::F64 ? 0x1p-53 : 0x1p-24;
}

} // namespace attnjit::reference
