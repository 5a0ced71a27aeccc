// The seam between the engine and the compiler: what is compiled in goes over, a KernelImage comes back. No LLVM or MLIR type
// appears here, so the engine runs cached and saved images in a process that never loads a compiler.
#pragma once

#include "Expr/Ir.h"
#include "Support/KernelImage.h"
#include "Support/TargetDesc.h"
#include "attnjit/Backend.h"
#include "attnjit/Result.h"

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace attnjit::compiler {

/// Free choices of a schedule. 0 = let the schedule choose.
struct ScheduleConfig {
  std::int64_t tileRows = 0; ///< query rows per tile
  std::int64_t tileCols = 0; ///< keys per block
  bool operator==(const ScheduleConfig &) const = default;
};

/// Everything that is compiled in, hence everything (with the build id) that keys the cache.
struct KernelSpec {
  expr::Formula formula;
  DType qType = DType::F32, kvType = DType::F32, outType = DType::F32;
  std::int64_t D = 0, Dv = 0;
  bool contiguous = true;      ///< last strides of q, k, v are 1
  bool aligned = true;         ///< GPU: pointers and all other strides of q, k, v are multiples of 16 bytes, and M and N below 2^31
  bool paged = false;          ///< k and v lie in pages (KernelArgs::pages)
  bool checkedIndices = false; ///< some captured index could not be proved in bounds at this call (A10)
  bool narrowIndices = true;   ///< M, N, B, Hq and all int scalars lie within +-2^30
  std::optional<DType> sinks;  ///< element type of the attention sinks; empty: there are none
  SDPBackend backend = SDPBackend::FlashAttention;
  ScheduleConfig config;
  TargetDesc target;
};

/// Canonical text of a spec: formula, problem, target. Equal specs = equal text; without its literal values it is the cache key before
/// hashing.
std::string print(const KernelSpec &spec);

/// The inverse of print(). Error: InvalidArgument naming the line.
Result<KernelSpec> parseSpec(std::string_view text);

/// Such a text without the values of number literals that the kernel gets as arguments: what is compiled in.
std::string withoutLiteralValues(std::string_view text);

/// Identifies version and sources of everything that can change a kernel; known without a compiler, because it is part of every cache key.
std::string_view buildId();

/// The public stage names, in order of the ladder.
enum class Stage { Attn, Tile, Vector, Gpu, Llvm, Ll, Asm, Obj, Ptx };
std::string_view name(Stage stage);
std::optional<Stage> parseStage(std::string_view text);

/// Called with the text (or, for Obj, the bytes) of every stage that is passed.
using StageSink = std::function<void(Stage stage, std::string_view text)>;
/// Called with the wall time of each named step.
using TimeSink = std::function<void(std::string_view step, std::int64_t timeNs)>;

struct CompileOptions {
  StageSink onStage;              ///< may be empty; printing stages costs time
  TimeSink onTime;                ///< may be empty
  std::optional<Stage> stopAfter; ///< then the image has no code
};

class CompilerInterface {
public:
  virtual ~CompilerInterface() = default;
  /// Thread safe. User errors cannot occur here any more: every failure is Internal or Unsupported.
  virtual Result<KernelImage> compile(const KernelSpec &spec, const CompileOptions &options) = 0;
  /// Goes on from the text of a stage (`attnjit-dump --from`); user errors are possible.
  virtual Result<KernelImage> compileFrom(Stage stage, std::string_view text, const CompileOptions &options) = 0;
  /// The ELF object of a module of LLVM IR for a CPU: what goes around kernels in programs made ahead of time. Internal if it is not valid.
  virtual Result<std::string> compileModule(std::string_view ll, const TargetDesc &target) = 0;
  /// compiler::buildId() of the library that this object came from; the engine refuses one of another build.
  virtual std::string_view buildId() const = 0;
};

} // namespace attnjit::compiler

/// The one symbol of libattnjit-compiler.so; the engine finds it by dlopen on the first miss (or links it in the static configuration). The
/// object lives for ever.
extern "C" attnjit::compiler::CompilerInterface *attnjit_compiler_entry();
