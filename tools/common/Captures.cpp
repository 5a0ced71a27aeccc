#include "common/Captures.h"

#include "common/Npy.h"

#include "Reference/Elements.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace attnjit::tools {

namespace {

Error invalid(std::string message) { return {ErrorCode::InvalidArgument, std::move(message)}; }

struct GeneratorCall {
  std::string_view text; ///< the whole, for messages
  std::vector<std::string_view> arguments;
  std::uint64_t seed;
  Placement placement;
};

void storeNumber(const Tensor &tensor, std::int64_t index, double value) {
  const TensorRef ref = tensor.ref();
  if (isFloat(ref.dtype)) {
    reference::storeFloat(ref.data, ref.dtype, index, value);
    return;
  }
  const std::int64_t integer = static_cast<std::int64_t>(value);
  const auto *bytes = reinterpret_cast<const std::byte *>(&integer); // little endian
  std::copy_n(bytes, sizeInBytes(ref.dtype), tensor.memory().begin() + index * static_cast<std::int64_t>(sizeInBytes(ref.dtype)));
}

Result<Tensor> allocateFor(const GeneratorCall &call, std::string_view sizesText, std::string_view dtypeText) {
  const Result<std::vector<std::int64_t>> sizes = parseSizes(sizesText);
  if (!sizes)
    return invalid(fmt::format("{}: {}", call.text, sizes.error().message));
  const std::optional<DType> dtype = parseDType(dtypeText);
  if (!dtype)
    return invalid(
        fmt::format("{}: unknown dtype '{}'; known are f64 f32 bf16 f16 f8e4m3fn f8e5m2 bool i8 u8 i16 i32 i64", call.text, dtypeText));
  Result<Tensor> tensor = Tensor::allocate(*dtype, *sizes, call.placement);
  if (!tensor)
    return invalid(fmt::format("{}: {}", call.text, tensor.error().message));
  return tensor;
}

Result<Tensor> randomTensor(const GeneratorCall &call) {
  Result<Tensor> tensor = allocateFor(call, call.arguments[0], call.arguments[1]);
  if (tensor)
    fillRandom(*tensor, call.seed);
  return tensor;
}

Result<Tensor> iotaTensor(const GeneratorCall &call) {
  Result<Tensor> tensor = allocateFor(call, call.arguments[0], call.arguments[1]);
  for (std::int64_t i = 0; tensor && i < tensor->elementCount(); ++i)
    storeNumber(*tensor, i, static_cast<double>(i));
  return tensor;
}

Result<Tensor> constantTensor(const GeneratorCall &call) {
  Result<Tensor> tensor = allocateFor(call, call.arguments[0], call.arguments[1]);
  const Result<double> value = parseNumber(call.arguments[2], call.text);
  if (!value)
    return value.error();
  if (tensor)
    fillConstant(*tensor, *value);
  return tensor;
}

/// Integers in [0, LIMIT): indices of a dimension of that size, lengths, offsets.
Result<Tensor> belowTensor(const GeneratorCall &call) {
  Result<Tensor> tensor = allocateFor(call, call.arguments[0], call.arguments[1]);
  const Result<std::int64_t> limit = parseInt(call.arguments[2], call.text);
  if (!tensor || !limit)
    return tensor ? Result<Tensor>(limit.error()) : tensor;
  if (isFloat(tensor->dtype()) || *limit < 1)
    return invalid(fmt::format("{}: expected an integer dtype and a limit of at least 1", call.text));
  std::uint64_t state = call.seed + 1;
  for (std::int64_t i = 0; i < tensor->elementCount(); ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    storeNumber(*tensor, i, static_cast<double>((state >> 33) % static_cast<std::uint64_t>(*limit)));
  }
  return tensor;
}

/// STEP, 2 STEP, 3 STEP ...: cumulative lengths, time stamps.
Result<Tensor> stepsTensor(const GeneratorCall &call) {
  Result<Tensor> tensor = allocateFor(call, call.arguments[0], call.arguments[1]);
  const Result<double> step = parseNumber(call.arguments[2], call.text);
  if (!step)
    return step.error();
  for (std::int64_t i = 0; tensor && i < tensor->elementCount(); ++i)
    storeNumber(*tensor, i, *step * static_cast<double>(i + 1));
  return tensor;
}

/// Slopes 2^(-8 (h + 1) / heads) of ALiBi.
Result<Tensor> alibiTensor(const GeneratorCall &call) {
  Result<Tensor> tensor = allocateFor(call, call.arguments[0], "f32");
  if (!tensor)
    return tensor;
  const double heads = static_cast<double>(tensor->elementCount());
  for (std::int64_t h = 0; h < tensor->elementCount(); ++h)
    storeNumber(*tensor, h, std::exp2(-8 * static_cast<double>(h + 1) / heads));
  return tensor;
}

/// Document numbers 0, 0, ..., 1, 1, ... along the last dimension: COUNT documents of uneven length, cut elsewhere in every row.
Result<Tensor> documentTensor(const GeneratorCall &call) {
  Result<Tensor> tensor = allocateFor(call, call.arguments[0], "i32");
  const Result<std::int64_t> count = parseInt(call.arguments[1], call.text);
  if (!tensor || !count)
    return tensor ? Result<Tensor>(count.error()) : tensor;
  if (tensor->sizes().empty() || *count < 1)
    return invalid(fmt::format("{}: expected docs:LENGTH:COUNT with a COUNT of at least 1", call.text));
  // Cut at the squares of even steps: lengths grow, so that no tile fits all of them.
  const std::int64_t length = tensor->sizes().back();
  for (std::int64_t i = 0; i < tensor->elementCount(); ++i) {
    const std::int64_t row = i / length;
    const double place = static_cast<double>(i % length) / static_cast<double>(length), power = 0.5 / static_cast<double>(1 + row);
    storeNumber(*tensor, i, std::floor(std::pow(place, power) * static_cast<double>(*count)));
  }
  return tensor;
}

struct GeneratorRow {
  std::string_view name;
  std::string_view form;
  std::size_t arguments;
  Result<Tensor> (*make)(const GeneratorCall &call);
  std::string_view meaning;
};
constexpr GeneratorRow kGenerators[] = {
    {"random", "random:16x4:f32", 2, randomTensor, "by --seed; floats in [-1, 1), ints in [0, 100)"},
    {"iota", "iota:1024:i32", 2, iotaTensor, "0, 1, 2 ..."},
    {"const", "const:16:f32:0.5", 3, constantTensor, "one number everywhere"},
    {"alibi", "alibi:8", 1, alibiTensor, "slopes of 8 heads"},
    {"below", "below:16:i32:100", 3, belowTensor, "random ints in [0, 100)"},
    {"steps", "steps:16:i64:64", 3, stepsTensor, "64, 128, 192 ..."},
    {"docs", "docs:1024:6", 2, documentTensor, "document numbers of 1024 tokens in 6 documents"},
};

Result<NamedCapture> generated(std::string name, std::string_view value, std::string_view whole, std::uint64_t seed, Placement placement) {
  GeneratorCall call{whole, {}, seed, placement};
  for (std::size_t begin = value.find(':') + 1; begin <= value.size();) {
    const std::size_t end = std::min(value.find(':', begin), value.size());
    call.arguments.push_back(value.substr(begin, end - begin));
    begin = end + 1;
  }
  for (const GeneratorRow &row : kGenerators) {
    if (row.name != value.substr(0, value.find(':')))
      continue;
    if (call.arguments.size() != row.arguments)
      return invalid(fmt::format("--capture {}: expected the form {}", whole, row.form));
    Result<Tensor> tensor = row.make(call);
    if (!tensor)
      return Error{tensor.error().code, "--capture " + tensor.error().message};
    return NamedCapture{std::move(name), std::move(*tensor)};
  }
  return invalid(fmt::format("--capture {}: unknown generator; known are {}", whole, captureFormsHelp()));
}

} // namespace

std::string captureFormsHelp() {
  std::string help;
  for (const GeneratorRow &row : kGenerators)
    help += fmt::format("{}{} ({})", help.empty() ? "" : ", ", row.form, row.meaning);
  return help;
}

Result<NamedCapture> parseCapture(std::string_view text, std::uint64_t seed, Placement placement) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0 || equals + 1 == text.size())
    return invalid(fmt::format("--capture {}: expected NAME=VALUE", text));
  std::string name(text.substr(0, equals));
  const std::string_view value = text.substr(equals + 1);
  if (value == "true" || value == "True" || value == "false" || value == "False")
    return NamedCapture{std::move(name), value[0] == 't' || value[0] == 'T'};
  if (value.ends_with(".npy")) {
    Result<Tensor> tensor = readNpy(std::string(value), placement);
    if (!tensor)
      return Error{tensor.error().code, fmt::format("--capture {}: {}", name, tensor.error().message)};
    return NamedCapture{std::move(name), std::move(*tensor)};
  }
  if (value.find(':') != std::string_view::npos)
    return generated(std::move(name), value, text, seed, placement);
  const bool looksInteger = value.find_first_not_of("+-0123456789") == std::string_view::npos;
  if (looksInteger) {
    const Result<std::int64_t> integer = parseInt(value.substr(value[0] == '+'), fmt::format("--capture {}", text));
    if (!integer)
      return integer.error();
    return NamedCapture{std::move(name), *integer};
  }
  const Result<double> number = parseNumber(value, "");
  if (!number)
    return invalid(fmt::format("--capture {}: expected a number, true, false, FILE.npy, or one of {}", text, captureFormsHelp()));
  return NamedCapture{std::move(name), *number};
}

} // namespace attnjit::tools
