#include "Runtime/GpuParts.h"

#include <algorithm>

namespace attnjit::runtime {

namespace {

std::int64_t divideUp(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// What a part costs beside its blocks of keys, and what the merge costs per part, in blocks: the queries and first keys are waited for,
/// states are written and read.
constexpr double kBlocksPerPart = 4, kBlocksPerMerge = 1.0 / 16;
/// More waves of thread blocks than this even nothing out any more.
constexpr std::int64_t kMostWaves = 4;

} // namespace

std::int64_t gpuKeysPerPart(std::int64_t keys, std::int64_t tiles, std::int64_t tileCols, std::int64_t blocksAtOnce) {
  const std::int64_t blocks = std::max<std::int64_t>(divideUp(keys, tileCols), 1), atOnce = std::max<std::int64_t>(blocksAtOnce, 1);
  const std::int64_t most = std::min(blocks, divideUp(kMostWaves * atOnce, std::max<std::int64_t>(tiles, 1)));
  std::int64_t best = 1;
  double least = 0;
  for (std::int64_t parts = 1; parts <= most; ++parts) {
    const double waves = static_cast<double>(divideUp(tiles * parts, atOnce)), merge = parts > 1 ? kBlocksPerMerge : 0;
    const double cost = waves * (static_cast<double>(divideUp(blocks, parts)) + kBlocksPerPart) + merge * static_cast<double>(parts);
    if (parts == 1 || cost < least) {
      best = parts;
      least = cost;
    }
  }
  return divideUp(blocks, best) * tileCols;
}

} // namespace attnjit::runtime
