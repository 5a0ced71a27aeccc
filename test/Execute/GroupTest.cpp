// forwardGrouped: several calls as one piece of work, each with the bits it has alone.
#include "EngineTestUtil.h"

#include <algorithm>
#include <deque>
#include <doctest/doctest.h>

using namespace attnjit;
using namespace attnjit::test;

TEST_CASE("a group computes what its calls compute, for any number of threads") {
  FakeCompiler compiler;
  for (int threads : {1, 2, 5}) {
    EngineOptions options;
    options.threads = threads;
    const Engine engine = makeEngine(compiler, options);
    std::deque<Operands> group, alone;
    std::vector<ForwardCall> calls;
    for (auto [M, N, H] : {std::tuple<int, int, int>{20, 40, 2}, {1, 7, 4}, {0, 5, 2}, {300, 300, 8}, {33, 0, 1}, {16, 100, 2}}) {
      for (std::deque<Operands> *list : {&group, &alone}) {
        Operands &operands = list->emplace_back(1, H, H, M, N);
        operands.call.lse = operands.rows(operands.lse);
      }
      calls.push_back(group.back().call);
      REQUIRE(engine.forward(alone.back().call));
    }
    Result<ForwardReport> report = engine.forwardGrouped(calls);
    REQUIRE_MESSAGE(report, report.error().message);
    CHECK(report->pipeline == "FLASH_ATTENTION, EFFICIENT_ATTENTION"); // some have few queries
    for (std::size_t i = 0; i < group.size(); ++i) {
      CAPTURE(i);
      CHECK(group[i].out == alone[i].out);
      CHECK(group[i].lse == alone[i].lse);
    }
    CHECK(engine.counters().launches == 10); // the empty call is none
  }
}

TEST_CASE("calls of a group may differ in pipeline, and host callables take part") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  OverridePipeline pipeline;
  pipeline.name = "seven";
  pipeline.build = [](const Problem &, const PipelineContext &) -> Result<BuiltPipeline> {
    return BuiltPipeline(HostKernel([](const ForwardCall &call) -> Result<void> {
      static_cast<float *>(call.out.data)[0] = 7;
      return {};
    }));
  };
  REQUIRE(engine.registerPipeline(pipeline));
  Operands a, b, c;
  a.call.backends = BackendSet{SDPBackend::Math};
  c.call.backends = BackendSet{SDPBackend::Overrideable};
  const ForwardCall calls[] = {a.call, b.call, c.call};
  Result<ForwardReport> report = engine.forwardGrouped(calls);
  REQUIRE_MESSAGE(report, report.error().message);
  CHECK(report->pipeline == "MATH, FLASH_ATTENTION, seven");
  CHECK(a.out == b.out); // one test double serves both
  CHECK(c.out[0] == 7);
  CHECK(engine.forwardGrouped({})->pipeline == "");
}

TEST_CASE("one bad call fails the group by number, before anything is computed") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  Operands a, b;
  b.call.k.sizes[3] = 5;
  const ForwardCall calls[] = {a.call, b.call};
  Result<ForwardReport> report = engine.forwardGrouped(calls);
  REQUIRE(!report);
  CHECK(report.error().code == ErrorCode::InvalidArgument);
  CHECK_MESSAGE(contains(report.error().message, "call 1: k: its head dimension is 5"), report.error().message);
  CHECK(a.out[0] == -1.0f);

  compiler.kernel = outOfRangeKernel;
  Operands c(1, 3, 3, 20, 40, kHeadDim), d(2, 3, 3, 20, 40, kHeadDim);
  c.call.q.sizes[2] = c.call.out.sizes[2] = 0; // no work, no status
  const ForwardCall outside[] = {c.call, d.call};
  const Engine other = makeEngine(compiler);
  report = other.forwardGrouped(outside);
  REQUIRE(!report);
  CHECK(report.error().code == ErrorCode::IndexOutOfRange);
  CHECK_MESSAGE(contains(report.error().message, "call 1: a formula indexes"), report.error().message);
}

TEST_CASE("outputs of a group that surely overlap are refused") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  Operands a, b, c;
  b.call.out = a.call.out;
  const ForwardCall same[] = {c.call, a.call, b.call};
  const Result<ForwardReport> report = engine.forwardGrouped(same);
  REQUIRE(!report);
  CHECK_MESSAGE(contains(report.error().message, "its out shares memory with out of call"), report.error().message);

  // Interleaved rows of one buffer are no overlap.
  std::vector<float> shared(2 * a.out.size());
  for (ForwardCall *call : {&a.call, &b.call}) {
    call->out.data = shared.data() + (call == &b.call ? kHeadDim : 0);
    for (int dim = 0; dim < 3; ++dim)
      call->out.strides[dim] *= 2;
  }
  const ForwardCall interleaved[] = {a.call, b.call};
  REQUIRE(engine.forwardGrouped(interleaved));
  CHECK(shared[0] == shared[kHeadDim]);
  CHECK(std::count(shared.begin(), shared.end(), 0.0f) == 0);
}
