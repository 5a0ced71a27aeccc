#include "common/PeakProbe.h"

#include "Support/TargetDesc.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

namespace attnjit::tools {

namespace {

// Twelve chains: enough to cover a latency of 4 to 6 cycles on two ports, few enough for 16 registers. Tiles are eight in all, so six
// chains: one tdpbf16ps takes 52 cycles and another begins every 16.
constexpr int kChains = 12, kTileChains = 6, kUnroll = 4;

// clang-format off
#define ATTNJIT_VECTOR_LOOP(INSTRUCTION, REGISTER)                                                                                         \
  "vzeroall\n" /* zeros: no subnormal, NaN or infinity can slow a machine down */                                                          \
  "1:\n"                                                                                                                                   \
  ".rept 4\n"                                                                                                                              \
  ".irp chain, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11\n"                                                                                     \
  INSTRUCTION " " REGISTER "15, " REGISTER "14, " REGISTER "\\chain\n"                                                                     \
  ".endr\n"                                                                                                                                \
  ".endr\n"                                                                                                                                \
  "dec %0\n"                                                                                                                               \
  "jnz 1b\n"                                                                                                                               \
  "vzeroupper\n"
#define ATTNJIT_CLOBBERS                                                                                                                   \
  "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

void fmaAvx2(std::int64_t rounds) { asm volatile(ATTNJIT_VECTOR_LOOP("vfmadd231ps", "%%ymm") : "+r"(rounds) : : ATTNJIT_CLOBBERS); }
void fmaAvx512(std::int64_t rounds) { asm volatile(ATTNJIT_VECTOR_LOOP("vfmadd231ps", "%%zmm") : "+r"(rounds) : : ATTNJIT_CLOBBERS); }
void dotBf16(std::int64_t rounds) { asm volatile(ATTNJIT_VECTOR_LOOP("vdpbf16ps", "%%zmm") : "+r"(rounds) : : ATTNJIT_CLOBBERS); }

/// The 64 bytes of ldtilecfg: palette 1, eight tiles of 16 rows of 64 bytes.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1, startRow = 0, reserved[14] = {};
  std::uint16_t rowBytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

void tileBf16(std::int64_t rounds) {
  static constexpr TileConfig kConfig;
  asm volatile("ldtilecfg %1\n"
               ".irp tile, 0, 1, 2, 3, 4, 5, 6, 7\n"
               "tilezero %%tmm\\tile\n"
               ".endr\n"
               "1:\n"
               ".rept 4\n"
               ".irp chain, 0, 1, 2, 3, 4, 5\n"
               "tdpbf16ps %%tmm7, %%tmm6, %%tmm\\chain\n"
               ".endr\n"
               ".endr\n"
               "dec %0\n"
               "jnz 1b\n"
               "tilerelease\n"
               : "+r"(rounds)
               : "m"(kConfig)
               : "cc");
}
// clang-format on

#undef ATTNJIT_VECTOR_LOOP
#undef ATTNJIT_CLOBBERS

/// Reads `blocks` pieces of 256 bytes. Loads that nobody waits for: the processor keeps as many under way as it can.
void readBlocks(const std::byte *from, std::int64_t blocks) {
  asm volatile("1:\n"
               "vmovups (%0), %%ymm0\n vmovups 32(%0), %%ymm1\n vmovups 64(%0), %%ymm2\n vmovups 96(%0), %%ymm3\n"
               "vmovups 128(%0), %%ymm4\n vmovups 160(%0), %%ymm5\n vmovups 192(%0), %%ymm6\n vmovups 224(%0), %%ymm7\n"
               "add $256, %0\n"
               "dec %1\n"
               "jnz 1b\n"
               "vzeroupper\n"
               : "+r"(from), "+r"(blocks)
               :
               : "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
}

bool hasAvx512() { return __builtin_cpu_supports("avx512f"); }

/// One loop over a unit, and the operations of one round of it.
struct PeakLoop {
  void (*run)(std::int64_t rounds);
  double flopsPerRound;
};

PeakLoop loopOf(PeakUnit unit) {
  const PeakLoop fma = hasAvx512() ? PeakLoop{fmaAvx512, 2.0 * kChains * kUnroll * 16} : PeakLoop{fmaAvx2, 2.0 * kChains * kUnroll * 8};
  switch (unit) {
  case PeakUnit::FmaF32:
    return fma;
  case PeakUnit::FmaF64:
    return {fma.run, fma.flopsPerRound / 2};
  case PeakUnit::DotBf16:
    return {dotBf16, 2.0 * kChains * kUnroll * 32};
  case PeakUnit::TileBf16:
    return {tileBf16, 2.0 * kTileChains * kUnroll * 16 * 16 * 32};
  }
  return fma;
}

/// What kernels may use; asks the system for tiles where there are any.
const TargetDesc &host() {
  static const Result<TargetDesc> target = hostTarget();
  static const TargetDesc none;
  return target ? *target : none;
}

} // namespace

std::int64_t nowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string_view name(PeakUnit unit) {
  static constexpr std::string_view kNames[] = {"FMA f32", "FMA f64", "vdpbf16ps", "AMX bf16"};
  return kNames[static_cast<int>(unit)];
}

bool hasPeakUnit(PeakUnit unit) {
  return unit == PeakUnit::DotBf16 ? host().hasBf16() : unit == PeakUnit::TileBf16 ? host().hasAmx() : true;
}

std::string_view peakProbeIsa() { return hasAvx512() ? "AVX-512" : "AVX2"; }

double probePeakGflops(int microseconds, PeakUnit unit) {
  if (!hasPeakUnit(unit))
    return 0;
  constexpr std::int64_t kRounds = 1000;
  const PeakLoop loop = loopOf(unit);
  const double flopsPerCall = loop.flopsPerRound * kRounds;
  // The best of short pieces: an interrupt does not lower what the machine can do.
  double best = 0;
  const std::int64_t end = nowNs() + static_cast<std::int64_t>(microseconds) * 1000;
  for (std::int64_t begin = nowNs(); begin < end;) {
    loop.run(kRounds);
    const std::int64_t after = nowNs();
    best = std::max(best, flopsPerCall / static_cast<double>(std::max<std::int64_t>(after - begin, 1)));
    begin = after;
  }
  return best;
}

/// body(index) on `threads` threads that begin at the same moment.
static void runTogether(int threads, const std::function<void(int index)> &body) {
  std::atomic<int> ready{0};
  const auto work = [&](int index) {
    ++ready;
    while (ready < threads) {
    }
    body(index);
  };
  std::vector<std::thread> helpers;
  for (int index = 1; index < threads; ++index)
    helpers.emplace_back(work, index);
  work(0);
  for (std::thread &helper : helpers)
    helper.join();
}

double probePeakGflopsThreads(int threads, int microseconds, PeakUnit unit) {
  std::vector<double> peaks(static_cast<std::size_t>(std::max(threads, 1)), 0);
  runTogether(static_cast<int>(peaks.size()),
              [&](int index) { peaks[static_cast<std::size_t>(index)] = probePeakGflops(microseconds, unit); });
  double sum = 0;
  for (const double peak : peaks)
    sum += peak;
  return sum;
}

double probeReadGBps(std::span<const std::span<const std::byte>> pieces, int threads) {
  constexpr std::int64_t kBlockBytes = 256, kGrain = 1024;
  // Grains in order, whoever is free: as a launcher hands out work.
  std::atomic<std::int64_t> taken{0}, begin{0}, end{0};
  std::int64_t blocks = 0;
  for (const std::span<const std::byte> piece : pieces)
    blocks += static_cast<std::int64_t>(piece.size()) / kBlockBytes;
  const auto readGrain = [&](std::int64_t first) {
    const std::int64_t last = std::min(first + kGrain, blocks);
    std::int64_t before = 0;
    for (const std::span<const std::byte> piece : pieces) {
      const std::int64_t here = static_cast<std::int64_t>(piece.size()) / kBlockBytes;
      const std::int64_t from = std::max(first - before, std::int64_t{0}), to = std::min(last - before, here);
      if (from < to)
        readBlocks(piece.data() + from * kBlockBytes, to - from);
      before += here;
    }
  };
  runTogether(std::max(threads, 1), [&](int) {
    std::int64_t none = 0;
    begin.compare_exchange_strong(none, nowNs()); // of the first to begin
    for (std::int64_t first; (first = taken.fetch_add(kGrain)) < blocks;)
      readGrain(first);
    const std::int64_t now = nowNs();
    for (std::int64_t seen = end; seen < now && !end.compare_exchange_weak(seen, now);) {
    }
  });
  return static_cast<double>(blocks * kBlockBytes) / static_cast<double>(std::max<std::int64_t>(end - begin, 1));
}

double quantile(std::vector<double> samples, double share) {
  if (samples.empty())
    return 0;
  std::sort(samples.begin(), samples.end());
  const double at = share * static_cast<double>(samples.size() - 1);
  const std::size_t below = static_cast<std::size_t>(at);
  const double rest = at - static_cast<double>(below);
  return below + 1 < samples.size() ? samples[below] + (samples[below + 1] - samples[below]) * rest : samples[below];
}

} // namespace attnjit::tools
