// What the numeric tests of the front doors share: tensors with memory, and attention by the definition in f64, which knows nothing of
// folding, views or engines: every element is found by its own index.
#pragma once

#include "attnjit/attnjit.h"

#include <cmath>
#include <cstdlib>
#include <doctest/doctest.h>
#include <functional>
#include <limits>
#include <vector>

namespace attnjit::test {

/// An engine without a disk cache.
inline const Engine &realEngine() {
  static const Engine engine = [] {
    EngineOptions options;
    options.cacheDirectory = "";
    options.threads = 2;
    Result<Engine> made = Engine::create(options);
    if (!made)
      std::abort();
    return *made;
  }();
  return engine;
}

/// f32 values in any layout.
struct Tensor {
  /// Dense, of deterministic values in [-1, 1].
  Tensor(std::vector<std::int64_t> sizes, double seed) : Tensor(sizes, identity(sizes.size()), seed) {}

  /// `order[i]` = which dimension is the i-th outermost in memory.
  Tensor(const std::vector<std::int64_t> &sizes, const std::vector<int> &order, double seed) {
    ref.rank = static_cast<int>(sizes.size());
    std::int64_t count = 1;
    for (auto dim = order.rbegin(); dim != order.rend(); ++dim) {
      ref.sizes[*dim] = sizes[*dim];
      ref.strides[*dim] = count;
      count *= sizes[*dim];
    }
    memory.resize(static_cast<std::size_t>(count) + 1); // never empty, so that data is never null
    for (std::size_t i = 0; i < memory.size(); ++i)
      memory[i] = static_cast<float>(std::sin(seed * static_cast<double>(i + 1)));
    ref.data = memory.data();
  }
  Tensor(const Tensor &) = delete;
  Tensor &operator=(const Tensor &) = delete;

  static std::vector<int> identity(std::size_t rank) {
    std::vector<int> order(rank);
    for (std::size_t i = 0; i < rank; ++i)
      order[i] = static_cast<int>(i);
    return order;
  }

  std::vector<float> memory;
  TensorRef ref;
};

/// Offset of the element at `index`, whose last dimensions are the tensor's; a size of 1 repeats.
inline std::int64_t offsetOf(const TensorRef &tensor, const std::vector<std::int64_t> &index) {
  std::int64_t offset = 0;
  for (int dim = 0; dim < tensor.rank; ++dim) {
    const std::int64_t at = index[index.size() - static_cast<std::size_t>(tensor.rank) + static_cast<std::size_t>(dim)];
    offset += (tensor.sizes[dim] == 1 ? 0 : at) * tensor.strides[dim];
  }
  return offset;
}

inline float element(const TensorRef &tensor, const std::vector<std::int64_t> &index) {
  return static_cast<const float *>(tensor.data)[offsetOf(tensor, index)];
}

/// Every index of a box, last dimension fastest.
inline void forEachIndex(const std::vector<std::int64_t> &sizes, const std::function<void(const std::vector<std::int64_t> &)> &body) {
  std::vector<std::int64_t> index(sizes.size(), 0);
  for (const std::int64_t size : sizes)
    if (size == 0)
      return;
  for (;;) {
    body(index);
    std::size_t dim = sizes.size();
    while (dim > 0 && ++index[dim - 1] == sizes[dim - 1])
      index[--dim] = 0;
    if (dim == 0)
      return;
  }
}

/// One row by the definition: `score(kv)` is what the softmax sees, -inf = hidden.
struct Row {
  std::vector<double> out;
  double lse = -std::numeric_limits<double>::infinity();
};
inline Row softmaxRow(std::int64_t keys, std::int64_t columns, const std::function<double(std::int64_t kv)> &score,
                      const std::function<double(std::int64_t kv, std::int64_t column)> &value) {
  Row row{std::vector<double>(static_cast<std::size_t>(columns), 0)};
  double most = -std::numeric_limits<double>::infinity(), sum = 0;
  std::vector<double> scores;
  for (std::int64_t kv = 0; kv < keys; ++kv) {
    scores.push_back(score(kv));
    most = std::max(most, scores.back());
  }
  if (std::isinf(most))
    return row;
  for (double &s : scores)
    sum += s = std::exp(s - most);
  for (std::int64_t kv = 0; kv < keys; ++kv)
    for (std::int64_t c = 0; c < columns; ++c)
      row.out[static_cast<std::size_t>(c)] += scores[static_cast<std::size_t>(kv)] / sum * value(kv, c);
  row.lse = most + std::log(sum);
  return row;
}

} // namespace attnjit::test
