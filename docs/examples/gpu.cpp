// docs/examples/gpu.cpp: softcapped causal attention on a GPU, or the reason why not.
#include <attnjit/attnjit.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

using namespace attnjit;

namespace {

// bf16 is the upper half of an f32.
std::uint16_t toBf16(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<std::uint16_t>(bits >> 16);
}

float fromBf16(std::uint16_t half) {
  const std::uint32_t bits = std::uint32_t{half} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

int fail(const Error &error) {
  std::fprintf(stderr, "%s\n", error.message.c_str());
  return 1;
}

} // namespace

int main() {
  EngineOptions options;
  options.target = "native-gpu"; // of EngineOptions::device, 0
  Result<Engine> engine = Engine::create(options);
  if (!engine) {
    std::printf("no GPU: %s\n", engine.error().message.c_str());
    return 0;
  }
  Result<Mod> mod = Mod::parse("cap * tanh(score / cap)", "q_idx >= kv_idx", {{"cap", DType::F64}});
  if (!mod)
    return fail(mod.error());

  // All scores are 0 and the value of key n is n: row m of the output is the mean of 0 .. m.
  constexpr std::int64_t kHeads = 4, kLength = 100, kDim = 64, kCount = kHeads * kLength * kDim;
  std::vector<std::uint16_t> zeros(kCount), values(kCount), host(kCount);
  for (std::int64_t i = 0; i < kCount; ++i)
    values[i] = toBf16(static_cast<float>(i / kDim % kLength));

  // Memory of the GPU: DeviceBuffer, or whatever your program allocates with.
  ForwardCall call;
  call.mod = *mod;
  call.captures = {{"cap", 30.0}};
  std::vector<DeviceBuffer> buffers;
  for (auto [tensor, contents] : {std::pair{&call.q, &zeros}, {&call.k, &zeros}, {&call.v, &values}, {&call.out, &zeros}}) {
    Result<DeviceBuffer> buffer = DeviceBuffer::allocate(*engine, kCount * 2);
    if (!buffer)
      return fail(buffer.error());
    if (Result<void> copied = buffer->copyFrom(contents->data()); !copied)
      return fail(copied.error());
    *tensor = TensorRef::dense(buffer->data(), DType::BF16, {1, kHeads, kLength, kDim});
    buffers.push_back(std::move(*buffer));
  }
  call.stream = nullptr;                                // the default stream; else a CUstream or cudaStream_t of yours
  Result<ForwardReport> report = engine->forward(call); // returns when the launch is on the stream
  if (!report)
    return fail(report.error());
  if (Result<void> copied = buffers[3].copyTo(host.data()); !copied) // waits for the stream
    return fail(copied.error());
  for (const Launch &launch : report->launches) // those that checked captured indices: none here
    if (Result<void> status = launch.status(); !status)
      return fail(status.error());
  std::printf("%s for %s, row %d: %.1f\n", report->pipeline.c_str(), engine->target().c_str(), int(kLength - 1),
              static_cast<double>(fromBf16(host[(kLength - 1) * kDim])));
  for (std::int64_t m = 0; m < kLength; ++m)
    if (std::abs(fromBf16(host[m * kDim]) - 0.5f * static_cast<float>(m)) > 0.5f)
      return 2;
  return 0;
}
