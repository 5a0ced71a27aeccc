// The memory cache: single flight, least recently used, errors, eviction under a running launch.
#include "EngineTestUtil.h"

#include <chrono>
#include <doctest/doctest.h>
#include <latch>
#include <thread>

using namespace attnjit;
using namespace attnjit::test;

namespace {

/// Runs body(i) on `count` threads that start together.
void onThreads(int count, const std::function<void(int)> &body) {
  std::latch start(count);
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i)
    threads.emplace_back([&, i] {
      start.arrive_and_wait();
      body(i);
    });
  for (std::thread &thread : threads)
    thread.join();
}

/// A different kernel for each i: the constant is part of the formula.
Mod numberedMod(int i) { return parseMod("score + " + std::to_string(i) + ".5", ""); }

} // namespace

TEST_CASE("32 threads that ask for one kernel compile it once") {
  FakeCompiler compiler;
  compiler.onCompile = [](const compiler::KernelSpec &) { std::this_thread::sleep_for(std::chrono::milliseconds(50)); };
  const Engine engine = makeEngine(compiler);
  Operands expected;
  REQUIRE(makeEngine(compiler).forward(expected.call));
  compiler.calls = 0;

  std::atomic<int> compiled{0}, failed{0}, wrong{0};
  onThreads(32, [&](int) {
    Operands mine;
    Result<ForwardReport> report = engine.forward(mine.call);
    failed += !report;
    if (report)
      compiled += report->source == KernelSource::Compiled;
    wrong += mine.out != expected.out;
  });
  CHECK(failed == 0);
  CHECK(wrong == 0);
  CHECK(compiled == 1);
  CHECK(compiler.calls == 1);
  const EngineCounters counters = engine.counters();
  CHECK(counters.compiles == 1);
  CHECK(counters.memoryMisses == 1);
  CHECK(counters.memoryHits == 31);
  CHECK(counters.launches == 32);
}

TEST_CASE("32 different kernels compile at once, each once") {
  FakeCompiler compiler;
  std::atomic<int> inside{0}, most{0};
  compiler.onCompile = [&](const compiler::KernelSpec &) {
    const int now = ++inside;
    for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    --inside;
  };
  const Engine engine = makeEngine(compiler);
  std::atomic<int> failed{0};
  onThreads(32, [&](int i) {
    Operands mine;
    mine.call.mod = numberedMod(i);
    failed += !engine.forward(mine.call);
  });
  CHECK(failed == 0);
  CHECK(engine.counters().compiles == 32);
  CHECK(engine.counters().kernelsInMemory == 32);
  CHECK_MESSAGE(most > 1, "no two compilations overlapped");
}

TEST_CASE("a failed compile wakes all waiters with the error and is not kept") {
  FakeCompiler compiler;
  compiler.onCompile = [](const compiler::KernelSpec &) { std::this_thread::sleep_for(std::chrono::milliseconds(50)); };
  compiler.failure = Error{ErrorCode::Internal, "the test says no"};
  const Engine engine = makeEngine(compiler);
  std::atomic<int> told{0};
  onThreads(8, [&](int) {
    Operands mine;
    Result<ForwardReport> report = engine.forward(mine.call);
    told += !report && report.error().message == "the test says no" && report.error().code == ErrorCode::Internal;
  });
  CHECK(told == 8);
  CHECK(engine.counters().compiles == 0);
  CHECK(engine.counters().compileFailures == static_cast<std::uint64_t>(compiler.calls));
  CHECK(engine.counters().kernelsInMemory == 0);

  compiler.failure.reset();
  Operands mine;
  CHECK(engine.forward(mine.call));
  CHECK(engine.counters().compiles == 1);
}

TEST_CASE("a compiler that throws is an internal error, not the end of the process") {
  FakeCompiler compiler;
  compiler.onCompile = [](const compiler::KernelSpec &) { throw std::runtime_error("boom"); };
  const Engine engine = makeEngine(compiler);
  Operands mine;
  Result<ForwardReport> report = engine.forward(mine.call);
  REQUIRE(!report);
  CHECK(report.error().code == ErrorCode::Internal);
  CHECK(contains(report.error().message, "boom"));
}

TEST_CASE("lengths, batch, heads, strides and captured numbers never compile again; what is compiled in does") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  const Mod mod = parseMod("score * a", "", {{"a", DType::F64}});
  auto run = [&](Operands &operands, double a) {
    operands.call.mod = mod;
    operands.call.captures = {{"a", a}};
    return engine.forward(operands.call);
  };
  Operands first, longer(1, 2, 2, 100, 7), wider(3, 4, 1, 20, 40), strided;
  REQUIRE(run(first, 1.5));
  CHECK(run(longer, 2.5)->source == KernelSource::Memory);
  CHECK(run(wider, -1.0)->source == KernelSource::Memory);
  std::vector<float> spread(20 * 2 * kHeadDim * 3);
  strided.call.q = TensorRef{spread.data(), DType::F32, 4, {1, 2, 20, kHeadDim}, {0, kHeadDim * 20 * 3, kHeadDim * 3, 1}};
  CHECK(run(strided, 1.0)->source == KernelSource::Memory);
  CHECK(compiler.calls == 1);

  strided.call.q.strides = {0, 1, 2 * kHeadDim, 2};
  CHECK(run(strided, 1.0)->source == KernelSource::Compiled); // another stride class
  Operands other(1, 2, 2, 20, 40, 4);
  other.call.mod = mod;
  other.call.captures = {{"a", 1.0}};
  CHECK(engine.prepare(other.call)->source() == KernelSource::Compiled); // another D
  CHECK(compiler.calls == 3);
}

TEST_CASE("a capacity of 0 keeps nothing, and concurrent askers still share one making") {
  FakeCompiler compiler;
  EngineOptions options;
  options.memoryCacheKernels = 0;
  const Engine engine = makeEngine(compiler, options);
  Operands mine;
  REQUIRE(engine.forward(mine.call));
  REQUIRE(engine.forward(mine.call));
  CHECK(compiler.calls == 2);
  CHECK(engine.counters().kernelsInMemory == 0);
}

TEST_CASE("the least recently used kernel leaves first") {
  FakeCompiler compiler;
  EngineOptions options;
  options.memoryCacheKernels = 2;
  const Engine engine = makeEngine(compiler, options);
  Operands mine;
  auto source = [&](int i) {
    mine.call.mod = numberedMod(i);
    return engine.forward(mine.call)->source;
  };
  CHECK(source(0) == KernelSource::Compiled);
  CHECK(source(1) == KernelSource::Compiled);
  CHECK(source(0) == KernelSource::Memory);
  CHECK(source(2) == KernelSource::Compiled); // 1 leaves
  CHECK(source(0) == KernelSource::Memory);
  CHECK(source(1) == KernelSource::Compiled);
  CHECK(engine.counters().evictions == 2);
  CHECK(engine.counters().kernelsInMemory == 2);
}

TEST_CASE("the byte limit evicts too") {
  FakeCompiler compiler;
  Operands mine;
  mine.call.mod = numberedMod(0);
  const Engine unbounded = makeEngine(compiler);
  REQUIRE(unbounded.forward(mine.call));
  const std::size_t one = unbounded.counters().bytesInMemory;
  CHECK(one > 4096); // a whole page of code, and what is known about it
  CHECK(one < 16384);
  EngineOptions options;
  options.memoryCacheBytes = 2 * one + 100;
  const Engine engine = makeEngine(compiler, options);
  for (int i = 0; i < 3; ++i) {
    mine.call.mod = numberedMod(i);
    REQUIRE(engine.forward(mine.call));
  }
  CHECK(engine.counters().kernelsInMemory == 2);
  CHECK(engine.counters().bytesInMemory == 2 * one);
  CHECK(engine.counters().evictions == 1);
}

namespace {
std::latch *launchRuns = nullptr, *mayReturn = nullptr;

void slowKernel(const KernelArgs *args, std::int64_t begin, std::int64_t end, void *workspace) {
  launchRuns->count_down();
  mayReturn->wait();
  plainKernel(args, begin, end, workspace);
}
} // namespace

TEST_CASE("evicting and clearing leave a running launch its code") {
  FakeCompiler compiler;
  compiler.kernel = slowKernel;
  EngineOptions options;
  options.memoryCacheKernels = 1;
  const Engine engine = makeEngine(compiler, options);
  std::latch runs(1), release(1);
  launchRuns = &runs;
  mayReturn = &release;

  Operands slow;
  slow.call.threads = 1;
  bool ok = false;
  std::thread launch([&] { ok = bool(engine.forward(slow.call)); });
  runs.wait();
  compiler.kernel = plainKernel;
  Operands other;
  other.call.mod = numberedMod(1);
  REQUIRE(engine.forward(other.call)); // evicts the running one
  engine.clearMemoryCache();
  CHECK(engine.counters().evictions == 1);
  CHECK(engine.counters().kernelsInMemory == 0);
  release.count_down();
  launch.join();
  CHECK(ok);
  CHECK(slow.out == other.out);
}

TEST_CASE("numbers of a mod-naming expression never compile again, and every kernel keeps its own") {
  static std::int64_t seen;
  FakeCompiler compiler;
  compiler.kernel = [](const KernelArgs *args, std::int64_t, std::int64_t, void *) { seen = args->scalars[0].i; };
  TempDir temp;
  const Engine engine = makeEngine(compiler);
  const auto window = [](int size) {
    const std::string naming = "window(" + std::to_string(size) + ")";
    const Result<Mod> mod = Mod::parse(ModText{
        .maskMod = naming,
        .module = "def window(size):\n    return lambda b, h, q, kv: (q >= kv) & (q - kv < size)\n",
    });
    REQUIRE(mod);
    CHECK(mod->captures().empty());
    return *mod;
  };
  Operands mine;
  mine.call.mod = window(2);
  Result<Kernel> two = engine.prepare(mine.call);
  mine.call.mod = window(5);
  Result<Kernel> five = engine.prepare(mine.call);
  REQUIRE(two);
  REQUIRE(five);
  CHECK(compiler.calls == 1);
  CHECK(engine.counters().compiles == 1);
  CHECK(five->source() == KernelSource::Memory);
  for (const auto &[size, kernel] : {std::pair(2, *two), std::pair(5, *five)}) {
    mine.call.mod = Mod(); // a kernel carries its formula
    REQUIRE(kernel.forward(mine.call));
    CHECK(seen == size);
    const std::string file = temp.file("window" + std::to_string(size));
    REQUIRE(kernel.save(file));
    const Result<Kernel> loaded = Kernel::load(file);
    REQUIRE(loaded);
    seen = 0;
    REQUIRE(loaded->forward(mine.call));
    CHECK(seen == size);
    CHECK(loaded->mod().canonicalText() == window(size).canonicalText());
  }
  mine.call.mod = window(9);
  REQUIRE(engine.forward(mine.call));
  CHECK(seen == 9);
  CHECK(compiler.calls == 1);
}

TEST_CASE("tensors that a text makes never compile again, and every kernel keeps its own") {
  static std::vector<std::int64_t> seen;
  TempDir temp;
  EngineOptions options;
  options.cacheDirectory = temp.path;
  FakeCompiler compiler;
  compiler.kernel = [](const KernelArgs *args, std::int64_t, std::int64_t, void *) {
    const auto *first = static_cast<const std::int64_t *>(args->captures[0].data);
    seen.assign(first, first + args->captures[0].sizes[0]);
  };
  const Engine engine = makeEngine(compiler, options);
  const auto table = [](const std::string &lengths) {
    const std::string naming = "documents([" + lengths + "])";
    const Result<Mod> mod = Mod::parse(ModText{.maskMod = naming, .module = R"(
def documents(lengths):
    ids = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    return lambda b, h, q, kv: ids[q % len(lengths)] == ids[kv % len(lengths)]
)"});
    REQUIRE(mod);
    CHECK(mod->captures().empty());
    return *mod;
  };
  Operands mine;
  mine.call.mod = table("1, 2");
  const Result<Kernel> one = engine.prepare(mine.call);
  REQUIRE(one);
  mine.call.mod = table("2, 3");
  const Result<Kernel> two = engine.prepare(mine.call);
  REQUIRE(two);
  CHECK(compiler.calls == 1);
  CHECK(two->source() == KernelSource::Memory);
  const std::vector<std::int64_t> first{0, 1, 1}, second{0, 0, 1, 1, 1};
  for (const auto &[wanted, kernel] : {std::pair(first, *one), std::pair(second, *two)}) {
    mine.call.mod = Mod(); // a kernel carries its formula
    REQUIRE(kernel.forward(mine.call));
    CHECK(seen == wanted);
    const std::string file = temp.file("documents");
    REQUIRE(kernel.save(file));
    const Result<Kernel> loaded = Kernel::load(file);
    REQUIRE(loaded);
    seen.clear();
    REQUIRE(loaded->forward(mine.call));
    CHECK(seen == wanted);
    CHECK(loaded->mod().captures().empty());
  }
  FakeCompiler other;
  other.kernel = compiler.kernel;
  const Engine fresh = makeEngine(other, options);
  mine.call.mod = table("3, 1");
  const Result<ForwardReport> report = fresh.forward(mine.call);
  REQUIRE(report);
  CHECK(report->source == KernelSource::Disk);
  CHECK(seen == std::vector<std::int64_t>{0, 0, 0, 1});
}

TEST_CASE("a kernel on disk serves other numbers of a mod-naming expression") {
  static double seen;
  TempDir temp;
  const std::string_view module = "def cap(limit):\n    return lambda s, b, h, q, kv: limit * torch.tanh(s / limit)\n";
  for (const double limit : {20.0, 30.5}) {
    FakeCompiler compiler;
    compiler.kernel = [](const KernelArgs *args, std::int64_t, std::int64_t, void *) { seen = args->scalars[0].f; };
    EngineOptions options;
    options.cacheDirectory = temp.path;
    const Engine engine = makeEngine(compiler, options);
    const Result<Mod> mod = Mod::parse(ModText{.scoreMod = limit == 20.0 ? "cap(20.0)" : "cap(30.5)", .module = module});
    REQUIRE(mod);
    Operands mine;
    mine.call.mod = *mod;
    const Result<ForwardReport> report = engine.forward(mine.call);
    REQUIRE(report);
    CHECK(seen == limit);
    CHECK(report->source == (limit == 20.0 ? KernelSource::Compiled : KernelSource::Disk));
    const Result<Kernel> kernel = engine.prepare(mine.call);
    REQUIRE(kernel);
    CHECK(kernel->mod().canonicalText() == mod->canonicalText());
    CHECK(kernel->problemText().ends_with(mod->canonicalText()));
  }
}

TEST_CASE("sizes of captured tensors reach the kernel and never compile again") {
  static std::int64_t seen;
  FakeCompiler compiler;
  compiler.kernel = [](const KernelArgs *args, std::int64_t, std::int64_t, void *) { seen = args->scalars[0].i; };
  const Engine engine = makeEngine(compiler);
  Operands mine;
  mine.call.mod = parseMod("score + t[kv_idx % len(t)]", "", {{"t", DType::F32, 1}});
  std::vector<float> table(9);
  for (const std::int64_t size : {3, 9}) {
    mine.call.captures = {{"t", TensorRef::dense(table.data(), DType::F32, {size})}};
    REQUIRE(engine.forward(mine.call));
    CHECK(seen == size);
  }
  CHECK(compiler.calls == 1);
}
