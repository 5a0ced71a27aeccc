// The symbolic side of IntervalRules.h: end points are values of a small program over the bounds of a box.
//
// What cannot be known while compiling is settled in one of two ways. A numeric walk over the largest possible box (the companion)
// says which nodes might overflow or be NaN: they become unknown. And guards, evaluated with the form, say what else it relies on: captured
// numbers within 2^30 (2^40 for floats), divisors above 0. Where a guard fails both answers are "may be".
#include "Expr/Analysis.h"
#include "Expr/Builder.h"
#include "Expr/EvalOp.h"
#include "Expr/NumericDomain.h"

#include <cmath>
#include <limits>

namespace attnjit::expr {

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr std::int64_t kScalarLimit = std::int64_t{1} << 30;
constexpr double kFloatScalarLimit = 1099511627776.0; // 2^40
constexpr std::int64_t kPositionLimit = std::int64_t{1} << 40;

/// An Int end that nothing is known of has no value: `infinite` is its sign. (It must not become a number: the form may be compiled to 32
/// bits.)
struct SymbolicEnd {
  ValueId id = 0;
  int infinite = 0;
};

class SymbolicDomain {
public:
  using Endpoint = SymbolicEnd;
  using Bool = ValueId;
  using Fact = Range;
  using I = Interval<SymbolicEnd, ValueId, Range>;

  Builder builder;
  std::vector<ValueId> guards;
  bool metUnknown = false;

  SymbolicEnd integer(std::int64_t value) { return {builder.constantInt(value)}; }
  SymbolicEnd number(double value) { return {builder.constantFloat(value)}; }
  ValueId boolean(bool value) { return builder.constantBool(value); }

  SymbolicEnd apply(Op op, SymbolicEnd x, SymbolicEnd y) {
    if (x.infinite || (arity(op) == 2 && y.infinite))
      return applyInfinite(op, x, y);
    return {arity(op) == 1 ? builder.op(op, {x.id}) : builder.op(op, {x.id, y.id})};
  }
  /// Comparisons only ever prove something, so nothing known means false.
  ValueId compare(Op op, SymbolicEnd x, SymbolicEnd y) { return x.infinite || y.infinite ? boolean(false) : builder.op(op, {x.id, y.id}); }
  ValueId logic(Op op, ValueId x, ValueId y) { return op == Op::LogicalNot ? builder.op(op, {x}) : builder.op(op, {x, y}); }
  SymbolicEnd select(ValueId condition, SymbolicEnd x, SymbolicEnd y) {
    if (x.infinite || y.infinite)
      return x.infinite ? x : y;
    return {builder.op(Op::Select, {condition, x.id, y.id})};
  }

  I unknown(Kind kind) {
    metUnknown = true;
    I interval;
    interval.kind = kind;
    interval.lo = kind == Kind::Float ? number(-kInf) : SymbolicEnd{0, -1};
    interval.hi = kind == Kind::Float ? number(kInf) : SymbolicEnd{0, 1};
    interval.mayBeTrue = interval.mayBeFalse = boolean(true);
    interval.maybeNan = kind == Kind::Float;
    return interval;
  }

  bool isUnbounded(SymbolicEnd x) const { return x.infinite != 0; }
  bool isPoint(const I &x) {
    if (x.kind == Kind::Bool)
      return builder.op(Op::LogicalNot, {x.mayBeTrue}) == x.mayBeFalse;
    return !x.lo.infinite && !x.hi.infinite && x.lo.id == x.hi.id;
  }
  bool provedNonNegative(const I &x) const { return x.kind == Kind::Int ? x.fact.lo >= 0 : !x.fact.maybeNan && x.fact.flo >= 0; }
  bool provedNegative(const I &x) const { return x.kind == Kind::Int ? x.fact.hi < 0 : !x.fact.maybeNan && x.fact.fhi < 0; }
  bool provedShiftCount(const I &x) const { return x.fact.lo >= 0 && x.fact.hi <= 62; }
  bool requirePositive(I &x) {
    if (x.kind == Kind::Float)
      return !x.fact.maybeNan && x.fact.flo > 0;
    if (x.fact.hi <= 0 || x.lo.infinite)
      return false;
    if (x.fact.lo <= 0)
      guards.push_back(builder.op(Op::Lt, {builder.constantInt(0), x.lo.id}));
    x.fact.lo = std::max<std::int64_t>(x.fact.lo, 1);
    return true;
  }
  Range negated(const Range &fact) const {
    Range result = fact;
    result.lo = fact.hi == INT64_MAX ? INT64_MIN : -fact.hi;
    result.hi = fact.lo == INT64_MIN ? INT64_MAX : -fact.lo;
    result.flo = -fact.fhi;
    result.fhi = -fact.flo;
    return result;
  }

  I applyToPoints(const Node &node, const std::vector<I> &known) {
    std::vector<ValueId> operands;
    for (ValueId operand : node.operands)
      operands.push_back(known[operand].kind == Kind::Bool ? known[operand].mayBeTrue : known[operand].lo.id);
    return point(node.kind, builder.op(node.op, operands));
  }
  I point(Kind kind, ValueId value) {
    I interval;
    interval.kind = kind;
    interval.lo = interval.hi = {value};
    if (kind == Kind::Bool) {
      interval.mayBeTrue = value;
      interval.mayBeFalse = builder.op(Op::LogicalNot, {value});
    }
    return interval;
  }

  /// Transcendental functions of a varying value: a kernel's are monotone only up to their error.
  I smooth(const Node &node, const I &) { return unknown(node.kind); }

private:
  SymbolicEnd applyInfinite(Op op, SymbolicEnd x, SymbolicEnd y) const {
    switch (op) {
    case Op::Min:
      return x.infinite > 0 ? y : x.infinite < 0 ? x : y.infinite > 0 ? x : y;
    case Op::Max:
      return x.infinite < 0 ? y : x.infinite > 0 ? x : y.infinite < 0 ? x : y;
    case Op::Neg:
      return {0, -x.infinite};
    case Op::Sub:
      return {0, x.infinite ? x.infinite : -y.infinite};
    default:
      return {0, x.infinite ? x.infinite : y.infinite};
    }
  }
};

using I = SymbolicDomain::I;

class FormBuilder {
public:
  explicit FormBuilder(const Formula &formula) : formula(formula), function(formula.mask) {}

  ClosedForm run() {
    NumericLeaves leaves;
    leaves.box = {0, kScalarLimit, 0, kScalarLimit, 0, kPositionLimit, 0, kPositionLimit};
    leaves.scalarLimit = kScalarLimit;
    leaves.floatScalarLimit = kFloatScalarLimit;
    leaves.companion = true;
    const std::vector<Range> facts = numericRanges(formula, function, leaves);
    IntervalRules<SymbolicDomain> rule(domain, function, known);
    known.reserve(function.nodes.size());
    for (ValueId id = 0; id < function.nodes.size(); ++id) {
      const Node &node = function.nodes[id];
      const OpTypes types = info(node.op).types;
      // Reductions are of captured tensors, which a closed form does not see.
      const bool isLoop = types == OpTypes::Iter || types == OpTypes::Reduce;
      I interval = types == OpTypes::Leaf ? leaf(node) : !isLoop && isSettled(node, facts[id]) ? rule(id) : domain.unknown(node.kind);
      interval.fact = facts[id];
      if (node.kind == Kind::Float)
        boundByFact(interval);
      interval.maybeNan = facts[id].maybeNan;
      known.push_back(interval);
    }
    return finish(known[function.result]);
  }

private:
  /// False where the companion met overflow or NaN; the op on points is exact all the same.
  bool isSettled(const Node &node, const Range &fact) {
    bool points = true;
    for (ValueId operand : node.operands)
      points &= domain.isPoint(known[operand]);
    const bool wild = fact.kind == Kind::Int ? fact.lo == INT64_MIN && fact.hi == INT64_MAX : fact.kind == Kind::Float && fact.maybeNan;
    return points || !wild;
  }

  I leaf(const Node &node) {
    switch (node.op) {
    case Op::Const:
      return domain.point(node.kind, node.kind == Kind::Float ? domain.builder.constantFloat(node.imm.f)
                                                              : domain.builder.leaf(Op::Const, node.kind, node.imm.i));
    case Op::Scalar:
      return scalar(node);
    case Op::Param:
      switch (static_cast<Param>(node.imm.i)) {
      case Param::B:
        return domain.point(Kind::Int, bound(BoxParam::B));
      case Param::H:
        return domain.point(Kind::Int, bound(BoxParam::H));
      case Param::Q:
        return between(BoxParam::QLo, BoxParam::QHi);
      case Param::Kv:
        return between(BoxParam::KvLo, BoxParam::KvHi);
      case Param::Score:
        break;
      }
      [[fallthrough]];
    default:
      return domain.unknown(node.kind);
    }
  }

  /// An end that nothing is known of is where the companion has it, so that what follows stays in the range that the companion found
  /// settled.
  void boundByFact(I &interval) {
    const auto isInfinite = [&](SymbolicEnd end) { return domain.builder.isConst(end.id) && std::isinf(domain.builder[end.id].imm.f); };
    if (isInfinite(interval.lo))
      interval.lo = domain.number(interval.fact.flo);
    if (isInfinite(interval.hi))
      interval.hi = domain.number(interval.fact.fhi);
  }

  I scalar(const Node &node) {
    Builder &b = domain.builder;
    const ValueId value = b.scalar(static_cast<int>(node.imm.i), node.kind);
    if (node.kind == Kind::Int) {
      domain.guards.push_back(b.op(Op::Le, {b.constantInt(-kScalarLimit), value}));
      domain.guards.push_back(b.op(Op::Le, {value, b.constantInt(kScalarLimit)}));
    } else if (node.kind == Kind::Float) {
      domain.guards.push_back(b.op(Op::Le, {b.op(Op::Abs, {value}), b.constantFloat(kFloatScalarLimit)})); // false for NaN
    }
    return domain.point(node.kind, value);
  }

  ValueId bound(BoxParam param) { return domain.builder.leaf(Op::Param, Kind::Int, static_cast<std::int64_t>(param)); }
  I between(BoxParam lo, BoxParam hi) {
    I interval;
    interval.kind = Kind::Int;
    interval.lo = {bound(lo)};
    interval.hi = {bound(hi)};
    return interval;
  }

  ClosedForm finish(const I &mask) {
    Builder &b = domain.builder;
    ValueId roots[2] = {mask.mayBeTrue, mask.mayBeFalse};
    const auto isTrue = [&](ValueId id) { return b.isConst(id) && b[id].imm.i; };
    ClosedForm form;
    form.useful = !(isTrue(roots[0]) && isTrue(roots[1]));
    form.exact = !domain.metUnknown;
    ValueId broken = b.constantBool(false);
    if (!b.isConst(roots[0]) || !b.isConst(roots[1])) // a constant mask relies on nothing
      for (ValueId guard : domain.guards)
        broken = b.op(Op::LogicalOr, {broken, b.op(Op::LogicalNot, {guard})});
    for (ValueId &root : roots)
      root = b.op(Op::LogicalOr, {root, broken});
    form.nodes = b.take(roots);
    form.mayBeTrue = roots[0];
    form.mayBeFalse = roots[1];
    return form;
  }

  const Formula &formula;
  const Function &function;
  SymbolicDomain domain;
  std::vector<I> known;
};

} // namespace

ClosedForm closedForm(const Formula &formula) { return FormBuilder(formula).run(); }

BoxVerdict evaluate(const ClosedForm &form, const Box &box, std::span<const ScalarArg> scalars) {
  std::vector<Value> values(form.nodes.size());
  for (ValueId id = 0; id < form.nodes.size(); ++id) {
    const Node &node = form.nodes[id];
    Value &value = values[id];
    switch (node.op) {
    case Op::Param: {
      const std::int64_t bounds[] = {box.bLo, box.hLo, box.qLo, box.qHi, box.kvLo, box.kvHi};
      value.i = bounds[node.imm.i];
      break;
    }
    case Op::Scalar:
      (node.kind == Kind::Float ? value.f = scalars[node.imm.i].f : value.i = scalars[node.imm.i].i);
      break;
    case Op::Const:
      (node.kind == Kind::Float ? value.f = node.imm.f : value.i = node.imm.i);
      break;
    default: {
      Value operands[3];
      for (std::size_t i = 0; i < node.operands.size(); ++i)
        operands[i] = values[node.operands[i]];
      value = evalOp(node.op, form.nodes[node.operands[node.op == Op::Select ? 1 : 0]].kind, operands[0], operands[1], operands[2]);
    }
    }
  }
  return {values[form.mayBeTrue].i != 0, values[form.mayBeFalse].i != 0};
}

} // namespace attnjit::expr
