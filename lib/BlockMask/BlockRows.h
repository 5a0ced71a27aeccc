// Which blocks of keys each block of queries sees, as runs: the answer of every question about a mask, and all that is kept of it.
//
//   causal, 4 x 4 blocks:   row 0  [0,1) partial                      ▒
//                           row 1  [0,1) full   [1,2) partial         █▒
//                           row 2  [0,2) full   [2,3) partial         ██▒
//                           row 3  [0,3) full   [3,4) partial         ███▒
//
// A run is 8 bytes and a row has about as many runs as the mask has edges in it, so a million tokens take some hundred kilobytes where
// a list of block indices takes gigabytes. Batches and heads that the mask does not tell apart share their rows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace attnjit::plan {

/// Blocks [begin, end) of one row. What no run covers is empty.
struct BlockRun {
  std::uint32_t begin = 0;
  std::uint32_t end : 31 = 0;
  std::uint32_t full : 1 = 0; ///< every pair is visible; 0: some are (or it is not known)
  bool operator==(const BlockRun &) const = default;
};
static_assert(sizeof(BlockRun) == 8);

/// The largest number of blocks in a row.
inline constexpr std::int64_t kMaxBlocks = (std::int64_t{1} << 31) - 1;

enum class Verdict : std::uint8_t { Empty, Partial, Full };

struct BlockCounts {
  std::int64_t partial = 0, full = 0;
};

struct BlockRows {
  std::int64_t batches = 1, heads = 1; ///< that have rows of their own: 1 = all alike
  std::int64_t rows = 0, cols = 0;     ///< blocks of queries, blocks of keys
  std::vector<std::int64_t> offsets;   ///< [batches * heads * rows + 1], into runs
  std::vector<BlockRun> runs;          ///< of a row: ascending, disjoint, neighbours differ

  std::int64_t rowIndex(std::int64_t b, std::int64_t h, std::int64_t row) const {
    return ((batches > 1 ? b : 0) * heads + (heads > 1 ? h : 0)) * rows + row;
  }
  std::span<const BlockRun> row(std::int64_t index) const {
    return {runs.data() + offsets[index], static_cast<std::size_t>(offsets[index + 1] - offsets[index])};
  }
  std::span<const BlockRun> row(std::int64_t b, std::int64_t h, std::int64_t r) const { return row(rowIndex(b, h, r)); }
  std::size_t bytes() const { return offsets.size() * sizeof(std::int64_t) + runs.size() * sizeof(BlockRun); }
  bool operator==(const BlockRows &) const = default;
};

/// Extends the runs of a row; runs come in ascending order. Empty ones are dropped and like neighbours become one.
void append(std::vector<BlockRun> &runs, std::size_t rowBegin, std::int64_t begin, std::int64_t end, bool full);

/// Of all distinct rows; those of shared batches and heads once.
BlockCounts count(const BlockRows &rows);

/// `rows` with what `change(row, runs, rowBegin)` appends for each distinct row instead of its runs.
template <typename Change> BlockRows rebuilt(const BlockRows &shape, Change change) {
  BlockRows result;
  result.batches = shape.batches;
  result.heads = shape.heads;
  result.rows = shape.rows;
  result.cols = shape.cols;
  const std::int64_t count = shape.batches * shape.heads * shape.rows;
  result.offsets.reserve(static_cast<std::size_t>(count + 1));
  result.offsets.push_back(0);
  for (std::int64_t row = 0; row < count; ++row) {
    change(row, result.runs, result.runs.size());
    result.offsets.push_back(static_cast<std::int64_t>(result.runs.size()));
  }
  return result;
}

/// Full blocks of the last row or column become partial, where that row or column sticks out of the sequence.
BlockRows withRaggedPartial(const BlockRows &rows, bool lastRow, bool lastCol);
/// Full blocks become partial.
BlockRows withoutFull(const BlockRows &rows);
/// Batches [b, b + batches), heads and rows alike; a shared batch or head stays shared.
BlockRows sliced(const BlockRows &rows, std::int64_t b, std::int64_t batches, std::int64_t h, std::int64_t heads, std::int64_t row,
                 std::int64_t count);
/// The first `count` rows and `cols` columns.
BlockRows cropped(const BlockRows &rows, std::int64_t count, std::int64_t cols);
/// `known` in the first knownRows x knownCols, `fresh` (which is as large as the result) elsewhere.
BlockRows grown(const BlockRows &known, std::int64_t knownRows, std::int64_t knownCols, const BlockRows &fresh);

enum class Logic : std::uint8_t { And, Or, Xor };
/// Block by block; rows and cols are the same, batches and heads are the same or 1. Partial unless one of the two settles it.
BlockRows combined(Logic logic, const BlockRows &x, const BlockRows &y);
/// Full and empty change places.
BlockRows complement(const BlockRows &rows);

/// Walks two rows side by side: calls visit(begin, end, verdict of x, verdict of y) for every stretch on which both are constant, gaps
/// included, from 0 to `cols`.
template <typename Visit> void forEachStretch(std::span<const BlockRun> x, std::span<const BlockRun> y, std::int64_t cols, Visit visit) {
  std::size_t i = 0, j = 0;
  const auto verdictAt = [](std::span<const BlockRun> runs, std::size_t at, std::int64_t begin, std::int64_t &end) {
    if (at == runs.size())
      return Verdict::Empty;
    if (begin < runs[at].begin) {
      end = std::int64_t{runs[at].begin} < end ? std::int64_t{runs[at].begin} : end;
      return Verdict::Empty;
    }
    end = std::int64_t{runs[at].end} < end ? std::int64_t{runs[at].end} : end;
    return runs[at].full ? Verdict::Full : Verdict::Partial;
  };
  for (std::int64_t begin = 0; begin < cols;) {
    while (i < x.size() && x[i].end <= begin)
      ++i;
    while (j < y.size() && y[j].end <= begin)
      ++j;
    std::int64_t end = cols;
    const Verdict ofX = verdictAt(x, i, begin, end), ofY = verdictAt(y, j, begin, end);
    visit(begin, end, ofX, ofY);
    begin = end;
  }
}

} // namespace attnjit::plan
