#include "Engine/PageCheck.h"

#include "Engine/TensorCheck.h"

#include <fmt/format.h>

namespace attnjit::engine {

namespace {

std::int64_t entryAt(const TensorRef &table, std::int64_t b, std::int64_t page) {
  const std::int64_t offset = b * table.strides[0] + page * table.strides[1];
  if (table.dtype == DType::I32)
    return static_cast<const std::int32_t *>(table.data)[offset];
  return static_cast<const std::int64_t *>(table.data)[offset];
}

Result<void> checkEntries(const ForwardCall &call) {
  const TensorRef &table = call.pages->table;
  const std::int64_t pool = call.k.sizes[0], used = pagesPerBatch(call);
  for (std::int64_t b = 0; b < table.sizes[0]; ++b)
    for (std::int64_t i = 0; i < used; ++i)
      if (const std::int64_t page = entryAt(table, b, i); page < 0 || page >= pool)
        return invalidTensor("pages.table", fmt::format("entry [{}, {}] is page {}; the pool has {}", b, i, page,
                                                        pool == 0 ? "none" : fmt::format("pages 0 to {}", pool - 1)));
  return {};
}

} // namespace

std::int64_t pagesPerBatch(const ForwardCall &call) {
  const std::int64_t pageSize = call.k.sizes[2];
  return call.pages->keys / pageSize + (call.pages->keys % pageSize != 0);
}

Result<void> checkPages(const ForwardCall &call, bool needsData) {
  const PageTable &pages = *call.pages;
  const TensorRef &table = pages.table, &k = call.k, &v = call.v;
  if (v.sizes[0] != k.sizes[0])
    return invalidTensor("v", fmt::format("it has {} pages, k has {}; one table serves both (v {}, k {})", v.sizes[0], k.sizes[0],
                                          sizesText(v), sizesText(k)));
  if (k.sizes[2] < 1)
    return invalidTensor("k", fmt::format("its page size (dimension 2) is {}; a page has at least one row", k.sizes[2]));
  if (pages.keys < 0)
    return Error{ErrorCode::InvalidArgument, fmt::format("pages.keys: {} is negative; it is the number of keys, N", pages.keys)};
  if (Result<void> view = checkView("pages.table", table, 2, needsData && pages.keys > 0); !view)
    return view;
  if (table.dtype != DType::I32 && table.dtype != DType::I64)
    return invalidTensor("pages.table", fmt::format("its dtype is {}; expected i32 or i64", attnjit::name(table.dtype)));
  if (table.sizes[0] != call.q.sizes[0] && table.sizes[0] != 1)
    return invalidTensor("pages.table", fmt::format("its batch is {}, that of q is {}; it must be the same, or 1 to be shared (sizes {})",
                                                    table.sizes[0], call.q.sizes[0], sizesText(table)));
  if (table.sizes[1] < pagesPerBatch(call))
    return invalidTensor("pages.table", fmt::format("it has {} pages of {} rows for each batch, too few for {} keys: {} are needed",
                                                    table.sizes[1], k.sizes[2], pages.keys, pagesPerBatch(call)));
  if (needsData)
    return checkEntries(call);
  return {};
}

std::vector<std::int64_t> denseTable(const ForwardCall &call) {
  const TensorRef &table = call.pages->table;
  std::vector<std::int64_t> dense;
  if (!table.data)
    return dense;
  const std::int64_t used = pagesPerBatch(call);
  dense.reserve(static_cast<std::size_t>(table.sizes[0] * used));
  for (std::int64_t b = 0; b < table.sizes[0]; ++b)
    for (std::int64_t i = 0; i < used; ++i)
      dense.push_back(entryAt(table, b, i));
  return dense;
}

} // namespace attnjit::engine
