#include "Attention/SequenceParts.h"

#include "Engine/TensorCheck.h"

#include <fmt/format.h>

namespace attnjit::attention {

TensorRef batchOf(const TensorRef &tensor, std::int64_t i) {
  TensorRef view = tensor;
  view.sizes[0] = 1;
  if (view.data)
    view.data = static_cast<char *>(tensor.data) + i * tensor.strides[0] * static_cast<std::int64_t>(sizeInBytes(tensor.dtype));
  return view;
}

Result<void> SequenceDescales::check(std::int64_t count, std::string_view noun) const {
  for (auto [name, factors] : {std::pair{"qDescale", &q}, {"kDescale", &k}, {"vDescale", &v}}) {
    if (!*factors)
      continue;
    if (Result<void> view = engine::checkView(name, **factors, 2, true); !view)
      return view;
    if ((*factors)->sizes[0] != count && (*factors)->sizes[0] != 1)
      return engine::invalidTensor(name, fmt::format("its first size is {}; expected {}, one row for each {}, or 1 to share it (sizes {})",
                                                     (*factors)->sizes[0], count, noun, engine::sizesText(**factors)));
  }
  return {};
}

void SequenceDescales::give(std::int64_t i, ForwardCall &call) const {
  for (auto [factors, slot] : {std::pair{&q, &call.qDescale}, {&k, &call.kDescale}, {&v, &call.vDescale}})
    if (*factors)
      *slot = batchOf(**factors, (*factors)->sizes[0] == 1 ? 0 : i);
}

} // namespace attnjit::attention
