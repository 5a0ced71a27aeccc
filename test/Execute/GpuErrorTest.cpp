// What can be wrong with a GPU, and what is said then.
#include "GpuTestUtil.h"

#include <doctest/doctest.h>

using namespace attnjit;
using namespace attnjit::test;

namespace {

void checkSays(const Error &error, ErrorCode code, std::initializer_list<std::string_view> parts) {
  CHECK(error.code == code);
  for (std::string_view part : parts)
    CHECK_MESSAGE(error.message.find(part) != std::string::npos, error.message, " lacks ", part);
}

TEST_CASE("without a driver GPU launches say so, and everything else works") {
  FakeDriver driver;
  FakeCompiler compiler;
  EngineOptions options;
  options.target = "sm_80";
  options.cudaLibrary = "/nonexistent/libcuda.so.1";
  const Engine engine = makeEngine(compiler, options);
  GpuOperands operands(driver);
  checkSays(engine.forward(operands.call).error(), ErrorCode::Unsupported,
            {"no CUDA driver", "/nonexistent/libcuda.so.1", "ATTNJIT_CUDA_LIBRARY", "target native"});
  CHECK(engine.prepare(operands.call));
  CHECK(engine.explain(operands.call));
  options.target = "native-gpu";
  checkSays(Engine::create(options).error(), ErrorCode::Unsupported, {"target native-gpu", "no CUDA driver"});
  options.target = "native";
  const Engine cpu = makeEngine(compiler, options);
  Operands host;
  CHECK(cpu.forward(host.call));
}

TEST_CASE("a driver that finds no GPU, and one that is too old") {
  FakeCompiler compiler;
  {
    FakeDriver driver;
    driver->failures["cuInit"] = 100;
    GpuOperands operands(driver);
    const Engine engine = makeEngine(compiler, driver.options());
    checkSays(engine.forward(operands.call).error(), ErrorCode::Unsupported,
              {"CUDA_ERROR_NO_DEVICE (100", "nvidia-smi", "CUDA_VISIBLE_DEVICES", "target native"});
    driver->failures.clear(); // one appears
    CHECK(engine.forward(operands.call));
  }
  FakeDriver old;
  old->version = 11080;
  checkSays(Engine::create(old.options("native-gpu")).error(), ErrorCode::Unsupported, {"too old", "CUDA 11.8", "12.0"});
}

TEST_CASE("the native target is the GPU's own") {
  FakeDriver driver;
  const auto targetOf = [&](int device) {
    EngineOptions options = driver.options("native-gpu");
    options.device = device;
    return Engine::create(options);
  };
  CHECK(targetOf(0)->target() == "sm_90a");
  CHECK(targetOf(1)->target() == "sm_80");
  CHECK(targetOf(2)->target() == "sm_86");
  CHECK(targetOf(4)->target() == "sm_100"); // code for sm_100 runs on sm_103
  checkSays(targetOf(3).error(), ErrorCode::Unsupported, {"sm_75", "sm_80 (Ampere) or later"});
  checkSays(targetOf(5).error(), ErrorCode::InvalidArgument, {"EngineOptions::device", "no GPU 5", "0 to 4"});
  checkSays(targetOf(-1).error(), ErrorCode::InvalidArgument, {"no GPU -1"});
}

TEST_CASE("a kernel for another GPU") {
  FakeDriver driver;
  FakeCompiler compiler;
  EngineOptions options = driver.options("sm_90a");
  options.device = 1;
  const Engine engine = makeEngine(compiler, options);
  GpuOperands operands(driver, 20, 40, 1);
  checkSays(engine.forward(operands.call).error(), ErrorCode::Unsupported,
            {"FLASH_ATTENTION kernel for sm_90a", "an sm_80", "native-gpu", "score("});
}

TEST_CASE("operands that the GPU does not reach") {
  FakeDriver driver;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, driver.options());
  GpuOperands operands(driver);
  std::vector<std::uint16_t> host(operands.k.size());
  ForwardCall call = operands.call;
  call.k.data = host.data();
  checkSays(engine.forward(call).error(), ErrorCode::InvalidArgument, {"k:", "host memory", "DeviceBuffer"});
  driver->add(host.data(), host.size() * 2, 1);
  checkSays(engine.forward(call).error(), ErrorCode::InvalidArgument, {"k:", "another GPU"});
  call.k.data = nullptr;
  checkSays(engine.forward(call).error(), ErrorCode::InvalidArgument, {"k:", "null"});

  call = operands.call;
  std::vector<float> bias(std::size_t{1} << 19);
  call.mod = parseMod("score + bias[q_idx]", "", {{"bias", DType::F32, 1}});
  call.captures = {{"bias", TensorRef::dense(bias.data(), DType::F32, {1 << 19})}};
  checkSays(engine.forward(call).error(), ErrorCode::InvalidArgument, {"capture 'bias'", "2097152 bytes", "Keep it on the GPU"});
  driver->add(bias.data(), bias.size() * 4);
  CHECK(engine.forward(call));

  call = operands.call;
  std::vector<std::int32_t> table(3);
  driver->add(table.data(), 12);
  call.pages = PageTable{TensorRef::dense(table.data(), DType::I32, {1, 3}), 40};
  checkSays(engine.forward(call).error(), ErrorCode::InvalidArgument, {"pages.table", "host memory"});
  CHECK(driver->launches.size() == 1 + 0u + driver->count("cuMemAllocFromPoolAsync")); // only the call that was in order
}

TEST_CASE("errors of the driver carry its name for them, the kernel, the formula and the cure; nothing leaks") {
  FakeDriver driver;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, driver.options());
  GpuOperands operands(driver);
  operands.call.mod = parseMod("score * factor", "", {{"factor", DType::F64}});
  operands.call.captures = {{"factor", 2.5}};

  driver->failures["cuModuleLoadDataEx"] = 218;
  driver->assemblerLog = "ptxas application ptx input, line 7; fatal: none of it";
  checkSays(engine.forward(operands.call).error(), ErrorCode::Unsupported,
            {"assembling the FLASH_ATTENTION kernel for sm_90 (bf16, D 16, Dv 16) for Fake GPU", "CUDA_ERROR_INVALID_PTX (218",
             "line 7; fatal", "Its formula:", "score("});
  driver->failures.clear();

  driver->failures["cuMemAllocFromPoolAsync"] = 2;
  checkSays(engine.forward(operands.call).error(), ErrorCode::Unsupported,
            {"launching the FLASH_ATTENTION kernel", "CUDA_ERROR_OUT_OF_MEMORY (2", "free some"});
  driver->failures.clear();

  const std::size_t before = driver->memory.size();
  driver->failures["attention"] = 700;
  checkSays(engine.forward(operands.call).error(), ErrorCode::Unsupported,
            {"launching the FLASH_ATTENTION kernel", "CUDA_ERROR_ILLEGAL_ADDRESS", "not necessarily this one", "Its formula:"});
  CHECK(driver->memory.size() == before);
  driver->failures.clear();

  driver->failures["cuStreamSynchronize"] = 700;
  checkSays(engine.synchronize(nullptr).error(), ErrorCode::Unsupported, {"waiting for a stream", "CUDA_ERROR_ILLEGAL_ADDRESS"});
  driver->failures.clear();
  CHECK(engine.forward(operands.call));
}

TEST_CASE("a device memory hook that fails, throws or is half there") {
  FakeDriver driver;
  FakeCompiler compiler;
  EngineOptions options = driver.options();
  options.hooks.deviceMemory.allocate = [](std::size_t, int, void *) -> void * { return nullptr; };
  checkSays(Engine::create(options).error(), ErrorCode::InvalidArgument, {"hooks.deviceMemory", "both"});
  options.hooks.deviceMemory.free = [](void *, std::size_t, int, void *) {};
  GpuOperands operands(driver);
  operands.call.mod = parseMod("score * factor", "", {{"factor", DType::F64}});
  operands.call.captures = {{"factor", 2.5}};
  checkSays(makeEngine(compiler, options).forward(operands.call).error(), ErrorCode::Unsupported,
            {"hooks.deviceMemory.allocate gave no memory"});
  options.hooks.deviceMemory.allocate = [](std::size_t, int, void *) -> void * { throw std::runtime_error("no more"); };
  checkSays(makeEngine(compiler, options).forward(operands.call).error(), ErrorCode::Unsupported,
            {"hooks.deviceMemory.allocate threw", "no more"});
}

} // namespace
