#include "Expr/Ops.h"

#include <algorithm>
#include <iterator>

namespace attnjit::expr {

namespace {

constexpr OpInfo kOps[] = {
    {"param", 0, OpTypes::Leaf, IntervalRule::Rule},        {"scalar", 0, OpTypes::Leaf, IntervalRule::Rule},
    {"const", 0, OpTypes::Leaf, IntervalRule::Rule},        {"load", -1, OpTypes::Leaf, IntervalRule::Rule},
    {"iter", 1, OpTypes::Iter, IntervalRule::Rule},         {"reduce_sum", 2, OpTypes::Reduce, IntervalRule::Rule},
    {"reduce_max", 2, OpTypes::Reduce, IntervalRule::Rule}, {"reduce_min", 2, OpTypes::Reduce, IntervalRule::Rule},
#define EXPR_ROW(Name, spelling, arity, Types, lowering, interval, intEval, floatEval)                                                     \
  {spelling, arity, OpTypes::Types, IntervalRule::interval},
#include "Expr/ExprOps.def"
};

} // namespace

const OpInfo &info(Op op) { return kOps[static_cast<std::size_t>(op)]; }

std::string_view spelling(Op op) { return info(op).spelling; }

int arity(Op op) { return info(op).arity; }

std::optional<Op> parseOp(std::string_view spelling) {
  for (std::size_t i = 0; i < std::size(kOps); ++i)
    if (kOps[i].spelling == spelling)
      return static_cast<Op>(i);
  return std::nullopt;
}

std::string_view name(Kind kind) { return kind == Kind::Bool ? "bool" : kind == Kind::Int ? "int" : "float"; }

std::string_view name(Param param) {
  constexpr std::string_view kNames[] = {"score", "b", "h", "q", "kv"};
  return kNames[static_cast<std::size_t>(param)];
}

std::optional<Kind> resultKind(Op op, std::span<const Kind> operands) {
  const OpInfo &row = info(op);
  if (row.types == OpTypes::Leaf || operands.size() != static_cast<std::size_t>(row.arity))
    return std::nullopt;
  auto all = [&](Kind kind) { return std::all_of(operands.begin(), operands.end(), [&](Kind k) { return k == kind; }); };
  const Kind first = operands[0];
  switch (row.types) {
  case OpTypes::Iter:
    return first == Kind::Int ? std::optional(Kind::Int) : std::nullopt;
  case OpTypes::Reduce:
    return first == Kind::Int && !(op == Op::ReduceSum && operands[1] == Kind::Bool) ? std::optional(operands[1]) : std::nullopt;
  case OpTypes::NNN:
    return first != Kind::Bool && all(first) ? std::optional(first) : std::nullopt;
  case OpTypes::FFF:
    return all(Kind::Float) ? std::optional(Kind::Float) : std::nullopt;
  case OpTypes::III:
    return all(Kind::Int) ? std::optional(Kind::Int) : std::nullopt;
  case OpTypes::BBB:
    return all(Kind::Bool) ? std::optional(Kind::Bool) : std::nullopt;
  case OpTypes::CMP:
    return first != Kind::Bool && all(first) ? std::optional(Kind::Bool) : std::nullopt;
  case OpTypes::FB:
    return all(Kind::Float) ? std::optional(Kind::Bool) : std::nullopt;
  case OpTypes::IIF:
    return all(Kind::Int) ? std::optional(Kind::Float) : std::nullopt;
  case OpTypes::SEL:
    return first == Kind::Bool && operands[1] == operands[2] ? std::optional(operands[1]) : std::nullopt;
  case OpTypes::CAST: {
    const Kind target = op == Op::ToFloat ? Kind::Float : op == Op::ToInt ? Kind::Int : Kind::Bool;
    return first != target ? std::optional(target) : std::nullopt;
  }
  case OpTypes::Leaf:
    break;
  }
  return std::nullopt;
}

} // namespace attnjit::expr
