#include "Attention/SequenceMod.h"

#include "Attention/HiddenCaptures.h"
#include "Engine/ModImpl.h"
#include "Engine/RecentMods.h"
#include "Expr/Analysis.h"

#include <algorithm>
#include <fmt/format.h>

namespace attnjit::attention {

using expr::Kind;
using expr::Op;
using expr::Param;

namespace {

// Short enough for every std::string to hold them in itself: they are made for each sequence of each call.
constexpr const char *kSequence = "varlen_b", *kFirst = "varlen_first", *kLast = "varlen_last";

bool uses(const expr::Function &function, Param param) {
  return std::any_of(function.nodes.begin(), function.nodes.end(),
                     [&](const expr::Node &node) { return node.op == Op::Param && node.imm.i == static_cast<std::int64_t>(param); });
}

Result<SequenceMod> rewrite(const Mod &mod, bool hasLeft, bool hasRight) {
  SequenceMod made;
  const expr::Formula &formula = mod.impl().formula;
  made.usesSequence = uses(formula.score, Param::B) || uses(formula.mask, Param::B) || uses(formula.prob, Param::B);
  if (!made.usesSequence && !hasLeft && !hasRight) {
    made.mod = mod;
    return made;
  }
  Rewriting rewriting(mod);
  int sequence = -1;
  if (made.usesSequence) {
    Result<int> added = rewriting.addNumber(kSequence, Kind::Int);
    if (!added)
      return added.error();
    sequence = *added;
  }
  auto inlined = [&](expr::Builder &builder, const expr::Function &function) {
    expr::Replacements replacements;
    if (made.usesSequence)
      replacements[Param::B] = builder.scalar(sequence, Kind::Int);
    return expr::inlineInto(builder, function, rewriting.renaming(), replacements);
  };
  expr::Builder score, mask, prob;
  const expr::ValueId scored = inlined(score, formula.score);
  expr::ValueId visible = inlined(mask, formula.mask);
  const expr::ValueId ahead = mask.op(Op::Sub, {mask.param(Param::Kv), mask.param(Param::Q)});
  if (hasLeft) {
    Result<int> first = rewriting.addNumber(kFirst, Kind::Int);
    if (!first)
      return first.error();
    visible = mask.op(Op::LogicalAnd, {visible, mask.op(Op::Le, {mask.scalar(*first, Kind::Int), ahead})});
  }
  if (hasRight) {
    Result<int> last = rewriting.addNumber(kLast, Kind::Int);
    if (!last)
      return last.error();
    visible = mask.op(Op::LogicalAnd, {visible, mask.op(Op::Le, {ahead, mask.scalar(*last, Kind::Int)})});
  }
  made.mod = std::move(rewriting).finish(score.finish(scored), mask.finish(visible), prob.finish(inlined(prob, formula.prob)));
  return made;
}

/// Which sides of the window are bounded.
struct Bounds {
  bool left, right;
  bool operator==(const Bounds &) const = default;
};

} // namespace

std::vector<CaptureArgument> SequenceMod::numbers(std::int64_t sequence, std::int64_t shift, const VarlenWindow &window) const {
  std::vector<CaptureArgument> captures;
  if (usesSequence)
    captures.push_back({kSequence, sequence});
  if (window.left >= 0)
    captures.push_back({kFirst, shift - window.left});
  if (window.right >= 0)
    captures.push_back({kLast, shift + window.right});
  return captures;
}

Result<SequenceMod> sequenceMod(const Mod &mod, const VarlenWindow &window) {
  constexpr std::int64_t kMost = std::int64_t{1} << 40;
  for (auto [side, bound] : {std::pair{"left", window.left}, {"right", window.right}})
    if (bound < -1 || bound > kMost)
      return Error{ErrorCode::InvalidArgument,
                   fmt::format("window.{}: {}; -1 means no bound, else a number of keys from 0 to 2^40", side, bound)};

  static engine::RecentMods<SequenceMod, Bounds> recent;
  const Bounds bounds{window.left >= 0, window.right >= 0};
  return recent.get(mod, bounds, [&] { return rewrite(mod, bounds.left, bounds.right); });
}

} // namespace attnjit::attention
