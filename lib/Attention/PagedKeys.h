// Calls whose keys and values lie in pages of a pool [pages, page size, heads, D], as caches are laid out, each sequence with a length of
// its own: calls of one group, whose kernels read the page table (PageTable).
#pragma once

#include "attnjit/Engine.h"
#include "attnjit/Result.h"

#include <cstdint>
#include <span>
#include <string_view>

namespace attnjit::attention {

/// forwardGrouped() of `calls`, which have their pages, with k and v from the pools [P, page size, heads, D or Dv]. `noun` is what errors
/// call one of them.
Result<ForwardReport> forwardPaged(const Engine &engine, std::span<ForwardCall> calls, const TensorRef &keyPool, const TensorRef &valuePool,
                                   std::string_view noun);

} // namespace attnjit::attention
