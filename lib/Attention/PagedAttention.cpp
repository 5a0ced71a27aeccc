// The books of a page pool. Nothing here knows of engines.
#include "attnjit/Paged.h"

#include "Attention/HiddenCaptures.h"
#include "Engine/Guard.h"
#include "Engine/IndexTensor.h"
#include "Engine/TensorCheck.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <limits>
#include <set>

namespace attnjit::inline v0 {

using namespace attention;
using engine::checkIndexTensor;
using engine::indexAt;
using engine::invalidTensor;
using engine::sizesText;
using expr::Kind;
using expr::Op;
using expr::Param;

namespace {

Error refuse(std::string why) { return {ErrorCode::InvalidArgument, std::move(why)}; }

TensorRef tableView(const std::vector<std::int64_t> &table, std::int64_t rows, std::int64_t columns) {
  return TensorRef::dense(const_cast<std::int64_t *>(table.data()), DType::I64, {rows, columns}); // captures are only read (A8)
}

Result<void> checkCache(std::string_view name, const TensorRef &cache, std::int64_t tokens) {
  if (Result<void> view = engine::checkView(name, cache, 4, true); !view)
    return view;
  if (cache.sizes[0] != 1 || cache.sizes[2] != tokens)
    return invalidTensor(name, fmt::format("its sizes are {}, expected [1, H, pages * page size = {}, D]", sizesText(cache), tokens));
  return {};
}

/// Copies `rows` rows of [., H, ., D] views that are moved to their first row already.
void copyRows(const TensorRef &from, std::int64_t fromOffset, const TensorRef &to, std::int64_t toOffset, std::int64_t rows) {
  const auto element = static_cast<std::int64_t>(sizeInBytes(from.dtype));
  for (std::int64_t h = 0; h < from.sizes[1]; ++h)
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t d = 0; d < from.sizes[3]; ++d)
        std::memcpy(static_cast<char *>(to.data) + (toOffset + h * to.strides[1] + row * to.strides[2] + d * to.strides[3]) * element,
                    static_cast<const char *>(from.data) +
                        (fromOffset + h * from.strides[1] + row * from.strides[2] + d * from.strides[3]) * element,
                    static_cast<std::size_t>(element));
}

} // namespace

Result<PagedAttention> PagedAttention::create(std::int64_t pages, std::int64_t pageSize, std::int64_t maxBatch) {
  return engine::guarded([&]() -> Result<PagedAttention> {
    for (auto [name, size] : {std::pair{"pages", pages}, {"page size", pageSize}, {"max batch", maxBatch}})
      if (size < 1)
        return refuse(fmt::format("PagedAttention: the {} is {}; it must be at least 1", name, size));
    constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
    if (pages > kMost || pageSize > kMost || maxBatch > (std::int64_t{1} << 40) / pages)
      return refuse(
          fmt::format("PagedAttention: {} pages of {} for {} sequences are more than page tables can name", pages, pageSize, maxBatch));
    PagedAttention made;
    made.pageCount = pages;
    made.tokensPerPage = pageSize;
    made.table.assign(static_cast<std::size_t>(pages * maxBatch), -1);
    made.inverse = made.table;
    made.capacities.assign(static_cast<std::size_t>(maxBatch), 0);
    made.holding.assign(static_cast<std::size_t>(pages), 0);
    for (std::int64_t page = pages - 1; page >= 0; --page)
      made.empty.push_back(page);
    return made;
  });
}

Result<void> PagedAttention::checkBatch(std::int64_t batch) const {
  if (batch >= 0 && batch < maxBatch())
    return {};
  return refuse(fmt::format("sequence {} does not exist; there are {} (0 to {})", batch, maxBatch(), maxBatch() - 1));
}

void PagedAttention::give(std::int64_t batch, std::int64_t logicalPage, std::int64_t physicalPage) {
  physical(batch, logicalPage) = physicalPage;
  logical(batch, physicalPage) = logicalPage;
  ++holding[static_cast<std::size_t>(physicalPage)];
}

void PagedAttention::release(std::int64_t physicalPage) {
  if (--holding[static_cast<std::size_t>(physicalPage)] == 0)
    empty.push_back(physicalPage);
}

Result<void> PagedAttention::reserve(std::int64_t batch, std::int64_t seqLen) {
  if (Result<void> exists = checkBatch(batch); !exists)
    return exists;
  if (seqLen < 0)
    return refuse(fmt::format("sequence {}: a length of {} is negative", batch, seqLen));
  if (seqLen <= capacity(batch))
    return {};
  const std::int64_t held = pagesOf(batch), wanted = (seqLen - 1) / tokensPerPage + 1 - held;
  if (wanted > emptyPages())
    return refuse(fmt::format("sequence {}: {} tokens need {} more pages of {}, but only {} of {} are empty; erase a sequence, or make a "
                              "larger pool",
                              batch, seqLen, wanted, tokensPerPage, emptyPages(), pages()));
  // The last pages of the stack in the order in which they stand there, as PyTorch deals them.
  const std::size_t first = empty.size() - static_cast<std::size_t>(wanted);
  for (std::int64_t i = 0; i < wanted; ++i)
    give(batch, held + i, empty[first + static_cast<std::size_t>(i)]);
  empty.resize(first);
  capacities[static_cast<std::size_t>(batch)] += wanted * tokensPerPage;
  return {};
}

Result<void> PagedAttention::erase(std::int64_t batch) {
  if (Result<void> exists = checkBatch(batch); !exists)
    return exists;
  for (std::int64_t page = 0, count = pagesOf(batch); page < count; ++page) {
    std::int64_t &place = physical(batch, page);
    logical(batch, place) = -1;
    release(place);
    place = -1;
  }
  capacities[static_cast<std::size_t>(batch)] = 0;
  return {};
}

Result<void> PagedAttention::share(std::int64_t from, std::int64_t to, std::int64_t seqLen) {
  for (const std::int64_t batch : {from, to})
    if (Result<void> exists = checkBatch(batch); !exists)
      return exists;
  if (capacity(to) != 0)
    return refuse(fmt::format("sequence {} holds pages already; erase it before it shares those of sequence {}", to, from));
  if (seqLen < 0 || seqLen > capacity(from))
    return refuse(fmt::format("sequence {} cannot share {} tokens: it holds {}", from, seqLen, capacity(from)));
  const std::int64_t count = (seqLen + tokensPerPage - 1) / tokensPerPage;
  for (std::int64_t page = 0; page < count; ++page)
    give(to, page, physical(from, page));
  capacities[static_cast<std::size_t>(to)] = count * tokensPerPage;
  return {};
}

Result<PageWrites> PagedAttention::place(std::span<const std::int64_t> batches, const TensorRef &inputPos, const TensorRef &kVal,
                                         const TensorRef &vVal, const TensorRef &kCache, const TensorRef &vCache) {
  return engine::guarded([&]() -> Result<PageWrites> {
    const std::int64_t tokens = pages() * pageSize(), count = static_cast<std::int64_t>(batches.size());
    if (Result<void> index = checkIndexTensor("input_pos", inputPos, 2); !index)
      return index.error();
    const std::int64_t S = inputPos.sizes[1];
    for (auto [name, values, cacheName, cache] :
         {std::tuple{"k_val", &kVal, "k_cache", &kCache}, std::tuple{"v_val", &vVal, "v_cache", &vCache}}) {
      if (Result<void> view = checkCache(cacheName, *cache, tokens); !view)
        return view.error();
      if (Result<void> view = engine::checkView(name, *values, 4, true); !view)
        return view.error();
      if (values->dtype != cache->dtype)
        return invalidTensor(
            name, fmt::format("its dtype is {}, that of {} is {}", attnjit::name(values->dtype), cacheName, attnjit::name(cache->dtype)));
      if (values->sizes[0] != count || values->sizes[1] != cache->sizes[1] || values->sizes[2] != S || values->sizes[3] != cache->sizes[3])
        return invalidTensor(name,
                             fmt::format("its sizes are {}, expected [{}, {}, {}, {}]: sequences, heads of {}, tokens of input_pos, head "
                                         "dimension of {}",
                                         sizesText(*values), count, cache->sizes[1], S, cache->sizes[3], cacheName, cacheName));
    }
    if (inputPos.sizes[0] != count)
      return invalidTensor("input_pos", fmt::format("it has {} rows for {} sequences", inputPos.sizes[0], count));

    // First everything that can fail; a page is copied once, however many tokens go there.
    std::set<std::pair<std::int64_t, std::int64_t>> written; // (sequence, logical page)
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t batch = batches[static_cast<std::size_t>(i)];
      if (Result<void> exists = checkBatch(batch); !exists)
        return exists.error();
      for (std::int64_t s = 0; s < S; ++s) {
        const std::int64_t position = indexAt(inputPos, i, s);
        if (position < 0 || position >= capacity(batch))
          return invalidTensor("input_pos",
                               fmt::format("position {} at [{}, {}] is not one of the {} tokens reserved for sequence {}; reserve() "
                                           "more",
                                           position, i, s, capacity(batch), batch));
        written.emplace(batch, position / tokensPerPage);
      }
    }
    // Of the sequences that share a page, each writer but the last one to be alone with it needs a copy.
    std::vector<std::int32_t> left = holding;
    std::int64_t copies = 0;
    for (const auto &[batch, page] : written)
      if (std::int32_t &sharing = left[static_cast<std::size_t>(physical(batch, page))]; sharing > 1) {
        --sharing;
        ++copies;
      }
    if (copies > emptyPages())
      return refuse(
          fmt::format("{} shared pages have to be copied before they are written to, but only {} pages are empty; erase a sequence, "
                      "or make a larger pool",
                      copies, emptyPages()));

    PageWrites writes;
    for (const auto &[batch, page] : written) {
      const std::int64_t old = physical(batch, page);
      if (holding[static_cast<std::size_t>(old)] == 1)
        continue;
      const std::int64_t own = empty.back();
      empty.pop_back();
      logical(batch, old) = -1;
      release(old);
      give(batch, page, own);
      writes.copies.emplace_back(old, own);
    }
    for (std::int64_t i = 0; i < count; ++i)
      for (std::int64_t s = 0; s < S; ++s) {
        const std::int64_t position = indexAt(inputPos, i, s);
        writes.rows.push_back(physical(batches[static_cast<std::size_t>(i)], position / tokensPerPage) * tokensPerPage +
                              position % tokensPerPage);
      }
    return writes;
  });
}

Result<void> PagedAttention::assign(std::span<const std::int64_t> batches, const TensorRef &inputPos, const TensorRef &kVal,
                                    const TensorRef &vVal, const TensorRef &kCache, const TensorRef &vCache) {
  Result<PageWrites> writes = place(batches, inputPos, kVal, vVal, kCache, vCache);
  if (!writes)
    return writes.error();
  for (const auto &[values, cache] : {std::pair{&kVal, &kCache}, {&vVal, &vCache}}) {
    const std::int64_t ofRow = cache->strides[2], S = inputPos.sizes[1];
    for (const auto &[from, to] : writes->copies)
      copyRows(*cache, from * tokensPerPage * ofRow, *cache, to * tokensPerPage * ofRow, tokensPerPage);
    for (std::size_t token = 0; token < writes->rows.size(); ++token) {
      const std::int64_t i = static_cast<std::int64_t>(token) / S, s = static_cast<std::int64_t>(token) % S;
      copyRows(*values, i * values->strides[0] + s * values->strides[2], *cache, writes->rows[token] * ofRow, 1);
    }
  }
  return {};
}

std::int64_t PagedAttention::capacity(std::int64_t batch) const {
  return checkBatch(batch) ? capacities[static_cast<std::size_t>(batch)] : 0;
}

std::int64_t PagedAttention::holders(std::int64_t page) const {
  return page >= 0 && page < pageCount ? holding[static_cast<std::size_t>(page)] : 0;
}

bool PagedAttention::shares(std::int64_t batch) const {
  if (!checkBatch(batch))
    return false;
  const std::int64_t *row = table.data() + batch * pageCount;
  return std::any_of(row, row + pagesOf(batch), [&](std::int64_t page) { return holders(page) > 1; });
}

TensorRef PagedAttention::pageTable() const { return tableView(table, maxBatch(), pageCount); }
TensorRef PagedAttention::physicalToLogical() const { return tableView(inverse, maxBatch(), pageCount); }

Result<Mod> PagedAttention::physicalMod(const Mod &mod, bool hasKvLen) const {
  return engine::guarded([&]() -> Result<Mod> {
    Rewriting rewriting(mod);
    Result<int> pageOf = rewriting.addTensor("physical_to_logical", DType::I64, 2);
    if (!pageOf)
      return pageOf.error();
    int lengthOf = -1;
    if (hasKvLen) {
      Result<int> added = rewriting.addTensor("kv_len", DType::I64, 1);
      if (!added)
        return added.error();
      lengthOf = *added;
    }
    /// Whether a row of the cache holds a key of the sequence, and the position of that key (0 where it holds none, so that what the user's
    /// formula indexes with it stays in bounds).
    auto locate = [&](expr::Builder &b, expr::ValueId &position) {
      const expr::ValueId size = b.constantInt(tokensPerPage), batch = b.param(Param::B), row = b.param(Param::Kv);
      const expr::ValueId indices[] = {batch, b.op(Op::FloorDiv, {row, size})};
      const expr::ValueId page = b.load(*pageOf, Kind::Int, indices);
      const expr::ValueId place = b.op(Op::Add, {b.op(Op::Mul, {page, size}), b.op(Op::FloorMod, {row, size})});
      expr::ValueId live = b.op(Op::Le, {b.constantInt(0), page});
      if (hasKvLen)
        live = b.op(Op::LogicalAnd, {live, b.op(Op::Lt, {place, b.load(lengthOf, Kind::Int, {&batch, 1})})});
      position = b.op(Op::Select, {live, place, b.constantInt(0)});
      return live;
    };
    auto inlined = [&](expr::Builder &b, const expr::Function &function, expr::ValueId position) {
      expr::Replacements replacements;
      replacements[Param::Kv] = position;
      return expr::inlineInto(b, function, rewriting.renaming(), replacements);
    };
    expr::Builder score, mask, prob;
    expr::ValueId position;
    expr::ValueId live = locate(score, position);
    const expr::ValueId hidden = score.constantFloat(-std::numeric_limits<double>::infinity());
    const expr::ValueId scored = score.op(Op::Select, {live, inlined(score, rewriting.original().score, position), hidden});
    live = locate(mask, position);
    const expr::ValueId visible = mask.op(Op::LogicalAnd, {live, inlined(mask, rewriting.original().mask, position)});
    locate(prob, position); // where it counts the row is live
    const expr::ValueId reweighted = inlined(prob, rewriting.original().prob, position);
    return std::move(rewriting).finish(score.finish(scored), mask.finish(visible), prob.finish(reweighted));
  });
}

std::vector<CaptureArgument> PagedAttention::captures(std::optional<TensorRef> kvLen, std::int64_t first) const {
  TensorRef inverseRows = physicalToLogical();
  first = std::clamp<std::int64_t>(first, 0, maxBatch());
  inverseRows.data = static_cast<std::int64_t *>(inverseRows.data) + first * pageCount;
  inverseRows.sizes[0] -= first;
  std::vector<CaptureArgument> captures = {{"physical_to_logical", inverseRows}};
  if (kvLen)
    captures.push_back({"kv_len", *kvLen});
  return captures;
}

} // namespace attnjit::inline v0
