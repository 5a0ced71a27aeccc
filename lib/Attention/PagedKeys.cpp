#include "Attention/PagedKeys.h"

#include "Runtime/ThreadPool.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace attnjit::attention {

namespace {

/// Below this much a second thread costs more to wake than it saves.
constexpr std::int64_t kBytesPerWorker = 1 << 18;

char *addressOf(const TensorRef &tensor, std::int64_t elements) {
  return static_cast<char *>(tensor.data) + elements * static_cast<std::int64_t>(sizeInBytes(tensor.dtype));
}

bool follow(const std::vector<std::int64_t> &pages) {
  return std::adjacent_find(pages.begin(), pages.end(), [](std::int64_t a, std::int64_t b) { return b != a + 1; }) == pages.end();
}

} // namespace

PagedKeys::~PagedKeys() {
  for (runtime::WorkspacePool::Buffer buffer : buffers)
    scratch.release(buffer);
}

Result<TensorRef> PagedKeys::add(const TensorRef &pool, const std::vector<std::int64_t> &pages, std::int64_t keys) {
  const std::int64_t pageSize = pool.sizes[1], heads = pool.sizes[2], D = pool.sizes[3];
  TensorRef view = TensorRef::dense(nullptr, pool.dtype, {1, heads, keys, D});
  if (keys == 0 || heads == 0)
    return view;
  if (pages.size() == 1 || (follow(pages) && pool.strides[0] == pageSize * pool.strides[1])) {
    view.data = addressOf(pool, pages.front() * pool.strides[0]);
    view.strides = {0, pool.strides[2], pool.strides[1], pool.strides[3]};
    return view;
  }
  const std::int64_t needed = heads * keys * D * static_cast<std::int64_t>(sizeInBytes(pool.dtype));
  Result<runtime::WorkspacePool::Buffer> buffer = scratch.acquire(static_cast<std::size_t>(needed));
  if (!buffer)
    return buffer.error();
  buffers.push_back(*buffer);
  view.data = buffer->memory;
  copies.push_back({pool, view, pages});
  bytes += needed;
  return view;
}

void PagedKeys::copyHead(const Copy &copy, std::int64_t head) {
  const TensorRef &pool = copy.pool;
  const std::int64_t pageSize = pool.sizes[1], keys = copy.to.sizes[2], D = pool.sizes[3];
  const std::size_t element = sizeInBytes(pool.dtype), row = element * static_cast<std::size_t>(D);
  char *to = addressOf(copy.to, head * copy.to.strides[1]);
  for (std::int64_t key = 0; key < keys; ++key, to += row) {
    const std::int64_t from =
        copy.pages[static_cast<std::size_t>(key / pageSize)] * pool.strides[0] + key % pageSize * pool.strides[1] + head * pool.strides[2];
    if (pool.strides[3] == 1) {
      std::memcpy(to, addressOf(pool, from), row);
      continue;
    }
    for (std::int64_t d = 0; d < D; ++d)
      std::memcpy(to + static_cast<std::size_t>(d) * element, addressOf(pool, from + d * pool.strides[3]), element);
  }
}

Result<void> PagedKeys::gather(int threads) {
  std::vector<std::pair<const Copy *, std::int64_t>> tasks;
  for (const Copy &copy : copies)
    for (std::int64_t head = 0; head < copy.to.sizes[1]; ++head)
      tasks.emplace_back(&copy, head);
  std::atomic<std::size_t> next{0};
  const auto work = [&](int) {
    for (std::size_t i; (i = next.fetch_add(1)) < tasks.size();)
      copyHead(*tasks[i].first, tasks[i].second);
  };
  const std::int64_t worth = std::min<std::int64_t>(bytes / kBytesPerWorker, static_cast<std::int64_t>(tasks.size()));
  const int workers = static_cast<int>(std::clamp<std::int64_t>(worth, 1, std::max(1, threads)));
  if (workers == 1) {
    work(0);
    return {};
  }
  return runtime::parallelFor(hooks.parallelFor, workers, work);
}

} // namespace attnjit::attention
