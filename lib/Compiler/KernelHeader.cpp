#include "Compiler/KernelHeader.h"

#include "attnjit/KernelAbi.h"

#include <charconv>
#include <fmt/format.h>

namespace attnjit::compiler {

namespace {

constexpr std::string_view kFormulaLine = "formula:";
constexpr std::string_view kFloatNames = "f64, f32, bf16, f16, f8e4m3fn or f8e5m2";

Error badLine(std::string_view key, std::string_view value, std::string_view expected) {
  return {ErrorCode::InvalidArgument, fmt::format("problem header: '{} = {}': expected {}", key, value, expected)};
}

bool readValue(std::string_view text, std::string &value) {
  value = text;
  return true;
}

template <typename Int> bool readInt(std::string_view text, Int &value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
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

/// The backends that this library makes code for.
bool isCompiled(SDPBackend backend) {
  return backend == SDPBackend::Math || backend == SDPBackend::FlashAttention || backend == SDPBackend::EfficientAttention;
}

bool readValue(std::string_view text, SDPBackend &value) {
  const std::optional<SDPBackend> parsed = parseSDPBackend(text);
  value = parsed.value_or(SDPBackend::Math);
  return isCompiled(value) && text == name(value);
}

/// Fills the field that `key` names. Every key has to occur once; `seen` remembers which did.
class FieldReader {
public:
  FieldReader(std::string_view key, std::string_view value, std::uint32_t &seen) : key(key), value(value), seen(seen) {}

  template <typename T> FieldReader &field(std::string_view name, T &target, std::string_view expected) {
    const std::uint32_t bit = 1u << index++;
    if (key == name && !done) {
      done = true;
      if (seen & bit)
        error = badLine(key, value, "each key once");
      else if (!readValue(value, target))
        error = badLine(key, value, expected);
      seen |= bit;
    }
    all |= bit;
    return *this;
  }

  bool done = false;
  std::optional<Error> error;
  std::uint32_t all = 0;

private:
  std::string_view key, value;
  std::uint32_t &seen;
  int index = 0;
};

FieldReader readField(std::string_view key, std::string_view value, std::uint32_t &seen, KernelHeader &header, std::int64_t &abi) {
  KernelSpec &spec = header.spec;
  FieldReader reader(key, value, seen);
  reader.field("abi", abi, "an integer")
      .field("workspace_bytes", header.workspaceBytes, "a number of bytes")
      .field("state_row_bytes", header.stateRowBytes, "a number of bytes")
      .field("rounds", header.rounds, "1 or 2")
      .field("function_table", header.callsFunctions, "true or false")
      .field("threads_per_block", header.threadsPerBlock, "a number of threads")
      .field("shared_bytes", header.sharedBytes, "a number of bytes")
      .field("q_box_rows", header.qBoxRows, "a number of rows")
      .field("kv_box_rows", header.kvBoxRows, "a number of rows")
      .field("has_mask", header.hasMask, "true or false")
      .field("closed_form", header.hasClosedForm, "true or false")
      .field("target", spec.target.triple, "a triple")
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
  return reader;
}

} // namespace

std::string print(const KernelHeader &header) {
  return fmt::format("abi = {}\nworkspace_bytes = {}\nstate_row_bytes = {}\nrounds = {}\nfunction_table = {}\nthreads_per_block = {}\nshared_bytes = "
                     "{}\nq_box_rows = {}\nkv_box_rows = {}\nhas_mask = {}\nclosed_form = {}\n{}",
                     kAbiVersion, header.workspaceBytes, header.stateRowBytes, header.rounds, header.callsFunctions, header.threadsPerBlock, header.sharedBytes,
                     header.qBoxRows, header.kvBoxRows, header.hasMask, header.hasClosedForm, print(header.spec));
}

Result<KernelHeader> parseHeader(std::string_view text) {
  KernelHeader header;
  std::uint32_t seen = 0, all = 0;
  std::int64_t abi = 0;
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
    FieldReader reader = readField(line.substr(0, equals), line.substr(equals + 3), seen, header, abi);
    all = reader.all;
    if (reader.error)
      return *reader.error;
    if (!reader.done)
      return Error{ErrorCode::InvalidArgument, fmt::format("problem header: unknown key '{}'", line.substr(0, equals))};
  }
  if (seen == 0 || seen != all)
    return Error{ErrorCode::InvalidArgument, "problem header: some keys are missing"};
  if (abi != kAbiVersion)
    return Error{ErrorCode::InvalidArgument, fmt::format("the stage was written for kernel ABI {}, this build has {}; dump it again", abi, kAbiVersion)};
  header.spec.target.kind = header.spec.target.triple.starts_with("nvptx") ? TargetDesc::Kind::Nvptx : TargetDesc::Kind::Cpu;

  Result<expr::Formula> formula = expr::parseCanonical(text);
  if (!formula)
    return Error{ErrorCode::InvalidArgument, "problem header: " + formula.error().message};
  header.spec.formula = std::move(*formula);
  return header;
}

std::string editedMark(Stage stage) { return fmt::format("{}{}\n", kEditedKey, name(stage)); }

ImageMetadata metadataOf(const KernelHeader &header, std::string_view buildId) {
  const KernelSpec &spec = header.spec;
  ImageMetadata meta;
  meta.abiVersion = kAbiVersion;
  meta.buildId = buildId;
  meta.kind = spec.target.kind == TargetDesc::Kind::Nvptx ? ImageKind::Ptx : spec.target.isAArch64() ? ImageKind::CpuAArch64 : ImageKind::CpuX86_64;
  meta.pipeline = name(spec.backend);
  meta.triple = spec.target.triple;
  meta.cpu = spec.target.cpu;
  if (spec.target.kind == TargetDesc::Kind::Cpu)
    meta.features = requiredFeatures(spec.target);
  meta.entry = kEntryName;
  meta.qType = spec.qType;
  meta.kvType = spec.kvType;
  meta.outType = spec.outType;
  meta.D = spec.D;
  meta.Dv = spec.Dv;
  meta.contiguous = spec.contiguous;
  meta.paged = spec.paged;
  meta.checkedIndices = spec.checkedIndices;
  meta.narrowIndices = spec.narrowIndices;
  meta.sinks = spec.sinks;
  meta.hasMask = header.hasMask;
  meta.hasClosedForm = header.hasClosedForm;
  meta.tileRows = spec.config.tileRows;
  meta.tileCols = spec.config.tileCols;
  meta.workspaceBytes = header.workspaceBytes;
  meta.stateRowBytes = header.stateRowBytes;
  meta.rounds = header.rounds;
  meta.callsFunctions = header.callsFunctions;
  meta.threadsPerBlock = header.threadsPerBlock;
  meta.sharedBytes = header.sharedBytes;
  meta.qBoxRows = header.qBoxRows;
  meta.kvBoxRows = header.kvBoxRows;
  for (const expr::CaptureDecl &capture : spec.formula.captures)
    meta.captures.push_back({capture.name, capture.dtype, capture.rank});
  for (const expr::ScalarDecl &scalar : spec.formula.scalars)
    meta.scalars.push_back({scalar.name, scalar.kind == expr::Kind::Float});
  meta.problemText = print(spec);
  return meta;
}

} // namespace attnjit::compiler
