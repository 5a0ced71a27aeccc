#include "attnjit-mlir/Import/BuildAttention.h"

#include "BuildRegions.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

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

} // namespace attnjit::attn
