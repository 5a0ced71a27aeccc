#include "Elements.h"

using namespace mlir;

namespace attnjit::tile {

Type rawType(const Emitter &emit, Type memory) {
  if (memory.isBF16())
    return emit.i16();
  if (memory.isInteger(1) || memory.isUnsignedInteger(8))
    return emit.i8();
  return memory;
}

Value widenElements(const Emitter &emit, Value raw, Type memory, Type result) {
  Type shape = raw.getType(), type = likeShape(shape, result);
  if (memory.isBF16()) {
    Value bits = emit.shl(emit.make<arith::ExtUIOp>(likeShape(shape, emit.i32()), raw), 16);
    Value single = emit.bitcast(emit.f32(), bits);
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

Value narrowElements(const Emitter &emit, Value value, Type memory) {
  Type shape = value.getType(), from = elementTypeOf(shape);
  if (from == memory)
    return value;
  if (from.isF64() && !memory.isF32())
    value = emit.make<arith::TruncFOp>(likeShape(shape, emit.f32()), value);
  if (memory.isBF16())
    return roundToBf16(emit, value);
  return memory.getIntOrFloatBitWidth() < elementTypeOf(value.getType()).getIntOrFloatBitWidth()
             ? Value(emit.make<arith::TruncFOp>(likeShape(shape, memory), value))
             : Value(emit.make<arith::ExtFOp>(likeShape(shape, memory), value));
}

Value loadFloats(const Emitter &emit, Value address, Type memory, Type compute, int64_t lanes) {
  Type raw = rawType(emit, memory);
  return widenElements(emit, emit.load(lanes == 1 ? raw : emit.vec(lanes, raw), address), memory, compute);
}

void storeFloats(const Emitter &emit, Value value, Value address, Type memory) {
  emit.store(narrowElements(emit, value, memory), address);
}

} // namespace attnjit::tile
