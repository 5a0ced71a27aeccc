#include "attnjit-mlir/Import/BuildAttention.h"

#include "BuildRegions.h"
#include "Expr/Frontend.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include <fmt/format.h>

using namespace mlir;

namespace attnjit::attn {

static RankedTensorType tensorOf(Value value) { return cast<RankedTensorType>(value.getType()); }

/// Values of all scalars of the formula, its own ones included.
static FailureOr<SmallVector<Value>> scalarsOf(OpBuilder &builder, Location loc, const expr::Formula &formula,
                                               const AttentionOperands &operands) {
  using Source = expr::ScalarDecl::Source;
  SmallVector<Value> scalars;
  size_t given = 0;
  for (const expr::ScalarDecl &scalar : formula.scalars) {
    if (scalar.source == Source::Size) {
      Value size = tensor::DimOp::create(builder, loc, operands.captures[scalar.capture], scalar.dim);
      scalars.push_back(arith::IndexCastOp::create(builder, loc, builder.getI64Type(), size));
    } else if (scalar.source == Source::Literal) {
      const TypedAttr value = scalar.kind == expr::Kind::Float  ? TypedAttr(builder.getF64FloatAttr(scalar.value.f))
                              : scalar.kind == expr::Kind::Bool ? TypedAttr(builder.getBoolAttr(scalar.value.i != 0))
                                                                : TypedAttr(builder.getI64IntegerAttr(scalar.value.i));
      scalars.push_back(arith::ConstantOp::create(builder, loc, value));
    } else if (given < operands.scalars.size()) {
      scalars.push_back(operands.scalars[given++]);
    } else {
      return emitError(loc) << "no value for the number '" << scalar.name << "', which the formula captures";
    }
  }
  if (given != operands.scalars.size())
    return emitError(loc) << "the formula captures " << given << " numbers, got " << operands.scalars.size();
  return scalars;
}

FailureOr<AttentionOp> buildAttention(OpBuilder &builder, Location loc, const expr::Formula &formula, const AttentionOperands &operands) {
  if (formula.captures.size() != operands.captures.size())
    return emitError(loc) << "the formula captures " << formula.captures.size() << " tensors, got " << operands.captures.size();
  for (const expr::CaptureDecl &capture : formula.captures)
    if (capture.isOwn())
      return emitError(loc) << "the formula's text makes a tensor; expected one that only captures tensors";
  FailureOr<SmallVector<Value>> scalars = scalarsOf(builder, loc, formula, operands);
  if (failed(scalars))
    return failure();
  SmallVector<Attribute> names;
  for (const expr::CaptureDecl &capture : formula.captures)
    names.push_back(builder.getStringAttr(capture.name));
  for (const expr::ScalarDecl &scalar : formula.scalars)
    names.push_back(builder.getStringAttr(scalar.name));

  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(builder, loc, operands.q);
  Type element = tensorOf(operands.q).getElementType();
  sizes[3] = builder.getIndexAttr(tensorOf(operands.v).getDimSize(3));
  SmallVector<Value> outs{tensor::EmptyOp::create(builder, loc, sizes, operands.outType ? operands.outType : element)};
  if (operands.wantsLse)
    outs.push_back(tensor::EmptyOp::create(builder, loc, ArrayRef(sizes).take_front(3), computeTypeOf(element)));
  auto op = AttentionOp::create(builder, loc, ValueRange(outs).getTypes(), operands.q, operands.k, operands.v, outs, operands.scale,
                                operands.sinks, operands.captures, *scalars, /*offsets=*/ValueRange(),
                                names.empty() ? ArrayAttr() : builder.getArrayAttr(names));
  buildRegions(builder, op, formula, [](const expr::Function &) { return std::vector<std::uint8_t>(); });
  return op;
}

//===- ONNX -------------------------------------------------------------------------------------------------------------------===//

/// `mask[...]`, the element of a mask that broadcasts over [b, h, q_idx, kv_idx].
static std::string maskElement(RankedTensorType type) {
  const StringRef positions[] = {"b", "h", "q_idx", "kv_idx"};
  std::string indices;
  for (int64_t dim = 0; dim < type.getRank(); ++dim)
    indices += fmt::format("{}{}", dim == 0 ? "" : ", ", type.getDimSize(dim) == 1 ? "0" : positions[4 - type.getRank() + dim].str());
  return "mask[" + indices + "]";
}

FailureOr<AttentionOp> buildOnnxAttention(OpBuilder &builder, Location loc, const OnnxAttention &attention) {
  AttentionOperands operands{attention.q, attention.k, attention.v};
  Type compute = computeTypeOf(tensorOf(attention.q).getElementType());
  if (attention.scale)
    operands.scale = arith::ConstantOp::create(builder, loc, builder.getFloatAttr(compute, *attention.scale));

  std::vector<expr::CaptureInfo> captures;
  std::vector<std::string> conditions;
  std::string score = "score";
  if (attention.softcap != 0)
    score = fmt::format("torch.tanh(score / {0:.17g}) * {0:.17g}", attention.softcap);
  if (attention.mask) {
    RankedTensorType type = tensorOf(attention.mask);
    std::optional<DType> dtype = dtypeOf(type.getElementType());
    if (type.getRank() < 2 || type.getRank() > 4 || !dtype || !(*dtype == DType::Bool || isFloat(*dtype)))
      return emitError(loc) << "attn_mask: expected rank 2 to 4 and elements of i1 or floats, got " << type;
    captures.push_back({"mask", *dtype, static_cast<int>(type.getRank())});
    operands.captures.push_back(attention.mask);
    if (*dtype == DType::Bool)
      conditions.push_back(maskElement(type));
    else
      score += " + " + maskElement(type);
  }
  if (attention.keysUsed) {
    captures.push_back({"used", DType::I64, 1});
    operands.captures.push_back(attention.keysUsed);
    conditions.push_back("kv_idx < used[b]");
  }
  auto captureNumber = [&](const char *name, Value value) {
    captures.push_back({name, DType::I64, -1});
    operands.scalars.push_back(value);
  };
  if (attention.isCausal && attention.pastKeys) {
    captureNumber("past", attention.pastKeys);
    conditions.push_back("kv_idx <= q_idx + past");
  } else if (attention.isCausal && attention.keysUsed) {
    Value rows = tensor::DimOp::create(builder, loc, attention.q, 2);
    captureNumber("rows", arith::IndexCastOp::create(builder, loc, builder.getI64Type(), rows));
    conditions.push_back("kv_idx <= q_idx + used[b] - rows");
  } else if (attention.isCausal) {
    conditions.push_back("kv_idx <= q_idx");
  }
  std::string mask;
  for (const std::string &condition : conditions)
    mask += fmt::format("{}({})", mask.empty() ? "" : " & ", condition);

  Result<expr::Formula> formula = expr::parseFormula({score, mask}, captures);
  if (!formula)
    return emitError(loc) << formula.error().message;
  return buildAttention(builder, loc, *formula, operands);
}

} // namespace attnjit::attn
