// Homogeneity of a prob_mod in p. Every value gets a degree: multiplying p by c > 0 multiplies the value by c^degree. p has degree 1, what
// does not look at p has degree 0, and a comparison of two values of one degree has degree 0, as its outcome does not change.
#include "Expr/Analysis.h"

#include <algorithm>
#include <optional>

namespace attnjit::expr {

namespace {

struct Scaling {
  bool known = false;
  int degree = 0;
  bool isZero = false; ///< the number 0, which is of every degree
};

constexpr Scaling kUnknown{};
constexpr Scaling kInvariant{true, 0, false};
constexpr Scaling kZero{true, 0, true};

Scaling ofDegree(int degree) { return {true, degree, false}; }

/// What two values that stand side by side (in a sum, a minimum, a comparison, a select) have in common.
Scaling common(const Scaling &a, const Scaling &b) {
  if (!a.known || !b.known)
    return kUnknown;
  if (a.isZero)
    return b;
  return b.isZero || a.degree == b.degree ? a : kUnknown;
}

Scaling scalingOf(const Node &node, const std::vector<Scaling> &known) {
  const auto operand = [&](std::size_t i) { return known[node.operands[i]]; };
  switch (node.op) {
  case Op::Param:
    return ofDegree(node.imm.i == static_cast<std::int64_t>(Param::Score) ? 1 : 0);
  case Op::Const:
    return node.kind == Kind::Float && node.imm.f == 0 ? kZero : kInvariant;
  case Op::Add:
  case Op::Sub:
  case Op::Min:
  case Op::Max:
  case Op::Hypot:
    return common(operand(0), operand(1));
  case Op::Neg:
  case Op::Abs:
    return operand(0);
  case Op::Mul:
    if (operand(0).known && operand(1).known)
      return operand(0).isZero || operand(1).isZero ? kZero : ofDegree(operand(0).degree + operand(1).degree);
    return kUnknown;
  case Op::Div:
    if (operand(0).known && operand(1).known && !operand(1).isZero)
      return operand(0).isZero ? kZero : ofDegree(operand(0).degree - operand(1).degree);
    return kUnknown;
  case Op::Sqrt:
    return operand(0).known && operand(0).degree % 2 == 0 ? Scaling{true, operand(0).degree / 2, operand(0).isZero} : kUnknown;
  case Op::Select:
    return operand(0).known && operand(0).degree == 0 ? common(operand(1), operand(2)) : kUnknown;
  case Op::Eq:
  case Op::Ne:
  case Op::Lt:
  case Op::Le:
    return common(operand(0), operand(1)).known ? kInvariant : kUnknown;
  case Op::Sign:
  case Op::IsNan:
  case Op::ToBool:
    return operand(0).known ? kInvariant : kUnknown;
  default: { // any function of what does not change does not change
    const auto isInvariant = [&](ValueId id) { return known[id].known && known[id].degree == 0; };
    return std::all_of(node.operands.begin(), node.operands.end(), isInvariant) ? kInvariant : kUnknown;
  }
  }
}

} // namespace

bool isHomogeneous(const Function &prob) {
  std::vector<Scaling> known(prob.nodes.size());
  for (ValueId id = 0; id < prob.nodes.size(); ++id)
    known[id] = scalingOf(prob[id], known);
  const Scaling &result = known[prob.result];
  return result.known && (result.isZero || result.degree == 1);
}

} // namespace attnjit::expr
