#include "attnjit-mlir/Dialect/Attn/Attn.h"

#include "AttentionLike.h"

#define GET_OP_CLASSES
#include "attnjit-mlir/Dialect/Attn/AttnOps.cpp.inc"

using namespace mlir;

namespace attnjit::attn {

//===----------------------------------------------------------------------===//
// attn.forward
//===----------------------------------------------------------------------===//

Type ForwardOp::getRegionIndexType() { return IntegerType::get(getContext(), getConfig().getNarrow() ? 32 : 64); }

SmallVector<Type> ForwardOp::getRegionArgumentTypes(Region &region) { return regionArgumentTypes(*this, region); }

/// Last stride of a memref, or dynamic if it is not known.
static int64_t lastStride(MemRefType type) {
  SmallVector<int64_t> strides;
  int64_t offset;
  if (failed(type.getStridesAndOffset(strides, offset)) || strides.empty())
    return ShapedType::kDynamic;
  return strides.back();
}

bool ForwardOp::isContiguous() {
  return llvm::all_of(ArrayRef<Value>{getQ(), getK(), getV()}, [](Value v) { return lastStride(cast<MemRefType>(v.getType())) == 1; });
}

void ForwardOp::getAsmBlockArgumentNames(Region &region, OpAsmSetValueNameFn setName) { nameRegionArguments(*this, region, setName); }

LogicalResult ForwardOp::verify() {
  OperandTypes types{getQ().getType(), getK().getType(), getV().getType(), getOut().getType()};
  for (auto [name, value] : {std::pair<StringRef, Value>{"lse", getLse()}, {"max", getMax()}})
    if (value)
      types.rows.push_back({name, cast<ShapedType>(value.getType())});
  if (getSinks())
    types.sinks = getSinks().getType();
  types.scale = getComputeType();
  return failure(failed(verifyOperands(*this, types)) || failed(verifyCaptured(*this)));
}

LogicalResult ForwardOp::verifyRegions() { return verifyFormulas(*this); }

LogicalResult ForwardOp::canonicalize(ForwardOp op, PatternRewriter &rewriter) { return canonicalizeFormulas(op, rewriter); }

//===----------------------------------------------------------------------===//
// attn.load
//===----------------------------------------------------------------------===//

ParseResult LoadOp::parse(OpAsmParser &parser, OperationState &result) {
  OpAsmParser::UnresolvedOperand capture;
  SmallVector<OpAsmParser::UnresolvedOperand> indices;
  Type captureType, resultType;
  SmallVector<Type> indexTypes;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseOperand(capture) || parser.parseOperandList(indices, OpAsmParser::Delimiter::Square) ||
      parser.parseOptionalAttrDict(result.attributes) || parser.parseColonType(captureType))
    return failure();
  while (succeeded(parser.parseOptionalComma()))
    if (parser.parseType(indexTypes.emplace_back()))
      return failure();
  if (parser.parseArrow() || parser.parseType(resultType) || parser.resolveOperand(capture, captureType, result.operands) ||
      parser.resolveOperands(indices, indexTypes, loc, result.operands))
    return failure();
  result.addTypes(resultType);
  return success();
}

void LoadOp::print(OpAsmPrinter &printer) {
  printer << ' ' << getCapture() << '[' << getIndices() << ']';
  printer.printOptionalAttrDict((*this)->getAttrs());
  printer << " : " << getCapture().getType();
  for (Type type : getIndices().getTypes())
    printer << ", " << type;
  printer << " -> " << getResult().getType();
}

LogicalResult LoadOp::verify() {
  int64_t rank = captureRank(getCapture().getType());
  if (static_cast<int64_t>(getIndices().size()) != rank)
    return emitOpError() << "expected " << rank << " indices for " << getCapture().getType() << ", got " << getIndices().size();
  Type element = captureElementType(getCapture().getType()), got = getResult().getType();
  bool fits = isa<FloatType>(element) ? isa<FloatType>(got)
              : element.isInteger(1)  ? got.isInteger(1)
                                      : got.isInteger(32) || got.isInteger(64);
  if (!fits)
    return emitOpError() << "result: expected "
                         << (isa<FloatType>(element) ? "f32 or f64"
                             : element.isInteger(1)  ? "i1"
                                                     : "i32 or i64")
                         << " for elements of " << element << ", got " << got;
  return success();
}

//===----------------------------------------------------------------------===//
// attn.reduce
//===----------------------------------------------------------------------===//

LogicalResult ReduceOp::verify() {
  if (getKind() == ReduceKind::Sum && getResult().getType().isInteger(1))
    return emitOpError() << "sum, result: expected i32, i64, f32 or f64, got i1";
  return success();
}

LogicalResult ReduceOp::verifyRegions() {
  return verifyFormulaRegion(*this, getBody(), "body", getLength().getType(), getResult().getType(), YieldOp::getOperationName());
}

//===----------------------------------------------------------------------===//
// attn.pointwise
//===----------------------------------------------------------------------===//

ParseResult PointwiseOp::parse(OpAsmParser &parser, OperationState &result) {
  StringRef keyword;
  SmallVector<OpAsmParser::UnresolvedOperand> inputs;
  Type type, resultType;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&keyword))
    return failure();
  std::optional<PointwiseKind> kind = symbolizePointwiseKind(keyword);
  if (!kind)
    return parser.emitError(loc) << "unknown kind '" << keyword
                                 << "'; expected floor_div, floor_mod, rem, pow, sign, shl, shr, hypot, to_int, rand or randint";
  result.getOrAddProperties<Properties>().kind = PointwiseKindAttr::get(parser.getContext(), *kind);
  if (parser.parseOperandList(inputs) || parser.parseOptionalAttrDict(result.attributes) || parser.parseColonType(type))
    return failure();
  resultType = type;
  if (succeeded(parser.parseOptionalArrow()) && parser.parseType(resultType))
    return failure();
  result.addTypes(resultType);
  return parser.resolveOperands(inputs, type, result.operands);
}

void PointwiseOp::print(OpAsmPrinter &printer) {
  printer << ' ' << stringifyPointwiseKind(getKind()) << ' ' << getInputs();
  printer.printOptionalAttrDict((*this)->getAttrs(), {"kind"});
  Type type = getInputs().empty() ? getResult().getType() : getInputs().front().getType();
  printer << " : " << type;
  if (getResult().getType() != type)
    printer << " -> " << getResult().getType();
}

LogicalResult PointwiseOp::verify() {
  PointwiseKind kind = getKind();
  bool unary = kind == PointwiseKind::Sign || kind == PointwiseKind::ToInt;
  if (getInputs().size() != (unary ? 1 : 2))
    return emitOpError() << stringifyPointwiseKind(kind) << ": expected " << (unary ? 1 : 2) << " operands, got " << getInputs().size();
  Type type = getInputs().front().getType(), result = getResult().getType();
  bool isFloat = isa<FloatType>(type), isInt = !isFloat && !type.isInteger(1);
  if (kind == PointwiseKind::Rand || kind == PointwiseKind::RandInt) {
    bool isRand = kind == PointwiseKind::Rand;
    if (!type.isInteger(64))
      return emitOpError() << stringifyPointwiseKind(kind) << ", operand 0: expected i64, got " << type;
    if (isRand ? !(result.isF32() || result.isF64()) : !(result.isInteger(32) || result.isInteger(64)))
      return emitOpError() << stringifyPointwiseKind(kind) << ", result: expected " << (isRand ? "f32 or f64" : "i32 or i64") << ", got "
                           << result;
    return success();
  }
  bool floatOnly = kind == PointwiseKind::Hypot || kind == PointwiseKind::ToInt;
  bool intOnly = kind == PointwiseKind::Shl || kind == PointwiseKind::Shr;
  if (floatOnly ? !isFloat : intOnly ? !isInt : !(isInt || isFloat))
    return emitOpError() << stringifyPointwiseKind(kind) << ", operand 0: expected "
                         << (floatOnly ? "f32 or f64"
                             : intOnly ? "i32 or i64"
                                       : "i32, i64, f32 or f64")
                         << ", got " << type;
  if (kind == PointwiseKind::ToInt ? !(result.isInteger(32) || result.isInteger(64)) : result != type) {
    InFlightDiagnostic diag = emitOpError() << stringifyPointwiseKind(kind) << ", result: expected ";
    return (kind == PointwiseKind::ToInt ? diag << "i32 or i64" : diag << type) << ", got " << result;
  }
  return success();
}

} // namespace attnjit::attn
