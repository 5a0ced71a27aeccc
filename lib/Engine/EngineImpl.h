// The engine behind its public face: selection, keys, caches, compiler, launch site.
#pragma once

#include "Engine/CallCheck.h"
#include "Engine/CompileQueue.h"
#include "Engine/CompilerLoader.h"
#include "Engine/DiskCache.h"
#include "Engine/FlashImpls.h"
#include "Engine/KernelImpl.h"
#include "Engine/Launch.h"
#include "Engine/MemoryCache.h"
#include "Engine/Selection.h"
#include "Support/ForkMutex.h"
#include "Support/TargetDesc.h"
#include "attnjit/Engine.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>

namespace attnjit::inline v0 {

struct EngineImpl {
  EngineImpl(EngineOptions options, TargetDesc target, engine::CompilerSource compiler);

  Result<ForwardReport> forward(const ForwardCall &call);
  /// What errors call the calls of a group: "sequence 7" for the first one if that is how they are counted.
  struct CallNames {
    std::string_view noun = "call";
    std::size_t first = 0;
  };
  Result<ForwardReport> forwardGrouped(std::span<const ForwardCall> calls, const CallNames &names);
  /// `anySizes`: the kernel checks every captured index, whatever the sizes of this call prove.
  Result<Kernel> prepare(const ForwardCall &call, bool anySizes = false);
  Result<ExplainReport> explain(const ForwardCall &call);
  Result<AutotuneReport> autotune(const ForwardCall &call, double seconds); ///< Autotune.cpp
  Result<Kernel> compileStages(const ForwardCall &call, const StageOptions &stages);
  Result<Kernel> compileFrom(std::string_view stage, std::string_view text, const StageOptions &stages);
  Result<void> registerPipeline(OverridePipeline pipeline);
  std::size_t unload(const Mod &mod);
  Result<void> saveManifest(const std::string &path) const; ///< Manifest.cpp
  Result<WarmUpReport> warmUp(const std::string &path);     ///< Manifest.cpp
  EngineCounters counters() const;
  void log(LogLevel level, std::string_view message) const;

  const EngineOptions options;
  const TargetDesc target;
  const std::shared_ptr<engine::DiskCache> disk; ///< null: none
  const engine::LaunchSite site;
  engine::MemoryCache memory;
  engine::FlashImpls flashImpls;

private:
  struct Resolved;

  /// A kernel with how it was come by.
  struct Obtained {
    engine::KernelPtr kernel;
    KernelSource source = KernelSource::None;
    std::int64_t compileNs = 0, loadNs = 0;
    std::string awaited = {}; ///< as ForwardReport's
  };

  /// A call that only has to be launched; without `launch` when it has no rows.
  struct ReadyCall {
    engine::KernelPtr kernel;
    std::optional<engine::PreparedCall> launch;
  };

  std::shared_ptr<engine::DiskCache> openDisk() const;
  engine::LaunchSite makeSite() const;
  Result<ReadyCall> makeReady(const ForwardCall &call);
  Result<engine::CheckedCall> check(const ForwardCall &call, engine::CheckFor purpose) const;
  Result<Obtained> obtain(const ForwardCall &call, const engine::CheckedCall &checked, WhenMissing whenMissing = WhenMissing::Wait);
  /// Whether a call waits for the kernel that is made.
  enum class Haste { Awaited, Ahead };
  Result<Obtained> obtainFirst(std::vector<engine::Candidate> candidates, const Mod &mod, const Problem &problem,
                               const engine::Hash128 &fingerprint, Haste haste);
  Result<Obtained> obtainFrom(const engine::Candidate &candidate, const Mod &mod, const Problem &problem,
                              const engine::Hash128 &fingerprint, Haste haste);
  /// Fallback.cpp.
  std::optional<Obtained> obtainMeanwhile(const std::vector<engine::Candidate> &candidates, const Mod &mod, const Problem &problem,
                                          const engine::Hash128 &fingerprint);
  std::optional<Obtained> otherKernel(const std::vector<engine::Candidate> &candidates, const Mod &mod, const Problem &problem);
  /// Where the kernel of a manifest's spec came from; None: it is for another target.
  Result<KernelSource> warmUpOne(const std::string &text);
  Result<engine::KernelPtr> makeImageKernel(const compiler::KernelSpec &spec, const engine::Hash128 &key, const Mod &mod, Obtained &how,
                                            Haste haste);
  engine::KernelPtr loadFromDisk(const compiler::KernelSpec &spec, const engine::Hash128 &key, const Mod &mod, Obtained &how);
  Result<engine::KernelPtr> buildRegistered(const engine::Candidate &candidate, const compiler::KernelSpec &spec, const Problem &problem,
                                            const Mod &mod);
  Result<KernelImage> compileImage(const compiler::KernelSpec &spec, Obtained &how);
  bool store(const engine::Hash128 &key, const KernelImage &image);
  compiler::KernelSpec specOf(const Problem &problem, SDPBackend backend, const Mod &mod) const;
  engine::Registered registered() const;
  void warnOfUnfused(const Problem &problem, const BackendSet &allowed) const;

  const engine::CompilerSource findCompiler;
  mutable ForkMutex pipelinesMutex;
  std::vector<std::shared_ptr<const OverridePipeline>> overrides;
  std::atomic<std::uint64_t> compiles{0}, compileFailures{0}, diskHits{0}, diskWrites{0}, launches{0}, fallbacks{0};

public:
  engine::CompileQueue later; ///< the last member: its threads use all others, so they end first
};

} // namespace attnjit::inline v0

namespace attnjit::engine {

/// The call whose formula says everything: its options and the mask_mod of its block mask.
Result<ForwardCall> resolve(const ForwardCall &call);

/// An engine with a compiler of the caller's choice: Engine::create passes findCompiler(), tests pass their own.
Result<Engine> makeEngine(EngineOptions options, CompilerSource compiler);

} // namespace attnjit::engine
