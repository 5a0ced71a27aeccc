// kernel_options of torch's flex_attention (FlexKernelOptions), for callers who bring them along. They are wishes about a Triton kernel;
// what has a meaning here is applied to the call, what could change a result is refused unless it is at its default, and the rest is
// accepted with a note. The table is in docs/torch.md.
#pragma once

#include "attnjit/Problem.h"
#include "attnjit/Result.h"

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace attnjit::inline v0 {

struct KernelOption {
  std::string name; ///< as PyTorch spells it, perhaps with the prefix fwd_ or bwd_
  std::variant<bool, std::int64_t, double, std::string> value;
};

/// Applies options to a call: BLOCK_M and BLOCK_N to its tiles, BACKEND and FORCE_USE_FLEX_ATTENTION to its backends. fwd_X wins over X.
/// Answers a note for each option that means nothing here. Errors: InvalidArgument for an unknown name (with those that are known), a value
/// of the wrong kind or out of range, and combinations that PyTorch refuses too; Unsupported for what this engine does not do. The call is
/// as it was then: nothing is applied.
Result<std::vector<std::string>> applyKernelOptions(const std::vector<KernelOption> &options, ForwardCall &call);

} // namespace attnjit::inline v0
