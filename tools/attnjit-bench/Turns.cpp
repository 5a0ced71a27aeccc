#include "Turns.h"

#include <algorithm>

namespace attnjit::tools {

namespace {

constexpr std::int64_t kProbeNs = 1'000'000;

Turn probe(const std::optional<Yardstick> &held) {
  if (!held)
    return {};
  const Yardstick &yardstick = *held;
  constexpr int kMicroseconds = kProbeNs / 1000;
  const int threads = std::max(1, yardstick.threads);
  Turn seen;
  seen.peakGflops =
      threads == 1 ? probePeakGflops(kMicroseconds, yardstick.unit) : probePeakGflopsThreads(threads, kMicroseconds, yardstick.unit);
  if (!yardstick.reads.empty())
    seen.readGBps = *sampleFor(kProbeNs, [&] { return Result<double>(probeReadGBps(yardstick.reads, threads)); });
  return seen;
}

} // namespace

Result<double> sampleFor(std::int64_t leastNs, const std::function<Result<double>()> &sample) {
  std::vector<double> samples;
  const std::int64_t end = nowNs() + leastNs;
  do {
    const Result<double> one = sample();
    if (!one)
      return one;
    samples.push_back(*one);
  } while (nowNs() < end);
  if (samples.size() > 1)
    samples.erase(samples.begin());
  return quantile(std::move(samples), 0.5);
}

Result<std::vector<std::vector<Turn>>> takeTurns(std::span<const Contender> contenders, int passes, std::int64_t leastNs) {
  std::vector<std::vector<Turn>> turns(contenders.size());
  for (int pass = 0; pass < passes; ++pass)
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      const Turn before = probe(contenders[i].yardstick);
      const Result<double> ns = sampleFor(leastNs, contenders[i].call);
      if (!ns)
        return ns.error();
      const Turn after = probe(contenders[i].yardstick);
      turns[i].push_back({std::max(*ns, 1.0), 0.5 * (before.peakGflops + after.peakGflops), 0.5 * (before.readGBps + after.readGBps)});
    }
  return turns;
}

std::vector<double> valuesOf(std::span<const Turn> turns, const std::function<double(const Turn &turn)> &each) {
  std::vector<double> values;
  for (const Turn &turn : turns)
    values.push_back(each(turn));
  return values;
}

std::vector<double> ratiosOf(std::span<const Turn> turns, std::span<const Turn> baseTurns) {
  std::vector<double> ratios;
  for (std::size_t pass = 0; pass < turns.size(); ++pass)
    ratios.push_back(turns[pass].ns / baseTurns[pass].ns);
  return ratios;
}

} // namespace attnjit::tools
