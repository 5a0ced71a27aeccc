#include "Expr/NumericDomain.h"

#include "Expr/EvalOp.h"

#include <cmath>
#include <limits>

namespace attnjit::expr {

namespace {

constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min(), kMax = std::numeric_limits<std::int64_t>::max();
constexpr double kInf = std::numeric_limits<double>::infinity();
/// A float past this may be infinite in f32.
constexpr double kFloatLimit = 1e37;

struct Number {
  Kind kind = Kind::Int;
  Value value;
};

class NumericDomain {
public:
  using Endpoint = Number;
  using Bool = bool;
  using I = Interval<Number, bool>;

  bool overflow = false;
  bool companion = false;

  Number integer(std::int64_t value) const { return {Kind::Int, {value, 0}}; }
  Number number(double value) const { return {Kind::Float, {0, value}}; }
  bool boolean(bool value) const { return value; }

  Number apply(Op op, const Number &x, const Number &y) {
    if (x.kind == Kind::Int)
      overflow |= overflows(op, x.value.i, y.value.i);
    const Kind result = op == Op::ToFloat ? Kind::Float : op == Op::ToInt ? Kind::Int : x.kind;
    return {result, evalOp(op, x.kind, x.value, y.value, {})};
  }
  bool compare(Op op, const Number &x, const Number &y) const { return evalOp(op, x.kind, x.value, y.value, {}).i; }
  bool logic(Op op, bool x, bool y) const { return evalOp(op, Kind::Bool, {x, 0}, {y, 0}, {}).i; }
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
  Range negated(const Range &fact) const { return fact; }

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
  /// Would `op` leave 64 bits? Rules only ever apply it to ends, so no value between them does if these do not.
  static bool overflows(Op op, std::int64_t x, std::int64_t y) {
    std::int64_t ignored;
    switch (op) {
    case Op::Add:
      return __builtin_add_overflow(x, y, &ignored);
    case Op::Sub:
      return __builtin_sub_overflow(x, y, &ignored);
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

using I = NumericDomain::I;

Range rangeOf(const I &interval) {
  Range range;
  range.kind = interval.kind;
  if (interval.kind == Kind::Bool) {
    range.lo = !interval.mayBeFalse;
    range.hi = interval.mayBeTrue;
  } else if (interval.kind == Kind::Int) {
    range.lo = interval.lo.value.i;
    range.hi = interval.hi.value.i;
  }
  range.flo = interval.kind == Kind::Float ? interval.lo.value.f : -kInf;
  range.fhi = interval.kind == Kind::Float ? interval.hi.value.f : kInf;
  range.maybeNan = interval.kind == Kind::Float && interval.maybeNan;
  return range;
}

class Walk {
public:
  Walk(const Formula &formula, const Function &function, const NumericLeaves &leaves)
      : formula(formula), function(function), leaves(leaves) {
    domain.companion = leaves.companion;
  }

  std::vector<Range> run() {
    IntervalRules<NumericDomain> rule(domain, function, known);
    known.reserve(function.nodes.size());
    std::vector<Range> ranges;
    for (ValueId id = 0; id < function.nodes.size(); ++id) {
      const Node &node = function.nodes[id];
      domain.overflow = false;
      I interval = info(node.op).types == OpTypes::Leaf ? leaf(node) : rule(id);
      if (info(node.op).types != OpTypes::Leaf)
        settle(node, interval);
      known.push_back(interval);
      ranges.push_back(rangeOf(interval));
    }
    return ranges;
  }

private:
  /// What the rules leave to the domain: overflow, NaN.
  void settle(const Node &node, I &result) {
    if (domain.overflow) {
      result = domain.unknown(node.kind);
      return;
    }
    if (node.kind != Kind::Float)
      return;
    bool infinite = false;
    for (ValueId operand : node.operands)
      if (known[operand].kind == Kind::Float) {
        result.maybeNan |= known[operand].maybeNan && node.op != Op::Sign;
        infinite |= std::isinf(known[operand].lo.value.f) || std::isinf(known[operand].hi.value.f);
      }
    switch (node.op) {
    case Op::Add:
    case Op::Sub:
    case Op::Mul:
    case Op::Div:
    case Op::FloorDiv:
    case Op::FloorMod:
      result.maybeNan |= infinite;
      break; // inf - inf, 0 * inf ...
    default:
      break;
    }
    const double lo = result.lo.value.f, hi = result.hi.value.f;
    const bool tooLarge = leaves.companion && (std::fabs(lo) > kFloatLimit || std::fabs(hi) > kFloatLimit);
    if (std::isnan(lo) || std::isnan(hi) || tooLarge)
      result = domain.unknown(Kind::Float);
  }

  I integers(std::int64_t lo, std::int64_t hi) const {
    I interval = domain.unknown(Kind::Int);
    interval.lo = domain.integer(lo);
    interval.hi = domain.integer(hi);
    return interval;
  }
  I floats(double lo, double hi, bool maybeNan) const {
    I interval = domain.unknown(Kind::Float);
    interval.lo = domain.number(lo);
    interval.hi = domain.number(hi);
    interval.maybeNan = maybeNan;
    return interval;
  }
  I bools(bool mayBeTrue, bool mayBeFalse) const {
    I interval = domain.unknown(Kind::Bool);
    interval.mayBeTrue = mayBeTrue;
    interval.mayBeFalse = mayBeFalse;
    return interval;
  }

  I leaf(const Node &node) const {
    switch (node.op) {
    case Op::Param:
      return parameter(static_cast<Param>(node.imm.i));
    case Op::Const:
      return constant(node.kind, {node.kind == Kind::Float ? 0 : node.imm.i, node.kind == Kind::Float ? node.imm.f : 0});
    case Op::Scalar:
      return scalar(node);
    default:
      return load(node);
    }
  }

  I constant(Kind kind, const Value &value) const {
    if (kind == Kind::Bool)
      return bools(value.i, !value.i);
    if (kind == Kind::Int)
      return integers(value.i, value.i);
    return std::isnan(value.f) ? domain.unknown(Kind::Float) : floats(value.f, value.f, false);
  }

  I parameter(Param param) const {
    const Box &box = leaves.box;
    switch (param) {
    case Param::B:
      return integers(box.bLo, box.bHi);
    case Param::H:
      return integers(box.hLo, box.hHi);
    case Param::Q:
      return integers(box.qLo, box.qHi);
    case Param::Kv:
      return integers(box.kvLo, box.kvHi);
    case Param::Score:
      break;
    }
    return leaves.scoreLimit > 0 ? floats(-leaves.scoreLimit, leaves.scoreLimit, false) : domain.unknown(Kind::Float);
  }

  I scalar(const Node &node) const {
    if (!leaves.scalars.empty()) {
      const ScalarArg &argument = leaves.scalars[node.imm.i];
      return node.kind == Kind::Float ? constant(node.kind, {0, argument.f}) : constant(node.kind, {argument.i, 0});
    }
    if (node.kind == Kind::Int && leaves.scalarLimit > 0)
      return integers(-leaves.scalarLimit, leaves.scalarLimit);
    if (node.kind == Kind::Float && leaves.floatScalarLimit > 0)
      return floats(-leaves.floatScalarLimit, leaves.floatScalarLimit, false);
    return domain.unknown(node.kind);
  }

  I load(const Node &node) const {
    I interval = byDType(formula.captures[node.imm.i].dtype, node.kind);
    if (!leaves.captureRange || !*leaves.captureRange)
      return interval;
    std::vector<Range> indices;
    for (ValueId operand : node.operands)
      indices.push_back(rangeOf(known[operand]));
    const Range range = (*leaves.captureRange)(static_cast<int>(node.imm.i), indices);
    if (node.kind == Kind::Bool)
      return bools(range.hi > 0, range.lo <= 0);
    if (node.kind == Kind::Float)
      return floats(range.flo, range.fhi, range.maybeNan);
    return integers(std::max(range.lo, interval.lo.value.i), std::min(range.hi, interval.hi.value.i));
  }

  I byDType(DType dtype, Kind kind) const {
    switch (dtype) {
    case DType::I8:
      return integers(INT8_MIN, INT8_MAX);
    case DType::U8:
      return integers(0, UINT8_MAX);
    case DType::I16:
      return integers(INT16_MIN, INT16_MAX);
    case DType::I32:
      return integers(INT32_MIN, INT32_MAX);
    default:
      return domain.unknown(kind);
    }
  }

  const Formula &formula;
  const Function &function;
  const NumericLeaves &leaves;
  NumericDomain domain;
  std::vector<I> known;
};

} // namespace

std::vector<Range> numericRanges(const Formula &formula, const Function &function, const NumericLeaves &leaves) {
  return Walk(formula, function, leaves).run();
}

std::vector<Range> ranges(const Formula &formula, const Function &function, const Box &box, std::span<const ScalarArg> scalars, bool narrow,
                          const CaptureRangeFn &captureRange) {
  NumericLeaves leaves;
  leaves.box = box;
  leaves.scalars = scalars;
  leaves.scalarLimit = narrow ? std::int64_t{1} << 30 : 0;
  leaves.captureRange = &captureRange;
  return numericRanges(formula, function, leaves);
}

TileClass classify(const Formula &formula, const Box &box, std::span<const ScalarArg> scalars, const CaptureRangeFn &captureRange) {
  const Range range = ranges(formula, formula.mask, box, scalars, false, captureRange)[formula.mask.result];
  return range.hi == 0 ? TileClass::Empty : range.lo == 1 ? TileClass::Full : TileClass::Partial;
}

} // namespace attnjit::expr
