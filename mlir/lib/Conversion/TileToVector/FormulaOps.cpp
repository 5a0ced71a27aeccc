#include "attnjit-mlir/Conversion/TileToVector/FormulaOps.h"

#include "MathRecipes.h"
#include "attnjit-mlir/Conversion/TileToVector/VectorMath.h"
#include "attnjit-mlir/Dialect/Attn/Attn.h"
#include "attnjit/KernelAbi.h"
#include "mlir/IR/Matchers.h"

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
  Value byZero;    ///< null: never
  /// `value`, but 0 for a divisor of 0.
  Value orZero(const Emitter &emit, Value value) const {
    return byZero ? emit.select(byZero, emit.constInt(value.getType(), 0), value) : value;
  }
};
} // namespace

/// The value of a constant scalar or splat.
static std::optional<int64_t> constantOf(Value value) {
  APInt constant;
  if (!matchPattern(value, m_ConstantInt(&constant)))
    return std::nullopt;
  return constant.getSExtValue();
}

/// Vectors of i32, by f64, where the quotient is exact: neighbouring quotients differ by more than 2^-52.
static Value divideByF64(const Emitter &emit, Value a, Value b) {
  Type type = a.getType(), wide = likeShape(type, emit.f64());
  Value quotient = emit.divF(emit.make<arith::SIToFPOp>(wide, a), emit.make<arith::SIToFPOp>(wide, b));
  return emit.make<arith::FPToSIOp>(type, quotient);
}

/// a / b for a divisor that is neither 0 nor -1. x86 has no vector division of integers.
static Value divideSafely(const Emitter &emit, Value a, Value b) {
  Type type = a.getType();
  if (!isVector(a))
    return emit.make<arith::DivSIOp>(a, b);
  if (elementTypeOf(type).isInteger(32))
    return constantOf(b) ? Value(emit.make<arith::DivSIOp>(a, b)) : divideByF64(emit, a, b); // LLVM multiplies by a constant's inverse
  // i64 seldom holds more than i32 could; lanes that do are divided one by one.
  Value narrowA = emit.toInt(emit.i32(), a), narrowB = emit.toInt(emit.i32(), b);
  auto isWide = [&](Value value, Value narrow) { return emit.cmp(CmpI::ne, value, emit.toInt(emit.i64(), narrow)); };
  Value anyWide = emit.any(emit.bitOr(isWide(a, narrowA), isWide(b, narrowB)));
  return emit.ifElse(
      SmallVector<Type>{type}, anyWide, [&]() -> Emitter::Values { return {emit.make<arith::DivSIOp>(a, b)}; },
      [&]() -> Emitter::Values { return {emit.toInt(emit.i64(), divideByF64(emit, narrowA, narrowB))}; })[0];
}

static Division divide(const Emitter &emit, Value a, Value b) {
  Type type = a.getType();
  Value zero = emit.constInt(type, 0);
  if (std::optional<int64_t> divisor = constantOf(b); divisor && *divisor != 0 && *divisor != -1) {
    Value quotient = divideSafely(emit, a, b);
    return {quotient, emit.sub(a, emit.mul(quotient, b)), nullptr};
  }
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

/// log2 of a constant power of two.
static std::optional<int64_t> log2OfConstant(Value b) {
  std::optional<int64_t> constant = constantOf(b);
  if (!constant || *constant <= 0 || !llvm::isPowerOf2_64(*constant))
    return std::nullopt;
  return llvm::Log2_64(*constant);
}

static Value emitIntFloorDiv(const Emitter &emit, Value a, Value b) {
  if (std::optional<int64_t> log2 = log2OfConstant(b))
    return emit.shrS(a, *log2);
  Division d = divide(emit, a, b);
  Value floor = emit.select(floorsDown(emit, d.remainder, b), emit.sub(d.quotient, 1), d.quotient);
  return d.orZero(emit, floor);
}

static Value emitIntFloorMod(const Emitter &emit, Value a, Value b) {
  if (log2OfConstant(b))
    return emit.bitAnd(a, emit.sub(b, 1));
  Division d = divide(emit, a, b);
  Value mod = emit.select(floorsDown(emit, d.remainder, b), emit.add(d.remainder, b), d.remainder);
  return d.orZero(emit, mod);
}

static Value emitIntRem(const Emitter &emit, Value a, Value b) {
  Division d = divide(emit, a, b);
  return d.orZero(emit, d.remainder);
}

//===------------------------------------------------------------------------------------------------------------------===//
// Other integer operations
//===------------------------------------------------------------------------------------------------------------------===//

Value emitIntPow(const Emitter &emit, Value a, Value b) {
  Type type = a.getType();
  Value zero = emit.constInt(type, 0), one = emit.constInt(type, 1), minusOne = emit.constInt(type, -1);
  auto hasBits = [&](Value exponent) { return emit.any(emit.cmp(CmpI::ne, exponent, zero)); };
  Emitter::Values power = emit.loopWhile(
      {one, a, b}, [&](ValueRange carried) { return hasBits(carried[2]); },
      [&](ValueRange carried) -> Emitter::Values {
        Value isOdd = emit.cmp(CmpI::ne, emit.bitAnd(carried[2], one), zero);
        return {emit.select(isOdd, emit.mul(carried[0], carried[1]), carried[0]), emit.mul(carried[1], carried[1]),
                emit.shrU(carried[2], 1)};
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
    Value orZero = emit.select(emit.cmp(CmpF::OLT, a, zero), emit.constFloat(type, -1.0), zero); // of NaN too
    return emit.select(emit.cmp(CmpF::OGT, a, zero), emit.constFloat(type, 1.0), orZero);
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

/// The first word of Philox4x32-10, an i32, of i64 operands: as in lib/Expr's EvalOp.h, round by round. A product of two words is one of
/// i64, whose upper halves are known to be 0: one instruction on vectors (pmuludq) and on a GPU (mul.wide.u32).
static Value emitPhiloxWord(const Emitter &emit, Value seed, Value offset) {
  Type wide = offset.getType();
  auto low = [&](Value x) { return emit.toInt(emit.i32(), x); };
  auto high = [&](Value x) { return emit.toInt(emit.i32(), emit.shrU(x, 32)); };
  auto product = [&](Value word, int64_t factor) { return emit.mul(emit.make<arith::ExtUIOp>(wide, word), emit.constInt(wide, factor)); };
  Value zero = emit.constInt(likeShape(wide, emit.i32()), 0);
  Value counter[4] = {low(offset), high(offset), zero, zero}, key[2] = {low(seed), high(seed)};
  for (int round = 0; round < 10; ++round) {
    Value first = product(counter[0], 0xD2511F53), second = product(counter[2], 0xCD9E8D57);
    Value c0 = emit.bitXor(emit.bitXor(high(second), counter[1]), key[0]), c2 = emit.bitXor(emit.bitXor(high(first), counter[3]), key[1]);
    counter[0] = c0;
    counter[1] = low(second);
    counter[2] = c2;
    counter[3] = low(first);
    key[0] = emit.add(key[0], 0x9E3779B9);
    key[1] = emit.add(key[1], 0xBB67AE85);
  }
  return counter[0];
}

/// That word in [0, 1): its sign folded away, in f32 on every target and for every compute type.
static Value emitPhiloxUniform(const Emitter &emit, Value seed, Value offset, Type result) {
  Value word = emitPhiloxWord(emit, seed, offset), natural = emit.bitXor(word, emit.shrS(word, 31));
  Type single = likeShape(word.getType(), emit.f32());
  Value uniform = emit.mulF(emit.make<arith::SIToFPOp>(single, natural), emit.constFloat(single, 0x1.fffffep-32));
  return result.isF32() ? uniform : Value(emit.make<arith::ExtFOp>(likeShape(single, result), uniform));
}

//===------------------------------------------------------------------------------------------------------------------===//
// Floats
//===------------------------------------------------------------------------------------------------------------------===//

/// A function of two floats: inline, or in f64 through the function table where there is one.
static Value emitBinary(const Emitter &emit, AbiAccess &abi, Value (*recipe)(const Emitter &, Value, Value), uint64_t f64Offset, Value a,
                        Value b) {
  if (elementTypeOf(a.getType()).isF64() && abi.hasFunctions())
    return emitFunctionCall(emit.builder, emit.loc, abi, f64Offset, {a, b});
  return recipe(emit, a, b);
}

static Value emitRemainder(const Emitter &emit, AbiAccess &abi, Value a, Value b) {
  return emitBinary(emit, abi, emitFmod, offsetof(FunctionTable, fmodF64), a, b);
}

/// The exact remainder with the divisor's sign.
static Value emitFloatFloorMod(const Emitter &emit, AbiAccess &abi, Value a, Value b) {
  Value rem = emitRemainder(emit, abi, a, b), zero = emit.constFloat(a.getType(), 0.0);
  Value differ = emit.bitXor(emit.cmp(CmpF::OLT, rem, zero), emit.cmp(CmpF::OLT, b, zero));
  Value adjust = emit.bitAnd(differ, emit.cmp(CmpF::ONE, rem, zero));
  return emit.select(adjust, emit.addF(rem, b), rem);
}

/// The exact floor, where a / b may round up to an integer or to zero: then the remainder is of the wrong sign. An infinite dividend leaves
/// none: NaN, except over zero.
static Value emitFloatFloorDiv(const Emitter &emit, Value a, Value b) {
  Type type = a.getType();
  Value quotient = emit.make<LLVM::FFloorOp>(type, emit.divF(a, b), LLVM::FastmathFlagsAttr());
  Value zero = emit.constFloat(type, 0.0), nothing = emit.subF(a, a);
  Value remainder = emit.select(emit.cmp(CmpF::OEQ, quotient, zero), a, emit.fma(emit.negF(quotient), b, a));
  auto have = [&](CmpF ofRemainder, CmpF ofDivisor) {
    return emit.bitAnd(emit.cmp(ofRemainder, remainder, zero), emit.cmp(ofDivisor, b, zero));
  };
  Value isTooHigh = emit.bitOr(have(CmpF::OLT, CmpF::OGT), have(CmpF::OGT, CmpF::OLT));
  Value floor = emit.select(isTooHigh, emit.subF(quotient, emit.constFloat(type, 1.0)), quotient);
  Value hasNone = emit.bitAnd(emit.cmp(CmpF::UNO, nothing, nothing), emit.cmp(CmpF::UNE, b, zero));
  return emit.select(hasNone, nothing, floor);
}

//===------------------------------------------------------------------------------------------------------------------===//
// Dispatch
//===------------------------------------------------------------------------------------------------------------------===//

static Value emitPointwise(const Emitter &emit, AbiAccess &abi, attn::PointwiseOp op, ArrayRef<Value> operands) {
  Value a = operands[0], b = operands.size() > 1 ? operands[1] : Value();
  bool isFloat = isa<FloatType>(elementTypeOf(a.getType()));
  switch (op.getKind()) {
  case attn::PointwiseKind::FloorDiv:
    return isFloat ? emitFloatFloorDiv(emit, a, b) : emitIntFloorDiv(emit, a, b);
  case attn::PointwiseKind::FloorMod:
    return isFloat ? emitFloatFloorMod(emit, abi, a, b) : emitIntFloorMod(emit, a, b);
  case attn::PointwiseKind::Rem:
    return isFloat ? emitRemainder(emit, abi, a, b) : emitIntRem(emit, a, b);
  case attn::PointwiseKind::Pow:
    if (isFloat)
      return emitBinary(emit, abi, emitPow, offsetof(FunctionTable, powF64), a, b);
    return emitIntPow(emit, a, b);
  case attn::PointwiseKind::Sign:
    return emitSign(emit, a);
  case attn::PointwiseKind::Shl:
    return emitShift(emit, a, b, /*left=*/true);
  case attn::PointwiseKind::Shr:
    return emitShift(emit, a, b, /*left=*/false);
  case attn::PointwiseKind::Hypot:
    return emitBinary(emit, abi, emitHypot, offsetof(FunctionTable, hypotF64), a, b);
  case attn::PointwiseKind::ToInt:
    return emitToInt(emit, a, op.getResult().getType());
  case attn::PointwiseKind::Rand:
    return emitPhiloxUniform(emit, a, b, op.getResult().getType());
  case attn::PointwiseKind::RandInt:
    return emit.toInt(op.getResult().getType(), emitPhiloxWord(emit, a, b));
  }
  llvm_unreachable("all kinds are listed");
}

SmallVector<Value> emitFormulaOp(OpBuilder &builder, Location loc, AbiAccess &abi, Operation &op, ArrayRef<Value> operands) {
  Emitter emit(builder, loc);
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
    return {emitRemainder(emit, abi, operands[0], operands[1])};

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
  if (isa<attn::LoadOp, attn::PointwiseOp, attn::ReduceOp>(op))
    return true;
  if (isa<math::MathDialect>(op.getDialect()))
    return isEmittableMath(&op);
  return isa<arith::ArithDialect>(op.getDialect()) && !isa<arith::CeilDivUIOp>(op);
}

} // namespace attnjit::tile
