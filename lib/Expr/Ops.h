// The op table as data.
#pragma once

#include "Expr/Ir.h"

#include <optional>
#include <span>

namespace attnjit::expr {

/// Operand and result kinds of an op; the letters are explained in ExprOps.def.
/// Iter is (Int) -> Int, Reduce (Int, T) -> T, where a sum takes no Bools.
enum class OpTypes : std::uint8_t { Leaf, Iter, Reduce, NNN, FFF, III, BBB, CMP, FB, IIF, SEL, CAST };

/// How the interval extension treats an op; explained in ExprOps.def.
enum class IntervalRule : std::uint8_t { Rule, Increasing, Decreasing, Unit, Unknown };

struct OpInfo {
  std::string_view spelling;
  int arity = 0;
  OpTypes types = OpTypes::Leaf;
  IntervalRule interval = IntervalRule::Unknown;
};

/// The row of `op`. Param, Scalar, Const and Load have rows of type Leaf.
const OpInfo &info(Op op);

/// The inverse of spelling().
std::optional<Op> parseOp(std::string_view spelling);

/// "bool", "int" or "float".
std::string_view name(Kind kind);
/// "score", "b", "h", "q" or "kv"; a prob_mod calls its score p.
std::string_view name(Param param);
/// Kind of an argument: Float for the score, Int for positions.
inline Kind kindOf(Param param) { return param == Param::Score ? Kind::Float : Kind::Int; }

/// The kind which `op` yields on operands of these kinds; empty when the op does not take them. CAST ops are named by their target.
std::optional<Kind> resultKind(Op op, std::span<const Kind> operands);

} // namespace attnjit::expr
