// The engine: attention from formulas, compiled for this machine on first use and cached.
//
//   Result<Engine> engine = Engine::create();
//   Result<Mod> mod = Mod::parse("score + slope[h] * (kv_idx - q_idx)", "q_idx >= kv_idx", {{"slope", DType::F32, 1}});
//   ForwardCall call{.mod = *mod, .q = q, .k = k, .v = v, .out = out};
//   call.captures = {{"slope", slopes}};
//   Result<ForwardReport> report = engine->forward(call);      // report.error().message says what is wrong and how to mend it
//
// An Engine may be used from any number of threads at once, and several engines may live in one process.
#pragma once

#include "attnjit/Hooks.h"
#include "attnjit/Kernel.h"
#include "attnjit/Pipeline.h"
#include "attnjit/Problem.h"
#include "attnjit/Result.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace attnjit::inline v0 {

struct EngineOptions {
  /// Directory of the disk cache; "" = none. Default: $XDG_CACHE_HOME/attnjit, else $HOME/.cache/attnjit. It is created with mode 0700; one
  /// that is not ours alone, or not writable, is worked without (a warning goes to the log hook).
  std::optional<std::string> cacheDirectory;
  /// Kernels kept in memory, least recently used leave first; 0 = keep none.
  std::size_t memoryCacheKernels = 1024;
  /// Bytes of kernels kept in memory: code in whole pages, and what is known about it. What running launches and Kernel values still hold
  /// beyond that is unmapped when they let go.
  std::size_t memoryCacheBytes = std::size_t{256} << 20;
  /// Fallback: while the best kernel of a call is compiled in the background, one of the same formula that is in memory computes it, else
  /// MATH, compiled at once; the call waits where neither may. Results of the two kernels can differ in their last bits (A11 holds for
  /// each), so this is nothing for programs that compare bits. ForwardReport::awaited says which calls were computed so.
  WhenMissing whenMissing = WhenMissing::Wait;
  /// Threads that compile in the background; they start when there is something to compile.
  int compileThreads = 1;
  /// Workers per call unless the call says otherwise; 0 = the processors this process may use.
  int threads = 0;
  /// "native", "x86-64-v2", "x86-64-v3", "x86-64-v4", "x86-64-v4+bf16", "x86-64-v4+amx", "aarch64", "sm_80" ... "native" is the best that
  /// this CPU has; where that is AMX, the system is asked for it, which holds for the whole process. "native-gpu" is the best for the GPU
  /// `device`. Kernels for a GPU are compiled and saved on any machine, and launched where there is one (docs/embedding.md, "On a GPU").
  std::string target = "native";
  /// Which GPU launches go to, as the CUDA driver counts them. Its primary context is used, which the CUDA runtime and PyTorch use too.
  int device = 0;
  /// Path of the CUDA driver. Default: $ATTNJIT_CUDA_LIBRARY, else libcuda.so.1. Opened by the first launch, and by "native-gpu".
  std::string cudaLibrary;
  /// torch's WARN_FOR_UNFUSED_KERNELS: a line to the log hook for each fused backend that was allowed when MATH computes a call, with every
  /// reason.
  bool warnForUnfusedKernels = false;
  /// Path of the compiler library. Default: $ATTNJIT_COMPILER_LIBRARY, else libattnjit-compiler.so beside this library.
  std::string compilerLibrary;
  Hooks hooks;
};

/// What has happened since the engine was made.
struct EngineCounters {
  std::uint64_t compiles = 0, compileFailures = 0;
  std::uint64_t memoryHits = 0, memoryMisses = 0;
  std::uint64_t diskHits = 0, diskWrites = 0;
  std::uint64_t diskRejects = 0; ///< entries that were there but unreadable, foreign or corrupt
  std::uint64_t evictions = 0;
  std::uint64_t launches = 0;
  std::uint64_t fallbacks = 0;                          ///< calls that another kernel than the best computed
  std::uint64_t kernelsInMemory = 0, bytesInMemory = 0; ///< now
  std::uint64_t awaited = 0;                            ///< classes of calls whose kernel is being made in the background now
};

/// Every backend's verdict on one call, without compiling.
struct ExplainReport {
  std::vector<BackendReport> backends; ///< in the order asked; those outside the allowed set last
  SDPBackend chosen = SDPBackend::Error;
  std::string pipeline; ///< of the chosen one; empty for Error
  Problem problem;
  /// Several lines for people.
  std::string text() const;
  /// {"chosen", "pipeline", "backends": [{"backend", "pipeline", "allowed", "accepted", "reasons": [{"predicate", "ok", "detail"}]}]}
  std::string json() const;
};

/// What Engine::autotune measured.
struct AutotuneReport {
  struct Timing {
    TileOptions tiles;
    double medianNs = 0; ///< of the kernel's run
  };
  TileOptions model;           ///< what the schedule chooses by itself
  TileOptions best;            ///< what is used from now on; `model` unless another is at least 2 % faster
  std::vector<Timing> timings; ///< the model's first
  bool onDisk = false;         ///< later processes will find it
};

/// What became of a manifest's kernels.
struct WarmUpReport {
  std::size_t fromDisk = 0, compiled = 0;
  std::size_t present = 0; ///< were in memory already
  std::size_t skipped = 0; ///< for another target
  std::size_t failed = 0;
  std::string problems; ///< a line for each that failed
};

/// What to show while a kernel is compiled stage by stage. Stage names: attn, tile, vector, gpu, llvm, ll, asm, obj, ptx.
struct StageOptions {
  std::function<void(std::string_view stage, std::string_view text)> onStage; ///< may be empty
  std::function<void(std::string_view step, std::int64_t timeNs)> onTime;     ///< may be empty
  std::string stopAfter; ///< a stage name; then the kernel has no code. Empty = to the end.
};

struct EngineImpl;

class Engine {
public:
  /// Errors: InvalidArgument for an unknown target or half a memory hook, Unsupported for a CPU without AVX2, or for "native-gpu" without a
  /// GPU.
  static Result<Engine> create(EngineOptions options = {});
  ~Engine();
  Engine(const Engine &);
  Engine(Engine &&) noexcept;
  Engine &operator=(const Engine &);
  Engine &operator=(Engine &&) noexcept;

  /// Computes out (and lse, max where given). Errors: InvalidArgument naming the operand, what was expected, what came and the cure;
  /// NoBackend with every reason of every backend; IndexOutOfRange naming the position (out is then unspecified); Unsupported without a
  /// compiler, or without a GPU for a GPU target; Internal. On a GPU nothing is waited for: the call returns when the launch is on its
  /// stream, and IndexOutOfRange is for the report's launches to say.
  Result<ForwardReport> forward(const ForwardCall &call) const;

  /// forward() of several calls, of any shapes and formulas, as one piece of work: ragged batches without padding. Each output has the bits
  /// that forward() alone gives it, whatever else is in the group. Nothing is computed before every call is found in order. The report sums
  /// up: times and blocks are totals, `pipeline` names all that took part, `source` is Compiled if any was, `backend` and the tile sizes
  /// are the first call's. Errors: as forward(), with the number of the call; InvalidArgument when two calls write to the same memory.
  Result<ForwardReport> forwardGrouped(std::span<const ForwardCall> calls) const;

  /// Waits for all that is on a stream of the engine's GPU, null being the default stream; programs that use CUDA themselves have their own
  /// ways. Nothing to do for a CPU. Errors: Unsupported for what went wrong on the GPU, which the driver tells no earlier.
  Result<void> synchronize(void *stream) const;

  /// The kernel that forward() would run, compiled if need be.
  Result<Kernel> prepare(const ForwardCall &call) const;

  /// Every backend's reasons; compiles nothing. Fails only on an invalid call.
  Result<ExplainReport> explain(const ForwardCall &call) const;

  /// Measures which tile sizes are fastest for calls like this one, and makes forward() use them for its class (formula, dtypes, D, Dv,
  /// strides; not lengths, so choose typical ones): the winner takes the place of the schedule's own choice in the memory cache and on
  /// disk. Candidates are half and twice the rows and keys of that choice, compiled anew (some 30 ms each) and run in turn on the call's
  /// operands for about `seconds`; out, lse and max are as forward() leaves them then. Another number of keys per block may change the last
  /// bits of results. Errors: as forward(); InvalidArgument for a call that sets tiles, has no rows or carries a block mask, or a `seconds`
  /// that is not positive; Unsupported where a registered pipeline computes it.
  Result<AutotuneReport> autotune(const ForwardCall &call, double seconds = 1) const;

  /// Compiles anew, past the caches, showing every stage.
  Result<Kernel> compileStages(const ForwardCall &call, const StageOptions &options) const;
  /// Goes on from the text of a stage.
  Result<Kernel> compileFrom(std::string_view stage, std::string_view text, const StageOptions &options) const;

  /// Adds a pipeline under SDPBackend::Overrideable; several are asked in the order of registration. Error: InvalidArgument for an empty or
  /// taken name or no builder.
  Result<void> registerPipeline(OverridePipeline pipeline) const;

  /// Another implementation of FLASH_ATTENTION, by name; registering a name again replaces it. It does nothing before it is activated.
  /// Error: InvalidArgument for a backend's own name, or an empty function.
  Result<void> registerFlashAttentionImpl(std::string name, FlashImplProvider provide) const;
  /// Puts a registered implementation in the place of the built-in one: FLASH_ATTENTION is then its predicates and its kernels, and what it
  /// refuses goes to the next backend. The built-in one is restored first, and stays if this fails. Errors: InvalidArgument naming those
  /// that are registered, or what the provider answered.
  Result<void> activateFlashAttentionImpl(const std::string &name) const;
  /// Registered names, sorted.
  std::vector<std::string> listFlashAttentionImpls() const;
  /// The active one; empty for the built-in.
  std::optional<std::string> currentFlashAttentionImpl() const;
  /// Back to the built-in one; a warning goes to the log hook when it was in place already.
  void restoreFlashAttentionImpl() const;

  EngineCounters counters() const;
  /// Forgets the kernels in memory; running launches and Kernel values keep theirs.
  void clearMemoryCache() const;
  /// Forgets the kernels of one formula, whatever their dtypes, sizes and pipelines, and answers how many there were: for a model that is
  /// no longer served. Running launches and Kernel values keep theirs.
  std::size_t unload(const Mod &mod) const;
  /// Returns when nothing is being compiled in the background any more.
  void waitForCompilations() const;

  /// Writes down what the kernels in memory were compiled for, most recently used first: text, without any code, that outlives the disk
  /// cache and the build. Kernels of registered pipelines are left out. Error: Io.
  Result<void> saveManifest(const std::string &path) const;
  /// Brings the kernels of a manifest into memory, from the disk cache or by compiling them, on the engine's threads: what a server does
  /// before its first request. As many as the memory cache holds. Errors: Io for what is no manifest or not intact. A kernel that cannot be
  /// made is no error but counted.
  Result<WarmUpReport> warmUp(const std::string &path) const;
  /// The directory of the disk cache in use, empty if none.
  std::string cacheDirectory() const;
  /// Name of the target CPU or GPU, e.g. x86-64-v4.
  const std::string &target() const;
  int threads() const;

  /// For attnjit's own rooms.
  explicit Engine(std::shared_ptr<EngineImpl> engine);
  EngineImpl &impl() const { return *engine; }

private:
  std::shared_ptr<EngineImpl> engine;
};

} // namespace attnjit::inline v0
