#include "Expr/LaneInterp.h"

#include "Expr/Analysis.h"
#include "Expr/EvalOp.h"
#include "Expr/Loops.h"

#include <bit>
#include <cstring>

namespace attnjit::expr {

LaneInterp::LaneInterp(const Function &function, const Bindings &bindings, std::span<const ValueId> roots, Param axis)
    : function(function), bindings(bindings), axis(axis), isLane(function.nodes.size()), isSpread(function.nodes.size()),
      scalars(function.nodes.size()), slots(function.nodes.size(), -1) {
  std::vector<bool> needed(function.nodes.size());
  for (const ValueId root : roots)
    needed[root] = true;
  for (ValueId id = static_cast<ValueId>(function.nodes.size()); id-- > 0;)
    if (needed[id])
      for (const ValueId operand : function[id].operands)
        needed[operand] = true;

  const std::vector<std::uint8_t> depends = dependences(function), open = openLevels(function.nodes);
  const std::uint8_t ofAxis = axis == Param::Q ? DependsQ : DependsKv, ofOther = axis == Param::Q ? DependsKv : DependsQ;
  for (const ValueId root : roots)
    isSpread[root] = true;
  for (ValueId id = 0; id < function.nodes.size(); ++id) {
    isLane[id] = depends[id] & ofAxis;
    if (needed[id] && isLane[id])
      for (const ValueId operand : function[id].operands)
        isSpread[operand] = true;
  }
  const std::vector<std::vector<ValueId>> bodies = loopBodies(function.nodes);
  int count = 0;
  for (ValueId id = 0; id < function.nodes.size(); ++id) {
    if (!needed[id])
      continue;
    isSpread[id] = isSpread[id] && !isLane[id];
    if (isLane[id] || isSpread[id])
      slots[id] = count++;
    if (open[id])
      continue; // a step of some loop
    const Stage stage = isLane[id] ? PerLane : depends[id] & ofOther ? PerOther : depends[id] & (DependsB | DependsH) ? PerHead : Uniform;
    steps[stage].push_back(stepOf(id, bodies));
  }
  lanes = std::make_unique_for_overwrite<Lanes[]>(static_cast<std::size_t>(count));
  runScalars(Uniform, {});
}

LaneInterp::Step LaneInterp::stepOf(ValueId id, std::span<const std::vector<ValueId>> bodies) const {
  const Node &node = function[id];
  const std::size_t typed = node.op == Op::Select ? 1 : 0;
  Step step{&node, id, node.operands.empty() ? node.kind : function[node.operands[typed]].kind, isSpread[id], {}};
  for (const ValueId inner : bodies[id])
    step.body.push_back(stepOf(inner, bodies));
  return step;
}

bool LaneInterp::run(const Position &first, std::int64_t step, int count) {
  const bool sameHead = hasLast && last.b == first.b && last.h == first.h;
  const bool sameOther = sameHead && (axis == Param::Q ? last.kv == first.kv : last.q == first.q);
  if (!sameHead)
    runScalars(PerHead, first);
  if (!sameOther)
    runScalars(PerOther, first);
  last = first;
  hasLast = true;

  bool outOfRange = stageOutOfRange[Uniform] || stageOutOfRange[PerHead] || stageOutOfRange[PerOther];
  for (const Step &lane : steps[PerLane])
    outOfRange |= runLanes(lane, first, step, count);
  return outOfRange;
}

bool LaneInterp::runLanes(const Step &step, const Position &first, std::int64_t by, int count) {
  switch (step.node->op) {
  case Op::Param: {
    const std::int64_t begin = axis == Param::Q ? first.q : first.kv;
    std::int64_t *out = lanes[slots[step.id]].i;
    for (int i = 0; i < count; ++i)
      out[i] = begin + i * by;
    return false;
  }
  case Op::Load:
    return loadLanes(step, count);
  case Op::ReduceSum:
  case Op::ReduceMax:
  case Op::ReduceMin:
    return reduceLanes(step, first, by, count);
  default:
    applyLanes(step, count);
    return false;
  }
}

void LaneInterp::runScalars(Stage stage, const Position &at) {
  bool outOfRange = false;
  for (const Step &step : steps[stage])
    outOfRange |= runScalar(step, at);
  stageOutOfRange[stage] = outOfRange;
}

bool LaneInterp::runScalar(const Step &step, const Position &at) {
  const Node &node = *step.node;
  bool outOfRange = false;
  Value result = scalars[step.id];
  switch (node.op) {
  case Op::Param: {
    const std::int64_t positions[] = {0, at.b, at.h, at.q, at.kv};
    result = {positions[node.imm.i], 0};
    break;
  }
  case Op::Scalar:
    (node.kind == Kind::Float ? result.f = bindings.scalars[node.imm.i].f : result.i = bindings.scalars[node.imm.i].i);
    break;
  case Op::Const:
    (node.kind == Kind::Float ? result.f = node.imm.f : result.i = node.imm.i);
    break;
  case Op::Load: {
    std::int64_t indices[kMaxRank];
    for (std::size_t dim = 0; dim < node.operands.size(); ++dim)
      indices[dim] = scalars[node.operands[dim]].i;
    result = loadAt(bindings.captures[node.imm.i], {indices, node.operands.size()}, outOfRange);
    break;
  }
  case Op::ReduceSum:
  case Op::ReduceMax:
  case Op::ReduceMin:
    return reduceScalar(step, at);
  default: {
    Value operands[3];
    for (std::size_t i = 0; i < node.operands.size(); ++i)
      operands[i] = scalars[node.operands[i]];
    result = evalOp(node.op, step.operandKind, operands[0], operands[1], operands[2]);
  }
  }
  setScalar(step.id, result, step.spread);
  return outOfRange;
}

void LaneInterp::setScalar(ValueId id, const Value &value, bool spread) {
  scalars[id] = value;
  if (!spread)
    return;
  Lanes &out = lanes[slots[id]];
  if (function[id].kind == Kind::Float)
    std::fill_n(out.f, kLanes, value.f);
  else
    std::fill_n(out.i, kLanes, value.i);
}

bool LaneInterp::reduceScalar(const Step &step, const Position &at) {
  const Node &node = *step.node;
  const ValueId iter = node.operands[0];
  const std::int64_t length = scalars[function[iter].operands[0]].i;
  bool outOfRange = false;
  Value total = eval::identity(node.op, node.kind);
  for (std::int64_t i = 0; i < length; ++i) {
    scalars[iter].i = i;
    for (const Step &inner : step.body)
      outOfRange |= runScalar(inner, at);
    eval::accumulate(node.op, node.kind, total, scalars[node.operands[1]]);
  }
  setScalar(step.id, total, step.spread);
  return outOfRange;
}

/// The loop is outside, the lanes inside: what a step of the loop computes without the lanes is computed once for all of them.
bool LaneInterp::reduceLanes(const Step &step, const Position &first, std::int64_t by, int count) {
  const Node &node = *step.node;
  const ValueId iter = node.operands[0], body = node.operands[1];
  const std::int64_t length = scalars[function[iter].operands[0]].i;
  const Value none = eval::identity(node.op, node.kind);
  Lanes total;
  for (int lane = 0; lane < count; ++lane)
    node.kind == Kind::Float ? void(total.f[lane] = none.f) : void(total.i[lane] = none.i);
  bool outOfRange = false;
  for (std::int64_t i = 0; i < length; ++i) {
    setScalar(iter, {i, 0}, isSpread[iter]);
    for (const Step &inner : step.body)
      outOfRange |= isLane[inner.id] ? runLanes(inner, first, by, count) : runScalar(inner, first);
    const Lanes &one = lanesOf(body);
    if (node.kind == Kind::Float && node.op == Op::ReduceSum)
      for (int lane = 0; lane < count; ++lane)
        total.f[lane] += one.f[lane];
    else
      for (int lane = 0; lane < count; ++lane) {
        Value sum{node.kind == Kind::Float ? 0 : total.i[lane], node.kind == Kind::Float ? total.f[lane] : 0};
        eval::accumulate(node.op, node.kind, sum, node.kind == Kind::Float ? Value{0, one.f[lane]} : Value{one.i[lane], 0});
        node.kind == Kind::Float ? void(total.f[lane] = sum.f) : void(total.i[lane] = sum.i);
      }
  }
  lanes[slots[step.id]] = total;
  return outOfRange;
}

namespace {

/// Where the elements of the lanes lie.
struct Places {
  const std::int64_t *offsets; ///< null: they lie `step` apart
  std::int64_t step = 0;
};

template <typename T, typename Out> void gather(const void *data, Places places, Out *out, int count) {
  const T *elements = static_cast<const T *>(data);
  if (places.offsets)
    for (int i = 0; i < count; ++i)
      out[i] = static_cast<Out>(elements[places.offsets[i]]);
  else if (places.step == 1)
    for (int i = 0; i < count; ++i)
      out[i] = static_cast<Out>(elements[i]);
  else
    for (int i = 0; i < count; ++i)
      out[i] = static_cast<Out>(elements[i * places.step]);
}

} // namespace

bool LaneInterp::loadLanes(const Step &step, int count) {
  const Node &node = *step.node;
  const TensorRef &tensor = bindings.captures[node.imm.i];
  std::int64_t offsets[kLanes], base = 0, evenStep = 0;
  std::uint64_t outside = 0;
  bool isEmpty = false, hasOffsets = false;
  const auto makeOffsets = [&] {
    if (!hasOffsets)
      for (int i = 0; i < count; ++i)
        offsets[i] = i * evenStep;
    hasOffsets = true;
  };
  for (std::size_t dim = 0; dim < node.operands.size(); ++dim) {
    const std::int64_t size = tensor.sizes[dim], stride = tensor.strides[dim];
    isEmpty |= size <= 0;
    if (!isLane[node.operands[dim]]) {
      std::int64_t index = scalars[node.operands[dim]].i;
      index += index < 0 ? size : 0;
      const bool bad = index < 0 || index >= size;
      outside |= bad;
      base += bad ? 0 : index * stride;
      continue;
    }
    const std::int64_t *x = lanesOf(node.operands[dim]).i;
    if (!hasOffsets && function[node.operands[dim]].op == Op::Param && x[0] >= 0 && x[count - 1] < size) {
      base += x[0] * stride; // the position itself, in bounds: most captured tensors are indexed so
      evenStep += (count > 1 ? x[1] - x[0] : 0) * stride;
      continue;
    }
    makeOffsets();
    for (int i = 0; i < count; ++i) {
      const std::int64_t index = x[i] + (x[i] < 0 ? size : 0);
      const std::uint64_t bad = static_cast<std::uint64_t>(index) >= static_cast<std::uint64_t>(size);
      outside |= bad;
      offsets[i] += (bad ? 0 : index) * stride;
    }
  }
  Lanes &out = lanes[slots[step.id]];
  if (isEmpty) {
    std::memset(&out, 0, sizeof out);
    return true;
  }
  const Places places{hasOffsets ? offsets : nullptr, evenStep};
  const char *data = static_cast<const char *>(tensor.data) + base * static_cast<std::int64_t>(sizeInBytes(tensor.dtype));
  switch (tensor.dtype) {
  case DType::F64:
    gather<double>(data, places, out.f, count);
    break;
  case DType::F32:
    gather<float>(data, places, out.f, count);
    break;
  case DType::Bool:
    gather<std::uint8_t>(data, places, out.i, count);
    for (int i = 0; i < count; ++i)
      out.i[i] = out.i[i] != 0; // any byte but 0 is true
    break;
  case DType::I8:
    gather<std::int8_t>(data, places, out.i, count);
    break;
  case DType::U8:
    gather<std::uint8_t>(data, places, out.i, count);
    break;
  case DType::I16:
    gather<std::int16_t>(data, places, out.i, count);
    break;
  case DType::I32:
    gather<std::int32_t>(data, places, out.i, count);
    break;
  case DType::I64:
    gather<std::int64_t>(data, places, out.i, count);
    break;
  default: // formats without arithmetic of their own
    for (int i = 0; i < count; ++i)
      out.f[i] = loadElement(data, tensor.dtype, hasOffsets ? offsets[i] : i * evenStep).f;
  }
  return outside != 0;
}

// The evaluation columns of the op table, one loop each.
void LaneInterp::applyLanes(const Step &step, int count) {
  using namespace eval;
  const Node &node = *step.node;
  const Lanes &a = lanesOf(node.operands[0]), &b = node.operands.size() > 1 ? lanesOf(node.operands[1]) : a,
              &c = node.operands.size() > 2 ? lanesOf(node.operands[2]) : a;
  Lanes &out = lanes[slots[step.id]];
  const bool isFloat = step.operandKind == Kind::Float;
  switch (node.op) {
  case Op::Param:
  case Op::Scalar:
  case Op::Const:
  case Op::Load:
  case Op::Iter:
  case Op::ReduceSum:
  case Op::ReduceMax:
  case Op::ReduceMin:
    break;
#define EVAL_INT(result, expression)                                                                                                       \
  for (int lane = 0; lane < count; ++lane) {                                                                                               \
    [[maybe_unused]] const I x = a.i[lane], y = b.i[lane];                                                                                 \
    out.result[lane] = expression;                                                                                                         \
  }
#define EVAL_FLOAT(result, expression)                                                                                                     \
  for (int lane = 0; lane < count; ++lane) {                                                                                               \
    [[maybe_unused]] const double x = a.f[lane], y = b.f[lane];                                                                            \
    out.result[lane] = expression;                                                                                                         \
  }
#define EVAL_NNN(name, intEval, floatEval)                                                                                                 \
  if (isFloat)                                                                                                                             \
    EVAL_FLOAT(f, floatEval)                                                                                                               \
  else                                                                                                                                     \
    EVAL_INT(i, intEval)
#define EVAL_FFF(name, intEval, floatEval) EVAL_FLOAT(f, floatEval)
#define EVAL_III(name, intEval, floatEval) EVAL_INT(i, intEval)
#define EVAL_BBB(name, intEval, floatEval) EVAL_INT(i, intEval)
#define EVAL_CMP(name, intEval, floatEval)                                                                                                 \
  if (isFloat)                                                                                                                             \
    EVAL_FLOAT(i, floatEval)                                                                                                               \
  else                                                                                                                                     \
    EVAL_INT(i, intEval)
#define EVAL_FB(name, intEval, floatEval) EVAL_FLOAT(i, floatEval)
#define EVAL_IIF(name, intEval, floatEval) EVAL_INT(f, intEval)
#define EVAL_SEL(name, intEval, floatEval)                                                                                                 \
  if (isFloat)                                                                                                                             \
    for (int lane = 0; lane < count; ++lane)                                                                                               \
      out.f[lane] = a.i[lane] ? b.f[lane] : c.f[lane];                                                                                     \
  else                                                                                                                                     \
    for (int lane = 0; lane < count; ++lane)                                                                                               \
      out.i[lane] = a.i[lane] ? b.i[lane] : c.i[lane];
#define EVAL_CAST(name, intEval, floatEval)                                                                                                \
  for (int lane = 0; lane < count; ++lane)                                                                                                 \
    if (Op::name == Op::ToFloat)                                                                                                           \
      out.f[lane] = static_cast<double>(a.i[lane]);                                                                                        \
    else if (Op::name == Op::ToInt)                                                                                                        \
      out.i[lane] = isFloat ? truncSaturate(a.f[lane]) : a.i[lane];                                                                        \
    else                                                                                                                                   \
      out.i[lane] = isFloat ? a.f[lane] != 0 : a.i[lane] != 0;
#define EXPR_ROW(Name, spelling, arity, Types, lowering, interval, intEval, floatEval)                                                     \
  case Op::Name:                                                                                                                           \
    EVAL_##Types(Name, intEval, floatEval) break;
#include "Expr/ExprOps.def"
#undef EVAL_INT
#undef EVAL_FLOAT
#undef EVAL_NNN
#undef EVAL_FFF
#undef EVAL_III
#undef EVAL_BBB
#undef EVAL_CMP
#undef EVAL_FB
#undef EVAL_IIF
#undef EVAL_SEL
#undef EVAL_CAST
  }
}

} // namespace attnjit::expr
