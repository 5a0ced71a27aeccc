// The engine with its real compiler: text in, attention out, through every room. Skipped (exit status 77) where there is no compiler.
#define DOCTEST_CONFIG_IMPLEMENT
#include "CountingNew.h"
#include "Engine/ModImpl.h"
#include "EngineTestUtil.h"
#include "Reference/Reference.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <doctest/doctest.h>
#include <thread>

using namespace attnjit;
using namespace attnjit::test;

namespace {

Engine realEngine(EngineOptions options = {}) {
  if (!options.cacheDirectory)
    options.cacheDirectory = "";
  Result<Engine> engine = Engine::create(std::move(options));
  if (!engine)
    std::abort();
  return *engine;
}

/// Runs the call and compares out and lse with the f64 reference.
void checkAgainstReference(const Engine &engine, Operands &operands, double tolerance = 2e-5) {
  operands.call.lse = operands.rows(operands.lse);
  Result<ForwardReport> report = engine.forward(operands.call);
  REQUIRE_MESSAGE(report, report.error().message);

  const ModImpl &mod = operands.call.mod.impl();
  std::vector<TensorRef> captures;
  std::vector<ScalarArg> scalars;
  for (const CaptureArgument &argument : operands.call.captures) {
    if (const auto *tensor = std::get_if<TensorRef>(&argument.value))
      captures.push_back(*tensor);
    else
      scalars.push_back({.f = std::get<double>(argument.value)});
  }
  reference::Call call;
  call.formula = &mod.formula;
  call.bindings = {captures, scalars};
  call.q = operands.call.q;
  call.k = operands.call.k;
  call.v = operands.call.v;
  const reference::Output expected = reference::forwardF64(call);
  double worst = 0;
  for (std::size_t i = 0; i < operands.out.size(); ++i)
    worst = std::max(worst, std::abs(expected.out[i] - operands.out[i]));
  CHECK(worst < tolerance);
  for (std::size_t i = 0; i < operands.lse.size(); ++i)
    if (std::isinf(expected.lse[i]))
      CHECK(operands.lse[i] == expected.lse[i]);
    else
      CHECK(std::abs(operands.lse[i] - expected.lse[i]) < 1e-4);
}

constexpr std::int64_t kDim = 64;

struct Large : Operands {
  explicit Large(std::int64_t S, std::int64_t H = 2) : Operands(1, H, H, S, S, kDim) {}
};

} // namespace

TEST_CASE("formulas through every pipeline agree with the reference") {
  const Engine engine = realEngine();
  std::vector<float> slopes = {0.5f, 0.25f, 0.125f, 0.0625f};
  for (SDPBackend backend : {SDPBackend::FlashAttention, SDPBackend::EfficientAttention, SDPBackend::Math}) {
    CAPTURE(name(backend));
    Operands operands(2, 4, 2, 60, 133, 40);
    operands.call.backends = BackendSet{backend};
    checkAgainstReference(engine, operands);
    operands.call.mod = parseMod("", "q_idx >= kv_idx");
    checkAgainstReference(engine, operands);
    operands.call.mod = parseMod("20.0 * torch.tanh(score / 20.0)", "(q_idx >= kv_idx) & (q_idx - kv_idx < 30)");
    checkAgainstReference(engine, operands);
    operands.call.mod = parseMod("score", "kv_idx < q_idx - 40"); // most rows see nothing
    checkAgainstReference(engine, operands);
    operands.call.mod = parseMod("score + slopes[h] * (kv_idx - q_idx) * a", "", {{"slopes", DType::F32, 1}, {"a", DType::F64}});
    operands.call.captures = {{"slopes", TensorRef::dense(slopes.data(), DType::F32, {4})}, {"a", 0.3}};
    checkAgainstReference(engine, operands, 1e-4);
  }
}

TEST_CASE("lengths of 0, 1 and their neighbours") {
  const Engine engine = realEngine();
  for (SDPBackend backend : {SDPBackend::FlashAttention, SDPBackend::EfficientAttention, SDPBackend::Math})
    for (auto [M, N] : {std::pair<std::int64_t, std::int64_t>{1, 1}, {5, 0}, {1, 300}, {300, 1}, {129, 127}}) {
      if (backend == SDPBackend::EfficientAttention && M > 64)
        continue;
      CAPTURE(name(backend));
      CAPTURE(M);
      CAPTURE(N);
      Operands operands(1, 2, 1, M, N, 24);
      operands.call.backends = BackendSet{backend};
      operands.call.mod = parseMod("", "q_idx >= kv_idx");
      checkAgainstReference(engine, operands);
    }
}

TEST_CASE("a document mask goes by the host's plan") {
  const Engine engine = realEngine();
  Operands planned(1, 2, 2, 300, 300, 32);
  std::vector<std::int32_t> document(300);
  for (int i = 0; i < 300; ++i)
    document[i] = i / 70;
  planned.call.mod = parseMod("", "doc[q_idx] == doc[kv_idx]", {{"doc", DType::I32, 1}});
  planned.call.captures = {{"doc", TensorRef::dense(document.data(), DType::I32, {300})}};
  checkAgainstReference(engine, planned);
  const PlanStatistics plan = engine.forward(planned.call)->plan;
  CHECK(plan.hostPlan);
  CHECK(plan.visibleBlocks < plan.totalBlocks);
}

TEST_CASE("the first out-of-range position is reported, whatever the number of threads") {
  const Engine engine = realEngine();
  std::vector<float> table(500);
  for (SDPBackend backend : {SDPBackend::FlashAttention, SDPBackend::Math})
    for (int threads : {1, 2}) {
      Operands operands(1, 4, 4, 600, 600, 16);
      operands.call.backends = BackendSet{backend};
      operands.call.threads = threads;
      operands.call.mod = parseMod("score + t[kv_idx + h]", "q_idx >= kv_idx", {{"t", DType::F32, 1}});
      operands.call.captures = {{"t", TensorRef::dense(table.data(), DType::F32, {500})}};
      Result<ForwardReport> report = engine.forward(operands.call);
      REQUIRE(!report);
      CHECK(report.error().code == ErrorCode::IndexOutOfRange);
      CHECK_MESSAGE(contains(report.error().message, "b = 0, h = 0, q_idx = 500, kv_idx = 500"), report.error().message);
    }
}

TEST_CASE("32 threads, one real compilation") {
  const Engine engine = realEngine();
  std::vector<std::thread> threads;
  std::atomic<int> failed{0};
  for (int i = 0; i < 32; ++i)
    threads.emplace_back([&] {
      Operands mine;
      mine.call.mod = parseMod("score * 0.125", "q_idx >= kv_idx");
      failed += !engine.forward(mine.call);
    });
  for (std::thread &thread : threads)
    thread.join();
  CHECK(failed == 0);
  CHECK(engine.counters().compiles == 1);
}

TEST_CASE("different kernels compile side by side") {
  const Engine engine = realEngine();
  std::vector<std::thread> threads;
  std::atomic<int> failed{0};
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      Operands mine;
      mine.call.mod = parseMod("score + " + std::to_string(i) + ".25", "");
      failed += !engine.forward(mine.call);
    });
  for (std::thread &thread : threads)
    thread.join();
  CHECK(failed == 0);
  CHECK(engine.counters().compiles == 8);
}

TEST_CASE("the disk cache serves an engine that has no compiler") {
  TempDir temp;
  EngineOptions options;
  options.cacheDirectory = temp.file("cache");
  Operands mine, again;
  REQUIRE(realEngine(options).forward(mine.call));
  options.compilerLibrary = "/nowhere/libattnjit-compiler.so";
  Result<ForwardReport> report = realEngine(options).forward(again.call);
  REQUIRE(report);
  CHECK(report->source == KernelSource::Disk);
  CHECK(again.out == mine.out);
}

namespace {

/// An engine whose scratch memory is watched.
struct WatchedEngine {
  std::atomic<std::size_t> live{0}, most{0};
  Engine engine;

  explicit WatchedEngine(int threads) : engine(realEngine(watched(threads))) {}

private:
  EngineOptions watched(int threads) {
    EngineOptions options;
    options.threads = threads;
    options.hooks.memory.allocate = [this](std::size_t bytes, std::size_t alignment) {
      const std::size_t now = live += bytes;
      for (std::size_t seen = most; now > seen && !most.compare_exchange_weak(seen, now);) {
      }
      return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    };
    options.hooks.memory.free = [this](void *memory, std::size_t bytes, std::size_t) {
      live -= bytes;
      std::free(memory);
    };
    return options;
  }
};

} // namespace

TEST_CASE("FLASH allocates nothing that grows with M * N") {
  WatchedEngine watched(2);
  std::size_t scratch[2], most[2], news[2];
  int round = 0;
  for (std::int64_t S : {512, 2048}) {
    Large operands(S);
    operands.call.mod = parseMod("", "q_idx >= kv_idx");
    watched.most = watched.live.load();
    REQUIRE(watched.engine.forward(operands.call)); // compiles the first time
    largestNew = 0;
    Result<ForwardReport> report = watched.engine.forward(operands.call);
    REQUIRE(report);
    CHECK(report->backend == SDPBackend::FlashAttention);
    scratch[round] = watched.live;
    most[round] = watched.most;
    news[round++] = largestNew;
  }
  CHECK(scratch[0] > 0);
  CHECK(scratch[0] == scratch[1]);
  CHECK(most[0] == scratch[0]); // what is kept is all there ever was
  CHECK(most[1] == scratch[1]);
  CHECK(news[0] < 4096);
  CHECK(news[1] < 4096);
}

TEST_CASE("the host's plan of a document mask grows with the rows, not with M * N") {
  WatchedEngine watched(2);
  std::size_t most[2];
  int round = 0;
  for (std::int64_t S : {2048, 16384}) {
    Large operands(S, 1);
    std::vector<std::int32_t> document(static_cast<std::size_t>(S));
    for (std::size_t i = 0; i < document.size(); ++i)
      document[i] = static_cast<std::int32_t>(i / 100);
    operands.call.mod = parseMod("", "doc[q_idx] == doc[kv_idx]", {{"doc", DType::I32, 1}});
    operands.call.captures = {{"doc", TensorRef::dense(document.data(), DType::I32, {S})}};
    watched.most = watched.live.load();
    REQUIRE(watched.engine.forward(operands.call));
    largestNew = 0;
    Result<ForwardReport> report = watched.engine.forward(operands.call);
    REQUIRE(report);
    CHECK(report->plan.hostPlan);
    // A run is 24 bytes, and a tile of this mask has about three of them.
    const std::int64_t tiles = (S + report->tileRows - 1) / report->tileRows;
    CHECK(largestNew < 4096 + 64 * static_cast<std::size_t>(tiles));
    most[round++] = watched.most;
  }
  CHECK(most[0] == most[1]);
}

TEST_CASE("A11: EFFICIENT gives the same bits for any number of threads, and to a sequence in any batch") {
  const Engine engine = realEngine();
  Operands three(3, 4, 2, 3, 5000, 64);
  three.call.backends = BackendSet{SDPBackend::EfficientAttention};
  three.call.mod = parseMod("score + 0.1 * h", "kv_idx <= q_idx + 4990");
  three.call.lse = three.rows(three.lse);
  three.call.threads = 1;
  REQUIRE(engine.forward(three.call));
  const std::vector<float> out = three.out, lse = three.lse;
  for (int threads : {2, 3, 8}) {
    std::fill(three.out.begin(), three.out.end(), -1.0f);
    three.call.threads = threads;
    Result<ForwardReport> report = engine.forward(three.call);
    REQUIRE(report);
    CHECK(report->workers == threads);
    CHECK(three.out == out);
    CHECK(three.lse == lse);
  }
  // Each sequence alone: the same views, one batch at a time.
  for (std::int64_t b = 0; b < 3; ++b) {
    std::fill(three.out.begin(), three.out.end(), -1.0f);
    ForwardCall alone = three.call;
    for (TensorRef *tensor : {&alone.q, &alone.k, &alone.v, &alone.out, &*alone.lse}) {
      tensor->data = static_cast<float *>(tensor->data) + b * tensor->strides[0];
      tensor->sizes[0] = 1;
    }
    REQUIRE(engine.forward(alone));
    const std::size_t size = out.size() / 3, begin = static_cast<std::size_t>(b) * size;
    CHECK(std::equal(out.begin() + static_cast<std::ptrdiff_t>(begin), out.begin() + static_cast<std::ptrdiff_t>(begin + size),
                     three.out.begin() + static_cast<std::ptrdiff_t>(begin)));
  }
  three.call.threads = 1;
  checkAgainstReference(engine, three);
}

TEST_CASE("A11: parts in two rounds give the same bits for any number of threads and beside any other call") {
  const Engine engine = realEngine();
  Operands two(2, 4, 2, 3, 5000, 64), one(1, 8, 8, 1, 3000, 32);
  two.call.mod = *Mod::parse({.scoreMod = "score + 0.1 * h", .maskMod = "kv_idx <= q_idx + 4990", .probMod = "p + p * p"});
  for (Operands *operands : {&two, &one}) {
    operands->call.backends = BackendSet{SDPBackend::EfficientAttention};
    operands->call.lse = operands->rows(operands->lse);
    operands->call.threads = 1;
    REQUIRE(engine.forward(operands->call));
  }
  const std::vector<float> outs[] = {two.out, one.out}, lses[] = {two.lse, one.lse};
  for (int threads : {2, 3, 8}) {
    std::fill(two.out.begin(), two.out.end(), -1.0f);
    two.call.threads = threads;
    Result<ForwardReport> report = engine.forward(two.call);
    REQUIRE(report);
    CHECK(report->workers == threads);
    CHECK(two.out == outs[0]);
    CHECK(two.lse == lses[0]);
  }
  // In a group with a kernel of one round.
  for (int threads : {1, 2, 5}) {
    EngineOptions options;
    options.threads = threads;
    for (Operands *operands : {&two, &one}) {
      operands->call.threads = 0;
      std::fill(operands->out.begin(), operands->out.end(), -1.0f);
    }
    const ForwardCall calls[] = {one.call, two.call};
    REQUIRE(realEngine(options).forwardGrouped(calls));
    CHECK(two.out == outs[0]);
    CHECK(two.lse == lses[0]);
    CHECK(one.out == outs[1]);
    CHECK(one.lse == lses[1]);
  }
  two.call.threads = 1;
  checkAgainstReference(engine, two);
}

TEST_CASE("EFFICIENT's states stay small beside K and V") {
  WatchedEngine watched(1);
  for (auto [M, N] : {std::pair<std::int64_t, std::int64_t>{1, 40000}, {64, 8000}}) {
    Operands mine(1, 2, 1, M, N, 64);
    mine.call.backends = BackendSet{SDPBackend::EfficientAttention};
    watched.most = 0;
    REQUIRE(watched.engine.forward(mine.call));
    CHECK(watched.most < (mine.k.size() + mine.v.size()) * sizeof(float) / 4);
  }
}

TEST_CASE("stages can be watched and stopped at") {
  const Engine engine = realEngine();
  Operands mine;
  for (TensorRef *tensor : {&mine.call.q, &mine.call.k, &mine.call.v, &mine.call.out})
    tensor->data = nullptr; // shapes are enough
  std::vector<std::string> stages;
  StageOptions options;
  options.onStage = [&](std::string_view stage, std::string_view text) {
    stages.emplace_back(stage);
    CHECK(!text.empty());
  };
  Result<Kernel> kernel = engine.compileStages(mine.call, options);
  REQUIRE(kernel);
  CHECK(kernel->codeBytes() > 0);
  CHECK(std::find(stages.begin(), stages.end(), "attn") != stages.end());
  CHECK(std::find(stages.begin(), stages.end(), "asm") != stages.end());
  options.stopAfter = "tile";
  stages.clear();
  kernel = engine.compileStages(mine.call, options);
  REQUIRE(kernel);
  CHECK(kernel->codeBytes() == 0);
  CHECK(stages.back() == "tile");
  options.stopAfter = "brick";
  CHECK(contains(engine.compileStages(mine.call, options).error().message, "brick"));
  CHECK(contains(engine.compileFrom("brick", "", {}).error().message, "brick"));
  CHECK(!engine.compileFrom("attn", "not a module", {}));
}

TEST_CASE("odd tile sizes are served or refused with a reason, never miscomputed") {
  const Engine engine = realEngine();
  for (SDPBackend backend : {SDPBackend::FlashAttention, SDPBackend::EfficientAttention, SDPBackend::Math})
    for (auto [rows, cols] : {std::pair<std::int64_t, std::int64_t>{1, 1}, {7, 5}, {48, 33}, {1000, 4096}}) {
      CAPTURE(name(backend));
      CAPTURE(rows);
      CAPTURE(cols);
      Operands mine(1, 2, 1, 60, 90, 24);
      mine.call.tiles = {rows, cols};
      mine.call.backends = BackendSet{backend};
      mine.call.mod = parseMod("", "q_idx >= kv_idx");
      Result<Kernel> kernel = engine.prepare(mine.call);
      if (kernel)
        checkAgainstReference(engine, mine);
      else
        CHECK_MESSAGE(kernel.error().code == ErrorCode::NoBackend, kernel.error().message);
    }
}

int main(int argc, char **argv) {
  Operands probe;
  if (Result<Kernel> kernel = realEngine().prepare(probe.call); !kernel && kernel.error().code == ErrorCode::Unsupported) {
    std::puts(kernel.error().message.c_str());
    return 77;
  }
  return doctest::Context(argc, argv).run();
}
