// --page-size: the keys and values of the problem, moved into the pages of a pool.
#include "common/ProblemFlags.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fmt/format.h>
#include <numeric>
#include <random>

namespace attnjit::tools {

namespace {

/// Copies row `from` of (b, h) to row `to` of (page, h).
void copyRow(const TensorRef &rows, std::int64_t b, std::int64_t h, std::int64_t from, const TensorRef &pool, std::int64_t page,
             std::int64_t to) {
  const auto element = static_cast<std::int64_t>(sizeInBytes(rows.dtype));
  const auto *source =
      static_cast<const char *>(rows.data) + (b * rows.strides[0] + h * rows.strides[1] + from * rows.strides[2]) * element;
  auto *target = static_cast<char *>(pool.data) + (page * pool.strides[0] + h * pool.strides[1] + to * pool.strides[2]) * element;
  for (std::int64_t d = 0; d < rows.sizes[3]; ++d)
    std::memcpy(target + d * pool.strides[3] * element, source + d * rows.strides[3] * element, static_cast<std::size_t>(element));
}

/// Pages in an order of their own, and one that is nobody's. What holds no key is NaN, so that reading it shows.
std::vector<std::int64_t> shuffledPages(std::int64_t count, std::uint64_t seed) {
  std::vector<std::int64_t> pages(static_cast<std::size_t>(count + 1));
  std::iota(pages.begin(), pages.end(), 0);
  std::mt19937_64 random(seed);
  for (std::size_t i = pages.size(); i > 1; --i)
    std::swap(pages[i - 1], pages[random() % i]);
  return pages;
}

} // namespace

Result<void> addPages(const ProblemOptions &options, Placement placement, Layout layout, bool withData, LoadedProblem &problem) {
  const Dims &dims = problem.dims;
  const std::int64_t size = options.pageSize, perBatch = (dims.N + size - 1) / size;
  const std::vector<std::int64_t> pages = shuffledPages(dims.Bkv * perBatch, options.seed);
  const auto count = static_cast<std::int64_t>(pages.size());

  const auto make = [&](DType dtype, std::vector<std::int64_t> sizes, Layout order) {
    return withData ? Tensor::allocate(dtype, std::move(sizes), placement, order) : Tensor::shapeOnly(dtype, std::move(sizes), order);
  };
  Result<Tensor> k = make(problem.k.dtype(), {count, dims.Hkv, size, dims.D}, layout);
  Result<Tensor> v = make(problem.v.dtype(), {count, dims.Hkv, size, dims.Dv}, layout);
  Result<Tensor> table = make(DType::I64, {dims.Bkv, perBatch}, Layout::Bhmd);
  for (Result<Tensor> *tensor : {&k, &v, &table})
    if (!*tensor)
      return Error{tensor->error().code, fmt::format("--page-size: {}", tensor->error().message)};
  if (withData) {
    std::copy_n(pages.begin(), dims.Bkv * perBatch, static_cast<std::int64_t *>(table->ref().data));
    for (auto [pool, rows] : {std::pair{&*k, &problem.k}, std::pair{&*v, &problem.v}}) {
      fillConstant(*pool, std::nan(""));
      for (std::int64_t b = 0; b < dims.Bkv; ++b)
        for (std::int64_t h = 0; h < dims.Hkv; ++h)
          for (std::int64_t n = 0; n < dims.N; ++n)
            copyRow(rows->ref(), b, h, n, pool->ref(), pages[static_cast<std::size_t>(b * perBatch + n / size)], n % size);
    }
  }
  problem.call.k = k->ref();
  problem.call.v = v->ref();
  problem.call.pages = {table->ref(), dims.N};
  problem.pools = PagedOperands{std::move(*k), std::move(*v), std::move(*table)};
  return {};
}

} // namespace attnjit::tools
