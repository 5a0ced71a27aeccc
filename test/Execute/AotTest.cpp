// Several images in one: which of them a machine gets, and the way from the struct of a function made ahead of time to a launch.
#include "GpuTestUtil.h"

#include "Aot/AotArguments.h"
#include "attnjit/Aot.h"

#include <cstdlib>
#include <cstring>
#include <doctest/doctest.h>
#include <thread>

using namespace attnjit;
using namespace attnjit::test;

namespace {

std::vector<std::byte> imageFor(const std::string &target, const ForwardCall &call) {
  FakeCompiler compiler;
  EngineOptions options;
  options.target = target;
  Result<Kernel> kernel = makeEngine(compiler, options).prepare(call);
  REQUIRE(kernel);
  return *kernel->bytes();
}

std::vector<std::byte> joined(std::initializer_list<std::vector<std::byte>> images) {
  std::vector<std::byte> bytes;
  for (const std::vector<std::byte> &image : images)
    bytes.insert(bytes.end(), image.begin(), image.end());
  return bytes;
}

std::string targetOf(const Result<Kernel> &kernel) { return kernel ? kernel->impl().meta.cpu : kernel.error().message; }

/// The driver that libraries find by themselves.
class NamedDriver {
public:
  explicit NamedDriver(const FakeDriver &driver) { ::setenv("ATTNJIT_CUDA_LIBRARY", driver.path.c_str(), 1); }
  ~NamedDriver() { ::unsetenv("ATTNJIT_CUDA_LIBRARY"); }
};

} // namespace

TEST_CASE("of images for several CPUs the best one is taken that this CPU runs") {
  Operands operands;
  const std::vector<std::byte> v2 = imageFor("x86-64-v2", operands.call), v3 = imageFor("x86-64-v3", operands.call),
                               arm = imageFor("aarch64", operands.call);
  const std::string best = hostTarget()->vectorBits >= 256 ? "x86-64-v3" : "x86-64-v2";
  CHECK(targetOf(Kernel::fromBytes(joined({v2, v3}))) == best);
  CHECK(targetOf(Kernel::fromBytes(joined({v3, v2}))) == best);
  CHECK(targetOf(Kernel::fromBytes(joined({arm, v2}))) == "x86-64-v2");
  CHECK(contains(targetOf(Kernel::fromBytes(joined({arm, arm}))), "compiled for aarch64, aarch64; this CPU is x86-64"));
  CHECK(contains(targetOf(Kernel::fromBytes(arm)), "aarch64"));
}

TEST_CASE("a row of images with one that is not whole is no row") {
  Operands operands;
  const std::vector<std::byte> v2 = imageFor("x86-64-v2", operands.call);
  std::vector<std::byte> bytes = joined({v2, v2});
  CHECK(Kernel::fromBytes(bytes));
  bytes.resize(bytes.size() - 1);
  CHECK_FALSE(Kernel::fromBytes(bytes));
  bytes = joined({v2, v2, {std::byte{1}}});
  CHECK_FALSE(Kernel::fromBytes(bytes));
  bytes = joined({v2, v2});
  bytes[v2.size() + v2.size() / 2] ^= std::byte{1};
  CHECK(contains(targetOf(Kernel::fromBytes(bytes)), "checksum"));
}

TEST_CASE("of images for several GPUs the best one is taken that the GPU runs") {
  FakeDriver driver;
  const NamedDriver named(driver);
  GpuOperands operands(driver);
  const std::vector<std::byte> old = imageFor("sm_80", operands.call), exact = imageFor("sm_90a", operands.call),
                               late = imageFor("sm_100", operands.call);
  const auto on = [&](int device, std::initializer_list<std::vector<std::byte>> images) {
    return targetOf(Kernel::fromBytes(joined(images), {}, device));
  };
  CHECK(on(0, {old, exact, late}) == "sm_90a"); // an sm_90
  CHECK(on(1, {exact, old}) == "sm_80");        // an sm_80
  CHECK(on(2, {exact, old}) == "sm_80");        // an sm_86
  CHECK(on(4, {exact, old, late}) == "sm_100"); // an sm_103
  CHECK(contains(on(1, {exact, late}), "compiled for sm_90a, sm_100"));
}

TEST_CASE("the struct of a function made ahead of time becomes a launch") {
  FakeDriver driver;
  const NamedDriver named(driver);
  GpuOperands operands(driver, 33);
  operands.call.mod =
      parseMod("score * gain + slope[h]", "kv_idx < last", {{"gain", DType::F64}, {"slope", DType::F32, 1}, {"last", DType::I64}});
  std::vector<float> slope = {1, 2};
  operands.call.captures = {{"gain", 1.0}, {"slope", TensorRef::dense(slope.data(), DType::F32, {2})}, {"last", std::int64_t(1)}};
  const std::vector<std::byte> images = joined({imageFor("sm_80", operands.call), imageFor("sm_90", operands.call)});

  const aot::AotArguments layout = aot::argumentsOf(operands.call.mod, AotKind::Runtime);
  std::vector<std::byte> memory(layout.bytes);
  aot::CallArgs args{};
  args.B = 1, args.Hq = args.Hkv = 2, args.M = 33, args.N = 40;
  args.q = {operands.q.data(), {33 * 32, 33 * 16, 16, 1}};
  args.k = {operands.k.data(), {40 * 32, 40 * 16, 16, 1}};
  args.v = {operands.v.data(), {40 * 32, 40 * 16, 16, 1}};
  args.out = {operands.out.data(), {33 * 32, 33 * 16, 16, 1}};
  args.stream = reinterpret_cast<void *>(0x5000);
  std::memcpy(memory.data(), &args, sizeof args);
  const CaptureArg tensor{slope.data(), {2}, {1}};
  std::memcpy(memory.data() + layout.find("slope")->offset, &tensor, sizeof tensor);
  ScalarArg gain{}, last{};
  gain.f = 0.5;
  last.i = 17;
  std::memcpy(memory.data() + layout.find("gain")->offset, &gain, sizeof gain);
  std::memcpy(memory.data() + layout.find("last")->offset, &last, sizeof last);

  std::vector<double> seen;
  driver->kernel = [&](const KernelArgs &launched) {
    CHECK(launched.q.data == operands.q.data());
    CHECK(launched.scale == doctest::Approx(0.25));
    CHECK(launched.lse.data == nullptr);
    for (int slot : {0, 1})
      seen.push_back(launched.scalars[slot].f);
  };
  aot::Artefact artefact{aot::kAotVersion, images.data(), images.size(), nullptr};
  CHECK(attnjit_aot_run(&artefact, memory.data()) == aot::kOk);
  CHECK(std::string(attnjit_aot_error()).empty());
  CHECK(std::string(attnjit_aot_target(&artefact)) == "sm_90");
  REQUIRE(!driver->launches.empty());
  CHECK(driver->launches.back().kernel == "attention");
  CHECK(driver->launches.back().stream == args.stream);
  REQUIRE(seen.size() == 2);
  CHECK((seen[0] == 0.5 || seen[1] == 0.5));

  args.k.strides[3] = 2;
  std::memcpy(memory.data(), &args, sizeof args);
  CHECK(attnjit_aot_run(&artefact, memory.data()) == aot::kBadArguments);
  CHECK(contains(attnjit_aot_error(), "stride"));
  attnjit_aot_release(&artefact);
  CHECK(artefact.loaded == nullptr);
  artefact.version = 77;
  CHECK(attnjit_aot_run(&artefact, memory.data()) == aot::kNoTarget);
  CHECK(contains(attnjit_aot_error(), "version 77"));
}

TEST_CASE("what only the end of a launch can tell is asked for after it, by the thread of the call") {
  FakeDriver driver;
  const NamedDriver named(driver);
  GpuOperands operands(driver);
  std::vector<float> bias(20);
  operands.call.mod = parseMod("score + bias[q_idx + 1]", "", {{"bias", DType::F32, 1}});
  operands.call.captures = {{"bias", TensorRef::dense(bias.data(), DType::F32, {20})}};
  const std::vector<std::byte> image = imageFor("sm_80", operands.call);
  const aot::AotArguments layout = aot::argumentsOf(operands.call.mod, AotKind::Runtime);
  std::vector<std::byte> memory(layout.bytes);
  aot::CallArgs args{};
  args.B = 1, args.Hq = args.Hkv = 2, args.M = 20, args.N = 40;
  args.q = {operands.q.data(), {20 * 32, 20 * 16, 16, 1}};
  args.k = args.v = {operands.k.data(), {40 * 32, 40 * 16, 16, 1}};
  args.out = {operands.out.data(), {20 * 32, 20 * 16, 16, 1}};
  std::memcpy(memory.data(), &args, sizeof args);
  const CaptureArg tensor{bias.data(), {20}, {1}};
  std::memcpy(memory.data() + layout.find("bias")->offset, &tensor, sizeof tensor);

  std::int64_t *word = nullptr;
  driver->kernel = [&](const KernelArgs &launched) { word = launched.status; };
  aot::Artefact artefact{aot::kAotVersion, image.data(), image.size(), nullptr};
  CHECK(attnjit_aot_run(&artefact, memory.data()) == aot::kOk);
  CHECK(attnjit_aot_status() == aot::kOk);
  REQUIRE(word);
  *word = 19 * 40 + 7;
  int elsewhere = -1;
  std::thread([&] { elsewhere = attnjit_aot_status(); }).join();
  CHECK(elsewhere == aot::kOk);
  CHECK(attnjit_aot_status() == aot::kIndexOutOfRange);
  CHECK(contains(attnjit_aot_error(), "h = 0, q_idx = 19, kv_idx = 7"));
  CHECK(attnjit_aot_run(&artefact, memory.data()) == aot::kOk);
  CHECK(attnjit_aot_status() == aot::kOk); // of this call
  attnjit_aot_release(&artefact);
}

TEST_CASE("what a function made ahead of time cannot be") {
  Operands operands;
  const auto refusal = [&](const ForwardCall &call, const AotOptions &options) {
    const Result<std::vector<AotFile>> files = compileAheadOfTime(call, options);
    REQUIRE(!files);
    CHECK(files.error().code == ErrorCode::InvalidArgument);
    return files.error().message;
  };
  CHECK(contains(refusal(operands.call, {.name = "two words"}), "no name for a C function"));
  CHECK(contains(refusal(operands.call, {.name = "float"}), "no name for a C function"));
  CHECK(contains(refusal(operands.call, {.targets = {}}), "no target"));
  CHECK(contains(refusal(operands.call, {.targets = {"native"}}), "x86-64-v3"));
  CHECK(contains(refusal(operands.call, {.targets = {"x86-64-v3", "sm_80"}}), "make two functions"));
  CHECK(contains(refusal(operands.call, {.targets = {"sm_80"}, .kind = AotKind::Bare}), "leave out bare"));
  CHECK(contains(refusal(operands.call, {.targets = {"x86-64-v4+amx"}, .kind = AotKind::Bare}), "x86-64-v4+bf16"));
  CHECK(contains(refusal(operands.call, {.targets = {"aarch64"}}), "bare function"));
  ForwardCall call = operands.call;
  call.softcap = -20;
  CHECK(contains(refusal(call, {}), "softcap: -20; expected a positive number"));
  call = operands.call;
  call.dropout = Dropout{0.5};
  CHECK(contains(refusal(call, {}), "prob_mod"));
}
