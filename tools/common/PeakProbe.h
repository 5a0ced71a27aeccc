// What this machine can do at best: the yardstick of every "% of peak". Independent fused multiply-adds on registers, the widest that
// the processor has, measured at the moment of asking, since clocks and neighbours change from one to the next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace attnjit::tools {

/// What multiplies. Which of them is the yardstick depends on what a kernel multiplies with.
enum class PeakUnit {
  FmaF32,
  FmaF64,  ///< half the lanes, so half the peak
  DotBf16, ///< vdpbf16ps of AVX-512 BF16
  TileBf16 ///< tdpbf16ps of AMX
};

/// "FMA f32", "FMA f64", "vdpbf16ps", "AMX bf16".
std::string_view name(PeakUnit unit);

/// Whether this process may probe it.
bool hasPeakUnit(PeakUnit unit);

/// "AVX-512" or "AVX2": of the FMA probes.
std::string_view peakProbeIsa();

/// GFLOP/s of the calling thread, over about `microseconds`; 0 for a unit that is not there.
double probePeakGflops(int microseconds = 300, PeakUnit unit = PeakUnit::FmaF32);

/// The same of `threads` threads at once, summed.
double probePeakGflopsThreads(int threads, int microseconds = 2000, PeakUnit unit = PeakUnit::FmaF32);

/// GB/s at which `threads` threads together read the given pieces of memory from beginning to end, once, doing nothing else with it. What a
/// kernel that has to read them cannot beat, wherever they are (memory or a cache).
double probeReadGBps(std::span<const std::span<const std::byte>> pieces, int threads);

/// Sorts and answers the value below which `share` of the samples lie; 0 for none.
double quantile(std::vector<double> samples, double share);

/// Nanoseconds of a steady clock.
std::int64_t nowNs();

} // namespace attnjit::tools
