#include "Attention/BatchFold.h"

#include "Engine/TensorCheck.h"

#include <algorithm>
#include <fmt/format.h>

namespace attnjit::attention {

namespace {

constexpr std::int64_t kMaxSteps = 1 << 20;

/// A run of batch dimensions that every operand walks with one stride.
struct Group {
  std::int64_t size = 1;
  std::vector<std::int64_t> strides; ///< one for each operand
};

bool continues(const Group &inner, const Group &outer) {
  for (std::size_t i = 0; i < inner.strides.size(); ++i)
    if (outer.strides[i] != static_cast<__int128>(inner.strides[i]) * inner.size)
      return false;
  return true;
}

/// The batch dimensions as few groups as possible, innermost first; those of size 1 vanish.
Result<std::vector<Group>> groupsOf(std::span<const TensorRef> operands, int leading) {
  std::vector<Group> groups;
  std::int64_t product = 1;
  for (int dim = leading - 1; dim >= 0; --dim) {
    Group here{operands.front().sizes[dim], {}};
    if (__builtin_mul_overflow(product, here.size, &product))
      return Error{ErrorCode::InvalidArgument, "the product of the batch sizes does not fit 64 bits"};
    for (const TensorRef &operand : operands)
      here.strides.push_back(operand.strides[dim]);
    if (here.size == 1)
      continue;
    if (!groups.empty() && continues(groups.back(), here))
      groups.back().size *= here.size;
    else
      groups.push_back(std::move(here));
  }
  return groups;
}

TensorRef movedBy(TensorRef tensor, std::int64_t elements) {
  if (tensor.data)
    tensor.data = static_cast<char *>(tensor.data) + elements * static_cast<std::int64_t>(sizeInBytes(tensor.dtype));
  return tensor;
}

/// [leading..., rest...] -> [batch, rest...]
TensorRef withBatch(const TensorRef &operand, int leading, std::int64_t size, std::int64_t stride) {
  TensorRef folded = operand;
  folded.rank = operand.rank - leading + 1;
  folded.sizes = folded.strides = {};
  folded.sizes[0] = size;
  folded.strides[0] = stride;
  for (int dim = leading; dim < operand.rank; ++dim) {
    folded.sizes[dim - leading + 1] = operand.sizes[dim];
    folded.strides[dim - leading + 1] = operand.strides[dim];
  }
  return folded;
}

} // namespace

TensorRef withRank(const TensorRef &tensor, int rank) {
  TensorRef view = tensor;
  const int added = rank - tensor.rank;
  view.rank = rank;
  view.sizes = view.strides = {};
  std::fill_n(view.sizes.begin(), added, 1);
  std::copy_n(tensor.sizes.begin(), tensor.rank, view.sizes.begin() + added);
  std::copy_n(tensor.strides.begin(), tensor.rank, view.strides.begin() + added);
  return view;
}

Result<TensorRef> expandTo(std::string_view name, const TensorRef &tensor, std::span<const std::int64_t> sizes) {
  TensorRef view = tensor;
  for (std::size_t dim = 0; dim < sizes.size(); ++dim) {
    if (view.sizes[dim] == sizes[dim])
      continue;
    if (view.sizes[dim] != 1)
      return engine::invalidTensor(name,
                                   fmt::format("its sizes {} cannot be repeated to [{}]: dimension {} is {}, which is neither 1 nor {}",
                                               engine::sizesText(tensor), fmt::join(sizes, ", "), dim, view.sizes[dim], sizes[dim]));
    view.sizes[dim] = sizes[dim];
    view.strides[dim] = 0;
  }
  return view;
}

Result<std::vector<FoldedStep>> foldBatch(std::span<const TensorRef> operands, int leading) {
  Result<std::vector<Group>> groups = groupsOf(operands, leading);
  if (!groups)
    return groups.error();
  Group batch{1, std::vector<std::int64_t>(operands.size(), 0)};
  if (std::any_of(groups->begin(), groups->end(), [](const Group &group) { return group.size == 0; })) {
    batch.size = 0;
    groups->clear();
  } else if (!groups->empty()) {
    const auto widest = std::max_element(groups->begin(), groups->end(), [](const Group &a, const Group &b) { return a.size < b.size; });
    batch = *widest;
    groups->erase(widest);
  }
  std::int64_t count = 1;
  for (const Group &group : *groups) {
    count *= group.size;
    if (count > kMaxSteps)
      return Error{ErrorCode::InvalidArgument, fmt::format("the strides of the batch dimensions allow no single call, and more than {} "
                                                           "separate ones are too many; make the operands contiguous",
                                                           kMaxSteps)};
  }

  std::vector<FoldedStep> steps;
  for (std::int64_t step = 0; step < count; ++step) {
    FoldedStep folded;
    for (std::size_t i = 0; i < operands.size(); ++i) {
      std::int64_t rest = step, offset = 0;
      for (const Group &group : *groups) {
        offset += rest % group.size * group.strides[i];
        rest /= group.size;
      }
      folded.push_back(movedBy(withBatch(operands[i], leading, batch.size, batch.strides[i]), offset));
    }
    steps.push_back(std::move(folded));
  }
  return steps;
}

} // namespace attnjit::attention
