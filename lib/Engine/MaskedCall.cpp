#include "Engine/MaskedCall.h"

#include "Engine/BlockMaskImpl.h"
#include "Engine/CaptureCheck.h"
#include "Expr/Analysis.h"

#include <fmt/format.h>

namespace attnjit::engine {

namespace {

Error invalid(std::string message) { return {ErrorCode::InvalidArgument, "blockMask: " + std::move(message)}; }

bool saysMoreThanBlocks(const BlockMaskImpl &mask) { return mask.mod.hasMask(); }

} // namespace

Result<void> checkBlockMask(const BlockMask &mask, const Problem &problem) {
  const std::string shape = fmt::format("[{}, {}, {}, {}]", mask.batches(), mask.heads(), mask.qLength(), mask.kvLength());
  for (const auto &[name, ofMask, ofCall] : {std::tuple{"batch", mask.batches(), problem.B}, {"query heads", mask.heads(), problem.Hq}})
    if (ofMask != ofCall && ofMask != 1)
      return invalid(fmt::format("it is of shape {}, whose {} is {}; the call has {}, so make the mask for {} or, if it serves all, for 1",
                                 shape, name, ofMask, ofCall, ofCall));
  for (const auto &[name, ofMask, ofCall] : {std::tuple{"M", mask.qLength(), problem.M}, {"N", mask.kvLength(), problem.N}})
    if (ofMask != ofCall)
      return invalid(fmt::format("it is of shape {}, the call has {} = {}; {} or make it for these lengths", shape, name, ofCall,
                                 ofMask > ofCall ? fmt::format("cut it with adjust({}, {})", problem.M, problem.N)
                                                 : fmt::format("extend it with grow({}, {}, captures)", problem.M, problem.N)));
  return {};
}

Result<ForwardCall> withBlockMask(const ForwardCall &call) {
  if (!call.blockMask)
    return call;
  const BlockMaskImpl &mask = call.blockMask->impl();
  if (call.mod.hasMask() && saysMoreThanBlocks(mask) && call.mod.impl().maskHash != mask.mod.impl().maskHash)
    return invalid(
        "the call's mod has another mask_mod than the block mask; leave it out of the mod, whose partial blocks then use the block "
        "mask's, or make the block mask from the mod's (and_masks joins two)");
  Result<BlockMaskImpl::Composed> composed = mask.compose(call.mod, false);
  if (!composed)
    return invalid("its mask_mod and the call's score_mod do not go together: " + composed.error().message);
  ForwardCall masked = call;
  masked.mod = composed->mod;
  if (call.mod.hasMask() || !mask.mod.hasMask())
    return masked;
  Result<std::vector<CaptureArgument>> named = namedCaptures(call.captures, call.mod);
  if (!named)
    return named.error();
  masked.captures = std::move(*named);
  if (Result<void> joined = joinCaptures(masked.captures, mask.captures); !joined)
    return joined.error();
  return masked;
}

Result<ForwardCall> withBlockMask(const ForwardCall &call, const Mod &formula) {
  if (!call.blockMask)
    return call;
  const BlockMaskImpl &mask = call.blockMask->impl();
  if (saysMoreThanBlocks(mask) && formula.impl().maskHash != mask.mod.impl().maskHash)
    return invalid("the kernel was compiled for another mask_mod than the block mask's; prepare it with this block mask");
  ForwardCall masked = call;
  const bool positional = !call.captures.empty() && call.captures.front().name.empty();
  if (positional)
    return masked;
  for (const CaptureArgument &argument : mask.captures) {
    const auto isOfName = [&](const auto &other) { return other.name == argument.name; };
    const bool declared = std::any_of(formula.captures().begin(), formula.captures().end(), isOfName);
    if (declared && std::none_of(masked.captures.begin(), masked.captures.end(), isOfName))
      masked.captures.push_back(argument);
  }
  return masked;
}

Result<ForwardCall> withStateTable(const ForwardCall &call) {
  const BlockMaskImpl &mask = call.blockMask->impl();
  Result<BlockMaskImpl::Composed> composed = mask.compose(call.mod, true);
  if (!composed)
    return composed.error();
  Result<TensorRef> table = mask.stateTable();
  if (!table)
    return table.error();
  Result<std::vector<CaptureArgument>> named = namedCaptures(call.captures, call.mod);
  if (!named)
    return named.error();
  // The formula indexes it with the call's own b and h.
  table->sizes[0] = call.q.sizes[0];
  table->sizes[1] = call.q.sizes[1];
  ForwardCall tabled = call;
  tabled.mod = composed->mod;
  tabled.captures = std::move(*named);
  tabled.captures.push_back({composed->tableNames[0], *table});
  tabled.captures.push_back({composed->tableNames[1], mask.blockQ});
  tabled.captures.push_back({composed->tableNames[2], mask.blockKv});
  return tabled;
}

namespace {

plan::PlanProblem planProblem(const Problem &problem, std::int64_t tileRows, std::int64_t tileCols) {
  return {problem.B, problem.Hq, problem.M, problem.N, tileRows, tileCols};
}

/// The blocks say what the mask_mod says at every position of the call.
bool agreesWithMod(const BlockMaskImpl &mask, const Problem &problem) {
  if (!mask.derived)
    return false;
  std::uint8_t depends = 0;
  for (const std::uint8_t ofNode : expr::dependences(mask.mod.impl().formula.mask))
    depends |= ofNode;
  return (mask.B == problem.B || !(depends & expr::DependsB)) && (mask.H == problem.Hq || !(depends & expr::DependsH));
}

} // namespace

bool needsStateTable(const BlockMask &given, const Problem &problem, std::int64_t tileRows, std::int64_t tileCols) {
  const BlockMaskImpl &mask = given.impl();
  if (mask.blockQ % tileRows == 0 || agreesWithMod(mask, problem))
    return false;
  bool disagree = false;
  plan::planOf(mask.rows, mask.blockQ, mask.blockKv, planProblem(problem, tileRows, tileCols), disagree);
  return disagree;
}

plan::Plan planOf(const BlockMask &given, const Problem &problem, std::int64_t tileRows, std::int64_t tileCols) {
  const BlockMaskImpl &mask = given.impl();
  bool ignored = false;
  return plan::planOf(mask.rows, mask.blockQ, mask.blockKv, planProblem(problem, tileRows, tileCols), ignored);
}

} // namespace attnjit::engine
