// Engines with a compiler that is a test double: its images are a dozen bytes of machine code which jump to a C++ function of the test. So
// caches, launches and hooks run as they do with real kernels, in a build that has no compiler.
#pragma once

#include "Engine/EngineImpl.h"
#include "attnjit/attnjit.h"

#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <unistd.h>
#include <vector>

namespace attnjit::test {

inline constexpr std::int64_t kHeadDim = 8;

/// A directory of its own, removed at the end.
class TempDir {
public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "attnjit-test-XXXXXX").string();
    path = ::mkdtemp(pattern.data()) ? pattern : "";
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::string file(std::string_view name) const { return path + "/" + std::string(name); }
  std::string path;
};

/// Attention by the definition, f32, D = Dv = kHeadDim, no formula; honours strides, grouped heads, lse and max. Tiles have kRows rows.
template <std::int64_t kRows> void plainKernelOf(const KernelArgs *args, std::int64_t begin, std::int64_t end, void *workspace) {
  const std::int64_t tilesPerHead = (args->M + kRows - 1) / kRows;
  auto at = [](const OperandArg &operand, std::int64_t b, std::int64_t h, std::int64_t row) {
    return static_cast<float *>(operand.data) + b * operand.strides[0] + h * operand.strides[1] + row * operand.strides[2];
  };
  std::memset(workspace, 0xab, 256); // it is ours: a sanitizer or a second worker would notice if not
  for (std::int64_t tile = begin; tile < end; ++tile) {
    const std::int64_t head = tile / tilesPerHead, b = head / args->Hq, h = head % args->Hq, hkv = h / (args->Hq / args->Hkv);
    const std::int64_t first = tile % tilesPerHead * kRows, last = std::min(args->M, first + kRows);
    for (std::int64_t row = first; row < last; ++row) {
      double sum = 0, most = -HUGE_VAL, acc[kHeadDim] = {};
      for (int pass = 0; pass < 2; ++pass)
        for (std::int64_t key = 0; key < args->N; ++key) {
          double score = 0;
          for (std::int64_t d = 0; d < kHeadDim; ++d)
            score += double(at(args->q, b, h, row)[d * args->q.strides[3]]) * at(args->k, b, hkv, key)[d * args->k.strides[3]];
          score *= args->scale;
          if (pass == 0) {
            most = std::max(most, score);
            continue;
          }
          sum += std::exp(score - most);
          for (std::int64_t d = 0; d < kHeadDim; ++d)
            acc[d] += std::exp(score - most) * at(args->v, b, hkv, key)[d * args->v.strides[3]];
        }
      for (std::int64_t d = 0; d < kHeadDim; ++d)
        at(args->out, b, h, row)[d * args->out.strides[3]] = static_cast<float>(sum > 0 ? acc[d] / sum : 0);
      if (args->lse.data)
        *at(args->lse, b, h, row) = static_cast<float>(most + std::log(sum));
      if (args->max.data)
        *at(args->max, b, h, row) = static_cast<float>(most);
    }
  }
}

inline constexpr CpuKernelFn plainKernel = plainKernelOf<16>;

/// Reports the first pair as out of range.
inline void outOfRangeKernel(const KernelArgs *args, std::int64_t, std::int64_t, void *) {
  const std::int64_t code = ((1 * args->Hq + 2) * args->M + 3) * args->N + 4;
  std::atomic_ref<std::int64_t> status(*args->status);
  std::int64_t seen = status.load();
  while (code < seen && !status.compare_exchange_weak(seen, code)) {
  }
}

/// mov rax, kernel; jmp rax
inline std::vector<std::byte> jumpTo(CpuKernelFn kernel) {
  std::vector<std::byte> code = {std::byte{0x48}, std::byte{0xb8}};
  code.resize(10);
  std::memcpy(code.data() + 2, &kernel, sizeof kernel);
  code.push_back(std::byte{0xff});
  code.push_back(std::byte{0xe0});
  return code;
}

class FakeCompiler final : public compiler::CompilerInterface {
public:
  Result<std::string> compileModule(std::string_view, const TargetDesc &) override {
    return Error{ErrorCode::Unsupported, "the test's compiler knows no modules"};
  }
  Result<KernelImage> compile(const compiler::KernelSpec &spec, const compiler::CompileOptions &options) override {
    ++calls;
    if (onCompile)
      onCompile(spec);
    if (failure)
      return *failure;
    if (spec.backend == refusing)
      return Error{ErrorCode::Unsupported, "the tiles do not fit"};
    if (options.onStage)
      options.onStage(compiler::Stage::Attn, "attn.forward of the test");
    KernelImage image;
    ImageMetadata &meta = image.meta;
    meta.abiVersion = kAbiVersion;
    meta.buildId = compiler::buildId();
    meta.pipeline = name(spec.backend);
    meta.triple = spec.target.triple;
    meta.cpu = spec.target.cpu;
    meta.entry = "attention";
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
    meta.tileRows = spec.config.tileRows > 0 ? spec.config.tileRows : 16;
    meta.tileCols = spec.config.tileCols > 0 ? spec.config.tileCols : 32;
    meta.workspaceBytes = 256;
    for (const expr::CaptureDecl &capture : spec.formula.captures)
      meta.captures.push_back({capture.name, capture.dtype, capture.rank});
    for (const expr::ScalarDecl &scalar : spec.formula.scalars)
      meta.scalars.push_back({scalar.name, scalar.kind == expr::Kind::Float});
    compiler::KernelSpec chosen = spec;
    chosen.config = {meta.tileRows, meta.tileCols};
    meta.problemText = compiler::print(chosen);
    if (spec.target.kind == TargetDesc::Kind::Nvptx) {
      meta.kind = ImageKind::Ptx;
      meta.threadsPerBlock = 128;
      meta.sharedBytes = 4096;
      if (spec.backend == SDPBackend::EfficientAttention) {
        meta.stateRowBytes = 80;
      } else if (spec.target.cpu == "sm_90a" && spec.aligned) {
        meta.qBoxRows = 64;
        meta.kvBoxRows = 32;
      }
      const std::string ptx = "// PTX of\n" + meta.problemText;
      image.code.resize(ptx.size());
      std::memcpy(image.code.data(), ptx.data(), ptx.size());
      return image;
    }
    image.code = jumpTo(kernelFor ? kernelFor(meta.tileRows) : kernel);
    return image;
  }
  Result<KernelImage> compileFrom(compiler::Stage, std::string_view, const compiler::CompileOptions &) override {
    return Error{ErrorCode::Unsupported, "the test double compiles specs only"};
  }
  std::string_view buildId() const override { return compiler::buildId(); }

  std::atomic<int> calls{0};
  std::function<void(const compiler::KernelSpec &)> onCompile;
  std::optional<Error> failure;
  SDPBackend refusing = SDPBackend::Error;
  CpuKernelFn kernel = plainKernel;
  std::function<CpuKernelFn(std::int64_t tileRows)> kernelFor; ///< instead of `kernel`
};

/// Without a disk cache unless the options name one.
inline Engine makeEngine(FakeCompiler &compiler, EngineOptions options = {}) {
  if (!options.cacheDirectory)
    options.cacheDirectory = "";
  Result<Engine> engine = engine::makeEngine(std::move(options), [&]() -> Result<compiler::CompilerInterface *> { return &compiler; });
  if (!engine)
    std::abort();
  return *engine;
}

/// Operands of a call with the memory behind them; position-coded values.
struct Operands {
  explicit Operands(std::int64_t B = 1, std::int64_t Hq = 2, std::int64_t Hkv = 2, std::int64_t M = 20, std::int64_t N = 40,
                    std::int64_t D = kHeadDim)
      : q(fill(B * Hq * M * D, 0.3)), k(fill(B * Hkv * N * D, 0.7)), v(fill(B * Hkv * N * D, 1.1)),
        out(static_cast<std::size_t>(B * Hq * M * D), -1.0f), lse(static_cast<std::size_t>(B * Hq * M), -1.0f), max(lse) {
    call.q = TensorRef::dense(q.data(), DType::F32, {B, Hq, M, D});
    call.k = TensorRef::dense(k.data(), DType::F32, {B, Hkv, N, D});
    call.v = TensorRef::dense(v.data(), DType::F32, {B, Hkv, N, D});
    call.out = TensorRef::dense(out.data(), DType::F32, {B, Hq, M, D});
  }
  Operands(const Operands &) = delete;
  Operands &operator=(const Operands &) = delete;

  TensorRef rows(std::vector<float> &memory) const {
    return TensorRef::dense(memory.data(), DType::F32, {call.q.sizes[0], call.q.sizes[1], call.q.sizes[2]});
  }

  static std::vector<float> fill(std::int64_t count, double seed) {
    std::vector<float> values(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(std::sin(seed * static_cast<double>(i + 1)));
    return values;
  }

  std::vector<float> q, k, v, out, lse, max;
  ForwardCall call;
};

inline Mod parseMod(std::string_view score, std::string_view mask, std::vector<CaptureInfo> captures = {}) {
  Result<Mod> mod = Mod::parse(score, mask, std::move(captures));
  if (!mod)
    std::abort();
  return *mod;
}

inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

} // namespace attnjit::test
