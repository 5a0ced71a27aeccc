#include "FormulaOps.h"

#include "attnjit-mlir/Conversion/TileToVector/VectorMath.h"
#include "attnjit-mlir/Dialect/Attn/Attn.h"
#include "attnjit/KernelAbi.h"

using namespace mlir;

namespace attnjit::tile {

using CmpI = Emitter::CmpI;
using CmpF = Emitter::CmpF;

//===------------------------------------------------------------------------------------------------------------------===//
// Integer division: never traps, divides by zero to 0, and INT_MIN / -1 wraps
//===------------------------------------------------------------------------------------------------------------------===//

namespace {
struct Division {
  Value quotient;  ///< toward zero; 0 for a divisor of 0
  Value remainder; ///< dividend - quotient * divisor, sign of the dividend
  Value byZero;
};
} // namespace

/// a / b for a divisor that is neither 0 nor -1.
static Value divideSafely(const Emitter &emit, Value a, Value b) {
  Type type = a.getType();
  if (!isVector(a) || !elementTypeOf(type).isInteger(32))
    return emit.make<arith::DivSIOp>(a, b);
  // x86 has no vector division of integers. An i32 quotient is exact in f64: neighbouring quotients differ by more than 2^-52.
  Type wide = likeShape(type, emit.f64());
  Value quotient = emit.divF(emit.make<arith::SIToFPOp>(wide, a), emit.make<arith::SIToFPOp>(wide, b));
  return emit.make<arith::FPToSIOp>(type, quotient);
}

static Division divide(const Emitter &emit, Value a, Value b) {
  Type type = a.getType();
  Value zero = emit.constInt(type, 0);
  Value byZero = emit.cmp(CmpI::eq, b, zero), byMinusOne = emit.cmp(CmpI::eq, b, emit.constInt(type, -1));
  Value safe = emit.select(emit.bitOr(byZero, byMinusOne), emit.constInt(type, 1), b);
  Value quotient = divideSafely(emit, a, safe);
  quotient = emit.select(byMinusOne, emit.sub(zero, a), quotient);
  quotient = emit.select(byZero, zero, quotient);
  return {quotient, emit.sub(a, emit.mul(quotient, b)), byZero};
}

/// Whether floor and truncation differ: there is a remainder, and its sign is not the divisor's.
static Value floorsDown(const Emitter &emit, Value remainder, Value divisor) {
  Value zero = emit.constInt(remainder.getType(), 0);
  return emit.bitAnd(emit.cmp(CmpI::ne, remainder, zero), emit.cmp(CmpI::slt, emit.bitXor(remainder, divisor), zero));
}

static Value emitIntFloorDiv(const Emitter &emit, Value a, Value b) {
  Division d = divide(emit, a, b);
  Value floor = emit.select(floorsDown(emit, d.remainder, b), emit.sub(d.quotient, 1), d.quotient);
  return emit.select(d.byZero, emit.constInt(a.getType(), 0), floor);
}

static Value emitIntFloorMod(const Emitter &emit, Value a, Value b) {
  Division d = divide(emit, a, b);
  Value mod = emit.select(floorsDown(emit, d.remainder, b), emit.add(d.remainder, b), d.remainder);
  return emit.select(d.byZero, emit.constInt(a.getType(), 0), mod);
}

static Value emitIntRem(const Emitter &emit, Value a, Value b) {
  Division d = divide(emit, a, b);
  return emit.select(d.byZero, emit.constInt(a.getType(), 0), d.remainder);
}

//===------------------------------------------------------------------------------------------------------------------===//
// Other integer operations
//===------------------------------------------------------------------------------------------------------------------===//

Value emitIntPow(const Emitter &emit, Value a, Value b) {
  Type type = a.getType();
  Value zero = emit.constInt(type, 0), one = emit.constInt(type, 1), minusOne = emit.constInt(type, -1);
  int64_t width = elementTypeOf(type).getIntOrFloatBitWidth();
  Emitter::Values power =
      emit.loop(emit.index(0), emit.index(width - 1), emit.index(1), {one, a, b}, [&](Value, ValueRange carried) -> Emitter::Values {
        Value isOdd = emit.cmp(CmpI::ne, emit.bitAnd(carried[2], one), zero);
        return {emit.select(isOdd, emit.mul(carried[0], carried[1]), carried[0]), emit.mul(carried[1], carried[1]), emit.shrU(carried[2], 1)};
      });
  Value isUnit = emit.bitOr(emit.cmp(CmpI::eq, a, one), emit.cmp(CmpI::eq, a, minusOne));
  Value isNegative = emit.cmp(CmpI::slt, b, zero);
  return emit.select(emit.bitAnd(isNegative, emit.logicalNot(isUnit)), zero, power[0]);
}

static Value emitShift(const Emitter &emit, Value a, Value count, bool left) {
  Type type = a.getType();
  int64_t width = elementTypeOf(type).getIntOrFloatBitWidth();
  Value inRange = emit.cmp(CmpI::ult, count, emit.constInt(type, width));
  Value safe = emit.select(inRange, count, emit.constInt(type, 0));
  if (left)
    return emit.select(inRange, emit.make<arith::ShLIOp>(a, safe), emit.constInt(type, 0));
  return emit.select(inRange, emit.make<arith::ShRSIOp>(a, safe), emit.shrS(a, width - 1));
}

static Value emitSign(const Emitter &emit, Value a) {
  Type type = a.getType();
  if (isa<FloatType>(elementTypeOf(type))) {
    Value zero = emit.constFloat(type, 0.0);
    Value orSelf = emit.select(emit.cmp(CmpF::OLT, a, zero), emit.constFloat(type, -1.0), a); // NaN and 0 stay
    return emit.select(emit.cmp(CmpF::OGT, a, zero), emit.constFloat(type, 1.0), orSelf);
  }
  return emit.minS(emit.maxS(a, emit.constInt(type, -1)), emit.constInt(type, 1));
}

/// Toward zero, saturated; NaN gives 0.
static Value emitToInt(const Emitter &emit, Value a, Type element) {
  Type from = a.getType(), to = likeShape(from, element);
  unsigned width = element.getIntOrFloatBitWidth();
  double limit = width == 32 ? 0x1p31 : 0x1p63;
  Value tooSmall = emit.cmp(CmpF::OLT, a, emit.constFloat(from, -limit)), tooLarge = emit.cmp(CmpF::OGE, a, emit.constFloat(from, limit));
  Value isNan = emit.cmp(CmpF::UNO, a, a);
  Value safe = emit.select(emit.bitOr(isNan, emit.bitOr(tooSmall, tooLarge)), emit.constFloat(from, 0.0), a);
  Value result = emit.make<arith::FPToSIOp>(to, safe);
  result = emit.select(tooSmall, emit.constant(to, APInt::getSignedMinValue(width)), result);
  return emit.select(tooLarge, emit.constant(to, APInt::getSignedMaxValue(width)), result);
}

//===------------------------------------------------------------------------------------------------------------------===//
// Floats
//===------------------------------------------------------------------------------------------------------------------===//

static Value callBinary(const Emitter &emit, AbiAccess &abi, uint64_t f32Offset, uint64_t f64Offset, Value a, Value b) {
  return emitFunctionCall(emit.builder, emit.loc, abi, elementTypeOf(a.getType()).isF64() ? f64Offset : f32Offset, {a, b});
}

static Value emitFmod(const Emitter &emit, AbiAccess &abi, Value a, Value b) {
  return callBinary(emit, abi, offsetof(FunctionTable, fmodF32), offsetof(FunctionTable, fmodF64), a, b);
}

/// The exact remainder with the divisor's sign.
static Value emitFloatFloorMod(const Emitter &emit, AbiAccess &abi, Value a, Value b) {
  Value rem = emitFmod(emit, abi, a, b), zero = emit.constFloat(a.getType(), 0.0);
  Value differ = emit.bitXor(emit.cmp(CmpF::OLT, rem, zero), emit.cmp(CmpF::OLT, b, zero));
  Value adjust = emit.bitAnd(differ, emit.cmp(CmpF::ONE, rem, zero));
  return emit.select(adjust, emit.addF(rem, b), rem);
}

static Value emitFloatFloor(const Emitter &emit, Value a) {
  return emit.make<LLVM::FFloorOp>(a.getType(), a, LLVM::FastmathFlagsAttr());
}

//===------------------------------------------------------------------------------------------------------------------===//
// Dispatch
//===------------------------------------------------------------------------------------------------------------------===//

static Value emitPointwise(const Emitter &emit, AbiAccess &abi, attn::PointwiseOp op, ArrayRef<Value> operands) {
  Value a = operands[0], b = operands.size() > 1 ? operands[1] : Value();
  bool isFloat = isa<FloatType>(elementTypeOf(a.getType()));
  switch (op.getKind()) {
  case attn::PointwiseKind::FloorDiv: return isFloat ? emitFloatFloor(emit, emit.divF(a, b)) : emitIntFloorDiv(emit, a, b);
  case attn::PointwiseKind::FloorMod: return isFloat ? emitFloatFloorMod(emit, abi, a, b) : emitIntFloorMod(emit, a, b);
  case attn::PointwiseKind::Rem: return isFloat ? emitFmod(emit, abi, a, b) : emitIntRem(emit, a, b);
  case attn::PointwiseKind::Pow:
    if (isFloat)
      return callBinary(emit, abi, offsetof(FunctionTable, powF32), offsetof(FunctionTable, powF64), a, b);
    return emitIntPow(emit, a, b);
  case attn::PointwiseKind::Sign: return emitSign(emit, a);
  case attn::PointwiseKind::Shl: return emitShift(emit, a, b, /*left=*/true);
  case attn::PointwiseKind::Shr: return emitShift(emit, a, b, /*left=*/false);
  case attn::PointwiseKind::Hypot: return callBinary(emit, abi, offsetof(FunctionTable, hypotF32), offsetof(FunctionTable, hypotF64), a, b);
  case attn::PointwiseKind::ToInt: return emitToInt(emit, a, op.getResult().getType());
  }
  llvm_unreachable("all kinds are listed");
}

SmallVector<Value> emitFormulaOp(const Emitter &emit, AbiAccess &abi, Operation &op, ArrayRef<Value> operands) {
  if (auto pointwise = dyn_cast<attn::PointwiseOp>(op))
    return {emitPointwise(emit, abi, pointwise, operands)};
  if (isa<math::MathDialect>(op.getDialect()))
    return {emitMathOp(emit.builder, abi, &op, operands)};
  // Arith ops that LLVM has no instruction for, or only a call into libm.
  if (isa<arith::FloorDivSIOp>(op))
    return {emitIntFloorDiv(emit, operands[0], operands[1])};
  if (isa<arith::CeilDivSIOp>(op)) {
    Value zero = emit.constInt(operands[0].getType(), 0);
    return {emit.sub(zero, emitIntFloorDiv(emit, emit.sub(zero, operands[0]), operands[1]))};
  }
  if (isa<arith::RemFOp>(op))
    return {emitFmod(emit, abi, operands[0], operands[1])};

  // The rest of arith means the same on vectors: a clone with another shape.
  Operation *clone = op.cloneWithoutRegions();
  clone->setOperands(operands);
  if (!operands.empty())
    for (Value result : clone->getResults())
      result.setType(likeShape(operands.back().getType(), result.getType()));
  clone->setLoc(emit.loc);
  emit.builder.insert(clone);
  return SmallVector<Value>(clone->getResults());
}

bool isEmittable(Operation &op) {
  if (isa<attn::LoadOp, attn::PointwiseOp>(op))
    return true;
  if (isa<math::MathDialect>(op.getDialect()))
    return isEmittableMath(&op);
  return isa<arith::ArithDialect>(op.getDialect()) && !isa<arith::CeilDivUIOp>(op);
}

} // namespace attnjit::tile
