#include "BlockMask/BlockRows.h"

#include <algorithm>

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

BlockRows withRaggedPartial(const BlockRows &rows, bool lastRow, bool lastCol) {
  if (!lastRow && !lastCol)
    return rows;
  return rebuilt(rows, [&](std::int64_t index, std::vector<BlockRun> &runs, std::size_t begin) {
    const bool isLast = lastRow && index % rows.rows == rows.rows - 1;
    for (const BlockRun &run : rows.row(index)) {
      const bool cut = lastCol && run.end == rows.cols;
      append(runs, begin, run.begin, run.end - cut, run.full && !isLast);
      append(runs, begin, run.end - cut, run.end, false);
    }
  });
}

BlockRows withoutFull(const BlockRows &rows) {
  return rebuilt(rows, [&](std::int64_t index, std::vector<BlockRun> &runs, std::size_t begin) {
    for (const BlockRun &run : rows.row(index))
      append(runs, begin, run.begin, run.end, false);
  });
}

BlockRows sliced(const BlockRows &rows, std::int64_t b, std::int64_t batches, std::int64_t h, std::int64_t heads, std::int64_t row,
                 std::int64_t count) {
  BlockRows shape;
  shape.batches = rows.batches > 1 ? batches : 1;
  shape.heads = rows.heads > 1 ? heads : 1;
  shape.rows = count;
  shape.cols = rows.cols;
  return rebuilt(shape, [&](std::int64_t index, std::vector<BlockRun> &runs, std::size_t) {
    const std::int64_t head = index / count % shape.heads, batch = index / count / shape.heads;
    const std::span<const BlockRun> from = rows.row(b + batch, h + head, row + index % count);
    runs.insert(runs.end(), from.begin(), from.end());
  });
}

BlockRows cropped(const BlockRows &rows, std::int64_t count, std::int64_t cols) {
  BlockRows shape = sliced(rows, 0, rows.batches, 0, rows.heads, 0, count);
  shape.cols = cols;
  const BlockRows &whole = shape;
  return rebuilt(shape, [&](std::int64_t index, std::vector<BlockRun> &runs, std::size_t begin) {
    for (const BlockRun &run : whole.row(index))
      append(runs, begin, run.begin, std::min<std::int64_t>(run.end, cols), run.full);
  });
}

BlockRows grown(const BlockRows &known, std::int64_t knownRows, std::int64_t knownCols, const BlockRows &fresh) {
  return rebuilt(fresh, [&](std::int64_t index, std::vector<BlockRun> &runs, std::size_t begin) {
    const std::int64_t row = index % fresh.rows, head = index / fresh.rows % fresh.heads, batch = index / fresh.rows / fresh.heads;
    if (row < knownRows)
      for (const BlockRun &run : known.row(batch, head, row))
        append(runs, begin, run.begin, std::min<std::int64_t>(run.end, knownCols), run.full);
    for (const BlockRun &run : fresh.row(index))
      append(runs, begin, run.begin, run.end, run.full);
  });
}

BlockRows combined(Logic logic, const BlockRows &x, const BlockRows &y) {
  BlockRows shape;
  shape.batches = std::max(x.batches, y.batches);
  shape.heads = std::max(x.heads, y.heads);
  shape.rows = x.rows;
  shape.cols = x.cols;
  return rebuilt(shape, [&](std::int64_t index, std::vector<BlockRun> &runs, std::size_t rowBegin) {
    const std::int64_t row = index % shape.rows, head = index / shape.rows % shape.heads, batch = index / shape.rows / shape.heads;
    forEachStretch(x.row(batch, head, row), y.row(batch, head, row), shape.cols,
                   [&](std::int64_t begin, std::int64_t end, Verdict a, Verdict b) {
                     const bool isPartial = a == Verdict::Partial || b == Verdict::Partial;
                     const bool aFull = a == Verdict::Full, bFull = b == Verdict::Full;
                     if (logic == Logic::And && (a == Verdict::Empty || b == Verdict::Empty))
                       return;
                     if (logic == Logic::Or && (aFull || bFull))
                       return append(runs, rowBegin, begin, end, true);
                     if (isPartial)
                       return append(runs, rowBegin, begin, end, false);
                     if (logic == Logic::Xor ? aFull != bFull : aFull && bFull)
                       append(runs, rowBegin, begin, end, true);
                   });
  });
}

BlockRows complement(const BlockRows &rows) {
  return rebuilt(rows, [&](std::int64_t index, std::vector<BlockRun> &runs, std::size_t rowBegin) {
    forEachStretch(rows.row(index), {}, rows.cols, [&](std::int64_t begin, std::int64_t end, Verdict verdict, Verdict) {
      if (verdict != Verdict::Full)
        append(runs, rowBegin, begin, end, verdict == Verdict::Empty);
    });
  });
}

} // namespace attnjit::plan
