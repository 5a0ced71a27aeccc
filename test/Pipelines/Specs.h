// Kernel specs for the tests of this folder.
#pragma once

#include "Compiler/Compiler.h"
#include "Expr/Frontend.h"

#include <doctest/doctest.h>
#include <optional>
#include <string>
#include <vector>

namespace attnjit::compiler {

/// One row of the grid: formula texts with what they capture, and what else is compiled in.
struct SpecRow {
  const char *name;
  const char *scoreMod, *maskMod;
  std::vector<expr::CaptureInfo> captures;
  DType dtype = DType::F32;
  std::int64_t D = 64, Dv = 64;
  SDPBackend backend = SDPBackend::FlashAttention;
  const char *target = "native";
  const char *probMod = "";
  std::optional<DType> sinks = {};
};

inline KernelSpec makeSpec(const SpecRow &row) {
  Result<expr::Formula> formula =
      expr::parseFormula({.scoreMod = row.scoreMod, .maskMod = row.maskMod, .probMod = row.probMod}, row.captures);
  if (!formula)
    FAIL(formula.error().message);
  Result<TargetDesc> target = parseTarget(row.target);
  REQUIRE(target);
  KernelSpec spec;
  spec.formula = std::move(*formula);
  spec.qType = spec.kvType = spec.outType = row.dtype;
  spec.D = row.D;
  spec.Dv = row.Dv;
  spec.backend = row.backend;
  spec.sinks = row.sinks;
  spec.target = *target;
  return spec;
}

inline const std::vector<SpecRow> &specRows() {
  static const std::vector<SpecRow> rows = {
      {"plain", "", "", {}, DType::F32, 64, 64, SDPBackend::Math},
      {"causal", "", "q_idx >= kv_idx", {}, DType::F32, 64, 64, SDPBackend::Math},
      {"causal-flash", "", "q_idx >= kv_idx", {}},
      {"alibi", "score + slope[h] * (kv_idx - q_idx)", "q_idx >= kv_idx", {{"slope", DType::F32, 1}}},
      {"window", "", "abs(q_idx - kv_idx) <= window", {{"window", DType::I64, -1}}},
      {"softcap", "cap * tanh(score / cap)", "q_idx >= kv_idx", {{"cap", DType::F64, -1}}, DType::F32, 64, 48},
      {"document", "", "doc[q_idx] == doc[kv_idx]", {{"doc", DType::I32, 1}}, DType::F32, 64, 64, SDPBackend::Math},
      {"bf16-v3", "", "q_idx >= kv_idx", {}, DType::BF16, 64, 64, SDPBackend::FlashAttention, "x86-64-v3"},
      {"f32-v4", "", "q_idx >= kv_idx", {}, DType::F32, 128, 128, SDPBackend::FlashAttention, "x86-64-v4"},
      {"f64-math", "score * 2", "", {}, DType::F64, 24, 40, SDPBackend::Math},
      {"f16-math", "", "q_idx >= kv_idx", {}, DType::F16, 32, 32, SDPBackend::Math, "x86-64-v3"},
      {"sinks", "", "q_idx >= kv_idx", {}, DType::F32, 64, 64, SDPBackend::FlashAttention, "native", "", DType::BF16},
      {"prob", "", "", {}, DType::F32, 64, 64, SDPBackend::FlashAttention, "native", "p * (1 + kv_idx)"},
      {"two-passes", "", "q_idx >= kv_idx", {}, DType::F32, 64, 64, SDPBackend::Math, "native", "p + 0.1", DType::F32},
  };
  return rows;
}

} // namespace attnjit::compiler
