#include "Expr/Steps.h"

#include "Expr/EvalOp.h"
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

Step stepOf(const Function &function, ValueId id, std::span<const std::vector<ValueId>> bodies) {
  const Node &node = function[id];
  const std::size_t typed = node.op == Op::Select ? 1 : 0;
  Step step{&node, id, node.operands.empty() ? node.kind : function[node.operands[typed]].kind, {}};
  for (const ValueId inner : bodies[id])
    step.body.push_back(stepOf(function, inner, bodies));
  return step;
}

ScalarSteps::ScalarSteps(const Function &function, const Bindings &bindings, Floats floats)
    : function(function), bindings(bindings), floats(floats), values(function.nodes.size()) {}

bool ScalarSteps::run(const Step &step, double score, const Position &position) {
  bool outOfRange = false;
  Value value = compute(step, score, position, outOfRange);
  round(value);
  values[step.id] = value;
  return outOfRange;
}

Value ScalarSteps::compute(const Step &step, double score, const Position &position, bool &outOfRange) {
  const Node &node = *step.node;
  switch (node.op) {
  case Op::Param:
    switch (static_cast<Param>(node.imm.i)) {
    case Param::Score:
      return {0, score};
    case Param::B:
      return {position.b, 0};
    case Param::H:
      return {position.h, 0};
    case Param::Q:
      return {position.q, 0};
    case Param::Kv:
      return {position.kv, 0};
    }
    return {};
  case Op::Scalar:
    return node.kind == Kind::Float ? Value{0, bindings.scalars[node.imm.i].f} : Value{bindings.scalars[node.imm.i].i, 0};
  case Op::Const:
    return node.kind == Kind::Float ? Value{0, node.imm.f} : Value{node.imm.i, 0};
  case Op::Load: {
    std::int64_t indices[kMaxRank];
    for (std::size_t dim = 0; dim < node.operands.size(); ++dim)
      indices[dim] = values[node.operands[dim]].i;
    return loadAt(bindings.captures[node.imm.i], {indices, node.operands.size()}, outOfRange);
  }
  case Op::ReduceSum:
  case Op::ReduceMax:
  case Op::ReduceMin:
    return reduce(step, score, position, outOfRange);
  default: {
    const Value none, &a = values[node.operands[0]];
    return evalOp(node.op, step.operandKind, a, node.operands.size() > 1 ? values[node.operands[1]] : none,
                  node.operands.size() > 2 ? values[node.operands[2]] : none);
  }
  }
}

Value ScalarSteps::reduce(const Step &step, double score, const Position &position, bool &outOfRange) {
  const Node &node = *step.node;
  const ValueId iter = node.operands[0];
  const std::int64_t length = values[function[iter].operands[0]].i;
  Value total = eval::identity(node.op, node.kind);
  for (std::int64_t i = 0; i < length; ++i) {
    values[iter].i = i;
    for (const Step &inner : step.body)
      outOfRange |= run(inner, score, position);
    eval::accumulate(node.op, node.kind, total, values[node.operands[1]]);
    round(total);
  }
  return total;
}

} // namespace attnjit::expr
