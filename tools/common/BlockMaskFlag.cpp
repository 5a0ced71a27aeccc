// --block-mask: the problem's mask as blocks, made before the call.
#include "common/ProblemFlags.h"

#include <fmt/format.h>

namespace attnjit::tools {

Result<void> addBlockMask(std::string_view blocks, LoadedProblem &problem) {
  const std::size_t times = blocks.find('x');
  const Result<std::int64_t> q = parseInt(blocks.substr(0, times), "--block-mask"),
                             kv = times == std::string_view::npos ? q : parseInt(blocks.substr(times + 1), "--block-mask");
  if (!q || !kv || *q < 1 || *kv < 1)
    return Error{
        ErrorCode::InvalidArgument,
        fmt::format("--block-mask: '{}' is not QUERIESxKEYS of a block, two numbers from 1 on, e.g. 128x128, or one for both", blocks)};
  BlockMaskOptions options;
  options.blockQ = *q;
  options.blockKv = *kv;
  options.threads = problem.call.threads;
  // Batches and heads that the mask does not tell apart share their blocks, so asking for all of them costs nothing.
  Result<BlockMask> mask = createBlockMask(problem.mod, problem.call.captures, std::max<std::int64_t>(problem.dims.B, 1),
                                           std::max<std::int64_t>(problem.dims.Hq, 1), problem.dims.M, problem.dims.N, options);
  if (!mask)
    return Error{mask.error().code, fmt::format("--block-mask: {}", mask.error().message)};
  problem.call.blockMask = std::move(*mask);
  return {};
}

} // namespace attnjit::tools
