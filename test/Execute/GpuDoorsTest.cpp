// The doors of lib/Attention on a GPU: each computes on the caller's stream and waits for nothing.
#include "GpuTestUtil.h"

#include "attnjit/Paged.h"
#include "attnjit/Sdpa.h"
#include "attnjit/Varlen.h"

#include <algorithm>
#include <doctest/doctest.h>

using namespace attnjit;
using namespace attnjit::test;

namespace {

void *const kStream = reinterpret_cast<void *>(0x5000);

/// That all `count` launches were on the stream, and nothing waited.
void checkLaunches(const FakeDriver &driver, const Result<ForwardReport> &report, std::size_t count) {
  REQUIRE_MESSAGE(report, report.error().message);
  const auto isKernel = [](const FakeCuda::Launch &launch) { return launch.kernel == "attention"; };
  CHECK(static_cast<std::size_t>(std::count_if(driver->launches.begin(), driver->launches.end(), isKernel)) == count);
  for (const FakeCuda::Launch &launch : driver->launches)
    CHECK(launch.stream == kStream);
  CHECK(driver->count("cuStreamSynchronize") == 0);
}

TEST_CASE("scaled_dot_product_attention is on the caller's stream") {
  FakeDriver driver;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, driver.options());
  GpuOperands operands(driver);
  SdpaCall call{.query = operands.call.q, .key = operands.call.k, .value = operands.call.v, .out = operands.call.out};
  call.stream = kStream;
  checkLaunches(driver, scaledDotProductAttention(engine, call), 1);
}

TEST_CASE("every sequence of a packed call is on the caller's stream") {
  FakeDriver driver;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, driver.options());
  GpuOperands operands(driver);
  const auto packedOf = [](TensorRef tensor, std::int64_t tokens) {
    return TensorRef::dense(tensor.data, tensor.dtype, {tokens, 2, 16});
  };
  std::int64_t starts[] = {0, 5, 20};
  VarlenCall call;
  call.q = packedOf(operands.call.q, 20);
  call.k = packedOf(operands.call.k, 40);
  call.v = packedOf(operands.call.v, 40);
  call.out = packedOf(operands.call.out, 20);
  call.cuSeqQ = call.cuSeqK = TensorRef::dense(starts, DType::I64, {3});
  call.stream = kStream;
  checkLaunches(driver, varlenAttention(engine, call), 2);
}

TEST_CASE("every sequence of a page pool is on the caller's stream") {
  FakeDriver driver;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, driver.options());
  GpuOperands operands(driver, 6);
  PagedAttention pages = *PagedAttention::create(5, 8, 3);
  for (const std::int64_t batch : {0, 2})
    REQUIRE(pages.reserve(batch, 16));
  std::int64_t lengths[] = {16, 9};
  PagedCall call;
  call.pages = &pages;
  call.batches = {2, 0};
  call.q = TensorRef::dense(operands.call.q.data, DType::BF16, {2, 2, 3, 16});
  call.out = TensorRef::dense(operands.call.out.data, DType::BF16, {2, 2, 3, 16});
  call.kCache = TensorRef::dense(operands.call.k.data, DType::BF16, {1, 2, 40, 16});
  call.vCache = TensorRef::dense(operands.call.v.data, DType::BF16, {1, 2, 40, 16});
  call.kvLen = TensorRef::dense(lengths, DType::I64, {2});
  call.stream = kStream;
  checkLaunches(driver, pagedAttention(engine, call), 2);
}

TEST_CASE("a block mask whose blocks were decided in host memory reads what it captures on the GPU") {
  FakeDriver driver;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler, driver.options());
  GpuOperands operands(driver);
  std::vector<std::int64_t> onHost(40), onDevice(40);
  driver->add(onDevice.data(), onDevice.size() * sizeof(std::int64_t));
  const auto idsAt = [](std::vector<std::int64_t> &ids) {
    return std::vector<CaptureArgument>{{"ids", TensorRef::dense(ids.data(), DType::I64, {40})}};
  };
  const Mod mod = parseMod("", "ids[q_idx] == ids[kv_idx]", {{"ids", DType::I64, 1}});
  const BlockMask decided = *createBlockMask(mod, idsAt(onHost), 1, 1, 20, 40, {.blockQ = 16, .blockKv = 16});
  const Result<BlockMask> mask = decided.withCaptures(idsAt(onDevice));
  REQUIRE_MESSAGE(mask, mask.error().message);
  const void *read = nullptr;
  driver->kernel = [&](const KernelArgs &args) { read = args.captures[0].data; };
  operands.call.blockMask = *mask;
  operands.call.stream = kStream;
  checkLaunches(driver, engine.forward(operands.call), 1);
  CHECK(read == onDevice.data());
  CHECK(mask->isDerived());
  CHECK(mask->toDense()->data == decided.toDense()->data);

  const Result<BlockMask> rows = mask->slice({0, 1}, {}, {1, 2});
  REQUIRE(rows);
  const Result<BlockMask> moved = rows->withCaptures(idsAt(onHost));
  REQUIRE_MESSAGE(moved, moved.error().message);
  CHECK(moved->captures().size() == rows->captures().size());
  CHECK(std::get<TensorRef>(moved->captures()[0].value).data == onHost.data());
  CHECK(mask->withCaptures({}).error().message.find("'ids': it is missing") != std::string::npos);
}

} // namespace
