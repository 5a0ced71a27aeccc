#include "Attention/PagedKeys.h"

#include "Engine/EngineImpl.h"
#include "Runtime/ThreadPool.h"
#include "Runtime/Workspace.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace attnjit::attention {

namespace {

/// Copies that may exist at once, for each thread: small enough to be in the cache still when the kernel reads them, large enough that a
/// group has work for every thread.
constexpr std::int64_t kBytesAtOnce = std::int64_t{4} << 20;
/// Below this much a second thread costs more to wake than it saves.
constexpr std::int64_t kBytesPerWorker = 1 << 18;
constexpr std::int64_t kAlignment = 64;

char *addressOf(const TensorRef &tensor, std::int64_t elements) {
  return static_cast<char *>(tensor.data) + elements * static_cast<std::int64_t>(sizeInBytes(tensor.dtype));
}

bool canBeView(const TensorRef &pool, const PagedSequence &sequence) {
  const auto breaks = [](std::int64_t a, std::int64_t b) { return b != a + 1; };
  return sequence.pages.size() <= 1 || (pool.strides[0] == pool.sizes[1] * pool.strides[1] &&
                                        std::adjacent_find(sequence.pages.begin(), sequence.pages.end(), breaks) == sequence.pages.end());
}

/// [1, heads, keys, D] in place.
TensorRef viewOf(const TensorRef &pool, const PagedSequence &sequence) {
  TensorRef view = TensorRef::dense(nullptr, pool.dtype, {1, pool.sizes[2], sequence.keys, pool.sizes[3]});
  if (!sequence.pages.empty())
    view.data = addressOf(pool, sequence.pages.front() * pool.strides[0]);
  view.strides = {0, pool.strides[2], pool.strides[1], pool.strides[3]};
  return view;
}

std::int64_t copyBytes(const TensorRef &pool, const PagedSequence &sequence) {
  const std::int64_t bytes =
      canBeView(pool, sequence) ? 0 : pool.sizes[2] * sequence.keys * pool.sizes[3] * static_cast<std::int64_t>(sizeInBytes(pool.dtype));
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

struct Copy {
  const TensorRef *pool;
  const PagedSequence *sequence;
  TensorRef to; ///< [1, heads, keys, D], dense
};

void copyHead(const Copy &copy, std::int64_t head) {
  const TensorRef &pool = *copy.pool;
  const std::int64_t pageSize = pool.sizes[1], keys = copy.to.sizes[2], D = pool.sizes[3];
  const std::size_t element = sizeInBytes(pool.dtype), row = element * static_cast<std::size_t>(D);
  char *to = addressOf(copy.to, head * copy.to.strides[1]);
  for (std::int64_t first = 0; first < keys; first += pageSize) {
    std::int64_t from = copy.sequence->pages[static_cast<std::size_t>(first / pageSize)] * pool.strides[0] + head * pool.strides[2];
    for (std::int64_t key = first; key < std::min(keys, first + pageSize); ++key, to += row, from += pool.strides[1]) {
      if (pool.strides[3] == 1) {
        std::memcpy(to, addressOf(pool, from), row);
        continue;
      }
      for (std::int64_t d = 0; d < D; ++d)
        std::memcpy(to + static_cast<std::size_t>(d) * element, addressOf(pool, from + d * pool.strides[3]), element);
    }
  }
}

Result<void> makeCopies(const std::vector<Copy> &copies, std::int64_t bytes, const ParallelForHook &hook, int threads) {
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
  if (workers > 1)
    return runtime::parallelFor(hook, workers, work);
  work(0);
  return {};
}

/// A buffer of the embedder's memory hook, or none.
class Arena {
public:
  explicit Arena(const Hooks &hooks) : pool(hooks.memory, 0) {}
  ~Arena() {
    if (buffer.memory)
      pool.release(buffer);
  }
  Arena(const Arena &) = delete;
  Arena &operator=(const Arena &) = delete;

  Result<void> allocate(std::int64_t bytes) {
    if (bytes == 0)
      return {};
    Result<runtime::WorkspacePool::Buffer> acquired = pool.acquire(static_cast<std::size_t>(bytes));
    if (!acquired)
      return acquired.error();
    buffer = *acquired;
    return {};
  }
  char *memory() const { return static_cast<char *>(buffer.memory); }

private:
  runtime::WorkspacePool pool;
  runtime::WorkspacePool::Buffer buffer;
};

} // namespace

Result<ForwardReport> forwardPaged(const Engine &engine, std::span<ForwardCall> calls, const TensorRef &keyPool, const TensorRef &valuePool,
                                   std::span<const PagedSequence> sequences, std::string_view noun, int threads) {
  EngineImpl &impl = engine.impl();
  const int workers = threads > 0 ? threads : engine.threads();
  const TensorRef *pools[] = {&keyPool, &valuePool};

  // Groups of calls whose copies fit together.
  struct Group {
    std::size_t begin, end;
    std::int64_t bytes;
  };
  std::vector<Group> groups;
  std::int64_t most = 0;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const std::int64_t bytes = copyBytes(keyPool, sequences[i]) + copyBytes(valuePool, sequences[i]);
    if (groups.empty() || groups.back().bytes + bytes > kBytesAtOnce * workers)
      groups.push_back({i, i, 0});
    groups.back().end = i + 1;
    groups.back().bytes += bytes;
    most = std::max(most, groups.back().bytes);
  }
  Arena arena(impl.options.hooks);
  if (Result<void> allocated = arena.allocate(most); !allocated)
    return allocated.error();

  ForwardReport total;
  for (const Group &group : groups) {
    std::vector<Copy> copies;
    char *place = arena.memory();
    for (std::size_t i = group.begin; i < group.end; ++i)
      for (int side : {0, 1}) {
        TensorRef &operand = side == 0 ? calls[i].k : calls[i].v;
        operand = viewOf(*pools[side], sequences[i]);
        if (const std::int64_t bytes = copyBytes(*pools[side], sequences[i]); bytes > 0) {
          operand = TensorRef::dense(place, operand.dtype, {1, operand.sizes[1], operand.sizes[2], operand.sizes[3]});
          copies.push_back({pools[side], &sequences[i], operand});
          place += bytes;
        }
      }
    if (Result<void> copied = makeCopies(copies, group.bytes, impl.options.hooks.parallelFor, workers); !copied)
      return copied.error();
    Result<ForwardReport> report = impl.forwardGrouped(calls.subspan(group.begin, group.end - group.begin), {noun, group.begin});
    if (!report)
      return report;
    engine::addReport(total, *report);
  }
  return total;
}

} // namespace attnjit::attention
