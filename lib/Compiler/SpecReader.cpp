#include "Compiler/SpecReader.h"

#include <charconv>
#include <fmt/format.h>

namespace attnjit::compiler {

namespace {

constexpr std::string_view kFormulaLine = "formula:";
constexpr std::string_view kFloatNames = "f64, f32, bf16, f16, f8e4m3fn or f8e5m2";

template <typename Int> bool readInt(std::string_view text, Int &value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}
} // namespace

Error badLine(std::string_view key, std::string_view value, std::string_view expected) {
  return {ErrorCode::InvalidArgument, fmt::format("problem header: '{} = {}': expected {}", key, value, expected)};
}

bool readValue(std::string_view text, std::string &value) {
  value = text;
  return true;
}

bool readValue(std::string_view text, std::int64_t &value) { return readInt(text, value) && value >= 0 && value <= INT32_MAX; }
bool readValue(std::string_view text, std::uint64_t &value) { return readInt(text, value) && value <= std::uint64_t(INT64_MAX); }
bool readValue(std::string_view text, std::uint32_t &value) { return readInt(text, value); }
bool readValue(std::string_view text, int &value) { return readInt(text, value) && value >= 0; }

bool readValue(std::string_view text, bool &value) {
  value = text == "true";
  return value || text == "false";
}

bool readValue(std::string_view text, DType &value) {
  std::optional<DType> parsed = parseDType(text);
  value = parsed.value_or(DType::F32);
  return parsed.has_value() && isFloat(value);
}

bool readValue(std::string_view text, std::optional<DType> &value) {
  if (text == "none") {
    value = std::nullopt;
    return true;
  }
  return readValue(text, value.emplace());
}

namespace {

/// The backends that this library makes code for.
bool isCompiled(SDPBackend backend) {
  return backend == SDPBackend::Math || backend == SDPBackend::FlashAttention || backend == SDPBackend::EfficientAttention;
}

} // namespace

bool readValue(std::string_view text, SDPBackend &value) {
  const std::optional<SDPBackend> parsed = parseSDPBackend(text);
  value = parsed.value_or(SDPBackend::Math);
  return isCompiled(value) && text == name(value);
}

void readSpecFields(FieldReader &reader, KernelSpec &spec) {
  reader.field("target", spec.target.triple, "a triple")
      .field("cpu", spec.target.cpu, "a CPU or GPU name")
      .field("vector_bits", spec.target.vectorBits, "an integer")
      .field("registers", spec.target.registers, "an integer")
      .field("pipeline", spec.backend, "MATH, FLASH_ATTENTION or EFFICIENT_ATTENTION")
      .field("q", spec.qType, kFloatNames)
      .field("kv", spec.kvType, kFloatNames)
      .field("out", spec.outType, kFloatNames)
      .field("D", spec.D, "a head dimension")
      .field("Dv", spec.Dv, "a head dimension")
      .field("contiguous", spec.contiguous, "true or false")
      .field("aligned", spec.aligned, "true or false")
      .field("paged", spec.paged, "true or false")
      .field("checked_indices", spec.checkedIndices, "true or false")
      .field("narrow_indices", spec.narrowIndices, "true or false")
      .field("sinks", spec.sinks, "none, f64, f32, bf16 or f16")
      .field("tile_rows", spec.config.tileRows, "an integer")
      .field("tile_cols", spec.config.tileCols, "an integer");
}

Result<std::string_view> readLines(std::string_view text, const std::function<void(FieldReader &)> &readField) {
  std::uint32_t seen = 0, all = 0;
  while (true) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos)
      return Error{ErrorCode::InvalidArgument, "problem header: the line 'formula:' is missing"};
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (line == kFormulaLine)
      break;
    const std::size_t equals = line.find(" = ");
    if (equals == std::string_view::npos)
      return Error{ErrorCode::InvalidArgument, fmt::format("problem header: '{}': expected 'key = value'", line)};
    FieldReader reader(line.substr(0, equals), line.substr(equals + 3), seen);
    readField(reader);
    all = reader.all;
    if (reader.error)
      return *reader.error;
    if (!reader.done)
      return Error{ErrorCode::InvalidArgument, fmt::format("problem header: unknown key '{}'", line.substr(0, equals))};
  }
  if (seen == 0 || seen != all)
    return Error{ErrorCode::InvalidArgument, "problem header: some keys are missing"};
  return text;
}

Result<void> finishSpec(std::string_view formula, KernelSpec &spec) {
  spec.target.kind = spec.target.triple.starts_with("nvptx") ? TargetDesc::Kind::Nvptx : TargetDesc::Kind::Cpu;
  Result<expr::Formula> parsed = expr::parseCanonical(formula);
  if (!parsed)
    return Error{ErrorCode::InvalidArgument, "problem header: " + parsed.error().message};
  spec.formula = std::move(*parsed);
  return {};
}

Result<KernelSpec> parseSpec(std::string_view text) {
  KernelSpec spec;
  const Result<std::string_view> formula = readLines(text, [&](FieldReader &reader) { readSpecFields(reader, spec); });
  if (!formula)
    return formula.error();
  if (Result<void> finished = finishSpec(*formula, spec); !finished)
    return finished.error();
  return spec;
}

} // namespace attnjit::compiler
