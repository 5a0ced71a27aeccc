#include "attnjit-mlir/Dialect/Attn/Attn.h"

#include "mlir/IR/Matchers.h"

#define GET_OP_CLASSES
#include "attnjit-mlir/Dialect/Attn/AttnOps.cpp.inc"

using namespace mlir;

namespace attnjit::attn {

//===----------------------------------------------------------------------===//
// attn.forward
//===----------------------------------------------------------------------===//

Type ForwardOp::getRegionIndexType() { return IntegerType::get(getContext(), getConfig().getNarrow() ? 32 : 64); }

SmallVector<Type> ForwardOp::getRegionArgumentTypes(Region &region) {
  SmallVector<Type> types;
  if (getFixedArguments(region) == 5)
    types.push_back(getComputeType());
  types.append(4, getRegionIndexType());
  llvm::append_range(types, getCaptures().getTypes());
  for (Value scalar : getScalars())
    types.push_back(scalarRegionType(scalar.getType(), getComputeType(), getRegionIndexType()));
  return types;
}

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

void ForwardOp::getAsmBlockArgumentNames(Region &region, OpAsmSetValueNameFn setName) {
  StringRef names[] = {&region == &getProb() ? "p" : "score", "b", "h", "q", "kv"};
  for (BlockArgument argument : region.getArguments()) {
    unsigned index = argument.getArgNumber() + (5 - getFixedArguments(region));
    setName(argument, index < 5 ? names[index] : "c");
  }
}

static LogicalResult verifyDim(ForwardOp op, StringRef what, MemRefType type, unsigned dim, StringRef like, MemRefType likeType,
                               unsigned likeDim) {
  int64_t got = type.getDimSize(dim), expected = likeType.getDimSize(likeDim);
  if (ShapedType::isDynamic(got) || ShapedType::isDynamic(expected) || got == expected)
    return success();
  return op.emitOpError() << "operand " << what << ", dimension " << dim << ": expected " << expected << " as dimension " << likeDim
                          << " of " << like << ", got " << got;
}

LogicalResult ForwardOp::verify() {
  MemRefType q = getQ().getType(), k = getK().getType(), v = getV().getType(), out = getOut().getType();
  struct Named {
    StringRef name;
    MemRefType type;
  };
  for (auto [name, type] : {Named{"q", q}, Named{"k", k}, Named{"v", v}, Named{"out", out}}) {
    int64_t dim = type.getDimSize(3);
    if (ShapedType::isDynamic(dim) || dim < 1 || dim > 512)
      return emitOpError() << "operand " << name << ", dimension 3: expected a static size from 1 to 512, got "
                           << (ShapedType::isDynamic(dim) ? std::string("?") : std::to_string(dim));
    if (!type.isStrided())
      return emitOpError() << "operand " << name << ": expected a strided layout, got " << type.getLayout();
  }
  if (k.getElementType() != v.getElementType())
    return emitOpError() << "operand v: expected element type " << k.getElementType() << " as k, got " << v.getElementType();
  Type compute = q.getElementType().isF64() ? Float64Type::get(getContext()) : Type(Float32Type::get(getContext()));
  if (getComputeType() != compute)
    return emitOpError() << "operand scale: expected " << compute << " for q of " << q.getElementType() << ", got " << getComputeType();
  if (failed(verifyDim(*this, "k", k, 3, "q", q, 3)) || failed(verifyDim(*this, "out", out, 3, "v", v, 3)) ||
      failed(verifyDim(*this, "v", v, 2, "k", k, 2)) || failed(verifyDim(*this, "v", v, 1, "k", k, 1)) ||
      failed(verifyDim(*this, "out", out, 2, "q", q, 2)) || failed(verifyDim(*this, "out", out, 1, "q", q, 1)) ||
      failed(verifyDim(*this, "out", out, 0, "q", q, 0)))
    return failure();
  for (auto [name, value] : {std::pair<StringRef, Value>{"lse", getLse()}, {"max", getMax()}})
    if (value) {
      auto type = cast<MemRefType>(value.getType());
      if (type.getElementType() != compute)
        return emitOpError() << "operand " << name << ": expected element type " << compute << ", got " << type.getElementType();
      for (unsigned dim = 0; dim < 3; ++dim)
        if (failed(verifyDim(*this, name, type, dim, "q", q, dim)))
          return failure();
    }
  if (getSinks()) {
    MemRefType sinks = getSinks().getType();
    if (!sinks.isStrided())
      return emitOpError() << "operand sinks: expected a strided layout, got " << sinks.getLayout();
    if (failed(verifyDim(*this, "sinks", sinks, 0, "q", q, 1)))
      return failure();
  }
  for (auto [index, capture] : llvm::enumerate(getCaptures()))
    if (!isCaptured(capture.getType()))
      return emitOpError() << "capture " << index
                           << ": expected a memref of rank 0 to 6 of f64, f32, bf16, f16, f8E4M3FN, f8E5M2, i1, i8, ui8, i16, i32 or i64, got "
                           << capture.getType();
  if (getNames() && getNames()->size() != getCaptures().size() + getScalars().size())
    return emitOpError() << "names: expected " << getCaptures().size() + getScalars().size() << " (captures, then scalars), got "
                         << getNames()->size();
  return success();
}

LogicalResult ForwardOp::verifyRegions() {
  Type i1 = IntegerType::get(getContext(), 1);
  struct Named {
    StringRef name;
    Region &region;
    Type result;
  };
  for (const Named &row : {Named{"score", getScore(), getComputeType()}, {"mask", getMask(), i1}, {"prob", getProb(), getComputeType()}})
    if (!row.region.empty() && failed(verifyFormulaRegion(*this, row.region, row.name, getRegionArgumentTypes(row.region), row.result,
                                                          YieldOp::getOperationName())))
      return failure();
  return success();
}

/// Removes captures and scalars which no region uses.
static bool dropDeadArguments(ForwardOp op, PatternRewriter &rewriter) {
  unsigned captures = op.getCaptures().size(), total = captures + op.getScalars().size();
  auto used = [&](unsigned index) {
    return llvm::any_of(op->getRegions(), [&](Region &region) {
      return !region.empty() && !region.getArgument(op.getFixedArguments(region) + index).use_empty();
    });
  };
  llvm::BitVector dead(total);
  for (unsigned index = 0; index < total; ++index)
    dead[index] = !used(index);
  if (dead.none())
    return false;
  rewriter.modifyOpInPlace(op, [&] {
    SmallVector<Attribute> names;
    for (unsigned index = 0; index < total; ++index)
      if (!dead[index] && op.getNames())
        names.push_back((*op.getNames())[index]);
    for (unsigned index = total; index-- > 0;)
      if (dead[index]) {
        for (Region &region : op->getRegions())
          if (!region.empty())
            region.front().eraseArgument(op.getFixedArguments(region) + index);
        if (index >= captures)
          op.getScalarsMutable().erase(index - captures);
        else
          op.getCapturesMutable().erase(index);
      }
    if (op.getNames())
      op.setNamesAttr(names.empty() ? ArrayAttr() : rewriter.getArrayAttr(names));
  });
  return true;
}

LogicalResult ForwardOp::canonicalize(ForwardOp op, PatternRewriter &rewriter) {
  auto yielded = [](Region &region) { return cast<YieldOp>(region.front().getTerminator()).getValue(); };
  auto drop = [&](Region &region) {
    rewriter.modifyOpInPlace(op, [&] { rewriter.eraseBlock(&region.front()); });
    return success();
  };
  for (Region *map : {&op.getScore(), &op.getProb()})
    if (!map->empty() && yielded(*map) == map->getArgument(0))
      return drop(*map);
  if (!op.getMask().empty() && matchPattern(yielded(op.getMask()), m_One()))
    return drop(op.getMask());
  return success(dropDeadArguments(op, rewriter));
}

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
