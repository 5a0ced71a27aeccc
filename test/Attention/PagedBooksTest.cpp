// The books of PagedAttention: PyTorch's golden table, sharing, copies on write, block lists, and every refusal.
#include "Execute/EngineTestUtil.h"

#include <doctest/doctest.h>
#include <numeric>

using namespace attnjit;
using namespace attnjit::test;

namespace {

PagedAttention books(std::int64_t pages, std::int64_t pageSize, std::int64_t maxBatch) {
  Result<PagedAttention> made = PagedAttention::create(pages, pageSize, maxBatch);
  REQUIRE_MESSAGE(made, made.error().message);
  return std::move(*made);
}

std::vector<std::int64_t> row(const TensorRef &table, std::int64_t batch) {
  const auto *begin = static_cast<const std::int64_t *>(table.data) + batch * table.sizes[1];
  return {begin, begin + table.sizes[1]};
}

using Row = std::vector<std::int64_t>;
using Positions = std::vector<std::vector<std::int64_t>>;

/// Caches whose key row r holds 1000 + r in every head and column, and values its negative.
struct Caches {
  explicit Caches(std::int64_t tokens) : k(2 * tokens * 3), v(2 * tokens * 2) {
    kCache = TensorRef::dense(k.data(), DType::F32, {1, 2, tokens, 3});
    vCache = TensorRef::dense(v.data(), DType::F32, {1, 2, tokens, 2});
    for (std::int64_t r = 0; r < tokens; ++r)
      for (std::int64_t h = 0; h < 2; ++h) {
        for (int d = 0; d < 3; ++d)
          k[(h * tokens + r) * 3 + d] = 1000.0f + static_cast<float>(r);
        for (int d = 0; d < 2; ++d)
          v[(h * tokens + r) * 2 + d] = -1000.0f - static_cast<float>(r);
      }
  }
  std::vector<float> k, v;
  TensorRef kCache, vCache;
};

/// Tokens to write: key (i, h, s, d) is 100 i + 10 s + h, values its negative.
struct Tokens {
  explicit Tokens(const std::vector<std::vector<std::int64_t>> &at)
      : n(static_cast<std::int64_t>(at.size())), S(static_cast<std::int64_t>(at[0].size())) {
    for (const auto &one : at)
      positions.insert(positions.end(), one.begin(), one.end());
    for (std::int64_t i = 0; i < n; ++i)
      for (std::int64_t h = 0; h < 2; ++h)
        for (std::int64_t s = 0; s < S; ++s) {
          k.insert(k.end(), 3, static_cast<float>(100 * i + 10 * s + h));
          v.insert(v.end(), 2, -static_cast<float>(100 * i + 10 * s + h));
        }
    inputPos = TensorRef::dense(positions.data(), DType::I64, {n, S});
    kVal = TensorRef::dense(k.data(), DType::F32, {n, 2, S, 3});
    vVal = TensorRef::dense(v.data(), DType::F32, {n, 2, S, 2});
  }
  std::int64_t n, S;
  std::vector<std::int64_t> positions;
  std::vector<float> k, v;
  TensorRef inputPos, kVal, vVal;
};

} // namespace

TEST_CASE("paged: PyTorch's golden table") {
  PagedAttention pages = books(8, 128, 2);
  CHECK(pages.emptyPages() == 8);
  const std::int64_t rounds[][2] = {{100, 200}, {150, 300}, {300, 512}, {512, 512}};
  for (const auto &round : rounds)
    for (std::int64_t batch : {0, 1})
      REQUIRE(pages.reserve(batch, round[batch]));
  CHECK(row(pages.pageTable(), 0) == Row{0, 3, 5, 7, -1, -1, -1, -1});
  CHECK(row(pages.pageTable(), 1) == Row{2, 1, 4, 6, -1, -1, -1, -1});
  CHECK(row(pages.physicalToLogical(), 0) == Row{0, -1, -1, 1, -1, 2, -1, 3});
  CHECK(row(pages.physicalToLogical(), 1) == Row{-1, 1, 0, -1, 2, -1, 3, -1});
  CHECK(pages.capacity(0) == 512);
  CHECK(pages.emptyPages() == 0);
  const Result<void> more = pages.reserve(0, 513);
  REQUIRE(!more);
  CHECK_MESSAGE(contains(more.error().message, "513 tokens need 1 more pages of 128, but only 0 of 8 are empty"), more.error().message);
  CHECK(pages.capacity(0) == 512);

  // Causal over 512 x 512: PyTorch's golden lists of sequence 0 (0, 3, 5, 7), in ascending order.
  const Result<BlockMask> causal = createBlockMask(parseMod("", "q_idx >= kv_idx"), {}, 1, 1, 512, 512);
  REQUIRE(causal);
  const Result<BlockMask> converted = pages.convertLogicalBlockMask(*causal, 0, 2);
  REQUIRE_MESSAGE(converted, converted.error().message);
  CHECK(converted->shape() == std::array<std::int64_t, 4>{2, 1, 512, 1024});
  const BlockTensors lists = *converted->tensors(false);
  CHECK(lists.kvNumBlocks.data == std::vector<std::int32_t>{1, 1, 1, 1, 1, 1, 1, 1});
  CHECK(lists.fullKvNumBlocks->data == std::vector<std::int32_t>{0, 1, 2, 3, 0, 1, 2, 3});
  const std::vector<std::int32_t> partial[] = {{0, 3, 5, 7}, {2, 1, 4, 6}}, full[] = {{0, 3, 5}, {1, 2, 4}};
  for (int batch : {0, 1})
    for (int r = 0; r < 4; ++r)
      CHECK(lists.kvIndices.data[(batch * 4 + r) * 8] == partial[batch][r]);
  for (int batch : {0, 1}) {
    const auto last = lists.fullKvIndices->data.begin() + (batch * 4 + 3) * 8;
    CHECK(std::vector<std::int32_t>(last, last + 3) == full[batch]);
  }
  CHECK(lists.fullKvIndices->data[(4 + 1) * 8] == 2);

  // Keys that are not there yet: the page that holds the end is partial, not full.
  std::vector<std::int64_t> lengths = {512, 300};
  const Result<BlockMask> cut = pages.convertLogicalBlockMask(*causal, 0, 2, TensorRef::dense(lengths.data(), DType::I64, {2}));
  REQUIRE(cut);
  CHECK(cut->tensors(false)->fullKvNumBlocks->data == std::vector<std::int32_t>{0, 1, 2, 3, 0, 1, 2, 2});
}

TEST_CASE("paged: erased pages are dealt again, and leave no trace") {
  PagedAttention pages = books(4, 10, 3);
  REQUIRE(pages.reserve(0, 20));
  REQUIRE(pages.reserve(1, 11));
  CHECK(row(pages.pageTable(), 0) == Row{1, 0, -1, -1});
  CHECK(row(pages.pageTable(), 1) == Row{3, 2, -1, -1});
  REQUIRE(pages.erase(0));
  CHECK(pages.capacity(0) == 0);
  CHECK(pages.emptyPages() == 2);
  CHECK(row(pages.pageTable(), 0) == Row(4, -1));
  CHECK(row(pages.physicalToLogical(), 0) == Row(4, -1));
  REQUIRE(pages.erase(0)); // nothing to give back
  REQUIRE(pages.reserve(2, 20));
  CHECK(row(pages.pageTable(), 2) == Row{1, 0, -1, -1});
  CHECK(!pages.reserve(0, 1));
}

TEST_CASE("paged: tokens go to their rows, whatever the strides") {
  PagedAttention pages = books(4, 4, 2);
  REQUIRE(pages.reserve(0, 4));
  REQUIRE(pages.reserve(1, 8)); // pages 2, 1
  Caches caches(16);
  Tokens tokens(Positions{{3, 0}, {5, 1}});
  const std::int64_t batches[] = {0, 1};
  REQUIRE(pages.assign(batches, tokens.inputPos, tokens.kVal, tokens.vVal, caches.kCache, caches.vCache));
  const std::pair<std::int64_t, float> written[] = {{3, 0.0f}, {0, 10.0f}, {1 * 4 + 1, 100.0f}, {2 * 4 + 1, 110.0f}};
  for (const auto &[at, value] : written)
    for (std::int64_t h = 0; h < 2; ++h) {
      CHECK(caches.k[(h * 16 + at) * 3 + 2] == value + static_cast<float>(h));
      CHECK(caches.v[(h * 16 + at) * 2] == -value - static_cast<float>(h));
    }
  CHECK(std::count_if(caches.k.begin(), caches.k.end(), [](float x) { return x >= 1000; }) == 2 * 12 * 3);

  // The same tokens with the length outermost in memory.
  Caches strided(16);
  std::vector<float> shuffled(tokens.k.size());
  TensorRef kVal = tokens.kVal;
  kVal.data = shuffled.data();
  kVal.strides = {6, 3, 12, 1};
  for (std::int64_t i = 0; i < 2; ++i)
    for (std::int64_t h = 0; h < 2; ++h)
      for (std::int64_t s = 0; s < 2; ++s)
        for (std::int64_t d = 0; d < 3; ++d)
          shuffled[i * 6 + h * 3 + s * 12 + d] = tokens.k[((i * 2 + h) * 2 + s) * 3 + d];
  REQUIRE(pages.assign(batches, tokens.inputPos, kVal, tokens.vVal, strided.kCache, strided.vCache));
  CHECK(strided.k == caches.k);
}

TEST_CASE("paged: a shared prefix is counted, and copied when it is written to") {
  PagedAttention pages = books(6, 4, 3);
  REQUIRE(pages.reserve(0, 12)); // pages 2, 1, 0
  REQUIRE(pages.share(0, 1, 6)); // pages 2, 1
  REQUIRE(pages.share(1, 2, 8));
  CHECK(row(pages.pageTable(), 2) == Row{2, 1, -1, -1, -1, -1});
  CHECK(pages.capacity(1) == 8);
  CHECK(pages.holders(2) == 3);
  CHECK(pages.holders(0) == 1);
  CHECK(pages.emptyPages() == 3);

  // Token 6 of sequence 1 lies in the shared page 1: it moves to page 3 with all that the page holds.
  Caches caches(24);
  Tokens token(Positions{{6}});
  const std::int64_t one[] = {1};
  REQUIRE(pages.assign(one, token.inputPos, token.kVal, token.vVal, caches.kCache, caches.vCache));
  CHECK(row(pages.pageTable(), 1) == Row{2, 3, -1, -1, -1, -1});
  CHECK(row(pages.physicalToLogical(), 1) == Row{-1, -1, 0, 1, -1, -1});
  CHECK(pages.holders(1) == 2);
  CHECK(pages.holders(3) == 1);
  for (std::int64_t h = 0; h < 2; ++h) {
    CHECK(caches.k[(h * 24 + 3 * 4 + 1) * 3] == 1005.0f); // copied
    CHECK(caches.v[(h * 24 + 3 * 4 + 1) * 2] == -1005.0f);
    CHECK(caches.k[(h * 24 + 3 * 4 + 2) * 3] == static_cast<float>(h)); // written
    CHECK(caches.k[(h * 24 + 1 * 4 + 2) * 3] == 1006.0f);               // the others' page is as it was
  }
  REQUIRE(pages.assign(one, token.inputPos, token.kVal, token.vVal, caches.kCache, caches.vCache)); // its own page: no more copies
  CHECK(pages.emptyPages() == 2);

  // A page goes back when its last holder leaves.
  REQUIRE(pages.erase(0));
  CHECK(pages.emptyPages() == 3);
  CHECK(pages.holders(1) == 1);
  REQUIRE(pages.erase(2));
  REQUIRE(pages.erase(1));
  CHECK(pages.emptyPages() == 6);

  // Two sharers that both write: one copy is enough, and there must be a page for it.
  PagedAttention full = books(2, 4, 2);
  REQUIRE(full.reserve(0, 4));
  REQUIRE(full.share(0, 1, 4));
  Tokens both(Positions{{1}, {1}});
  const std::int64_t two[] = {0, 1};
  Caches small(8);
  PagedAttention fuller = full;
  REQUIRE(fuller.erase(1));
  REQUIRE(fuller.reserve(1, 4));
  CHECK(fuller.emptyPages() == 0);
  REQUIRE(full.assign(two, both.inputPos, both.kVal, both.vVal, small.kCache, small.vCache));
  CHECK(full.emptyPages() == 0);
  CHECK(row(full.pageTable(), 0) == Row{1, -1});
  CHECK(row(full.pageTable(), 1) == Row{0, -1});
}

TEST_CASE("paged: rows and copies for who writes by himself, who reads positions only") {
  PagedAttention pages = books(6, 4, 2);
  REQUIRE(pages.reserve(0, 8)); // pages 1, 0
  CHECK_FALSE(pages.shares(0));
  REQUIRE(pages.share(0, 1, 8));
  CHECK(pages.shares(0));
  CHECK(pages.shares(1));
  CHECK_FALSE(pages.shares(7));

  Tokens tokens(Positions{{3, 4}});
  Caches caches(24);
  for (TensorRef *unread : {&tokens.kVal, &tokens.vVal, &caches.kCache, &caches.vCache})
    unread->data = reinterpret_cast<void *>(16);
  const std::int64_t one[] = {1};
  const Result<PageWrites> writes = pages.place(one, tokens.inputPos, tokens.kVal, tokens.vVal, caches.kCache, caches.vCache);
  REQUIRE_MESSAGE(writes, writes.error().message);
  CHECK(writes->copies == std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 2}, {0, 3}});
  CHECK(writes->rows == Row{2 * 4 + 3, 3 * 4});
  CHECK(row(pages.pageTable(), 1) == Row{2, 3, -1, -1, -1, -1});
  CHECK_FALSE(pages.shares(1));
}

TEST_CASE("paged: every refusal changes nothing and says what to do") {
  CHECK(contains(PagedAttention::create(0, 4, 1).error().message, "the pages is 0"));
  CHECK(contains(PagedAttention::create(4, 0, 1).error().message, "the page size is 0"));
  CHECK(contains(PagedAttention::create(std::int64_t{1} << 31, 4, 1).error().message, "more than page tables can name"));
  PagedAttention pages = books(3, 4, 2);
  REQUIRE(pages.reserve(0, 8));
  const auto message = [](Result<void> result) { return result ? std::string("accepted") : result.error().message; };
  CHECK(contains(message(pages.reserve(2, 1)), "sequence 2 does not exist; there are 2"));
  CHECK(contains(message(pages.reserve(-1, 1)), "sequence -1 does not exist"));
  CHECK(contains(message(pages.reserve(0, -1)), "negative"));
  CHECK(contains(message(pages.reserve(1, 9)), "9 tokens need 3 more pages of 4, but only 1 of 3 are empty"));
  CHECK(contains(message(pages.reserve(1, INT64_MAX)), "are empty"));
  CHECK(contains(message(pages.erase(7)), "does not exist"));
  CHECK(contains(message(pages.share(0, 0, 1)), "sequence 0 holds pages already; erase it"));
  CHECK(contains(message(pages.share(0, 1, 9)), "cannot share 9 tokens: it holds 8"));
  CHECK(pages.capacity(5) == 0);
  CHECK(pages.holders(99) == 0);

  Caches caches(12);
  Tokens tokens(Positions{{0, 8}});
  const std::int64_t one[] = {0}, two[] = {0, 1};
  CHECK(contains(message(pages.assign(one, tokens.inputPos, tokens.kVal, tokens.vVal, caches.kCache, caches.vCache)),
                 "input_pos: position 8 at [0, 1] is not one of the 8 tokens reserved for sequence 0"));
  tokens.positions[1] = 7;
  CHECK(contains(message(pages.assign(two, tokens.inputPos, tokens.kVal, tokens.vVal, caches.kCache, caches.vCache)),
                 "k_val: its sizes are [1, 2, 2, 3], expected [2, 2, 2, 3]"));
  TensorRef wrong = tokens.vVal;
  wrong.dtype = DType::I32;
  CHECK(contains(message(pages.assign(one, tokens.inputPos, tokens.kVal, wrong, caches.kCache, caches.vCache)),
                 "v_val: its dtype is i32, that of v_cache is f32"));
  wrong = caches.kCache;
  wrong.sizes[2] = 11;
  CHECK(contains(message(pages.assign(one, tokens.inputPos, tokens.kVal, tokens.vVal, wrong, caches.vCache)),
                 "k_cache: its sizes are [1, 2, 11, 3], expected [1, H, pages * page size = 12, D]"));
  REQUIRE(pages.share(0, 1, 8)); // both pages shared, one page empty: two copies have no room
  tokens.positions[1] = 0;
  tokens.positions[0] = 4;
  CHECK(contains(message(pages.assign(one, tokens.inputPos, tokens.kVal, tokens.vVal, caches.kCache, caches.vCache)),
                 "2 shared pages have to be copied before they are written to, but only 1 pages are empty"));
  CHECK(caches.k == Caches(12).k);
  CHECK(pages.emptyPages() == 1);

  const auto blocks = [&](const BlockMask &mask, std::int64_t first, std::int64_t batches, std::optional<TensorRef> kvLen = {}) {
    const Result<BlockMask> made = pages.convertLogicalBlockMask(mask, first, batches, kvLen);
    return made ? std::string("accepted") : made.error().message;
  };
  const auto dense = [](std::int64_t B, std::int64_t kvLength, std::int64_t block) {
    BlockMaskOptions options;
    options.blockQ = options.blockKv = block;
    return *createBlockMask(parseMod("", "b >= 0"), {}, B, 1, 4, kvLength, options);
  };
  CHECK(contains(blocks(dense(1, 12, 4), 0, 1), "row 0 of batch 0 sees block 2, for which sequence 0 has no page (it has 2)"));
  CHECK(contains(blocks(dense(1, 8, 8), 0, 1), "its blocks are 8 keys wide, pages 4; make it with blockKv = 4"));
  CHECK(contains(blocks(dense(1, 8, 4), 1, 2), "2 sequences from 1 on do not exist; there are 2"));
  CHECK(contains(blocks(dense(1, 8, 4), -1, 1), "do not exist"));
  std::int32_t narrow[] = {8, 8};
  CHECK(
      contains(blocks(dense(1, 8, 4), 0, 2, TensorRef::dense(narrow, DType::I32, {2})), "kv_len has 2 elements of i32; expected 2 of i64"));
  std::int64_t lengths[] = {8, 5};
  const TensorRef kvLen = TensorRef::dense(lengths, DType::I64, {2});
  CHECK(contains(blocks(dense(1, 7, 4), 0, 2, kvLen), "kv_len of batch 0 is 8, but the mask ends at 7 and sequence 0 holds 8"));
  CHECK(contains(blocks(dense(1, 7, 4), 0, 2), "it ends at key 7, inside a page of 4; give kv_len"));
  CHECK(blocks(dense(1, 12, 4), 0, 2, kvLen) == "accepted"); // keys 8 to 11 are not there yet
  lengths[0] = 9;
  CHECK(contains(blocks(dense(1, 12, 4), 0, 2, kvLen), "kv_len of batch 0 is 9, but the mask ends at 12 and sequence 0 holds 8"));
  CHECK(blocks(dense(1, 8, 4), 0, 2) == "accepted");
  CHECK(blocks(dense(1, 8, 4), 1, 1) == "accepted");
}
