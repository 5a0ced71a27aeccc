// Fair timing. Things that are compared take turns in one process, and each turn stands between two probes of what the machine can do at
// that moment: a neighbour that slows the machine down slows all of them down, and the probes with them.
#pragma once

#include "common/PeakProbe.h"

#include "attnjit/Result.h"

#include <functional>
#include <optional>

namespace attnjit::tools {

/// What a contender on the CPU is held against.
struct Yardstick {
  PeakUnit unit = PeakUnit::FmaF32;
  int threads = 1;
  /// Memory that it cannot help reading, e.g. K and V; none: reading is not probed.
  std::vector<std::span<const std::byte>> reads = {};
};

struct Contender {
  std::function<Result<double>()> call;             ///< one call; answers its nanoseconds
  std::optional<Yardstick> yardstick = Yardstick{}; ///< none: nothing is probed, for what runs on a GPU
};

/// One turn: nanoseconds of a call, and the mean of the probes before and after it; 0 for what was not probed.
struct Turn {
  double ns = 0, peakGflops = 0, readGBps = 0;
};

/// Samples until `leastNs` have passed and answers the median, without the first if there was another: that one found the caches of whoever
/// had the turn before. With 0 it is one sample.
Result<double> sampleFor(std::int64_t leastNs, const std::function<Result<double>()> &sample);

/// `passes` rounds in which every contender has one turn: answers [contender][pass]. Ends at the first error.
Result<std::vector<std::vector<Turn>>> takeTurns(std::span<const Contender> contenders, int passes, std::int64_t leastNs = 0);

/// each(turn) of every turn.
std::vector<double> valuesOf(std::span<const Turn> turns, const std::function<double(const Turn &turn)> &each);

/// Times of a contender as multiples of another's, turn by turn: what slowed one of a pair down slowed the other down, too.
std::vector<double> ratiosOf(std::span<const Turn> turns, std::span<const Turn> baseTurns);

} // namespace attnjit::tools
