// Keys and values in pages (torch.nn.attention.experimental._paged_attention.PagedAttention): which page holds which tokens of which
// sequence, sharing of common prefixes, and attention over the pool.
//
//   PagedAttention pages = *PagedAttention::create(64, 16, 8);       // 64 pages of 16 tokens for up to 8 sequences
//   pages.reserve(0, 100);                                           // sequence 0 may hold 100 tokens: 7 pages
//   pages.share(0, 1, 90);                                           // sequence 1 begins with the same 90 tokens: no copy
//   pages.assign({{1}}, positions, k, v, kCache, vCache);            // writes tokens; a shared page is copied before it is written to
//   pagedAttention(engine, {.pages = &pages, .batches = {0, 1}, ...});
//
// The caches are the caller's: [1, H, pages * page size, D], where page p holds rows [p * page size, (p + 1) * page size). What is kept
// here are numbers only. One thread at a time.
#pragma once

#include "attnjit/BlockMask.h"
#include "attnjit/Engine.h"
#include "attnjit/Varlen.h"

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace attnjit::inline v0 {

/// Where tokens go.
struct PageWrites {
  std::vector<std::int64_t> rows;                            ///< of the caches, [n, S]: one for each token
  std::vector<std::pair<std::int64_t, std::int64_t>> copies; ///< pages (from, to) whose rows are copied before
};

class PagedAttention {
public:
  /// Error: InvalidArgument for sizes below 1, or more than 2^31 pages or 2^40 table entries.
  static Result<PagedAttention> create(std::int64_t pages, std::int64_t pageSize, std::int64_t maxBatch);

  /// Gives `batch` pages until it can hold `seqLen` tokens; nothing to do if it can. Error: InvalidArgument when too few pages are empty
  /// (then nothing changes).
  Result<void> reserve(std::int64_t batch, std::int64_t seqLen);

  /// Gives the pages of `batch` back; those that others share stay theirs.
  Result<void> erase(std::int64_t batch);

  /// Lets the empty sequence `to` begin with the first `seqLen` tokens of `from`. The pages are counted, not copied. Error: InvalidArgument
  /// when `to` holds pages or `from` does not hold so many tokens.
  Result<void> share(std::int64_t from, std::int64_t to, std::int64_t seqLen);

  /// Writes tokens: for i of `batches` and s of S, kVal[i, :, s] and vVal[i, :, s] become token inputPos[i, s] of sequence batches[i].
  /// Pages that are shared get a copy of their own first. kVal [n, H, S, Dk], vVal [n, H, S, Dv], of the dtypes of the caches, any strides;
  /// inputPos [n, S] i32 or i64. Errors: InvalidArgument naming the operand, a position that is not reserved, or that no page is left for a
  /// copy. Nothing is written then.
  Result<void> assign(std::span<const std::int64_t> batches, const TensorRef &inputPos, const TensorRef &kVal, const TensorRef &vVal,
                      const TensorRef &kCache, const TensorRef &vCache);

  /// assign() for callers who write to the caches themselves, because they lie on a GPU: checks all that assign() checks, and gives shared
  /// pages that are written to a copy of their own in the books. Only inputPos is read.
  Result<PageWrites> place(std::span<const std::int64_t> batches, const TensorRef &inputPos, const TensorRef &kVal, const TensorRef &vVal,
                           const TensorRef &kCache, const TensorRef &vCache);

  std::int64_t pages() const { return pageCount; }
  std::int64_t pageSize() const { return tokensPerPage; }
  std::int64_t maxBatch() const { return static_cast<std::int64_t>(capacities.size()); }
  std::int64_t emptyPages() const { return static_cast<std::int64_t>(empty.size()); }
  /// Tokens that `batch` can hold; 0 for one that does not exist.
  std::int64_t capacity(std::int64_t batch) const;
  /// Sequences that hold `page`; 0 for an empty one.
  std::int64_t holders(std::int64_t page) const;
  /// Whether another sequence holds a page of `batch`, too; false for one that does not exist.
  bool shares(std::int64_t batch) const;

  /// i64 [maxBatch, pages], logical page -> physical page, -1 = none. A view of this object: valid until it changes.
  TensorRef pageTable() const;
  /// i64 [maxBatch, pages], physical page -> logical page, -1 = none.
  TensorRef physicalToLogical() const;

  /// `mod` over the cache: a formula that sees logical key positions becomes one over physical ones (torch's get_mask_mod and get_score_mod
  /// in one). Rows of the cache that hold no token of the sequence b, or lie at kvLen[b] or beyond if `hasKvLen`, are hidden by the mask
  /// and by the score too, so that blocks marked full may hold them. For callers of Engine::forward with k and v = the caches; what it
  /// captures besides is captures(). pagedAttention() needs none of this. Error: InvalidArgument when mod captures a name that is needed.
  Result<Mod> physicalMod(const Mod &mod, bool hasKvLen) const;
  /// Batch 0 of such a call is sequence `first`, batch 1 the next one, and so on. kvLen [B] is i64; it and this object have to outlive the
  /// call.
  std::vector<CaptureArgument> captures(std::optional<TensorRef> kvLen, std::int64_t first = 0) const;

  /// A block mask over logical keys, with blocks of one page, as one over the cache: its batch i is sequence first + i. Its mask_mod is
  /// physicalMod() of the mask's, with kvLen if that is given: pages beyond it are skipped and those that it cuts are partial. Errors:
  /// InvalidArgument for a block size other than the page size, sequences that do not exist, a kvLen beyond the mask or the pages, a mask
  /// that ends inside a page when there is no kvLen, and a block that is not skipped but has no page.
  Result<BlockMask> convertLogicalBlockMask(const BlockMask &mask, std::int64_t first, std::int64_t batches,
                                            std::optional<TensorRef> kvLen = {}) const;

private:
  PagedAttention() = default;

  Result<void> checkBatch(std::int64_t batch) const;
  std::int64_t pagesOf(std::int64_t batch) const { return capacities[static_cast<std::size_t>(batch)] / tokensPerPage; }
  std::int64_t &physical(std::int64_t batch, std::int64_t logical) { return table[static_cast<std::size_t>(batch * pageCount + logical)]; }
  std::int64_t &logical(std::int64_t batch, std::int64_t physical) {
    return inverse[static_cast<std::size_t>(batch * pageCount + physical)];
  }
  void give(std::int64_t batch, std::int64_t logicalPage, std::int64_t physicalPage);
  void release(std::int64_t physicalPage);

  std::int64_t pageCount = 0, tokensPerPage = 0;
  std::vector<std::int64_t> table, inverse, capacities;
  std::vector<std::int64_t> empty;   ///< a stack
  std::vector<std::int32_t> holding; ///< sequences per page
};

/// Attention of some sequences of a page pool.
struct PagedCall {
  const PagedAttention *pages = nullptr;
  std::vector<std::int64_t> batches = {}; ///< the sequence of each batch of q
  Mod mod = {};                           ///< sees b = the batch of q, and key positions inside the sequence
  std::vector<CaptureArgument> captures = {};
  TensorRef q = {};                   ///< [B, Hq, M, D]
  TensorRef kCache = {}, vCache = {}; ///< [1, Hkv, pages * page size, D or Dv]; heads may be shared by query heads
  TensorRef out = {};                 ///< [B, Hq, M, Dv]
  TensorRef kvLen = {};               ///< [B], i32 or i64: tokens in use
  VarlenWindow window = {};           ///< as in varlenAttention: {-1, 0} lets the last query see the last token
  std::optional<double> scale = {};
  std::optional<TensorRef> lse = {}, max = {};                          ///< [B, Hq, M]
  std::optional<TensorRef> qDescale = {}, kDescale = {}, vDescale = {}; ///< f32 [B or 1, Hkv or 1]: as ForwardCall's
  std::optional<TensorRef> sinks = {};                                  ///< [Hq]: as ForwardCall's
  double softcap = 0;                                                   ///< as ForwardCall's
  std::optional<BackendSet> backends = {};
  int threads = 0;
  void *stream = nullptr; ///< as ForwardCall's
  TileOptions tiles = {};
};

/// Computes the call; each sequence has the bits that it would have without pages, whichever pages it lies in. Errors: as varlenAttention.
Result<ForwardReport> pagedAttention(const Engine &engine, const PagedCall &call);

} // namespace attnjit::inline v0
