// Parsing and verification of the ops without regions.
#include "attnjit-mlir/Dialect/Tile/Tile.h"

using namespace mlir;

/// `0.0` without a type: the value is exact in every float type that a kernel uses, the tile's type says which.
static ParseResult parsePlainFloat(OpAsmParser &parser, FloatAttr &value) {
  double number;
  if (parser.parseFloat(number))
    return failure();
  value = FloatAttr::get(Float64Type::get(parser.getContext()), number);
  return success();
}

static void printPlainFloat(OpAsmPrinter &printer, Operation *, FloatAttr value) { printer << value.getValueAsDouble(); }

#define GET_OP_CLASSES
#include "attnjit-mlir/Dialect/Tile/TileOps.cpp.inc"

namespace attnjit::tile {

static LogicalResult expect(Operation *op, bool ok, StringRef what, const Twine &expected, Type got) {
  if (ok)
    return success();
  return op->emitOpError() << what << ": expected " << expected << ", got " << got;
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

static LogicalResult verifyTileAccess(Operation *op, TileType tile, ViewType view) {
  if (tile.getCols() != view.getCols() || tile.getElementType() != view.getElementType())
    return op->emitOpError() << "tile: expected " << view.getCols() << " columns of " << view.getElementType() << " as the view, got "
                             << tile;
  return success();
}

LogicalResult LoadOp::verify() { return verifyTileAccess(*this, getResult().getType(), getView().getType()); }
LogicalResult StoreOp::verify() { return verifyTileAccess(*this, getTile().getType(), getView().getType()); }

static LogicalResult verifyNoColumns(Operation *op, ViewType view) {
  if (view.getCols() != 0)
    return op->emitOpError() << "view: expected a view without columns, got " << view;
  return success();
}

LogicalResult LoadRowOp::verify() { return verifyNoColumns(*this, getView().getType()); }

LogicalResult StoreRowOp::verify() {
  ViewType view = getView().getType();
  RowType row = getValues().getType();
  if (failed(verifyNoColumns(*this, view)))
    return failure();
  return expect(*this, row.getElementType() == view.getElementType(), "values", "the element type of " + Twine("the view"), row);
}

//===----------------------------------------------------------------------===//
// tile.dot
//===----------------------------------------------------------------------===//

ParseResult DotOp::parse(OpAsmParser &parser, OperationState &result) {
  StringRef keyword;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&keyword))
    return failure();
  std::optional<DotRole> role = symbolizeDotRole(keyword);
  if (!role)
    return parser.emitError(loc) << "unknown role '" << keyword << "'; expected qk or pv";
  auto &properties = result.getOrAddProperties<Properties>();
  properties.role = DotRoleAttr::get(parser.getContext(), *role);
  OpAsmParser::UnresolvedOperand a, b, scale, acc;
  bool hasScale = false, hasAcc = false;
  if (parser.parseOperand(a) || parser.parseComma())
    return failure();
  if (succeeded(parser.parseOptionalKeyword("trans")))
    properties.transposeB = parser.getBuilder().getUnitAttr();
  if (parser.parseOperand(b))
    return failure();
  if (succeeded(parser.parseOptionalKeyword("scale"))) {
    hasScale = true;
    if (parser.parseLParen() || parser.parseOperand(scale) || parser.parseRParen())
      return failure();
  }
  if (succeeded(parser.parseOptionalKeyword("acc"))) {
    hasAcc = true;
    if (parser.parseLParen() || parser.parseOperand(acc) || parser.parseRParen())
      return failure();
  }
  Type aType, bType;
  TileType type;
  if (parser.parseOptionalAttrDict(result.attributes) || parser.parseColonType(aType) || parser.parseComma() || parser.parseType(bType) ||
      parser.parseArrow() || parser.parseType(type) || parser.resolveOperand(a, aType, result.operands) ||
      parser.resolveOperand(b, bType, result.operands) ||
      (hasScale && parser.resolveOperand(scale, type.getElementType(), result.operands)) ||
      (hasAcc && parser.resolveOperand(acc, type, result.operands)))
    return failure();
  llvm::copy(ArrayRef<int32_t>{1, 1, hasScale, hasAcc}, properties.operandSegmentSizes.begin());
  result.addTypes(type);
  return success();
}

void DotOp::print(OpAsmPrinter &printer) {
  printer << ' ' << stringifyDotRole(getRole()) << ' ' << getA() << ", " << (getTransposeB() ? "trans " : "") << getB();
  if (getScale())
    printer << " scale(" << getScale() << ')';
  if (getAcc())
    printer << " acc(" << getAcc() << ')';
  printer.printOptionalAttrDict((*this)->getAttrs(), {"role", "transposeB", "operandSegmentSizes"});
  printer << " : " << getA().getType() << ", " << getB().getType() << " -> " << getResult().getType();
}

LogicalResult DotOp::verify() {
  TileType a = getA().getType(), b = getB().getType(), result = getResult().getType();
  int64_t bRows = getTransposeB() ? b.getCols() : b.getRows(), bCols = getTransposeB() ? b.getRows() : b.getCols();
  if (bRows != a.getCols())
    return emitOpError() << "operand b: expected " << a.getCols() << (getTransposeB() ? " columns" : " rows") << " as a has columns, got "
                         << b;
  if (result.getRows() != a.getRows() || result.getCols() != bCols)
    return emitOpError() << "result: expected " << a.getRows() << "x" << bCols << ", got " << result;
  Type type = result.getElementType();
  if (failed(expect(*this, type.isF32() || type.isF64(), "result", "f32 or f64", type)))
    return failure();
  if (getScale() && getScale().getType() != type)
    return emitOpError() << "scale: expected " << type << " as the result, got " << getScale().getType();
  if (getAcc() && getAcc().getType() != result)
    return emitOpError() << "acc: expected " << result << ", got " << getAcc().getType();
  return success();
}

//===----------------------------------------------------------------------===//
// Rows and casts
//===----------------------------------------------------------------------===//

static LogicalResult verifyRowOf(Operation *op, StringRef what, RowType row, TileType tile) {
  if (row.getRows() == tile.getRows() && row.getElementType() == tile.getElementType())
    return success();
  return op->emitOpError() << what << ": expected " << RowType::get(op->getContext(), tile.getRows(), tile.getElementType()) << " for "
                           << tile << ", got " << row;
}

LogicalResult RowScaleOp::verify() { return verifyRowOf(*this, "factors", getFactors().getType(), getTile().getType()); }
LogicalResult SoftmaxStepOp::verify() { return verifyRowOf(*this, "state", getMax().getType(), getScores().getType()); }
LogicalResult SoftmaxProbsOp::verify() { return verifyRowOf(*this, "max", getMax().getType(), getScores().getType()); }

/// A sink is one more row of the state.
static LogicalResult verifySink(Operation *op, Value sink, RowType state) {
  return expect(op, !sink || sink.getType() == state, "sink", "the type of the state", sink ? sink.getType() : state);
}

LogicalResult SoftmaxFinishOp::verify() {
  if (failed(verifyRowOf(*this, "state", getMax().getType(), getAcc().getType())))
    return failure();
  return verifySink(*this, getSink(), getMax().getType());
}
LogicalResult SoftmaxNormOp::verify() { return verifySink(*this, getSink(), getMax().getType()); }

LogicalResult CastOp::verify() {
  TileType from = getInput().getType(), to = getResult().getType();
  if (from.getRows() != to.getRows() || from.getCols() != to.getCols())
    return emitOpError() << "result: expected " << from.getRows() << "x" << from.getCols() << " as the operand, got " << to;
  return success();
}

OpFoldResult CastOp::fold(FoldAdaptor) { return getInput().getType() == getType() ? getInput() : Value(); }

//===----------------------------------------------------------------------===//
// Merging
//===----------------------------------------------------------------------===//

/// `(max, sum[, acc])`.
static ParseResult parseState(OpAsmParser &parser, SmallVectorImpl<OpAsmParser::UnresolvedOperand> &state) {
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseOperandList(state, OpAsmParser::Delimiter::Paren))
    return failure();
  if (state.size() != 2 && state.size() != 3)
    return parser.emitError(loc) << "expected a maximum, a sum and, if there is one, an accumulator";
  return success();
}

ParseResult SoftmaxMergeOp::parse(OpAsmParser &parser, OperationState &result) {
  SmallVector<OpAsmParser::UnresolvedOperand, 3> a, b;
  RowType row;
  TileType tile;
  if (parseState(parser, a) || parser.parseComma() || parseState(parser, b) || parser.parseOptionalAttrDict(result.attributes) ||
      parser.parseColonType(row) || (a.size() == 3 && (parser.parseComma() || parser.parseType(tile))))
    return failure();
  for (ArrayRef<OpAsmParser::UnresolvedOperand> state : {a, b})
    if (parser.resolveOperands(state.take_front(2), row, result.operands) ||
        parser.resolveOperands(state.drop_front(2), tile, result.operands))
      return failure();
  auto &properties = result.getOrAddProperties<Properties>();
  llvm::copy(ArrayRef<int32_t>{1, 1, int32_t(a.size() - 2), 1, 1, int32_t(b.size() - 2)}, properties.operandSegmentSizes.begin());
  result.addTypes({row, row});
  if (tile)
    result.addTypes(tile);
  return success();
}

void SoftmaxMergeOp::print(OpAsmPrinter &printer) {
  unsigned half = getNumOperands() / 2;
  printer << '(' << getOperands().take_front(half) << "), (" << getOperands().drop_front(half) << ')';
  printer.printOptionalAttrDict((*this)->getAttrs(), {"operandSegmentSizes"});
  printer << " : " << getMax().getType();
  if (getAcc())
    printer << ", " << getAcc().getType();
}

LogicalResult SoftmaxMergeOp::verify() {
  if (bool(getAccA()) != bool(getAcc()) || bool(getAccB()) != bool(getAcc()))
    return emitOpError("expected an accumulator in both states and in the result, or in none");
  if (!getAcc())
    return success();
  for (Value acc : {getAccA(), getAccB()})
    if (acc.getType() != getAcc().getType())
      return emitOpError() << "accumulators: expected " << getAcc().getType() << " as the result, got " << acc.getType();
  return verifyRowOf(*this, "state", getMax().getType(), getAcc().getType());
}

} // namespace attnjit::tile
