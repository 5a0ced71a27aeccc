#include "Expr/NumericDomain.h"

#include <cmath>

namespace attnjit::expr {

namespace {

/// A float past this may be infinite in f32.
constexpr double kFloatLimit = 1e37;
constexpr double kInf = NumericDomain::kInf;

Range rangeOf(const NumericDomain::I &interval) {
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

} // namespace

NumericWalk::NumericWalk(const Formula &formula, const Function &function, const NumericLeaves &leaves)
    : formula(formula), function(function), leaves(leaves), known(function.nodes.size()), rule(domain, function, known) {
  domain.companion = leaves.companion;
  for (ValueId id = 0; id < function.nodes.size(); ++id)
    known[id] = domain.unknown(function[id].kind);
}

void NumericWalk::step(ValueId id) {
  const Node &node = function.nodes[id];
  switch (info(node.op).types) {
  case OpTypes::Leaf:
    known[id] = leaf(node);
    return;
  case OpTypes::Iter:
    known[id] = iter(node);
    return;
  case OpTypes::Reduce:
    known[id] = reduction(node);
    return;
  default:
    break;
  }
  domain.overflow = false;
  known[id] = rule(id);
  settle(node, known[id]);
}

void NumericWalk::set(ValueId id, const Range &range) {
  I &interval = known[id]; // of the right kind already
  switch (range.kind) {
  case Kind::Bool:
    interval.mayBeTrue = range.hi > 0;
    interval.mayBeFalse = range.lo <= 0;
    break;
  case Kind::Int:
    interval.lo.value.i = range.lo;
    interval.hi.value.i = range.hi;
    break;
  case Kind::Float:
    interval.lo.value.f = range.flo;
    interval.hi.value.f = range.fhi;
    interval.maybeNan = range.maybeNan;
    break;
  }
}

Range NumericWalk::range(ValueId id) const { return rangeOf(known[id]); }

/// What the rules leave to the domain: overflow, NaN.
void NumericWalk::settle(const Node &node, I &result) {
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

NumericDomain::I NumericWalk::integers(std::int64_t lo, std::int64_t hi) const {
  I interval = domain.unknown(Kind::Int);
  interval.lo = domain.integer(lo);
  interval.hi = domain.integer(hi);
  return interval;
}
NumericDomain::I NumericWalk::floats(double lo, double hi, bool maybeNan) const {
  I interval = domain.unknown(Kind::Float);
  interval.lo = domain.number(lo);
  interval.hi = domain.number(hi);
  interval.maybeNan = maybeNan;
  return interval;
}
NumericDomain::I NumericWalk::bools(bool mayBeTrue, bool mayBeFalse) const {
  I interval = domain.unknown(Kind::Bool);
  interval.mayBeTrue = mayBeTrue;
  interval.mayBeFalse = mayBeFalse;
  return interval;
}

NumericDomain::I NumericWalk::leaf(const Node &node) const {
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

/// What is open has the range of all steps of its loop. A loop without steps computes nothing: any range holds, and that of the first step
/// says least about captured tensors.
NumericDomain::I NumericWalk::iter(const Node &node) const {
  return integers(0, std::max<std::int64_t>(known[node.operands[0]].hi.value.i, 1) - 1);
}

NumericDomain::I NumericWalk::reduction(const Node &node) const {
  const I &length = known[function.nodes[node.operands[0]].operands[0]], &body = known[node.operands[1]];
  const std::int64_t least = std::max<std::int64_t>(length.lo.value.i, 0), most = std::max<std::int64_t>(length.hi.value.i, 0);
  if (node.op != Op::ReduceSum) {
    I result = body;
    if (least > 0)
      return result;
    const bool isMax = node.op == Op::ReduceMax;
    const I nothing = constant(node.kind, eval::identity(node.op, node.kind));
    if (node.kind == Kind::Bool)
      (isMax ? result.mayBeFalse : result.mayBeTrue) = true;
    else
      (isMax ? result.lo : result.hi) = nothing.lo;
    return result;
  }
  if (node.kind == Kind::Int) {
    I result = integers(0, 0);
    for (const std::int64_t count : {least, most}) {
      std::int64_t lo = 0, hi = 0;
      if (__builtin_mul_overflow(count, body.lo.value.i, &lo) || __builtin_mul_overflow(count, body.hi.value.i, &hi))
        return domain.unknown(Kind::Int);
      const bool isFirst = count == least;
      result.lo.value.i = isFirst ? lo : std::min(result.lo.value.i, lo);
      result.hi.value.i = isFirst ? hi : std::max(result.hi.value.i, hi);
    }
    return result;
  }
  // Each of `most` additions may round by half a unit of f32, so the sum may be off by that share of the largest one possible.
  constexpr double kUnit = 1.2e-7, kMostTerms = 1e6;
  const double count = static_cast<double>(most), lo = body.lo.value.f, hi = body.hi.value.f;
  const double largest = count * std::max(std::fabs(lo), std::fabs(hi)), slack = largest * count * kUnit;
  if (body.maybeNan || !(largest < kFloatLimit) || count > kMostTerms)
    return domain.unknown(Kind::Float);
  const double few = static_cast<double>(least);
  const double sumLo = lo < 0 ? count * lo - slack : std::max(few * lo - slack, 0.0); // a sum of terms of one sign keeps it
  const double sumHi = hi > 0 ? count * hi + slack : std::min(few * hi + slack, 0.0);
  return floats(sumLo, sumHi, false);
}

NumericDomain::I NumericWalk::constant(Kind kind, const Value &value) const {
  if (kind == Kind::Bool)
    return bools(value.i, !value.i);
  if (kind == Kind::Int)
    return integers(value.i, value.i);
  return std::isnan(value.f) ? domain.unknown(Kind::Float) : floats(value.f, value.f, false);
}

NumericDomain::I NumericWalk::parameter(Param param) const {
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

NumericDomain::I NumericWalk::scalar(const Node &node) const {
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

NumericDomain::I NumericWalk::load(const Node &node) const {
  I interval = byDType(formula.captures[node.imm.i].dtype, node.kind);
  if (!leaves.captureRange || !*leaves.captureRange)
    return interval;
  Range indices[kMaxRank];
  for (std::size_t dim = 0; dim < node.operands.size(); ++dim)
    indices[dim] = rangeOf(known[node.operands[dim]]);
  const Range range = (*leaves.captureRange)(static_cast<int>(node.imm.i), {indices, node.operands.size()});
  if (node.kind == Kind::Bool)
    return bools(range.hi > 0, range.lo <= 0);
  if (node.kind == Kind::Float)
    return floats(range.flo, range.fhi, range.maybeNan);
  return integers(std::max(range.lo, interval.lo.value.i), std::min(range.hi, interval.hi.value.i));
}

NumericDomain::I NumericWalk::byDType(DType dtype, Kind kind) const {
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

std::vector<Range> numericRanges(const Formula &formula, const Function &function, const NumericLeaves &leaves) {
  NumericWalk walk(formula, function, leaves);
  std::vector<Range> ranges;
  for (ValueId id = 0; id < function.nodes.size(); ++id) {
    walk.step(id);
    ranges.push_back(walk.range(id));
  }
  return ranges;
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
