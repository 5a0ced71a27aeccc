// Powers, remainders, distances, and the error function.
#include "MathCoefficients.h"
#include "MathRecipes.h"
#include "attnjit-mlir/Conversion/TileToVector/VectorMath.h"

using namespace mlir;

namespace attnjit::tile {

using CmpI = Emitter::CmpI;
using CmpF = Emitter::CmpF;
using namespace coefficients;

//===------------------------------------------------------------------------------------------------------------------===//
// The error function
//===------------------------------------------------------------------------------------------------------------------===//

/// erfc(a) for a from 0.9 on, as far as 1 less it can tell: 2^-q, where the exponent q = -log2(erfc) is nearly a parabola. In f64 the tail
/// itself has as few terms.
static Value erfcForErf(const Emitter &emit, Value a) {
  if (elementTypeOf(a.getType()).isF64())
    return emitErfc(emit, a);
  Value exponent = emit.negF(horner(emit, atMost(emit, a, 3.95), kErfFar));
  // Where the polynomial may say anything, the exponential wants no more than 0.
  return emitExp2OfSoftmax(emit.builder, emit.loc, atMost(emit, exponent, 0.0));
}

/// Near 0 a polynomial; from 0.9 on 1 - erfc, which from 3.95 (f64: 5.9) on is 1.
Value emitErf(const Emitter &emit, Value x) {
  Type type = x.getType();
  Value a = absolute(emit, x), square = emit.mulF(x, x);
  Value near = emit.fma(x, horner(emit, square, tableFor(x, kErfNear, kErfNearDouble)), x);
  Value far = emit.subF(emit.constFloat(type, 1.0), erfcForErf(emit, a));
  return emit.select(emit.cmp(CmpF::OLT, a, emit.constFloat(type, 0.9)), near, withSignOf(emit, far, x));
}

/// (1 + 2a) e^(a^2) erfc(a): 1 + w P(w) with w = 2a / (a + 2), in f64 P(t) with t = (a - 4) / (a + 4).
static Value scaledErfc(const Emitter &emit, Value a) {
  auto number = [&](double value) { return emit.constFloat(a.getType(), value); };
  if (elementTypeOf(a.getType()).isF64())
    return horner(emit, emit.divF(emit.subF(a, number(4.0)), emit.addF(a, number(4.0))), kErfcTailDouble);
  Value w = emit.divF(emit.addF(a, a), emit.addF(a, number(2.0)));
  return emit.fma(w, horner(emit, w, kErfcTail), number(1.0));
}

/// e^(-a^2) times the slow rest. The square in two parts, or its rounding would show in the exponential.
Value emitErfc(const Emitter &emit, Value x) {
  Type type = x.getType();
  auto number = [&](double value) { return emit.constFloat(type, value); };
  Value a = atMost(emit, absolute(emit, x), ofFormat(x, 10.06, 27.3)); // from there on 0
  Value square = emit.mulF(a, a), squareLow = emit.fma(a, a, emit.negF(square));
  Value factor = emit.divF(scaledErfc(emit, a), emit.addF(emit.addF(a, a), number(1.0)));
  Value tail = emitScaledExp(emit, factor, emit.negF(square), emit.negF(squareLow));
  return emit.select(emit.cmp(CmpF::OLT, x, number(0.0)), emit.subF(number(2.0), tail), tail);
}

//===------------------------------------------------------------------------------------------------------------------===//
// Powers
//===------------------------------------------------------------------------------------------------------------------===//

/// 2^(y log2 |x|) with the product in two parts; then C's special values (F.10.4.4).
Value emitPow(const Emitter &emit, Value x, Value y) {
  Type type = x.getType();
  auto number = [&](double value) { return emit.constFloat(type, value); };
  TwoParts log2 = emitLog2InTwoParts(emit, absolute(emit, x));
  // As good as infinite, but 0 times it is 0: |x| = 1 gives 1.
  Value exponent = atMost(emit, atLeast(emit, y, -0x1p100), 0x1p100);
  Value high = emit.mulF(exponent, log2.high);
  Value low = emit.fma(exponent, log2.low, emit.fma(exponent, log2.high, emit.negF(high)));
  Value isModerate =
      emit.cmp(CmpF::OLT, absolute(emit, high), number(ofFormat(x, 256.0, 2048.0))); // beyond, the low part may be infinity - infinity
  Value power = emitExp2InTwoParts(emit, high, emit.select(isModerate, low, number(0.0)));

  // A negative base: the sign of an odd exponent, NaN for a fractional one.
  Value isNegative = hasSign(emit, x);
  Value half = emit.mulF(y, number(0.5));
  Value isInteger = emit.cmp(CmpF::OEQ, truncated(emit, y), y), isEven = emit.cmp(CmpF::OEQ, truncated(emit, half), half);
  Value isOdd = emit.bitAnd(isInteger, emit.logicalNot(isEven));
  power = emit.select(emit.bitAnd(isNegative, isOdd), emit.negF(power), power);
  Value isFiniteNegative = emit.bitAnd(emit.cmp(CmpF::OLT, x, number(0.0)), emit.cmp(CmpF::OGT, x, number(-HUGE_VAL)));
  power = emit.select(emit.bitAnd(isFiniteNegative, emit.logicalNot(isInteger)), number(std::nan("")), power);
  // 1 to whatever, and whatever to 0, is 1: even of NaN.
  Value isOne = emit.bitOr(emit.cmp(CmpF::OEQ, y, number(0.0)), emit.cmp(CmpF::OEQ, x, number(1.0)));
  return emit.select(isOne, number(1.0), power);
}

/// larger * sqrt(1 + (smaller / larger)^2), which neither overflows nor loses small numbers.
Value emitHypot(const Emitter &emit, Value x, Value y) {
  Type type = x.getType();
  Value ax = absolute(emit, x), ay = absolute(emit, y), inf = emit.constFloat(type, HUGE_VAL);
  Value isSteep = emit.cmp(CmpF::OGT, ay, ax);
  Value smaller = emit.select(isSteep, ax, ay), larger = emit.select(isSteep, ay, ax); // a NaN is in one of them
  Value ratio = emit.divF(smaller, larger);
  Value length = emit.mulF(larger, squareRoot(emit, emit.fma(ratio, ratio, emit.constFloat(type, 1.0))));
  length = emit.select(emit.cmp(CmpF::OEQ, smaller, emit.constFloat(type, 0.0)), larger, length);
  Value isInfinite = emit.bitOr(emit.cmp(CmpF::OEQ, ax, inf), emit.cmp(CmpF::OEQ, ay, inf)); // even beside NaN
  return emit.select(isInfinite, inf, length);
}

//===------------------------------------------------------------------------------------------------------------------===//
// Remainders
//===------------------------------------------------------------------------------------------------------------------===//

/// Takes multiples of b > 0 off `a`, exactly: little more than 2^-23 (f64: 2^-52) of it is left, or less than b. A quotient of at least
/// 2^24 (2^53) is an integer as it is, and the remainder of a rounded quotient is a number; a smaller one is truncated, and the remainder
/// is a multiple of the last place of b.
static Value takeMultiple(const Emitter &emit, Value a, Value b, bool mayOverflow) {
  Type type = a.getType();
  Value quotient = emit.divF(a, b), inf = emit.constFloat(type, HUGE_VAL);
  double far = ofFormat(a, 0x1p100, 0x1p1000); // quotients are below 2^277 (2^2098), and multiples of 2^100 (2^1000) b are multiples of b
  for (int i = 0; i < (mayOverflow ? 2 : 0); ++i) {
    b = emit.select(emit.cmp(CmpF::OEQ, absolute(emit, quotient), inf), emit.mulF(b, emit.constFloat(type, far)), b);
    quotient = emit.divF(a, b);
  }
  return emit.fma(emit.negF(truncated(emit, quotient)), b, a);
}

Value emitFmod(const Emitter &emit, Value x, Value y) {
  Type type = x.getType();
  Value a = absolute(emit, x), b = absolute(emit, y), zero = emit.constFloat(type, 0.0);
  auto isUnfinished = [&](Value remainder) { return emit.cmp(CmpF::OGE, absolute(emit, remainder), b); };
  Value first = takeMultiple(emit, a, b, /*mayOverflow=*/false);
  // A quotient from 2^24 on takes more than one step. x / 0 and inf / y are NaN already.
  Value isRegular = emit.bitAnd(emit.cmp(CmpF::OLT, a, emit.constFloat(type, HUGE_VAL)), emit.cmp(CmpF::OGT, b, zero));
  Value goesOn = emit.bitAnd(isRegular, isUnfinished(first));
  Value remainder = emit.ifElse(
      SmallVector<Type>{type}, emit.any(goesOn),
      [&]() -> Emitter::Values {
        // From the start again: a quotient beyond all numbers left infinity behind.
        return emit.loopWhile(
            {emit.select(goesOn, a, first)}, [&](ValueRange left) { return emit.any(emit.bitAnd(goesOn, isUnfinished(left[0]))); },
            [&](ValueRange left) -> Emitter::Values {
              Value next = takeMultiple(emit, left[0], b, /*mayOverflow=*/true);
              return {emit.select(emit.bitAnd(goesOn, isUnfinished(left[0])), next, left[0])};
            });
      },
      [&]() -> Emitter::Values { return {first}; })[0];
  // Rounded up, a quotient leaves a negative remainder.
  remainder = emit.select(emit.cmp(CmpF::OLT, remainder, zero), emit.addF(remainder, b), remainder);
  remainder = emit.select(emit.cmp(CmpF::OLT, a, b), a, remainder); // b may be infinite
  return withSignOf(emit, remainder, x);
}

} // namespace attnjit::tile
