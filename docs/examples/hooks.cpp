// docs/examples/hooks.cpp: the program's own threads, memory and log.
#include <attnjit/attnjit.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

using namespace attnjit;

int main() {
  std::atomic<int> regions{0};
  std::atomic<long> bytesHeld{0};

  EngineOptions options;
  options.threads = 4;
  options.cacheDirectory = ""; // nothing on disk
  options.hooks.parallelFor = [&](int workers, const std::function<void(int)> &body) {
    ++regions;
    std::vector<std::thread> threads;
    for (int worker = 1; worker < workers; ++worker)
      threads.emplace_back(body, worker);
    body(0);
    for (std::thread &thread : threads)
      thread.join();
  };
  options.hooks.memory.allocate = [&](std::size_t bytes, std::size_t alignment) {
    bytesHeld += static_cast<long>(bytes);
    return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  };
  options.hooks.memory.free = [&](void *memory, std::size_t bytes, std::size_t) {
    bytesHeld -= static_cast<long>(bytes);
    std::free(memory);
  };
  options.hooks.log = [](LogLevel level, std::string_view message) {
    std::fprintf(stderr, "attnjit%s: %s\n", level == LogLevel::Warning ? " warning" : "", std::string(message).c_str());
  };

  {
    Result<Engine> engine = Engine::create(options);
    if (!engine) {
      std::fprintf(stderr, "%s\n", engine.error().message.c_str());
      return 1;
    }
    std::vector<float> q(8 * 512 * 64, 0.5f), out(q.size());
    ForwardCall call;
    call.q = call.k = call.v = TensorRef::dense(q.data(), DType::F32, {1, 8, 512, 64});
    call.out = TensorRef::dense(out.data(), DType::F32, {1, 8, 512, 64});
    Result<ForwardReport> report = engine->forward(call);
    if (!report) {
      std::fprintf(stderr, "%s\n", report.error().message.c_str());
      return 1;
    }
    std::printf("%d workers, %ld bytes of scratch kept for the next call\n", report->workers, bytesHeld.load());
    if (regions == 0 || bytesHeld == 0)
      return 2;
  }
  return bytesHeld == 0 ? 0 : 2; // everything came back with the engine
}
