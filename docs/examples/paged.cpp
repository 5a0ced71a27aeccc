// docs/examples/paged.cpp: a cache in pages: two conversations that begin alike share their pages until one of them writes.
#include <attnjit/attnjit.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

using namespace attnjit;

int main() {
  auto fail = [](const Error &error) {
    std::fprintf(stderr, "%s\n", error.message.c_str());
    return 1;
  };
  Result<Engine> engine = Engine::create();
  if (!engine)
    return fail(engine.error());
  constexpr int kHeads = 1, kDim = 16, kPages = 8, kPageSize = 4;
  Result<PagedAttention> pages = PagedAttention::create(kPages, kPageSize, /*maxBatch=*/2);
  if (!pages)
    return fail(pages.error());
  std::vector<float> keys(kHeads * kPages * kPageSize * kDim), values(keys.size());
  const TensorRef kCache = TensorRef::dense(keys.data(), DType::F32, {1, kHeads, kPages * kPageSize, kDim});
  const TensorRef vCache = TensorRef::dense(values.data(), DType::F32, {1, kHeads, kPages * kPageSize, kDim});

  // Writes tokens [begin, end) of a sequence, all with the same value.
  auto write = [&](std::int64_t sequence, std::int64_t begin, std::int64_t end, float value) -> Result<void> {
    if (Result<void> reserved = pages->reserve(sequence, end); !reserved)
      return reserved;
    const std::int64_t count = end - begin, sequences[] = {sequence};
    std::vector<std::int64_t> positions;
    for (std::int64_t position = begin; position < end; ++position)
      positions.push_back(position);
    std::vector<float> k(count * kDim), v(count * kDim, value);
    return pages->assign(sequences, TensorRef::dense(positions.data(), DType::I64, {1, count}),
                         TensorRef::dense(k.data(), DType::F32, {1, kHeads, count, kDim}),
                         TensorRef::dense(v.data(), DType::F32, {1, kHeads, count, kDim}), kCache, vCache);
  };
  if (Result<void> done = write(0, 0, 6, 1.0f); !done) // sequence 0: six tokens in two pages
    return fail(done.error());
  if (Result<void> done = pages->share(0, 1, 6); !done) // sequence 1 begins with them
    return fail(done.error());
  std::printf("%d of %d pages are empty\n", static_cast<int>(pages->emptyPages()), kPages);
  if (Result<void> done = write(1, 6, 9, 10.0f); !done) // and goes on by itself: the half-filled page is copied first
    return fail(done.error());

  std::vector<float> q(2 * kHeads * kDim), out(q.size());
  std::vector<std::int64_t> lengths = {6, 9};
  PagedCall call{.pages = &*pages, .batches = {0, 1}};
  call.q = TensorRef::dense(q.data(), DType::F32, {2, kHeads, 1, kDim});
  call.kCache = kCache;
  call.vCache = vCache;
  call.out = TensorRef::dense(out.data(), DType::F32, {2, kHeads, 1, kDim});
  call.kvLen = TensorRef::dense(lengths.data(), DType::I64, {2});
  call.window = {-1, 0}; // the one query is the last token: it sees all
  if (Result<ForwardReport> report = pagedAttention(*engine, call); !report)
    return fail(report.error());
  std::printf("mean of six 1s: %.1f, of six 1s and three 10s: %.1f\n", out[0], out[kDim]);
  return std::abs(out[0] - 1.0f) < 1e-5f && std::abs(out[kDim] - 4.0f) < 1e-5f && pages->emptyPages() == 4 ? 0 : 2;
}
