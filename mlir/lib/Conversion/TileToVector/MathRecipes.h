// Inline recipes for transcendental functions, by family: expansions into a few dozen arith ops, on scalars or vectors of any length, for
// the CPU and the GPU alike. Private to this room; the door is VectorMath.h.
//
// All are of f32 and f64, in f32 at most 4 ulp over the whole range, in f64 at most 6 (docs/functions.md has the measured figures,
// VectorMathTest holds them). They keep NaN, give the limits at infinities and the sign of zero, take subnormal numbers as they are, and
// need no table in memory. Coefficients: tools/minimax.py. What differs with the format is Format's, or a pair of numbers at the place.
#pragma once

#include "Emitter.h"

#include <cmath>

namespace attnjit::tile {

// Exponentials.cpp
mlir::Value emitExpm1(const Emitter &emit, mlir::Value x);
mlir::Value emitSinh(const Emitter &emit, mlir::Value x);
mlir::Value emitCosh(const Emitter &emit, mlir::Value x);
mlir::Value emitTanh(const Emitter &emit, mlir::Value x);
/// 2 p q and q^2 + p^2 with tanh(x / 2) = p / q, for |x| up to kTanhLimit: 10 additions and multiplications, no exponential; the quotient
/// is tanh(x).
std::pair<mlir::Value, mlir::Value> tanhFraction(const Emitter &emit, mlir::Value x);
inline constexpr double kTanhLimit = 9.3;
/// 2^(x + low) and factor * e^(x + low) for a tiny `low`: exponentials of a product in two parts.
mlir::Value emitExp2InTwoParts(const Emitter &emit, mlir::Value x, mlir::Value low);
mlir::Value emitScaledExp(const Emitter &emit, mlir::Value factor, mlir::Value x, mlir::Value low);

// Logarithms.cpp
mlir::Value emitLogInline(const Emitter &emit, mlir::Value x);
mlir::Value emitLog2(const Emitter &emit, mlir::Value x);
mlir::Value emitLog10(const Emitter &emit, mlir::Value x);
mlir::Value emitLog1p(const Emitter &emit, mlir::Value x);
mlir::Value emitAsinh(const Emitter &emit, mlir::Value x);
mlir::Value emitAcosh(const Emitter &emit, mlir::Value x);
mlir::Value emitAtanh(const Emitter &emit, mlir::Value x);
/// log2 of x > 0 (0 and infinity too) as high + low, good to 2^-32 (f64: 2^-62): enough to be multiplied by the exponent of a power.
struct TwoParts {
  mlir::Value high, low;
};
TwoParts emitLog2InTwoParts(const Emitter &emit, mlir::Value x);

// Trigonometry.cpp
mlir::Value emitSin(const Emitter &emit, mlir::Value x);
mlir::Value emitCos(const Emitter &emit, mlir::Value x);
mlir::Value emitTan(const Emitter &emit, mlir::Value x);
mlir::Value emitAsin(const Emitter &emit, mlir::Value x);
mlir::Value emitAcos(const Emitter &emit, mlir::Value x);
mlir::Value emitAtan(const Emitter &emit, mlir::Value x);
mlir::Value emitAtan2(const Emitter &emit, mlir::Value y, mlir::Value x);

// Powers.cpp
mlir::Value emitErf(const Emitter &emit, mlir::Value x);
mlir::Value emitErfc(const Emitter &emit, mlir::Value x);
mlir::Value emitPow(const Emitter &emit, mlir::Value x, mlir::Value y);
mlir::Value emitHypot(const Emitter &emit, mlir::Value x, mlir::Value y);
/// C's fmod, exact: x - n y with n toward zero and the sign of x.
mlir::Value emitFmod(const Emitter &emit, mlir::Value x, mlir::Value y);

// FormulaOps.cpp
/// a^b for integers, wrapping; a negative exponent gives 0 unless a is 1 or -1.
mlir::Value emitIntPow(const Emitter &emit, mlir::Value a, mlir::Value b);

//===------------------------------------------------------------------------------------------------------------------===//
// Parts that the families share
//===------------------------------------------------------------------------------------------------------------------===//

/// Facts about an IEEE format.
struct Format {
  mlir::Type integer; ///< of the same width
  int64_t mantissa;   ///< stored bits
  int64_t bias;
  double rounder; ///< 1.5 * 2^mantissa: adding it rounds to an integer, which then stands in the low bits
  /// Of a scalar or vector type.
  static Format of(const Emitter &emit, mlir::Type type) {
    if (elementTypeOf(type).isF64())
      return {emit.i64(), 52, 1023, 0x1.8p52};
    return {emit.i32(), 23, 127, 0x1.8p23};
  }
};

/// What f32 and f64 have of their own, by the type of x.
template <typename T> T ofFormat(mlir::Value x, T single, T twice) { return elementTypeOf(x.getType()).isF64() ? twice : single; }
inline llvm::ArrayRef<double> tableFor(mlir::Value x, llvm::ArrayRef<double> single, llvm::ArrayRef<double> twice) {
  return ofFormat(x, single, twice);
}
/// i1: the sign bit is set, of -0 and NaN too.
inline mlir::Value hasSign(const Emitter &emit, mlir::Value x) {
  mlir::Value bits = emit.bitcast(Format::of(emit, x.getType()).integer, x);
  return emit.cmp(Emitter::CmpI::slt, bits, emit.constInt(bits.getType(), 0));
}

/// c[0] + c[1] x + c[2] x^2 ...
inline mlir::Value horner(const Emitter &emit, mlir::Value x, llvm::ArrayRef<double> coefficients) {
  mlir::Type type = x.getType();
  mlir::Value sum = emit.constFloat(type, coefficients.back());
  for (double coefficient : llvm::reverse(coefficients.drop_back()))
    sum = emit.fma(sum, x, emit.constFloat(type, coefficient));
  return sum;
}

inline mlir::Value absolute(const Emitter &emit, mlir::Value x) {
  return emit.make<mlir::LLVM::FAbsOp>(x.getType(), x, mlir::LLVM::FastmathFlagsAttr());
}
inline mlir::Value squareRoot(const Emitter &emit, mlir::Value x) {
  return emit.make<mlir::LLVM::SqrtOp>(x.getType(), x, mlir::LLVM::FastmathFlagsAttr());
}
inline mlir::Value truncated(const Emitter &emit, mlir::Value x) {
  return emit.make<mlir::LLVM::FTruncOp>(x.getType(), x, mlir::LLVM::FastmathFlagsAttr());
}
inline mlir::Value withSignOf(const Emitter &emit, mlir::Value magnitude, mlir::Value sign) {
  return emit.make<mlir::LLVM::CopySignOp>(magnitude.getType(), magnitude, sign, mlir::LLVM::FastmathFlagsAttr());
}

/// x, but at least `low` or at most `high`; NaN stays. One instruction each.
inline mlir::Value atLeast(const Emitter &emit, mlir::Value x, double low) {
  mlir::Value bound = emit.constFloat(x.getType(), low);
  return emit.select(emit.cmp(Emitter::CmpF::OGT, bound, x), bound, x);
}
inline mlir::Value atMost(const Emitter &emit, mlir::Value x, double high) {
  mlir::Value bound = emit.constFloat(x.getType(), high);
  return emit.select(emit.cmp(Emitter::CmpF::OLT, bound, x), bound, x);
}

} // namespace attnjit::tile
