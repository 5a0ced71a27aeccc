// Circular functions and their inverses.
#include "MathCoefficients.h"
#include "MathRecipes.h"

#include <numbers>

using namespace mlir;

namespace attnjit::tile {

using CmpI = Emitter::CmpI;
using CmpF = Emitter::CmpF;
using namespace coefficients;

namespace {
/// x = quadrant * pi/2 + r with |r| <= pi/4 (a hair more), r good to about an ulp; of `quadrant`, an integer as wide as x, only the low two
/// bits mean anything.
struct Angle {
  Value r, quadrant;
};

/// Up to here three products make r good; beyond, see reduceHuge.
constexpr double kLargestSimpleAngle = 0x1p17, kLargestSimpleDouble = 0x1p30;

// pi/2 as sums of floats, all positive: their products with 0 then leave -0 what it is.
constexpr double kHalfPi[] = {0x1.921fb4p+0, 0x1.4442d0p-24, 0x1.846988p-48};
constexpr double kHalfPiDouble[] = {0x1.921fb54442d18p+0, 0x1.1a62633145c06p-54, 0x1.c1cd129024e08p-107};
} // namespace

//===------------------------------------------------------------------------------------------------------------------===//
// Reduction of the argument
//===------------------------------------------------------------------------------------------------------------------===//

static ArrayRef<double> halfPi(Value x) { return tableFor(x, kHalfPi, kHalfPiDouble); }

/// Cody and Waite: n products with parts of pi/2, the first of which is exact: x - n pi/2 is a multiple of an ulp of pi/2, or x small.
static Angle reduceSimple(const Emitter &emit, Value x) {
  Type type = x.getType();
  Format format = Format::of(emit, type);
  Value rounder = emit.constFloat(type, format.rounder);
  Value rounded = emit.fma(x, emit.constFloat(type, std::numbers::inv_pi * 2), rounder), n = emit.subF(rounded, rounder);
  Value r = x;
  for (double part : halfPi(x))
    r = emit.fma(n, emit.constFloat(type, -part), r);
  return {r, emit.bitcast(format.integer, rounded)};
}

/// Payne and Hanek ("Radian reduction for trigonometric functions", 1983), for |x| from 2^17 on: of x * 2/pi only the bits from 2^1 down to
/// 2^-62 matter, which 96 bits of 2/pi make, chosen by the exponent of x. All arithmetic is modulo 2^64 in units of 2^-62 quadrants.
static Angle reduceHuge(const Emitter &emit, Value x) {
  Type type = x.getType(), intType = likeShape(type, emit.i32()), longType = likeShape(type, emit.i64());
  auto number = [&](int64_t value) { return emit.constInt(intType, value); };
  auto widen = [&](Value value) -> Value { return emit.make<arith::ExtUIOp>(longType, value); };
  Value bits = emit.bitcast(emit.i32(), x);
  Value significand = emit.bitOr(emit.bitAnd(bits, number(0x7fffff)), number(0x800000));
  // x = significand 2^(exponent - 150). Bit i of 2/pi (from 1) then weighs 2^(exponent - 88 - i) units: the window starts at i = exponent -
  // 151, at bit exponent - 128 (from 0) of the table, which begins with 24 zeros.
  Value start = emit.sub(emit.bitAnd(emit.shrS(bits, 23), number(0xff)), 128), shift = emit.bitAnd(start, number(31));
  Value bySecond = emit.cmp(CmpI::ne, emit.bitAnd(start, number(64)), number(0)),
        byFirst = emit.cmp(CmpI::ne, emit.bitAnd(start, number(32)), number(0));
  Value words[5];
  for (int i = 0; i < 5; ++i)
    words[i] = emit.select(bySecond, number(int32_t(kTwoOverPi[i + 2])), number(int32_t(kTwoOverPi[i])));
  for (int i = 0; i < 4; ++i)
    words[i] = emit.select(byFirst, words[i + 1], words[i]);
  Value product, wide = widen(significand);
  for (int i = 0; i < 3; ++i) {
    Value term = emit.mul(wide, widen(emit.make<LLVM::FshlOp>(intType, words[i], words[i + 1], shift)));
    if (i == 0)
      product = emit.shl(term, 32);
    else
      product = emit.add(product, i == 1 ? term : emit.shrU(term, 32));
  }
  // The nearest quadrant, and what is left, signed.
  Value nearest = emit.add(product, emit.constInt(longType, int64_t(1) << 61));
  Value quadrant = emit.toInt(emit.i32(), emit.shrU(nearest, 62));
  Value left = emit.sub(emit.bitAnd(nearest, emit.constInt(longType, (int64_t(1) << 62) - 1)), int64_t(1) << 61);
  // To f64 by 32-bit halves: few machines convert vectors of i64.
  Type doubleType = likeShape(type, emit.f64());
  auto toDouble = [&](Value half) -> Value { return emit.make<arith::SIToFPOp>(doubleType, half); };
  Value high = toDouble(emit.toInt(emit.i32(), emit.shrS(left, 32))), low = toDouble(emit.shrU(emit.toInt(emit.i32(), left), 1));
  Value angle =
      emit.fma(high, emit.constFloat(doubleType, 0x1p-30 * M_PI_2), emit.mulF(low, emit.constFloat(doubleType, 0x1p-61 * M_PI_2)));
  Value r = emit.make<arith::TruncFOp>(type, angle);

  Value isNegative = emit.cmp(CmpI::slt, bits, number(0));
  return {emit.select(isNegative, emit.negF(r), r), emit.select(isNegative, emit.sub(number(0), quadrant), quadrant)};
}

/// The same of an f64, from 2^30 on: 192 bits of 2/pi, and arithmetic modulo 2^128 in units of 2^-126 quadrants.
static Angle reduceHugeDouble(const Emitter &emit, Value x) {
  Type intType = emit.i64(), longType = emit.builder.getIntegerType(128);
  auto number = [&](int64_t value) { return emit.constInt(intType, value); };
  auto widen = [&](Value value) -> Value { return emit.make<arith::ExtUIOp>(longType, value); };
  auto narrow = [&](Value value) -> Value { return emit.make<arith::TruncIOp>(intType, value); };
  Value bits = emit.bitcast(intType, x);
  Value significand = emit.bitOr(emit.bitAnd(bits, number((int64_t(1) << 52) - 1)), number(int64_t(1) << 52));
  // x = significand 2^(exponent - 1075): as above, the window starts at bit exponent - 1053 of the table.
  Value start = emit.sub(emit.bitAnd(emit.shrS(bits, 52), number(0x7ff)), 1053), shift = emit.bitAnd(start, number(63));
  SmallVector<Value> words;
  for (size_t i = 0; i + 1 < std::size(kTwoOverPi); i += 2)
    words.push_back(number(int64_t(uint64_t(kTwoOverPi[i]) << 32 | kTwoOverPi[i + 1])));
  for (size_t distance : {8, 4, 2, 1}) {
    Value moves = emit.cmp(CmpI::ne, emit.bitAnd(start, number(64 * int64_t(distance))), number(0));
    SmallVector<Value> chosen;
    for (size_t i = 0; i < 3 + distance; ++i) // 4 words are wanted in the end
      chosen.push_back(emit.select(moves, words[i + distance], words[i]));
    words = chosen;
  }
  Value wide = widen(significand);
  auto term = [&](int i) { return emit.mul(wide, widen(emit.make<LLVM::FshlOp>(intType, words[i], words[i + 1], shift))); };
  Value product = emit.add(emit.add(emit.shl(term(0), 64), term(1)), emit.shrU(term(2), 64));
  auto power = [&](unsigned exponent) { return emit.constant(longType, APInt::getOneBitSet(128, exponent)); };
  Value nearest = emit.add(product, power(125));
  Value quadrant = narrow(emit.shrU(nearest, 126));
  Value left = emit.sub(emit.bitAnd(nearest, emit.constant(longType, APInt::getLowBitsSet(128, 126))), power(125));
  Value high = emit.make<arith::SIToFPOp>(x.getType(), narrow(emit.shrS(left, 64))),
        low = emit.make<arith::UIToFPOp>(x.getType(), narrow(left));
  Value r = emit.fma(high, emit.constFloat(x.getType(), 0x1p-62 * M_PI_2), emit.mulF(low, emit.constFloat(x.getType(), 0x1p-126 * M_PI_2)));
  Value isNegative = emit.cmp(CmpI::slt, bits, number(0));
  return {emit.select(isNegative, emit.negF(r), r), emit.select(isNegative, emit.sub(number(0), quadrant), quadrant)};
}

/// reduceHuge lane by lane: rare, and half the code of vectors of i64.
static Angle reduceHugeLanes(const Emitter &emit, Value x) {
  auto reduceLane = elementTypeOf(x.getType()).isF64() ? reduceHugeDouble : reduceHuge;
  auto vector = dyn_cast<VectorType>(x.getType());
  if (!vector)
    return reduceLane(emit, x);
  Type intType = likeShape(vector, Format::of(emit, vector).integer);
  Emitter::Values start = {emit.constFloat(vector, 0.0), emit.constInt(intType, 0)};
  Emitter::Values angle = emit.loop(emit.index(0), emit.index(vector.getNumElements()), emit.index(1), start,
                                    [&](Value lane, ValueRange carried) -> Emitter::Values {
                                      Angle huge = reduceLane(emit, emit.make<LLVM::ExtractElementOp>(x, lane));
                                      return {emit.make<LLVM::InsertElementOp>(carried[0], huge.r, lane),
                                              emit.make<LLVM::InsertElementOp>(carried[1], huge.quadrant, lane)};
                                    });
  return {angle[0], angle[1]};
}

static Angle reduce(const Emitter &emit, Value x) {
  Type type = x.getType();
  Angle simple = reduceSimple(emit, x); // infinities and NaN give NaN
  Value size = absolute(emit, x);
  Value isHuge = emit.bitAnd(emit.cmp(CmpF::OGT, size, emit.constFloat(type, ofFormat(x, kLargestSimpleAngle, kLargestSimpleDouble))),
                             emit.cmp(CmpF::OLT, size, emit.constFloat(type, HUGE_VAL)));
  auto keepSimple = [&]() -> Emitter::Values { return {simple.r, simple.quadrant}; };
  auto takeHuge = [&]() -> Emitter::Values {
    Angle huge = reduceHugeLanes(emit, x);
    return {emit.select(isHuge, huge.r, simple.r), emit.select(isHuge, huge.quadrant, simple.quadrant)};
  };
  Emitter::Values chosen = emit.ifElse(SmallVector<Type>{type, simple.quadrant.getType()}, emit.any(isHuge), takeHuge, keepSimple);
  return {chosen[0], chosen[1]};
}

//===------------------------------------------------------------------------------------------------------------------===//
// Circular functions
//===------------------------------------------------------------------------------------------------------------------===//

/// sin(r), as a product, so that -0 stays -0.
static Value sineNearZero(const Emitter &emit, Value r) {
  Value square = emit.mulF(r, r), one = emit.constFloat(r.getType(), 1.0);
  return emit.mulF(r, emit.fma(square, horner(emit, square, tableFor(r, kSin, kSinDouble)), one));
}

static Value cosineNearZero(const Emitter &emit, Value r) {
  Type type = r.getType();
  Value square = emit.mulF(r, r);
  Value tail = emit.fma(square, horner(emit, square, tableFor(r, kCos, kCosDouble)), emit.constFloat(type, -0.5));
  return emit.fma(square, tail, emit.constFloat(type, 1.0));
}

static Value isOdd(const Emitter &emit, Value quadrant) {
  Type type = quadrant.getType();
  return emit.cmp(CmpI::ne, emit.bitAnd(quadrant, emit.constInt(type, 1)), emit.constInt(type, 0));
}

/// x, negated where bit 1 of `quadrant` is set.
static Value negatedInLowerHalf(const Emitter &emit, Value x, Value quadrant) {
  Type integer = elementTypeOf(quadrant.getType());
  Value sign = emit.shl(emit.bitAnd(quadrant, emit.constInt(quadrant.getType(), 2)), integer.getIntOrFloatBitWidth() - 2);
  return emit.bitcast(elementTypeOf(x.getType()), emit.bitXor(emit.bitcast(integer, x), sign));
}

static Value sineOf(const Emitter &emit, const Angle &angle) {
  Value value = emit.select(isOdd(emit, angle.quadrant), cosineNearZero(emit, angle.r), sineNearZero(emit, angle.r));
  return negatedInLowerHalf(emit, value, angle.quadrant);
}

Value emitSin(const Emitter &emit, Value x) { return sineOf(emit, reduce(emit, x)); }

Value emitCos(const Emitter &emit, Value x) {
  Angle angle = reduce(emit, x);
  angle.quadrant = emit.add(angle.quadrant, 1); // cos(x) = sin(x + pi/2)
  return sineOf(emit, angle);
}

Value emitTan(const Emitter &emit, Value x) {
  Angle angle = reduce(emit, x);
  Value sine = sineNearZero(emit, angle.r), cosine = cosineNearZero(emit, angle.r);
  Value odd = isOdd(emit, angle.quadrant); // there tan(x) = -cos(r) / sin(r)
  return emit.divF(emit.select(odd, cosine, sine), emit.select(odd, emit.negF(sine), cosine));
}

//===------------------------------------------------------------------------------------------------------------------===//
// Their inverses
//===------------------------------------------------------------------------------------------------------------------===//

namespace {
/// asin(a), or where a > 1/2 half of acos(a) = 2 asin(sqrt((1 - a) / 2)), for a = |x|.
struct Arcsine {
  Value isFar, value;
};
} // namespace

static Arcsine arcsineOf(const Emitter &emit, Value a) {
  Type type = a.getType();
  Value half = emit.constFloat(type, 0.5);
  Value isFar = emit.cmp(CmpF::OGT, a, half);
  Value square = emit.select(isFar, emit.fma(a, emit.constFloat(type, -0.5), half), emit.mulF(a, a));
  Value root = emit.select(isFar, squareRoot(emit, square), a); // NaN for a > 1
  return {isFar, emit.fma(emit.mulF(root, square), horner(emit, square, tableFor(a, kAsin, kAsinDouble)), root)};
}

Value emitAsin(const Emitter &emit, Value x) {
  Type type = x.getType();
  Arcsine arcsine = arcsineOf(emit, absolute(emit, x));
  Value far = emit.fma(arcsine.value, emit.constFloat(type, -2.0), emit.constFloat(type, halfPi(x)[1]));
  far = emit.addF(far, emit.constFloat(type, halfPi(x)[0]));
  return withSignOf(emit, emit.select(arcsine.isFar, far, arcsine.value), x);
}

Value emitAcos(const Emitter &emit, Value x) {
  Type type = x.getType();
  auto number = [&](double value) { return emit.constFloat(type, value); };
  Arcsine arcsine = arcsineOf(emit, absolute(emit, x));
  // Near 0: pi/2 - asin(x). Else 2 value, or pi - 2 value for a negative x.
  Value isNegative = emit.cmp(CmpF::OLT, x, number(0.0));
  Value twice = emit.addF(arcsine.value, arcsine.value);
  Value term = emit.select(arcsine.isFar, withSignOf(emit, twice, x), withSignOf(emit, arcsine.value, emit.negF(x)));
  double high = halfPi(x)[0], low = halfPi(x)[1];
  Value far0 = emit.select(isNegative, number(2 * high), number(0.0)), far1 = emit.select(isNegative, number(2 * low), number(0.0));
  Value base0 = emit.select(arcsine.isFar, far0, number(high)), base1 = emit.select(arcsine.isFar, far1, number(low));
  return emit.addF(base0, emit.addF(base1, term));
}

/// atan(t) for t from 0 to 1.
static Value arctangentUpToOne(const Emitter &emit, Value t) {
  Value square = emit.mulF(t, t);
  return emit.fma(emit.mulF(t, square), horner(emit, square, tableFor(t, kAtan, kAtanDouble)), t);
}

/// quadrants * pi/2 - x.
static Value subtractFrom(const Emitter &emit, double quadrants, Value x) {
  auto part = [&](int i) { return emit.constFloat(x.getType(), quadrants * halfPi(x)[i]); };
  return emit.addF(part(0), emit.subF(part(1), x));
}

Value emitAtan(const Emitter &emit, Value x) {
  Type type = x.getType();
  Value a = absolute(emit, x), one = emit.constFloat(type, 1.0);
  Value isSteep = emit.cmp(CmpF::OGT, a, one);
  Value angle = arctangentUpToOne(emit, emit.divF(emit.select(isSteep, one, a), emit.select(isSteep, a, one)));
  angle = emit.select(isSteep, subtractFrom(emit, 1, angle), angle);
  return withSignOf(emit, angle, x);
}

Value emitAtan2(const Emitter &emit, Value y, Value x) {
  Type type = x.getType();
  Value ax = absolute(emit, x), ay = absolute(emit, y), zero = emit.constFloat(type, 0.0);
  Value isSteep = emit.cmp(CmpF::OGT, ay, ax);
  Value smaller = emit.select(isSteep, ax, ay), larger = emit.select(isSteep, ay, ax); // a NaN is in one of them
  Value quotient = emit.divF(smaller, larger);
  // 0 / 0 counts as 0, inf / inf as 1.
  Value isDiagonal = emit.cmp(CmpF::OEQ, smaller, larger), isZero = emit.cmp(CmpF::OEQ, larger, zero);
  quotient = emit.select(isDiagonal, emit.select(isZero, zero, emit.constFloat(type, 1.0)), quotient);
  Value angle = arctangentUpToOne(emit, quotient);
  angle = emit.select(isSteep, subtractFrom(emit, 1, angle), angle);
  Value isLeft = hasSign(emit, x); // of -0 too
  angle = emit.select(isLeft, subtractFrom(emit, 2, angle), angle);
  return withSignOf(emit, angle, y);
}

} // namespace attnjit::tile
