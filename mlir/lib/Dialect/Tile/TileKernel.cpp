// tile.kernel and the ops with regions: plan, split, stream, map, mask, prob.
#include "attnjit-mlir/Dialect/Tile/Tile.h"

#include "mlir/IR/Matchers.h"

using namespace mlir;

namespace attnjit::tile {

//===----------------------------------------------------------------------===//
// tile.kernel
//===----------------------------------------------------------------------===//

Type KernelOp::getIndexType() { return IntegerType::get(getContext(), getConfig().getNarrow() ? 32 : 64); }

BlockArgument KernelOp::getSinks() {
  bool has = getBody().getNumArguments() > Sinks && isa<ViewType>(getArgument(Sinks).getType());
  return has ? getArgument(Sinks) : BlockArgument();
}

SmallVector<Value> KernelOp::getCaptures() {
  SmallVector<Value> captures;
  for (BlockArgument argument : getBody().getArguments().drop_front(getFirstCapture()))
    if (isa<CaptureType>(argument.getType()))
      captures.push_back(argument);
  return captures;
}

SmallVector<Value> KernelOp::getScalars() {
  SmallVector<Value> scalars;
  for (BlockArgument argument : getBody().getArguments().drop_front(getFirstCapture()))
    if (!isa<CaptureType>(argument.getType()))
      scalars.push_back(argument);
  return scalars;
}

void KernelOp::getAsmBlockArgumentNames(Region &region, OpAsmSetValueNameFn setName) {
  static constexpr StringRef names[] = {"q", "k", "v", "out", "lse", "max", "scale", "sinks"};
  for (BlockArgument argument : region.getArguments())
    setName(argument, argument.getArgNumber() < getFirstCapture() ? names[argument.getArgNumber()] : "c");
}

ParseResult KernelOp::parse(OpAsmParser &parser, OperationState &result) {
  StringAttr name;
  SmallVector<OpAsmParser::Argument> arguments;
  attn::ConfigAttr config;
  if (parser.parseSymbolName(name, SymbolTable::getSymbolAttrName(), result.attributes) ||
      parser.parseArgumentList(arguments, OpAsmParser::Delimiter::Paren, /*allowType=*/true) || parser.parseKeyword("config") ||
      parser.parseCustomAttributeWithFallback(config, Type(), "config", result.attributes) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  return parser.parseRegion(*result.addRegion(), arguments);
}

void KernelOp::print(OpAsmPrinter &printer) {
  printer << ' ';
  printer.printSymbolName(getSymName());
  printer << '(';
  llvm::interleaveComma(getBody().getArguments(), printer, [&](BlockArgument argument) { printer.printRegionArgument(argument); });
  printer << ") config";
  printer.printStrippedAttrOrType(getConfigAttr());
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(), {SymbolTable::getSymbolAttrName(), "config"});
  printer << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false, /*printBlockTerminators=*/false);
}

LogicalResult KernelOp::verifyRegions() {
  Block &block = getBody().front();
  if (block.getNumArguments() < Sinks)
    return emitOpError() << "expected the arguments q, k, v, out, lse, max and scale, got " << block.getNumArguments() << " arguments";
  static constexpr StringRef names[] = {"q", "k", "v", "out", "lse", "max"};
  ViewType views[6];
  Type compute = getComputeType();
  if (!compute.isF32() && !compute.isF64())
    return emitOpError() << "argument 6 (scale): expected f32 or f64, got " << compute;
  for (unsigned index = 0; index < Scale; ++index) {
    views[index] = dyn_cast<ViewType>(getArgument(index).getType());
    bool columns = index < Lse;
    if (!views[index] || (views[index].getCols() > 0) != columns)
      return emitOpError() << "argument " << index << " (" << names[index] << "): expected "
                           << (columns ? "a !tile.view with columns" : "a !tile.view without columns") << ", got "
                           << getArgument(index).getType();
    if (!columns && views[index].getElementType() != compute)
      return emitOpError() << "argument " << index << " (" << names[index] << "): expected element type " << compute << " as scale, got "
                           << views[index].getElementType();
  }
  if (views[K].getCols() != views[Q].getCols())
    return emitOpError() << "argument 1 (k): expected " << views[Q].getCols() << " columns as q, got " << views[K].getCols();
  if (views[Out].getCols() != views[V].getCols())
    return emitOpError() << "argument 3 (out): expected " << views[V].getCols() << " columns as v, got " << views[Out].getCols();
  if (views[V].getElementType() != views[K].getElementType())
    return emitOpError() << "argument 2 (v): expected element type " << views[K].getElementType() << " as k, got "
                         << views[V].getElementType();
  if (BlockArgument sinks = getSinks())
    if (cast<ViewType>(sinks.getType()).getCols() != 0)
      return emitOpError() << "argument 7 (sinks): expected a !tile.view without columns, got " << sinks.getType();
  bool scalarsBegan = false;
  for (BlockArgument argument : block.getArguments().drop_front(getFirstCapture())) {
    Type type = argument.getType();
    if (isa<CaptureType>(type)) {
      if (scalarsBegan)
        return emitOpError() << "argument " << argument.getArgNumber() << ": expected captures before scalars, got " << type;
      continue;
    }
    scalarsBegan = true;
    if (!type.isInteger(1) && type != getIndexType() && type != compute)
      return emitOpError() << "argument " << argument.getArgNumber() << ": expected a !tile.capture, i1, " << getIndexType() << " or "
                           << compute << ", got " << type;
  }
  unsigned rest = block.getNumArguments() - getFirstCapture();
  if (getNames() && getNames()->size() != rest)
    return emitOpError() << "names: expected " << rest << " (captures, then scalars), got " << getNames()->size();
  return success();
}

//===----------------------------------------------------------------------===//
// tile.plan, tile.map, tile.mask, tile.prob
//===----------------------------------------------------------------------===//

static Type kernelIndexType(Operation *op) {
  if (auto kernel = op->getParentOfType<KernelOp>())
    return kernel.getIndexType();
  return IntegerType::get(op->getContext(), 64);
}

void PlanOp::getAsmBlockArgumentNames(Region &region, OpAsmSetValueNameFn setName) {
  static constexpr StringRef names[] = {"b", "h", "q_lo", "q_hi", "kv_lo", "kv_hi"};
  for (BlockArgument argument : region.getArguments())
    setName(argument, argument.getArgNumber() < 6 ? names[argument.getArgNumber()] : "c");
}

LogicalResult PlanOp::verifyRegions() {
  if (getClosedForm().empty())
    return success();
  SmallVector<Type> arguments(6, kernelIndexType(*this));
  llvm::append_range(arguments, getScalars().getTypes());
  Type i1 = IntegerType::get(getContext(), 1);
  return attn::verifyFormulaRegion(*this, getClosedForm(), "closed form", arguments, {i1, i1}, YieldOp::getOperationName());
}

/// `element` names the argument that a map replaces; empty for a mask, which has none.
static void nameMapArguments(Region &region, StringRef element, OpAsmSetValueNameFn setName) {
  static constexpr StringRef names[] = {"", "b", "h", "q", "kv"};
  for (BlockArgument argument : region.getArguments()) {
    unsigned index = argument.getArgNumber() + (element.empty() ? 1 : 0);
    setName(argument, index == 0 ? element : index < 5 ? names[index] : "c");
  }
}

void MapOp::getAsmBlockArgumentNames(Region &region, OpAsmSetValueNameFn setName) { nameMapArguments(region, "score", setName); }
void MaskOp::getAsmBlockArgumentNames(Region &region, OpAsmSetValueNameFn setName) { nameMapArguments(region, "", setName); }
void ProbOp::getAsmBlockArgumentNames(Region &region, OpAsmSetValueNameFn setName) { nameMapArguments(region, "p", setName); }

/// A region that replaces one element after the other.
template <typename OpT> static LogicalResult verifyElementMap(OpT op, StringRef what) {
  Type compute = op.getResult().getType().getElementType();
  SmallVector<Type> arguments{compute};
  arguments.append(4, kernelIndexType(op));
  llvm::append_range(arguments, op.getCaptures().getTypes());
  llvm::append_range(arguments, op.getScalars().getTypes());
  return attn::verifyFormulaRegion(op, op.getBody(), what, arguments, compute, YieldOp::getOperationName());
}

LogicalResult MapOp::verifyRegions() { return verifyElementMap(*this, "map"); }
LogicalResult ProbOp::verifyRegions() { return verifyElementMap(*this, "prob"); }

LogicalResult MaskOp::verifyRegions() {
  SmallVector<Type> arguments(4, kernelIndexType(*this));
  llvm::append_range(arguments, getCaptures().getTypes());
  llvm::append_range(arguments, getScalars().getTypes());
  return attn::verifyFormulaRegion(*this, getBody(), "mask", arguments, IntegerType::get(getContext(), 1), YieldOp::getOperationName());
}

static Value yielded(Region &region) { return cast<YieldOp>(region.front().getTerminator()).getValues().front(); }

OpFoldResult MapOp::fold(FoldAdaptor) { return yielded(getBody()) == getBody().getArgument(0) ? getInput() : Value(); }
OpFoldResult ProbOp::fold(FoldAdaptor) { return yielded(getBody()) == getBody().getArgument(0) ? getProbs() : Value(); }
OpFoldResult MaskOp::fold(FoldAdaptor) { return matchPattern(yielded(getBody()), m_One()) ? getInput() : Value(); }

//===----------------------------------------------------------------------===//
// tile.split, tile.stream: loops with a state
//===----------------------------------------------------------------------===//

/// `%plan iter(%inits : types) attributes {...} { body }`
static ParseResult parseStateLoop(OpAsmParser &parser, OperationState &result) {
  OpAsmParser::UnresolvedOperand plan;
  SmallVector<OpAsmParser::UnresolvedOperand> inits;
  SmallVector<Type> types;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseOperand(plan) || parser.parseKeyword("iter") || parser.parseLParen() || parser.parseOperandList(inits) ||
      parser.parseColonTypeList(types) || parser.parseRParen() ||
      parser.resolveOperand(plan, PlanType::get(parser.getContext()), result.operands) ||
      parser.resolveOperands(inits, types, loc, result.operands) || parser.parseOptionalAttrDictWithKeyword(result.attributes) ||
      parser.parseRegion(*result.addRegion()))
    return failure();
  result.addTypes(types);
  return success();
}

template <typename OpT> static void printStateLoop(OpAsmPrinter &printer, OpT op) {
  printer << ' ' << op.getPlan() << " iter(" << op.getInits() << " : ";
  llvm::interleaveComma(op.getInits().getTypes(), printer);
  printer << ')';
  printer.printOptionalAttrDictWithKeyword(op->getAttrs());
  printer << ' ';
  printer.printRegion(op.getBody());
}

/// The body takes `fixed` arguments and the state and yields the next state; `names` says so in the message.
template <typename OpT> static LogicalResult verifyStateLoop(OpT op, ArrayRef<Type> fixed, StringRef names) {
  Block &block = op.getBody().front();
  SmallVector<Type> expected(fixed);
  llvm::append_range(expected, op.getInits().getTypes());
  if (block.getNumArguments() != expected.size())
    return op.emitOpError() << "body: expected " << expected.size() << " arguments (" << names << ", state), got "
                            << block.getNumArguments();
  for (auto [index, type] : llvm::enumerate(expected))
    if (block.getArgument(index).getType() != type)
      return op.emitOpError() << "body argument " << index << ": expected " << type << ", got " << block.getArgument(index).getType();
  if (op.getResultTypes() != op.getInits().getTypes())
    return op.emitOpError() << "expected one result per initial state, of its type";
  auto yield = block.empty() ? YieldOp() : dyn_cast<YieldOp>(block.back());
  if (!yield)
    return op.emitOpError() << "body: expected tile.yield at its end";
  if (yield.getValues().getTypes() != op.getInits().getTypes())
    return yield.emitOpError() << "expected the next state, one value of its type per initial state";
  return success();
}

static LogicalResult refuseInBody(Operation *op, Operation &inner, StringRef where, StringRef expected) {
  InFlightDiagnostic diag = op->emitOpError() << "body: '" << inner.getName() << "' cannot stand in a " << where << "; expected "
                                              << expected;
  diag.attachNote(inner.getLoc()) << "this operation";
  return diag;
}

void SplitOp::getAsmBlockArgumentNames(Region &region, OpAsmSetValueNameFn setName) {
  for (BlockArgument argument : region.getArguments())
    setName(argument, argument.getArgNumber() == 0 ? "part" : "state");
}

ParseResult SplitOp::parse(OpAsmParser &parser, OperationState &result) { return parseStateLoop(parser, result); }
void SplitOp::print(OpAsmPrinter &printer) { printStateLoop(printer, *this); }

LogicalResult SplitOp::verifyRegions() {
  if (failed(verifyStateLoop(*this, PlanType::get(getContext()), "part")))
    return failure();
  for (Operation &op : getBody().front().without_terminator())
    if (!isa<SoftmaxInitOp, FillOp, StreamOp, SoftmaxMergeOp, AddOp>(op))
      return refuseInBody(*this, op, "split", "an initial state, tile.stream, and tile.softmax_merge or tile.add");
  return success();
}

void StreamOp::getAsmBlockArgumentNames(Region &region, OpAsmSetValueNameFn setName) {
  static constexpr StringRef names[] = {"kv0", "cols", "partial"};
  for (BlockArgument argument : region.getArguments())
    setName(argument, argument.getArgNumber() < 3 ? names[argument.getArgNumber()] : "state");
}

ParseResult StreamOp::parse(OpAsmParser &parser, OperationState &result) { return parseStateLoop(parser, result); }
void StreamOp::print(OpAsmPrinter &printer) { printStateLoop(printer, *this); }

LogicalResult StreamOp::verifyRegions() {
  Type i64 = IntegerType::get(getContext(), 64), i1 = IntegerType::get(getContext(), 1);
  if (failed(verifyStateLoop(*this, {i64, i64, i1}, "kv0, cols, partial")))
    return failure();
  for (Operation &op : getBody().front().without_terminator())
    if (!isa<LoadOp, DotOp, MapOp, MaskOp, ProbOp, SoftmaxStepOp, SoftmaxProbsOp, RowScaleOp, FillOp, CastOp>(op))
      return refuseInBody(*this, op, "stream", "tile loads, dots, maps, masks and row operations");
  return success();
}

} // namespace attnjit::tile
