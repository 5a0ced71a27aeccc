// Mods made from mods. The rewriting is lib/Expr's; here are the captures that users see.
#include "Engine/Guard.h"
#include "Engine/ModImpl.h"
#include "Expr/Rewrite.h"

#include <algorithm>
#include <fmt/format.h>

namespace attnjit::inline v0 {

namespace {

/// Several mods over one table of captures.
struct Merged {
  expr::Formula formula = expr::Formula::identity();
  std::vector<CaptureInfo> captures;
  std::vector<expr::Renaming> renamings; ///< one for each mod
};

Result<Merged> merge(const std::vector<Mod> &mods) {
  Merged merged;
  for (const Mod &mod : mods) {
    Result<expr::Renaming> renaming = expr::adopt(merged.formula, mod.impl().formula);
    if (!renaming)
      return renaming.error();
    merged.renamings.push_back(std::move(*renaming));
    for (const CaptureInfo &capture : mod.captures())
      if (std::none_of(merged.captures.begin(), merged.captures.end(), [&](const CaptureInfo &c) { return c.name == capture.name; }))
        merged.captures.push_back(capture);
  }
  return merged;
}

/// Folds the masks with `op`, from `neutral`.
Result<Mod> combineMasks(std::string_view what, const std::vector<Mod> &masks, expr::Op op, bool neutral) {
  return engine::guarded([&]() -> Result<Mod> {
    for (std::size_t i = 0; i < masks.size(); ++i)
      if (!masks[i].scoreIsIdentity() || !masks[i].probIsIdentity()) {
        const bool hasScore = !masks[i].scoreIsIdentity();
        return Error{ErrorCode::InvalidArgument,
                     fmt::format("{}: mod {} has a {} as well, which would be lost; combine its maskOnly(), and chainMods() the "
                                 "result with its {}",
                                 what, i, hasScore ? "score_mod" : "prob_mod", hasScore ? "scoreOnly()" : "probOnly()")};
      }
    Result<Merged> merged = merge(masks);
    if (!merged)
      return merged.error();
    expr::Builder builder;
    expr::ValueId visible = builder.constantBool(neutral);
    for (std::size_t i = 0; i < masks.size(); ++i)
      visible = builder.op(op, {visible, expr::inlineInto(builder, masks[i].impl().formula.mask, merged->renamings[i])});
    merged->formula.mask = builder.finish(visible);
    return Mod(makeModImpl(std::move(merged->formula), std::move(merged->captures)));
  });
}

} // namespace

Mod Mod::maskOnly() const { return Mod(makeModImpl(expr::maskOnly(program->formula))); }
Mod Mod::scoreOnly() const { return Mod(makeModImpl(expr::scoreOnly(program->formula))); }
Mod Mod::probOnly() const { return Mod(makeModImpl(expr::probOnly(program->formula))); }

Result<Mod> andMasks(const std::vector<Mod> &masks) { return combineMasks("andMasks", masks, expr::Op::LogicalAnd, true); }
Result<Mod> orMasks(const std::vector<Mod> &masks) { return combineMasks("orMasks", masks, expr::Op::LogicalOr, false); }
Result<Mod> xorMasks(const std::vector<Mod> &masks) { return combineMasks("xorMasks", masks, expr::Op::LogicalXor, false); }

/// not x is True xor x.
Result<Mod> notMask(const Mod &mask) { return combineMasks("notMask", {mask}, expr::Op::LogicalXor, true); }

Result<Mod> chainMods(const std::vector<Mod> &mods) {
  return engine::guarded([&]() -> Result<Mod> {
    Result<Merged> merged = merge(mods);
    if (!merged)
      return merged.error();
    expr::Builder scores, masks, probs;
    expr::ValueId score = scores.param(expr::Param::Score), prob = probs.param(expr::Param::Score), visible = masks.constantBool(true);
    for (std::size_t i = 0; i < mods.size(); ++i) {
      const expr::Formula &formula = mods[i].impl().formula;
      expr::Replacements scoreBefore, probBefore;
      scoreBefore[expr::Param::Score] = score;
      probBefore[expr::Param::Score] = prob;
      score = expr::inlineInto(scores, formula.score, merged->renamings[i], scoreBefore);
      prob = expr::inlineInto(probs, formula.prob, merged->renamings[i], probBefore);
      visible = masks.op(expr::Op::LogicalAnd, {visible, expr::inlineInto(masks, formula.mask, merged->renamings[i])});
    }
    merged->formula.score = scores.finish(score);
    merged->formula.mask = masks.finish(visible);
    merged->formula.prob = probs.finish(prob);
    return Mod(makeModImpl(std::move(merged->formula), std::move(merged->captures)));
  });
}

} // namespace attnjit::inline v0
