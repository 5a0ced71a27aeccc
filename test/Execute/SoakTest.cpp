// SoakTest [SECONDS]: a server's life in short. 64 threads ask several engines for random formulas and shapes; kernels are compiled in the
// background, evicted, unloaded and warmed up all the while, and one engine after another comes and goes. Every answer is compared with the
// f64 reference, none may be missing, and memory has to be flat. Exit status 77 where there is no compiler.
#include "Engine/ModImpl.h"
#include "EngineTestUtil.h"
#include "Reference/Reference.h"

#include <chrono>
#include <cinttypes>
#include <cstdlib>
#include <fstream>
#include <malloc.h>
#include <mutex>
#include <random>
#include <thread>

using namespace attnjit;
using namespace attnjit::test;

namespace {

constexpr int kThreads = 64;
/// Formulas that come again and again; others come once.
constexpr std::int64_t kFormulas = 16;
/// What a thread asks of one formula before it takes the next.
constexpr int kRequestsInTurn = 8;
constexpr std::size_t kKernels = 24; ///< that an engine keeps: fewer than there are
/// Memory of the whole process after each phase: at most so much above the one before, and above the first. Contexts of the compiler keep
/// what they have seen for some hundred compilations, which no test of seconds sees the end of.
constexpr double kMostGrowth = 1.15;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr bool kMemoryIsOurs =
    false; // most of it is what the sanitizer remembers of every access, and freed memory that it keeps to catch late ones
#else
constexpr bool kMemoryIsOurs = true;
#endif

class Random {
public:
  explicit Random(std::uint64_t seed) : engine(seed) {}
  std::int64_t between(std::int64_t low, std::int64_t high) { return std::uniform_int_distribution(low, high)(engine); }
  bool oneIn(std::int64_t n) { return between(1, n) == 1; }
  float number() { return std::uniform_real_distribution(-1.0f, 1.0f)(engine); }

private:
  std::mt19937_64 engine;
};

/// A formula with what it captures, the same for the same number.
struct Formula {
  Mod mod;

  explicit Formula(std::uint64_t number) {
    Random random(number);
    std::string score = "score";
    std::string mask;
    for (std::int64_t terms = random.between(0, 3); terms > 0; --terms)
      score = scoreTerm(random, score);
    for (std::int64_t terms = random.between(0, 2); terms > 0; --terms)
      mask = mask.empty() ? maskTerm(random) : "(" + mask + ")" + (random.oneIn(3) ? " | " : " & ") + "(" + maskTerm(random) + ")";
    mod = parseMod(score, mask, {{"table", DType::F32, 1}, {"doc", DType::I32, 1}, {"a", DType::F64}});
  }

private:
  static std::string scoreTerm(Random &random, const std::string &score) {
    const std::string number = std::to_string(random.between(1, 40)) + ".0";
    switch (random.between(0, 5)) {
    case 0:
      return score + " + (kv_idx - q_idx) / " + number;
    case 1:
      return "torch.tanh((" + score + ") / " + number + ") * " + number;
    case 2:
      return score + " * a + table[h]";
    case 3:
      return "torch.where((kv_idx + q_idx) % " + std::to_string(random.between(2, 9)) + " == 1, " + score + ", -" + score + ")";
    case 4:
      return score + " + table[kv_idx]"; // out of range for many keys
    default:
      return score + " - torch.exp(-torch.abs(q_idx - kv_idx) / " + number + ")";
    }
  }
  static std::string maskTerm(Random &random) {
    switch (random.between(0, 4)) {
    case 0:
      return "q_idx >= kv_idx";
    case 1:
      return "torch.abs(q_idx - kv_idx) < " + std::to_string(random.between(1, 50));
    case 2:
      return "kv_idx % " + std::to_string(random.between(2, 9)) + " != 0";
    case 3:
      return "doc[q_idx % 64] == doc[kv_idx % 64]";
    default:
      return "kv_idx < q_idx + " + std::to_string(random.between(0, 60));
    }
  }
};

/// A call of random shape with its memory, and what it should answer.
class Request {
public:
  Request(Random &random, const Formula &formula) : operands(dims(random)) {
    constexpr std::int64_t kTable = 64;
    for (std::int64_t i = 0; i < kTable; ++i) {
      table.push_back(random.number());
      documents.push_back(static_cast<std::int32_t>(i / 20));
    }
    if (random.oneIn(8)) // the queries from last to first: other strides, the same kernel
      reverseQueries();
    operands->call.mod = formula.mod;
    operands->call.lse = operands->rows(operands->lse);
    operands->call.captures = {{"table", TensorRef::dense(table.data(), DType::F32, {kTable})},
                               {"doc", TensorRef::dense(documents.data(), DType::I32, {kTable})},
                               {"a", 0.5}};
  }

  /// Empty if the engine answers as it should.
  std::string serve(const Engine &engine) {
    const Result<ForwardReport> report = engine.forward(operands->call);
    const reference::Output expected = referenceOf();
    if (!report) {
      const bool rightly = report.error().code == ErrorCode::IndexOutOfRange && expected.status != kStatusOk;
      return rightly ? "" : report.error().message;
    }
    if (expected.status != kStatusOk)
      return "an index out of range went unnoticed in " + operands->call.mod.canonicalText();
    double worst = 0;
    for (std::int64_t head = 0; head < B * H; ++head)
      for (std::int64_t row = 0; row < M; ++row) {
        const std::int64_t at = head * M + row, mine = isReversed ? head * M + M - 1 - row : at;
        for (std::int64_t d = 0; d < D; ++d)
          worst = larger(
              worst, std::abs(expected.out[static_cast<std::size_t>(at * D + d)] - operands->out[static_cast<std::size_t>(mine * D + d)]));
        const double lse = expected.lse[static_cast<std::size_t>(at)], got = operands->lse[static_cast<std::size_t>(at)];
        worst = larger(worst, lse == got ? 0 : std::abs(lse - got));
      }
    return worst < 5e-4 ? "" : report->pipeline + " is off by " + std::to_string(worst) + " in " + operands->call.mod.canonicalText();
  }

private:
  std::unique_ptr<Operands> dims(Random &random) {
    B = random.between(1, 2), H = random.between(1, 2) * 2, M = random.between(1, 24), N = random.between(0, 90);
    return std::make_unique<Operands>(B, H, random.oneIn(2) ? H : H / 2, M, N, D);
  }
  static double larger(double worst, double difference) { return difference <= worst ? worst : difference; } // NaN is larger

  void reverseQueries() {
    isReversed = true;
    for (TensorRef *view : {&operands->call.q, &operands->call.out}) {
      view->data = static_cast<float *>(view->data) + (M - 1) * D;
      view->strides[2] = -D;
    }
  }

  reference::Output referenceOf() const {
    reference::Call call;
    const ModImpl &mod = operands->call.mod.impl();
    std::vector<TensorRef> tensors;
    std::vector<ScalarArg> scalars;
    for (const CaptureArgument &capture : operands->call.captures)
      if (const auto *tensor = std::get_if<TensorRef>(&capture.value))
        tensors.push_back(*tensor);
      else
        scalars.push_back({.f = std::get<double>(capture.value)});
    call.formula = &mod.formula;
    call.bindings = {tensors, scalars};
    call.q = operands->call.q;
    call.k = operands->call.k;
    call.v = operands->call.v;
    return reference::forwardF64(call);
  }

  static constexpr std::int64_t D = 16;
  std::int64_t B = 0, H = 0, M = 0, N = 0;
  bool isReversed = false;
  std::unique_ptr<Operands> operands;
  std::vector<float> table;
  std::vector<std::int32_t> documents;
};

Engine makeOrExit(EngineOptions options) {
  Result<Engine> engine = Engine::create(std::move(options));
  if (!engine) {
    std::fprintf(stderr, "%s\n", engine.error().message.c_str());
    std::exit(1);
  }
  return *engine;
}

/// The engines of a server, each living another way.
struct Server {
  TempDir directory;
  std::atomic<std::int64_t> scratchBytes{0};
  std::vector<Engine> engines;

  Server() {
    engines.push_back(makeOrExit(small()));
    EngineOptions background = small();
    background.whenMissing = WhenMissing::Fallback;
    background.compileThreads = 2;
    background.cacheDirectory = directory.path;
    engines.push_back(makeOrExit(background));
    EngineOptions hosted = background; // the host's threads and memory
    hosted.memoryCacheBytes = 300 << 10;
    hosted.cacheDirectory = "";
    hosted.threads = 3;
    hosted.hooks.parallelFor = [](int workers, const std::function<void(int)> &body) {
      for (int worker = 0; worker < workers; ++worker)
        body(worker);
    };
    hosted.hooks.memory.allocate = [this](std::size_t bytes, std::size_t alignment) {
      scratchBytes += static_cast<std::int64_t>(bytes);
      return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    };
    hosted.hooks.memory.free = [this](void *memory, std::size_t bytes, std::size_t) {
      scratchBytes -= static_cast<std::int64_t>(bytes);
      std::free(memory);
    };
    engines.push_back(makeOrExit(hosted));
  }

  static EngineOptions small() {
    EngineOptions options;
    options.cacheDirectory = "";
    options.memoryCacheKernels = kKernels;
    options.threads = 2;
    return options;
  }

  const Engine &anyEngine(Random &random) const { return engines[static_cast<std::size_t>(random.between(0, std::ssize(engines) - 1))]; }

  /// What an operator does now and then.
  std::string maintain(Random &random, const Formula &formula) {
    const Engine &engine = anyEngine(random);
    const std::string manifest = directory.file("manifest" + std::to_string(random.between(0, 3)));
    switch (random.between(0, 3)) {
    case 0:
      engine.unload(formula.mod);
      return "";
    case 1: {
      const Result<void> saved = engine.saveManifest(manifest);
      return saved ? "" : saved.error().message;
    }
    case 2: { // an engine that comes, warms up, serves and goes, perhaps in the middle of a compilation
      EngineOptions options = small();
      options.whenMissing = WhenMissing::Fallback;
      options.cacheDirectory = directory.path;
      options.memoryCacheKernels = 4;
      const Engine guest = makeOrExit(options);
      if (const Result<WarmUpReport> warm = guest.warmUp(manifest); warm && warm->failed > 0)
        return warm->problems;
      return Request(random, formula).serve(guest);
    }
    default:
      engine.clearMemoryCache();
      return "";
    }
  }
};

struct Tally {
  std::atomic<std::uint64_t> asked{0}, answered{0}, wrong{0};
  std::mutex mutex;
  std::string first; ///< what was wrong first
};

void work(Server &server, std::uint64_t seed, std::chrono::steady_clock::time_point end, Tally &tally) {
  Random random(seed);
  const auto note = [&](const std::string &problem) {
    ++tally.answered;
    if (problem.empty())
      return;
    ++tally.wrong;
    std::lock_guard lock(tally.mutex);
    if (tally.first.empty())
      tally.first = problem;
  };
  while (std::chrono::steady_clock::now() < end) {
    const std::int64_t number = random.oneIn(20) ? 1000 + random.between(0, 1 << 30) : random.between(0, kFormulas - 1);
    const Formula formula(static_cast<std::uint64_t>(number));
    for (int turn = 0; turn < kRequestsInTurn && std::chrono::steady_clock::now() < end; ++turn) {
      ++tally.asked;
      note(random.oneIn(100) ? server.maintain(random, formula) : Request(random, formula).serve(server.anyEngine(random)));
    }
  }
}

/// Of the process, in MiB, when nothing is at work and what can be given back to the system has been.
double residentMiB() {
  ::malloc_trim(0);
  std::ifstream statm("/proc/self/statm");
  std::uint64_t whole = 0, resident = 0;
  statm >> whole >> resident;
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

bool hasCompiler() {
  const Engine engine = makeOrExit(Server::small());
  const Result<Kernel> kernel = engine.prepare(Operands().call);
  return kernel || !contains(kernel.error().message, "no compiler");
}

} // namespace

int main(int argc, char **argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 10;
  if (!hasCompiler())
    return 77;
  constexpr int kPhases = 3;
  Tally tally;
  bool isFlat = true;
  double first = 0, before = 0;
  std::uint64_t compiles = 0;
  {
    Server server;
    for (int phase = 0; phase < kPhases; ++phase) {
      const auto end = std::chrono::steady_clock::now() +
                       std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(seconds / kPhases));
      std::vector<std::thread> threads;
      for (int i = 0; i < kThreads; ++i)
        threads.emplace_back(work, std::ref(server), static_cast<std::uint64_t>(phase * kThreads + i), end, std::ref(tally));
      for (std::thread &thread : threads)
        thread.join();
      for (const Engine &engine : server.engines)
        engine.waitForCompilations();
      const double now = residentMiB();
      std::uint64_t sum = 0, evictions = 0, fallbacks = 0;
      for (const Engine &engine : server.engines) {
        const EngineCounters counters = engine.counters();
        sum += counters.compiles, evictions += counters.evictions, fallbacks += counters.fallbacks;
        isFlat &= counters.kernelsInMemory <= kKernels && counters.awaited == 0;
      }
      std::printf("phase %d: %.1f MiB, %" PRIu64 " answers, %" PRIu64 " compiled, %" PRIu64 " evicted, %" PRIu64 " fallbacks\n", phase, now,
                  tally.answered.load(), sum, evictions, fallbacks);
      if (phase > 0 && kMemoryIsOurs)
        isFlat &= now < kMostGrowth * before && now < kMostGrowth * first;
      first = phase == 0 ? now : first;
      before = now;
      compiles = sum;
    }
    isFlat &= server.engines[2].counters().bytesInMemory <= (300 << 10);
    server.engines.clear();
    isFlat &= server.scratchBytes == 0;
  }
  std::printf("%" PRIu64 " asked, %" PRIu64 " answered, %" PRIu64 " wrong%s\n", tally.asked.load(), tally.answered.load(),
              tally.wrong.load(), isFlat ? "" : "; memory is not flat");
  if (!tally.first.empty())
    std::fprintf(stderr, "%s\n", tally.first.c_str());
  return tally.wrong == 0 && tally.asked == tally.answered && compiles > 30 && tally.answered > 150 && isFlat ? 0 : 1;
}
