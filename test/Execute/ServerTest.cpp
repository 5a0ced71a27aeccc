// What a server needs of an engine: compilation that nobody waits for, warm-up from a manifest, unloading.
#include "EngineTestUtil.h"

#include <doctest/doctest.h>
#include <fstream>
#include <latch>
#include <sys/wait.h>
#include <thread>

using namespace attnjit;
using namespace attnjit::test;

namespace {

EngineOptions withFallback() {
  EngineOptions options;
  options.whenMissing = WhenMissing::Fallback;
  return options;
}

/// Fused kernels wait for leave; MATH compiles at once.
void delayFused(FakeCompiler &compiler, std::latch &mayCompile) {
  compiler.onCompile = [&](const compiler::KernelSpec &spec) {
    if (spec.backend != SDPBackend::Math)
      mayCompile.wait();
  };
}

std::string contentsOf(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

} // namespace

TEST_CASE("while the best kernel is made in the background, MATH computes the calls") {
  FakeCompiler compiler;
  std::latch mayCompile(1);
  delayFused(compiler, mayCompile);
  const Engine engine = makeEngine(compiler, withFallback());
  Operands expected, mine;
  {
    FakeCompiler other;
    REQUIRE(makeEngine(other).forward(expected.call));
  }
  for (int i = 0; i < 3; ++i) {
    const Result<ForwardReport> report = engine.forward(mine.call);
    REQUIRE(report);
    CHECK(report->pipeline == "MATH");
    CHECK(report->source == (i == 0 ? KernelSource::Compiled : KernelSource::Memory));
    CHECK(report->awaited == "FLASH_ATTENTION");
    CHECK(mine.out == expected.out);
  }
  CHECK(engine.counters().fallbacks == 3);
  CHECK(engine.counters().awaited == 1);
  mayCompile.count_down();
  engine.waitForCompilations();
  CHECK(engine.counters().awaited == 0);
  const Result<ForwardReport> report = engine.forward(mine.call);
  REQUIRE(report);
  CHECK(report->pipeline == "FLASH_ATTENTION");
  CHECK(report->source == KernelSource::Memory);
  CHECK(report->awaited.empty());
  CHECK(compiler.calls == 2);
  CHECK(engine.counters().fallbacks == 3);
}

TEST_CASE("a kernel of the formula that is there already serves better than MATH") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, withFallback());
  Operands mine;
  mine.call.whenMissing = WhenMissing::Wait;
  mine.call.tiles = {32, 16};
  REQUIRE(engine.forward(mine.call)); // the call's own wish wins
  CHECK(compiler.calls == 1);
  mine.call.whenMissing.reset();
  mine.call.tiles = {};
  const Result<ForwardReport> report = engine.forward(mine.call);
  REQUIRE(report);
  CHECK(report->pipeline == "FLASH_ATTENTION");
  CHECK(report->tileRows == 32);
  CHECK(report->awaited == "FLASH_ATTENTION");
  engine.waitForCompilations();
  CHECK(engine.forward(mine.call)->tileRows == 16);
  CHECK(compiler.calls == 2); // no MATH

  // But not one of a narrower class, nor one of another formula.
  std::vector<float> spread(2 * 20 * kHeadDim * 2);
  mine.call.q = TensorRef{spread.data(), DType::F32, 4, {1, 2, 20, kHeadDim}, {0, kHeadDim * 40, kHeadDim * 2, 2}};
  CHECK(engine.forward(mine.call)->pipeline == "MATH");
  Operands other;
  other.call.mod = parseMod("score + 1.5", "");
  CHECK(engine.forward(other.call)->pipeline == "MATH");
  engine.waitForCompilations();
}

TEST_CASE("a call that nothing else may compute waits") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, withFallback());
  Operands mine;
  mine.call.backends = BackendSet{SDPBackend::FlashAttention};
  const Result<ForwardReport> flash = engine.forward(mine.call);
  REQUIRE(flash);
  CHECK(flash->source == KernelSource::Compiled);
  CHECK(flash->awaited.empty());
  mine.call.backends = BackendSet{SDPBackend::Math};
  CHECK(engine.forward(mine.call)->awaited.empty());
  CHECK(engine.counters().fallbacks == 0);

  EngineOptions options = withFallback(); // nothing is kept, so nothing can be made for later
  options.memoryCacheKernels = 0;
  CHECK(makeEngine(compiler, options).forward(Operands().call)->awaited.empty());
}

TEST_CASE("what is on disk is not waited for") {
  TempDir directory;
  FakeCompiler compiler;
  EngineOptions options = withFallback();
  options.cacheDirectory = directory.path;
  Operands mine;
  mine.call.whenMissing = WhenMissing::Wait;
  REQUIRE(makeEngine(compiler, options).forward(mine.call));
  mine.call.whenMissing.reset();
  const Result<ForwardReport> report = makeEngine(compiler, options).forward(mine.call);
  REQUIRE(report);
  CHECK(report->source == KernelSource::Disk);
  CHECK(report->awaited.empty());
}

TEST_CASE("a failure in the background is the error of the calls after it") {
  FakeCompiler compiler;
  std::string logged;
  EngineOptions options = withFallback();
  options.hooks.log = [&](LogLevel level, std::string_view line) {
    if (level == LogLevel::Warning)
      logged += line;
  };
  const Engine engine = makeEngine(compiler, options);
  Operands mine;
  compiler.onCompile = [&](const compiler::KernelSpec &spec) {
    if (spec.backend == SDPBackend::FlashAttention)
      throw std::runtime_error("no luck today");
  };
  REQUIRE(engine.forward(mine.call));
  engine.waitForCompilations();
  CHECK(contains(logged, "no luck today"));
  for (int i = 0; i < 2; ++i) {
    const Result<ForwardReport> failed = engine.forward(mine.call);
    REQUIRE(!failed);
    CHECK(contains(failed.error().message, "no luck today"));
  }
  compiler.onCompile = nullptr;
  CHECK(engine.forward(mine.call)->pipeline == "FLASH_ATTENTION");
}

TEST_CASE("a schedule that refuses in the background leaves the call to the next one") {
  FakeCompiler compiler;
  compiler.refusing = SDPBackend::FlashAttention;
  const Engine engine = makeEngine(compiler, withFallback());
  Operands mine;
  CHECK(engine.forward(mine.call)->awaited == "FLASH_ATTENTION");
  engine.waitForCompilations();
  const Result<ForwardReport> report = engine.forward(mine.call);
  REQUIRE(report);
  CHECK(report->pipeline != "FLASH_ATTENTION");
  CHECK(report->awaited.empty());
}

TEST_CASE("an engine ends while it compiles in the background") {
  FakeCompiler compiler;
  std::latch mayCompile(1);
  delayFused(compiler, mayCompile);
  Operands mine;
  std::thread leave;
  {
    const Engine engine = makeEngine(compiler, withFallback());
    for (int i = 0; i < 20; ++i) {
      mine.call.mod = parseMod("score + " + std::to_string(i) + ".5", "");
      REQUIRE(engine.forward(mine.call));
    }
    leave = std::thread([&] { mayCompile.count_down(); });
  }
  leave.join();
  CHECK(compiler.calls <= 40);
}

TEST_CASE("a child of fork() compiles in the background with threads of its own") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, withFallback());
  Operands mine;
  REQUIRE(engine.forward(mine.call));
  engine.waitForCompilations();
  const pid_t child = ::fork();
  if (child == 0) {
    mine.call.mod = parseMod("score + 2.5", "");
    const bool fell = engine.forward(mine.call)->pipeline == "MATH";
    engine.waitForCompilations();
    ::_exit(fell && engine.forward(mine.call)->pipeline == "FLASH_ATTENTION" ? 0 : 1);
  }
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

TEST_CASE("a manifest brings another engine's kernels back, from disk or by compiling") {
  TempDir directory;
  const std::string manifest = directory.file("kernels.manifest");
  FakeCompiler compiler;
  EngineOptions options;
  options.cacheDirectory = directory.path;
  Operands plain, masked, wide(1, 2, 2, 20, 40);
  masked.call.mod = parseMod("score + a", "q_idx >= kv_idx", {{"a", DType::F64}});
  masked.call.captures = {{"a", 0.5}};
  wide.call.tiles = {32, 64};
  wide.call.backends = BackendSet{SDPBackend::Math};
  {
    const Engine engine = makeEngine(compiler, options);
    for (Operands *each : {&plain, &masked, &wide})
      REQUIRE(engine.forward(each->call));
    REQUIRE(engine.saveManifest(manifest));
  }
  CHECK(contains(contentsOf(manifest), "attnjit manifest 1\nchecksum = "));
  const auto served = [&](const Engine &engine) {
    for (Operands *each : {&plain, &masked, &wide})
      CHECK(engine.forward(each->call)->source == KernelSource::Memory);
  };

  compiler.calls = 0;
  const Engine fromDisk = makeEngine(compiler, options);
  Result<WarmUpReport> report = fromDisk.warmUp(manifest);
  REQUIRE(report);
  CHECK(report->fromDisk == 3);
  CHECK(report->compiled + report->present + report->skipped + report->failed == 0);
  CHECK(compiler.calls == 0);
  served(fromDisk);
  report = fromDisk.warmUp(manifest);
  REQUIRE(report);
  CHECK(report->present == 3);

  const Engine compiled = makeEngine(compiler); // no disk
  report = compiled.warmUp(manifest);
  REQUIRE(report);
  CHECK(report->compiled == 3);
  CHECK(compiler.calls == 3);
  served(compiled);

  EngineOptions small;
  small.memoryCacheKernels = 1;
  small.cacheDirectory = "";
  const Engine one = makeEngine(compiler, small);
  REQUIRE(one.warmUp(manifest));
  CHECK(one.forward(wide.call)->source == KernelSource::Memory); // the most recently used

  EngineOptions otherTarget;
  otherTarget.target = "sm_80";
  report = makeEngine(compiler, otherTarget).warmUp(manifest);
  REQUIRE(report);
  CHECK(report->skipped == 3);

  compiler.failure = Error{ErrorCode::Internal, "the test says no"};
  report = makeEngine(compiler).warmUp(manifest);
  REQUIRE(report);
  CHECK(report->failed == 3);
  CHECK(contains(report->problems, "the test says no"));
}

TEST_CASE("captures by position go by the mod's order, wherever the kernel came from") {
  static double seen[2];
  FakeCompiler compiler;
  compiler.kernel = [](const KernelArgs *args, std::int64_t, std::int64_t, void *) {
    seen[0] = args->scalars[0].f;
    seen[1] = static_cast<const float *>(args->captures[0].data)[0];
  };
  TempDir directory;
  float table[] = {7};
  Operands mine;
  mine.call.mod = parseMod("score + number + table[0]", "", {{"number", DType::F64}, {"table", DType::F32, 1}});
  mine.call.captures = {{"", 5.0}, {"", TensorRef::dense(table, DType::F32, {1})}};
  {
    const Engine engine = makeEngine(compiler);
    REQUIRE(engine.forward(mine.call));
    REQUIRE(engine.saveManifest(directory.file("manifest")));
  }
  const Engine engine = makeEngine(compiler);
  REQUIRE(engine.warmUp(directory.file("manifest")));
  const Result<Kernel> kernel = engine.prepare(mine.call);
  REQUIRE(kernel);
  CHECK(kernel->source() == KernelSource::Memory);
  seen[0] = seen[1] = 0;
  REQUIRE(kernel->forward(mine.call));
  CHECK(seen[0] == 5);
  CHECK(seen[1] == 7);
}

TEST_CASE("what is no manifest, or not intact, is refused") {
  TempDir directory;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  Operands mine;
  REQUIRE(engine.forward(mine.call));
  const std::string path = directory.file("manifest");
  REQUIRE(engine.saveManifest(path));
  const std::string whole = contentsOf(path);
  const auto errorOf = [&](const std::string &text) {
    std::ofstream(path, std::ios::binary) << text;
    const Result<WarmUpReport> report = engine.warmUp(path);
    return report ? std::string("accepted") : report.error().message;
  };
  CHECK(errorOf(whole) == "accepted");
  CHECK(contains(errorOf(whole.substr(0, whole.size() - 1)), "not intact"));
  std::string edited = whole;
  edited[edited.find("D = 8") + 4] = '9';
  CHECK(contains(errorOf(edited), "not intact"));
  CHECK(contains(errorOf(""), "no manifest of kernels"));
  CHECK(contains(errorOf("attnjit manifest 2\n"), "no manifest of kernels"));
  CHECK(!engine.warmUp(directory.file("absent")));
  CHECK(!engine.saveManifest("/there/is/no/such/place"));
}

TEST_CASE("unloading a formula forgets its kernels and no others") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  Operands mine, other, same;
  const Mod going = parseMod("score + a", "", {{"a", DType::F64}});
  mine.call.mod = same.call.mod = going;
  mine.call.captures = same.call.captures = {{"a", 1.0}};
  same.call.backends = BackendSet{SDPBackend::Math};
  for (Operands *each : {&mine, &other, &same})
    REQUIRE(engine.forward(each->call));
  CHECK(engine.counters().kernelsInMemory == 3);
  CHECK(engine.unload(going) == 2);
  CHECK(engine.unload(going) == 0);
  CHECK(engine.counters().kernelsInMemory == 1);
  CHECK(engine.forward(other.call)->source == KernelSource::Memory);
  CHECK(engine.forward(mine.call)->source == KernelSource::Compiled);
}
