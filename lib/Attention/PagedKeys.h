// Calls whose keys and values lie in pages.
//
// A sequence whose pages follow each other in the pool is a view. Any other is copied together, so that formulas, masks, plans and
// pipelines see plain keys, and so that the order of keys, and with it every bit, is the sequence's own and not that of the pages that
// happened to be free. Copies are made for a few sequences at a time, which bounds the memory and lets the kernel find them in the cache.
// (The page table as an operand of the kernel, which saves the copy, is in docs/rationale/Tile.md.)
#pragma once

#include "attnjit/Engine.h"
#include "attnjit/Result.h"

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace attnjit::attention {

/// The first `keys` keys of a sequence that consists of `pages`, in order. Page numbers must lie within the pools.
struct PagedSequence {
  std::vector<std::int64_t> pages;
  std::int64_t keys = 0;
};

/// forwardGrouped() of `calls` with k and v from the pools [P, page size, heads, D or Dv]: sequence i is that of call i. `noun` is what
/// errors call one of them.
Result<ForwardReport> forwardPaged(const Engine &engine, std::span<ForwardCall> calls, const TensorRef &keyPool, const TensorRef &valuePool,
                                   std::span<const PagedSequence> sequences, std::string_view noun, int threads);

} // namespace attnjit::attention
