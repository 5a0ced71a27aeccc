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

/// An integer dtype has room for `value`; others have it for any.
bool hasRoom(DType dtype, std::int64_t value) {
  if (isFloat(dtype))
    return true;
  const bool isUnsigned = dtype == DType::Bool || dtype == DType::U8;
  const std::size_t bits = dtype == DType::Bool ? 1 : 8 * sizeInBytes(dtype) - (isUnsigned ? 0 : 1);
  return isUnsigned ? value >= 0 && value >> bits == 0 : value >> (bits - 1) >> 1 == (value < 0 ? -1 : 0);
}

/// For generators whose largest number (or smallest) is `last`.
Result<void> checkRoom(const GeneratorCall &call, DType dtype, std::optional<std::int64_t> last) {
  if (last && hasRoom(dtype, *last))
    return {};
  return invalid(fmt::format("{}: {} has no room for {}", call.text, name(dtype), last ? fmt::format("{}", *last) : "so large numbers"));
}

void storeNumber(const Tensor &tensor, std::int64_t index, double value) {
  const TensorRef ref = tensor.ref();
  if (isFloat(ref.dtype))
    reference::storeFloat(ref.data, ref.dtype, index, value);
  else
    storeInt(ref.data, ref.dtype, index, static_cast<std::int64_t>(value));
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
  if (!tensor)
    return tensor;
  if (Result<void> room = checkRoom(call, tensor->dtype(), tensor->elementCount() - 1); !room)
    return room.error();
  for (std::int64_t i = 0; i < tensor->elementCount(); ++i)
    storeNumber(*tensor, i, static_cast<double>(i));
  return tensor;
}

/// NUMBER everywhere, or where it rises NUMBER, 2 NUMBER, 3 NUMBER ...
Result<Tensor> numberTensor(const GeneratorCall &call, bool rises) {
  Result<Tensor> tensor = allocateFor(call, call.arguments[0], call.arguments[1]);
  if (!tensor)
    return tensor;
  const std::int64_t count = tensor->elementCount();
  const auto factor = [&](std::int64_t i) { return rises ? i + 1 : 1; };
  if (isFloat(tensor->dtype())) {
    const Result<double> number = parseNumber(call.arguments[2], call.text);
    if (!number)
      return number.error();
    for (std::int64_t i = 0; i < count; ++i)
      storeNumber(*tensor, i, *number * static_cast<double>(factor(i)));
    return tensor;
  }
  const Result<std::int64_t> number = parseInt(call.arguments[2], call.text);
  if (!number)
    return number.error();
  std::int64_t last = 0;
  const bool overflows = __builtin_mul_overflow(*number, factor(count - 1), &last);
  if (Result<void> room = checkRoom(call, tensor->dtype(), overflows ? std::nullopt : std::optional(last)); !room)
    return room.error();
  for (std::int64_t i = 0; i < count; ++i)
    storeInt(tensor->ref().data, tensor->dtype(), i, *number * factor(i));
  return tensor;
}

Result<Tensor> constantTensor(const GeneratorCall &call) { return numberTensor(call, /*rises=*/false); }

/// Cumulative lengths, time stamps.
Result<Tensor> stepsTensor(const GeneratorCall &call) { return numberTensor(call, /*rises=*/true); }

/// Integers in [0, LIMIT): indices of a dimension of that size, lengths, offsets.
Result<Tensor> belowTensor(const GeneratorCall &call) {
  Result<Tensor> tensor = allocateFor(call, call.arguments[0], call.arguments[1]);
  const Result<std::int64_t> limit = parseInt(call.arguments[2], call.text);
  if (!tensor || !limit)
    return tensor ? Result<Tensor>(limit.error()) : tensor;
  if (isFloat(tensor->dtype()) || *limit < 1)
    return invalid(fmt::format("{}: expected an integer dtype and a limit of at least 1", call.text));
  if (Result<void> room = checkRoom(call, tensor->dtype(), *limit - 1); !room)
    return room.error();
  std::uint64_t state = call.seed + 1;
  for (std::int64_t i = 0; i < tensor->elementCount(); ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    storeNumber(*tensor, i, static_cast<double>((state >> 33) % static_cast<std::uint64_t>(*limit)));
  }
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
