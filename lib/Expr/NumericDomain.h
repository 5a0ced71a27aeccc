// Intervals whose ends are numbers: the host's side of IntervalRules.h.
#pragma once

#include "Expr/EvalOp.h"
#include "Expr/IntervalRules.h"

namespace attnjit::expr {

/// An end point: a number with its kind.
struct Number {
  Kind kind = Kind::Int;
  Value value;
};

/// The domain of numbers. `overflow` is set when an end left 64 bits.
class NumericDomain {
public:
  static constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min(), kMax = std::numeric_limits<std::int64_t>::max();
  static constexpr double kInf = std::numeric_limits<double>::infinity();
  using Endpoint = Number;
  using Bool = bool;
  struct Fact {};
  using I = Interval<Number, bool, Fact>;

  bool overflow = false;
  bool companion = false;

  Number integer(std::int64_t value) const { return {Kind::Int, {value, 0}}; }
  Number number(double value) const { return {Kind::Float, {0, value}}; }
  bool boolean(bool value) const { return value; }

  // The ops that planning spends its time in are spelled out; where a rule names the op, only that one remains of the switch.
  Number apply(Op op, const Number &x, const Number &y) {
    if (x.kind == Kind::Int) {
      std::int64_t result;
      switch (op) {
      case Op::Add:
        overflow |= __builtin_add_overflow(x.value.i, y.value.i, &result);
        return integer(result);
      case Op::Sub:
        overflow |= __builtin_sub_overflow(x.value.i, y.value.i, &result);
        return integer(result);
      case Op::Min:
        return integer(x.value.i < y.value.i ? x.value.i : y.value.i);
      case Op::Max:
        return integer(x.value.i > y.value.i ? x.value.i : y.value.i);
      default:
        overflow |= overflows(op, x.value.i, y.value.i);
      }
    }
    const Kind result = op == Op::ToFloat ? Kind::Float : op == Op::ToInt ? Kind::Int : x.kind;
    return {result, evalOp(op, x.kind, x.value, y.value, {})};
  }
  bool compare(Op op, const Number &x, const Number &y) const {
    return x.kind == Kind::Float ? compareAs(op, x.value.f, y.value.f) : compareAs(op, x.value.i, y.value.i);
  }
  bool logic(Op op, bool x, bool y) const { return op == Op::LogicalAnd ? x && y : op == Op::LogicalOr ? x || y : !x; }
  Number select(bool condition, const Number &x, const Number &y) const { return condition ? x : y; }

  I unknown(Kind kind) const {
    I interval;
    interval.kind = kind;
    interval.lo = kind == Kind::Float ? number(-kInf) : integer(kMin);
    interval.hi = kind == Kind::Float ? number(kInf) : integer(kMax);
    interval.mayBeTrue = interval.mayBeFalse = true;
    interval.maybeNan = kind == Kind::Float;
    return interval;
  }

  bool isUnbounded(const Number &x) const { return x.kind == Kind::Int && (x.value.i == kMin || x.value.i == kMax); }
  bool isPoint(const I &x) const {
    if (x.kind == Kind::Bool)
      return x.mayBeTrue != x.mayBeFalse;
    return x.kind == Kind::Int ? x.lo.value.i == x.hi.value.i
                               : !x.maybeNan && x.lo.value.f == x.hi.value.f && x.lo.value.f != 0; // 0 has two signs
  }
  bool provedNonNegative(const I &x) const { return x.kind == Kind::Int ? x.lo.value.i >= 0 : x.lo.value.f >= 0; }
  bool provedNegative(const I &x) const { return x.kind == Kind::Int ? x.hi.value.i < 0 : x.hi.value.f < 0; }
  bool provedShiftCount(const I &x) const { return x.lo.value.i >= 0 && x.hi.value.i <= 62; }
  bool requirePositive(I &x) const {
    if (x.kind == Kind::Float)
      return x.lo.value.f > 0;
    if (companion && x.hi.value.i > 0)
      x.lo.value.i = std::max<std::int64_t>(x.lo.value.i, 1);
    return x.lo.value.i > 0;
  }
  Fact negated(const Fact &fact) const { return fact; }

  I applyToPoints(const Node &node, const std::vector<I> &known) {
    Value values[3];
    Kind operandKind = Kind::Bool;
    for (std::size_t i = 0; i < node.operands.size(); ++i) {
      const I &x = known[node.operands[i]];
      values[i] = x.kind == Kind::Bool ? Value{x.mayBeTrue, 0} : x.lo.value;
      if (i == 0 || (i == 1 && node.op == Op::Select))
        operandKind = x.kind;
    }
    const Value value = evalOp(node.op, operandKind, values[0], values[1], values[2]);
    I result = unknown(node.kind);
    if (node.kind == Kind::Bool) {
      result.mayBeTrue = value.i;
      result.mayBeFalse = !value.i;
    } else if (node.kind == Kind::Int) {
      result.lo = result.hi = integer(value.i);
    } else if (!std::isnan(value.f)) {
      result.lo = result.hi = number(value.f);
      result.maybeNan = false;
    }
    return result;
  }

  /// Ops whose rule is a column of the table.
  I smooth(const Node &node, const I &a) {
    I result = unknown(node.kind);
    const IntervalRule rule = info(node.op).interval;
    if (rule == IntervalRule::Unit) {
      result.lo = number(-1);
      result.hi = number(1);
      result.maybeNan = a.maybeNan || std::isinf(a.lo.value.f) || std::isinf(a.hi.value.f);
    } else if (rule == IntervalRule::Increasing || rule == IntervalRule::Decreasing) {
      double lo = evalOp(node.op, Kind::Float, a.lo.value, {}, {}).f, hi = evalOp(node.op, Kind::Float, a.hi.value, {}, {}).f;
      if (rule == IntervalRule::Decreasing)
        std::swap(lo, hi);
      if (std::isnan(lo) || std::isnan(hi))
        return result;
      // A math library is monotone only up to its rounding, and a kernel's is another one.
      constexpr double kSlack = 1e-6;
      result.lo = number(lo - std::fabs(lo) * kSlack);
      result.hi = number(hi + std::fabs(hi) * kSlack);
      if (std::isinf(lo))
        result.lo = number(lo);
      if (std::isinf(hi))
        result.hi = number(hi);
      result.maybeNan = a.maybeNan;
    }
    return result;
  }

private:
  template <typename T> static bool compareAs(Op op, T x, T y) {
    return op == Op::Lt ? x < y : op == Op::Le ? x <= y : op == Op::Eq ? x == y : x != y;
  }

  /// Would `op` leave 64 bits? Rules only ever apply it to ends, so no value between them does if these do not.
  static bool overflows(Op op, std::int64_t x, std::int64_t y) {
    std::int64_t ignored;
    switch (op) {
    case Op::Mul:
      return __builtin_mul_overflow(x, y, &ignored);
    case Op::Neg:
    case Op::Abs:
      return x == kMin;
    case Op::Shl:
      return eval::shiftRight(eval::shiftLeft(x, y), y) != x;
    case Op::Pow:
      return y > 0 && std::pow(std::fabs(static_cast<double>(x)), static_cast<double>(y)) > 9e18;
    default:
      return false;
    }
  }
};

/// What leaves are within, for one walk over a function.
struct NumericLeaves {
  Box box;
  std::span<const ScalarArg> scalars; ///< empty: unknown
  std::int64_t scalarLimit = 0;       ///< bounds of unknown Int scalars, 0 = none
  double floatScalarLimit = 0;        ///< bounds of unknown Float scalars, 0 = none
  double scoreLimit = 0;              ///< bounds of the score, 0 = none
  const CaptureRangeFn *captureRange = nullptr;
  /// Divisors of unknown sign are taken as positive, and floats past f32 as unknown: the companion of a closed form, which guards the one
  /// at run time and may be evaluated in f32.
  bool companion = false;
};

/// The ranges of a function's nodes, node by node, in an order of the caller's choice: whoever asks about one box after the other
/// recomputes only what changed, and nothing is allocated. `leaves` is read at every step and may change between them.
class NumericWalk {
public:
  NumericWalk(const Formula &formula, const Function &function, const NumericLeaves &leaves);

  /// Computes node `id` from its operands, which have been computed or set.
  void step(ValueId id);
  /// States what is known of a node instead.
  void set(ValueId id, const Range &range);
  Range range(ValueId id) const;

private:
  using I = NumericDomain::I;
  void settle(const Node &node, I &result);
  I integers(std::int64_t lo, std::int64_t hi) const;
  I floats(double lo, double hi, bool maybeNan) const;
  I bools(bool mayBeTrue, bool mayBeFalse) const;
  I leaf(const Node &node) const;
  I iter(const Node &node) const;
  I reduction(const Node &node) const;
  I constant(Kind kind, const Value &value) const;
  I parameter(Param param) const;
  I scalar(const Node &node) const;
  I load(const Node &node) const;
  I byDType(DType dtype, Kind kind) const;

  const Formula &formula;
  const Function &function;
  const NumericLeaves &leaves;
  NumericDomain domain;
  std::vector<I> known;
  IntervalRules<NumericDomain> rule;
};

/// Range of every node.
std::vector<Range> numericRanges(const Formula &formula, const Function &function, const NumericLeaves &leaves);

} // namespace attnjit::expr
