// --block-mask and --block-lists: blocks that are made from the problem's mask before the call, or read.
#include "common/ProblemFlags.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>

namespace attnjit::tools {

namespace {

struct BlockSize {
  std::int64_t q = 128, kv = 128;
};

Result<BlockSize> parseBlockSize(std::string_view blocks) {
  if (blocks.empty())
    return BlockSize{};
  const std::size_t times = blocks.find('x');
  const Result<std::int64_t> q = parseInt(blocks.substr(0, times), "--block-mask"),
                             kv = times == std::string_view::npos ? q : parseInt(blocks.substr(times + 1), "--block-mask");
  if (!q || !kv || *q < 1 || *kv < 1)
    return Error{
        ErrorCode::InvalidArgument,
        fmt::format("--block-mask: '{}' is not QUERIESxKEYS of a block, two numbers from 1 on, e.g. 128x128, or one for both", blocks)};
  return BlockSize{*q, *kv};
}

/// The mask of the lists, which are named as PyTorch's BlockMask names them.
Result<BlockMask> readLists(const ProblemOptions &options, Placement placement, const LoadedProblem &problem, const BlockSize &size) {
  static constexpr std::array<std::string_view, 4> kNames = {"kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices"};
  std::array<std::optional<Tensor>, 4> tensors;
  for (const std::string &text : options.blockLists) {
    const auto refuse = [&](std::string_view why) {
      return Error{ErrorCode::InvalidArgument, fmt::format("--block-lists {}: {}", text, why)};
    };
    Result<NamedCapture> parsed = parseCapture(text, options.seed, placement);
    if (!parsed)
      return refuse(parsed.error().message);
    const auto found = std::find(kNames.begin(), kNames.end(), parsed->name);
    Tensor *tensor = std::get_if<Tensor>(&parsed->value);
    if (found == kNames.end())
      return refuse(fmt::format("expected one of {}=FILE.npy", fmt::join(kNames, "=, ")));
    if (!tensor)
      return refuse("it is one number; expected a tensor, FILE.npy");
    std::optional<Tensor> &slot = tensors[static_cast<std::size_t>(found - kNames.begin())];
    if (slot)
      return refuse("it is given twice");
    slot = std::move(*tensor);
  }
  if (!tensors[0] || !tensors[1])
    return Error{
        ErrorCode::InvalidArgument,
        fmt::format("--block-lists: {} is missing; the partial blocks are kv_num_blocks=FILE.npy [B, H, rows] and "
                    "kv_indices=FILE.npy [B, H, rows, cols], the full ones, if there are any, full_kv_num_blocks and full_kv_indices",
                    kNames[tensors[0] ? 1 : 0])};
  const auto given = [&](std::size_t i) { return tensors[i] ? std::optional(tensors[i]->ref()) : std::nullopt; };
  FromKvBlocksOptions sizes;
  sizes.blockQ = size.q;
  sizes.blockKv = size.kv;
  sizes.qLength = problem.dims.M;
  sizes.kvLength = problem.dims.N;
  Result<BlockMask> mask = BlockMask::fromKvBlocks({*given(0), *given(1), given(2), given(3)}, sizes);
  return mask ? mask : Error{mask.error().code, fmt::format("--block-lists: {}", mask.error().message)};
}

/// u8 [batches, heads, rows, cols]: 0 for a block in no list, 1 partial, 2 full.
Result<Tensor> statesOf(const BlockMask &mask) {
  Result<BlockTensors> lists = mask.tensors(false);
  if (!lists)
    return lists.error();
  Result<Tensor> states = Tensor::allocate(DType::U8, {mask.batches(), mask.heads(), mask.rows(), mask.cols()});
  if (!states)
    return states;
  fillConstant(*states, 0);
  auto *state = static_cast<std::uint8_t *>(states->ref().data);
  const auto put = [&](const IndexTensor &counts, const IndexTensor &indices, std::uint8_t value) {
    const auto cols = static_cast<std::size_t>(mask.cols());
    for (std::size_t row = 0; row < counts.data.size(); ++row)
      for (std::int32_t i = 0; i < counts.data[row]; ++i)
        state[row * cols + static_cast<std::size_t>(indices.data[row * cols + static_cast<std::size_t>(i)])] = value;
  };
  put(lists->kvNumBlocks, lists->kvIndices, 1);
  if (lists->fullKvNumBlocks)
    put(*lists->fullKvNumBlocks, *lists->fullKvIndices, 2);
  return states;
}

/// What the reference and the planner compute: a full block shows every pair, a partial one those that the mask_mod does.
Result<void> tellFormula(LoadedProblem &problem) {
  constexpr const char *kName = "block_lists__";
  const BlockMask &mask = *problem.call.blockMask;
  Result<Tensor> states = statesOf(mask);
  if (!states)
    return states.error();
  const std::string state =
      fmt::format("{}[b % {}, h % {}, q_idx // {}, kv_idx // {}]", kName, mask.batches(), mask.heads(), mask.blockQ(), mask.blockKv());
  const std::vector<CaptureInfo> infos = {{kName, DType::U8, 4}};
  const Result<Mod> partial = Mod::parse("", state + " == 1", infos), full = Mod::parse("", state + " == 2", infos);
  for (const Result<Mod> *mod : {&partial, &full})
    if (!*mod)
      return mod->error();
  const Result<Mod> asked = andMasks({*partial, problem.mod.maskOnly()});
  if (!asked)
    return asked.error();
  const Result<Mod> visible = orMasks({*full, *asked});
  if (!visible)
    return visible.error();
  const Result<Mod> whole = chainMods({problem.mod.scoreOnly(), problem.mod.probOnly(), *visible});
  if (!whole)
    return whole.error();
  Result<expr::Formula> formula = expr::parseCanonical(whole->canonicalText());
  if (!formula)
    return formula.error();
  problem.formula = std::move(*formula);
  problem.captures.push_back({kName, std::move(*states)});
  return {};
}

} // namespace

Result<void> addBlockMask(const ProblemOptions &options, Placement placement, LoadedProblem &problem) {
  const Result<BlockSize> size = parseBlockSize(options.blockMask);
  if (!size)
    return size.error();
  if (!options.blockLists.empty()) {
    Result<BlockMask> mask = readLists(options, placement, problem, *size);
    if (!mask)
      return mask.error();
    problem.call.blockMask = std::move(*mask);
    return tellFormula(problem);
  }
  BlockMaskOptions blocks;
  blocks.blockQ = size->q;
  blocks.blockKv = size->kv;
  blocks.threads = problem.call.threads;
  // Batches and heads that the mask does not tell apart share their blocks, so asking for all of them costs nothing.
  Result<BlockMask> mask = createBlockMask(problem.mod, problem.call.captures, std::max<std::int64_t>(problem.dims.B, 1),
                                           std::max<std::int64_t>(problem.dims.Hq, 1), problem.dims.M, problem.dims.N, blocks);
  if (!mask)
    return Error{mask.error().code, fmt::format("--block-mask: {}", mask.error().message)};
  problem.call.blockMask = std::move(*mask);
  return {};
}

} // namespace attnjit::tools
