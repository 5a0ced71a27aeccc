#include "BlockMask/BlockRows.h"

namespace attnjit::plan {

void append(std::vector<BlockRun> &runs, std::size_t rowBegin, std::int64_t begin, std::int64_t end, bool full) {
  if (begin >= end)
    return;
  if (runs.size() > rowBegin && runs.back().end == begin && runs.back().full == full) {
    runs.back().end = static_cast<std::uint32_t>(end);
    return;
  }
  BlockRun run;
  run.begin = static_cast<std::uint32_t>(begin);
  run.end = static_cast<std::uint32_t>(end);
  run.full = full;
  runs.push_back(run);
}

BlockCounts count(const BlockRows &rows) {
  BlockCounts counts;
  for (const BlockRun &run : rows.runs)
    (run.full ? counts.full : counts.partial) += run.end - run.begin;
  return counts;
}

} // namespace attnjit::plan
