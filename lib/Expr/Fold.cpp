// Exact simplifications, applied when a node is built. Exact means: every input gives the same bits, NaN, infinities and -0 included
// (NaN payloads aside). So floats are never reassociated, x + 0.0 stays (it turns -0 into +0), x * 0.0 stays (NaN, inf).
#include "Expr/Builder.h"
#include "Expr/EvalOp.h"

#include <cmath>
#include <utility>

namespace attnjit::expr {

namespace {

bool isInt(const Node &node, std::int64_t value) { return node.op == Op::Const && node.kind == Kind::Int && node.imm.i == value; }
bool isBool(const Node &node, bool value) { return node.op == Op::Const && node.kind == Kind::Bool && node.imm.i == value; }
/// -0 and 0 differ here.
bool isFloatConst(const Node &node, double value) {
  return node.op == Op::Const && node.kind == Kind::Float && node.imm.f == value && std::signbit(node.imm.f) == std::signbit(value);
}

bool isCommutative(Op op) {
  switch (op) {
  case Op::Add:
  case Op::Mul:
  case Op::BitAnd:
  case Op::BitOr:
  case Op::BitXor:
  case Op::LogicalAnd:
  case Op::LogicalOr:
  case Op::LogicalXor:
  case Op::Eq:
  case Op::Ne:
  case Op::Min:
  case Op::Max:
    return true;
  default:
    return false;
  }
}

/// 2^k whose reciprocal is a normal number in f32 too: dividing by it and multiplying by its reciprocal round alike.
bool isInvertiblePowerOfTwo(const Node &node) {
  if (node.op != Op::Const || node.kind != Kind::Float || !std::isfinite(node.imm.f) || node.imm.f == 0)
    return false;
  int exponent;
  return std::fabs(std::frexp(node.imm.f, &exponent)) == 0.5 && exponent > -120 && exponent < 120;
}

} // namespace

bool Builder::fold(Op op, std::span<const ValueId> operands, TextRange range, ValueId &result) {
  if (foldConstants(op, operands, range, result))
    return true;
  if (isReduction(op))
    return foldReduction(op, operands[0], operands[1], range, result);
  if (op == Op::Select)
    return foldSelect(operands[0], operands[1], operands[2], range, result);
  if (operands.size() == 1)
    return foldUnary(op, operands[0], range, result);
  ValueId x = operands[0], y = operands[1];
  if (isCommutative(op) && isConst(x)) {
    // Constants stand right, so that 2 * x and x * 2 are one node.
    result = this->op(op, {y, x}, range);
    return true;
  }
  switch (kind(x)) {
  case Kind::Int:
    return foldInt(op, x, y, range, result);
  case Kind::Float:
    return foldFloat(op, x, y, range, result);
  case Kind::Bool:
    return foldBool(op, x, y, range, result);
  }
  return false;
}

bool Builder::foldConstants(Op op, std::span<const ValueId> operands, TextRange range, ValueId &result) {
  Value values[3];
  Kind kinds[3] = {};
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const Node &node = nodes[operands[i]];
    if (node.op != Op::Const)
      return false;
    kinds[i] = node.kind;
    (node.kind == Kind::Float ? values[i].f = node.imm.f : values[i].i = node.imm.i);
  }
  const auto kind = resultKind(op, {kinds, operands.size()});
  if (!kind)
    return false;
  const Value value = evalOp(op, op == Op::Select ? kinds[1] : kinds[0], values[0], values[1], values[2]);
  result = *kind == Kind::Float ? constantFloat(value.f, range) : leaf(Op::Const, *kind, value.i, range);
  return true;
}

bool Builder::foldInt(Op op, ValueId x, ValueId y, TextRange range, ValueId &result) {
  const auto zero = [&] { return constantInt(0, range); };
  const bool same = x == y, right0 = isInt(nodes[y], 0), right1 = isInt(nodes[y], 1);
  auto yields = [&](ValueId value) {
    result = value;
    return true;
  };
  switch (op) {
  case Op::Add: {
    if (right0)
      return yields(x);
    // (x + c1) + c2: exact, because Int arithmetic wraps.
    const Node left = nodes[x];
    if (isConst(y) && left.op == Op::Add && isConst(left.operands[1])) {
      const ValueId sum = constantInt(eval::addWrap(nodes[left.operands[1]].imm.i, nodes[y].imm.i), range);
      return yields(this->op(Op::Add, {left.operands[0], sum}, range));
    }
    return false;
  }
  case Op::Sub:
    if (same)
      return yields(zero());
    if (isConst(y)) // x - c is x + (-c): one form, so that chains of them fold
      return yields(this->op(Op::Add, {x, constantInt(eval::subWrap(0, nodes[y].imm.i), range)}, range));
    if (isInt(nodes[x], 0))
      return yields(this->op(Op::Neg, {y}, range));
    return false;
  case Op::Mul:
    return right1 ? yields(x) : right0 ? yields(y) : false;
  case Op::FloorDiv:
    return right1 ? yields(x) : right0 ? yields(y) : false;
  case Op::FloorMod:
  case Op::Rem:
    return right1 || right0 ? yields(zero()) : false;
  case Op::Pow:
    return right1 ? yields(x) : right0 ? yields(constantInt(1, range)) : false;
  case Op::Min:
  case Op::Max:
  case Op::BitAnd:
  case Op::BitOr:
    if (same)
      return yields(x);
    if (op == Op::BitAnd && right0)
      return yields(y);
    return op == Op::BitOr && right0 ? yields(x) : false;
  case Op::BitXor:
    return same ? yields(zero()) : right0 ? yields(x) : false;
  case Op::Shl:
  case Op::Shr:
    return right0 ? yields(x) : false;
  case Op::Eq:
  case Op::Le:
    return same ? yields(constantBool(true, range)) : false;
  case Op::Ne:
  case Op::Lt:
    return same ? yields(constantBool(false, range)) : false;
  default:
    return false;
  }
}

bool Builder::foldFloat(Op op, ValueId x, ValueId y, TextRange range, ValueId &result) {
  auto yields = [&](ValueId value) {
    result = value;
    return true;
  };
  switch (op) {
  case Op::Add:
    return isFloatConst(nodes[y], -0.0) ? yields(x) : false;
  case Op::Sub:
    return isFloatConst(nodes[y], 0.0) ? yields(x) : false;
  case Op::Mul:
    if (isFloatConst(nodes[y], 1.0))
      return yields(x);
    return isFloatConst(nodes[y], -1.0) ? yields(this->op(Op::Neg, {x}, range)) : false;
  case Op::Div:
    if (isInvertiblePowerOfTwo(nodes[y]))
      return yields(this->op(Op::Mul, {x, constantFloat(1.0 / nodes[y].imm.f, range)}, range));
    return false;
  case Op::Min:
  case Op::Max:
    return x == y ? yields(x) : false;
  default:
    return false;
  }
}

bool Builder::foldBool(Op op, ValueId x, ValueId y, TextRange range, ValueId &result) {
  auto yields = [&](ValueId value) {
    result = value;
    return true;
  };
  const bool same = x == y, isTrue = isBool(nodes[y], true), isFalse = isBool(nodes[y], false);
  switch (op) {
  case Op::LogicalAnd:
    return same || isTrue ? yields(x) : isFalse ? yields(y) : false;
  case Op::LogicalOr:
    return same || isFalse ? yields(x) : isTrue ? yields(y) : false;
  case Op::LogicalXor:
    if (same)
      return yields(constantBool(false, range));
    return isFalse ? yields(x) : isTrue ? yields(this->op(Op::LogicalNot, {x}, range)) : false;
  default:
    return false;
  }
}

bool Builder::foldSelect(ValueId condition, ValueId x, ValueId y, TextRange range, ValueId &result) {
  auto yields = [&](ValueId value) {
    result = value;
    return true;
  };
  if (isConst(condition))
    return yields(nodes[condition].imm.i ? x : y);
  if (x == y)
    return yields(x);
  if (nodes[condition].op == Op::LogicalNot) {
    const ValueId positive = nodes[condition].operands[0];
    return yields(op(Op::Select, {positive, y, x}, range));
  }
  if (kind(x) != Kind::Bool)
    return false;
  if (isBool(nodes[y], false))
    return yields(op(Op::LogicalAnd, {condition, x}, range));
  if (isBool(nodes[x], true))
    return yields(op(Op::LogicalOr, {condition, y}, range));
  if (isBool(nodes[x], false))
    return yields(op(Op::LogicalAnd, {op(Op::LogicalNot, {condition}, range), y}, range));
  if (isBool(nodes[y], true))
    return yields(op(Op::LogicalOr, {op(Op::LogicalNot, {condition}, range), x}, range));
  return false;
}

/// A loop of no steps, and one whose steps are all alike. Repeated addition of a float is not exact, so it stays.
bool Builder::foldReduction(Op op, ValueId iter, ValueId body, TextRange range, ValueId &result) {
  const ValueId length = nodes[iter].operands[0];
  const Kind kind = this->kind(body);
  const bool isEmpty = isConst(length) && nodes[length].imm.i <= 0;
  if (isEmpty) {
    const Value value = eval::identity(op, kind);
    result = kind == Kind::Float ? constantFloat(value.f, range) : leaf(Op::Const, kind, value.i, range);
    return true;
  }
  if (isOpen(body, static_cast<int>(nodes[iter].imm.i)))
    return false;
  if (op == Op::ReduceSum) {
    if (kind == Kind::Int)
      result = this->op(Op::Mul, {body, this->op(Op::Max, {length, constantInt(0, range)}, range)}, range);
    return kind == Kind::Int;
  }
  result = body;
  return isConst(length);
}

bool Builder::foldUnary(Op op, ValueId x, TextRange range, ValueId &result) {
  auto yields = [&](ValueId value) {
    result = value;
    return true;
  };
  const Node inner = nodes[x]; // a copy: building may move the nodes
  const ValueId y = inner.operands.empty() ? 0 : inner.operands[0];
  switch (op) {
  case Op::Neg:
  case Op::BitNot:
    return inner.op == op ? yields(y) : false;
  case Op::Abs:
    return inner.op == Op::Abs ? yields(x) : inner.op == Op::Neg ? yields(this->op(Op::Abs, {y}, range)) : false;
  case Op::LogicalNot: {
    if (inner.op == Op::LogicalNot)
      return yields(y);
    // not (x == y) is x != y for NaN too; the order comparisons turn round for Ints only.
    if (inner.op == Op::Eq || inner.op == Op::Ne)
      return yields(this->op(inner.op == Op::Eq ? Op::Ne : Op::Eq, {y, inner.operands[1]}, range));
    if ((inner.op == Op::Lt || inner.op == Op::Le) && kind(y) == Kind::Int)
      return yields(this->op(inner.op == Op::Lt ? Op::Le : Op::Lt, {inner.operands[1], y}, range));
    return false;
  }
  case Op::Floor:
  case Op::Ceil:
  case Op::Round:
  case Op::Trunc: {
    const bool integral =
        inner.op == Op::Floor || inner.op == Op::Ceil || inner.op == Op::Round || inner.op == Op::Trunc || inner.op == Op::ToFloat;
    return integral ? yields(x) : false;
  }
  case Op::ToInt: // int(float(flag)) is int(flag)
    return inner.op == Op::ToFloat && kind(y) == Kind::Bool ? yields(this->op(Op::ToInt, {y}, range)) : false;
  case Op::ToFloat:
    return inner.op == Op::ToInt && kind(y) == Kind::Bool ? yields(this->op(Op::ToFloat, {y}, range)) : false;
  case Op::ToBool:
    if (inner.op != Op::ToInt && inner.op != Op::ToFloat)
      return false;
    if (kind(y) == Kind::Bool)
      return yields(y);
    return inner.op == Op::ToFloat ? yields(this->op(Op::ToBool, {y}, range)) : false;
  default:
    return false;
  }
}

} // namespace attnjit::expr
