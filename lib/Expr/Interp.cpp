#include "Expr/Interp.h"

#include "Expr/Analysis.h"
#include "Expr/EvalOp.h"
#include "Expr/Loops.h"
#include "Support/FloatFormat.h"

#include <cstring>

namespace attnjit::expr {

namespace {

template <typename T> T read(const void *data, std::int64_t offset) {
  T value;
  std::memcpy(&value, static_cast<const char *>(data) + offset * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  return value;
}

} // namespace

Value loadElement(const void *data, DType dtype, std::int64_t offset) {
  Value value;
  switch (dtype) {
  case DType::F64:
    value.f = read<double>(data, offset);
    break;
  case DType::F32:
    value.f = read<float>(data, offset);
    break;
  case DType::BF16:
  case DType::F16:
    value.f = FloatFormat::of(dtype)->decode(read<std::uint16_t>(data, offset));
    break;
  case DType::F8E4M3:
  case DType::F8E5M2:
    value.f = FloatFormat::of(dtype)->decode(read<std::uint8_t>(data, offset));
    break;
  case DType::Bool:
    value.i = read<std::uint8_t>(data, offset) != 0;
    break;
  case DType::I8:
    value.i = read<std::int8_t>(data, offset);
    break;
  case DType::U8:
    value.i = read<std::uint8_t>(data, offset);
    break;
  case DType::I16:
    value.i = read<std::int16_t>(data, offset);
    break;
  case DType::I32:
    value.i = read<std::int32_t>(data, offset);
    break;
  case DType::I64:
    value.i = read<std::int64_t>(data, offset);
    break;
  }
  return value;
}

Value loadAt(const TensorRef &tensor, std::span<const std::int64_t> indices, bool &outOfRange) {
  std::int64_t offset = 0;
  bool isEmpty = false;
  for (std::size_t dim = 0; dim < indices.size(); ++dim) {
    const std::int64_t size = tensor.sizes[dim];
    std::int64_t index = indices[dim];
    if (index < 0)
      index += size;
    if (index < 0 || index >= size) {
      outOfRange = true;
      index = 0;
      isEmpty |= size <= 0;
    }
    offset += index * tensor.strides[dim];
  }
  return isEmpty ? Value{} : loadElement(tensor.data, tensor.dtype, offset);
}

Interp::Interp(const Formula &, const Function &function, const Bindings &bindings)
    : function(function), bindings(bindings), values(function.nodes.size()) {
  const std::vector<std::uint8_t> depends = dependences(function), open = openLevels(function.nodes);
  const std::vector<std::vector<ValueId>> bodies = loopBodies(function.nodes);
  for (ValueId id = 0; id < function.nodes.size(); ++id) {
    if (open[id])
      continue; // a step of some loop
    const Stage stage = depends[id] & (DependsKv | DependsScore) ? PerPair
                        : depends[id] & DependsQ                 ? PerQuery
                        : depends[id] & (DependsB | DependsH)    ? PerHead
                                                                 : Uniform;
    steps[stage].push_back(stepOf(id, bodies));
  }
  run(Uniform, 0, {});
}

Interp::Step Interp::stepOf(ValueId id, std::span<const std::vector<ValueId>> bodies) const {
  const Node &node = function[id];
  const std::size_t typed = node.op == Op::Select ? 1 : 0;
  Step step{&node, id, node.operands.empty() ? node.kind : function[node.operands[typed]].kind, {}};
  for (const ValueId inner : bodies[id])
    step.body.push_back(stepOf(inner, bodies));
  return step;
}

Value Interp::evaluate(double score, const Position &position, bool &outOfRange) {
  const bool sameHead = hasLast && last.b == position.b && last.h == position.h;
  if (!sameHead)
    run(PerHead, score, position);
  if (!sameHead || last.q != position.q)
    run(PerQuery, score, position);
  run(PerPair, score, position);
  last = position;
  hasLast = true;
  for (bool stage : stageOutOfRange)
    outOfRange |= stage;
  return values[function.result];
}

void Interp::run(Stage stage, double score, const Position &position) {
  bool outOfRange = false;
  run(steps[stage], score, position, outOfRange);
  stageOutOfRange[stage] = outOfRange;
}

void Interp::reduce(const Step &step, double score, const Position &position, bool &outOfRange) {
  const Node &node = *step.node;
  const ValueId iter = node.operands[0];
  const std::int64_t length = values[function[iter].operands[0]].i;
  Value total = eval::identity(node.op, node.kind);
  for (std::int64_t i = 0; i < length; ++i) {
    values[iter].i = i;
    run(step.body, score, position, outOfRange);
    eval::accumulate(node.op, node.kind, total, values[node.operands[1]]);
  }
  values[step.result] = total;
}

void Interp::run(const std::vector<Step> &steps, double score, const Position &position, bool &outOfRange) {
  for (const Step &step : steps) {
    const Node &node = *step.node;
    Value &result = values[step.result];
    switch (node.op) {
    case Op::Param:
      switch (static_cast<Param>(node.imm.i)) {
      case Param::Score:
        result.f = score;
        break;
      case Param::B:
        result.i = position.b;
        break;
      case Param::H:
        result.i = position.h;
        break;
      case Param::Q:
        result.i = position.q;
        break;
      case Param::Kv:
        result.i = position.kv;
        break;
      }
      break;
    case Op::Scalar:
      (node.kind == Kind::Float ? result.f = bindings.scalars[node.imm.i].f : result.i = bindings.scalars[node.imm.i].i);
      break;
    case Op::Const:
      (node.kind == Kind::Float ? result.f = node.imm.f : result.i = node.imm.i);
      break;
    case Op::Load: {
      std::int64_t indices[kMaxRank];
      for (std::size_t dim = 0; dim < node.operands.size(); ++dim)
        indices[dim] = values[node.operands[dim]].i;
      result = loadAt(bindings.captures[node.imm.i], {indices, node.operands.size()}, outOfRange);
      break;
    }
    case Op::ReduceSum:
    case Op::ReduceMax:
    case Op::ReduceMin:
      reduce(step, score, position, outOfRange);
      break;
    default: {
      const Value none, &a = values[node.operands[0]];
      result = evalOp(node.op, step.operandKind, a, node.operands.size() > 1 ? values[node.operands[1]] : none,
                      node.operands.size() > 2 ? values[node.operands[2]] : none);
    }
    }
  }
}

} // namespace attnjit::expr
