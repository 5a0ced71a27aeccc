#include "attnjit-mlir/Conversion/TileToVector/MapExpander.h"

#include "Elements.h"
#include "attnjit-mlir/Conversion/TileToVector/FormulaOps.h"
#include "attnjit-mlir/Dialect/Attn/Attn.h"

using namespace mlir;

namespace attnjit::tile {

using CmpI = Emitter::CmpI;

LogicalResult verifyFormulas(const TileProgram &program) {
  for (Region *region : {program.score, program.mask, program.closedForm}) {
    if (!region)
      continue;
    for (Operation &op : region->front().without_terminator())
      if (!isEmittable(op) || (region == program.closedForm && isa<attn::LoadOp>(op)))
        return op.emitOpError("cannot be lowered for the CPU inside a formula");
  }
  return success();
}

MapExpander::MapExpander(OpBuilder &builder, Location loc, const TileProgram &program, Region &body, AbiAccess &abi, int64_t lanes)
    : builder(builder), loc(loc), program(program), body(body.front()), abi(abi), lanes(lanes), hasScore(&body == program.score) {
  computeLevels();
}

/// Positions of the block arguments: (score), b, h, q, kv, captures, scalars.
namespace {
enum Argument : unsigned { B, H, Q, Kv, FirstCapture };
} // namespace

void MapExpander::computeLevels() {
  unsigned first = hasScore;
  if (hasScore)
    levels[body.getArgument(0)] = Element;
  levels[body.getArgument(first + Q)] = Query;
  levels[body.getArgument(first + Kv)] = Key;
  for (Operation &op : body.without_terminator()) {
    unsigned level = Heads;
    for (Value operand : op.getOperands())
      level |= levelOf(operand);
    for (Value result : op.getResults())
      levels[result] = Level(level);
  }
}

//===------------------------------------------------------------------------------------------------------------------===//
// Binding
//===------------------------------------------------------------------------------------------------------------------===//

void MapExpander::bindHeads(Value b, Value h) {
  for (Scope &scope : scopes)
    scope = Scope();
  Emitter emit(builder, loc);
  unsigned position = hasScore;
  define(Heads, body.getArgument(position++), emit.toInt(program.indexType, b));
  define(Heads, body.getArgument(position++), emit.toInt(program.indexType, h));
  position += 2 + program.captures.size();
  for (const ScalarView &scalar : program.scalars) {
    Value argument = body.getArgument(position++);
    if (!argument.use_empty())
      define(Heads, argument, abi.scalar(scalar.index, scalar.type));
  }
  readCaptures();
  emitLevel(Heads);
}

void MapExpander::bindQuery(Value q) {
  scopes[Query] = Scope();
  define(Query, body.getArgument(hasScore + Q), q);
  emitLevel(Query);
}

void MapExpander::bindKey(Value kv) {
  scopes[Key] = Scope();
  define(Key, body.getArgument(hasScore + Kv), kv);
  emitLevel(Key);
}

MapResult MapExpander::expand(Value score) {
  scopes[Element] = Scope();
  if (hasScore)
    define(Element, body.getArgument(0), score);
  emitLevel(Element);

  Emitter emit(builder, loc);
  MapResult result{lookup(body.getTerminator()->getOperand(0)), nullptr};
  for (Scope &scope : scopes) {
    Value flags = scope.outOfRange;
    if (!flags)
      continue;
    if (result.outOfRange && isVector(result.outOfRange) != isVector(flags)) {
      flags = splat(flags);
      result.outOfRange = splat(result.outOfRange);
    }
    result.outOfRange = result.outOfRange ? emit.bitOr(result.outOfRange, flags) : flags;
  }
  return result;
}

Value MapExpander::splat(Value value) { return Emitter(builder, loc).splat(value, lanes); }

/// Registers an emitted value. One that elements will need is broadcast here, outside of their loop.
void MapExpander::define(Level level, Value bodyValue, Value emitted) {
  Scope &scope = scopes[level];
  scope.values[bodyValue] = emitted;
  if (level == Element || isVector(emitted))
    return;
  bool isUsedByElements = llvm::any_of(bodyValue.getUsers(), [&](Operation *user) {
    return user->getNumResults() != 0 && levelOf(user->getResult(0)) == Element;
  });
  if (isUsedByElements)
    scope.splats[bodyValue] = splat(emitted);
}

//===------------------------------------------------------------------------------------------------------------------===//
// Emitting the operations of a level
//===------------------------------------------------------------------------------------------------------------------===//

Value MapExpander::lookup(Value bodyValue) { return scopes[levelOf(bodyValue)].values.lookup(bodyValue); }

/// The value as a vector, for an op of `level`. A broadcast made here is remembered with that level: it may not dominate others.
Value MapExpander::lookupSplat(Level level, Value bodyValue) {
  Value value = lookup(bodyValue);
  if (isVector(value))
    return value;
  for (Level known : {levelOf(bodyValue), level})
    if (Value splatted = scopes[known].splats.lookup(bodyValue))
      return splatted;
  return scopes[level].splats[bodyValue] = splat(value);
}

/// Operands of an op as emitted; all vectors if one of them is.
SmallVector<Value> MapExpander::operandsOf(Level level, Operation &op) {
  SmallVector<Value> operands;
  for (Value operand : op.getOperands())
    if (!attn::isCaptured(operand.getType()))
      operands.push_back(operand);
  bool anyVector = llvm::any_of(operands, [&](Value operand) { return isVector(lookup(operand)); });
  for (Value &operand : operands)
    operand = anyVector ? lookupSplat(level, operand) : lookup(operand);
  return operands;
}

void MapExpander::emitLevel(Level level) {
  Emitter emit(builder, loc);
  for (Operation &op : body.without_terminator()) {
    if (op.getNumResults() == 0 || levelOf(op.getResult(0)) != level)
      continue;
    SmallVector<Value> operands = operandsOf(level, op);
    if (isa<attn::LoadOp>(op)) {
      define(level, op.getResult(0), emitLoad(level, op, operands));
      continue;
    }
    SmallVector<Value> results = emitFormulaOp(builder, emit.loc, abi, op, operands);
    for (auto [bodyResult, result] : llvm::zip_equal(op.getResults(), results))
      define(level, bodyResult, result);
  }
}

//===------------------------------------------------------------------------------------------------------------------===//
// Captured tensors
//===------------------------------------------------------------------------------------------------------------------===//

void MapExpander::readCaptures() {
  captures.clear();
  Emitter emit(builder, loc);
  for (auto [position, view] : llvm::enumerate(program.captures)) {
    BlockArgument argument = body.getArgument(hasScore + FirstCapture + position);
    if (argument.use_empty())
      continue;
    Capture &capture = captures[argument.getArgNumber()];
    capture.pointer = abi.capturePointer(view.index);
    for (int64_t dim = 0; dim < view.rank; ++dim) {
      capture.sizes.push_back(abi.captureSize(view.index, dim));
      capture.strides.push_back(abi.captureStride(view.index, dim));
    }
    if (!program.checkedIndices)
      continue;
    capture.isEmpty = emit.truth(false);
    for (Value size : capture.sizes)
      capture.isEmpty = emit.bitOr(capture.isEmpty, emit.cmp(CmpI::sle, size, emit.index(0)));
    // Nothing of an empty tensor may be read; the kernel's arguments are always there to be read instead.
    capture.pointer = emit.select(capture.isEmpty, abi.arguments(), capture.pointer);
  }
}

void MapExpander::flag(Level level, Value outOfRange) {
  Value &flags = scopes[level].outOfRange;
  if (!flags) {
    flags = outOfRange;
    return;
  }
  if (isVector(flags) != isVector(outOfRange)) {
    flags = splat(flags);
    outOfRange = splat(outOfRange);
  }
  flags = Emitter(builder, loc).bitOr(flags, outOfRange);
}

/// Whether a value of the body cannot be negative, so that Python's wrap is not needed. Only cheap, certain cases.
bool MapExpander::isNonNegative(Value bodyValue, unsigned depth) const {
  if (auto argument = dyn_cast<BlockArgument>(bodyValue))
    return argument.getArgNumber() >= hasScore && argument.getArgNumber() < hasScore + FirstCapture;
  Operation *op = bodyValue.getDefiningOp();
  if (auto constant = dyn_cast<arith::ConstantOp>(op)) {
    auto value = dyn_cast<IntegerAttr>(constant.getValue());
    return value && !value.getValue().isNegative();
  }
  if (depth > 8)
    return false;
  auto operand = [&](unsigned i) { return isNonNegative(op->getOperand(i), depth + 1); };
  // i32 arithmetic in a formula promises not to overflow; i64 may wrap.
  if (isa<arith::AddIOp, arith::MulIOp>(op))
    return bodyValue.getType().isInteger(32) && operand(0) && operand(1);
  if (isa<arith::MinSIOp>(op))
    return operand(0) && operand(1);
  if (isa<arith::MaxSIOp, arith::AndIOp>(op))
    return operand(0) || operand(1);
  if (isa<arith::SelectOp>(op))
    return operand(1) && operand(2);
  if (isa<arith::ExtSIOp>(op))
    return operand(0);
  if (isa<arith::ExtUIOp>(op))
    return true;
  if (auto pointwise = dyn_cast<attn::PointwiseOp>(op)) {
    if (pointwise.getKind() == attn::PointwiseKind::FloorDiv || pointwise.getKind() == attn::PointwiseKind::Rem)
      return operand(0) && operand(1);
    return pointwise.getKind() == attn::PointwiseKind::FloorMod && operand(1);
  }
  return false;
}

Value MapExpander::emitLoad(Level level, Operation &op, ArrayRef<Value> indices) {
  auto load = cast<attn::LoadOp>(op);
  Emitter emit(builder, loc);
  const Capture &capture = captures.find(cast<BlockArgument>(load.getCapture()).getArgNumber())->second;
  Type memory = attn::captureElementType(load.getCapture().getType());
  int64_t vectorLanes = !indices.empty() && isVector(indices[0]) ? lanes : 1;
  auto shaped = [&](Value scalar) { return vectorLanes == 1 ? scalar : splat(scalar); };

  Value offset, outOfRange;
  for (auto [dim, index] : llvm::enumerate(indices)) {
    Value size = shaped(capture.sizes[dim]), position = emit.toInt(emit.i64(), index);
    Value zero = emit.constInt(position.getType(), 0);
    if (!isNonNegative(load.getIndices()[dim]))
      position = emit.select(emit.cmp(CmpI::slt, position, zero), emit.add(position, size), position);
    if (program.checkedIndices) {
      Value outside = emit.cmp(CmpI::uge, position, size);
      outOfRange = outOfRange ? emit.bitOr(outOfRange, outside) : outside;
      position = emit.select(outside, zero, position);
    }
    Value term = emit.mul(position, shaped(capture.strides[dim]));
    offset = offset ? emit.add(offset, term) : term;
  }
  if (!offset)
    offset = emit.index(0);
  if (program.checkedIndices) {
    Value isEmpty = shaped(capture.isEmpty);
    offset = emit.select(isEmpty, emit.constInt(offset.getType(), 0), offset);
    flag(level, outOfRange ? emit.bitOr(outOfRange, isEmpty) : isEmpty);
  }

  Type raw = rawType(emit, memory);
  Value element;
  if (vectorLanes == 1) {
    element = emit.load(raw, emit.at(capture.pointer, raw, offset));
  } else {
    Value addresses = emit.make<LLVM::GEPOp>(emit.vec(lanes, emit.ptr()), raw, capture.pointer, ArrayRef<LLVM::GEPArg>{offset});
    Value everywhere = emit.constInt(emit.vec(lanes, emit.i1()), 1);
    element = emit.make<LLVM::masked_gather>(emit.vec(lanes, raw), addresses, everywhere, ValueRange{},
                                             builder.getI32IntegerAttr(raw.getIntOrFloatBitWidth() / 8));
  }
  element = widenElements(emit, element, memory, load.getResult().getType());
  if (!program.checkedIndices)
    return element;
  Type type = element.getType();
  Value nothing = isa<FloatType>(elementTypeOf(type)) ? emit.constFloat(type, 0.0) : emit.constInt(type, 0);
  return emit.select(shaped(capture.isEmpty), nothing, element);
}

//===------------------------------------------------------------------------------------------------------------------===//
// Reporting
//===------------------------------------------------------------------------------------------------------------------===//

void emitReport(OpBuilder &builder, Location loc, AbiAccess &abi, Value outOfRange, Value visible, Value b, Value h, Value q, Value kv,
                int64_t lanes) {
  if (!outOfRange)
    return;
  Emitter emit(builder, loc);
  Value flags = emit.splat(outOfRange, lanes);
  if (visible)
    flags = emit.bitAnd(flags, emit.splat(visible, lanes));
  emit.ifThen(emit.any(flags), [&] {
    auto wide = [&](Value value) { return emit.toInt(emit.i64(), value); };
    Value row = emit.mul(emit.add(emit.mul(wide(b), abi.queryHeads()), wide(h)), abi.queries());
    Value code = emit.add(emit.splat(row, lanes), emit.splat(wide(q), lanes));
    code = emit.add(emit.mul(code, emit.splat(abi.keys(), lanes)), emit.splat(wide(kv), lanes));
    Value none = emit.constant(code.getType(), APInt::getSignedMaxValue(64));
    Value smallest = emit.make<LLVM::vector_reduce_smin>(emit.i64(), emit.select(flags, code, none));
    emit.make<LLVM::AtomicRMWOp>(LLVM::AtomicBinOp::min, abi.statusPointer(), smallest, LLVM::AtomicOrdering::monotonic);
  });
}

} // namespace attnjit::tile
