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
                                   std::string_view noun) {
  for (ForwardCall &call : calls) {
    call.k = headsFirst(keyPool);
    call.v = headsFirst(valuePool);
  }
  return engine.impl().forwardGrouped(calls, {noun, 0});
}

} // namespace attnjit::attention
