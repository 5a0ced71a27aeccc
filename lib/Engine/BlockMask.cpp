#include "attnjit/BlockMask.h"

#include "Engine/BlockMaskImpl.h"
#include "Engine/CaptureCheck.h"
#include "Engine/Guard.h"

#include <algorithm>
#include <fmt/format.h>

namespace attnjit::inline v0 {

using plan::BlockRun;

namespace {

/// Entries of the largest tensor that is made.
constexpr __int128 kMaxEntries = __int128{1} << 31;

Error invalid(std::string message) { return {ErrorCode::InvalidArgument, std::move(message)}; }

Result<void> checkEntries(const BlockMaskImpl &mask, std::string_view what) {
  const __int128 entries = static_cast<__int128>(mask.B) * mask.H * mask.rows.rows * mask.rows.cols;
  if (entries <= kMaxEntries)
    return {};
  return Error{ErrorCode::Unsupported,
               fmt::format("{}: {} x {} grids of {} x {} blocks have more than 2^31 entries; slice the mask, or use larger blocks", what,
                           mask.B, mask.H, mask.rows.rows, mask.rows.cols)};
}

IndexTensor zeros(std::vector<std::int64_t> sizes) {
  IndexTensor tensor;
  std::size_t count = 1;
  for (const std::int64_t size : sizes)
    count *= static_cast<std::size_t>(size);
  tensor.data.assign(count, 0);
  tensor.sizes = std::move(sizes);
  return tensor;
}

/// Counts and indices of the set cells of each row of a grid, set ones first; lists both ascending.
void listRow(const std::uint8_t *cells, std::int64_t count, std::int64_t stride, std::uint8_t wanted, std::int32_t &number,
             std::int32_t *indices) {
  for (const bool present : {true, false})
    for (std::int64_t i = 0; i < count; ++i)
      if ((cells[i * stride] == wanted) == present) {
        *indices++ = static_cast<std::int32_t>(i);
        number += present;
      }
}

/// 0 empty, 1 partial, 2 full.
void paint(std::span<const BlockRun> runs, std::uint8_t *cells) {
  for (const BlockRun &run : runs)
    std::fill(cells + run.begin, cells + run.end, run.full ? 2 : 1);
}

Result<IndexRange> resolve(std::string_view what, IndexRange range, std::int64_t size) {
  IndexRange resolved = range;
  resolved.begin += resolved.begin < 0 ? size : 0;
  resolved.end += resolved.end < 0 ? size : 0;
  resolved.end = std::min(resolved.end, size);
  if (resolved.begin < 0 || resolved.begin >= resolved.end)
    return invalid(fmt::format("slice: {} [{}, {}) is empty or outside; the mask has {}", what, range.begin,
                               range.end == IndexRange().end ? "end" : std::to_string(range.end), size));
  return resolved;
}

} // namespace

TensorRef IndexTensor::ref() {
  TensorRef ref;
  ref.data = data.data();
  ref.dtype = DType::I32;
  ref.rank = static_cast<int>(sizes.size());
  std::int64_t stride = 1;
  for (int dim = ref.rank - 1; dim >= 0; --dim) {
    ref.sizes[dim] = sizes[dim];
    ref.strides[dim] = stride;
    stride *= sizes[dim];
  }
  return ref;
}

BlockMask::BlockMask(std::shared_ptr<const BlockMaskImpl> mask) : mask(std::move(mask)) {}
BlockMask::~BlockMask() = default;
BlockMask::BlockMask(const BlockMask &) = default;
BlockMask::BlockMask(BlockMask &&other) noexcept : mask(other.mask) {} // a moved-from BlockMask stays usable
BlockMask &BlockMask::operator=(const BlockMask &) = default;
BlockMask &BlockMask::operator=(BlockMask &&other) noexcept {
  mask = other.mask;
  return *this;
}

std::int64_t BlockMask::batches() const { return mask->B; }
std::int64_t BlockMask::heads() const { return mask->H; }
std::int64_t BlockMask::qLength() const { return mask->qLength; }
std::int64_t BlockMask::kvLength() const { return mask->kvLength; }
std::int64_t BlockMask::blockQ() const { return mask->blockQ; }
std::int64_t BlockMask::blockKv() const { return mask->blockKv; }
std::int64_t BlockMask::rows() const { return mask->rows.rows; }
std::int64_t BlockMask::cols() const { return mask->rows.cols; }
std::array<std::int64_t, 4> BlockMask::shape() const { return {mask->B, mask->H, mask->qLength, mask->kvLength}; }

double BlockMask::numel() const {
  double product = 1;
  for (const std::int64_t size : shape())
    product *= static_cast<double>(size);
  return product;
}

double BlockMask::sparsity() const {
  const plan::BlockRows &rows = mask->rows;
  const double total =
      static_cast<double>(rows.batches) * static_cast<double>(rows.heads) * static_cast<double>(rows.rows) * static_cast<double>(rows.cols);
  const plan::BlockCounts counts = plan::count(rows);
  return total > 0 ? 100 * (1 - static_cast<double>(counts.partial + counts.full) / total) : 0;
}

std::size_t BlockMask::bytes() const { return mask->rows.bytes(); }
const BlockMaskReport &BlockMask::report() const { return mask->report; }
const Mod &BlockMask::maskMod() const { return mask->mod; }
const std::vector<CaptureArgument> &BlockMask::captures() const { return mask->captures; }
bool BlockMask::isDerived() const { return mask->derived; }

Result<IndexTensor> BlockMask::toDense() const {
  return engine::guarded([&]() -> Result<IndexTensor> {
    if (Result<void> fits = checkEntries(*mask, "toDense"); !fits)
      return fits.error();
    const std::int64_t rowCount = rows(), colCount = cols();
    IndexTensor dense = zeros({mask->B, mask->H, rowCount, colCount});
    std::int32_t *at = dense.data.data();
    for (std::int64_t b = 0; b < mask->B; ++b)
      for (std::int64_t h = 0; h < mask->H; ++h)
        for (std::int64_t row = 0; row < rowCount; ++row, at += colCount)
          for (const BlockRun &run : mask->rows.row(b, h, row))
            std::fill(at + run.begin, at + run.end, 1);
    return dense;
  });
}

Result<BlockTensors> BlockMask::tensors(bool withQBlocks) const {
  return engine::guarded([&]() -> Result<BlockTensors> {
    if (Result<void> fits = checkEntries(*mask, "tensors"); !fits)
      return fits.error();
    const std::int64_t B = mask->B, H = mask->H, rowCount = rows(), colCount = cols();
    BlockTensors tensors;
    tensors.qLength = mask->qLength;
    tensors.kvLength = mask->kvLength;
    tensors.blockQ = mask->blockQ;
    tensors.blockKv = mask->blockKv;
    const auto kvNumbers = [&] { return zeros({B, H, rowCount}); };
    const auto kvIndices = [&] { return zeros({B, H, rowCount, colCount}); };
    const auto qNumbers = [&] { return zeros({B, H, colCount}); };
    const auto qIndices = [&] { return zeros({B, H, colCount, rowCount}); };
    tensors.kvNumBlocks = kvNumbers();
    tensors.kvIndices = kvIndices();
    if (mask->separatesFull) {
      tensors.fullKvNumBlocks = kvNumbers();
      tensors.fullKvIndices = kvIndices();
    }
    if (withQBlocks) {
      tensors.qNumBlocks = qNumbers();
      tensors.qIndices = qIndices();
      if (mask->separatesFull) {
        tensors.fullQNumBlocks = qNumbers();
        tensors.fullQIndices = qIndices();
      }
    }
    std::vector<std::uint8_t> grid(static_cast<std::size_t>(rowCount * colCount));
    for (std::int64_t head = 0; head < B * H; ++head) {
      std::fill(grid.begin(), grid.end(), 0);
      for (std::int64_t row = 0; row < rowCount; ++row)
        paint(mask->rows.row(head / H, head % H, row), grid.data() + row * colCount);
      const auto list = [&](std::uint8_t wanted, IndexTensor &numbers, IndexTensor &indices, bool byColumn) {
        const std::int64_t lists = byColumn ? colCount : rowCount, length = byColumn ? rowCount : colCount;
        for (std::int64_t i = 0; i < lists; ++i)
          listRow(grid.data() + (byColumn ? i : i * colCount), length, byColumn ? colCount : 1, wanted, numbers.data[head * lists + i],
                  indices.data.data() + (head * lists + i) * length);
      };
      list(1, tensors.kvNumBlocks, tensors.kvIndices, false);
      if (mask->separatesFull)
        list(2, *tensors.fullKvNumBlocks, *tensors.fullKvIndices, false);
      if (withQBlocks) {
        list(1, *tensors.qNumBlocks, *tensors.qIndices, true);
        if (mask->separatesFull)
          list(2, *tensors.fullQNumBlocks, *tensors.fullQIndices, true);
      }
    }
    return tensors;
  });
}

std::string BlockMask::toString(std::int64_t gridRows, std::int64_t gridCols, std::int64_t limit) const {
  const std::int64_t rowCount = rows(), colCount = cols();
  const auto stepFor = [](std::int64_t count, std::int64_t most) {
    return most <= 0 ? 1 : std::max<std::int64_t>(1, (count + most - 1) / most);
  };
  const std::int64_t rowStep = stepFor(rowCount, gridRows), colStep = stepFor(colCount, gridCols);
  std::string text;
  for (std::int64_t head = 0; head < mask->B * mask->H; ++head) {
    if (head == limit)
      return text + fmt::format("({} more: toString(gridRows, gridCols, limit) draws more of them, slice(b, h) picks one)\n",
                                mask->B * mask->H - limit);
    const std::int64_t b = head / mask->H, h = head % mask->H;
    text += fmt::format("({}, {})\n", b, h);
    std::vector<std::int64_t> present(static_cast<std::size_t>((colCount + colStep - 1) / colStep));
    for (std::int64_t row = 0; row < rowCount; row += rowStep) {
      std::fill(present.begin(), present.end(), 0);
      const std::int64_t rowEnd = std::min(rowCount, row + rowStep);
      for (std::int64_t r = row; r < rowEnd; ++r)
        for (const BlockRun &run : mask->rows.row(b, h, r))
          for (std::int64_t cell = run.begin / colStep; cell * colStep < run.end; ++cell)
            present[cell] += std::min<std::int64_t>(run.end, (cell + 1) * colStep) - std::max<std::int64_t>(run.begin, cell * colStep);
      for (std::size_t cell = 0; cell < present.size(); ++cell) {
        const std::int64_t first = static_cast<std::int64_t>(cell) * colStep,
                           blocks = (rowEnd - row) * (std::min(colCount, first + colStep) - first);
        text += present[cell] == blocks ? "██" : present[cell] ? "░░" : "  ";
      }
      text += '\n';
    }
  }
  return text;
}

std::string BlockMask::text() const {
  return fmt::format("BlockMask(shape=({}, {}, {}, {}), block=({}, {}), sparsity={:.2f}%)\n{}", mask->B, mask->H, mask->qLength,
                     mask->kvLength, mask->blockQ, mask->blockKv, sparsity(), toString());
}

Result<BlockMask> BlockMask::slice(IndexRange batches, IndexRange heads, IndexRange rows) const {
  return engine::guarded([&]() -> Result<BlockMask> {
    const Result<IndexRange> b = resolve("batches", batches, mask->B), h = resolve("heads", heads, mask->H),
                             row = resolve("rows of blocks", rows, mask->rows.rows);
    for (const Result<IndexRange> *range : {&b, &h, &row})
      if (!*range)
        return range->error();
    const std::int64_t B = b->end - b->begin, H = h->end - h->begin;
    std::shared_ptr<BlockMaskImpl> sliced =
        mask->withRows(plan::sliced(mask->rows, b->begin, B, h->begin, H, row->begin, row->end - row->begin));
    sliced->B = B;
    sliced->H = H;
    sliced->qLength = std::min(mask->qLength, row->end * mask->blockQ) - row->begin * mask->blockQ;
    // A dimension that was cut stays cut, also where the cut begins at 0: the kernel of every slice is the same.
    sliced->moves = {mask->moves.b || sliced->B < mask->B, mask->moves.h || sliced->H < mask->H,
                     mask->moves.q || sliced->rows.rows < mask->rows.rows};
    sliced->bOffset = mask->bOffset + b->begin;
    sliced->hOffset = mask->hOffset + h->begin;
    sliced->qOffset = mask->qOffset + row->begin * mask->blockQ;
    sliced->moveMod();
    return BlockMask(std::move(sliced));
  });
}

Result<BlockMask> BlockMask::adjust(std::int64_t qLength, std::int64_t kvLength) const {
  return engine::guarded([&]() -> Result<BlockMask> {
    for (const auto &[what, length, now] :
         {std::tuple{"qLength", qLength, mask->qLength}, std::tuple{"kvLength", kvLength, mask->kvLength}})
      if (length < 0 || length > now)
        return invalid(fmt::format("adjust: {} {} is {}; the mask has {}{}", what, length, length < 0 ? "negative" : "larger than now", now,
                                   length < 0 ? "" : ", grow() makes it longer"));
    const std::int64_t rowCount = (qLength + mask->blockQ - 1) / mask->blockQ, colCount = (kvLength + mask->blockKv - 1) / mask->blockKv;
    std::shared_ptr<BlockMaskImpl> adjusted = mask->withRows(plan::cropped(mask->rows, rowCount, colCount));
    // Blocks of lists decide as they are; a derived mask is as if it had been made for these lengths.
    if (mask->derived)
      adjusted->rows = plan::withRaggedPartial(adjusted->rows, qLength % mask->blockQ != 0, kvLength % mask->blockKv != 0);
    adjusted->qLength = qLength;
    adjusted->kvLength = kvLength;
    adjusted->moveMod();
    return BlockMask(std::move(adjusted));
  });
}

Result<BlockMask> BlockMask::withCaptures(const std::vector<CaptureArgument> &captures) const {
  return engine::guarded([&]() -> Result<BlockMask> {
    const Result<engine::BoundCaptures> bound = engine::bindCaptures(captures, mask->baseMod.impl(), engine::CheckFor::Launch);
    if (!bound)
      return bound.error();
    Result<std::vector<CaptureArgument>> named = engine::namedCaptures(captures, mask->baseMod);
    if (!named)
      return named.error();
    std::shared_ptr<BlockMaskImpl> other = mask->withRows(mask->rows);
    other->baseCaptures = std::move(*named);
    other->moveMod();
    return BlockMask(std::move(other));
  });
}

std::shared_ptr<BlockMaskImpl> BlockMaskImpl::withRows(plan::BlockRows others) const {
  auto made = std::make_shared<BlockMaskImpl>();
  static_cast<BlockMaskProperties &>(*made) = *this;
  made->rows = std::move(others);
  return made;
}

void BlockMaskImpl::moveMod() {
  mod = baseMod;
  captures = baseCaptures;
  if (!baseMod.hasMask() || !(moves.b || moves.h || moves.q))
    return;
  std::vector<std::string> names;
  mod = engine::movedMask(baseMod, moves, names);
  std::size_t next = 0;
  for (const auto &[moved, offset] : {std::pair{moves.b, bOffset}, {moves.h, hOffset}, {moves.q, qOffset}})
    if (moved)
      captures.push_back({names[next++], offset});
}

Result<BlockMaskImpl::Composed> BlockMaskImpl::compose(const Mod &from, bool withTable) const {
  constexpr std::size_t kMostKept = 8;
  std::lock_guard lock(mutex);
  for (const Entry &entry : known)
    if (&entry.from.impl() == &from.impl() && entry.withTable == withTable)
      return entry.composed;
  Composed composed{from, {}};
  if (!from.hasMask() && mod.hasMask()) {
    Result<Mod> joined = chainMods({from, mod});
    if (!joined)
      return joined.error();
    composed.mod = *joined;
  }
  if (withTable)
    composed.mod = engine::withStateTable(composed.mod, composed.tableNames);
  if (known.size() == kMostKept)
    known.erase(known.begin());
  known.push_back({from, withTable, composed});
  return composed;
}

Result<TensorRef> BlockMaskImpl::stateTable() const {
  const __int128 entries = static_cast<__int128>(rows.batches) * rows.heads * rows.rows * rows.cols;
  if (entries > kMaxEntries)
    return Error{ErrorCode::Unsupported,
                 fmt::format("the block mask has {} x {} grids of {} x {} blocks, more than 2^31 in all; use larger "
                             "blocks, or rows of blocks that are a multiple of the kernel's tile",
                             rows.batches, rows.heads, rows.rows, rows.cols)};
  std::lock_guard lock(mutex);
  if (states.empty()) {
    states.assign(static_cast<std::size_t>(entries), 0);
    for (std::int64_t row = 0; row < rows.batches * rows.heads * rows.rows; ++row)
      paint(rows.row(row), reinterpret_cast<std::uint8_t *>(states.data()) + row * rows.cols);
  }
  TensorRef table = TensorRef::dense(states.data(), DType::I8, {rows.batches, rows.heads, rows.rows, rows.cols});
  if (rows.batches == 1)
    table.strides[0] = 0;
  if (rows.heads == 1)
    table.strides[1] = 0;
  return table;
}

} // namespace attnjit::inline v0
