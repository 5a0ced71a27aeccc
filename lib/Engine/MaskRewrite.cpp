#include "Engine/MaskRewrite.h"

#include "Expr/Rewrite.h"

#include <algorithm>

namespace attnjit::engine {

namespace {

using expr::Builder;
using expr::Formula;
using expr::Kind;
using expr::Op;
using expr::Param;
using expr::Renaming;
using expr::ValueId;

/// A mod to which captures are added while its mask is built anew.
class Rewriting {
public:
  explicit Rewriting(const Mod &mod) : formula(mod.impl().formula), infos(mod.captures()), original(mod.impl().formula) {}

  ValueId argument(Param param) { return builder.param(param); }

  /// A captured integer that the mod did not have; its name goes to `names`.
  ValueId number(const char *name, std::vector<std::string> &names) {
    names.push_back(freshName(name));
    infos.push_back({names.back(), DType::I64, CaptureInfo::kNumber});
    formula.scalars.push_back({names.back(), Kind::Int});
    return builder.scalar(static_cast<int>(formula.scalars.size()) - 1, Kind::Int);
  }

  /// A captured tensor of i8; answers its place.
  int tensor(const char *name, int rank, std::vector<std::string> &names) {
    names.push_back(freshName(name));
    infos.push_back({names.back(), DType::I8, rank});
    formula.captures.push_back({names.back(), DType::I8, rank});
    return static_cast<int>(formula.captures.size()) - 1;
  }

  ValueId mask(const expr::Replacements &replacements = {}) {
    return expr::inlineInto(builder, original.mask, Renaming::none(original), replacements);
  }

  Mod finish(ValueId mask) {
    formula.mask = builder.finish(mask);
    return Mod(makeModImpl(std::move(formula), std::move(infos)));
  }

  Builder builder;

private:
  /// `base`, with underscores until no capture has the name.
  std::string freshName(std::string base) const {
    while (std::any_of(infos.begin(), infos.end(), [&](const CaptureInfo &info) { return info.name == base; }))
      base += '_';
    return base;
  }

  Formula formula;
  std::vector<CaptureInfo> infos;
  const Formula &original;
};

} // namespace

Mod movedMask(const Mod &mask, const Moves &moves, std::vector<std::string> &names) {
  Rewriting rewriting(mask);
  expr::Replacements moved;
  const auto move = [&](bool doesMove, Param param, const char *name) {
    if (doesMove)
      moved[param] = rewriting.builder.op(Op::Add, {rewriting.argument(param), rewriting.number(name, names)});
  };
  move(moves.b, Param::B, "b_offset__");
  move(moves.h, Param::H, "h_offset__");
  move(moves.q, Param::Q, "q_offset__");
  return rewriting.finish(rewriting.mask(moved));
}

Mod withStateTable(const Mod &mod, std::vector<std::string> &names) {
  Rewriting rewriting(mod);
  Builder &builder = rewriting.builder;
  const int table = rewriting.tensor("block_state__", 4, names);
  const ValueId blockQ = rewriting.number("block_q__", names), blockKv = rewriting.number("block_kv__", names);
  const ValueId indices[] = {rewriting.argument(Param::B), rewriting.argument(Param::H),
                             builder.op(Op::FloorDiv, {rewriting.argument(Param::Q), blockQ}),
                             builder.op(Op::FloorDiv, {rewriting.argument(Param::Kv), blockKv})};
  const ValueId state = builder.load(table, Kind::Int, indices);
  const ValueId isFull = builder.op(Op::Eq, {state, builder.constantInt(2)}),
                isPartial = builder.op(Op::Eq, {state, builder.constantInt(1)});
  return rewriting.finish(builder.op(Op::LogicalOr, {isFull, builder.op(Op::LogicalAnd, {isPartial, rewriting.mask()})}));
}

} // namespace attnjit::engine
