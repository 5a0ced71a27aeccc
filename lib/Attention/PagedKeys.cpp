#include "Attention/PagedKeys.h"

#include "Engine/EngineImpl.h"

#include <utility>

namespace attnjit::attention {

namespace {

/// [P, page size, heads, D] as [P, heads, page size, D].
TensorRef headsFirst(TensorRef pool) {
  std::swap(pool.sizes[1], pool.sizes[2]);
  std::swap(pool.strides[1], pool.strides[2]);
  return pool;
}

} // namespace

Result<ForwardReport> forwardPaged(const Engine &engine, std::span<ForwardCall> calls, const TensorRef &keyPool, const TensorRef &valuePool,
                                   std::span<PagedSequence> sequences, std::string_view noun) {
  for (std::size_t i = 0; i < calls.size(); ++i) {
    calls[i].k = headsFirst(keyPool);
    calls[i].v = headsFirst(valuePool);
    std::vector<std::int64_t> &pages = sequences[i].pages;
    calls[i].pages = {TensorRef::dense(pages.data(), DType::I64, {1, static_cast<std::int64_t>(pages.size())}), sequences[i].keys};
  }
  return engine.impl().forwardGrouped(calls, {noun, 0});
}

} // namespace attnjit::attention
