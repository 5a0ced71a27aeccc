// Powers of 2 and e, hyperbolic functions.
#include "MathCoefficients.h"
#include "MathRecipes.h"
#include "attnjit-mlir/Conversion/TileToVector/VectorMath.h"

using namespace mlir;

namespace attnjit::tile {

using CmpF = Emitter::CmpF;
using namespace coefficients;

//===------------------------------------------------------------------------------------------------------------------===//
// Powers of two
//===------------------------------------------------------------------------------------------------------------------===//

/// 1 + f tail(f).
static Value onePlus(const Emitter &emit, Value f, ArrayRef<double> tail) {
  SmallVector<double> coefficients = {1.0};
  llvm::append_range(coefficients, tail);
  return horner(emit, f, coefficients);
}

/// 2^f on [-1/2, 1/2]: minimax, with the 1 in front 0.95 ulp in f32 and 0.6 in f64.
static Value exp2Fraction(const Emitter &emit, Value f) { return onePlus(emit, f, tableFor(f, kExp2, kExp2Double)); }

namespace {
/// 2^n in two factors, of which no product with a number near 1 overflows, or loses bits that the result may have.
struct Scale {
  Value rounder; ///< added to the exponent x, it makes n + bias in the low bits
  Value second;  ///< the second factor
  static Scale of(const Emitter &emit, const Format &format, Value x) {
    // 2^n runs from half the smallest subnormal number to past the largest number. A falling one goes 2^64 higher first, and down by an
    // exact factor that rounds but once; a rising one stops short of infinity.
    Type type = x.getType();
    Value falls = emit.cmp(CmpF::OLT, x, emit.constFloat(type, 0.0));
    double base = format.rounder + format.bias;
    return {emit.select(falls, emit.constFloat(type, base + 64), emit.constFloat(type, base - 1)),
            emit.select(falls, emit.constFloat(type, 0x1p-64), emit.constFloat(type, 2.0))};
  }
};
} // namespace

/// 2^n of the n + bias in the low bits of `rounded`.
static Value powerOfTwo(const Emitter &emit, const Format &format, Value rounded) {
  return emit.bitcast(elementTypeOf(rounded.getType()), emit.shl(emit.bitcast(format.integer, rounded), format.mantissa));
}

/// 2^(x + low), `low` null or tiny. NaN passes every step up to the product, whose factors cannot undo it. The bounds lie safely where 2^x
/// is 0, and where it is infinite.
static Value exp2Within(const Emitter &emit, Value x, Value low) {
  Format format = Format::of(emit, x.getType());
  Value clamped = atMost(emit, atLeast(emit, x, -double(format.bias + format.mantissa + 2)), format.bias + 2.0);
  Scale scale = Scale::of(emit, format, clamped);
  Value rounded = emit.addF(clamped, scale.rounder);
  Value fraction = emit.subF(clamped, emit.subF(rounded, scale.rounder));
  if (low)
    fraction = emit.addF(fraction, low);
  return emit.mulF(emit.mulF(exp2Fraction(emit, fraction), powerOfTwo(emit, format, rounded)), scale.second);
}

Value emitExp2(OpBuilder &builder, Location loc, Value x) { return exp2Within(Emitter(builder, loc), x, nullptr); }

Value emitExp2InTwoParts(const Emitter &emit, Value x, Value low) { return exp2Within(emit, x, low); }

/// On AVX-512 two instructions take x apart and put 2^x together, and both know what to do with NaN and infinity.
namespace avx512 {
constexpr int64_t kAllLanes = -1, kCurrentRounding = 4;
enum Toward : int64_t { Nearest = 0, Down = 1 };

/// x - n, exact for n the nearest integer.
static Value fractionOf(const Emitter &emit, Value x, Toward toward) {
  return emit.intrinsic(
      "llvm.x86.avx512.mask.reduce.ps.512", x.getType(),
      {x, emit.constInt(emit.i32(), toward), x, emit.constInt(emit.i16(), kAllLanes), emit.constInt(emit.i32(), kCurrentRounding)});
}

/// power * 2^floor(n). Where 2^x is below the normal numbers 0, which is what others flush to; it would be slow, too.
static Value scaled(const Emitter &emit, Value power, Value n, Value x) {
  Type type = x.getType();
  Value isNormal = emit.cmp(CmpF::UGE, x, emit.constFloat(type, 1.0 - Format::of(emit, type).bias));
  return emit.intrinsic("llvm.x86.avx512.mask.scalef.ps.512", type,
                        {power, n, emit.constFloat(type, 0.0), emit.make<LLVM::BitcastOp>(emit.i16(), isNormal),
                         emit.constInt(emit.i32(), kCurrentRounding)});
}
} // namespace avx512

/// Only AVX-512 has such vectors.
static bool isAvx512Vector(Type type) {
  auto vector = dyn_cast<VectorType>(type);
  return vector && vector.getElementType().isF32() && vector.getNumElements() == 16;
}

Value emitExp2OfSoftmax(OpBuilder &builder, Location loc, Value x) {
  Emitter emit(builder, loc);
  Type type = x.getType();
  if (isAvx512Vector(type)) {
    Value fraction = avx512::fractionOf(emit, x, avx512::Nearest);
    return avx512::scaled(emit, exp2Fraction(emit, fraction), emit.subF(x, fraction), x);
  }
  Format format = Format::of(emit, type);
  Value low = emit.constFloat(type, 1.0 - format.bias);
  Value rounder = emit.constFloat(type, format.rounder + format.bias);
  Value tooLow = emit.cmp(CmpF::OLT, x, low);
  Value clamped = emit.select(tooLow, low, x);
  Value rounded = emit.addF(clamped, rounder);
  Value fraction = emit.subF(clamped, emit.subF(rounded, rounder));
  Value power = emit.mulF(exp2Fraction(emit, fraction), powerOfTwo(emit, format, rounded));
  return emit.select(tooLow, emit.constFloat(type, 0.0), power);
}

Value emitExp2ForBf16(OpBuilder &builder, Location loc, Value x) {
  Emitter emit(builder, loc);
  if (!isAvx512Vector(x.getType()))
    return emitExp2OfSoftmax(builder, loc, x);
  Value fraction = avx512::fractionOf(emit, x, avx512::Down);
  return avx512::scaled(emit, onePlus(emit, fraction, kExp2Up), x, x);
}

/// At the lower end the scale is an exponent field of 0.
Value emitExp2Short(OpBuilder &builder, Location loc, Value x) {
  Emitter emit(builder, loc);
  Format format = Format::of(emit, x.getType());
  Value clamped = emit.make<arith::MaximumFOp>(x, emit.constFloat(x.getType(), -double(format.bias)));
  Value rounder = emit.constFloat(x.getType(), format.rounder + format.bias), rounded = emit.addF(clamped, rounder);
  Value fraction = emit.subF(clamped, emit.subF(rounded, rounder));
  return emit.mulF(onePlus(emit, fraction, kExp2Short), powerOfTwo(emit, format, rounded));
}

//===------------------------------------------------------------------------------------------------------------------===//
// Powers of e
//===------------------------------------------------------------------------------------------------------------------===//

/// e^r - 1 on [-ln2 / 2, ln2 / 2], accurate near 0 too. f64: Taylor of degree 13.
static Value expm1Fraction(const Emitter &emit, Value r) {
  double coefficients[12];
  ArrayRef<double> tail = kExpm1;
  if (elementTypeOf(r.getType()).isF64()) {
    double factorial = 1;
    for (int k = 2; k < 14; ++k)
      coefficients[k - 2] = 1 / (factorial *= k);
    tail = coefficients;
  }
  return emit.fma(emit.mulF(r, r), horner(emit, r, tail), r);
}

namespace {
/// x = n ln2 + r with |r| <= ln2 / 2; n + whatever `rounder` holds beside its 1.5 * 2^mantissa stands in the low bits of `rounded`.
struct Reduced {
  Value rounded, remainder;
};
} // namespace

static Reduced reduceByLn2(const Emitter &emit, Value x, Value rounder) {
  Type type = x.getType();
  // ln2 in two parts; n times the first, of few bits, is exact.
  double high = elementTypeOf(type).isF64() ? 0x1.62e42feep-1 : 0x1.63p-1,
         low = elementTypeOf(type).isF64() ? 0x1.a39ef35793c76p-33 : M_LN2 - 0x1.63p-1;
  Value rounded = emit.fma(x, emit.constFloat(type, M_LOG2E), rounder);
  Value n = emit.subF(rounded, rounder);
  Value remainder = emit.fma(n, emit.constFloat(type, -high), x);
  return {rounded, emit.fma(n, emit.constFloat(type, -low), remainder)};
}

/// factor * e^(x + low); null stands for 1 and 0, and `low` is tiny.
static Value expWithin(const Emitter &emit, Value factor, Value x, Value low) {
  Type type = x.getType();
  bool isDouble = elementTypeOf(type).isF64();
  Format format = Format::of(emit, type);
  Value clamped = atMost(emit, atLeast(emit, x, isDouble ? -746.0 : -104.0), isDouble ? 710.0 : 89.0); // beyond: 0 and infinity
  Scale scale = Scale::of(emit, format, clamped);
  Reduced reduced = reduceByLn2(emit, clamped, scale.rounder);
  Value remainder = low ? emit.addF(reduced.remainder, low) : reduced.remainder;
  Value fraction = expm1Fraction(emit, remainder);
  fraction = factor ? emit.fma(fraction, factor, factor) : emit.addF(fraction, emit.constFloat(type, 1.0));
  return emit.mulF(emit.mulF(fraction, powerOfTwo(emit, format, reduced.rounded)), scale.second);
}

Value emitExp(OpBuilder &builder, Location loc, Value x) { return expWithin(Emitter(builder, loc), nullptr, x, nullptr); }

Value emitScaledExp(const Emitter &emit, Value factor, Value x, Value low) { return expWithin(emit, factor, x, low); }

/// 2 (2^(n-1) (e^r - 1) + (2^(n-1) - 1/2)): the factor 2 keeps the largest power finite.
Value emitExpm1(const Emitter &emit, Value x) {
  Type type = x.getType();
  Format format = Format::of(emit, type);
  Value clamped = atMost(emit, atLeast(emit, x, ofFormat(x, -18.0, -38.0)), ofFormat(x, 89.0, 710.0)); // beyond: -1 and infinity
  Reduced reduced = reduceByLn2(emit, clamped, emit.constFloat(type, format.rounder + format.bias - 1));
  Value scale = powerOfTwo(emit, format, reduced.rounded);
  Value half = emit.fma(scale, expm1Fraction(emit, reduced.remainder), emit.subF(scale, emit.constFloat(type, 0.5)));
  return withSignOf(emit, emit.addF(half, half), x);
}

//===------------------------------------------------------------------------------------------------------------------===//
// Hyperbolic functions
//===------------------------------------------------------------------------------------------------------------------===//

/// e^a / 2 for a >= 0, which is finite for all a whose sinh and cosh are.
static Value halfExp(const Emitter &emit, Value a) {
  Type type = a.getType();
  Format format = Format::of(emit, type);
  Reduced reduced = reduceByLn2(emit, atMost(emit, a, ofFormat(a, 90.0, 711.0)), emit.constFloat(type, format.rounder + format.bias - 2));
  Value fraction = emit.addF(expm1Fraction(emit, reduced.remainder), emit.constFloat(type, 1.0));
  return emit.mulF(emit.mulF(fraction, powerOfTwo(emit, format, reduced.rounded)), emit.constFloat(type, 2.0));
}

Value emitSinh(const Emitter &emit, Value x) {
  Type type = x.getType();
  Value a = absolute(emit, x), square = emit.mulF(a, a);
  Value near = emit.fma(emit.mulF(a, square), horner(emit, square, tableFor(x, kSinh, kSinhDouble)), a);
  Value grows = halfExp(emit, a);
  Value far = emit.subF(grows, emit.divF(emit.constFloat(type, 0.25), grows));
  return withSignOf(emit, emit.select(emit.cmp(CmpF::OLT, a, emit.constFloat(type, 1.0)), near, far), x);
}

Value emitCosh(const Emitter &emit, Value x) {
  Value grows = halfExp(emit, absolute(emit, x));
  return emit.addF(grows, emit.divF(emit.constFloat(x.getType(), 0.25), grows));
}

std::pair<Value, Value> tanhFraction(const Emitter &emit, Value clamped) {
  Value square = emit.mulF(clamped, clamped);
  Value p = emit.mulF(clamped, horner(emit, square, kTanhP)), q = horner(emit, square, kTanhQ);
  return {emit.mulF(p, emit.addF(q, q)), emit.fma(q, q, emit.mulF(p, p))};
}

/// E / (E + 2) with E = e^(2a) - 1, which is 1 from 20 on.
static Value tanhByExpm1(const Emitter &emit, Value x) {
  Value a = atMost(emit, absolute(emit, x), 20.0), grown = emitExpm1(emit, emit.addF(a, a));
  return withSignOf(emit, emit.divF(grown, emit.addF(grown, emit.constFloat(x.getType(), 2.0))), x);
}

/// At the limit the quotient is exactly 1, and nowhere more (VectorMathTest). In f64 its two sides would have as many terms as the
/// exponential.
Value emitTanh(const Emitter &emit, Value x) {
  if (elementTypeOf(x.getType()).isF64())
    return tanhByExpm1(emit, x);
  auto [numerator, denominator] = tanhFraction(emit, atMost(emit, atLeast(emit, x, -kTanhLimit), kTanhLimit));
  return emit.divF(numerator, denominator);
}

} // namespace attnjit::tile
