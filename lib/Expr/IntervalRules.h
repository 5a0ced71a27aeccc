// The interval extension of every op, written once over a domain of end points.
//
// A domain says what an end point is. In the numeric domain it is a number, and the rules compute ranges on the host (ranges(),
// classify()). In the symbolic domain it is a value of a program under construction, and the very same rules write the code that
// decides inside the kernel whether a block is empty or full (closedForm()). A rule therefore never branches on an end point's value; it
// asks the domain for a select, or asks what is proved of an interval.
//
// A domain D provides
//   Endpoint, Bool, Fact
//   Endpoint apply(Op, Endpoint, Endpoint)      an op of the table on end points
//   Endpoint select(Bool, Endpoint, Endpoint)
//   Bool     compare(Op, Endpoint, Endpoint)    Eq, Ne, Lt, Le
//   Bool     logic(Op, Bool, Bool), boolean(bool), isSame-style queries below
//   Endpoint integer(int64), number(double)
//   Interval unknown(Kind)                      everything of that kind
//   bool     isUnbounded(Endpoint)              an Int end that nothing is known of
//   bool     isPoint(Interval)                  both ends are one value
//   Interval applyToPoints(Node, intervals)     the op itself, when every operand is a point
//   bool     provedNonNegative / provedNegative(Interval)
//   bool     requirePositive(Interval &)        proved, or assumed from here on (a guard); false: give up
// Overflow is the domain's business: what might wrap becomes unknown.
#pragma once

#include "Expr/Analysis.h"
#include "Expr/Ops.h"

namespace attnjit::expr {

/// Values of one node. Int and Float: lo, hi. Bool: whether each truth value can occur.
template <typename Endpoint, typename Bool, typename Fact> struct Interval {
  Kind kind = Kind::Int;
  Endpoint lo{}, hi{};
  Bool mayBeTrue{}, mayBeFalse{};
  bool maybeNan = false;           ///< Float
  [[no_unique_address]] Fact fact; ///< what the domain knows besides; the symbolic one: the range at compile time
};

template <typename D> class IntervalRules {
public:
  using E = typename D::Endpoint;
  using B = typename D::Bool;
  using I = Interval<E, B, typename D::Fact>;

  IntervalRules(D &domain, const Function &function, std::vector<I> &known) : d(domain), function(function), known(known) {}

  /// The interval of node `id`, no leaf, from those of its operands.
  I operator()(ValueId id) {
    const Node &node = function[id];
    bool points = true;
    for (ValueId operand : node.operands)
      points &= d.isPoint(known[operand]);
    if (points)
      return d.applyToPoints(node, known);
    const I &a = known[node.operands[0]];
    const I &b = known[node.operands.size() > 1 ? node.operands[1] : node.operands[0]];
    switch (node.op) {
    case Op::Add:
      return make(a.kind, d.apply(Op::Add, a.lo, b.lo), d.apply(Op::Add, a.hi, b.hi));
    case Op::Sub:
      return make(a.kind, d.apply(Op::Sub, a.lo, b.hi), d.apply(Op::Sub, a.hi, b.lo));
    case Op::Neg:
      return negated(a);
    case Op::Mul:
      return node.operands[0] == node.operands[1] ? square(a) : product(a, b);
    case Op::Div:
      return quotient(Op::Div, a, b);
    case Op::FloorDiv:
      return quotient(Op::FloorDiv, a, b);
    case Op::FloorMod:
      return floorMod(a, b);
    case Op::Rem:
      return remainder(a, b);
    case Op::Pow:
      return power(a, b);
    case Op::Min:
    case Op::Max:
      return make(a.kind, d.apply(node.op, a.lo, b.lo), d.apply(node.op, a.hi, b.hi));
    case Op::Abs:
      return absolute(a);
    case Op::Sign:
      return sign(a);
    case Op::BitAnd:
    case Op::BitOr:
    case Op::BitXor:
      return bits(node.op, a, b);
    case Op::BitNot:
      return anyUnbounded(a) ? d.unknown(Kind::Int) : make(Kind::Int, d.apply(Op::BitNot, a.hi, a.hi), d.apply(Op::BitNot, a.lo, a.lo));
    case Op::Shl:
    case Op::Shr:
      return shift(node.op, a, b);
    case Op::LogicalAnd:
      return makeBool(both(a.mayBeTrue, b.mayBeTrue), either(a.mayBeFalse, b.mayBeFalse));
    case Op::LogicalOr:
      return makeBool(either(a.mayBeTrue, b.mayBeTrue), both(a.mayBeFalse, b.mayBeFalse));
    case Op::LogicalXor:
      return makeBool(either(both(a.mayBeTrue, b.mayBeFalse), both(a.mayBeFalse, b.mayBeTrue)),
                      either(both(a.mayBeTrue, b.mayBeTrue), both(a.mayBeFalse, b.mayBeFalse)));
    case Op::LogicalNot:
      return makeBool(a.mayBeFalse, a.mayBeTrue);
    case Op::Eq:
      return equal(node, a, b);
    case Op::Ne: {
      const I same = equal(node, a, b);
      return makeBool(same.mayBeFalse, same.mayBeTrue);
    }
    case Op::Lt:
      return less(Op::Lt, Op::Le, a, b);
    case Op::Le:
      return less(Op::Le, Op::Lt, a, b);
    case Op::Select:
      return chosen(a, b, known[node.operands[2]]);
    case Op::ToFloat:
    case Op::ToInt:
    case Op::ToBool:
      return cast(node.op, a);
    case Op::IsNan:
      return makeBool(d.boolean(a.maybeNan), d.boolean(true));
    case Op::IsInf:
      return d.unknown(Kind::Bool);
    case Op::Rand:
      return make(Kind::Float, d.number(0), d.number(1));
    case Op::RandInt:
      return make(Kind::Int, d.integer(INT32_MIN), d.integer(INT32_MAX));
    case Op::Floor:
    case Op::Ceil:
    case Op::Round:
    case Op::Trunc:
      return make(Kind::Float, d.apply(node.op, a.lo, a.lo), d.apply(node.op, a.hi, a.hi));
    default:
      return d.smooth(node, a);
    }
  }

private:
  I make(Kind kind, E lo, E hi) {
    I interval;
    interval.kind = kind;
    interval.lo = lo;
    interval.hi = hi;
    return interval;
  }
  I makeBool(B mayBeTrue, B mayBeFalse) {
    I interval;
    interval.kind = Kind::Bool;
    interval.mayBeTrue = mayBeTrue;
    interval.mayBeFalse = mayBeFalse;
    return interval;
  }
  B both(B x, B y) { return d.logic(Op::LogicalAnd, x, y); }
  B either(B x, B y) { return d.logic(Op::LogicalOr, x, y); }
  B negation(B x) { return d.logic(Op::LogicalNot, x, x); }
  E smaller(E x, E y) { return d.apply(Op::Min, x, y); }
  E larger(E x, E y) { return d.apply(Op::Max, x, y); }
  E zero(Kind kind) { return kind == Kind::Float ? d.number(0) : d.integer(0); }

  bool anyUnbounded(const I &a) { return a.kind == Kind::Int && (d.isUnbounded(a.lo) || d.isUnbounded(a.hi)); }
  bool anyUnbounded(const I &a, const I &b) { return anyUnbounded(a) || anyUnbounded(b); }

  I negated(const I &a) {
    I result = make(a.kind, d.apply(Op::Neg, a.hi, a.hi), d.apply(Op::Neg, a.lo, a.lo));
    result.maybeNan = a.maybeNan;
    result.fact = d.negated(a.fact);
    return result;
  }

  I absolute(const I &a) {
    const E flipped = d.apply(Op::Neg, a.hi, a.hi);
    return make(a.kind, larger(larger(a.lo, flipped), zero(a.kind)), larger(a.hi, d.apply(Op::Neg, a.lo, a.lo)));
  }

  I square(const I &a) {
    if (anyUnbounded(a))
      return d.unknown(a.kind);
    const I magnitude = absolute(a);
    return make(a.kind, d.apply(Op::Mul, magnitude.lo, magnitude.lo), d.apply(Op::Mul, magnitude.hi, magnitude.hi));
  }

  I product(const I &a, const I &b) {
    if (anyUnbounded(a, b))
      return d.unknown(a.kind);
    if (d.provedNonNegative(a) && d.provedNonNegative(b))
      return make(a.kind, d.apply(Op::Mul, a.lo, b.lo), d.apply(Op::Mul, a.hi, b.hi));
    const E ll = d.apply(Op::Mul, a.lo, b.lo), lh = d.apply(Op::Mul, a.lo, b.hi), hl = d.apply(Op::Mul, a.hi, b.lo),
            hh = d.apply(Op::Mul, a.hi, b.hi);
    return make(a.kind, smaller(smaller(ll, lh), smaller(hl, hh)), larger(larger(ll, lh), larger(hl, hh)));
  }

  /// Div and FloorDiv: monotone in each operand while the divisor keeps its sign.
  I quotient(Op op, I a, I b) {
    if (anyUnbounded(a, b))
      return d.unknown(a.kind);
    if (d.provedNegative(b)) {
      a = negated(a);
      b = negated(b);
    }
    if (!d.requirePositive(b))
      return d.unknown(a.kind);
    return make(a.kind, smaller(d.apply(op, a.lo, b.lo), d.apply(op, a.lo, b.hi)),
                larger(d.apply(op, a.hi, b.lo), d.apply(op, a.hi, b.hi)));
  }

  I floorMod(I a, I b) {
    if (anyUnbounded(b))
      return d.unknown(a.kind);
    const bool flip = d.provedNegative(b);
    if (flip) { // x % -m is -((-x) % m)
      if (anyUnbounded(a))
        return d.unknown(a.kind);
      a = negated(a);
      b = negated(b);
    }
    if (!d.requirePositive(b))
      return d.unknown(a.kind);
    I result;
    if (a.kind == Kind::Float) {
      // fmod may round up to the divisor itself; NaN for an infinite dividend is the domain's to see.
      result = make(Kind::Float, d.number(0), b.hi);
    } else {
      const E largest = d.apply(Op::Sub, b.hi, d.integer(1));
      result = make(Kind::Int, d.integer(0), d.provedNonNegative(a) && !anyUnbounded(a) ? smaller(a.hi, largest) : largest);
      if (!anyUnbounded(a) && d.isPoint(b)) {
        // Within one period the remainder rises with the dividend.
        const B onePeriod = d.compare(Op::Eq, d.apply(Op::FloorDiv, a.lo, b.lo), d.apply(Op::FloorDiv, a.hi, b.lo));
        result.lo = d.select(onePeriod, d.apply(Op::FloorMod, a.lo, b.lo), result.lo);
        result.hi = d.select(onePeriod, d.apply(Op::FloorMod, a.hi, b.lo), result.hi);
      }
    }
    return flip ? negated(result) : result;
  }

  /// C's remainder takes the dividend's sign and stays below the divisor.
  I remainder(const I &a, I b) {
    if (a.kind == Kind::Float || anyUnbounded(b) || !d.requirePositive(b))
      return d.unknown(a.kind);
    const E largest = d.apply(Op::Sub, b.hi, d.integer(1));
    if (!anyUnbounded(a) && d.provedNonNegative(a))
      return make(Kind::Int, d.integer(0), smaller(a.hi, largest));
    return make(Kind::Int, d.apply(Op::Neg, largest, largest), largest);
  }

  I power(const I &a, const I &b) {
    I positive = a;
    if (a.kind == Kind::Float || anyUnbounded(a, b) || !d.provedNonNegative(b) || !d.requirePositive(positive))
      return d.unknown(a.kind);
    return make(Kind::Int, d.apply(Op::Pow, positive.lo, b.lo), d.apply(Op::Pow, positive.hi, b.hi));
  }

  I sign(const I &a) {
    if (anyUnbounded(a) || a.maybeNan)
      return make(a.kind, a.kind == Kind::Float ? d.number(-1) : d.integer(-1), a.kind == Kind::Float ? d.number(1) : d.integer(1));
    return make(a.kind, d.apply(Op::Sign, a.lo, a.lo), d.apply(Op::Sign, a.hi, a.hi));
  }

  I bits(Op op, const I &a, const I &b) {
    const bool aIsNatural = d.provedNonNegative(a) && !anyUnbounded(a), bIsNatural = d.provedNonNegative(b) && !anyUnbounded(b);
    if (op == Op::BitAnd && (aIsNatural || bIsNatural))
      return make(Kind::Int, d.integer(0), aIsNatural && bIsNatural ? smaller(a.hi, b.hi) : aIsNatural ? a.hi : b.hi);
    if (op == Op::BitAnd || !aIsNatural || !bIsNatural)
      return d.unknown(Kind::Int);
    // x | y and x ^ y never exceed x + y.
    return make(Kind::Int, op == Op::BitOr ? larger(a.lo, b.lo) : d.integer(0), d.apply(Op::Add, a.hi, b.hi));
  }

  I shift(Op op, const I &a, const I &b) {
    // Only counts that every machine shifts alike; Shl that loses bits is overflow.
    if (anyUnbounded(a) || !d.isPoint(b) || !d.provedShiftCount(b))
      return d.unknown(Kind::Int);
    return make(Kind::Int, d.apply(op, a.lo, b.lo), d.apply(op, a.hi, b.lo));
  }

  /// Written with "not greater", so that a NaN end (which compares false) keeps both answers possible.
  I equal(const Node &node, const I &a, const I &b) {
    const B overlap = both(negation(d.compare(Op::Lt, b.hi, a.lo)), negation(d.compare(Op::Lt, a.hi, b.lo)));
    const B oneValue = both(both(d.compare(Op::Eq, a.lo, a.hi), d.compare(Op::Eq, b.lo, b.hi)), d.compare(Op::Eq, a.lo, b.lo));
    I result = makeBool(overlap, either(negation(oneValue), d.boolean(a.maybeNan || b.maybeNan)));
    for (int side : {0, 1})
      narrowByPeriod(node.operands[side], node.operands[1 - side], result);
    return result;
  }

  /// x % m == c for uniform m > 0 and c (dilated and strided masks): some x in [lo, hi] hits iff a multiple of m lies in [lo - c, hi - c].
  void narrowByPeriod(ValueId modulo, ValueId residue, I &result) {
    const Node &node = function[modulo];
    if (node.op != Op::FloorMod || node.kind != Kind::Int)
      return;
    const I &x = known[node.operands[0]], &c = known[residue];
    I m = known[node.operands[1]];
    if (anyUnbounded(x, m) || anyUnbounded(c) || !d.isPoint(m) || !d.isPoint(c) || d.provedNegative(m) || !d.requirePositive(m))
      return;
    const E last = d.apply(Op::FloorDiv, d.apply(Op::Sub, x.hi, c.lo), m.lo);
    const E beforeFirst = d.apply(Op::FloorDiv, d.apply(Op::Sub, d.apply(Op::Sub, x.lo, d.integer(1)), c.lo), m.lo);
    result.mayBeTrue = both(result.mayBeTrue, d.compare(Op::Ne, last, beforeFirst));
  }

  /// Lt with opposite Le and the other way round: a < b can be true unless b.hi <= a.lo, false unless a.hi < b.lo.
  I less(Op op, Op opposite, const I &a, const I &b) {
    return makeBool(negation(d.compare(opposite, b.hi, a.lo)),
                    either(negation(d.compare(op, a.hi, b.lo)), d.boolean(a.maybeNan || b.maybeNan)));
  }

  I chosen(const I &condition, const I &x, const I &y) {
    const B t = condition.mayBeTrue, f = condition.mayBeFalse;
    if (x.kind == Kind::Bool)
      return makeBool(either(both(t, x.mayBeTrue), both(f, y.mayBeTrue)), either(both(t, x.mayBeFalse), both(f, y.mayBeFalse)));
    I result =
        make(x.kind, d.select(t, d.select(f, smaller(x.lo, y.lo), x.lo), y.lo), d.select(t, d.select(f, larger(x.hi, y.hi), x.hi), y.hi));
    result.maybeNan = x.maybeNan || y.maybeNan;
    return result;
  }

  I cast(Op op, const I &a) {
    if (op == Op::ToBool) {
      const E none = zero(a.kind);
      const B zeroInside = both(negation(d.compare(Op::Lt, none, a.lo)), negation(d.compare(Op::Lt, a.hi, none)));
      const B onlyZero = both(d.compare(Op::Eq, a.lo, none), d.compare(Op::Eq, a.hi, none));
      return makeBool(either(negation(onlyZero), d.boolean(a.maybeNan)), zeroInside);
    }
    const Kind kind = op == Op::ToFloat ? Kind::Float : Kind::Int;
    if (a.kind == Kind::Bool) {
      const E one = kind == Kind::Float ? d.number(1) : d.integer(1);
      return make(kind, d.select(a.mayBeFalse, zero(kind), one), d.select(a.mayBeTrue, one, zero(kind)));
    }
    if (op == Op::ToInt && a.maybeNan)
      return d.unknown(Kind::Int);
    if (anyUnbounded(a))
      return d.unknown(kind);
    return make(kind, d.apply(op, a.lo, a.lo), d.apply(op, a.hi, a.hi));
  }

  D &d;
  const Function &function;
  std::vector<I> &known;
};

} // namespace attnjit::expr
