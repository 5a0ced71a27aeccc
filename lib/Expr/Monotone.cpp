#include "Expr/Monotone.h"

#include <cmath>

namespace attnjit::expr {

namespace {

Trend flipped(Trend trend) { return trend == Trend::Rising ? Trend::Falling : trend == Trend::Falling ? Trend::Rising : trend; }

/// Of a value that rises with each of two.
Trend both(Trend x, Trend y) {
  if (x == y || y == Trend::Constant)
    return x;
  return x == Trend::Constant ? y : Trend::Unknown;
}

bool isNonNegative(const Range &range) { return range.kind == Kind::Float ? range.flo >= 0 : range.lo >= 0; }
bool isNonPositive(const Range &range) { return range.kind == Kind::Float ? range.fhi <= 0 : range.hi <= 0; }
bool isZeroInside(const Range &range) {
  return range.kind == Kind::Float ? range.flo <= 0 && range.fhi >= 0 : range.lo <= 0 && range.hi >= 0;
}

/// No wrap-around, no NaN, no infinity.
bool isTame(const Range &range) {
  switch (range.kind) {
  case Kind::Bool:
    return true;
  case Kind::Int:
    return range.lo > INT64_MIN && range.hi < INT64_MAX;
  case Kind::Float:
    return !range.maybeNan && std::isfinite(range.flo) && std::isfinite(range.fhi);
  }
  return false;
}

class Walk {
public:
  Walk(const Function &function, Param axis, std::span<const Range> ranges) : function(function), axis(axis), ranges(ranges) {}

  std::vector<Trend> run() {
    for (ValueId id = 0; id < function.nodes.size(); ++id)
      known.push_back(trendOf(id));
    return std::move(known);
  }

private:
  Trend trendOf(ValueId id) const {
    const Node &node = function[id];
    if (node.op == Op::Param)
      return static_cast<Param>(node.imm.i) == axis ? Trend::Rising : Trend::Constant;
    if (isReduction(node.op)) { // its loop may read captured tensors, which are looked at everywhere
      const bool isFixed = known[node.operands[0]] == Trend::Constant && known[node.operands[1]] == Trend::Constant;
      return isFixed ? Trend::Constant : Trend::Unknown;
    }
    bool isConstant = true, isSafe = isTame(ranges[id]);
    for (const ValueId operand : node.operands) {
      isConstant &= known[operand] == Trend::Constant;
      isSafe &= isTame(ranges[operand]);
    }
    if (isConstant)
      return Trend::Constant;
    return isSafe ? trendOfOp(node) : Trend::Unknown;
  }

  Trend trendOfOp(const Node &node) const {
    const auto of = [&](int i) { return known[node.operands[i]]; };
    switch (node.op) {
    case Op::Add:
    case Op::Min:
    case Op::Max:
    case Op::LogicalAnd:
    case Op::LogicalOr:
      return both(of(0), of(1));
    case Op::Sub:
      return both(of(0), flipped(of(1)));
    case Op::Lt:
    case Op::Le:
      return both(flipped(of(0)), of(1));
    case Op::Mul:
      return of(0) == Trend::Constant   ? scaled(of(1), ranges[node.operands[0]])
             : of(1) == Trend::Constant ? scaled(of(0), ranges[node.operands[1]])
                                        : Trend::Unknown;
    case Op::Div:
    case Op::FloorDiv:
      return of(1) == Trend::Constant && !isZeroInside(ranges[node.operands[1]]) ? scaled(of(0), ranges[node.operands[1]]) : Trend::Unknown;
    case Op::Shr:
      return of(1) == Trend::Constant ? of(0) : Trend::Unknown;
    case Op::Neg:
    case Op::BitNot:
    case Op::LogicalNot:
      return flipped(of(0));
    case Op::Sign:
    case Op::Floor:
    case Op::Ceil:
    case Op::Round:
    case Op::Trunc:
    case Op::ToFloat:
    case Op::ToInt:
      return of(0);
    default:
      return Trend::Unknown;
    }
  }

  static Trend scaled(Trend trend, const Range &factor) {
    return isNonNegative(factor) ? trend : isNonPositive(factor) ? flipped(trend) : Trend::Unknown;
  }

  const Function &function;
  const Param axis;
  const std::span<const Range> ranges;
  std::vector<Trend> known;
};

} // namespace

std::vector<Trend> trends(const Function &function, Param axis, std::span<const Range> ranges) {
  return Walk(function, axis, ranges).run();
}

} // namespace attnjit::expr
