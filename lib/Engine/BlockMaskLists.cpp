// Block masks from lists of blocks: everything that can be wrong with them is found here, since nothing later looks again.
#include "Engine/BlockMaskImpl.h"
#include "Engine/CaptureCheck.h"
#include "Engine/Guard.h"
#include "Engine/TensorCheck.h"
#include "Expr/Interp.h"

#include <algorithm>
#include <fmt/format.h>
#include <tuple>

namespace attnjit::inline v0 {

namespace {

Error invalid(std::string message) { return {ErrorCode::InvalidArgument, "fromKvBlocks: " + std::move(message)}; }

/// A tensor of integers brought to `rank` by leading dimensions of 1.
Result<TensorRef> normalised(std::string_view name, const TensorRef &tensor, int rank, int leastRank) {
  if (tensor.rank < leastRank || tensor.rank > rank)
    return invalid(fmt::format("{} has {} dimensions; expected {} to {}, [B, H, rows{}] without leading ones", name, tensor.rank, leastRank,
                               rank, rank == 4 ? ", cols" : ""));
  if (tensor.dtype != DType::I32 && tensor.dtype != DType::I64)
    return invalid(fmt::format("{} is of {}; expected i32 or i64", name, attnjit::name(tensor.dtype)));
  if (Result<void> view = engine::checkView(name, tensor, tensor.rank, true); !view)
    return view.error();
  TensorRef padded = tensor;
  const int missing = rank - tensor.rank;
  for (int dim = 0; dim < rank; ++dim) {
    padded.sizes[dim] = dim < missing ? 1 : tensor.sizes[dim - missing];
    padded.strides[dim] = dim < missing ? 0 : tensor.strides[dim - missing];
  }
  padded.rank = rank;
  return padded;
}

/// One kind of lists: partial or full.
struct Lists {
  const char *countsName, *indicesName;
  TensorRef counts, indices;

  std::int64_t count(std::int64_t b, std::int64_t h, std::int64_t row) const {
    return expr::loadElement(counts.data, counts.dtype, b * counts.strides[0] + h * counts.strides[1] + row * counts.strides[2]).i;
  }
  std::int64_t index(std::int64_t b, std::int64_t h, std::int64_t row, std::int64_t entry) const {
    return expr::loadElement(indices.data, indices.dtype,
                             b * indices.strides[0] + h * indices.strides[1] + row * indices.strides[2] + entry * indices.strides[3])
        .i;
  }
};

Result<Lists> listsOf(const char *countsName, const TensorRef &counts, const char *indicesName, const TensorRef &indices) {
  const Result<TensorRef> wide = normalised(indicesName, indices, 4, 2), narrow = normalised(countsName, counts, 3, 1);
  if (!wide || !narrow)
    return wide ? narrow.error() : wide.error();
  for (int dim = 0; dim < 3; ++dim)
    if (narrow->sizes[dim] != wide->sizes[dim])
      return invalid(fmt::format("{} has sizes {}, {} has {}; the first is one count per row of the second", countsName,
                                 engine::sizesText(counts), indicesName, engine::sizesText(indices)));
  return Lists{countsName, indicesName, *narrow, *wide};
}

struct Entry {
  std::int64_t column;
  bool full;
  const Lists *from;
  std::int64_t place; ///< within `from`
};

/// The entries of one row, checked one by one.
Result<void> readRow(const Lists &lists, bool full, std::int64_t b, std::int64_t h, std::int64_t row, std::vector<Entry> &entries) {
  const std::int64_t cols = lists.indices.sizes[3], count = lists.count(b, h, row);
  if (count < 0 || count > cols)
    return invalid(fmt::format("{}[{}, {}, {}] is {}; a row has 0 to {} blocks", lists.countsName, b, h, row, count, cols));
  for (std::int64_t place = 0; place < count; ++place) {
    const std::int64_t column = lists.index(b, h, row, place);
    if (column < 0 || column >= cols)
      return invalid(fmt::format("{}[{}, {}, {}, {}] is {}; columns are 0 to {}", lists.indicesName, b, h, row, place, column, cols - 1));
    entries.push_back({column, full, &lists, place});
  }
  return {};
}

/// Brings the entries into order; an equal column twice is an error.
Result<void> sortRow(std::int64_t b, std::int64_t h, std::int64_t row, std::vector<Entry> &entries) {
  const auto order = [](const Entry &x, const Entry &y) {
    return std::tuple(x.column, x.full, x.place) < std::tuple(y.column, y.full, y.place);
  };
  if (!std::is_sorted(entries.begin(), entries.end(), order))
    std::sort(entries.begin(), entries.end(), order);
  const auto same = std::adjacent_find(entries.begin(), entries.end(), [](const Entry &x, const Entry &y) { return x.column == y.column; });
  if (same == entries.end())
    return {};
  const auto placeOf = [&](const Entry &entry) {
    return fmt::format("{}[{}, {}, {}, {}]", entry.from->indicesName, b, h, row, entry.place);
  };
  return invalid(fmt::format("column {} is listed twice: {} and {}{}", same->column, placeOf(same[0]), placeOf(same[1]),
                             same[0].full != same[1].full ? "; a block is partial or full, not both" : ""));
}

/// Batches and heads whose rows are all equal share them.
plan::BlockRows shared(plan::BlockRows rows) {
  const auto headsEqual = [&] {
    for (std::int64_t b = 0; b < rows.batches; ++b)
      for (std::int64_t h = 1; h < rows.heads; ++h)
        for (std::int64_t row = 0; row < rows.rows; ++row)
          if (!std::ranges::equal(rows.row(b, h, row), rows.row(b, 0, row)))
            return false;
    return true;
  };
  const auto batchesEqual = [&] {
    for (std::int64_t b = 1; b < rows.batches; ++b)
      for (std::int64_t h = 0; h < rows.heads; ++h)
        for (std::int64_t row = 0; row < rows.rows; ++row)
          if (!std::ranges::equal(rows.row(b, h, row), rows.row(0, h, row)))
            return false;
    return true;
  };
  const std::int64_t heads = headsEqual() ? 1 : rows.heads, batches = batchesEqual() ? 1 : rows.batches;
  if (heads == rows.heads && batches == rows.batches)
    return rows;
  return plan::sliced(rows, 0, batches, 0, heads, 0, rows.rows);
}

} // namespace

Result<BlockMask> BlockMask::fromKvBlocks(const KvBlocks &blocks, const FromKvBlocksOptions &options) {
  return engine::guarded([&]() -> Result<BlockMask> {
    const Result<Lists> partial = listsOf("kvNumBlocks", blocks.kvNumBlocks, "kvIndices", blocks.kvIndices);
    if (!partial)
      return partial.error();
    if (blocks.fullKvNumBlocks.has_value() != blocks.fullKvIndices.has_value())
      return invalid("fullKvNumBlocks and fullKvIndices: give both or neither");
    std::optional<Lists> full;
    if (blocks.fullKvIndices) {
      const Result<Lists> given = listsOf("fullKvNumBlocks", *blocks.fullKvNumBlocks, "fullKvIndices", *blocks.fullKvIndices);
      if (!given)
        return given.error();
      full = *given;
      if (!std::equal(full->indices.sizes.begin(), full->indices.sizes.begin() + 4, partial->indices.sizes.begin()))
        return invalid(fmt::format("fullKvIndices has sizes {}, kvIndices {}; they have to be equal",
                                   engine::sizesText(*blocks.fullKvIndices), engine::sizesText(blocks.kvIndices)));
    }
    auto mask = std::make_shared<BlockMaskImpl>();
    const auto &sizes = partial->indices.sizes;
    const std::int64_t rowCount = sizes[2], cols = sizes[3];
    constexpr std::int64_t kMaxBlock = std::int64_t{1} << 30;
    for (const auto &[name, size] : {std::pair{"blockQ", options.blockQ}, {"blockKv", options.blockKv}})
      if (size < 1 || size > kMaxBlock)
        return invalid(fmt::format("{} is {}; 1 to {} are accepted", name, size, kMaxBlock));
    if (rowCount > plan::kMaxBlocks || cols > plan::kMaxBlocks)
      return invalid(fmt::format("{} x {} blocks; at most 2^31 - 1 are accepted in a row or column", rowCount, cols));
    mask->qLength = options.qLength ? options.qLength : rowCount * options.blockQ;
    mask->kvLength = options.kvLength ? options.kvLength : cols * options.blockKv;
    for (const auto &[name, length, block, count] :
         {std::tuple{"qLength", mask->qLength, options.blockQ, rowCount}, std::tuple{"kvLength", mask->kvLength, options.blockKv, cols}})
      if (length < 0 || length / block + (length % block != 0) != count)
        return invalid(fmt::format("{} is {}: blocks of {} make {} of them, the lists have {}", name, length, block,
                                   length < 0 ? 0 : length / block + (length % block != 0), count));
    mask->B = sizes[0];
    mask->H = sizes[1];
    if (mask->B < 1 || mask->H < 1)
      return invalid(fmt::format("kvIndices has sizes {}; B and H are at least 1", engine::sizesText(blocks.kvIndices)));
    mask->blockQ = options.blockQ;
    mask->blockKv = options.blockKv;
    mask->separatesFull = full.has_value();

    Result<engine::BoundCaptures> bound = engine::bindCaptures(options.captures, options.maskMod.impl(), engine::CheckFor::Launch);
    if (!bound)
      return bound.error();
    Result<std::vector<CaptureArgument>> named = engine::namedCaptures(options.captures, options.maskMod);
    if (!named)
      return named.error();
    mask->baseMod = options.maskMod.maskOnly();
    for (const CaptureInfo &info : mask->baseMod.captures())
      for (CaptureArgument &argument : *named)
        if (argument.name == info.name)
          mask->baseCaptures.push_back(argument);

    plan::BlockRows shape;
    shape.batches = mask->B;
    shape.heads = mask->H;
    shape.rows = rowCount;
    shape.cols = cols;
    std::vector<Entry> entries;
    std::optional<Error> failure;
    plan::BlockRows rows = plan::rebuilt(shape, [&](std::int64_t index, std::vector<plan::BlockRun> &runs, std::size_t begin) {
      if (failure)
        return;
      const std::int64_t row = index % rowCount, h = index / rowCount % mask->H, b = index / rowCount / mask->H;
      entries.clear();
      Result<void> read = readRow(*partial, false, b, h, row, entries);
      if (read && full)
        read = readRow(*full, true, b, h, row, entries);
      if (read)
        read = sortRow(b, h, row, entries);
      if (!read) {
        failure = read.error();
        return;
      }
      for (const Entry &entry : entries)
        plan::append(runs, begin, entry.column, entry.column + 1, entry.full);
    });
    if (failure)
      return *failure;
    mask->rows = shared(std::move(rows));
    mask->moveMod();
    return BlockMask(std::move(mask));
  });
}

} // namespace attnjit::inline v0
