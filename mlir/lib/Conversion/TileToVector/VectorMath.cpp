#include "attnjit-mlir/Conversion/TileToVector/VectorMath.h"

#include "Emitter.h"
#include "FormulaOps.h"
#include "attnjit/KernelAbi.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/TypeSwitch.h"

#include <cmath>

using namespace mlir;

namespace attnjit::tile {

using CmpI = Emitter::CmpI;
using CmpF = Emitter::CmpF;

//===------------------------------------------------------------------------------------------------------------------===//
// Powers of two and e
//===------------------------------------------------------------------------------------------------------------------===//

namespace {

/// Facts about an IEEE format that the recipes share.
struct Format {
  Type integer;        ///< of the same width
  int64_t mantissa;    ///< stored bits
  int64_t bias;
  double rounder;      ///< 1.5 * 2^mantissa: adding it rounds to an integer, which then stands in the low bits
  static Format of(const Emitter &emit, Type element) {
    if (element.isF64())
      return {emit.i64(), 52, 1023, 0x1.8p52};
    return {emit.i32(), 23, 127, 0x1.8p23};
  }
};

} // namespace

/// c[0] + c[1] x + c[2] x^2 ...
static Value horner(const Emitter &emit, Value x, ArrayRef<double> coefficients) {
  Type type = x.getType();
  Value sum = emit.constFloat(type, coefficients.back());
  for (double coefficient : llvm::reverse(coefficients.drop_back()))
    sum = emit.fma(sum, x, emit.constFloat(type, coefficient));
  return sum;
}

/// 2^f on [-1/2, 1/2]. f32: minimax of degree 6 (0.95 ulp); f64: Taylor of degree 13 (remainder 4e-18).
static Value exp2Fraction(const Emitter &emit, Value f) {
  static constexpr double kSingle[] = {1.0000000005541663,    0.69314720573725286,   0.24022646890639809,   0.055503287769979627,
                                       0.0096184889564979118, 0.0013399931209352263, 0.00015345812165464646};
  if (!elementTypeOf(f.getType()).isF64())
    return horner(emit, f, kSingle);
  double coefficients[14] = {1.0};
  for (int k = 1; k < 14; ++k)
    coefficients[k] = coefficients[k - 1] * M_LN2 / k;
  return horner(emit, f, coefficients);
}

/// e^r - 1 on [-ln2 / 2, ln2 / 2], accurate near 0 too.
static Value expm1Fraction(const Emitter &emit, Value r) {
  static constexpr double kSingle[] = {5.0000001201e-1, 1.6666665459e-1, 4.1665795894e-2, 8.3334519073e-3, 1.3981999507e-3, 1.9875691500e-4};
  double coefficients[12];
  ArrayRef<double> tail = kSingle;
  if (elementTypeOf(r.getType()).isF64()) {
    double factorial = 1;
    for (int k = 2; k < 14; ++k)
      coefficients[k - 2] = 1 / (factorial *= k);
    tail = coefficients;
  }
  return emit.fma(emit.mulF(r, r), horner(emit, r, tail), r);
}

/// x with everything below `low`, and NaN, raised to `low`: one maxps.
static Value raiseTo(const Emitter &emit, Value x, Value low) { return emit.select(emit.cmp(CmpF::OGT, x, low), x, low); }
static Value lowerTo(const Emitter &emit, Value x, Value high) { return emit.select(emit.cmp(CmpF::OLT, x, high), x, high); }

/// p * 2^n with n in the low bits of `rounded`, by adding to the exponent of p: exact, also where 2^n alone would overflow.
static Value scaleByExponent(const Emitter &emit, const Format &format, Value p, Value rounded) {
  Value n = emit.shl(emit.bitcast(format.integer, rounded), format.mantissa);
  return emit.bitcast(elementTypeOf(p.getType()), emit.add(emit.bitcast(format.integer, p), n));
}

/// What x below the range, or NaN, gives: 0, or x itself.
static Value zeroOrNan(const Emitter &emit, Value x) {
  Value zero = emit.constFloat(x.getType(), 0.0);
  return emit.select(emit.cmp(CmpF::OGT, zero, x), zero, x);
}

Value emitExp2(OpBuilder &builder, Location loc, Value x) {
  Emitter emit(builder, loc);
  Type type = x.getType();
  Format format = Format::of(emit, elementTypeOf(type));
  Value low = emit.constFloat(type, 1.0 - format.bias), high = emit.constFloat(type, format.bias + 1.0);
  Value rounder = emit.constFloat(type, format.rounder);
  Value inRange = emit.cmp(CmpF::OGE, x, low);
  // At `high` the fraction is exactly 1 and the exponent becomes that of inf.
  Value clamped = lowerTo(emit, raiseTo(emit, x, low), high);
  Value rounded = emit.addF(clamped, rounder);
  Value fraction = emit.subF(clamped, emit.subF(rounded, rounder));
  Value power = scaleByExponent(emit, format, exp2Fraction(emit, fraction), rounded);
  return emit.select(inRange, power, zeroOrNan(emit, x));
}

Value emitExp2NonPositive(OpBuilder &builder, Location loc, Value x) {
  Emitter emit(builder, loc);
  Type type = x.getType();
  Format format = Format::of(emit, elementTypeOf(type));
  Value low = emit.constFloat(type, 1.0 - format.bias);
  // With the bias inside the rounder, the shift makes 2^n itself. NaN passes every step up to the product, whose factor 2^n cannot undo it.
  Value rounder = emit.constFloat(type, format.rounder + format.bias);
  Value tooLow = emit.cmp(CmpF::OLT, x, low);
  Value clamped = emit.select(tooLow, low, x);
  Value rounded = emit.addF(clamped, rounder);
  Value fraction = emit.subF(clamped, emit.subF(rounded, rounder));
  Value scale = emit.bitcast(elementTypeOf(type), emit.shl(emit.bitcast(format.integer, rounded), format.mantissa));
  Value power = emit.mulF(exp2Fraction(emit, fraction), scale);
  return emit.select(tooLow, emit.constFloat(type, 0.0), power);
}

namespace {
/// x = n ln2 + r with |r| <= ln2 / 2; n stands in the low bits of `rounded`.
struct Reduced {
  Value rounded, n, remainder;
};
} // namespace

static Reduced reduceByLn2(const Emitter &emit, Value x, double rounderValue) {
  Type type = x.getType();
  bool isDouble = elementTypeOf(type).isF64();
  // ln2 in two parts; n times the first is exact.
  double ln2Hi = isDouble ? 0x1.62e42fee00000p-1 : 0.693359375, ln2Lo = isDouble ? 0x1.a39ef35793c76p-33 : -2.12194440e-4;
  Value rounder = emit.constFloat(type, rounderValue);
  Value rounded = emit.fma(x, emit.constFloat(type, M_LOG2E), rounder);
  Value n = emit.subF(rounded, rounder);
  Value remainder = emit.fma(n, emit.constFloat(type, -ln2Hi), x);
  return {rounded, n, emit.fma(n, emit.constFloat(type, -ln2Lo), remainder)};
}

Value emitExp(OpBuilder &builder, Location loc, Value x) {
  Emitter emit(builder, loc);
  Type type = x.getType();
  bool isDouble = elementTypeOf(type).isF64();
  Format format = Format::of(emit, elementTypeOf(type));
  // From the smallest normal result (a hair above it, so that the fraction is at least 1) to the largest finite one.
  Value low = emit.constFloat(type, isDouble ? -708.3964185322 : -87.33654);
  Value high = emit.constFloat(type, isDouble ? 709.78271289338397 : 88.722831);
  Value inRange = emit.cmp(CmpF::OGE, x, low), tooHigh = emit.cmp(CmpF::OGT, x, high);
  Reduced reduced = reduceByLn2(emit, lowerTo(emit, raiseTo(emit, x, low), high), format.rounder);
  Value fraction = emit.addF(expm1Fraction(emit, reduced.remainder), emit.constFloat(type, 1.0));
  Value power = scaleByExponent(emit, format, fraction, reduced.rounded);
  power = emit.select(tooHigh, emit.constFloat(type, HUGE_VAL), power);
  return emit.select(inRange, power, zeroOrNan(emit, x));
}

/// (e^2x - 1) / (e^2x + 1) with e^2x - 1 formed without cancellation: no branch around 0, and one division.
static Value emitTanh(const Emitter &emit, Value x) {
  Type type = x.getType();
  Format format = Format::of(emit, elementTypeOf(type));
  Value limit = emit.constFloat(type, 20.0), twice = emit.addF(x, x); // beyond 20, tanh(x / 2) rounds to 1
  twice = emit.select(emit.cmp(CmpF::OGT, twice, limit), limit, twice);
  twice = emit.select(emit.cmp(CmpF::OLT, twice, emit.negF(limit)), emit.negF(limit), twice);
  Reduced reduced = reduceByLn2(emit, twice, format.rounder + format.bias);
  Value scale = emit.bitcast(elementTypeOf(type), emit.shl(emit.bitcast(format.integer, reduced.rounded), format.mantissa));
  Value expm1 = emit.fma(scale, expm1Fraction(emit, reduced.remainder), emit.subF(scale, emit.constFloat(type, 1.0)));
  return emit.divF(expm1, emit.addF(expm1, emit.constFloat(type, 2.0)));
}

//===------------------------------------------------------------------------------------------------------------------===//
// Logarithms (f32)
//===------------------------------------------------------------------------------------------------------------------===//

namespace {
/// x = 2^exponent (1 + m) with 1 + m in [sqrt(1/2), sqrt(2)), and ln(1 + m) = m + correction.
struct LogParts {
  Value m, correction, exponent;
};
} // namespace

static LogParts splitForLog(const Emitter &emit, Value x) {
  static constexpr double kCoefficients[] = {3.3333331174e-1,  -2.4999993993e-1, 2.0000714765e-1,  -1.6668057665e-1, 1.4249322787e-1,
                                             -1.2420140846e-1, 1.1676998740e-1,  -1.1514610310e-1, 7.0376836292e-2};
  Type type = x.getType(), intType = likeShape(type, emit.i32());
  Value isSubnormal = emit.cmp(CmpF::OLT, x, emit.constFloat(type, 0x1p-126));
  Value normal = emit.select(isSubnormal, emit.mulF(x, emit.constFloat(type, 0x1p23)), x);
  Value bits = emit.bitcast(emit.i32(), normal);
  // Take the exponent relative to sqrt(1/2), so that the mantissa lands on either side of 1.
  Value offset = emit.sub(bits, emit.constInt(intType, 0x3f3504f3));
  Value exponent = emit.shrS(offset, 23);
  Value mantissa = emit.sub(bits, emit.shl(exponent, 23));
  exponent = emit.sub(exponent, emit.select(isSubnormal, emit.constInt(intType, 23), emit.constInt(intType, 0)));
  Value m = emit.subF(emit.bitcast(emit.f32(), mantissa), emit.constFloat(type, 1.0));
  Value square = emit.mulF(m, m);
  Value cubic = emit.mulF(emit.mulF(m, square), horner(emit, m, kCoefficients));
  return {m, emit.fma(square, emit.constFloat(type, -0.5), cubic), emit.make<arith::SIToFPOp>(type, exponent)};
}

/// Puts the values at 0, below 0, at inf and NaN right.
static Value finishLog(const Emitter &emit, Value x, Value logarithm) {
  Type type = x.getType();
  Value zero = emit.constFloat(type, 0.0), inf = emit.constFloat(type, HUGE_VAL);
  Value result = emit.select(emit.cmp(CmpF::OLT, x, inf), logarithm, x);
  result = emit.select(emit.cmp(CmpF::OEQ, x, zero), emit.constFloat(type, -HUGE_VAL), result);
  return emit.select(emit.cmp(CmpF::OLT, x, zero), emit.constFloat(type, std::nan("")), result);
}

static Value emitLogSingle(const Emitter &emit, Value x) {
  Type type = x.getType();
  LogParts parts = splitForLog(emit, x);
  Value low = emit.fma(parts.exponent, emit.constFloat(type, -2.12194440e-4), parts.correction);
  Value result = emit.fma(parts.exponent, emit.constFloat(type, 0.693359375), emit.addF(parts.m, low));
  return finishLog(emit, x, result);
}

static Value emitLog2Single(const Emitter &emit, Value x) {
  Type type = x.getType();
  LogParts parts = splitForLog(emit, x);
  // log2(e) = 1 + 0.4427: the products with the fractional part are small and round harmlessly.
  Value excess = emit.constFloat(type, M_LOG2E - 1.0);
  Value result = emit.addF(emit.fma(parts.m, excess, emit.fma(parts.correction, excess, parts.correction)), parts.m);
  return finishLog(emit, x, emit.addF(result, parts.exponent));
}

Value emitLog(OpBuilder &builder, Location loc, AbiAccess &abi, Value x) {
  if (elementTypeOf(x.getType()).isF64())
    return emitFunctionCall(builder, loc, abi, offsetof(FunctionTable, logF64), {x});
  return emitLogSingle(Emitter(builder, loc), x);
}

//===------------------------------------------------------------------------------------------------------------------===//
// Calls
//===------------------------------------------------------------------------------------------------------------------===//

/// A buffer of `bytes` in the frame of the kernel, allocated at its entry so that no loop grows the stack. The n-th buffers of equal size are shared by all calls.
static Value frameBuffer(const Emitter &emit, int64_t bytes, unsigned n) {
  Operation *parent = emit.builder.getInsertionBlock()->getParentOp();
  auto function = isa<func::FuncOp>(parent) ? cast<func::FuncOp>(parent) : parent->getParentOfType<func::FuncOp>();
  Block &entry = function.getBody().front();
  Type type = LLVM::LLVMArrayType::get(emit.i8(), bytes);
  for (auto alloca : entry.getOps<LLVM::AllocaOp>())
    if (alloca.getElemType() == type && n-- == 0)
      return alloca;
  OpBuilder::InsertionGuard guard(emit.builder);
  emit.builder.setInsertionPointToStart(&entry);
  Value one = emit.index(1);
  return emit.make<LLVM::AllocaOp>(emit.ptr(), type, one, /*alignment=*/64);
}

Value emitFunctionCall(OpBuilder &builder, Location loc, AbiAccess &abi, uint64_t offsetInTable, ArrayRef<Value> operands) {
  Emitter emit(builder, loc);
  Type type = operands[0].getType();
  auto vector = dyn_cast<VectorType>(type);
  int64_t lanes = vector ? vector.getNumElements() : 1;
  int64_t bytes = lanes * elementTypeOf(type).getIntOrFloatBitWidth() / 8;
  SmallVector<Type> types;
  SmallVector<Value> arguments = {abi.function(offsetInTable)};
  for (auto [index, operand] : llvm::enumerate(operands)) {
    Value buffer = frameBuffer(emit, bytes, index);
    emit.store(operand, buffer);
    arguments.push_back(buffer);
    types.push_back(emit.ptr());
  }
  types.push_back(emit.i64());
  arguments.push_back(emit.index(lanes));
  emit.make<LLVM::CallOp>(LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(builder.getContext()), types), arguments);
  return emit.load(type, arguments[1]);
}

//===------------------------------------------------------------------------------------------------------------------===//
// The math dialect
//===------------------------------------------------------------------------------------------------------------------===//

namespace {
/// Offsets in the function table of a math op's f32 and f64 versions.
struct TableEntry {
  uint64_t f32, f64;
};
} // namespace

static std::optional<TableEntry> tableEntry(Operation *op) {
#define ENTRY(NAME) TableEntry{offsetof(FunctionTable, NAME##F32), offsetof(FunctionTable, NAME##F64)}
  return llvm::TypeSwitch<Operation *, std::optional<TableEntry>>(op)
      .Case<math::ExpM1Op>([](auto) { return ENTRY(expm1); })
      .Case<math::LogOp>([](auto) { return ENTRY(log); })
      .Case<math::Log2Op>([](auto) { return ENTRY(log2); })
      .Case<math::Log10Op>([](auto) { return ENTRY(log10); })
      .Case<math::Log1pOp>([](auto) { return ENTRY(log1p); })
      .Case<math::SinOp>([](auto) { return ENTRY(sin); })
      .Case<math::CosOp>([](auto) { return ENTRY(cos); })
      .Case<math::TanOp>([](auto) { return ENTRY(tan); })
      .Case<math::AsinOp>([](auto) { return ENTRY(asin); })
      .Case<math::AcosOp>([](auto) { return ENTRY(acos); })
      .Case<math::AtanOp>([](auto) { return ENTRY(atan); })
      .Case<math::SinhOp>([](auto) { return ENTRY(sinh); })
      .Case<math::CoshOp>([](auto) { return ENTRY(cosh); })
      .Case<math::TanhOp>([](auto) { return ENTRY(tanh); })
      .Case<math::AsinhOp>([](auto) { return ENTRY(asinh); })
      .Case<math::AcoshOp>([](auto) { return ENTRY(acosh); })
      .Case<math::AtanhOp>([](auto) { return ENTRY(atanh); })
      .Case<math::ErfOp>([](auto) { return ENTRY(erf); })
      .Case<math::ErfcOp>([](auto) { return ENTRY(erfc); })
      .Case<math::PowFOp>([](auto) { return ENTRY(pow); })
      .Case<math::Atan2Op>([](auto) { return ENTRY(atan2); })
      .Default([](Operation *) { return std::nullopt; });
#undef ENTRY
}

bool isEmittableMath(Operation *op) {
  return tableEntry(op) || isa<math::AbsFOp, math::AbsIOp, math::CeilOp, math::CopySignOp, math::ExpOp, math::Exp2Op, math::FloorOp, math::FmaOp,
                               math::IPowIOp, math::IsFiniteOp, math::IsInfOp, math::IsNaNOp, math::RoundEvenOp, math::RsqrtOp, math::SqrtOp,
                               math::TruncOp>(op);
}

Value emitMathOp(OpBuilder &builder, AbiAccess &abi, Operation *op, ArrayRef<Value> operands) {
  Emitter emit(builder, op->getLoc());
  Value x = operands[0];
  Type type = x.getType();
  bool isDouble = elementTypeOf(type).isF64();
  LLVM::FastmathFlagsAttr exact; // no fast-math flags
  auto absolute = [&]() -> Value { return emit.make<LLVM::FAbsOp>(type, x, exact); };

  // One instruction, or a few.
  if (isa<math::AbsFOp>(op))
    return absolute();
  if (isa<math::AbsIOp>(op))
    return emit.maxS(x, emit.sub(emit.constInt(type, 0), x));
  if (isa<math::CeilOp>(op))
    return emit.make<LLVM::FCeilOp>(type, x, exact);
  if (isa<math::FloorOp>(op))
    return emit.make<LLVM::FFloorOp>(type, x, exact);
  if (isa<math::TruncOp>(op))
    return emit.make<LLVM::FTruncOp>(type, x, exact);
  if (isa<math::RoundEvenOp>(op)) // nearbyint in the default rounding mode is one instruction; roundeven may become a call
    return emit.make<LLVM::RintOp>(type, x, exact);
  if (isa<math::CopySignOp>(op))
    return emit.make<LLVM::CopySignOp>(type, x, operands[1], exact);
  if (isa<math::FmaOp>(op))
    return emit.fma(x, operands[1], operands[2]);
  if (isa<math::SqrtOp>(op))
    return emit.make<LLVM::SqrtOp>(type, x, exact);
  if (isa<math::RsqrtOp>(op))
    return emit.divF(emit.constFloat(type, 1.0), emit.make<LLVM::SqrtOp>(type, x, exact));
  if (isa<math::IsNaNOp>(op))
    return emit.cmp(CmpF::UNO, x, x);
  if (isa<math::IsInfOp>(op))
    return emit.cmp(CmpF::OEQ, absolute(), emit.constFloat(type, HUGE_VAL));
  if (isa<math::IsFiniteOp>(op))
    return emit.cmp(CmpF::OLT, absolute(), emit.constFloat(type, HUGE_VAL));
  if (isa<math::IPowIOp>(op))
    return emitIntPow(emit, x, operands[1]);

  // Inline recipes.
  if (isa<math::Exp2Op>(op))
    return emitExp2(builder, emit.loc, x);
  if (isa<math::ExpOp>(op))
    return emitExp(builder, emit.loc, x);
  if (isa<math::LogOp>(op) && !isDouble)
    return emitLogSingle(emit, x);
  if (isa<math::Log2Op>(op) && !isDouble)
    return emitLog2Single(emit, x);
  if (isa<math::TanhOp>(op) && !isDouble)
    return emitTanh(emit, x);

  TableEntry entry = *tableEntry(op);
  return emitFunctionCall(builder, emit.loc, abi, isDouble ? entry.f64 : entry.f32, operands);
}

LogicalResult lowerMathOp(OpBuilder &builder, AbiAccess &abi, Operation *op) {
  if (!isEmittableMath(op))
    return op->emitOpError("has no lowering for the CPU: neither an inline recipe nor an entry in the function table");
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(op);
  SmallVector<Value> operands(op->getOperands());
  op->getResult(0).replaceAllUsesWith(emitMathOp(builder, abi, op, operands));
  op->erase();
  return success();
}

} // namespace attnjit::tile
