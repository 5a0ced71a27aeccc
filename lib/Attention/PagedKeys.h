// Calls whose keys and values lie in pages of a pool [pages, page size, heads, D], as caches are laid out, each sequence with a length of its
// own: calls of one group, whose kernels read the page table (PageTable).
#pragma once

#include "attnjit/Engine.h"
#include "attnjit/Result.h"

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace attnjit::attention {

/// The first `keys` keys of a sequence that consists of `pages`, in order.
struct PagedSequence {
  std::vector<std::int64_t> pages;
  std::int64_t keys = 0;
};

/// forwardGrouped() of `calls` with k and v from the pools [P, page size, heads, D or Dv]: sequence i is that of call i. `noun` is what
/// errors call one of them.
Result<ForwardReport> forwardPaged(const Engine &engine, std::span<ForwardCall> calls, const TensorRef &keyPool, const TensorRef &valuePool,
                                   std::span<PagedSequence> sequences, std::string_view noun);

} // namespace attnjit::attention
