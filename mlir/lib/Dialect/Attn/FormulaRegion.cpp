// What a region that holds a formula may contain; shared by attn.forward and by the maps, masks and plans of the tile dialect.
#include "attnjit-mlir/Dialect/Attn/Attn.h"

using namespace mlir;

namespace attnjit::attn {

Type computeTypeOf(Type element) { return element.isF64() ? element : Float32Type::get(element.getContext()); }

bool isMemoryFloat(Type type) { return isa<Float64Type, Float32Type, BFloat16Type, Float16Type, Float8E4M3FNType, Float8E5M2Type>(type); }

bool isCaptured(Type type) {
  Type element;
  int64_t rank;
  if (isa<MemRefType, RankedTensorType>(type)) {
    auto shaped = cast<ShapedType>(type);
    element = shaped.getElementType();
    rank = shaped.getRank();
  } else if (auto capture = dyn_cast<CaptureTypeInterface>(type)) {
    element = capture.getCaptureElementType();
    rank = capture.getCaptureRank();
  } else {
    return false;
  }
  if (rank > 6)
    return false;
  if (isMemoryFloat(element) || element.isUnsignedInteger(8))
    return true;
  return element.isSignlessInteger(1) || element.isSignlessInteger(8) || element.isSignlessInteger(16) || element.isSignlessInteger(32) ||
         element.isSignlessInteger(64);
}

Type captureElementType(Type type) {
  if (auto shaped = dyn_cast<ShapedType>(type))
    return shaped.getElementType();
  return cast<CaptureTypeInterface>(type).getCaptureElementType();
}

int64_t captureRank(Type type) {
  if (auto shaped = dyn_cast<ShapedType>(type))
    return shaped.getRank();
  return cast<CaptureTypeInterface>(type).getCaptureRank();
}

Type loadedType(Type elementType, Type computeType, Type intType) {
  if (isa<FloatType>(elementType))
    return computeType;
  return elementType.isInteger(1) ? elementType : intType;
}

Type scalarRegionType(Type type, Type computeType, Type indexType) {
  if (isa<FloatType>(type))
    return computeType;
  return type.isInteger(1) ? type : indexType;
}

bool isFormulaOp(Operation *op) {
  if (isa<LoadOp, PointwiseOp, ReduceOp>(op))
    return true;
  if (!isa<arith::ArithDialect, math::MathDialect>(op->getDialect()))
    return false;
  auto isScalar = [](Type type) { return type.isInteger(1) || type.isInteger(32) || type.isInteger(64) || type.isF32() || type.isF64(); };
  return llvm::all_of(op->getOperandTypes(), isScalar) && llvm::all_of(op->getResultTypes(), isScalar);
}

LogicalResult verifyFormulaRegion(Operation *owner, Region &region, StringRef what, TypeRange arguments, TypeRange results,
                                  StringRef yieldName) {
  if (!region.hasOneBlock())
    return owner->emitOpError() << what << " region: expected one block, got " << region.getBlocks().size();
  Block &block = region.front();
  if (block.getNumArguments() != arguments.size())
    return owner->emitOpError() << what << " region: expected " << arguments.size() << " arguments, got " << block.getNumArguments();
  for (auto [index, argument, expected] : llvm::enumerate(block.getArguments(), arguments))
    if (argument.getType() != expected)
      return owner->emitOpError() << what << " region argument " << index << ": expected " << expected << ", got " << argument.getType();
  if (block.empty() || block.back().getName().getStringRef() != yieldName)
    return owner->emitOpError() << what << " region: expected '" << yieldName << "' at its end";
  Operation &yield = block.back();
  if (yield.getOperandTypes() != results) {
    InFlightDiagnostic diag = owner->emitOpError() << what << " region: expected to yield (";
    llvm::interleaveComma(results, diag);
    diag << "), got (";
    llvm::interleaveComma(yield.getOperandTypes(), diag);
    return diag << ")";
  }
  for (Operation &op : block.without_terminator())
    if (!isFormulaOp(&op)) {
      InFlightDiagnostic diag = owner->emitOpError() << what << " region: '" << op.getName()
                                                     << "' cannot stand in a formula; expected arith or math on i1, i32, i64, f32 or f64, "
                                                        "attn.load, attn.pointwise or attn.reduce";
      diag.attachNote(op.getLoc()) << "this operation";
      return diag;
    }
  return success();
}

} // namespace attnjit::attn
