#include "Runtime/GpuParts.h"

#include <algorithm>

namespace attnjit::runtime {

namespace {

std::int64_t divideUp(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// What a part costs beside its blocks of keys, and what the merge costs per part, in blocks: the queries and first keys are waited for,
/// states are written and read.
constexpr double kBlocksPerPart = 4, kBlocksPerMerge = 1.0 / 16;
/// Thread blocks that a multiprocessor runs at a time.
constexpr std::int64_t kResident = 2;
/// The shortest time of a part, of what it takes where all multiprocessors run one: alone, and where two share a multiprocessor while
/// others run one. Measured, as that one part for each multiprocessor reads memory faster than two, and more are no better
/// (docs/performance.md).
constexpr double kAlone = 0.95, kInPairs = 1.3;
constexpr std::int64_t kMostPerMultiprocessor = 4;

/// How long it takes, in blocks of keys of one multiprocessor's share of memory.
double costOf(std::int64_t blocks, std::int64_t tiles, std::int64_t parts, std::int64_t multiprocessors) {
  const std::int64_t atOnce = kResident * multiprocessors, units = tiles * parts, last = units % atOnce;
  const double part = static_cast<double>(divideUp(blocks, parts)) + kBlocksPerPart, share = part / static_cast<double>(multiprocessors);
  const double full = static_cast<double>(units - last) * share, merge = parts > 1 ? kBlocksPerMerge * static_cast<double>(parts) : 0;
  if (last == 0)
    return full + merge;
  return full + std::max(static_cast<double>(last) * share, (last > multiprocessors ? kInPairs : kAlone) * part) + merge;
}

} // namespace

std::int64_t gpuKeysPerPart(std::int64_t keys, std::int64_t tiles, std::int64_t tileCols, std::int64_t multiprocessors) {
  const std::int64_t blocks = std::max<std::int64_t>(divideUp(keys, tileCols), 1);
  const std::int64_t most = std::min(blocks, divideUp(kMostPerMultiprocessor * multiprocessors, std::max<std::int64_t>(tiles, 1)));
  std::int64_t best = 1;
  for (std::int64_t parts = 2; parts <= most; ++parts)
    if (costOf(blocks, tiles, parts, multiprocessors) < costOf(blocks, tiles, best, multiprocessors))
      best = parts;
  return divideUp(blocks, best) * tileCols;
}

} // namespace attnjit::runtime
