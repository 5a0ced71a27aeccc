// The std-only half of the seam: an engine without a compiler still prints specs (they key its cache) and knows the stages.
#include "Compiler/CompilerInterface.h"

#include <array>
#include <fmt/format.h>

namespace attnjit::compiler {

namespace {

constexpr std::array<std::string_view, 9> kStageNames = {"attn", "tile", "vector", "gpu", "llvm", "ll", "asm", "obj", "ptx"};

std::string_view pipelineName(SDPBackend backend) {
  switch (backend) {
  case SDPBackend::Math:
    return "MATH";
  case SDPBackend::FlashAttention:
    return "FLASH_ATTENTION";
  case SDPBackend::EfficientAttention:
    return "EFFICIENT_ATTENTION";
  case SDPBackend::CudnnAttention:
    return "CUDNN_ATTENTION";
  case SDPBackend::Overrideable:
    return "OVERRIDEABLE";
  case SDPBackend::Error:
    break;
  }
  return "ERROR";
}

} // namespace

std::string print(const KernelSpec &spec) {
  return fmt::format(
      "target = {}\ncpu = {}\nvector_bits = {}\nregisters = {}\n"
      "pipeline = {}\nq = {}\nkv = {}\nout = {}\nD = {}\nDv = {}\n"
      "contiguous = {}\naligned = {}\npaged = {}\nchecked_indices = {}\nnarrow_indices = {}\nsinks = {}\ntile_rows = {}\ntile_cols = {}\n"
      "formula:\n{}",
      spec.target.triple, spec.target.cpu, spec.target.vectorBits, spec.target.registers, pipelineName(spec.backend), name(spec.qType),
      name(spec.kvType), name(spec.outType), spec.D, spec.Dv, spec.contiguous, spec.aligned, spec.paged, spec.checkedIndices,
      spec.narrowIndices, spec.sinks ? name(*spec.sinks) : "none", spec.config.tileRows, spec.config.tileCols, expr::print(spec.formula));
}

std::string withoutLiteralValues(std::string_view text) {
  constexpr std::string_view mark = "formula:\n";
  const std::size_t at = text.find(mark);
  if (at == std::string_view::npos)
    return std::string(text);
  return std::string(text.substr(0, at + mark.size())) + expr::withoutLiteralValues(text.substr(at + mark.size()));
}

std::string_view name(Stage stage) { return kStageNames[static_cast<std::size_t>(stage)]; }

std::optional<Stage> parseStage(std::string_view text) {
  for (std::size_t i = 0; i < kStageNames.size(); i++)
    if (text == kStageNames[i])
      return static_cast<Stage>(i);
  return std::nullopt;
}

} // namespace attnjit::compiler
