#include "Engine/PageCheck.h"

#include "Engine/IndexTensor.h"
#include "Engine/TensorCheck.h"

#include <fmt/format.h>

namespace attnjit::engine {

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
  return {};
}

Result<std::vector<std::int64_t>> readPages(const ForwardCall &call) {
  const TensorRef &table = call.pages->table;
  const std::int64_t pool = call.k.sizes[0], used = pagesPerBatch(call);
  std::vector<std::int64_t> dense;
  dense.reserve(static_cast<std::size_t>(table.sizes[0] * used));
  for (std::int64_t b = 0; b < table.sizes[0]; ++b)
    for (std::int64_t i = 0; i < used; ++i) {
      const std::int64_t page = indexAt(table, b, i);
      if (page < 0 || page >= pool)
        return invalidTensor("pages.table", fmt::format("entry [{}, {}] is page {}; the pool has {}", b, i, page,
                                                        pool == 0 ? "none" : fmt::format("pages 0 to {}", pool - 1)));
      dense.push_back(page);
    }
  return dense;
}

} // namespace attnjit::engine
