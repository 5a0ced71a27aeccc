// What this machine can do at best: the yardstick of every "% of peak". Independent fused multiply-adds on registers, widest vectors that
// the processor has, measured at the moment of asking, since clocks and neighbours change from one to the next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace attnjit::tools {

/// "AVX-512" or "AVX2".
std::string_view peakProbeIsa();

/// f32 GFLOP/s of the calling thread, over about `microseconds`.
double probePeakGflops(int microseconds = 300);

/// The same of `threads` threads at once, summed.
double probePeakGflopsThreads(int threads, int microseconds = 2000);

/// GB/s at which `threads` threads together read the given pieces of memory from beginning to end, once, doing nothing else with it. What a
/// kernel that has to read them cannot beat, wherever they are (memory or a cache).
double probeReadGBps(std::span<const std::span<const std::byte>> pieces, int threads);

/// Sorts and answers the value below which `share` of the samples lie; 0 for none.
double quantile(std::vector<double> samples, double share);

/// Nanoseconds of a steady clock.
std::int64_t nowNs();

} // namespace attnjit::tools
