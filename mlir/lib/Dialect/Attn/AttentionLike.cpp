#include "AttentionLike.h"

using namespace mlir;

namespace attnjit::attn {

LogicalResult verifyDim(Operation *op, StringRef what, ShapedType type, unsigned dim, StringRef like, ShapedType likeType,
                        unsigned likeDim) {
  int64_t got = type.getDimSize(dim), expected = likeType.getDimSize(likeDim);
  if (ShapedType::isDynamic(got) || ShapedType::isDynamic(expected) || got == expected)
    return success();
  return op->emitOpError() << "operand " << what << ", dimension " << dim << ": expected " << expected << " as dimension " << likeDim
                           << " of " << like << ", got " << got;
}

static LogicalResult verifyLayout(Operation *op, StringRef name, ShapedType type) {
  auto memref = dyn_cast<MemRefType>(type);
  if (!memref || memref.isStrided())
    return success();
  return op->emitOpError() << "operand " << name << ": expected a strided layout, got " << memref.getLayout();
}

static LogicalResult verifyElements(Operation *op, const OperandTypes &types) {
  Type q = types.q.getElementType(), k = types.k.getElementType(), v = types.v.getElementType();
  if (k != v)
    return op->emitOpError() << "operand v: expected element type " << k << " as k, got " << v;
  Type compute = computeTypeOf(q);
  if (types.scale && types.scale != compute)
    return op->emitOpError() << "operand scale: expected " << compute << " for q of " << q << ", got " << types.scale;
  for (auto [name, type] : types.rows)
    if (type.getElementType() != compute)
      return op->emitOpError() << "operand " << name << ": expected element type " << compute << ", got " << type.getElementType();
  return success();
}

LogicalResult verifyOperands(Operation *op, const OperandTypes &types) {
  auto [q, k, v, out] = std::tuple(types.q, types.k, types.v, types.out);
  for (auto [name, type] : {NamedType{"q", q}, {"k", k}, {"v", v}, {"out", out}}) {
    int64_t dim = type.getDimSize(3);
    if (ShapedType::isDynamic(dim) || dim < 1 || dim > 512)
      return op->emitOpError() << "operand " << name << ", dimension 3: expected a static size from 1 to 512, got "
                               << (ShapedType::isDynamic(dim) ? std::string("?") : std::to_string(dim));
    if (failed(verifyLayout(op, name, type)))
      return failure();
  }
  if (failed(verifyElements(op, types)))
    return failure();
  if (failed(verifyDim(op, "k", k, 3, "q", q, 3)) || failed(verifyDim(op, "out", out, 3, "v", v, 3)) ||
      failed(verifyDim(op, "v", v, 2, "k", k, 2)) || failed(verifyDim(op, "v", v, 1, "k", k, 1)) ||
      failed(verifyDim(op, "out", out, 2, "q", q, 2)) || failed(verifyDim(op, "out", out, 1, "q", q, 1)) ||
      failed(verifyDim(op, "out", out, 0, "q", q, 0)))
    return failure();
  for (auto [name, type] : types.rows)
    for (unsigned dim = 0; dim < 3; ++dim)
      if (failed(verifyDim(op, name, type, dim, "q", q, dim)))
        return failure();
  if (!types.sinks)
    return success();
  return failure(failed(verifyLayout(op, "sinks", types.sinks)) || failed(verifyDim(op, "sinks", types.sinks, 0, "q", q, 1)));
}

} // namespace attnjit::attn
