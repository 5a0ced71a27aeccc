#include "Expr/Table.h"

#include "Expr/EvalOp.h"
#include "Expr/Steps.h"
#include "Support/FloatFormat.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>

namespace attnjit::expr {

namespace {

double rounded(double value, DType dtype) {
  if (const FloatFormat *format = FloatFormat::of(dtype))
    return format->round(value);
  return dtype == DType::F64 ? value : static_cast<float>(value);
}

std::int64_t wrapped(std::int64_t value, DType dtype) {
  switch (dtype) {
  case DType::I8:
    return static_cast<std::int8_t>(value);
  case DType::U8:
    return static_cast<std::uint8_t>(value);
  case DType::I16:
    return static_cast<std::int16_t>(value);
  case DType::I32:
    return static_cast<std::int32_t>(value);
  default:
    return value;
  }
}

template <typename T> void append(std::vector<std::byte> &bytes, T value) {
  const std::size_t at = bytes.size();
  bytes.resize(at + sizeof value);
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

void appendElement(std::vector<std::byte> &bytes, DType dtype, const PyNumber &element) {
  if (const FloatFormat *format = FloatFormat::of(dtype)) {
    const std::uint16_t bits = format->encode(element.f);
    return format->bits == 8 ? append(bytes, static_cast<std::uint8_t>(bits)) : append(bytes, bits);
  }
  switch (dtype) {
  case DType::F64:
    return append(bytes, element.f);
  case DType::F32:
    return append(bytes, static_cast<float>(element.f));
  case DType::I64:
    return append(bytes, element.i);
  case DType::I32:
    return append(bytes, static_cast<std::int32_t>(element.i));
  case DType::I16:
    return append(bytes, static_cast<std::int16_t>(element.i));
  default:
    return append(bytes, static_cast<std::uint8_t>(element.i));
  }
}

/// Eats a number of the text.
template <typename T> bool read(std::string_view &text, T &value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return error == std::errc();
}

bool eat(std::string_view &text, std::string_view token) {
  if (!text.starts_with(token))
    return false;
  text.remove_prefix(token.size());
  return true;
}

bool readSizes(std::string_view &text, int rank, std::vector<std::int64_t> &sizes) {
  if (!eat(text, "["))
    return false;
  for (int dim = 0; dim < rank; ++dim)
    if ((dim > 0 && !eat(text, ", ")) || !read(text, sizes.emplace_back()) || sizes.back() < 0)
      return false;
  return eat(text, "]");
}

} // namespace

std::string floatText(double value) {
  if (std::isnan(value))
    return "nan";
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  return std::string(buffer, end);
}

PyNumber asElement(const PyNumber &number, DType dtype) {
  if (isFloat(dtype))
    return {Kind::Float, 0, rounded(number.asDouble(), dtype)};
  if (dtype == DType::Bool)
    return {Kind::Bool, number.truth(), 0};
  const std::int64_t value = number.kind == Kind::Float ? evalOp(Op::ToInt, Kind::Float, Value{.f = number.f}, {}, {}).i : number.i;
  return {Kind::Int, wrapped(value, dtype), 0};
}

std::shared_ptr<const Table> makeTable(std::vector<std::int64_t> sizes, DType dtype, std::span<const PyNumber> elements) {
  auto table = std::make_shared<Table>();
  table->sizes = std::move(sizes);
  for (const PyNumber &element : elements)
    appendElement(table->bytes, dtype, element);
  return table;
}

std::size_t tableElements(const Table &table) {
  std::size_t count = 1;
  for (const std::int64_t size : table.sizes)
    count *= static_cast<std::size_t>(size);
  return count;
}

TensorRef tensorOf(const CaptureDecl &decl) {
  TensorRef tensor;
  tensor.data = const_cast<std::byte *>(decl.table->bytes.data()); // captured tensors are only read
  tensor.dtype = decl.dtype;
  tensor.rank = decl.rank;
  std::int64_t stride = 1;
  for (int dim = decl.rank; dim-- > 0; stride *= tensor.sizes[dim]) {
    tensor.sizes[dim] = decl.table->sizes[dim];
    tensor.strides[dim] = stride;
  }
  return tensor;
}

std::string listCaptures(const Formula &formula) {
  std::string names;
  bool hasOwn = false;
  for (const CaptureDecl &capture : formula.captures) {
    if (!capture.isOwn())
      names += fmt::format("{}'{}'", names.empty() ? "" : ", ", capture.name);
    hasOwn |= capture.isOwn();
  }
  return hasOwn ? names + (names.empty() ? "one that its text makes" : ", or one that its text makes") : names;
}

std::string tableText(const CaptureDecl &decl) {
  std::string text = fmt::format("[{}]", fmt::join(decl.table->sizes, ", "));
  for (std::size_t i = 0; i < tableElements(*decl.table); ++i) {
    const Value value = loadElement(decl.table->bytes.data(), decl.dtype, static_cast<std::int64_t>(i));
    text += ' ';
    text += isFloat(decl.dtype) ? floatText(value.f) : fmt::format("{}", value.i);
  }
  return text;
}

std::shared_ptr<const Table> tableFromText(std::string_view text, DType dtype, int rank, std::size_t most) {
  auto table = std::make_shared<Table>();
  if (rank < 0 || rank > kMaxRank || !readSizes(text, rank, table->sizes))
    return nullptr;
  __int128 count = 1; // at most 2^64 before it is looked at
  for (const std::int64_t size : table->sizes)
    if (count *= size; count > static_cast<__int128>(most))
      return nullptr;
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    PyNumber element{isFloat(dtype) ? Kind::Float : Kind::Int, 0, 0};
    if (!eat(text, " ") || !(isFloat(dtype) ? read(text, element.f) : read(text, element.i)))
      return nullptr;
    if (std::isnan(element.f))
      element.f = std::numeric_limits<double>::quiet_NaN();
    appendElement(table->bytes, dtype, asElement(element, dtype));
  }
  return text.empty() ? std::move(table) : nullptr;
}

} // namespace attnjit::expr
