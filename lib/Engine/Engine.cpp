#include "attnjit/Engine.h"

#include "Engine/EngineImpl.h"
#include "Engine/Guard.h"

#include <fmt/format.h>

namespace attnjit::inline v0 {

namespace {

std::string problemLine(const Problem &problem) {
  return fmt::format("q {} [{}, {}, {}, {}], k and v {} [{}, {}, {}, {} | {}], {} strides{}, {}{}{}, {} indices{}", name(problem.qType),
                     problem.B, problem.Hq, problem.M, problem.D, name(problem.kvType), problem.Bkv, problem.Hkv, problem.N, problem.D,
                     problem.Dv, problem.contiguous ? "contiguous" : "general", problem.paged ? ", in pages" : "",
                     problem.hasMask ? "masked" : "no mask", problem.sinks ? fmt::format(", sinks {}", name(*problem.sinks)) : "",
                     problem.probIsIdentity      ? ""
                     : problem.probIsHomogeneous ? ", prob_mod in one pass (proportional to p)"
                                                 : ", prob_mod in two passes (lse first)",
                     problem.narrowIndices ? "32-bit" : "64-bit", problem.checkedIndices ? " checked at run time" : "");
}

std::string verdict(const BackendReport &report, bool chosen) {
  if (chosen)
    return "chosen";
  if (!report.allowed)
    return "not in the allowed set";
  return report.accepted ? "can compute it, but comes later" : "cannot compute it";
}

/// A JSON string.
std::string quoted(std::string_view text) {
  std::string json = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\')
      json += {'\\', c};
    else if (static_cast<unsigned char>(c) < 0x20)
      json += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    else
      json += c;
  }
  return json + '"';
}

} // namespace

std::string ExplainReport::text() const {
  std::string text = problemLine(problem) + "\n";
  bool found = false;
  for (const BackendReport &report : backends) {
    const bool isChosen = !found && report.allowed && report.accepted;
    found |= isChosen;
    const bool registered = report.pipeline != name(report.backend);
    text +=
        fmt::format("{}{}: {}\n", name(report.backend), registered ? fmt::format(" '{}'", report.pipeline) : "", verdict(report, isChosen));
    for (const BackendReason &reason : report.reasons)
      text += fmt::format("  {:12} {}{}\n", reason.predicate, !reason.ok ? "" : reason.detail.empty() ? "ok" : "ok, ", reason.detail);
  }
  if (!found)
    text += "no allowed backend can compute this call\n";
  return text;
}

std::string ExplainReport::json() const {
  std::string all;
  for (const BackendReport &report : backends) {
    std::string reasons;
    for (const BackendReason &reason : report.reasons)
      reasons += fmt::format(R"({}{{"predicate": {}, "ok": {}, "detail": {}}})", reasons.empty() ? "" : ", ", quoted(reason.predicate),
                             reason.ok, quoted(reason.detail));
    all += fmt::format(R"({}{{"backend": "{}", "pipeline": {}, "allowed": {}, "accepted": {}, "reasons": [{}]}})", all.empty() ? "" : ", ",
                       name(report.backend), quoted(report.pipeline), report.allowed, report.accepted, reasons);
  }
  return fmt::format(R"({{"chosen": "{}", "pipeline": {}, "backends": [{}]}})", name(chosen), quoted(pipeline), all);
}

Result<Engine> Engine::create(EngineOptions options) {
  std::string library = options.compilerLibrary;
  return engine::makeEngine(std::move(options), engine::findCompiler(std::move(library)));
}

Engine::Engine(std::shared_ptr<EngineImpl> engine) : engine(std::move(engine)) {}
Engine::~Engine() = default;
Engine::Engine(const Engine &) = default;
Engine::Engine(Engine &&other) noexcept : engine(other.engine) {} // a moved-from Engine stays usable
Engine &Engine::operator=(const Engine &) = default;
Engine &Engine::operator=(Engine &&other) noexcept {
  engine = other.engine;
  return *this;
}

Result<ForwardReport> Engine::forward(const ForwardCall &call) const {
  return engine::guarded([&] { return engine->forward(call); });
}

Result<ForwardReport> Engine::forwardGrouped(std::span<const ForwardCall> calls) const {
  return engine::guarded([&] { return engine->forwardGrouped(calls, {}); });
}

Result<Kernel> Engine::prepare(const ForwardCall &call) const {
  return engine::guarded([&] { return engine->prepare(call); });
}

Result<ExplainReport> Engine::explain(const ForwardCall &call) const {
  return engine::guarded([&] { return engine->explain(call); });
}

Result<AutotuneReport> Engine::autotune(const ForwardCall &call, double seconds) const {
  return engine::guarded([&] { return engine->autotune(call, seconds); });
}

Result<Kernel> Engine::compileStages(const ForwardCall &call, const StageOptions &options) const {
  return engine::guarded([&] { return engine->compileStages(call, options); });
}

Result<Kernel> Engine::compileFrom(std::string_view stage, std::string_view text, const StageOptions &options) const {
  return engine::guarded([&] { return engine->compileFrom(stage, text, options); });
}

Result<void> Engine::registerPipeline(OverridePipeline pipeline) const {
  return engine::guarded([&] { return engine->registerPipeline(std::move(pipeline)); });
}

Result<void> Engine::registerFlashAttentionImpl(std::string name, FlashImplProvider provide) const {
  return engine::guarded([&] { return engine->flashImpls.add(std::move(name), std::move(provide)); });
}

Result<void> Engine::activateFlashAttentionImpl(const std::string &name) const {
  return engine::guarded([&] { return engine->flashImpls.activate(name); });
}

std::vector<std::string> Engine::listFlashAttentionImpls() const { return engine->flashImpls.names(); }

std::optional<std::string> Engine::currentFlashAttentionImpl() const {
  const engine::FlashImpls::Active active = engine->flashImpls.current();
  return active.pipeline ? std::optional(active.pipeline->name) : std::nullopt;
}

void Engine::restoreFlashAttentionImpl() const {
  if (!engine->flashImpls.restore())
    engine->log(LogLevel::Warning, "restoreFlashAttentionImpl: no implementation was active; FLASH_ATTENTION is the built-in one");
}

Result<void> Engine::synchronize(void *stream) const {
  if (engine->target.kind != TargetDesc::Kind::Nvptx)
    return {};
  return engine::guarded([&] { return engine->site.gpu->synchronize(stream); });
}

EngineCounters Engine::counters() const { return engine->counters(); }
void Engine::clearMemoryCache() const { engine->memory.clear(); }
std::size_t Engine::unload(const Mod &mod) const { return engine->unload(mod); }
void Engine::waitForCompilations() const { engine->later.wait(); }

Result<void> Engine::saveManifest(const std::string &path) const {
  return engine::guarded([&] { return engine->saveManifest(path); });
}

Result<WarmUpReport> Engine::warmUp(const std::string &path) const {
  return engine::guarded([&] { return engine->warmUp(path); });
}

std::string Engine::cacheDirectory() const { return engine->disk ? engine->disk->directory() : ""; }
const std::string &Engine::target() const { return engine->target.cpu; }
int Engine::threads() const { return engine->site.threads; }

} // namespace attnjit::inline v0
