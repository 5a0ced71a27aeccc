#include "attnjit-mlir/Conversion/TileToVector/MapExpander.h"

#include "Elements.h"
#include "attnjit-mlir/Conversion/TileToVector/FormulaOps.h"

using namespace mlir;

namespace attnjit::tile {

using CmpI = Emitter::CmpI;

LogicalResult verifyFormulas(const TileProgram &program) {
  SmallVector<Region *> formulas = program.maps();
  if (program.closedForm)
    formulas.push_back(program.closedForm);
  for (Region *region : formulas) {
    WalkResult result = region->walk([&](Operation *op) -> WalkResult {
      if (op->hasTrait<OpTrait::IsTerminator>())
        return WalkResult::advance();
      if (!isEmittable(*op) || (region == program.closedForm && isa<attn::LoadOp, attn::ReduceOp>(op)))
        return op->emitOpError("cannot be lowered for the CPU inside a formula");
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      return failure();
  }
  return success();
}

MapExpander::MapExpander(OpBuilder &builder, Location loc, const TileProgram &program, Region &body, AbiAccess &abi, int64_t lanes,
                         Value root)
    : builder(builder), loc(loc), program(program), body(body.front()), root(root ? root : body.front().getTerminator()->getOperand(0)),
      abi(abi), lanes(lanes), hasElement(isa<FloatType>(body.getArgument(0).getType())) {
  computeLevels();
  findNeeded();
}

/// Positions of the block arguments: (score or p), b, h, q, kv, captures, scalars.
namespace {
enum Argument : unsigned { B, H, Q, Kv, FirstCapture };
} // namespace

void MapExpander::computeLevels() {
  unsigned first = hasElement;
  if (hasElement)
    levels[body.getArgument(0)] = Element;
  levels[body.getArgument(first + Q)] = Query;
  levels[body.getArgument(first + Kv)] = Key;
  for (Operation &op : body.without_terminator()) {
    unsigned level = llvm::is_contained(given, &op) ? Element : Heads;
    for (Value operand : op.getOperands())
      level |= levelOf(operand);
    if (op.getNumRegions() != 0)
      level |= levelOfLoop(op);
    for (Value result : op.getResults())
      levels[result] = Level(level);
  }
}

/// Whether a value is made by a step of `loop`. (A body may be detached from any program, so the way up ends at operations.)
static bool isMadeIn(Operation *loop, Value value) {
  for (Operation *op = value.getParentBlock()->getParentOp(); op; op = op->getParentOp())
    if (op == loop)
      return true;
  return false;
}

/// The level of all that enters the loop of a reduction, which becomes that of everything in it.
MapExpander::Level MapExpander::levelOfLoop(Operation &loop) {
  unsigned level = Heads;
  loop.walk([&](Operation *op) {
    for (Value operand : op->getOperands())
      if (!isMadeIn(&loop, operand))
        level |= levelOf(operand);
  });
  loop.walk([&](Operation *op) {
    for (Region &region : op->getRegions())
      for (Value argument : region.getArguments())
        levels[argument] = Level(level);
    for (Value result : op->getResults())
      levels[result] = Level(level);
  });
  return Level(level);
}

void MapExpander::findNeeded() {
  needed.clear();
  SmallVector<Value> open{root};
  while (!open.empty()) {
    Operation *op = open.pop_back_val().getDefiningOp();
    if (op && !llvm::is_contained(given, op) && needed.insert(op).second)
      op->walk([&](Operation *inner) { llvm::append_range(open, inner->getOperands()); });
  }
}

//===------------------------------------------------------------------------------------------------------------------===//
// Binding
//===------------------------------------------------------------------------------------------------------------------===//

void MapExpander::bindHeads(Value b, Value h) {
  for (Scope &scope : scopes)
    scope = Scope();
  Emitter emit(builder, loc);
  unsigned position = hasElement;
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

void MapExpander::bindQuery(Value q, Lanes inLanes) {
  scopes[Query] = Scope();
  counts[Query] = inLanes == Lanes::Counting;
  define(Query, body.getArgument(hasElement + Q), q);
  emitLevel(Query);
}

void MapExpander::bindKey(Value kv, Lanes inLanes) {
  scopes[Key] = Scope();
  counts[Key] = inLanes == Lanes::Counting;
  define(Key, body.getArgument(hasElement + Kv), kv);
  emitLevel(Key);
}

void MapExpander::takeGiven(Operation *op) {
  given.push_back(op);
  computeLevels();
  findNeeded();
}

MapResult MapExpander::expand(Value element, ValueRange givenValues) {
  scopes[Element] = Scope();
  if (element)
    define(Element, body.getArgument(0), element);
  for (auto [op, value] : llvm::zip_equal(given, givenValues))
    define(Element, op->getResult(0), value);
  emitLevel(Element);

  Emitter emit(builder, loc);
  MapResult result{lookup(root), nullptr};
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
  bool isUsedByElements =
      llvm::any_of(bodyValue.getUsers(), [&](Operation *user) { return needed.contains(user) && levelOf(user->getResult(0)) == Element; });
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
  for (Operation &op : body.without_terminator())
    if (needed.contains(&op) && levelOf(op.getResult(0)) == level)
      emitOp(level, op);
}

void MapExpander::emitOp(Level level, Operation &op) {
  if (auto reduce = dyn_cast<attn::ReduceOp>(op)) {
    define(level, reduce.getResult(), emitReduce(level, reduce));
    return;
  }
  if (refinement != Refinement::Choice && op.hasAttr(kRefinement)) {
    auto choice = cast<arith::SelectOp>(op);
    define(level, op.getResult(0), lookup(refinement == Refinement::First ? choice.getTrueValue() : choice.getFalseValue()));
    return;
  }
  SmallVector<Value> operands = operandsOf(level, op);
  if (auto load = dyn_cast<attn::LoadOp>(op)) {
    define(level, load.getResult(), emitLoad(level, load, operands));
    return;
  }
  SmallVector<Value> results = emitFormulaOp(builder, loc, abi, op, operands);
  for (auto [bodyResult, result] : llvm::zip_equal(op.getResults(), results))
    define(level, bodyResult, result);
}

/// What a reduction of nothing gives, in the shape of `type`.
static Value reduceIdentity(const Emitter &emit, attn::ReduceKind kind, Type type) {
  Type element = elementTypeOf(type);
  bool isMax = kind == attn::ReduceKind::Max;
  if (isa<FloatType>(element))
    return emit.constFloat(type, kind == attn::ReduceKind::Sum ? 0.0 : isMax ? -INFINITY : INFINITY);
  unsigned width = element.getIntOrFloatBitWidth();
  if (kind == attn::ReduceKind::Sum || (width == 1 && isMax))
    return emit.constInt(type, 0);
  if (width == 1)
    return emit.constInt(type, 1);
  return emit.constant(type, isMax ? APInt::getSignedMinValue(width) : APInt::getSignedMaxValue(width));
}

static Value reduceStep(const Emitter &emit, attn::ReduceKind kind, Value total, Value value) {
  Type element = elementTypeOf(total.getType());
  bool isFloat = isa<FloatType>(element), isMax = kind == attn::ReduceKind::Max;
  if (kind == attn::ReduceKind::Sum)
    return isFloat ? emit.addF(total, value) : emit.add(total, value);
  if (isFloat)
    return isMax ? Value(emit.make<arith::MaximumFOp>(total, value)) : Value(emit.make<arith::MinimumFOp>(total, value));
  if (element.isInteger(1))
    return isMax ? emit.bitOr(total, value) : emit.bitAnd(total, value);
  return isMax ? emit.maxS(total, value) : emit.minS(total, value);
}

/// A loop that carries the total and, where indices are checked, whether one left its tensor. Both are vectors if anything that enters the
/// loop is one.
Value MapExpander::emitReduce(Level level, attn::ReduceOp op) {
  Emitter emit(builder, loc);
  Region &region = op.getBody();
  bool inVectors = false;
  op.walk([&](Operation *inner) {
    for (Value operand : inner->getOperands())
      if (!isMadeIn(op, operand) && !attn::isCaptured(operand.getType()))
        inVectors |= isVector(lookup(operand));
  });
  auto shaped = [&](Value value) { return inVectors ? splat(value) : value; };
  auto shape = [&](Type type) { return inVectors ? emit.vec(lanes, type) : type; };

  Scope &scope = scopes[level];
  Value flagsOutside = std::exchange(scope.outOfRange, Value());
  llvm::DenseMap<Value, Value> splatsOutside = scope.splats;
  Type type = shape(op.getResult().getType());
  SmallVector<Value> initial{reduceIdentity(emit, op.getKind(), type)};
  if (program.checkedIndices)
    initial.push_back(emit.constInt(shape(emit.i1()), 0));

  Operation *yielded = region.front().getTerminator()->getOperand(0).getDefiningOp();
  // A sum of products is a chain of multiply-adds.
  bool fuses = op.getKind() == attn::ReduceKind::Sum && yielded && isa<arith::MulFOp>(yielded) && yielded->hasOneUse() &&
               yielded->getBlock() == &region.front();
  Value length = lookup(op.getLength()), end = emit.toInt(emit.i64(), length);
  Emitter::Values results = emit.loop(emit.index(0), end, emit.index(1), initial, [&](Value i, ValueRange carried) -> Emitter::Values {
    scope.values[region.getArgument(0)] = emit.toInt(length.getType(), i);
    for (Operation &inner : region.front().without_terminator())
      if (!(fuses && &inner == yielded))
        emitOp(level, inner);
    Emitter::Values next;
    if (fuses)
      next.push_back(emit.fma(shaped(lookup(yielded->getOperand(0))), shaped(lookup(yielded->getOperand(1))), carried[0]));
    else
      next.push_back(reduceStep(emit, op.getKind(), carried[0], shaped(lookup(region.front().getTerminator()->getOperand(0)))));
    if (program.checkedIndices)
      next.push_back(scope.outOfRange ? emit.bitOr(carried[1], shaped(scope.outOfRange)) : carried[1]);
    return next;
  });
  scope.splats = std::move(splatsOutside); // those made in the loop do not reach beyond it
  scope.outOfRange = flagsOutside;
  if (program.checkedIndices)
    flag(level, results[1]);
  return results[0];
}

//===------------------------------------------------------------------------------------------------------------------===//
// Captured tensors
//===------------------------------------------------------------------------------------------------------------------===//

void MapExpander::readCaptures() {
  captures.clear();
  Emitter emit(builder, loc);
  for (auto [position, view] : llvm::enumerate(program.captures)) {
    BlockArgument argument = body.getArgument(hasElement + FirstCapture + position);
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

bool MapExpander::isNonNegative(Value bodyValue, unsigned depth) const {
  if (auto argument = dyn_cast<BlockArgument>(bodyValue))
    return argument.getOwner() != &body || // the index of a reduction
           (argument.getArgNumber() >= hasElement && argument.getArgNumber() < hasElement + FirstCapture);
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

const MapExpander::Capture &MapExpander::captureOf(attn::LoadOp load) const {
  return captures.find(cast<BlockArgument>(load.getCapture()).getArgNumber())->second;
}

Value MapExpander::hasUnitStrides() {
  Emitter emit(builder, loc);
  Value all;
  body.walk([&](attn::LoadOp load) {
    if (!needs(load) || !movesWithKey(load))
      return;
    Value isOne = emit.cmp(CmpI::eq, captureOf(load).strides.back(), emit.index(1));
    all = all ? emit.bitAnd(all, isOne) : isOne;
  });
  return all;
}

/// When the lanes of an index count up by one and none is negative (i1); null for who knows. It was bound so, and moved by a number at
/// most. Where two lengths have to agree, the index is one thing if they do and another if not: hence when, not whether.
Value MapExpander::countsIf(Value bodyValue) {
  Emitter emit(builder, loc);
  if (auto argument = dyn_cast<BlockArgument>(bodyValue))
    return argument.getOwner() == &body && counts[levelOf(argument)] ? emit.truth(true) : Value();
  Operation *op = bodyValue.getDefiningOp();
  auto isNumber = [&](Value operand) { return !isVector(lookup(operand)); };
  if (isa<arith::ExtSIOp, arith::TruncIOp>(op))
    return countsIf(op->getOperand(0));
  if (isa<arith::AddIOp>(op) && isNonNegative(bodyValue)) {
    bool numberIsFirst = isNumber(op->getOperand(0));
    return numberIsFirst || isNumber(op->getOperand(1)) ? countsIf(op->getOperand(numberIsFirst)) : Value();
  }
  auto choice = dyn_cast<arith::SelectOp>(op);
  if (!choice || !isNumber(choice.getCondition()))
    return nullptr;
  Value counts = countsIf(choice.getTrueValue());
  return counts ? emit.bitAnd(lookup(choice.getCondition()), counts) : Value();
}

/// Elements from the start of the tensor to what is loaded. Where indices are checked, those outside are flagged and replaced.
Value MapExpander::emitOffset(Level level, attn::LoadOp load, ArrayRef<Value> indices) {
  Emitter emit(builder, loc);
  const Capture &capture = captureOf(load);
  bool inVectors = !indices.empty() && isVector(indices[0]);
  auto shaped = [&](Value scalar) { return inVectors ? splat(scalar) : scalar; };
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
    bool isUnit = unitStrides && movesWithKey(load) && dim + 1 == indices.size();
    Value term = isUnit ? position : emit.mul(position, shaped(capture.strides[dim]));
    offset = offset ? emit.add(offset, term) : term;
  }
  if (!offset)
    offset = emit.index(0);
  if (program.checkedIndices) {
    Value isEmpty = shaped(capture.isEmpty);
    offset = emit.select(isEmpty, emit.constInt(offset.getType(), 0), offset);
    flag(level, outOfRange ? emit.bitOr(outOfRange, isEmpty) : isEmpty);
  }
  return offset;
}

Value MapExpander::addressOf(attn::LoadOp load) {
  SmallVector<Value> indices;
  for (Value index : load.getIndices())
    indices.push_back(lookup(index));
  Emitter emit(builder, loc);
  Type raw = rawType(emit, attn::captureElementType(load.getCapture().getType()));
  return emit.at(captureOf(load).pointer, raw, emitOffset(Element, load, indices));
}

Value MapExpander::emitLoad(Level level, attn::LoadOp load, ArrayRef<Value> indices) {
  Emitter emit(builder, loc);
  const Capture &capture = captureOf(load);
  Type memory = attn::captureElementType(load.getCapture().getType()), raw = rawType(emit, memory);
  Value element;
  if (indices.empty() || !isVector(indices[0])) {
    // What is read for a head may be read again wherever it is needed (KernelPhases.h).
    Value address = emit.at(capture.pointer, raw, emitOffset(level, load, indices));
    element = emit.make<LLVM::LoadOp>(raw, address, Emitter::alignmentOf(raw), /*isVolatile=*/false, /*isNonTemporal=*/false,
                                      /*isInvariant=*/level == Heads);
  } else {
    element = emitLanes(load, [&]() -> Value {
      Value offset = emitOffset(level, load, indices);
      Value addresses = emit.make<LLVM::GEPOp>(emit.vec(lanes, emit.ptr()), raw, capture.pointer, ArrayRef<LLVM::GEPArg>{offset});
      Value everywhere = emit.constInt(emit.vec(lanes, emit.i1()), 1);
      return emit.make<LLVM::masked_gather>(emit.vec(lanes, raw), addresses, everywhere, ValueRange{},
                                            builder.getI32IntegerAttr(raw.getIntOrFloatBitWidth() / 8));
    });
  }
  element = widenElements(emit, element, memory, load.getResult().getType());
  if (!program.checkedIndices)
    return element;
  Type type = element.getType();
  Value nothing = isa<FloatType>(elementTypeOf(type)) ? emit.constFloat(type, 0.0) : emit.constInt(type, 0);
  return emit.select(isVector(element) ? splat(capture.isEmpty) : capture.isEmpty, nothing, element);
}

/// The elements of all lanes. They are one vector in memory where a single index moves, counting, along a dimension of stride 1.
Value MapExpander::emitLanes(attn::LoadOp load, llvm::function_ref<Value()> gather) {
  Emitter emit(builder, loc);
  const Capture &capture = captureOf(load);
  Value isDense;
  SmallVector<Value> first;
  for (auto [dim, index] : llvm::enumerate(load.getIndices())) {
    Value value = lookup(index);
    if (isVector(value)) {
      Value counts = isDense || program.checkedIndices ? Value() : countsIf(index);
      if (!counts)
        return gather();
      isDense = emit.bitAnd(counts, emit.cmp(CmpI::eq, capture.strides[dim], emit.index(1)));
      value = emit.lane(value, 0);
    }
    first.push_back(value);
  }
  Type raw = rawType(emit, attn::captureElementType(load.getCapture().getType())), all = emit.vec(lanes, raw);
  auto dense = [&]() -> Emitter::Values { return {emit.load(all, emit.at(capture.pointer, raw, emitOffset(Element, load, first)))}; };
  return emit.ifElse({all}, isDense, dense, [&]() -> Emitter::Values { return {gather()}; })[0];
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
