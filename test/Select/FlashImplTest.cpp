// The registry of FLASH_ATTENTION implementations, and warnForUnfusedKernels.
#include "Execute/EngineTestUtil.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <stdexcept>

using namespace attnjit;
using namespace attnjit::test;

namespace {

/// Fills the first element of out with `value`.
OverridePipeline filling(float value) {
  OverridePipeline pipeline;
  pipeline.build = [value](const Problem &, const PipelineContext &) -> Result<BuiltPipeline> {
    return BuiltPipeline(HostKernel([value](const ForwardCall &call) -> Result<void> {
      static_cast<float *>(call.out.data)[0] = value;
      return {};
    }));
  };
  return pipeline;
}

struct Log {
  std::vector<std::string> warnings;
  EngineOptions options() {
    EngineOptions options;
    options.hooks.log = [this](LogLevel level, std::string_view message) {
      if (level == LogLevel::Warning)
        warnings.emplace_back(message);
    };
    return options;
  }
};

} // namespace

TEST_CASE("flash-impl: registered, activated, listed, current, restored") {
  FakeCompiler compiler;
  Log log;
  const Engine engine = makeEngine(compiler, log.options());
  int provided = 0;
  REQUIRE(engine.registerFlashAttentionImpl("FB", [&]() -> Result<OverridePipeline> { return filling(float(70 + ++provided)); }));
  REQUIRE(engine.registerFlashAttentionImpl("FA", [&]() -> Result<OverridePipeline> { return filling(60); }));
  CHECK(engine.listFlashAttentionImpls() == std::vector<std::string>{"FA", "FB"});
  CHECK(!engine.currentFlashAttentionImpl());
  Operands mine;
  CHECK(engine.forward(mine.call)->pipeline == "FLASH_ATTENTION");
  CHECK(provided == 0);

  REQUIRE(engine.activateFlashAttentionImpl("FB"));
  CHECK(engine.currentFlashAttentionImpl() == "FB");
  Result<ForwardReport> report = engine.forward(mine.call);
  REQUIRE(report);
  CHECK(report->backend == SDPBackend::FlashAttention);
  CHECK(report->pipeline == "FB");
  CHECK(mine.out[0] == 71);
  const Result<ExplainReport> explained = engine.explain(mine.call);
  CHECK(explained->pipeline == "FB");
  CHECK(contains(explained->text(), "FLASH_ATTENTION 'FB': chosen"));

  // Another activation is another implementation, even of the same name.
  REQUIRE(engine.activateFlashAttentionImpl("FB"));
  REQUIRE(engine.forward(mine.call));
  CHECK(mine.out[0] == 72);
  REQUIRE(engine.activateFlashAttentionImpl("FA"));
  REQUIRE(engine.forward(mine.call));
  CHECK(mine.out[0] == 60);

  engine.restoreFlashAttentionImpl();
  CHECK(!engine.currentFlashAttentionImpl());
  CHECK(log.warnings.empty());
  CHECK(engine.forward(mine.call)->pipeline == "FLASH_ATTENTION");
  CHECK(mine.out[0] != 60);
  engine.restoreFlashAttentionImpl();
  REQUIRE(log.warnings.size() == 1);
  CHECK(contains(log.warnings[0], "no implementation was active"));
  CHECK(makeEngine(compiler).listFlashAttentionImpls().empty()); // another engine knows nothing of them
}

TEST_CASE("flash-impl: what it refuses goes to the next backend; it does not touch other backends") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  OverridePipeline picky = filling(5);
  picky.predicates = {{"short", [](const Problem &p) { return p.M <= 8 ? std::string() : "M is " + std::to_string(p.M); }}};
  REQUIRE(engine.registerFlashAttentionImpl("picky", [=]() -> Result<OverridePipeline> { return picky; }));
  REQUIRE(engine.activateFlashAttentionImpl("picky"));
  Operands longer, shorter(1, 2, 2, 8, 8);
  CHECK(engine.forward(longer.call)->backend == SDPBackend::EfficientAttention);
  CHECK(engine.forward(shorter.call)->pipeline ==
        "picky"); // the engine's own preference for short queries compares with its own FLASH only
  longer.call.backends = BackendSet{SDPBackend::FlashAttention};
  const Result<ForwardReport> refused = engine.forward(longer.call);
  REQUIRE(!refused);
  CHECK_MESSAGE(contains(refused.error().message, "FLASH_ATTENTION 'picky': cannot compute it\n    short: M is 20"),
                refused.error().message);
}

TEST_CASE("flash-impl: what goes wrong leaves the built-in one in place") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  CHECK(contains(engine.activateFlashAttentionImpl("FA9").error().message, "none of that name is registered; there is none"));
  REQUIRE(engine.registerFlashAttentionImpl("good", []() -> Result<OverridePipeline> { return filling(1); }));
  REQUIRE(engine.registerFlashAttentionImpl("hollow", []() -> Result<OverridePipeline> { return OverridePipeline(); }));
  REQUIRE(engine.registerFlashAttentionImpl("throws", []() -> Result<OverridePipeline> { throw std::runtime_error("no library"); }));
  REQUIRE(engine.registerFlashAttentionImpl(
      "fails", []() -> Result<OverridePipeline> { return attnjit::Error{ErrorCode::Unsupported, "needs a better machine"}; }));
  REQUIRE(engine.activateFlashAttentionImpl("good"));
  CHECK(contains(engine.activateFlashAttentionImpl("FA9").error().message, "there is fails, good, hollow, throws"));
  CHECK(!engine.currentFlashAttentionImpl()); // as in torch, the default comes back first
  CHECK(contains(engine.activateFlashAttentionImpl("hollow").error().message, "no builder"));
  CHECK(contains(engine.activateFlashAttentionImpl("throws").error().message, "no library"));
  CHECK(engine.activateFlashAttentionImpl("fails").error().message == "needs a better machine");
  Operands mine;
  CHECK(engine.forward(mine.call)->pipeline == "FLASH_ATTENTION");
  CHECK(contains(engine.registerFlashAttentionImpl("flash", []() -> Result<OverridePipeline> { return filling(1); }).error().message,
                 "name of its own"));
  CHECK(contains(engine.registerFlashAttentionImpl("x", {}).error().message, "no function"));
}

TEST_CASE("warn-unfused: one line for each fused backend that was allowed, with its reasons") {
  FakeCompiler compiler;
  Log log;
  EngineOptions options = log.options();
  options.warnForUnfusedKernels = true;
  const Engine engine = makeEngine(compiler, options);
  Operands mine;
  REQUIRE(engine.forward(mine.call));
  CHECK(log.warnings.empty());

  mine.call.backends = BackendSet{SDPBackend::Math, SDPBackend::CudnnAttention};
  for (int i = 0; i < 2; ++i) { // the second time the kernel is in memory
    log.warnings.clear();
    REQUIRE(engine.forward(mine.call));
    REQUIRE(log.warnings.size() == 1);
    CHECK(log.warnings[0] == "MATH computes a call op by op, CUDNN_ATTENTION does not, because: built: not built in this version");
  }
  log.warnings.clear();
  mine.call.backends = BackendSet{SDPBackend::Math}; // asked for
  REQUIRE(engine.forward(mine.call));
  CHECK(log.warnings.empty());

  compiler.refusing = SDPBackend::FlashAttention;
  Operands other(1, 2, 2, 20, 40, 16);
  other.call.backends = BackendSet{SDPBackend::Math, SDPBackend::FlashAttention};
  REQUIRE(engine.prepare(other.call));
  CHECK(log.warnings.empty()); // only calls warn
}
