// Kernels for GPUs: loaded once per process, and their PTX kept on disk for every GPU.
#include "GpuTestUtil.h"

#include <doctest/doctest.h>
#include <fstream>
#include <latch>

using namespace attnjit;
using namespace attnjit::test;

namespace {

struct Process {
  FakeDriver driver;
  Engine engine;
  GpuOperands operands;

  Process(FakeCompiler &compiler, const TempDir &temp, int device = 0)
      : engine(start(compiler, temp, device)), operands(driver, 20, 40, device) {}
  Engine start(FakeCompiler &compiler, const TempDir &temp, int device) const {
    EngineOptions options = driver.options("sm_80");
    options.device = device;
    options.cacheDirectory = temp.file("cache");
    options.threads = 1; // the driver that is none has no locks
    return makeEngine(compiler, options);
  }
  Result<ForwardReport> run() const { return engine.forward(operands.call); }
};

TEST_CASE("a later process needs no compiler, on whichever GPU") {
  const TempDir temp;
  FakeCompiler compiler;
  {
    const Process first(compiler, temp);
    REQUIRE(first.run());
    REQUIRE(first.run());
    CHECK(first.driver->count("cuModuleLoadDataEx") == 1);
  }
  for (const int device : {0, 1}) {
    const Process later(compiler, temp, device);
    const Result<ForwardReport> report = later.run();
    REQUIRE(report);
    CHECK(report->source == KernelSource::Disk);
    CHECK(later.driver->count("cuModuleLoadDataEx") == 1);
    CHECK(later.driver->launches.size() == 1);
  }
  CHECK(compiler.calls == 1);
}

TEST_CASE("what is made in the background, or from a manifest, is on the GPU before its first launch") {
  const TempDir temp;
  FakeCompiler compiler;
  std::latch mayCompile(1);
  compiler.onCompile = [&](const compiler::KernelSpec &spec) {
    if (spec.backend != SDPBackend::Math)
      mayCompile.wait();
  };
  {
    const Process process(compiler, temp);
    ForwardCall call = process.operands.call;
    call.whenMissing = WhenMissing::Fallback;
    const Result<ForwardReport> meanwhile = process.engine.forward(call);
    REQUIRE(meanwhile);
    CHECK(meanwhile->pipeline == "MATH");
    CHECK(process.driver->count("cuModuleLoadDataEx") == 1);
    mayCompile.count_down();
    process.engine.waitForCompilations();
    CHECK(process.driver->count("cuModuleLoadDataEx") == 2);
    const Result<ForwardReport> after = process.engine.forward(call);
    REQUIRE(after);
    CHECK(after->pipeline == meanwhile->awaited);
    CHECK(process.driver->count("cuModuleLoadDataEx") == 2);
    REQUIRE(process.engine.saveManifest(temp.file("manifest")));
  }
  const Process later(compiler, temp);
  const Result<WarmUpReport> warm = later.engine.warmUp(temp.file("manifest"));
  REQUIRE(warm);
  CHECK(warm->fromDisk == 2);
  CHECK(later.driver->count("cuModuleLoadDataEx") == 2);
  REQUIRE(later.run());
  CHECK(later.driver->count("cuModuleLoadDataEx") == 2);

  // Without a GPU there is nothing to load, and the launch will say so.
  const Process without(compiler, temp);
  without.driver->failures["cuInit"] = 100;
  CHECK(without.engine.warmUp(temp.file("manifest"))->fromDisk == 2);
}

TEST_CASE("what the driver did not take is tried again") {
  const TempDir temp;
  FakeCompiler compiler;
  Process process(compiler, temp);
  process.driver->failures["cuModuleLoadDataEx"] = 200;
  CHECK(!process.run());
  process.driver->failures.clear();
  CHECK(process.run());
  CHECK(process.driver->count("cuModuleLoadDataEx") == 2);
}

TEST_CASE("a corrupt entry is a miss") {
  const TempDir temp;
  FakeCompiler compiler;
  REQUIRE(Process(compiler, temp).run());
  for (const auto &entry : std::filesystem::directory_iterator(temp.file("cache"))) {
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-3, std::ios::end);
    file.put('!');
  }
  const Process second(compiler, temp);
  REQUIRE(second.run());
  CHECK(compiler.calls == 2);
  CHECK(second.engine.counters().diskRejects == 1);
}

TEST_CASE("two engines of a process share what is loaded") {
  const TempDir temp;
  FakeCompiler compiler;
  const Process process(compiler, temp);
  REQUIRE(process.run());
  const Engine other = makeEngine(compiler, process.driver.options("sm_80"));
  REQUIRE(other.forward(process.operands.call));
  CHECK(process.driver->count("cuModuleLoadDataEx") == 1);
}

} // namespace
