// The runtime on a real GPU: streams, graphs and what is reported later. Exit status 77 (skipped) without one.
#include "attnjit/attnjit.h"

#define DOCTEST_CONFIG_IMPLEMENT
#include <chrono>
#include <cmath>
#include <cstring>
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <string>
#include <vector>

using namespace attnjit;

namespace {

/// What the runtime does not need of the driver, but a program with graphs does.
struct Cuda {
  void *library = ::dlopen("libcuda.so.1", RTLD_NOW);
  template <typename... Arguments> int call(const char *name, Arguments... arguments) const {
    auto *function = reinterpret_cast<int (*)(Arguments...)>(::dlsym(library, name));
    return function ? function(arguments...) : -1;
  }
  void *makeStream() const {
    void *context = nullptr, *stream = nullptr;
    CHECK(call("cuDevicePrimaryCtxRetain", &context, 0) == 0);
    CHECK(call("cuCtxSetCurrent", context) == 0);
    CHECK(call("cuStreamCreate", &stream, 1u) == 0); // not ordered against the default stream
    return stream;
  }
  bool isBusy(void *stream) const { return call("cuStreamQuery", stream) == 600; }
};

struct Setup {
  Engine engine = *Engine::create(options());
  Cuda cuda;
  void *stream = cuda.makeStream();

  static EngineOptions options() {
    EngineOptions options;
    options.target = "native-gpu";
    options.cacheDirectory = "";
    return options;
  }
};

std::vector<std::uint16_t> numbers(std::size_t count, double step) {
  std::vector<std::uint16_t> values(count);
  for (std::size_t i = 0; i < count; ++i) { // bf16: the upper half of an f32
    const float value = std::sin(static_cast<float>(static_cast<double>(i) * step));
    std::uint32_t bits;
    std::memcpy(&bits, &value, 4);
    values[i] = static_cast<std::uint16_t>(bits >> 16);
  }
  return values;
}

struct OnGpu {
  std::int64_t H, S;
  DeviceBuffer q, k, v, out;
  ForwardCall call;

  static DeviceBuffer filled(const Setup &setup, const std::vector<std::uint16_t> &values) {
    Result<DeviceBuffer> buffer = DeviceBuffer::allocate(setup.engine, values.size() * 2, setup.stream);
    REQUIRE(buffer);
    REQUIRE(buffer->copyFrom(values.data()));
    return std::move(*buffer);
  }
  std::size_t count() const { return static_cast<std::size_t>(H * S * 64); }

  OnGpu(const Setup &setup, std::int64_t H, std::int64_t S)
      : H(H), S(S), q(filled(setup, numbers(count(), 0.3))), k(filled(setup, numbers(count(), 0.7))),
        v(filled(setup, numbers(count(), 1.1))), out(filled(setup, numbers(count(), 0))) {
    for (auto [tensor, buffer] : {std::pair{&call.q, &q}, {&call.k, &k}, {&call.v, &v}, {&call.out, &out}})
      *tensor = TensorRef::dense(buffer->data(), DType::BF16, {1, H, S, 64});
    call.stream = setup.stream;
  }
  std::vector<std::uint16_t> result() const {
    std::vector<std::uint16_t> values(count());
    REQUIRE(out.copyTo(values.data()));
    return values;
  }
};

TEST_CASE("forward returns while the GPU still works, whatever travels with the launch") {
  const Setup setup;
  const OnGpu problem(setup, 32, 8192);
  ForwardCall call = problem.call;
  std::vector<std::int32_t> documents(8192);
  for (std::size_t i = 0; i < documents.size(); ++i)
    documents[i] = static_cast<std::int32_t>(i / 6000);
  const Result<Mod> mod = Mod::parse("score * factor", "doc[q_idx] == doc[kv_idx]", {{"factor", DType::F64}, {"doc", DType::I32, 1}});
  REQUIRE(mod);
  call.mod = *mod;
  call.captures = {{"factor", 0.5}, {"doc", TensorRef::dense(documents.data(), DType::I32, {8192})}};
  call.timeOnDevice = true;
  REQUIRE(setup.engine.forward(call));
  REQUIRE(setup.engine.synchronize(setup.stream));
  const auto begin = std::chrono::steady_clock::now();
  const Result<ForwardReport> report = setup.engine.forward(call);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  REQUIRE(report);
  CHECK(setup.cuda.isBusy(setup.stream));
  CHECK(report->plan.hostPlan);
  REQUIRE(setup.engine.synchronize(setup.stream));
  const Result<std::int64_t> ns = report->launches[0].deviceNs();
  REQUIRE(ns);
  MESSAGE("forward returned after ", took.count() * 1e6, " us (", static_cast<double>(report->planNs) * 1e-3, " us of them the plan, ",
          static_cast<double>(report->runNs) * 1e-3, " us enqueueing), the GPU took ", static_cast<double>(*ns) * 1e-3, " us");
}

TEST_CASE("a call is captured, loaded within the capture, and replayed on other numbers") {
  const Setup setup;
  const OnGpu problem(setup, 4, 1000);
  ForwardCall call = problem.call;
  std::vector<float> bias(1000);
  for (std::size_t i = 0; i < bias.size(); ++i)
    bias[i] = static_cast<float>(i % 7) * 0.25f;
  const Result<Mod> mod =
      Mod::parse("score + bias[q_idx + shift] * 0.9375", "q_idx >= kv_idx", {{"bias", DType::F32, 1}, {"shift", DType::I64}});
  REQUIRE(mod);
  call.mod = *mod;
  call.captures = {{"bias", TensorRef::dense(bias.data(), DType::F32, {1000})}, {"shift", std::int64_t{1}}};

  void *graph = nullptr, *executable = nullptr;
  REQUIRE(setup.engine.synchronize(setup.stream));
  REQUIRE(setup.cuda.call("cuStreamBeginCapture_v2", setup.stream, 0) == 0); // global: the strictest mode
  const Result<ForwardReport> captured = setup.engine.forward(call);
  REQUIRE(setup.cuda.call("cuStreamEndCapture", setup.stream, &graph) == 0);
  REQUIRE(captured);
  REQUIRE(setup.cuda.call("cuGraphInstantiateWithFlags", &executable, graph, 0ull) == 0);
  std::vector<float> gone(1000, NAN); // what was captured travels by value
  bias.swap(gone);
  CHECK(captured->launches[0].status()); // nothing has run yet

  const std::vector<std::uint16_t> inputs[] = {numbers(problem.count(), 0.3), numbers(problem.count(), 0.11)};
  for (const std::vector<std::uint16_t> &input : inputs) {
    REQUIRE(problem.q.copyFrom(input.data()));
    REQUIRE(setup.cuda.call("cuGraphLaunch", executable, setup.stream) == 0);
    const std::vector<std::uint16_t> replayed = problem.result();
    call.captures[0].value = TensorRef::dense(gone.data(), DType::F32, {1000});
    const Result<ForwardReport> direct = setup.engine.forward(call);
    REQUIRE(direct);
    CHECK(problem.result() == replayed);
    CHECK(direct->launches[0].status().error().code == ErrorCode::IndexOutOfRange); // query 999 asks for bias[1000]
  }
  const Result<void> status = captured->launches[0].status();
  REQUIRE(!status);
  CHECK(status.error().message.find("q_idx = 999, kv_idx = 0") != std::string::npos);
  CHECK(setup.cuda.call("cuGraphExecDestroy", executable) == 0);
  CHECK(setup.cuda.call("cuGraphDestroy", graph) == 0);
}

TEST_CASE("enqueueing costs microseconds") {
  const Setup setup;
  const OnGpu problem(setup, 2, 64);
  const Result<Mod> mod = Mod::parse("cap * tanh(score / cap)", "", {{"cap", DType::F64}});
  REQUIRE(mod);
  for (const bool withNumbers : {false, true}) {
    ForwardCall call = problem.call;
    if (withNumbers) {
      call.mod = *mod;
      call.captures = {{"cap", 30.0}};
    }
    REQUIRE(setup.engine.forward(call));
    REQUIRE(setup.engine.synchronize(setup.stream));
    constexpr int kCalls = 200;
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kCalls; ++i)
      REQUIRE(setup.engine.forward(call));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    REQUIRE(setup.engine.synchronize(setup.stream));
    MESSAGE(std::string(withNumbers ? "with numbers: " : "plain: "), took.count() / kCalls * 1e6, " us per call");
    CHECK(took.count() / kCalls < 1e-3);
  }
}

} // namespace

int main(int argc, char **argv) {
  if (const Result<Engine> engine = Engine::create(Setup::options()); !engine) {
    std::printf("skipped: %s\n", engine.error().message.c_str());
    return 77;
  }
  return doctest::Context(argc, argv).run();
}
