#include "Expr/LaneInterp.h"

#include "Expr/Analysis.h"
#include "Expr/EvalOp.h"
#include "Expr/Loops.h"

#include <bit>
#include <cstring>

namespace attnjit::expr {

LaneInterp::LaneInterp(const Function &function, const Bindings &bindings, std::span<const ValueId> roots, Param axis, Floats floats)
    : function(function), bindings(bindings), axis(axis), arithmetic(floats), isLane(function.nodes.size()),
      isSpread(function.nodes.size()), scalars(function, bindings, floats), slots(function.nodes.size(), -1) {
  std::vector<bool> needed(function.nodes.size());
  for (const ValueId root : roots)
    needed[root] = true;
  for (ValueId id = static_cast<ValueId>(function.nodes.size()); id-- > 0;)
    if (needed[id])
      for (const ValueId operand : function[id].operands)
        needed[operand] = true;

  const std::vector<std::uint8_t> depends = dependences(function), open = openLevels(function.nodes);
  const std::uint8_t ofLane = DependsScore | (axis == Param::Q ? DependsQ : DependsKv), ofOther = axis == Param::Q ? DependsKv : DependsQ;
  for (const ValueId root : roots)
    isSpread[root] = true;
  for (ValueId id = 0; id < function.nodes.size(); ++id) {
    isLane[id] = depends[id] & ofLane;
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
    steps[stage].push_back(stepOf(function, id, bodies));
  }
  lanes = std::make_unique_for_overwrite<Lanes[]>(static_cast<std::size_t>(count));
  runScalars(Uniform, {});
}

bool LaneInterp::run(const Position &first, std::int64_t step, int count, const double *scores) {
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
    outOfRange |= runLanes(lane, {first, step, count, scores});
  return outOfRange;
}

bool LaneInterp::runLanes(const Step &step, const Row &row) {
  bool outOfRange = false;
  switch (step.node->op) {
  case Op::Param:
    loadParam(step, row);
    break;
  case Op::Load:
    outOfRange = loadLanes(step, row.count);
    break;
  case Op::ReduceSum:
  case Op::ReduceMax:
  case Op::ReduceMin:
    return reduceLanes(step, row); // rounded as it goes
  default:
    applyLanes(step, row.count);
  }
  if (step.node->kind == Kind::Float)
    round(lanes[slots[step.id]], row.count);
  return outOfRange;
}

void LaneInterp::loadParam(const Step &step, const Row &row) {
  Lanes &out = lanes[slots[step.id]];
  if (static_cast<Param>(step.node->imm.i) == Param::Score) {
    for (int i = 0; i < row.count; ++i)
      out.f[i] = row.scores ? row.scores[i] : 0;
    return;
  }
  const std::int64_t begin = axis == Param::Q ? row.first.q : row.first.kv;
  for (int i = 0; i < row.count; ++i)
    out.i[i] = begin + i * row.step;
}

void LaneInterp::round(Lanes &values, int count) const {
  if (arithmetic == Floats::F32)
    for (int i = 0; i < count; ++i)
      values.f[i] = static_cast<float>(values.f[i]);
}

void LaneInterp::runScalars(Stage stage, const Position &at) {
  bool outOfRange = false;
  for (const Step &step : steps[stage])
    outOfRange |= runScalar(step, at);
  stageOutOfRange[stage] = outOfRange;
}

bool LaneInterp::runScalar(const Step &step, const Position &at) {
  const bool outOfRange = scalars.run(step, 0, at);
  if (isSpread[step.id])
    spread(step.id);
  return outOfRange;
}

void LaneInterp::spread(ValueId id) {
  Lanes &out = lanes[slots[id]];
  if (function[id].kind == Kind::Float)
    std::fill_n(out.f, kLanes, scalars[id].f);
  else
    std::fill_n(out.i, kLanes, scalars[id].i);
}

/// The loop is outside, the lanes inside: what a step of the loop computes without the lanes is computed once for all of them.
bool LaneInterp::reduceLanes(const Step &step, const Row &row) {
  const int count = row.count;
  const Node &node = *step.node;
  const ValueId iter = node.operands[0], body = node.operands[1];
  const std::int64_t length = scalars[function[iter].operands[0]].i;
  const Value none = eval::identity(node.op, node.kind);
  Lanes total;
  for (int lane = 0; lane < count; ++lane)
    node.kind == Kind::Float ? void(total.f[lane] = none.f) : void(total.i[lane] = none.i);
  bool outOfRange = false;
  for (std::int64_t i = 0; i < length; ++i) {
    scalars[iter].i = i;
    if (isSpread[iter])
      spread(iter);
    for (const Step &inner : step.body)
      outOfRange |= isLane[inner.id] ? runLanes(inner, row) : runScalar(inner, row.first);
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
    if (node.kind == Kind::Float)
      round(total, count);
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

void LaneInterp::applyLanes(const Step &step, int count) {
  const Node &node = *step.node;
  const auto operand = [&](std::size_t i) -> Operand {
    const Lanes &x = lanesOf(node.operands[std::min(i, node.operands.size() - 1)]);
    return {x.i, x.f};
  };
  Lanes &out = lanes[slots[step.id]];
  evalLanes(node.op, step.operandKind, operand(0), operand(1), operand(2), {out.i, out.f}, count);
}

} // namespace attnjit::expr
