// docs/examples/server.cpp: a server: no request waits for a compilation, and the next process has its kernels before the first one.
#include <attnjit/attnjit.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

using namespace attnjit;

namespace {

constexpr int kHeads = 2, kLength = 100, kDim = 16;

/// The value of key n is n and all scores are 0, so row m of a causal call is the mean of 0 .. m.
struct Request {
  std::vector<float> q = std::vector<float>(kHeads * kLength * kDim), k = q, v = q, out = q;
  ForwardCall call;

  explicit Request(const Mod &mod) {
    for (std::size_t i = 0; i < v.size(); ++i)
      v[i] = static_cast<float>(i / kDim % kLength);
    auto view = [](std::vector<float> &memory) { return TensorRef::dense(memory.data(), DType::F32, {1, kHeads, kLength, kDim}); };
    call.mod = mod;
    call.q = view(q), call.k = view(k), call.v = view(v), call.out = view(out);
  }

  /// Serves it and tells which pipeline did; empty for what went wrong.
  std::string serve(const Engine &engine) {
    Result<ForwardReport> report = engine.forward(call);
    if (!report) {
      std::fprintf(stderr, "%s\n", report.error().message.c_str());
      return "";
    }
    for (int m = 0; m < kLength; ++m)
      if (std::abs(out[m * kDim] - 0.5f * static_cast<float>(m)) > 1e-3f)
        return "";
    std::printf("%s, kernel %s%s%s\n", report->pipeline.c_str(), std::string(name(report->source)).c_str(),
                report->awaited.empty() ? "" : ", in the background: ", report->awaited.c_str());
    return report->pipeline;
  }
};

} // namespace

int main() {
  Result<Mod> mod = Mod::parse("", "q_idx >= kv_idx");
  if (!mod)
    return 1;
  EngineOptions options;
  options.cacheDirectory = ""; // nothing on disk, so that this program shows the same every time
  options.whenMissing = WhenMissing::Fallback;
  options.compileThreads = 1;
  options.memoryCacheBytes = 64 << 20;
  const std::string manifest = (std::filesystem::temp_directory_path() / "attnjit-server.manifest").string();
  Request request(*mod);
  {
    Result<Engine> engine = Engine::create(options);
    if (!engine || request.serve(*engine) != "MATH") // ready sooner than the fused kernel
      return 2;
    engine->waitForCompilations(); // a server goes on serving instead
    if (request.serve(*engine) != "FLASH_ATTENTION")
      return 2;
    if (Result<void> saved = engine->saveManifest(manifest); !saved)
      return 1;
    std::printf("%d kernels unloaded\n", static_cast<int>(engine->unload(*mod)));
  }

  Result<Engine> next = Engine::create(options);
  if (!next)
    return 1;
  Result<WarmUpReport> warm = next->warmUp(manifest);
  std::filesystem::remove(manifest);
  if (!warm || warm->compiled != 2)
    return 2;
  return request.serve(*next) == "FLASH_ATTENTION" && next->counters().fallbacks == 0 ? 0 : 2;
}
