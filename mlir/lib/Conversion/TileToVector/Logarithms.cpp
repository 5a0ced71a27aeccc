// Logarithms, and what is a logarithm of something else: the inverse hyperbolic functions.
#include "MathCoefficients.h"
#include "MathRecipes.h"

#include <tuple>

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

constexpr int64_t kBitsOfSqrtHalf = 0x3f3504f3;
// ln2 in two parts; an exponent times the first, of few bits, is exact.
constexpr double kLn2High = 0x1.63p-1, kLn2Low = M_LN2 - kLn2High;
} // namespace

/// The exponent relative to sqrt(1/2), so that the mantissa lands on either side of 1.
static Value exponentOf(const Emitter &emit, Value bits) { return emit.shrS(emit.sub(bits, kBitsOfSqrtHalf), 23); }

static Value toFloat(const Emitter &emit, Value x) { return emit.make<arith::SIToFPOp>(likeShape(x.getType(), emit.f32()), x); }

/// x > 0, finite.
static Split split(const Emitter &emit, Value x) {
  Type type = x.getType(), intType = likeShape(type, emit.i32());
  Value isSubnormal = emit.cmp(CmpF::OLT, x, emit.constFloat(type, 0x1p-126));
  Value normal = emit.select(isSubnormal, emit.mulF(x, emit.constFloat(type, 0x1p23)), x);
  Value bits = emit.bitcast(emit.i32(), normal), exponent = exponentOf(emit, bits);
  Value m = emit.subF(emit.bitcast(emit.f32(), emit.sub(bits, emit.shl(exponent, 23))), emit.constFloat(type, 1.0));
  exponent = emit.sub(exponent, emit.select(isSubnormal, emit.constInt(intType, 23), emit.constInt(intType, 0)));
  return {m, toFloat(emit, exponent)};
}

/// 1 + x for x > -1, finite: m = 2^-exponent (1 + x) - 1 with one rounding, not of 1 + x.
static Split splitOnePlus(const Emitter &emit, Value x) {
  Type type = x.getType(), intType = likeShape(type, emit.i32());
  // A huge x, beside which 1 counts for nothing, comes down by 2^-2: 2^-exponent has to be a normal number.
  Value isHuge = emit.cmp(CmpF::OGT, x, emit.constFloat(type, 0x1p125));
  x = emit.select(isHuge, emit.mulF(x, emit.constFloat(type, 0.25)), x);
  Value one = emit.constFloat(type, 1.0);
  Value shift = emit.shl(exponentOf(emit, emit.bitcast(emit.i32(), emit.addF(x, one))), 23);
  Value scale = emit.bitcast(emit.f32(), emit.sub(emit.constInt(intType, 0x3f800000), shift));
  Value m = emit.fma(x, scale, emit.subF(scale, one));
  Value exponent = emit.add(emit.shrS(shift, 23), emit.select(isHuge, emit.constInt(intType, 2), emit.constInt(intType, 0)));
  return {m, toFloat(emit, exponent)};
}

static LogOfSplit logOf(const Emitter &emit, const Split &split) {
  Value square = emit.mulF(split.m, split.m);
  Value cubic = emit.mulF(emit.mulF(split.m, square), horner(emit, split.m, kLog1p));
  return {split.m, emit.fma(square, emit.constFloat(split.m.getType(), -0.5), cubic), split.exponent};
}

static Value naturalLog(const Emitter &emit, const LogOfSplit &parts) {
  Type type = parts.m.getType();
  Value low = emit.fma(parts.exponent, emit.constFloat(type, kLn2Low), parts.correction);
  return emit.fma(parts.exponent, emit.constFloat(type, kLn2High), emit.addF(parts.m, low));
}

/// Puts the values at `pole` and below it, at inf and NaN right.
static Value finish(const Emitter &emit, Value x, double pole, Value logarithm) {
  Type type = x.getType();
  Value zero = emit.constFloat(type, pole), inf = emit.constFloat(type, HUGE_VAL);
  Value result = emit.select(emit.cmp(CmpF::OLT, x, inf), logarithm, x);
  result = emit.select(emit.cmp(CmpF::OEQ, x, zero), emit.constFloat(type, -HUGE_VAL), result);
  return emit.select(emit.cmp(CmpF::OLT, x, zero), emit.constFloat(type, std::nan("")), result);
}

Value emitLogSingle(const Emitter &emit, Value x) { return finish(emit, x, 0.0, naturalLog(emit, logOf(emit, split(emit, x)))); }

Value emitLog2Single(const Emitter &emit, Value x) {
  LogOfSplit parts = logOf(emit, split(emit, x));
  // log2(e) = 1 + 0.4427: the products with the fractional part are small and round harmlessly.
  Value excess = emit.constFloat(x.getType(), M_LOG2E - 1.0);
  Value log2 = emit.addF(emit.fma(parts.m, excess, emit.fma(parts.correction, excess, parts.correction)), parts.m);
  return finish(emit, x, 0.0, emit.addF(log2, parts.exponent));
}

Value emitLog10(const Emitter &emit, Value x) {
  Type type = x.getType();
  LogOfSplit parts = logOf(emit, split(emit, x));
  constexpr double kLog10Of2 = M_LN2 / M_LN10, kHigh = 0x1.34p-2;
  Value scale = emit.constFloat(type, M_LOG10E);
  Value low = emit.fma(parts.exponent, emit.constFloat(type, kLog10Of2 - kHigh), emit.mulF(parts.correction, scale));
  Value result = emit.fma(parts.exponent, emit.constFloat(type, kHigh), emit.fma(parts.m, scale, low));
  return finish(emit, x, 0.0, result);
}

Value emitLog1p(const Emitter &emit, Value x) {
  Value result = naturalLog(emit, logOf(emit, splitOnePlus(emit, x)));
  return finish(emit, x, -1.0, withSignOf(emit, result, x)); // -0 stays -0
}

//===------------------------------------------------------------------------------------------------------------------===//
// In two parts
//===------------------------------------------------------------------------------------------------------------------===//

/// log2(1 + m) = (2 / ln2) atanh(s), s = m / (2 + m): s and the first factor in two parts, the rest of the series, at most 1 % of it, in
/// one.
TwoParts emitLog2InTwoParts(const Emitter &emit, Value x) {
  constexpr double kTwoLog2E = 2 * M_LOG2E, kHigh = float(kTwoLog2E), kLow = kTwoLog2E - kHigh;
  Type type = x.getType();
  auto number = [&](double value) { return emit.constFloat(type, value); };
  Split parts = split(emit, x);
  Value m = parts.m, two = number(2.0);
  Value twoPlus = emit.addF(m, two), twoPlusLow = emit.subF(m, emit.subF(twoPlus, two)); // 2 + m exactly
  Value reciprocal = emit.divF(number(1.0), twoPlus), s = emit.mulF(m, reciprocal);
  Value rest = emit.fma(emit.negF(s), twoPlusLow, emit.fma(emit.negF(s), twoPlus, m)); // m - s (2 + m)
  Value sLow = emit.mulF(rest, reciprocal);

  Value high = emit.mulF(s, number(kHigh));
  Value low = emit.fma(s, number(kHigh), emit.negF(high));
  low = emit.fma(s, number(kLow), emit.fma(sLow, number(kHigh), low));
  Value square = emit.mulF(s, s);
  low = emit.fma(emit.mulF(high, square), horner(emit, square, kAtanh), low);

  // Of a sum whose first term is the larger one (or 0) the error is exact.
  auto addTo = [&](Value large, Value small) {
    Value sum = emit.addF(large, small);
    return std::pair(sum, emit.subF(small, emit.subF(sum, large)));
  };
  auto [coarse, error] = addTo(parts.exponent, high);
  Value total;
  std::tie(total, low) = addTo(coarse, emit.addF(error, low));
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
  Value isLarge = emit.cmp(CmpF::OGT, a, emit.constFloat(type, 0x1p60));
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
