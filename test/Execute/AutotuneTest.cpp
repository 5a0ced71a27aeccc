// Engine::autotune: what it measures, what it leaves behind, what it refuses.
#include "EngineTestUtil.h"

#include <chrono>
#include <doctest/doctest.h>
#include <thread>

using namespace attnjit;
using namespace attnjit::test;

namespace {

template <std::int64_t kRows> void slowKernel(const KernelArgs *args, std::int64_t begin, std::int64_t end, void *workspace) {
  std::this_thread::sleep_for(std::chrono::milliseconds(8));
  plainKernelOf<kRows>(args, begin, end, workspace);
}

/// Tiles of 8 rows are fast, all others slow.
CpuKernelFn fastWith8(std::int64_t tileRows) { return tileRows == 8 ? plainKernelOf<8> : tileRows == 32 ? slowKernel<32> : slowKernel<16>; }

} // namespace

TEST_CASE("the fastest tiles take the place of the schedule's choice, in this process and in later ones") {
  const TempDir folder;
  FakeCompiler compiler;
  compiler.kernelFor = fastWith8;
  EngineOptions onDisk;
  onDisk.cacheDirectory = folder.path;
  const Engine engine = makeEngine(compiler, onDisk);
  Operands plain, tuned;
  REQUIRE(engine.forward(plain.call)->tileRows == 16);

  const Result<AutotuneReport> report = engine.autotune(tuned.call, 0.02);
  REQUIRE(report);
  CHECK(report->model == TileOptions{16, 32});
  CHECK(report->best.rows == 8);
  CHECK(report->onDisk);
  REQUIRE(report->timings.size() == 9); // 3 numbers of rows by 3 of keys
  CHECK(report->timings.front().tiles == report->model);
  for (const AutotuneReport::Timing &timing : report->timings)
    CHECK((timing.tiles.rows == 8 || timing.medianNs >= 8e6)); // the others sleep for longer
  CHECK(tuned.out == plain.out);                               // the call is computed, too

  const int compiles = compiler.calls;
  const Result<ForwardReport> after = engine.forward(plain.call);
  REQUIRE(after);
  CHECK(after->source == KernelSource::Memory);
  CHECK(after->tileRows == 8);
  Operands longer(1, 2, 2, 100, 7); // of the same class
  CHECK(engine.forward(longer.call)->tileRows == 8);

  const Engine later = makeEngine(compiler, onDisk);
  const Result<ForwardReport> found = later.forward(plain.call);
  REQUIRE(found);
  CHECK(found->source == KernelSource::Disk);
  CHECK(found->tileRows == 8);
  CHECK(compiler.calls == compiles);

  // Tuned once more, the schedule's choice is what it was, and a call that names its tiles gets them.
  CHECK(later.autotune(plain.call, 0.02)->model == TileOptions{16, 32});
  plain.call.tiles = {32, 32};
  CHECK(later.forward(plain.call)->tileRows == 32);
}

TEST_CASE("the schedule's choice stays where no other is faster") {
  FakeCompiler compiler;
  compiler.kernelFor = [](std::int64_t tileRows) -> CpuKernelFn {
    return tileRows == 8 ? slowKernel<8> : tileRows == 32 ? slowKernel<32> : plainKernel;
  };
  const Engine engine = makeEngine(compiler);
  Operands operands;
  const Result<AutotuneReport> report = engine.autotune(operands.call, 0.02);
  REQUIRE(report);
  CHECK(report->best.rows == 16);
  CHECK_FALSE(report->onDisk); // there is no disk cache
  CHECK(engine.forward(operands.call)->tileRows == 16);
}

TEST_CASE("what cannot be tuned is refused with the reason") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  Operands operands, empty(1, 2, 2, 0, 5);
  const auto why = [&](const ForwardCall &call, double seconds = 0.02) {
    const Result<AutotuneReport> report = engine.autotune(call, seconds);
    return report ? std::string("no error") : report.error().message;
  };
  CHECK(contains(why(operands.call, 0), "seconds = 0 is not positive"));
  CHECK(contains(why(empty.call), "no rows"));
  ForwardCall tiled = operands.call;
  tiled.tiles.rows = 8;
  CHECK(contains(why(tiled), "leave both 0"));
  ForwardCall broken = operands.call;
  broken.k.sizes[3] = 3;
  CHECK(contains(why(broken), "k"));
  CHECK(compiler.calls == 0);

  compiler.failure = Error{ErrorCode::Internal, "no code today"};
  CHECK(contains(why(operands.call), "no code today"));
  compiler.failure = std::nullopt;
  OverridePipeline own;
  own.name = "own";
  own.build = [](const Problem &, const PipelineContext &) -> Result<BuiltPipeline> {
    return BuiltPipeline(HostKernel([](const ForwardCall &) -> Result<void> { return {}; }));
  };
  REQUIRE(engine.registerPipeline(own));
  ForwardCall registered = operands.call;
  registered.backends = BackendSet{SDPBackend::Overrideable};
  CHECK(contains(why(registered), "'own' is a registered pipeline"));
}
