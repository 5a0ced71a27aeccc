#include "Engine/EngineImpl.h"

#include "Engine/CallOptions.h"
#include "Engine/GpuLaunch.h"
#include "Engine/Guard.h"
#include "Engine/Keys.h"
#include "Engine/Launch.h"
#include "Engine/MaskedCall.h"
#include "Runtime/ThreadPool.h"

#include <algorithm>
#include <fmt/format.h>

namespace attnjit {

namespace engine {

namespace {

using Clock = std::chrono::steady_clock;

/// An image answers for a spec if it was compiled from it, except that the schedule may have chosen tile sizes that the spec left open.
bool imageIsOf(const ImageMetadata &meta, compiler::KernelSpec spec) {
  if (meta.buildId != compiler::buildId())
    return false;
  if (spec.config.tileRows == 0)
    spec.config.tileRows = meta.tileRows;
  if (spec.config.tileCols == 0)
    spec.config.tileCols = meta.tileCols;
  return compiler::withoutLiteralValues(meta.problemText) == compiler::withoutLiteralValues(compiler::print(spec));
}

std::vector<BackendReport> reportsOf(const std::vector<Candidate> &candidates) {
  std::vector<BackendReport> reports;
  for (const Candidate &candidate : candidates)
    reports.push_back(candidate.report);
  return reports;
}

Result<compiler::CompileOptions> compileOptions(const StageOptions &stages) {
  compiler::CompileOptions options;
  if (stages.onStage)
    options.onStage = [&](compiler::Stage stage, std::string_view text) { stages.onStage(compiler::name(stage), text); };
  if (stages.onTime)
    options.onTime = stages.onTime;
  if (!stages.stopAfter.empty()) {
    options.stopAfter = compiler::parseStage(stages.stopAfter);
    if (!options.stopAfter)
      return Error{ErrorCode::InvalidArgument,
                   fmt::format("unknown stage '{}'; the stages are attn, tile, vector, gpu, llvm, ll, asm, obj, ptx", stages.stopAfter)};
  }
  return options;
}

} // namespace

Result<ForwardCall> resolve(const ForwardCall &call) {
  if (!hasOptions(call))
    return withBlockMask(call);
  Result<ForwardCall> whole = withOptions(call);
  return whole && whole->blockMask ? withBlockMask(*whole) : whole;
}

Result<Engine> makeEngine(EngineOptions options, CompilerSource compiler) {
  return guarded([&]() -> Result<Engine> {
    if (Result<void> hooks = checkHooks(options.hooks); !hooks)
      return hooks.error();
    if (options.threads < 0)
      return Error{ErrorCode::InvalidArgument,
                   fmt::format("EngineOptions::threads: {} is negative; 0 means the processors this process may use", options.threads)};
    if (options.compileThreads < 1)
      return Error{ErrorCode::InvalidArgument,
                   fmt::format("EngineOptions::compileThreads: {} threads compile nothing; at least 1", options.compileThreads)};
    Result<TargetDesc> target = options.target == "native-gpu" ? nativeGpuTarget(options) : parseTarget(options.target);
    if (!target)
      return target.error();
    return Engine(std::make_shared<EngineImpl>(std::move(options), std::move(*target), std::move(compiler)));
  });
}

} // namespace engine

inline namespace v0 {

using namespace engine;

EngineImpl::EngineImpl(EngineOptions given, TargetDesc target, CompilerSource compiler)
    : options(std::move(given)), target(std::move(target)), disk(openDisk()), site(makeSite()),
      memory(options.memoryCacheKernels, options.memoryCacheBytes), findCompiler(std::move(compiler)), later(options.compileThreads) {}

/// Null: there is none.
std::shared_ptr<DiskCache> EngineImpl::openDisk() const {
  const std::string directory = options.cacheDirectory.value_or(DiskCache::defaultDirectory());
  if (directory.empty())
    return nullptr;
  Result<std::unique_ptr<DiskCache>> opened = DiskCache::open(directory);
  if (opened)
    return std::move(*opened);
  log(LogLevel::Warning, opened.error().message + "; working without it");
  return nullptr;
}

LaunchSite EngineImpl::makeSite() const {
  LaunchSite site;
  site.launcher = std::make_shared<runtime::CpuLauncher>(options.hooks);
  site.threads = options.threads > 0 ? options.threads : runtime::usableProcessors();
  site.gpu = std::make_shared<runtime::GpuLauncher>(options.cudaLibrary, options.device, options.hooks.deviceMemory);
  return site;
}

void EngineImpl::log(LogLevel level, std::string_view message) const {
  if (!options.hooks.log)
    return;
  try {
    options.hooks.log(level, message);
  } catch (...) {
    // A logger that fails must not fail the call it reports on.
  }
}

Registered EngineImpl::registered() const {
  std::lock_guard lock(pipelinesMutex);
  return {overrides, flashImpls.current()};
}

Result<void> EngineImpl::registerPipeline(OverridePipeline pipeline) {
  auto refuse = [&](std::string_view why) {
    return Error{ErrorCode::InvalidArgument, fmt::format("pipeline '{}': {}", pipeline.name, why)};
  };
  if (pipeline.name.empty() || parseSDPBackend(pipeline.name))
    return refuse("it needs a name of its own, different from those of the built-in backends");
  if (!pipeline.build)
    return refuse("it has no builder");
  std::lock_guard lock(pipelinesMutex);
  for (const auto &other : overrides)
    if (other->name == pipeline.name)
      return refuse("a pipeline of that name is already registered");
  overrides.push_back(std::make_shared<const OverridePipeline>(std::move(pipeline)));
  return {};
}

std::size_t EngineImpl::unload(const Mod &mod) {
  return memory.removeAll([&](const KernelImpl &kernel) { return kernel.mod.impl().textHash == mod.impl().textHash; });
}

EngineCounters EngineImpl::counters() const {
  const MemoryCache::Counters cache = memory.counters();
  EngineCounters counters;
  counters.compiles = compiles;
  counters.compileFailures = compileFailures;
  counters.memoryHits = cache.hits;
  counters.memoryMisses = cache.misses;
  counters.diskHits = diskHits;
  counters.diskWrites = diskWrites;
  counters.diskRejects = disk ? disk->rejects() : 0;
  counters.evictions = cache.evictions;
  counters.launches = launches;
  counters.fallbacks = fallbacks;
  counters.awaited = later.size();
  counters.kernelsInMemory = cache.kernels;
  counters.bytesInMemory = cache.bytes;
  return counters;
}

Result<CheckedCall> EngineImpl::check(const ForwardCall &call, CheckFor purpose) const {
  Result<CheckedCall> checked = checkCall(call, call.mod.impl(), purpose);
  if (checked) {
    checked->problem.forGpu = target.kind == TargetDesc::Kind::Nvptx;
    checked->problem.aligned |= !checked->problem.forGpu; // all one to a CPU
  }
  return checked;
}

compiler::KernelSpec EngineImpl::specOf(const Problem &problem, SDPBackend backend, const Mod &mod) const {
  compiler::KernelSpec spec;
  spec.formula = mod.impl().formula;
  spec.qType = problem.qType;
  spec.kvType = problem.kvType;
  spec.outType = problem.outType;
  spec.D = problem.D;
  spec.Dv = problem.Dv;
  spec.contiguous = problem.contiguous;
  spec.aligned = problem.aligned;
  spec.paged = problem.paged;
  spec.checkedIndices = problem.checkedIndices;
  spec.narrowIndices = problem.narrowIndices;
  spec.sinks = problem.sinks;
  spec.backend = backend;
  spec.config = {problem.tiles.rows, problem.tiles.cols};
  spec.target = target;
  return spec;
}

/// The kernel for a call: by its class from memory, else by selection, key, disk and compiler. Predicates of registered pipelines may look
/// at lengths, which are no part of the class, so selection runs every time when there are any.
Result<EngineImpl::Obtained> EngineImpl::obtain(const ForwardCall &call, const CheckedCall &checked, WhenMissing whenMissing) {
  const BackendSet &allowed = call.backends ? *call.backends : SdpaKernelScope::current();
  const Registered known = registered();
  const Hash128 fingerprint = fingerprintOf(checked.problem, call.mod.impl(), allowed, known.flash.serial);
  const bool isDecidedByClass = !known.flash.pipeline && (known.overrides.empty() || !allowed.contains(SDPBackend::Overrideable));
  if (isDecidedByClass)
    if (KernelPtr kernel = memory.find(fingerprint))
      return Obtained{std::move(kernel), KernelSource::Memory};

  std::vector<Candidate> candidates = judge(checked.problem, allowed, known);
  if (isDecidedByClass && whenMissing == WhenMissing::Fallback)
    if (std::optional<Obtained> other = obtainMeanwhile(candidates, call.mod, checked.problem, fingerprint))
      return std::move(*other);
  return obtainFirst(std::move(candidates), call.mod, checked.problem, fingerprint, Haste::Awaited);
}

/// The kernel of the first candidate that does not refuse after all.
Result<EngineImpl::Obtained> EngineImpl::obtainFirst(std::vector<Candidate> candidates, const Mod &mod, const Problem &problem,
                                                     const Hash128 &fingerprint, Haste haste) {
  for (Candidate &candidate : candidates) {
    if (!candidate.report.allowed || !candidate.report.accepted)
      continue;
    Result<Obtained> obtained = obtainFrom(candidate, mod, problem, fingerprint, haste);
    if (obtained || obtained.error().code != ErrorCode::NoBackend)
      return obtained;
    // The schedule itself refused: one more reason, and the next backend's turn.
    candidate.report.accepted = false;
    candidate.report.reasons.push_back({"schedule", false, obtained.error().message});
    log(LogLevel::Info, fmt::format("{} refused: {}", candidate.report.pipeline, obtained.error().message));
  }
  return noBackendError(candidates);
}

/// Error: NoBackend when the pipeline refuses after all.
Result<EngineImpl::Obtained> EngineImpl::obtainFrom(const Candidate &candidate, const Mod &mod, const Problem &problem,
                                                    const Hash128 &fingerprint, Haste haste) {
  const compiler::KernelSpec spec = specOf(problem, candidate.report.backend, mod);
  const Hash128 key = keyOf(spec, candidate);
  Obtained how;
  MemoryCache::Obtained obtained =
      memory.obtain({key, fingerprint, candidate.pipeline ? "" : compiler::print(spec)}, [&]() -> Result<KernelPtr> {
        if (!candidate.pipeline)
          return makeImageKernel(spec, key, mod, how, haste);
        how.source = KernelSource::Compiled;
        return buildRegistered(candidate, spec, problem, mod);
      });
  if (!obtained.kernel)
    return obtained.kernel.error();
  how.kernel = *obtained.kernel;
  if (!obtained.made)
    how.source = KernelSource::Memory;
  if (how.kernel->host)
    how.source = KernelSource::Host;
  return how;
}

/// Where no call waits, a kernel of a GPU is loaded there before others see it; what is wrong with the GPU is for a launch to say.
Result<KernelPtr> EngineImpl::makeImageKernel(const compiler::KernelSpec &spec, const Hash128 &key, const Mod &mod, Obtained &how,
                                              Haste haste) {
  Result<KernelPtr> kernel = loadFromDisk(spec, key, mod, how);
  if (!*kernel) {
    Result<KernelImage> image = compileImage(spec, how);
    if (!image)
      return image.error();
    store(key, *image);
    kernel = loadImage(std::move(*image), mod, site);
  }
  if (kernel && haste == Haste::Ahead && (*kernel)->program)
    if (Result<void> loaded = site.gpu->load(*(*kernel)->program); !loaded)
      log(LogLevel::Info, "not loaded ahead of its first launch: " + loaded.error().message);
  return kernel;
}

Result<KernelImage> EngineImpl::compileImage(const compiler::KernelSpec &spec, Obtained &how) {
  const Clock::time_point begin = Clock::now();
  Result<compiler::CompilerInterface *> compiler = findCompiler();
  if (!compiler)
    return compiler.error();
  how.loadNs = nanosecondsSince(begin);
  const Clock::time_point start = Clock::now();
  Result<KernelImage> image = (*compiler)->compile(spec, {});
  how.compileNs = nanosecondsSince(start);
  if (!image) {
    ++compileFailures;
    const bool refused = image.error().code == ErrorCode::Unsupported;
    return Error{refused ? ErrorCode::NoBackend : image.error().code, image.error().message};
  }
  ++compiles;
  how.source = KernelSource::Compiled;
  log(LogLevel::Info, fmt::format("compiled {} for {} in {:.1f} ms ({} bytes)", image->meta.pipeline, image->meta.cpu,
                                  static_cast<double>(how.compileNs) * 1e-6, image->code.size()));
  return image;
}

/// To the disk cache if there is one; says whether the image is there.
bool EngineImpl::store(const Hash128 &key, const KernelImage &image) {
  if (!disk)
    return false;
  if (Result<void> stored = disk->store(key, image); !stored) {
    log(LogLevel::Warning, stored.error().message);
    return false;
  }
  ++diskWrites;
  return true;
}

/// Null for a miss, whatever its cause.
KernelPtr EngineImpl::loadFromDisk(const compiler::KernelSpec &spec, const Hash128 &key, const Mod &mod, Obtained &how) {
  if (!disk)
    return nullptr;
  const Clock::time_point start = Clock::now();
  std::optional<KernelImage> image = disk->load(key, [&](const ImageMetadata &meta) { return imageIsOf(meta, spec); });
  if (!image)
    return nullptr;
  Result<KernelPtr> kernel = loadImage(std::move(*image), mod, site);
  if (!kernel) {
    log(LogLevel::Info, "cached image not used: " + kernel.error().message);
    return nullptr;
  }
  ++diskHits;
  how.source = KernelSource::Disk;
  how.loadNs = nanosecondsSince(start);
  return *kernel;
}

void EngineImpl::warnOfUnfused(const Problem &problem, const BackendSet &allowed) const {
  for (const Candidate &candidate : judge(problem, allowed, registered())) {
    const BackendReport &report = candidate.report;
    if (!report.allowed || report.backend == SDPBackend::Math)
      continue;
    std::string reasons;
    for (const BackendReason &reason : report.reasons)
      if (!reason.ok)
        reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", reason.predicate, reason.detail);
    if (reasons.empty())
      reasons = "it comes later, or its schedule refused when it was compiled";
    log(LogLevel::Warning, fmt::format("MATH computes a call op by op, {} does not, because: {}", report.pipeline, reasons));
  }
}

/// The call that is computed. Where it is the given one nothing is copied.
struct EngineImpl::Resolved {
  explicit Resolved(const ForwardCall &given) : given(given) {}
  const ForwardCall &call() const { return masked ? *masked : given; }
  Result<void> take(Result<ForwardCall> call) {
    if (!call)
      return call.error();
    masked = std::make_unique<const ForwardCall>(std::move(*call));
    return {};
  }

  const ForwardCall &given;
  std::unique_ptr<const ForwardCall> masked;
};

Result<EngineImpl::ReadyCall> EngineImpl::makeReady(const ForwardCall &given) {
  const Clock::time_point start = Clock::now();
  Resolved resolved(given);
  if (given.blockMask || hasOptions(given))
    if (Result<void> taken = resolved.take(resolve(given)); !taken)
      return taken.error();
  if (target.kind == TargetDesc::Kind::Nvptx)
    if (Result<void> reachable = checkMemory(resolved.call(), *site.gpu); !reachable)
      return reachable.error();
  Result<CheckedCall> checked = check(resolved.call(), CheckFor::Launch);
  if (!checked)
    return checked.error();
  ReadyCall ready;
  if (checked->problem.B == 0 || checked->problem.Hq == 0 || checked->problem.M == 0)
    return ready;

  const WhenMissing whenMissing = given.whenMissing.value_or(options.whenMissing);
  Result<Obtained> obtained = obtain(resolved.call(), *checked, whenMissing);
  if (!obtained)
    return obtained.error();
  if (options.warnForUnfusedKernels && obtained->kernel->backend == SDPBackend::Math)
    warnOfUnfused(checked->problem, given.backends ? *given.backends : SdpaKernelScope::current());
  const KernelImpl &kernel = *obtained->kernel;
  if (given.blockMask && !kernel.host &&
      needsStateTable(*given.blockMask, checked->problem, engine::planGrid(kernel.meta, checked->problem))) {
    // The blocks of lists cut the kernel's tiles: another kernel reads them from a table.
    if (Result<void> taken = resolved.take(engine::withStateTable(resolved.call())); !taken)
      return taken.error();
    checked = check(resolved.call(), CheckFor::Launch);
    if (!checked)
      return checked.error();
    const Obtained first = *obtained;
    obtained = obtain(resolved.call(), *checked, whenMissing);
    if (!obtained)
      return obtained.error();
    obtained->compileNs += first.compileNs;
    obtained->loadNs += first.loadNs;
  }
  const std::int64_t lookupNs = nanosecondsSince(start) - obtained->compileNs - obtained->loadNs;
  const ForwardCall &call = resolved.call();
  Result<PreparedCall> prepared = prepareLaunch(*obtained->kernel, call.mod.impl(), std::move(*checked), call);
  if (!prepared)
    return prepared.error();
  ready.launch = std::move(*prepared);
  ready.launch->ownCall = std::move(resolved.masked);
  ready.launch->report.source = obtained->source;
  ready.launch->report.awaited = std::move(obtained->awaited);
  ready.launch->report.lookupNs = lookupNs;
  ready.launch->report.compileNs = obtained->compileNs;
  ready.launch->report.loadNs = obtained->loadNs;
  ready.kernel = std::move(obtained->kernel);
  return ready;
}

Result<ForwardReport> EngineImpl::forward(const ForwardCall &call) {
  Result<ReadyCall> ready = makeReady(call);
  if (!ready)
    return ready.error();
  if (!ready->launch)
    return ForwardReport{};
  launches.fetch_add(1, std::memory_order_relaxed);
  std::size_t failed;
  return launch({&*ready->launch, 1}, *site.launcher, call.threads > 0 ? call.threads : site.threads, failed);
}

Result<ForwardReport> EngineImpl::forwardGrouped(std::span<const ForwardCall> calls, const CallNames &names) {
  auto inCall = [&](std::size_t i, const Error &error) {
    return Error{error.code, fmt::format("{} {}: {}", names.noun, names.first + i, error.message)};
  };
  if (Result<void> disjoint = checkGroupOutputs(calls); !disjoint)
    return disjoint.error();
  std::vector<KernelPtr> kernels; // kept alive while they run
  std::vector<PreparedCall> prepared;
  std::vector<std::size_t> places;
  int threads = 0;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    Result<ReadyCall> ready = makeReady(calls[i]);
    if (!ready)
      return inCall(i, ready.error());
    threads = std::max(threads, calls[i].threads > 0 ? calls[i].threads : site.threads);
    if (!ready->launch)
      continue;
    if (kernels.empty() || kernels.back() != ready->kernel)
      kernels.push_back(std::move(ready->kernel));
    prepared.push_back(std::move(*ready->launch));
    places.push_back(i);
  }
  if (prepared.empty())
    return ForwardReport{};
  launches.fetch_add(prepared.size(), std::memory_order_relaxed);
  std::size_t failed = 0;
  Result<ForwardReport> report = launch(prepared, *site.launcher, threads, failed);
  if (!report)
    return inCall(places[failed], report.error());
  return report;
}

Result<Kernel> EngineImpl::prepare(const ForwardCall &given, bool anySizes) {
  const Result<ForwardCall> call = resolve(given);
  if (!call)
    return call.error();
  Result<CheckedCall> checked = check(*call, CheckFor::Shapes);
  if (!checked)
    return checked.error();
  checked->problem.checkedIndices |= anySizes && call->mod.impl().hasLoads;
  Result<Obtained> obtained = obtain(*call, *checked);
  if (!obtained)
    return obtained.error();
  return Kernel(withMod(obtained->kernel, call->mod), obtained->source);
}

Result<ExplainReport> EngineImpl::explain(const ForwardCall &given) {
  const Result<ForwardCall> call = resolve(given);
  if (!call)
    return call.error();
  Result<CheckedCall> checked = check(*call, CheckFor::Shapes);
  if (!checked)
    return checked.error();
  const BackendSet &allowed = call->backends ? *call->backends : SdpaKernelScope::current();
  ExplainReport report;
  report.problem = checked->problem;
  report.backends = reportsOf(judge(checked->problem, allowed, registered()));
  for (const BackendReport &backend : report.backends) {
    if (!backend.allowed || !backend.accepted)
      continue;
    report.chosen = backend.backend;
    report.pipeline = backend.pipeline;
    break;
  }
  return report;
}

Result<Kernel> EngineImpl::compileStages(const ForwardCall &given, const StageOptions &stages) {
  Result<compiler::CompileOptions> compileWith = compileOptions(stages);
  if (!compileWith)
    return compileWith.error();
  const Result<ForwardCall> resolved = resolve(given);
  if (!resolved)
    return resolved.error();
  const ForwardCall &call = *resolved;
  Result<CheckedCall> checked = check(call, CheckFor::Shapes);
  if (!checked)
    return checked.error();
  const BackendSet &allowed = call.backends ? *call.backends : SdpaKernelScope::current();
  const std::vector<Candidate> candidates = judge(checked->problem, allowed, {});
  const auto chosen =
      std::find_if(candidates.begin(), candidates.end(), [](const Candidate &c) { return c.report.allowed && c.report.accepted; });
  if (chosen == candidates.end())
    return noBackendError(candidates);
  Result<compiler::CompilerInterface *> compiler = findCompiler();
  if (!compiler)
    return compiler.error();
  Result<KernelImage> image = (*compiler)->compile(specOf(checked->problem, chosen->report.backend, call.mod), *compileWith);
  if (!image) {
    ++compileFailures;
    return image.error();
  }
  ++compiles;
  Result<KernelPtr> kernel = loadImage(std::move(*image), call.mod, site);
  if (!kernel)
    return kernel.error();
  return Kernel(std::move(*kernel), KernelSource::Compiled);
}

Result<Kernel> EngineImpl::compileFrom(std::string_view stageName, std::string_view text, const StageOptions &stages) {
  Result<compiler::CompileOptions> compileWith = compileOptions(stages);
  if (!compileWith)
    return compileWith.error();
  const std::optional<compiler::Stage> stage = compiler::parseStage(stageName);
  if (!stage)
    return Error{ErrorCode::InvalidArgument,
                 fmt::format("unknown stage '{}'; the stages are attn, tile, vector, gpu, llvm, ll, asm, obj, ptx", stageName)};
  Result<compiler::CompilerInterface *> compiler = findCompiler();
  if (!compiler)
    return compiler.error();
  Result<KernelImage> image = (*compiler)->compileFrom(*stage, text, *compileWith);
  if (!image) {
    ++compileFailures;
    return image.error();
  }
  ++compiles;
  Result<Mod> mod = modOf(image->meta);
  if (!mod)
    return mod.error();
  Result<KernelPtr> kernel = loadImage(std::move(*image), *mod, site);
  if (!kernel)
    return kernel.error();
  return Kernel(std::move(*kernel), KernelSource::Compiled);
}

} // namespace v0

} // namespace attnjit
