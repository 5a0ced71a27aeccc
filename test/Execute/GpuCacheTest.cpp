// Assembled kernels: loaded once per process, and kept on disk for each architecture and driver.
#include "GpuTestUtil.h"

#include <doctest/doctest.h>
#include <fstream>

using namespace attnjit;
using namespace attnjit::test;

namespace {

struct Process {
  FakeDriver driver;
  Engine engine;
  GpuOperands operands;

  Process(FakeCompiler &compiler, const TempDir &temp, int version = 12080, int device = 0)
      : engine(start(compiler, temp, version, device)), operands(driver, 20, 40, device) {}
  Engine start(FakeCompiler &compiler, const TempDir &temp, int version, int device) const {
    driver->version = version;
    EngineOptions options = driver.options("sm_80");
    options.device = device;
    options.cacheDirectory = temp.file("cache");
    return makeEngine(compiler, options);
  }
  Result<ForwardReport> run() const { return engine.forward(operands.call); }
};

TEST_CASE("a later process needs neither compiler nor assembler") {
  const TempDir temp;
  FakeCompiler compiler;
  {
    const Process first(compiler, temp);
    REQUIRE(first.run());
    CHECK(first.driver->count("cuLinkComplete") == 1);
    CHECK(first.engine.counters().cubinWrites == 1);
    CHECK(first.engine.counters().cubinHits == 0);
    REQUIRE(first.run());
    CHECK(first.driver->count("cuModuleLoadData") == 1);
  }
  const Process second(compiler, temp);
  const Result<ForwardReport> report = second.run();
  REQUIRE(report);
  CHECK(report->source == KernelSource::Disk);
  CHECK(compiler.calls == 1);
  CHECK(second.driver->count("cuLinkCreate_v2") == 0);
  CHECK(second.driver->count("cuModuleLoadData") == 1);
  CHECK(second.engine.counters().cubinHits == 1);
  CHECK(second.driver->launches.size() == 1);
}

TEST_CASE("another driver and another architecture assemble for themselves") {
  const TempDir temp;
  FakeCompiler compiler;
  REQUIRE(Process(compiler, temp).run());
  for (const auto &[version, device] : {std::pair{13000, 0}, {12080, 1}}) {
    const Process other(compiler, temp, version, device);
    REQUIRE(other.run());
    CHECK(other.driver->count("cuLinkComplete") == 1);
    CHECK(other.engine.counters().cubinWrites == 1);
    CHECK(other.engine.counters().diskHits == 1); // the PTX serves all
  }
  CHECK(compiler.calls == 1);
}

TEST_CASE("an entry that the driver does not take is made anew") {
  const TempDir temp;
  FakeCompiler compiler;
  REQUIRE(Process(compiler, temp).run());
  Process second(compiler, temp);
  second.driver->failures["cuModuleLoadData"] = 200;
  CHECK(!second.run());
  CHECK(second.driver->count("cuLinkComplete") == 1); // it was tried
  second.driver->failures.clear();
  CHECK(second.run());
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
  CHECK(second.driver->count("cuLinkComplete") == 1);
  CHECK(second.engine.counters().diskRejects == 2);
}

TEST_CASE("two engines of a process share what is loaded") {
  const TempDir temp;
  FakeCompiler compiler;
  const Process process(compiler, temp);
  REQUIRE(process.run());
  const Engine other = makeEngine(compiler, process.driver.options("sm_80"));
  REQUIRE(other.forward(process.operands.call));
  CHECK(process.driver->count("cuModuleLoadData") == 1);
}

} // namespace
