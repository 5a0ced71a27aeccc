#include "Engine/ModCompose.h"

#include "Engine/Guard.h"
#include "Expr/Compose.h"

#include <algorithm>

namespace attnjit {

namespace {

using expr::Builder;
using expr::Formula;
using expr::Kind;
using expr::Op;
using expr::Param;
using expr::ValueId;

std::vector<CaptureInfo> infosOf(const Formula &formula) {
  std::vector<CaptureInfo> infos;
  for (const expr::CaptureDecl &capture : formula.captures)
    infos.push_back({capture.name, capture.dtype, capture.rank});
  for (const expr::ScalarDecl &scalar : formula.scalars)
    infos.push_back({scalar.name,
                     scalar.kind == Kind::Float ? DType::F64
                     : scalar.kind == Kind::Int ? DType::I64
                                                : DType::Bool,
                     CaptureInfo::kNumber});
  return infos;
}

/// `base`, with underscores until no capture has the name.
std::string freshName(const Formula &formula, std::string base) {
  const auto isTaken = [&](const auto &decl) { return decl.name == base; };
  while (std::any_of(formula.captures.begin(), formula.captures.end(), isTaken) ||
         std::any_of(formula.scalars.begin(), formula.scalars.end(), isTaken))
    base += '_';
  return base;
}

Result<Mod> join(Op op, bool ofNone, const std::vector<Mod> &mods) {
  return engine::guarded([&]() -> Result<Mod> {
    Formula formula = Formula::identity();
    Builder builder;
    const expr::Arguments arguments = expr::ownArguments(builder);
    ValueId result = builder.constantBool(ofNone);
    for (const Mod &mod : mods) {
      const Formula mask = maskOnly(mod.impl().formula);
      Result<expr::CaptureMap> map = expr::joinTables(formula, mask);
      if (!map)
        return map.error();
      result = builder.op(op, {result, expr::copyInto(builder, mask.mask, *map, arguments)});
    }
    formula.mask = builder.finish(result);
    std::vector<CaptureInfo> infos = infosOf(formula);
    return Mod(makeModImpl(std::move(formula), std::move(infos)));
  });
}

} // namespace

inline namespace v0 {

expr::Formula maskOnly(const expr::Formula &formula) {
  Formula mask = Formula::identity();
  expr::CaptureMap map{std::vector<int>(formula.captures.size(), -1), std::vector<int>(formula.scalars.size(), -1)};
  for (const expr::Node &node : formula.mask.nodes) {
    if (node.op == Op::Load && map.captures[node.imm.i] < 0) {
      map.captures[node.imm.i] = static_cast<int>(mask.captures.size());
      mask.captures.push_back(formula.captures[node.imm.i]);
    } else if (node.op == Op::Scalar && map.scalars[node.imm.i] < 0) {
      map.scalars[node.imm.i] = static_cast<int>(mask.scalars.size());
      mask.scalars.push_back(formula.scalars[node.imm.i]);
    }
  }
  Builder builder;
  const expr::Arguments arguments = expr::ownArguments(builder);
  mask.mask = builder.finish(expr::copyInto(builder, formula.mask, map, arguments));
  return mask;
}

Result<Mod> andMasks(const std::vector<Mod> &mods) { return join(Op::LogicalAnd, true, mods); }
Result<Mod> orMasks(const std::vector<Mod> &mods) { return join(Op::LogicalOr, false, mods); }
Result<Mod> xorMasks(const std::vector<Mod> &mods) { return join(Op::LogicalXor, false, mods); }
Result<Mod> notMask(const Mod &mod) { return join(Op::LogicalXor, true, {mod}); }

Result<Mod> withMask(const Mod &score, const Mod &mask) {
  return engine::guarded([&]() -> Result<Mod> {
    Formula formula = score.impl().formula;
    const Formula from = maskOnly(mask.impl().formula);
    Result<expr::CaptureMap> map = expr::joinTables(formula, from);
    if (!map)
      return map.error();
    Builder builder;
    formula.mask = builder.finish(expr::copyInto(builder, from.mask, *map, expr::ownArguments(builder)));
    std::vector<CaptureInfo> infos = score.captures();
    for (const CaptureInfo &info : infosOf(from))
      if (std::none_of(infos.begin(), infos.end(), [&](const CaptureInfo &other) { return other.name == info.name; }))
        infos.push_back(info);
    return Mod(makeModImpl(std::move(formula), std::move(infos)));
  });
}

} // namespace v0

namespace engine {

Mod maskOf(const Mod &mod) {
  Formula formula = maskOnly(mod.impl().formula);
  std::vector<CaptureInfo> infos = infosOf(formula);
  return Mod(makeModImpl(std::move(formula), std::move(infos)));
}

namespace {

expr::CaptureMap ownTables(const Formula &formula) {
  expr::CaptureMap map;
  for (std::size_t i = 0; i < formula.captures.size(); ++i)
    map.captures.push_back(static_cast<int>(i));
  for (std::size_t i = 0; i < formula.scalars.size(); ++i)
    map.scalars.push_back(static_cast<int>(i));
  return map;
}

/// A captured integer that `formula` did not have.
ValueId newNumber(Formula &formula, Builder &builder, const char *name, std::vector<CaptureInfo> &infos, std::vector<std::string> &names) {
  names.push_back(freshName(formula, name));
  infos.push_back({names.back(), DType::I64, CaptureInfo::kNumber});
  formula.scalars.push_back({names.back(), Kind::Int});
  return builder.scalar(static_cast<int>(formula.scalars.size()) - 1, Kind::Int);
}

} // namespace

Mod movedMask(const Mod &mask, const Moves &moves, std::vector<std::string> &names) {
  Formula formula = mask.impl().formula;
  std::vector<CaptureInfo> infos = mask.captures();
  const expr::CaptureMap map = ownTables(formula);
  Builder builder;
  expr::Arguments arguments = expr::ownArguments(builder);
  const auto move = [&](bool doesMove, Param param, const char *name) {
    if (!doesMove)
      return;
    ValueId &argument = arguments[static_cast<std::size_t>(param)];
    argument = builder.op(Op::Add, {argument, newNumber(formula, builder, name, infos, names)});
  };
  move(moves.b, Param::B, "b_offset__");
  move(moves.h, Param::H, "h_offset__");
  move(moves.q, Param::Q, "q_offset__");
  formula.mask = builder.finish(expr::copyInto(builder, mask.impl().formula.mask, map, arguments));
  return Mod(makeModImpl(std::move(formula), std::move(infos)));
}

Mod withStateTable(const Mod &mod, std::vector<std::string> &names) {
  Formula formula = mod.impl().formula;
  std::vector<CaptureInfo> infos = mod.captures();
  const expr::CaptureMap map = ownTables(formula);
  Builder builder;
  const expr::Arguments arguments = expr::ownArguments(builder);
  const ValueId b = arguments[1], h = arguments[2], q = arguments[3], kv = arguments[4];
  names.push_back(freshName(formula, "block_state__"));
  infos.push_back({names.back(), DType::I8, 4});
  const int table = static_cast<int>(formula.captures.size());
  formula.captures.push_back({names.back(), DType::I8, 4});
  const ValueId blockQ = newNumber(formula, builder, "block_q__", infos, names),
                blockKv = newNumber(formula, builder, "block_kv__", infos, names);
  const ValueId indices[] = {b, h, builder.op(Op::FloorDiv, {q, blockQ}), builder.op(Op::FloorDiv, {kv, blockKv})};
  const ValueId state = builder.load(table, Kind::Int, indices);
  const ValueId isFull = builder.op(Op::Eq, {state, builder.constantInt(2)}),
                isPartial = builder.op(Op::Eq, {state, builder.constantInt(1)});
  const ValueId mask = expr::copyInto(builder, mod.impl().formula.mask, map, arguments);
  formula.mask = builder.finish(builder.op(Op::LogicalOr, {isFull, builder.op(Op::LogicalAnd, {isPartial, mask})}));
  return Mod(makeModImpl(std::move(formula), std::move(infos)));
}

} // namespace engine

} // namespace attnjit
