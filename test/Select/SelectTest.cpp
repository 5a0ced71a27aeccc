// sdpa_kernel scopes, the order of backends, every reason of every backend, and pipelines that an embedder registers.
#include "Execute/EngineTestUtil.h"

#include <doctest/doctest.h>
#include <stdexcept>
#include <thread>

using namespace attnjit;
using namespace attnjit::test;

namespace {

constexpr SDPBackend Math = SDPBackend::Math, FlashAttention = SDPBackend::FlashAttention,
                     EfficientAttention = SDPBackend::EfficientAttention, CudnnAttention = SDPBackend::CudnnAttention,
                     Overrideable = SDPBackend::Overrideable, NoBackend = SDPBackend::Error;

const BackendReport &reportOf(const ExplainReport &report, SDPBackend backend) {
  for (const BackendReport &row : report.backends)
    if (row.backend == backend)
      return row;
  static const BackendReport none;
  return none;
}

std::string refusalOf(const ExplainReport &report, SDPBackend backend, std::string_view predicate) {
  for (const BackendReason &reason : reportOf(report, backend).reasons)
    if (reason.predicate == predicate && !reason.ok)
      return reason.detail;
  return "";
}

OverridePipeline pipelineThat(std::string name, HostKernel kernel) {
  OverridePipeline pipeline;
  pipeline.name = std::move(name);
  pipeline.build = [kernel](const Problem &, const PipelineContext &) -> Result<BuiltPipeline> { return BuiltPipeline(kernel); };
  return pipeline;
}

HostKernel filling(float value) {
  return [value](const ForwardCall &call) -> Result<void> {
    static_cast<float *>(call.out.data)[0] = value;
    return {};
  };
}

} // namespace

TEST_CASE("select-names: backends have names and short forms") {
  for (SDPBackend backend : BackendSet().inOrder())
    CHECK(parseSDPBackend(name(backend)) == backend);
  CHECK(parseSDPBackend("flash") == FlashAttention);
  CHECK(parseSDPBackend("Math") == Math);
  CHECK(parseSDPBackend("efficient") == EfficientAttention);
  CHECK(parseSDPBackend("cudnn_attention") == CudnnAttention);
  CHECK(!parseSDPBackend("flush"));
  CHECK(!parseSDPBackend(""));
  CHECK(name(NoBackend) == "ERROR");
  CHECK(static_cast<int>(NoBackend) == -1); // torch's numbers
  CHECK(static_cast<int>(Overrideable) == 4);
}

TEST_CASE("select-order: the engine's order, or the list's with set_priority") {
  const std::vector<SDPBackend> own = {FlashAttention, EfficientAttention, CudnnAttention, Overrideable, Math};
  CHECK(BackendSet().inOrder() == own);
  CHECK(BackendSet({Math, FlashAttention}).inOrder() == std::vector{FlashAttention, Math});
  CHECK(BackendSet({Math, FlashAttention}, true).inOrder() == std::vector{Math, FlashAttention});
  CHECK(BackendSet({Math, FlashAttention, Math, NoBackend}, true).inOrder() == std::vector{Math, FlashAttention});
  CHECK(BackendSet({NoBackend}).inOrder().empty());
  CHECK(!BackendSet({Math}).contains(FlashAttention));
}

TEST_CASE("select-scope: nests, replaces, restores, also on exceptions, per thread") {
  CHECK(SdpaKernelScope::current() == BackendSet());
  {
    SdpaKernelScope outer(BackendSet{FlashAttention});
    CHECK(SdpaKernelScope::current() == BackendSet{FlashAttention});
    {
      SdpaKernelScope inner(BackendSet({Math}, true));
      CHECK(SdpaKernelScope::current() == BackendSet({Math}, true)); // replaced, not intersected
    }
    CHECK(SdpaKernelScope::current() == BackendSet{FlashAttention});
    try {
      SdpaKernelScope inner(BackendSet{Math});
      throw std::runtime_error("out");
    } catch (const std::runtime_error &) {
    }
    CHECK(SdpaKernelScope::current() == BackendSet{FlashAttention});
    std::thread([] { CHECK(SdpaKernelScope::current() == BackendSet()); }).join();
  }
  CHECK(SdpaKernelScope::current() == BackendSet());
}

TEST_CASE("select-scope: calls obey it unless they name their own set") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  Operands mine;
  CHECK(engine.forward(mine.call)->backend == FlashAttention);
  {
    SdpaKernelScope scope(BackendSet{Math});
    CHECK(engine.forward(mine.call)->backend == Math);
    mine.call.backends = BackendSet{FlashAttention};
    CHECK(engine.forward(mine.call)->backend == FlashAttention);
    mine.call.backends.reset();
  }
  SdpaKernelScope first(BackendSet({Math, FlashAttention}, true));
  CHECK(engine.forward(mine.call)->backend == Math);
  CHECK(engine.forward(mine.call)->source == KernelSource::Memory);
  CHECK(compiler.calls == 2);
}

TEST_CASE("select-reasons: each backend says everything that speaks against it") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  Operands mine;
  Result<ExplainReport> report = engine.explain(mine.call);
  REQUIRE(report);
  CHECK(report->chosen == FlashAttention);
  CHECK(report->pipeline == "FLASH_ATTENTION");
  CHECK(report->backends.size() == 5);
  CHECK(reportOf(*report, Math).accepted);
  CHECK(reportOf(*report, EfficientAttention).accepted);
  CHECK(refusalOf(*report, CudnnAttention, "built") == "not built in this version");
  CHECK(contains(refusalOf(*report, Overrideable, "registered"), "no pipeline is registered"));

  // No CPU backend minds a dtype.
  for (auto [q, kv, out] : {std::tuple{DType::F64, DType::F64, DType::F64},
                            {DType::F64, DType::BF16, DType::F64},
                            {DType::F32, DType::F8E4M3, DType::F32},
                            {DType::F8E5M2, DType::F8E5M2, DType::BF16}}) {
    mine.call.q.dtype = q;
    mine.call.k.dtype = mine.call.v.dtype = kv;
    mine.call.out.dtype = out;
    report = engine.explain(mine.call);
    REQUIRE(report);
    CHECK(report->chosen == FlashAttention);
    CHECK(reportOf(*report, Math).accepted);
    CHECK(reportOf(*report, EfficientAttention).accepted);
  }
  CHECK(compiler.calls == 0);

  EngineOptions options;
  options.target = "sm_80";
  const Engine gpu = makeEngine(compiler, options);
  Operands floats(1, 2, 2, 20, 40, 16);
  report = gpu.explain(floats.call);
  REQUIRE(report);
  CHECK(report->chosen == Math); // which takes all that FLASH_ATTENTION does not
  CHECK(contains(refusalOf(*report, FlashAttention, "dtype"), "q is f32"));
  for (TensorRef *tensor : {&floats.call.q, &floats.call.k, &floats.call.v, &floats.call.out})
    tensor->dtype = DType::BF16;
  CHECK(gpu.explain(floats.call)->chosen == FlashAttention);
  floats.call.k.dtype = floats.call.v.dtype = DType::F8E4M3;
  CHECK(gpu.explain(floats.call)->chosen == FlashAttention);
  floats.call.out.dtype = DType::F16;
  CHECK(contains(refusalOf(*gpu.explain(floats.call), FlashAttention, "dtype"), "out is f16"));
  CHECK(contains(refusalOf(*report, EfficientAttention, "dtype"), "q is f32"));
  floats.call.out.dtype = DType::BF16;
  CHECK(reportOf(*gpu.explain(floats.call), EfficientAttention).accepted);
  Operands few(1, 8, 2, 1, 300, 16);
  for (TensorRef *tensor : {&few.call.q, &few.call.k, &few.call.v, &few.call.out})
    tensor->dtype = DType::BF16;
  CHECK(gpu.explain(few.call)->chosen == EfficientAttention);
  few.call.mod = *Mod::parse({.probMod = "p * p"});
  CHECK(contains(refusalOf(*gpu.explain(few.call), EfficientAttention, "prob-mod"), "two passes"));

  for (std::int64_t D : {1, 24, 100, 255, 256}) { // no head is too odd
    Operands odd(1, 2, 2, 20, 40, D);
    for (TensorRef *tensor : {&odd.call.q, &odd.call.k, &odd.call.v, &odd.call.out})
      tensor->dtype = DType::BF16;
    CHECK(gpu.explain(odd.call)->chosen == FlashAttention);
  }
  Operands wide(1, 2, 2, 20, 40, 257);
  for (TensorRef *tensor : {&wide.call.q, &wide.call.k, &wide.call.v, &wide.call.out})
    tensor->dtype = DType::BF16;
  report = gpu.explain(wide.call);
  REQUIRE(report);
  CHECK(report->chosen == Math);
  CHECK(contains(refusalOf(*report, FlashAttention, "head-dim"), "D is 257 and Dv 257; its GPU schedule takes at most 256"));
}

TEST_CASE("select-efficient: up to 64 query rows; first where they are few") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  auto explain = [&](std::int64_t Hq, std::int64_t Hkv, std::int64_t M) {
    Operands mine(1, Hq, Hkv, M, 300);
    return *engine.explain(mine.call);
  };
  CHECK(explain(2, 2, 1).chosen == EfficientAttention);
  CHECK(explain(2, 2, 16).chosen == EfficientAttention);
  CHECK(explain(8, 1, 16).chosen == EfficientAttention); // however many heads share keys
  CHECK(explain(2, 2, 17).chosen == FlashAttention);
  CHECK(contains(explain(8, 1, 2).text(), "asked before FLASH_ATTENTION: M is 2, at most 16"));
  CHECK(contains(explain(8, 1, 17).text(), "asked after FLASH_ATTENTION: M is 17, above 16"));
  CHECK(explain(8, 1, 2).backends.front().backend == EfficientAttention);
  CHECK(reportOf(explain(2, 2, 64), EfficientAttention).accepted);
  CHECK(contains(refusalOf(explain(2, 2, 65), EfficientAttention, "query-rows"), "M is 65; it streams for at most 64"));

  // The lengths that decide are no part of a kernel's class, and yet each call gets its own.
  Operands few(1, 2, 2, 16, 40), many(1, 2, 2, 20, 40);
  CHECK(engine.forward(few.call)->backend == EfficientAttention);
  CHECK(engine.forward(many.call)->backend == FlashAttention);
  CHECK(engine.forward(few.call)->backend == EfficientAttention);
  CHECK(engine.forward(few.call)->source == KernelSource::Memory);
  // An order that the caller gave stays.
  few.call.backends = BackendSet({FlashAttention, EfficientAttention}, true);
  CHECK(engine.forward(few.call)->backend == FlashAttention);
  many.call.backends = BackendSet{EfficientAttention};
  CHECK(engine.forward(many.call)->backend == EfficientAttention);
}

TEST_CASE("select-error: when nothing fits, every backend and every reason is listed, with a cure") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  Operands mine(1, 2, 2, 65, 40);
  mine.call.backends = BackendSet{EfficientAttention, CudnnAttention, Overrideable};
  Result<ForwardReport> report = engine.forward(mine.call);
  REQUIRE(!report);
  CHECK(report.error().code == ErrorCode::NoBackend);
  for (std::string_view part :
       {"EFFICIENT_ATTENTION", "at most 64 query rows", "CUDNN_ATTENTION", "OVERRIDEABLE", "not built in this version",
        "no pipeline is registered", "not in the allowed set", "Allow FLASH_ATTENTION"})
    CHECK_MESSAGE(contains(report.error().message, part), report.error().message);

  mine.call.backends = BackendSet{NoBackend};
  CHECK(engine.forward(mine.call).error().code == ErrorCode::NoBackend);
  CHECK(engine.prepare(mine.call).error().code == ErrorCode::NoBackend);
  CHECK(engine.explain(mine.call)->chosen == NoBackend);
}

TEST_CASE("select-schedule: a schedule that refuses while compiling passes the call on, with its reason") {
  FakeCompiler compiler;
  compiler.refusing = FlashAttention;
  const Engine engine = makeEngine(compiler);
  Operands mine;
  Result<ForwardReport> report = engine.forward(mine.call);
  REQUIRE(report);
  CHECK(report->backend == EfficientAttention); // the next in order
  CHECK(engine.forward(mine.call)->source == KernelSource::Memory);
  CHECK(compiler.calls == 2); // FLASH was not asked again
  mine.call.backends = BackendSet{FlashAttention};
  report = engine.forward(mine.call);
  REQUIRE(!report);
  CHECK(report.error().code == ErrorCode::NoBackend);
  CHECK(contains(report.error().message, "the tiles do not fit"));
}

TEST_CASE("override: a registered host callable computes calls that ask for it") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  int built = 0;
  OverridePipeline pipeline = pipelineThat("seven", filling(7.0f));
  pipeline.predicates = {
      {"short", [](const Problem &p) { return p.M <= 32 ? std::string() : "M is " + std::to_string(p.M) + ", above 32"; }}};
  pipeline.build = [&, build = pipeline.build](const Problem &problem, const PipelineContext &context) {
    ++built;
    Result<std::string> attn = context.attnModule();
    CHECK(attn);
    CHECK(*attn == "attn.forward of the test");
    CHECK(context.mod.canonicalText() == Mod().canonicalText());
    return build(problem, context);
  };
  REQUIRE(engine.registerPipeline(pipeline));

  Operands mine, longer(1, 2, 2, 33, 8);
  CHECK(engine.forward(mine.call)->backend == FlashAttention); // the engine's order prefers its own
  mine.call.backends = longer.call.backends = BackendSet({Overrideable, FlashAttention}, true);
  Result<ForwardReport> report = engine.forward(mine.call);
  REQUIRE(report);
  CHECK(report->backend == Overrideable);
  CHECK(report->pipeline == "seven");
  CHECK(report->source == KernelSource::Host);
  CHECK(mine.out[0] == 7.0f);
  CHECK(engine.forward(mine.call));
  CHECK(built == 1);

  // The predicate sees each call's own lengths, though they are no part of a kernel's class.
  CHECK(engine.forward(longer.call)->backend == FlashAttention);
  CHECK(contains(refusalOf(*engine.explain(longer.call), Overrideable, "short"), "M is 33"));
  CHECK(engine.forward(mine.call)->pipeline == "seven");

  Result<Kernel> kernel = engine.prepare(mine.call);
  REQUIRE(kernel);
  CHECK(kernel->bytes().error().code == ErrorCode::Unsupported);
  CHECK(kernel->forward(mine.call));
}

TEST_CASE("override: a pipeline may answer with an image kernel") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  OverridePipeline pipeline;
  pipeline.name = "borrowed";
  pipeline.build = [&](const Problem &, const PipelineContext &) -> Result<BuiltPipeline> {
    Operands shapes;
    shapes.call.backends = BackendSet{Math};
    Result<Kernel> kernel = engine.prepare(shapes.call);
    if (!kernel)
      return kernel.error();
    return BuiltPipeline(*kernel);
  };
  REQUIRE(engine.registerPipeline(pipeline));
  Operands mine, expected;
  REQUIRE(engine.forward(expected.call));
  mine.call.backends = BackendSet{Overrideable};
  Result<ForwardReport> report = engine.forward(mine.call);
  REQUIRE(report);
  CHECK(report->pipeline == "borrowed");
  CHECK(mine.out == expected.out);
}

TEST_CASE("override: what an embedder's code does wrong fails its call only") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  Operands mine;
  mine.call.backends = BackendSet{Overrideable};
  auto messageWith = [&](OverridePipeline pipeline) {
    const Engine fresh = makeEngine(compiler);
    REQUIRE(fresh.registerPipeline(std::move(pipeline)));
    Result<ForwardReport> report = fresh.forward(mine.call);
    return report ? std::string("computed") : report.error().message;
  };
  OverridePipeline pipeline = pipelineThat("bad", [](const ForwardCall &) -> Result<void> { throw std::runtime_error("kernel boom"); });
  CHECK(contains(messageWith(pipeline), "kernel boom"));
  pipeline = pipelineThat("bad", [](const ForwardCall &) -> Result<void> { return attnjit::Error{ErrorCode::Io, "no luck"}; });
  CHECK(messageWith(pipeline) == "no luck");
  pipeline = pipelineThat("bad", HostKernel());
  CHECK(contains(messageWith(pipeline), "empty host callable"));
  pipeline = pipelineThat("bad", filling(1));
  pipeline.build = [](const Problem &, const PipelineContext &) -> Result<BuiltPipeline> { throw 1; };
  CHECK(contains(messageWith(pipeline), "threw an exception"));
  pipeline = pipelineThat("bad", filling(1));
  pipeline.predicates = {{"p", [](const Problem &) -> std::string { throw std::runtime_error("predicate boom"); }}};
  CHECK(contains(messageWith(pipeline), "predicate boom"));
  pipeline = pipelineThat("bad", filling(1));
  pipeline.directions.forward = false;
  CHECK(contains(messageWith(pipeline), "forward direction"));
  pipeline = pipelineThat("bad", filling(1));
  pipeline.build = [&](const Problem &, const PipelineContext &) -> Result<BuiltPipeline> {
    Operands wrong(1, 2, 2, 20, 40, 4);
    return BuiltPipeline(*engine.prepare(wrong.call));
  };
  CHECK(contains(messageWith(pipeline), "another problem"));

  // A builder that asks for itself must not wait for itself.
  const Engine loop = makeEngine(compiler);
  pipeline = pipelineThat("loop", filling(1));
  pipeline.build = [&](const Problem &, const PipelineContext &) -> Result<BuiltPipeline> { return loop.forward(mine.call).error(); };
  REQUIRE(loop.registerPipeline(pipeline));
  CHECK(contains(loop.forward(mine.call).error().message, "the very kernel that it is building"));
}

TEST_CASE("override: registration is checked") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  REQUIRE(engine.registerPipeline(pipelineThat("mine", filling(1))));
  CHECK(contains(engine.registerPipeline(pipelineThat("mine", filling(1))).error().message, "already registered"));
  CHECK(contains(engine.registerPipeline(pipelineThat("", filling(1))).error().message, "name of its own"));
  CHECK(contains(engine.registerPipeline(pipelineThat("flash", filling(1))).error().message, "name of its own"));
  OverridePipeline hollow;
  hollow.name = "hollow";
  CHECK(contains(engine.registerPipeline(hollow).error().message, "no builder"));
  // Another engine knows nothing of it.
  Operands mine;
  mine.call.backends = BackendSet{Overrideable};
  CHECK(!makeEngine(compiler).forward(mine.call));
}

TEST_CASE("select-prob-mod: two passes over the keys are nothing that a schedule of the CPU refuses") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  Operands few(1, 2, 2, 3, 40);
  few.call.mod = *Mod::parse({.probMod = "p + 0.1"});
  const Result<ExplainReport> report = engine.explain(few.call);
  REQUIRE(report);
  for (SDPBackend backend : {FlashAttention, EfficientAttention, Math})
    CHECK(reportOf(*report, backend).accepted);
  CHECK(report->chosen == EfficientAttention);
}
