#include "common/PeakProbe.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

namespace attnjit::tools {

namespace {

// Twelve chains: enough to cover a latency of 4 to 6 cycles on two ports, few enough for 16 registers.
constexpr int kChains = 12, kUnroll = 4;

// clang-format off
#define ATTNJIT_FMA_LOOP(REGISTER)                                                                                                         \
  "vzeroall\n" /* zeros: no subnormal, NaN or infinity can slow a machine down */                                                          \
  "1:\n"                                                                                                                                   \
  ".rept 4\n"                                                                                                                              \
  ".irp chain, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11\n"                                                                                     \
  "vfmadd231ps " REGISTER "15, " REGISTER "14, " REGISTER "\\chain\n"                                                                      \
  ".endr\n"                                                                                                                                \
  ".endr\n"                                                                                                                                \
  "dec %0\n"                                                                                                                               \
  "jnz 1b\n"                                                                                                                               \
  "vzeroupper\n"
#define ATTNJIT_CLOBBERS                                                                                                                   \
  "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

void fmaAvx2(std::int64_t rounds) { asm volatile(ATTNJIT_FMA_LOOP("%%ymm") : "+r"(rounds) : : ATTNJIT_CLOBBERS); }
void fmaAvx512(std::int64_t rounds) { asm volatile(ATTNJIT_FMA_LOOP("%%zmm") : "+r"(rounds) : : ATTNJIT_CLOBBERS); }
// clang-format on

#undef ATTNJIT_FMA_LOOP
#undef ATTNJIT_CLOBBERS

bool hasAvx512() { return __builtin_cpu_supports("avx512f"); }

} // namespace

std::int64_t nowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string_view peakProbeIsa() { return hasAvx512() ? "AVX-512" : "AVX2"; }

double probePeakGflops(int microseconds) {
  constexpr std::int64_t kRounds = 1000;
  const bool wide = hasAvx512();
  const double flopsPerCall = 2.0 * kChains * kUnroll * kRounds * (wide ? 16 : 8);
  // The best of short pieces: an interrupt does not lower what the machine can do.
  double best = 0;
  const std::int64_t end = nowNs() + static_cast<std::int64_t>(microseconds) * 1000;
  for (std::int64_t begin = nowNs(); begin < end;) {
    wide ? fmaAvx512(kRounds) : fmaAvx2(kRounds);
    const std::int64_t after = nowNs();
    best = std::max(best, flopsPerCall / static_cast<double>(std::max<std::int64_t>(after - begin, 1)));
    begin = after;
  }
  return best;
}

double probePeakGflopsThreads(int threads, int microseconds) {
  std::vector<double> peaks(std::max(threads, 1), 0);
  std::atomic<int> ready{0};
  const auto work = [&](int index) {
    ++ready;
    while (ready < static_cast<int>(peaks.size())) {
    }
    peaks[index] = probePeakGflops(microseconds);
  };
  std::vector<std::thread> helpers;
  for (int index = 1; index < static_cast<int>(peaks.size()); ++index)
    helpers.emplace_back(work, index);
  work(0);
  for (std::thread &helper : helpers)
    helper.join();
  double sum = 0;
  for (const double peak : peaks)
    sum += peak;
  return sum;
}

double quantile(std::vector<double> samples, double share) {
  if (samples.empty())
    return 0;
  std::sort(samples.begin(), samples.end());
  const double at = share * static_cast<double>(samples.size() - 1);
  const std::size_t below = static_cast<std::size_t>(at);
  const double rest = at - static_cast<double>(below);
  return below + 1 < samples.size() ? samples[below] * (1 - rest) + samples[below + 1] * rest : samples[below];
}

} // namespace attnjit::tools
