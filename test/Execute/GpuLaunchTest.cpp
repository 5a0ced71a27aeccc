// Launches on a GPU: what reaches the driver, on which stream, and that nothing is waited for.
#include "GpuTestUtil.h"

#include "attnjit/DeviceBuffer.h"

#include <cstring>
#include <doctest/doctest.h>
#include <sys/mman.h>

using namespace attnjit;
using namespace attnjit::test;

namespace {

void *const kStream = reinterpret_cast<void *>(0x5000);

/// What no launch may ask for: each of them waits for the GPU.
void checkNothingWaited(const FakeDriver &driver) {
  for (const char *waits : {"cuStreamSynchronize", "cuMemcpyHtoDAsync_v2", "cuMemcpyDtoHAsync_v2", "cuModuleUnload"})
    CHECK(driver->count(waits) == 0);
}

TEST_CASE("a plain call is one launch, on the caller's stream, of a grid of all tiles") {
  FakeDriver driver;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, driver.options());
  GpuOperands operands(driver, 33);
  operands.call.stream = kStream;
  KernelArgs seen{};
  driver->kernel = [&](const KernelArgs &args) { seen = args; };
  REQUIRE(engine.forward(operands.call));
  driver->calls.clear();
  const Result<ForwardReport> report = engine.forward(operands.call);
  REQUIRE(report);
  CHECK(driver->calls == std::vector<std::string>{"cuLaunchKernel"});
  CHECK(report->launches.empty());
  CHECK(report->pipeline == "FLASH_ATTENTION");
  REQUIRE(driver->launches.size() == 2);
  const FakeCuda::Launch &launch = driver->launches.back();
  CHECK(launch.kernel == "attention");
  CHECK(launch.blocks == 1 * 2 * 3); // B * Hq * ceil(33 / 16)
  CHECK(launch.threads == 128);
  CHECK(launch.sharedBytes == 4096);
  CHECK(launch.stream == kStream);
  CHECK(seen.q.data == operands.q.data());
  CHECK(seen.out.data == operands.out.data());
  CHECK(seen.M == 33);
  CHECK(seen.captures == nullptr);
  CHECK(seen.plan.offsets == nullptr);
  checkNothingWaited(driver);
}

TEST_CASE("what FLASH_ATTENTION does not take is a launch of MATH: other dtypes, odd heads, what the schedule itself refuses") {
  FakeDriver driver;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, driver.options());
  auto pipelineOf = [&](const ForwardCall &call) {
    const Result<ForwardReport> report = engine.forward(call);
    return report ? report->pipeline : report.error().message;
  };
  GpuOperands operands(driver, 33);
  CHECK(pipelineOf(operands.call) == "FLASH_ATTENTION");

  std::vector<float> q(2 * 20 * 5), k(2 * 40 * 5), out(2 * 20 * 5);
  for (std::vector<float> *memory : {&q, &k, &out})
    driver->add(memory->data(), memory->size() * sizeof(float));
  ForwardCall floats;
  floats.q = TensorRef::dense(q.data(), DType::F32, {1, 2, 20, 5});
  floats.k = floats.v = TensorRef::dense(k.data(), DType::F32, {1, 2, 40, 5});
  floats.out = TensorRef::dense(out.data(), DType::F32, {1, 2, 20, 5});
  CHECK(pipelineOf(floats) == "MATH");
  CHECK(driver->launches.back().blocks == 1 * 2 * 2);
  floats.backends = BackendSet({SDPBackend::FlashAttention});
  CHECK(pipelineOf(floats).find("its GPU schedule uses tensor cores on bf16 and f16; q is f32") != std::string::npos);

  // The table of pages is in host memory, and travels.
  std::int64_t table[] = {1, 0};
  operands.call.k = TensorRef::dense(operands.k.data(), DType::BF16, {2, 2, 20, 16});
  operands.call.v = TensorRef::dense(operands.v.data(), DType::BF16, {2, 2, 20, 16});
  operands.call.pages = PageTable{TensorRef::dense(table, DType::I64, {1, 2}), 40};
  std::vector<std::int64_t> seen;
  driver->kernel = [&](const KernelArgs &args) { seen.assign(args.pages.table, args.pages.table + 2); };
  CHECK(pipelineOf(operands.call) == "FLASH_ATTENTION");
  CHECK(seen == std::vector<std::int64_t>{1, 0});

  driver->kernel = {};
  compiler.refusing = SDPBackend::FlashAttention;
  GpuOperands others(driver, 70);
  others.call.mod = *Mod::parse({"score + 1", ""});
  CHECK(pipelineOf(others.call) == "MATH");
}

TEST_CASE("a kernel with tensor copies gets a map of each operand, counters of its own, and no more blocks than multiprocessors") {
  FakeDriver driver;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, driver.options("sm_90a"));
  GpuOperands operands(driver, 64, 40); // 2 heads x 4 tiles on 4 multiprocessors
  operands.call.stream = kStream;
  std::vector<const std::uint32_t *> counters;
  driver->copies = [&](const FakeCuda::Map *const(&maps)[3], const std::uint32_t *count) {
    CHECK(maps[0]->type == 9); // bf16
    CHECK(maps[0]->data == operands.q.data());
    CHECK(std::vector<std::uint64_t>(maps[0]->sizes, maps[0]->sizes + 4) == std::vector<std::uint64_t>{16, 64, 2, 1});
    CHECK(std::vector<std::uint64_t>(maps[0]->strides, maps[0]->strides + 3) == std::vector<std::uint64_t>{32, 64 * 32, 16});
    CHECK(maps[0]->rows == 64);
    CHECK(maps[1]->data == operands.k.data());
    CHECK(maps[2]->data == operands.v.data());
    CHECK(maps[2]->sizes[1] == 40);
    CHECK(maps[2]->rows == 32);
    CHECK(driver->memory.contains(reinterpret_cast<std::uintptr_t>(count)));
    CHECK(count[0] == 0);
    CHECK(count[1] == 0);
    counters.push_back(count);
  };
  REQUIRE(engine.forward(operands.call));
  CHECK(counters.size() == 1);
  CHECK(driver->launches.back().blocks == 4);
  checkNothingWaited(driver);
  driver->failures["cuTensorMapEncodeTiled"] = 1;
  const Result<ForwardReport> refused = engine.forward(operands.call);
  REQUIRE(!refused);
  CHECK(refused.error().message.find("describing q, k or v for tensor copies") != std::string::npos);
}

TEST_CASE("few queries are computed in parts, with memory for their states and counters that are 0") {
  FakeDriver driver;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, driver.options()); // 4 multiprocessors
  GpuOperands operands(driver, 3, 32 * 40);                     // 2 kv heads of 3 rows
  operands.call.stream = kStream;
  SplitArg split{};
  const auto look = [&](const KernelArgs &args) {
    split = args.split;
    if (split.parts == 1)
      return;
    const auto memory = driver->memory.find(reinterpret_cast<std::uintptr_t>(split.states));
    REQUIRE(memory != driver->memory.end());
    const std::size_t states = static_cast<std::size_t>(2 * split.parts) * 3 * 80;
    CHECK(memory->second.bytes == states + 2 * sizeof(std::uint32_t)); // one for each of two tiles
    CHECK(memory->second.stream == kStream);
    const auto *counters = reinterpret_cast<const std::uint32_t *>(static_cast<const std::byte *>(split.states) + states);
    CHECK(counters[0] == 0);
    CHECK(counters[1] == 0);
  };
  driver->kernel = look;
  const std::size_t before = driver->memory.size();
  const Result<ForwardReport> report = engine.forward(operands.call);
  REQUIRE_MESSAGE(report, report.error().message);
  CHECK(report->pipeline == "EFFICIENT_ATTENTION");
  CHECK(split.parts == 2); // a block for each multiprocessor
  CHECK(split.keys == 640);
  CHECK(driver->launches.back().blocks == 2 * 2);
  CHECK(driver->launches.back().stream == kStream);
  CHECK(driver->memory.size() == before); // and given back on the stream it was taken on, which FakeCuda sees to
  driver->calls.clear();
  SUBCASE("every launch takes its own") {
    REQUIRE(engine.forward(operands.call));
    CHECK(driver->calls == std::vector<std::string>{"cuMemAllocFromPoolAsync", "cuMemsetD8Async", "cuLaunchKernel", "cuMemFreeAsync"});
    checkNothingWaited(driver);
  }
  SUBCASE("within a capture too") {
    driver->capturing = true;
    REQUIRE(engine.forward(operands.call));
    CHECK(split.states != nullptr);
  }
  SUBCASE("one part takes no memory") {
    operands.call.k.sizes[2] = operands.call.v.sizes[2] = 32;
    REQUIRE(engine.forward(operands.call));
    CHECK(split.parts == 1);
    CHECK(split.states == nullptr);
    CHECK(driver->calls == std::vector<std::string>{"cuLaunchKernel"});
    CHECK(driver->launches.back().blocks == 2);
  }
  SUBCASE("memory that cannot be cleared is given back") {
    driver->failures["cuMemsetD8Async"] = 1;
    const Result<ForwardReport> refused = engine.forward(operands.call);
    REQUIRE(!refused);
    CHECK(refused.error().message.find("clearing the counters of parts") != std::string::npos);
    CHECK(driver->memory.size() == before);
  }
}

TEST_CASE("operands that are not fit for tensor copies get a kernel without") {
  FakeDriver driver;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, driver.options("sm_90a"));
  GpuOperands operands(driver, 64, 40);
  std::vector<bool> aligned;
  compiler.onCompile = [&](const compiler::KernelSpec &spec) { aligned.push_back(spec.aligned); };
  const Result<Kernel> prepared = engine.prepare(operands.call);
  REQUIRE(prepared);
  ForwardCall odd = operands.call;
  SUBCASE("an odd address") { odd.k = TensorRef::dense(operands.k.data() + 1, DType::BF16, {1, 2, 39, 16}); }
  SUBCASE("an odd stride") { odd.v.strides[1] = 39 * 16 + 4; }
  SUBCASE("one batch of k for all") {
    odd.q = TensorRef::dense(operands.q.data(), DType::BF16, {2, 2, 32, 16});
    odd.out = TensorRef::dense(operands.out.data(), DType::BF16, {2, 2, 32, 16});
  }
  if (odd.k.sizes[2] == 39)
    odd.v.sizes[2] = 39;
  REQUIRE(engine.forward(odd));
  CHECK(aligned == std::vector<bool>{true, false});
  CHECK(driver->count("cuTensorMapEncodeTiled") == 0);
  const Result<ForwardReport> refused = prepared->forward(odd);
  REQUIRE(!refused);
  CHECK(refused.error().message.find("multiples of 16 bytes") != std::string::npos);
}

TEST_CASE("captures, numbers and the plan travel with the launch, and their memory is taken and given back on its stream") {
  FakeDriver driver;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, driver.options());
  GpuOperands operands(driver, 64, 64);
  std::vector<std::int32_t> documents(64);
  for (std::size_t i = 0; i < documents.size(); ++i)
    documents[i] = static_cast<std::int32_t>(i / 32);
  const std::vector<std::int32_t> wanted = documents;
  operands.call.mod = parseMod("score * factor", "doc[q_idx] == doc[kv_idx]", {{"factor", DType::F64}, {"doc", DType::I32, 1}});
  TensorRef reversed = TensorRef::dense(documents.data() + 63, DType::I32, {64}); // from the last to the first
  reversed.strides[0] = -1;
  operands.call.captures = {{"factor", 2.5}, {"doc", reversed}};
  operands.call.stream = kStream;

  bool ran = false;
  driver->kernel = [&](const KernelArgs &args) {
    ran = true;
    CHECK(driver->memory.contains(reinterpret_cast<std::uintptr_t>(args.captures))); // the block begins with them
    const CaptureArg &doc = args.captures[0];
    CHECK(doc.sizes[0] == 64);
    const auto *data = static_cast<const std::int32_t *>(doc.data);
    CHECK(data != documents.data() + 63);
    for (std::int64_t i = 0; i < 64; ++i)
      CHECK(data[i * doc.strides[0]] == wanted[static_cast<std::size_t>(63 - i)]);
    CHECK(args.scalars[0].f == 2.5);
    // Two documents: each tile of 16 queries sees one run of 32 keys.
    REQUIRE(args.plan.offsets);
    CHECK(args.plan.offsets[4] == 4);
    CHECK(args.plan.runs[0].kvBegin == 0);
    CHECK(args.plan.runs[0].kvEnd == 32);
    CHECK(args.plan.runs[3].kvBegin == 32);
  };
  const std::size_t before = driver->memory.size();
  const Result<ForwardReport> report = engine.forward(operands.call);
  REQUIRE(report);
  CHECK(ran);
  CHECK(report->plan.hostPlan);
  CHECK(driver->count("cuMemAllocFromPoolAsync") == 1);
  CHECK(driver->count("cuMemFreeAsync") == 1); // FakeCuda refuses one on another stream
  CHECK(driver->memory.size() == before);
  for (const FakeCuda::Launch &launch : driver->launches)
    CHECK(launch.stream == kStream);
  checkNothingWaited(driver);
}

TEST_CASE("long tables go in as many parcels as they need") {
  FakeDriver driver;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, driver.options());
  GpuOperands operands(driver);
  std::vector<std::int64_t> table(5000);
  for (std::size_t i = 0; i < table.size(); ++i)
    table[i] = static_cast<std::int64_t>(i * i);
  operands.call.mod = parseMod("score + table[q_idx]", "", {{"table", DType::I64, 1}});
  operands.call.captures = {{"table", TensorRef::dense(table.data(), DType::I64, {5000})}};
  bool same = false;
  driver->kernel = [&](const KernelArgs &args) { same = std::memcmp(args.captures[0].data, table.data(), table.size() * 8) == 0; };
  REQUIRE(engine.forward(operands.call));
  CHECK(same);
  CHECK(driver->launches.size() > 8);
}

TEST_CASE("tensors on the GPU are not read: not operands, and not captures that a plan would like to know") {
  FakeDriver driver;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, driver.options());
  constexpr std::size_t kBytes = std::size_t{1} << 20;
  void *const forbidden = ::mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); // a read ends the process
  REQUIRE(forbidden != MAP_FAILED);
  driver->add(forbidden, kBytes);
  auto *const memory = static_cast<std::byte *>(forbidden);
  ForwardCall call;
  call.q = TensorRef::dense(memory, DType::BF16, {1, 2, 64, 16});
  call.k = TensorRef::dense(memory + 8192, DType::BF16, {1, 2, 64, 16});
  call.v = TensorRef::dense(memory + 16384, DType::BF16, {1, 2, 64, 16});
  call.out = TensorRef::dense(memory + 24576, DType::BF16, {1, 2, 64, 16});
  call.mod = parseMod("", "doc[q_idx] == doc[kv_idx]", {{"doc", DType::I32, 1}});
  call.captures = {{"doc", TensorRef::dense(memory + 32768, DType::I32, {64})}};
  call.sinks = TensorRef::dense(memory + 40960, DType::F32, {2});
  call.kDescale = TensorRef::dense(memory + 49152, DType::F32, {1, 2});
  driver->kernel = [&](const KernelArgs &args) {
    CHECK(args.captures[0].data == memory + 32768);
    CHECK(args.sinks.data == memory + 40960);
    CHECK(static_cast<const void *>(args.kDescale.data) == memory + 49152);
    CHECK(*args.qDescale.data == 1); // nobody gave it
    CHECK(args.plan.offsets == nullptr);
  };
  const Result<ForwardReport> report = engine.forward(call);
  REQUIRE_MESSAGE(report, report.error().message);
  CHECK(driver->launches.back().kernel == "attention");
  ::munmap(forbidden, kBytes);
}

TEST_CASE("managed and pinned memory is used in place, and no plan is made of what a stream may still change") {
  FakeDriver driver;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, driver.options());
  GpuOperands operands(driver, 64, 64);
  std::vector<std::int32_t> documents(64);
  operands.call.mod = parseMod("", "doc[q_idx] == doc[kv_idx]", {{"doc", DType::I32, 1}});
  operands.call.captures = {{"doc", TensorRef::dense(documents.data(), DType::I32, {64})}};
  driver->kernel = [&](const KernelArgs &args) {
    CHECK(args.captures[0].data == documents.data());
    CHECK(args.plan.offsets == nullptr);
  };
  for (const bool managed : {false, true}) {
    for (const void *memory : {static_cast<const void *>(documents.data()), static_cast<const void *>(operands.q.data())}) {
      driver->add(memory, 256, managed ? 3 : 0);
      FakeCuda::Memory &entry = driver->memory[reinterpret_cast<std::uintptr_t>(memory)];
      entry.managed = managed;
      entry.pinned = !managed;
    }
    driver->memory[reinterpret_cast<std::uintptr_t>(operands.q.data())].bytes = operands.q.size() * 2;
    const Result<ForwardReport> report = engine.forward(operands.call);
    REQUIRE(report);
    CHECK(!report->plan.hostPlan);
  }
  CHECK(driver->launches.back().kernel == "attention");
}

TEST_CASE("a kernel that a registered pipeline brings runs on the engine's own GPU") {
  FakeDriver driver;
  FakeCompiler compiler;
  GpuOperands first(driver), second(driver, 20, 40, 1);
  const Engine engine = makeEngine(compiler, driver.options("sm_80"));
  REQUIRE(engine.forward(first.call));
  const Result<Kernel> kernel = engine.prepare(first.call);
  REQUIRE(kernel);
  EngineOptions options = driver.options("sm_80");
  options.device = 1;
  const Engine other = makeEngine(compiler, options);
  OverridePipeline pipeline;
  pipeline.name = "borrowed";
  pipeline.build = [&](const Problem &, const PipelineContext &) -> Result<BuiltPipeline> { return BuiltPipeline(*kernel); };
  REQUIRE(other.registerPipeline(pipeline));
  second.call.backends = BackendSet({SDPBackend::Overrideable});
  const Result<ForwardReport> report = other.forward(second.call);
  REQUIRE(report);
  CHECK(report->pipeline == "borrowed");
  CHECK(driver->count("cuModuleLoadDataEx") == 2); // once for each GPU
}

TEST_CASE("an index out of range is reported when it is asked for, and slots of dropped launches are used again") {
  FakeDriver driver;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, driver.options());
  GpuOperands operands(driver);
  std::vector<float> bias(20);
  operands.call.mod = parseMod("score + bias[q_idx + 1]", "", {{"bias", DType::F32, 1}});
  operands.call.captures = {{"bias", TensorRef::dense(bias.data(), DType::F32, {20})}};
  std::int64_t lowered = ((0 * 2 + 1) * 20 + 19) * 40 + 7;
  std::int64_t *word = nullptr;
  driver->kernel = [&](const KernelArgs &args) {
    CHECK(*args.status == kStatusOk);
    word = args.status;
  };
  Result<ForwardReport> report = engine.forward(operands.call);
  REQUIRE(report);
  REQUIRE(report->launches.size() == 1);
  const Launch launch = report->launches[0];
  CHECK(launch.status()); // it has not got that far
  *word = lowered;
  const Result<void> status = launch.status();
  REQUIRE(!status);
  CHECK(status.error().code == ErrorCode::IndexOutOfRange);
  CHECK(status.error().message.find("'bias'") != std::string::npos);
  CHECK(status.error().message.find("b = 0, h = 1, q_idx = 19, kv_idx = 7") != std::string::npos);
  CHECK(!launch.deviceNs()); // its time was not asked for

  for (int i = 0; i < 200; ++i) // more than there are slots
    REQUIRE(engine.forward(operands.call));
  CHECK(*word == kStatusOk);
  CHECK(driver->count("cuMemHostAlloc") == 1);
  CHECK(launch.status().error().code == ErrorCode::IndexOutOfRange); // of its own word still
  checkNothingWaited(driver);
}

TEST_CASE("time on the GPU") {
  FakeDriver driver;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, driver.options());
  GpuOperands operands(driver);
  operands.call.timeOnDevice = true;
  const Result<ForwardReport> report = engine.forward(operands.call);
  REQUIRE(report);
  REQUIRE(report->launches.size() == 1);
  const Result<std::int64_t> ns = report->launches[0].deviceNs();
  REQUIRE(ns);
  CHECK(*ns == 250000);
  CHECK(report->loadNs > 0);
  driver->failures["cuEventElapsedTime"] = 600;
  CHECK(report->launches[0].deviceNs().error().message.find("has not ended") != std::string::npos);
}

TEST_CASE("a call can be captured into a graph, its first one too") {
  FakeDriver driver;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, driver.options());
  GpuOperands operands(driver);
  std::vector<float> bias(20);
  operands.call.mod = parseMod("score + bias[q_idx + 1]", "", {{"bias", DType::F32, 1}});
  operands.call.captures = {{"bias", TensorRef::dense(bias.data(), DType::F32, {20})}};
  operands.call.timeOnDevice = true;
  driver->capturing = true; // FakeCuda now refuses what a capture does not allow
  std::int64_t *word = nullptr;
  driver->kernel = [&](const KernelArgs &args) { word = args.status; };
  Result<ForwardReport> report = engine.forward(operands.call);
  REQUIRE_MESSAGE(report, report.error().message);
  CHECK(driver->count("cuEventRecord") == 0);
  REQUIRE(report->launches.size() == 1);
  CHECK(report->launches[0].deviceNs().error().message.find("captured") != std::string::npos);
  checkNothingWaited(driver);

  // Replays write to the word whoever has dropped the launch: it stays theirs.
  std::int64_t *const captured = word;
  report = Error{};
  driver->capturing = false;
  for (int i = 0; i < 200; ++i) {
    REQUIRE(engine.forward(operands.call));
    CHECK(word != captured);
  }
}

TEST_CASE("a group is launched call by call, each on its stream") {
  FakeDriver driver;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, driver.options());
  GpuOperands first(driver), second(driver, 50);
  first.call.stream = kStream;
  second.call.timeOnDevice = true;
  const ForwardCall calls[] = {first.call, second.call};
  const Result<ForwardReport> report = engine.forwardGrouped(calls);
  REQUIRE(report);
  REQUIRE(driver->launches.size() == 2);
  CHECK(driver->launches[0].stream == kStream);
  CHECK(driver->launches[1].stream == nullptr);
  CHECK(driver->launches[1].blocks == 2 * 4);
  CHECK(report->launches.size() == 1);
}

TEST_CASE("a saved PTX kernel is launched without a compiler") {
  FakeDriver driver;
  FakeCompiler compiler;
  const TempDir temp;
  GpuOperands operands(driver);
  {
    const Engine engine = makeEngine(compiler, driver.options("sm_80"));
    const Result<Kernel> kernel = engine.prepare(operands.call);
    REQUIRE(kernel);
    CHECK(driver->launches.empty());
    CHECK(kernel->ptx().starts_with("// PTX of"));
    REQUIRE(kernel->save(temp.file("kernel")));
  }
  ::setenv("ATTNJIT_CUDA_LIBRARY", driver.path.c_str(), 1);
  const Result<Kernel> kernel = Kernel::load(temp.file("kernel"));
  REQUIRE(kernel);
  const Result<ForwardReport> report = kernel->forward(operands.call);
  ::unsetenv("ATTNJIT_CUDA_LIBRARY");
  REQUIRE_MESSAGE(report, report.error().message);
  CHECK(report->source == KernelSource::Saved);
  CHECK(driver->launches.size() == 1);
}

TEST_CASE("the device memory hook gives and takes the block, in stream order") {
  FakeDriver driver;
  FakeCompiler compiler;
  EngineOptions options = driver.options();
  std::vector<std::uint64_t> memory(1000);
  driver->add(memory.data(), memory.size() * 8);
  std::vector<std::string> asked;
  options.hooks.deviceMemory.allocate = [&](std::size_t bytes, int device, void *stream) -> void * {
    asked.push_back("allocate");
    CHECK(bytes > 0);
    CHECK(device == 0);
    CHECK(stream == kStream);
    return memory.data();
  };
  options.hooks.deviceMemory.free = [&](void *given, std::size_t, int, void *stream) {
    asked.push_back("free");
    CHECK(given == memory.data());
    CHECK(stream == kStream);
    CHECK(driver->launches.back().kernel == "attention");
  };
  const Engine engine = makeEngine(compiler, options);
  GpuOperands operands(driver);
  operands.call.mod = parseMod("score * factor", "", {{"factor", DType::F64}});
  operands.call.captures = {{"factor", 2.5}};
  operands.call.stream = kStream;
  REQUIRE(engine.forward(operands.call));
  CHECK(asked == std::vector<std::string>{"allocate", "free"});
  CHECK(driver->count("cuMemAllocFromPoolAsync") == 0);
}

TEST_CASE("device buffers bring bytes there and back") {
  FakeDriver driver;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, driver.options());
  const std::vector<int> sent = {1, 2, 3};
  std::vector<int> received(3);
  {
    Result<DeviceBuffer> buffer = DeviceBuffer::allocate(engine, 12);
    REQUIRE(buffer);
    DeviceBuffer moved = std::move(*buffer);
    REQUIRE(moved.copyFrom(sent.data()));
    REQUIRE(moved.copyTo(received.data()));
  }
  CHECK(received == sent);
  CHECK(driver->count("cuStreamSynchronize") == 1);
  CHECK(driver->count("cuMemFreeAsync") == 1);
  CHECK(engine.synchronize(kStream));
  const Engine cpu = makeEngine(compiler);
  CHECK(DeviceBuffer::allocate(cpu, 12).error().code == ErrorCode::InvalidArgument);
  CHECK(cpu.synchronize(nullptr));
}

} // namespace
