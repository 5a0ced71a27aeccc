#include "Expr/Interp.h"

#include "Expr/Analysis.h"
#include "Expr/EvalOp.h"

#include <bit>
#include <cstring>

namespace attnjit::expr {

namespace {

template <typename T> T read(const void *data, std::int64_t offset) {
  T value;
  std::memcpy(&value, static_cast<const char *>(data) + offset * static_cast<std::int64_t>(sizeof(T)), sizeof(T));
  return value;
}

double halfToDouble(std::uint16_t half) {
  const int exponent = half >> 10 & 31, mantissa = half & 1023;
  const double magnitude = exponent == 0 ? std::ldexp(mantissa, -24)
                           : exponent == 31
                               ? (mantissa ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity())
                               : std::ldexp(mantissa + 1024, exponent - 25);
  return half & 0x8000 ? -magnitude : magnitude;
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
    value.f = std::bit_cast<float>(static_cast<std::uint32_t>(read<std::uint16_t>(data, offset)) << 16);
    break;
  case DType::F16:
    value.f = halfToDouble(read<std::uint16_t>(data, offset));
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
  const std::vector<std::uint8_t> depends = dependences(function);
  for (ValueId id = 0; id < function.nodes.size(); ++id) {
    const Node &node = function.nodes[id];
    const Stage stage = depends[id] & (DependsKv | DependsScore) ? PerPair
                        : depends[id] & DependsQ                 ? PerQuery
                        : depends[id] & (DependsB | DependsH)    ? PerHead
                                                                 : Uniform;
    const std::size_t typed = node.op == Op::Select ? 1 : 0;
    steps[stage].push_back({&node, id, node.operands.empty() ? node.kind : function[node.operands[typed]].kind});
  }
  run(Uniform, 0, {});
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
  for (const Step &step : steps[stage]) {
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
    default: {
      const Value none, &a = values[node.operands[0]];
      result = evalOp(node.op, step.operandKind, a, node.operands.size() > 1 ? values[node.operands[1]] : none,
                      node.operands.size() > 2 ? values[node.operands[2]] : none);
    }
    }
  }
  stageOutOfRange[stage] = outOfRange;
}

} // namespace attnjit::expr
