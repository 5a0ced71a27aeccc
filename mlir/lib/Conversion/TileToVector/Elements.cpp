#include "Elements.h"

#include <cmath>

using namespace mlir;

namespace attnjit::tile {

bool isFloat8(Type memory) { return isa<Float8E4M3FNType, Float8E5M2Type>(memory); }

Type rawType(const Emitter &emit, Type memory) {
  if (memory.isBF16())
    return emit.i16();
  if (memory.isInteger(1) || memory.isUnsignedInteger(8) || isFloat8(memory))
    return emit.i8();
  return memory;
}

/// 8-bit floats to f32, by way of f16, whose conversion is one instruction that takes subnormal numbers as fast as others.
static Value widenFloat8(const Emitter &emit, Value raw, Type memory) {
  Type shape = raw.getType(), half = likeShape(shape, emit.i16());
  Value bits = emit.make<arith::ExtSIOp>(half, raw);
  if (isa<Float8E5M2Type>(memory)) { // the upper byte of an f16
    Value upper = emit.bitcast(emit.builder.getF16Type(), emit.shl(bits, 8));
    return emit.make<arith::ExtFOp>(likeShape(shape, emit.f32()), upper);
  }
  // e4m3: 4 bits of exponent stand in the lower 4 of the 5 of an f16, which makes the number 2^8 too small. The pattern of all ones alone
  // is NaN: adding 1 to its last place carries into the free bit, and a number would not.
  Value placed = emit.bitAnd(emit.shl(bits, 7), emit.constInt(half, 0xbfff));
  Value carry = emit.bitAnd(emit.add(placed, 0x80), emit.constInt(half, 0x4000));
  Value small = emit.make<arith::ExtFOp>(likeShape(shape, emit.f32()), emit.bitcast(emit.builder.getF16Type(), emit.bitOr(placed, carry)));
  return emit.mulF(small, emit.constFloat(small.getType(), 0x1p8));
}

Value widenElements(const Emitter &emit, Value raw, Type memory, Type result) {
  Type shape = raw.getType(), type = likeShape(shape, result);
  if (memory.isBF16()) {
    Value bits = emit.shl(emit.make<arith::ExtUIOp>(likeShape(shape, emit.i32()), raw), 16);
    Value single = emit.bitcast(emit.f32(), bits);
    return result.isF64() ? Value(emit.make<arith::ExtFOp>(type, single)) : single;
  }
  if (isFloat8(memory)) {
    Value single = widenFloat8(emit, raw, memory);
    return result.isF64() ? Value(emit.make<arith::ExtFOp>(type, single)) : single;
  }
  if (isa<FloatType>(memory)) {
    if (memory == result)
      return raw;
    // F16C only converts to f32; f64 goes on from there, exactly.
    if (memory.isF16() && result.isF64())
      raw = emit.make<arith::ExtFOp>(likeShape(shape, emit.f32()), raw);
    if (memory.getIntOrFloatBitWidth() < result.getIntOrFloatBitWidth())
      return emit.make<arith::ExtFOp>(type, raw);
    return emit.make<arith::TruncFOp>(type, raw);
  }
  if (memory.isInteger(1))
    return emit.cmp(Emitter::CmpI::ne, raw, emit.constInt(shape, 0));
  if (memory.isUnsignedInteger(8))
    return emit.make<arith::ExtUIOp>(type, raw);
  return emit.toInt(result, raw);
}

/// f32 to bf16 in integer arithmetic: add half of the last kept bit, with ties going to even.
static Value roundToBf16(const Emitter &emit, Value single) {
  Value bits = emit.bitcast(emit.i32(), single);
  Type type = bits.getType();
  Value top = emit.shrU(bits, 16);
  Value half = emit.add(emit.bitAnd(top, emit.constInt(type, 1)), 0x7fff);
  Value rounded = emit.shrU(emit.add(bits, half), 16);
  Value quietNan = emit.bitOr(top, emit.constInt(type, 0x40)); // the addition above could carry a NaN into infinity
  Value result = emit.select(emit.cmp(Emitter::CmpF::UNO, single, single), quietNan, rounded);
  return emit.toInt(emit.i16(), result);
}

/// f32 to an 8-bit float in integer arithmetic. Subnormal results are rounded by adding a power of two whose last place is theirs; the
/// others as in roundToBf16.
static Value roundToFloat8(const Emitter &emit, Value single, Type memory) {
  bool isE5M2 = isa<Float8E5M2Type>(memory);
  int64_t fraction = isE5M2 ? 2 : 3, bias = isE5M2 ? 15 : 7, dropped = 23 - fraction;
  Value bits = emit.bitcast(emit.i32(), single);
  Type type = bits.getType();
  Value sign = emit.bitAnd(emit.shrU(bits, 24), emit.constInt(type, 0x80)), magnitude = emit.bitAnd(bits, emit.constInt(type, 0x7fffffff));

  Value odd = emit.bitAnd(emit.shrU(magnitude, dropped), emit.constInt(type, 1));
  Value half = emit.add(odd, (int64_t(1) << (dropped - 1)) - 1);
  Value normal = emit.sub(emit.shrU(emit.add(magnitude, half), dropped), (127 - bias) << fraction);

  Value aligner = emit.constFloat(single.getType(), std::ldexp(1.0, 1 - bias - fraction + 23));
  Value aligned = emit.addF(emit.bitcast(elementTypeOf(single.getType()), magnitude), aligner);
  Value subnormal = emit.sub(emit.bitcast(emit.i32(), aligned), emit.bitcast(emit.i32(), aligner));
  Value isSmall = emit.cmp(Emitter::CmpI::ult, magnitude, emit.constInt(type, (128 - bias) << 23));
  Value rounded = emit.select(isSmall, subnormal, normal);

  // Beyond: e5m2 has an infinity, to which everything from 61440 on has rounded already unless it left the 8 bits; in e4m3 464 is the last
  // that goes to 448, and NaN is above it as bits, too.
  if (isE5M2) {
    Value isLarge = emit.cmp(Emitter::CmpI::uge, magnitude, emit.constInt(type, (127 + 16) << 23));
    Value isNan = emit.cmp(Emitter::CmpI::ugt, magnitude, emit.constInt(type, 0x7f800000));
    rounded = emit.select(isLarge, emit.select(isNan, emit.constInt(type, 0x7f), emit.constInt(type, 0x7c)), rounded);
  } else {
    Value isLarge = emit.cmp(Emitter::CmpI::ugt, magnitude, emit.constInt(type, 0x43e80000));
    rounded = emit.select(isLarge, emit.constInt(type, 0x7f), rounded);
  }
  return emit.toInt(emit.i8(), emit.bitOr(rounded, sign));
}

/// f64 to f32 rounded to odd: what is between two numbers becomes the one whose last bit is set, so that rounding once more, to nearest and
/// to a narrower type, sees on which side of a tie the f64 was.
static Value roundToOddSingle(const Emitter &emit, Value value) {
  Type shape = value.getType(), single = likeShape(shape, emit.f32());
  Value nearest = emit.make<arith::TruncFOp>(single, value), bits = emit.bitcast(emit.i32(), nearest);
  Value back = emit.make<arith::ExtFOp>(shape, nearest);
  auto magnitudeOf = [&](Value x) { return Value(emit.make<LLVM::FAbsOp>(x.getType(), x, LLVM::FastmathFlagsAttr())); };
  Value wentUp = emit.cmp(Emitter::CmpF::OGT, magnitudeOf(back), magnitudeOf(value)),
        wentDown = emit.cmp(Emitter::CmpF::OLT, magnitudeOf(back), magnitudeOf(value));
  Type type = bits.getType();
  Value isEven = emit.cmp(Emitter::CmpI::eq, emit.bitAnd(bits, emit.constInt(type, 1)), emit.constInt(type, 0));
  Value down = emit.select(emit.bitAnd(wentUp, isEven), emit.sub(bits, 1), bits);
  return emit.bitcast(emit.f32(), emit.select(emit.bitAnd(wentDown, isEven), emit.add(bits, 1), down));
}

Value narrowElements(const Emitter &emit, Value value, Type memory) {
  Type shape = value.getType(), from = elementTypeOf(shape);
  if (from == memory)
    return value;
  if (from.isF64() && !memory.isF32())
    value = roundToOddSingle(emit, value);
  if (memory.isBF16())
    return roundToBf16(emit, value);
  if (isFloat8(memory))
    return roundToFloat8(emit, value, memory);
  return memory.getIntOrFloatBitWidth() < elementTypeOf(value.getType()).getIntOrFloatBitWidth()
             ? Value(emit.make<arith::TruncFOp>(likeShape(shape, memory), value))
             : Value(emit.make<arith::ExtFOp>(likeShape(shape, memory), value));
}

Value loadFloats(const Emitter &emit, Value address, Type memory, Type compute, int64_t lanes) {
  Type raw = rawType(emit, memory);
  return widenElements(emit, emit.load(lanes == 1 ? raw : emit.vec(lanes, raw), address), memory, compute);
}

void storeFloats(const Emitter &emit, Value value, Value address, Type memory) { emit.store(narrowElements(emit, value, memory), address); }

} // namespace attnjit::tile
