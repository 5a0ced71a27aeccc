#include "Engine/IndexTensor.h"

#include "Engine/TensorCheck.h"

#include <fmt/format.h>

namespace attnjit::engine {

Result<void> checkIndexTensor(std::string_view name, const TensorRef &tensor, int rank) {
  if (Result<void> view = checkView(name, tensor, rank, true); !view)
    return view;
  if (tensor.dtype != DType::I32 && tensor.dtype != DType::I64)
    return invalidTensor(name, fmt::format("its dtype is {}; expected i32 or i64", attnjit::name(tensor.dtype)));
  return {};
}

std::int64_t indexAt(const TensorRef &tensor, std::int64_t row, std::int64_t column) {
  const std::int64_t offset = tensor.rank == 1 ? column * tensor.strides[0] : row * tensor.strides[0] + column * tensor.strides[1];
  return tensor.dtype == DType::I32 ? static_cast<const std::int32_t *>(tensor.data)[offset]
                                    : static_cast<const std::int64_t *>(tensor.data)[offset];
}

Result<std::vector<std::int64_t>> readIndices(std::string_view name, const TensorRef &tensor) {
  if (Result<void> checked = checkIndexTensor(name, tensor, 1); !checked)
    return checked.error();
  std::vector<std::int64_t> values(static_cast<std::size_t>(tensor.sizes[0]));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = indexAt(tensor, 0, static_cast<std::int64_t>(i));
  return values;
}

} // namespace attnjit::engine
