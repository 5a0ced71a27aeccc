// Logarithms, and what is a logarithm of something else: the inverse hyperbolic functions.
#include "MathCoefficients.h"
#include "MathRecipes.h"

using namespace mlir;

namespace attnjit::tile {

using CmpI = Emitter::CmpI;
using CmpF = Emitter::CmpF;
using namespace coefficients;

namespace {
/// 2^exponent (1 + m) with 1 + m from sqrt(1/2) to sqrt(2); `exponent` is a float with an integer value.
struct Split {
  Value m, exponent;
};

/// ln(1 + m) = m + correction.
struct LogOfSplit {
  Value m, correction, exponent;
};

} // namespace

/// The exponent relative to sqrt(1/2), so that the mantissa lands on either side of 1.
static Value exponentOf(const Emitter &emit, Value bits) {
  bool isDouble = elementTypeOf(bits.getType()).isInteger(64);
  return emit.shrS(emit.sub(bits, isDouble ? 0x3fe6a09e667f3bcd : 0x3f3504f3), isDouble ? 52 : 23);
}

/// x > 0, finite.
static Split split(const Emitter &emit, Value x) {
  Type type = x.getType();
  Format format = Format::of(emit, type);
  Type intType = likeShape(type, format.integer);
  Value isSubnormal = emit.cmp(CmpF::OLT, x, emit.constFloat(type, std::ldexp(1.0, int(1 - format.bias))));
  Value normal = emit.select(isSubnormal, emit.mulF(x, emit.constFloat(type, std::ldexp(1.0, int(format.mantissa)))), x);
  Value bits = emit.bitcast(format.integer, normal), exponent = exponentOf(emit, bits);
  Value m = emit.subF(emit.bitcast(elementTypeOf(type), emit.sub(bits, emit.shl(exponent, format.mantissa))), emit.constFloat(type, 1.0));
  exponent = emit.sub(exponent, emit.select(isSubnormal, emit.constInt(intType, format.mantissa), emit.constInt(intType, 0)));
  return {m, emit.make<arith::SIToFPOp>(type, exponent)};
}

/// 1 + x for x > -1, finite: m = 2^-exponent (1 + x) - 1 with one rounding, not of 1 + x.
static Split splitOnePlus(const Emitter &emit, Value x) {
  Type type = x.getType();
  Format format = Format::of(emit, type);
  Type intType = likeShape(type, format.integer);
  // A huge x, beside which 1 counts for nothing, comes down by 2^-2: 2^-exponent has to be a normal number.
  Value isHuge = emit.cmp(CmpF::OGT, x, emit.constFloat(type, std::ldexp(1.0, int(format.bias - 2))));
  x = emit.select(isHuge, emit.mulF(x, emit.constFloat(type, 0.25)), x);
  Value one = emit.constFloat(type, 1.0);
  Value shift = emit.shl(exponentOf(emit, emit.bitcast(format.integer, emit.addF(x, one))), format.mantissa);
  Value scale = emit.bitcast(elementTypeOf(type), emit.sub(emit.constInt(intType, format.bias << format.mantissa), shift));
  Value m = emit.fma(x, scale, emit.subF(scale, one));
  Value exponent = emit.add(emit.shrS(shift, format.mantissa), emit.select(isHuge, emit.constInt(intType, 2), emit.constInt(intType, 0)));
  return {m, emit.make<arith::SIToFPOp>(type, exponent)};
}

static LogOfSplit logOf(const Emitter &emit, const Split &split) {
  Value square = emit.mulF(split.m, split.m);
  Value cubic = emit.mulF(emit.mulF(split.m, square), horner(emit, split.m, tableFor(split.m, kLog1p, kLog1pDouble)));
  return {split.m, emit.fma(square, emit.constFloat(split.m.getType(), -0.5), cubic), split.exponent};
}

static Value naturalLog(const Emitter &emit, const LogOfSplit &parts) {
  Type type = parts.m.getType();
  // ln2 in two parts; an exponent times the first, of few bits, is exact.
  double ln2High = ofFormat(parts.m, 0x1.63p-1, 0x1.62e42feep-1), ln2Low = ofFormat(parts.m, M_LN2 - 0x1.63p-1, 0x1.a39ef35793c76p-33);
  Value low = emit.fma(parts.exponent, emit.constFloat(type, ln2Low), parts.correction);
  return emit.fma(parts.exponent, emit.constFloat(type, ln2High), emit.addF(parts.m, low));
}

/// Puts the values at `pole` and below it, at inf and NaN right.
static Value finish(const Emitter &emit, Value x, double pole, Value logarithm) {
  Type type = x.getType();
  Value zero = emit.constFloat(type, pole), inf = emit.constFloat(type, HUGE_VAL);
  Value result = emit.select(emit.cmp(CmpF::OLT, x, inf), logarithm, x);
  result = emit.select(emit.cmp(CmpF::OEQ, x, zero), emit.constFloat(type, -HUGE_VAL), result);
  return emit.select(emit.cmp(CmpF::OLT, x, zero), emit.constFloat(type, std::nan("")), result);
}

Value emitLogInline(const Emitter &emit, Value x) { return finish(emit, x, 0.0, naturalLog(emit, logOf(emit, split(emit, x)))); }

Value emitLog2(const Emitter &emit, Value x) {
  LogOfSplit parts = logOf(emit, split(emit, x));
  // log2(e) = 1 + 0.4427: the products with the fractional part are small and round harmlessly.
  Value excess = emit.constFloat(x.getType(), 0x1.c551d94ae0bf8p-2);
  Value log2 = emit.addF(emit.fma(parts.m, excess, emit.fma(parts.correction, excess, parts.correction)), parts.m);
  return finish(emit, x, 0.0, emit.addF(log2, parts.exponent));
}

Value emitLog10(const Emitter &emit, Value x) {
  Type type = x.getType();
  LogOfSplit parts = logOf(emit, split(emit, x));
  // log10(2) in two parts, of which the first has few bits.
  double high = ofFormat(x, 0x1.34p-2, 0x1.34413509p-2), lowPart = ofFormat(x, 0x1.04d427de7fbccp-12, 0x1.ef3fde623e256p-35);
  Value scale = emit.constFloat(type, M_LOG10E);
  Value low = emit.fma(parts.exponent, emit.constFloat(type, lowPart), emit.mulF(parts.correction, scale));
  Value result = emit.fma(parts.exponent, emit.constFloat(type, high), emit.fma(parts.m, scale, low));
  return finish(emit, x, 0.0, result);
}

Value emitLog1p(const Emitter &emit, Value x) {
  Value result = naturalLog(emit, logOf(emit, splitOnePlus(emit, x)));
  return finish(emit, x, -1.0, withSignOf(emit, result, x)); // -0 stays -0
}

//===------------------------------------------------------------------------------------------------------------------===//
// In two parts
//===------------------------------------------------------------------------------------------------------------------===//

/// A sum whose first term is the larger one (or 0), and its error, which is exact.
static TwoParts addTo(const Emitter &emit, Value large, Value small) {
  Value sum = emit.addF(large, small);
  return {sum, emit.subF(small, emit.subF(sum, large))};
}

/// x (1 + s^2/3 + s^4/5 ...) of x and s in two parts, all but the last terms in two parts too: f64 has exponents that make much of an
/// error.
static TwoParts timesAtanhSeries(const Emitter &emit, const TwoParts &x, const TwoParts &s) {
  Type type = s.high.getType();
  ArrayRef<double> series = kAtanhDouble;
  Value third = emit.constFloat(type, series.front()), thirdLow = emit.constFloat(type, 0x1.5555555555555p-56);
  Value square = emit.mulF(s.high, s.high);
  Value squareLow = emit.fma(emit.addF(s.high, s.high), s.low, emit.fma(s.high, s.high, emit.negF(square)));
  Value a = emit.mulF(square, third), low = emit.fma(square, third, emit.negF(a));
  low = emit.fma(square, thirdLow, emit.fma(squareLow, third, low));
  low = emit.fma(emit.mulF(square, square), horner(emit, square, series.drop_front()), low);
  Value b = emit.mulF(x.high, a), rest = emit.fma(x.high, a, emit.negF(b));
  rest = emit.fma(x.high, low, emit.fma(x.low, a, rest));
  TwoParts sum = addTo(emit, x.high, b);
  return {sum.high, emit.addF(emit.addF(sum.low, rest), x.low)};
}

/// log2(1 + m) = (2 / ln2) atanh(s), s = m / (2 + m): s and the first factor in two parts, in f32 the rest of the series, at most 1 % of
/// it, in one.
TwoParts emitLog2InTwoParts(const Emitter &emit, Value x) {
  double factor = ofFormat(x, double(float(2 * M_LOG2E)), 2 * M_LOG2E),
         factorLow = ofFormat(x, 2 * M_LOG2E - float(2 * M_LOG2E), 0x1.777d0ffda0d24p-55);
  Type type = x.getType();
  auto number = [&](double value) { return emit.constFloat(type, value); };
  Split parts = split(emit, x);
  Value m = parts.m, two = number(2.0);
  Value twoPlus = emit.addF(m, two), twoPlusLow = emit.subF(m, emit.subF(twoPlus, two)); // 2 + m exactly
  Value reciprocal = emit.divF(number(1.0), twoPlus), s = emit.mulF(m, reciprocal);
  Value rest = emit.fma(emit.negF(s), twoPlusLow, emit.fma(emit.negF(s), twoPlus, m)); // m - s (2 + m)
  Value sLow = emit.mulF(rest, reciprocal);

  Value high = emit.mulF(s, number(factor));
  Value low = emit.fma(s, number(factor), emit.negF(high));
  low = emit.fma(s, number(factorLow), emit.fma(sLow, number(factor), low));
  if (elementTypeOf(type).isF64()) {
    TwoParts product = timesAtanhSeries(emit, {high, low}, {s, sLow});
    high = product.high, low = product.low;
  } else {
    Value square = emit.mulF(s, s);
    low = emit.fma(emit.mulF(high, square), horner(emit, square, kAtanh), low);
  }

  TwoParts coarse = addTo(emit, parts.exponent, high), sum = addTo(emit, coarse.high, emit.addF(coarse.low, low));
  Value total = sum.high;
  low = sum.low;
  Value zero = number(0.0), inf = number(HUGE_VAL);
  Value isPole = emit.cmp(CmpF::OEQ, x, zero), isLarge = emit.cmp(CmpF::OEQ, x, inf);
  low = emit.select(emit.bitOr(isPole, isLarge), zero, low);
  total = emit.select(isPole, emit.constFloat(type, -HUGE_VAL), emit.select(isLarge, inf, total));
  return {emit.select(emit.cmp(CmpF::UNO, x, x), x, total), low};
}

//===------------------------------------------------------------------------------------------------------------------===//
// Inverse hyperbolic functions
//===------------------------------------------------------------------------------------------------------------------===//

/// ln(1 + t), or ln(2 a) where the square of a would overflow.
static Value logOfSum(const Emitter &emit, Value a, Value t) {
  Type type = a.getType();
  Value isLarge = emit.cmp(CmpF::OGT, a, emit.constFloat(type, ofFormat(a, 0x1p60, 0x1p500)));
  Split parts = splitOnePlus(emit, emit.select(isLarge, a, t));
  parts.exponent = emit.addF(parts.exponent, emit.select(isLarge, emit.constFloat(type, 1.0), emit.constFloat(type, 0.0)));
  Value inf = emit.constFloat(type, HUGE_VAL);
  return emit.select(emit.cmp(CmpF::OLT, a, inf), naturalLog(emit, logOf(emit, parts)), a); // inf and NaN stay
}

/// ln(1 + a + (sqrt(1 + a^2) - 1)), without the cancellation.
Value emitAsinh(const Emitter &emit, Value x) {
  Value one = emit.constFloat(x.getType(), 1.0);
  Value a = absolute(emit, x), square = emit.mulF(a, a);
  Value t = emit.addF(a, emit.divF(square, emit.addF(one, squareRoot(emit, emit.addF(square, one)))));
  return withSignOf(emit, logOfSum(emit, a, t), x);
}

/// ln(1 + u + sqrt(u (u + 2))) with u = x - 1.
Value emitAcosh(const Emitter &emit, Value x) {
  Value one = emit.constFloat(x.getType(), 1.0);
  Value u = emit.subF(x, one), t = emit.addF(u, squareRoot(emit, emit.fma(u, u, emit.addF(u, u))));
  Value result = logOfSum(emit, x, t);
  return emit.select(emit.cmp(CmpF::OLT, x, one), emit.constFloat(x.getType(), std::nan("")), result);
}

/// ln(1 + 2 a / (1 - a)) / 2.
Value emitAtanh(const Emitter &emit, Value x) {
  Type type = x.getType();
  Value a = absolute(emit, x);
  Value t = emit.divF(emit.addF(a, a), emit.subF(emit.constFloat(type, 1.0), a));
  Value log = finish(emit, t, -1.0, naturalLog(emit, logOf(emit, splitOnePlus(emit, t)))); // a > 1 gives t < -2
  return withSignOf(emit, emit.mulF(log, emit.constFloat(type, 0.5)), x);
}

} // namespace attnjit::tile
