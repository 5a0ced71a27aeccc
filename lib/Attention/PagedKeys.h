// Keys and values that lie in pages, as the engine wants them: [1, heads, keys, D] with one stride from key to key.
//
// A sequence whose pages follow each other in the pool is a view. Any other is copied together, so that formulas, masks, plans and
// pipelines see plain keys, and so that the order of keys, and with it every bit, is the sequence's own and not that of the pages that
// happened to be free. (The page table as an operand of the kernel, which saves the copy, is in docs/rationale/Tile.md.)
#pragma once

#include "Runtime/Workspace.h"
#include "attnjit/Hooks.h"
#include "attnjit/Result.h"
#include "attnjit/Types.h"

#include <cstdint>
#include <vector>

namespace attnjit::attention {

class PagedKeys {
public:
  /// Scratch comes from the embedder's memory hook.
  explicit PagedKeys(const Hooks &hooks) : hooks(hooks), scratch(hooks.memory, 0) {}
  ~PagedKeys();
  PagedKeys(const PagedKeys &) = delete;
  PagedKeys &operator=(const PagedKeys &) = delete;

  /// The first `keys` keys of the sequence that consists of `pages`, in order. `pool` is [P, page size, heads, D]; page numbers must lie
  /// within it. What has to be copied is copied by gather(). Error: Unsupported when memory is out.
  Result<TensorRef> add(const TensorRef &pool, const std::vector<std::int64_t> &pages, std::int64_t keys);

  /// Copies, on at most `threads` threads. Without it the views of add() hold nothing.
  Result<void> gather(int threads);

  std::int64_t copiedBytes() const { return bytes; }

private:
  struct Copy {
    TensorRef pool, to;
    std::vector<std::int64_t> pages;
  };
  static void copyHead(const Copy &copy, std::int64_t head);

  const Hooks &hooks;
  runtime::WorkspacePool scratch;
  std::vector<runtime::WorkspacePool::Buffer> buffers;
  std::vector<Copy> copies;
  std::int64_t bytes = 0;
};

} // namespace attnjit::attention
