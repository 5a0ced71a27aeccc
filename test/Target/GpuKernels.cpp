// Compiles a table of problems for GPUs and checks what can be checked without one: what the PTX holds, and that every stage goes on to the
// same image. tools/gpu-check.sh runs the conformance grids where there is one.
#include "Compiler/Compiler.h"
#include "Expr/Frontend.h"

#include <cstdio>
#include <map>
#include <optional>
#include <vector>

using namespace attnjit;
using namespace attnjit::compiler;

namespace {

struct Row {
  const char *name, *target;
  DType dtype;
  std::int64_t D, Dv;
  const char *scoreMod, *maskMod;
  std::vector<expr::CaptureInfo> captures;
  bool contiguous = true, checkedIndices = false, narrowIndices = true;
  std::optional<DType> kvDtype = {}; ///< where it is not dtype
  bool aligned = true;
  bool onMath = false;
  const char *probMod = "";
};

const std::vector<Row> &rows() {
  constexpr const char *kSoftcap = "cap * tanh(score / cap)", *kCausal = "q_idx >= kv_idx";
  static const std::vector<Row> table = {
      {"softcap-causal", "sm_80", DType::BF16, 128, 128, kSoftcap, kCausal, {{"cap", DType::F64, -1}}},
      {"plain", "sm_80", DType::F16, 64, 64, "", "", {}},
      {"plain-wide-head", "sm_89", DType::BF16, 256, 256, "", kCausal, {}},
      {"narrow-heads", "sm_80", DType::F16, 16, 208, "", kCausal, {}},
      {"strided", "sm_80", DType::F16, 80, 80, "score * 1.5", kCausal, {}, false},
      {"alibi", "sm_80", DType::BF16, 64, 64, "score + slope[h] * (kv_idx - q_idx)", kCausal, {{"slope", DType::F32, 1}}},
      {"window", "sm_80", DType::F16, 96, 48, "", "abs(q_idx - kv_idx) <= window", {{"window", DType::I64, -1}}},
      {"document", "sm_80", DType::BF16, 128, 128, "", "(doc[q_idx] == doc[kv_idx]) & (q_idx >= kv_idx)", {{"doc", DType::I32, 1}}},
      {"empty-rows", "sm_80", DType::BF16, 64, 64, "", "kv_idx < q_idx - 40", {}},
      {"functions",
       "sm_80",
       DType::BF16,
       32,
       32,
       "score + log(1.0 + abs(score)) * 0.5 - exp(-abs(score)) + sqrt(abs(score)) + exp2(-abs(score)) + (kv_idx % 7) * 0.01"
       " + (q_idx // 3 - kv_idx // 5) % 4",
       "",
       {}},
      {"trigonometry",
       "sm_80",
       DType::BF16,
       32,
       32,
       // Huge angles are exact numbers here: an angle that is a rounded score times a million is noise on any machine.
       "sin(score * 3) + cos(kv_idx * 4194304.0) + 0.1 * atan2(score, 0.5 - score) + tanh(score) + 0.1 * erf(score)",
       "",
       {}},
      {"powers",
       "sm_80",
       DType::BF16,
       32,
       32,
       "pow(abs(score), 1.5) + 0.1 * erfc(score) + log1p(abs(score)) + 0.1 * sinh(score) + asinh(score) + fmod(score, 0.3)"
       " + score % 0.7 + (score // 0.25) * 0.125",
       "",
       {}},
      {"bias-checked", "sm_80", DType::BF16, 64, 64, "score + bias[q_idx, kv_idx]", kCausal, {{"bias", DType::BF16, 2}}, true, true},
      // Row q_idx + 1 of the last query does not exist: reported at a position, clamped in memory (A10).
      {"out-of-range",
       "sm_80",
       DType::BF16,
       64,
       64,
       "score + bias[q_idx + edge]",
       "flag[kv_idx + edge] | (kv_idx <= q_idx)",
       {{"bias", DType::BF16, 1}, {"flag", DType::Bool, 1}, {"edge", DType::I64, -1}},
       true,
       true},
      {"rows",
       "sm_80",
       DType::BF16,
       64,
       64,
       "score + 0.02 * torch.dot(a[q_idx], a[kv_idx]) - a[kv_idx].amax()",
       "flags[kv_idx].any() & (q_idx >= kv_idx)",
       {{"a", DType::F32, 2}, {"flags", DType::Bool, 2}}},
      {"wide-indices",
       "sm_80",
       DType::BF16,
       64,
       32,
       "score + slope[h] * abs(kv_idx - q_idx)",
       "abs(q_idx - kv_idx) <= 50",
       {{"slope", DType::BF16, 1}},
       true,
       false,
       false},
      {"keys-e4m3", "sm_80", DType::BF16, 128, 128, "", kCausal, {}, true, false, true, DType::F8E4M3},
      {"keys-e5m2", "sm_80", DType::F16, 64, 80, "score + 0.1 * (kv_idx % 3)", "", {}, true, false, true, DType::F8E5M2},
      {"keys-e4m3-strided", "sm_80", DType::F16, 80, 48, "", kCausal, {}, false, false, true, DType::F8E4M3},
      {"huge-scores", "sm_80", DType::BF16, 64, 64, "score * 1e30 - 1e30", kCausal, {}},
      {"latent", "sm_80", DType::BF16, 192, 128, "", kCausal, {}},
      {"wide-half", "sm_80", DType::F16, 192, 192, "", "", {}},
      {"odd-boxes", "sm_80", DType::F16, 80, 144, "score * 1.25", "kv_idx % 3 != 1", {}},
      {"unaligned", "sm_80", DType::BF16, 64, 64, "", kCausal, {}, true, false, true, {}, false},
      {"math-plain", "sm_80", DType::F32, 64, 64, "", kCausal, {}, true, false, true, {}, true, true},
      {"math-odd-heads",
       "sm_80",
       DType::F32,
       5,
       200,
       "cap * tanh(score / cap)",
       "",
       {{"cap", DType::F64, -1}},
       true,
       false,
       true,
       DType::F16,
       true,
       true},
      {"math-wide-strided", "sm_80", DType::BF16, 512, 300, "", kCausal, {}, false, false, true, DType::F8E5M2, true, true},
      {"math-two-passes", "sm_80", DType::F16, 128, 128, "", kCausal, {}, true, false, true, {}, true, true, "p * p"},
      {"math-out-of-range",
       "sm_80",
       DType::F32,
       64,
       64,
       "score + bias[q_idx + edge]",
       "flag[kv_idx + edge] | (kv_idx <= q_idx)",
       {{"bias", DType::BF16, 1}, {"flag", DType::Bool, 1}, {"edge", DType::I64, -1}},
       true,
       true,
       true,
       {},
       true,
       true},
      {"nan-behind-mask", "sm_80", DType::BF16, 64, 64, "score + log(q_idx - kv_idx + 0.5)", kCausal, {}},
  };
  return table;
}

/// What must never stand in our PTX: memory of a thread's own (spilled arrays), calls, and symbols from elsewhere.
const char *forbiddenIn(const std::string &ptx) {
  for (const char *word : {".local", "call", ".extern .func", "__nv_"})
    if (ptx.find(word) != std::string::npos)
      return word;
  return nullptr;
}

/// Every stage goes on to the same image, and a text that ends early is refused. What is wrong; empty if nothing is.
std::string whatStagesLose(KernelCompiler &compiler, const std::map<Stage, std::string> &texts, const KernelImage &image) {
  for (const auto &[stage, text] : texts) {
    const std::string from = "going on from " + std::string(name(stage));
    Result<KernelImage> resumed = compiler.compileFrom(stage, text, {});
    if (!resumed)
      return from + ": " + resumed.error().message;
    if (resumed->code != image.code || resumed->meta != image.meta)
      return from + " gives another image";
    Result<KernelImage> cut = compiler.compileFrom(stage, text.substr(0, text.size() * 2 / 3), {});
    if (cut || cut.error().code != ErrorCode::InvalidArgument)
      return from + " after two thirds of it is not refused as the user's mistake";
  }
  return compiler.compileFrom(Stage::Vector, texts.at(Stage::Gpu), {}) ? "a gpu text is taken for the vector stage" : "";
}

bool compileRow(KernelCompiler &compiler, const Row &row, const char *chip, bool goesRound) {
  auto fail = [&](const std::string &message) {
    std::printf("%s for %s: %s\n", row.name, chip, message.c_str());
    return false;
  };
  Result<expr::Formula> formula = expr::parseFormula({row.scoreMod, row.maskMod, row.probMod}, row.captures);
  Result<TargetDesc> target = parseTarget(chip);
  if (!formula || !target)
    return fail(formula ? target.error().message : formula.error().message);
  KernelSpec spec;
  spec.formula = *formula;
  spec.qType = spec.outType = row.dtype;
  spec.kvType = row.kvDtype.value_or(row.dtype);
  spec.D = row.D, spec.Dv = row.Dv;
  spec.contiguous = row.contiguous, spec.checkedIndices = row.checkedIndices, spec.narrowIndices = row.narrowIndices;
  spec.aligned = row.aligned;
  spec.target = *target;
  spec.backend = row.onMath ? SDPBackend::Math : SDPBackend::FlashAttention;

  std::map<Stage, std::string> texts;
  CompileOptions options;
  options.onStage = [&](Stage stage, std::string_view text) { texts[stage] = text; };
  Result<KernelImage> image = compiler.compile(spec, options);
  if (!image)
    return fail(image.error().message);
  const ImageMetadata &meta = image->meta;
  const std::uint32_t producerThreads = texts[Stage::Tile].find("#tile.wgmma") != std::string::npos ? 128 : 0;
  if (meta.kind != ImageKind::Ptx || meta.cpu != chip || meta.sharedBytes == 0 ||
      meta.threadsPerBlock != (row.onMath ? 128 : producerThreads + meta.tileRows * 2))
    return fail("the metadata does not describe a GPU kernel");
  if (const char *word = forbiddenIn(texts[Stage::Ptx]))
    return fail(std::string("the PTX contains ") + word);
  const std::string wrong = goesRound ? whatStagesLose(compiler, texts, *image) : "";
  return wrong.empty() || fail(wrong);
}

} // namespace

int main() {
  KernelCompiler compiler;
  bool good = true;
  int compiled = 0;
  for (const Row &row : rows()) {
    const char *chips[] = {row.target, "sm_90a"}; // that of the row on mma.sync, and on wgmma where it can
    const bool second = compiled++ % 2;           // the way round, six kernels long, in turn
    for (const bool last : {false, true})
      good &= compileRow(compiler, row, chips[last], last == second);
  }
  return good ? 0 : 1;
}
