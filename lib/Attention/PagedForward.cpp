#include "attnjit/Paged.h"

#include "Attention/HiddenCaptures.h"
#include "Attention/PagedKeys.h"
#include "Attention/SequenceMod.h"
#include "Attention/SequenceParts.h"
#include "Engine/Guard.h"
#include "Engine/IndexTensor.h"
#include "Engine/TensorCheck.h"

#include <fmt/format.h>

namespace attnjit::inline v0 {

using namespace attention;
using engine::invalidTensor;
using engine::sizesText;

namespace {

/// [1, H, pages * page size, D] as [pages, page size, H, D].
Result<TensorRef> poolOf(std::string_view name, const TensorRef &cache, const PagedAttention &pages) {
  if (Result<void> view = engine::checkView(name, cache, 4, true); !view)
    return view.error();
  if (cache.sizes[0] != 1 || cache.sizes[2] != pages.pages() * pages.pageSize())
    return invalidTensor(name, fmt::format("its sizes are {}, expected [1, Hkv, pages * page size = {} * {}, D]", sizesText(cache),
                                           pages.pages(), pages.pageSize()));
  TensorRef pool = TensorRef::dense(cache.data, cache.dtype, {pages.pages(), pages.pageSize(), cache.sizes[1], cache.sizes[3]});
  pool.strides = {pages.pageSize() * cache.strides[2], cache.strides[2], cache.strides[1], cache.strides[3]};
  return pool;
}

Result<void> checkShapes(const PagedCall &call) {
  if (!call.pages)
    return Error{ErrorCode::InvalidArgument, "pages: it is null; give the PagedAttention that keeps the books of the caches"};
  for (auto [name, tensor] : {std::pair{"q", &call.q}, {"out", &call.out}})
    if (Result<void> view = engine::checkView(name, *tensor, 4, true); !view)
      return view;
  for (auto [name, tensor] : {std::pair{"lse", &call.lse}, {"max", &call.max}})
    if (*tensor)
      if (Result<void> view = engine::checkView(name, **tensor, 3, true); !view)
        return view;
  if (Result<void> view = engine::checkIndexTensor("kv_len", call.kvLen, 1); !view)
    return view;
  const auto batches = static_cast<std::int64_t>(call.batches.size());
  for (auto [name, tensor] : {std::pair{"q", &call.q},
                              {"out", &call.out},
                              {"kv_len", &call.kvLen},
                              {"lse", call.lse ? &*call.lse : nullptr},
                              {"max", call.max ? &*call.max : nullptr}})
    if (tensor && tensor->sizes[0] != batches)
      return invalidTensor(name, fmt::format("its first size is {}, for {} sequences in batches", tensor->sizes[0], batches));
  return {};
}

Result<ForwardReport> compute(const Engine &engine, const PagedCall &call) {
  if (Result<void> shapes = checkShapes(call); !shapes)
    return shapes.error();
  const PagedAttention &pages = *call.pages;
  const Result<TensorRef> keyPool = poolOf("k_cache", call.kCache, pages), valuePool = poolOf("v_cache", call.vCache, pages);
  for (const Result<TensorRef> *pool : {&keyPool, &valuePool})
    if (!*pool)
      return pool->error();
  Result<SequenceMod> mod = sequenceMod(call.mod, call.window);
  if (!mod)
    return mod.error();

  const SequenceDescales descales{call.qDescale, call.kDescale, call.vDescale};
  if (Result<void> factors = descales.check(static_cast<std::int64_t>(call.batches.size()), "batch"); !factors)
    return factors.error();
  const TensorRef table = pages.pageTable();
  std::vector<ForwardCall> calls(call.batches.size());
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const std::int64_t batch = call.batches[i], place = static_cast<std::int64_t>(i), length = engine::indexAt(call.kvLen, 0, place);
    if (batch < 0 || batch >= pages.maxBatch())
      return invalidTensor("batches", fmt::format("entry {} is sequence {}; there are sequences 0 to {}", i, batch, pages.maxBatch() - 1));
    if (length < 0 || length > pages.capacity(batch))
      return invalidTensor("kv_len", fmt::format("entry {} is {}; sequence {} holds {} tokens", i, length, batch, pages.capacity(batch)));
    ForwardCall &one = calls[i];
    one.pages = {batchOf(table, batch), length};
    one.mod = mod->mod;
    one.q = batchOf(call.q, place);
    one.out = batchOf(call.out, place);
    if (call.lse)
      one.lse = batchOf(*call.lse, place);
    if (call.max)
      one.max = batchOf(*call.max, place);
    Result<std::vector<CaptureArgument>> captures =
        withHidden(call.captures, call.mod, mod->numbers(place, length - call.q.sizes[2], call.window));
    if (!captures)
      return captures.error();
    one.captures = std::move(*captures);
    descales.give(place, one);
    giveOptions(call, one);
  }
  return forwardPaged(engine, calls, *keyPool, *valuePool, "batch");
}

} // namespace

Result<ForwardReport> pagedAttention(const Engine &engine, const PagedCall &call) {
  return engine::guarded([&] { return compute(engine, call); });
}

} // namespace attnjit::inline v0
