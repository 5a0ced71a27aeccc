#include "attnjit-mlir/Conversion/TileToVector/VectorMath.h"

#include "MathRecipes.h"
#include "attnjit/KernelAbi.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace attnjit::tile {

using CmpF = Emitter::CmpF;

Value emitLog(OpBuilder &builder, Location loc, AbiAccess &abi, Value x) {
  if (elementTypeOf(x.getType()).isF64() && abi.hasFunctions())
    return emitFunctionCall(builder, loc, abi, offsetof(FunctionTable, logF64), {x});
  return emitLogInline(Emitter(builder, loc), x);
}

//===------------------------------------------------------------------------------------------------------------------===//
// Calls
//===------------------------------------------------------------------------------------------------------------------===//

static func::FuncOp functionAround(OpBuilder &builder) {
  Operation *parent = builder.getInsertionBlock()->getParentOp();
  return isa<func::FuncOp>(parent) ? cast<func::FuncOp>(parent) : parent->getParentOfType<func::FuncOp>();
}

/// A buffer of `bytes` in the frame of the kernel, allocated at its entry so that no loop grows the stack. The n-th buffers of equal size
/// are shared by all calls.
static Value frameBuffer(const Emitter &emit, int64_t bytes, unsigned n) {
  Block &entry = functionAround(emit.builder).getBody().front();
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
  functionAround(builder)->setAttr("attnjit.calls_functions", builder.getUnitAttr());
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
/// A function with an inline recipe; f64 goes through the function table where there is one.
struct Function {
  Value (*unary)(const Emitter &, Value);
  Value (*binary)(const Emitter &, Value, Value);
  uint64_t f64; ///< offset in the table
};
} // namespace

static std::optional<Function> functionOf(Operation *op) {
#define UNARY(OP, RECIPE, NAME) Case<math::OP>([](auto) { return Function{RECIPE, nullptr, offsetof(FunctionTable, NAME##F64)}; })
#define BINARY(OP, RECIPE, NAME) Case<math::OP>([](auto) { return Function{nullptr, RECIPE, offsetof(FunctionTable, NAME##F64)}; })
  return llvm::TypeSwitch<Operation *, std::optional<Function>>(op)
      .UNARY(ExpM1Op, emitExpm1, expm1)
      .UNARY(LogOp, emitLogInline, log)
      .UNARY(Log2Op, emitLog2, log2)
      .UNARY(Log10Op, emitLog10, log10)
      .UNARY(Log1pOp, emitLog1p, log1p)
      .UNARY(SinOp, emitSin, sin)
      .UNARY(CosOp, emitCos, cos)
      .UNARY(TanOp, emitTan, tan)
      .UNARY(AsinOp, emitAsin, asin)
      .UNARY(AcosOp, emitAcos, acos)
      .UNARY(AtanOp, emitAtan, atan)
      .UNARY(SinhOp, emitSinh, sinh)
      .UNARY(CoshOp, emitCosh, cosh)
      .UNARY(TanhOp, emitTanh, tanh)
      .UNARY(AsinhOp, emitAsinh, asinh)
      .UNARY(AcoshOp, emitAcosh, acosh)
      .UNARY(AtanhOp, emitAtanh, atanh)
      .UNARY(ErfOp, emitErf, erf)
      .UNARY(ErfcOp, emitErfc, erfc)
      .BINARY(PowFOp, emitPow, pow)
      .BINARY(Atan2Op, emitAtan2, atan2)
      .Default([](Operation *) { return std::nullopt; });
#undef UNARY
#undef BINARY
}

bool isEmittableMath(Operation *op) {
  return functionOf(op) ||
         isa<math::AbsFOp, math::AbsIOp, math::CeilOp, math::CopySignOp, math::ExpOp, math::Exp2Op, math::FloorOp, math::FmaOp,
             math::IPowIOp, math::IsFiniteOp, math::IsInfOp, math::IsNaNOp, math::RoundEvenOp, math::RsqrtOp, math::SqrtOp, math::TruncOp>(
             op);
}

Value emitMathOp(OpBuilder &builder, AbiAccess &abi, Operation *op, ArrayRef<Value> operands) {
  Emitter emit(builder, op->getLoc());
  Value x = operands[0];
  Type type = x.getType();
  bool isDouble = elementTypeOf(type).isF64();
  LLVM::FastmathFlagsAttr exact; // no fast-math flags

  // One instruction, or a few.
  if (isa<math::AbsFOp>(op))
    return absolute(emit, x);
  if (isa<math::AbsIOp>(op))
    return emit.maxS(x, emit.sub(emit.constInt(type, 0), x));
  if (isa<math::CeilOp>(op))
    return emit.make<LLVM::FCeilOp>(type, x, exact);
  if (isa<math::FloorOp>(op))
    return emit.make<LLVM::FFloorOp>(type, x, exact);
  if (isa<math::TruncOp>(op))
    return truncated(emit, x);
  if (isa<math::RoundEvenOp>(op)) // nearbyint in the default rounding mode is one instruction; roundeven may become a call
    return emit.make<LLVM::RintOp>(type, x, exact);
  if (isa<math::CopySignOp>(op))
    return withSignOf(emit, x, operands[1]);
  if (isa<math::FmaOp>(op))
    return emit.fma(x, operands[1], operands[2]);
  if (isa<math::SqrtOp>(op))
    return squareRoot(emit, x);
  if (isa<math::RsqrtOp>(op))
    return emit.divF(emit.constFloat(type, 1.0), squareRoot(emit, x));
  if (isa<math::IsNaNOp>(op))
    return emit.cmp(CmpF::UNO, x, x);
  if (isa<math::IsInfOp>(op))
    return emit.cmp(CmpF::OEQ, absolute(emit, x), emit.constFloat(type, HUGE_VAL));
  if (isa<math::IsFiniteOp>(op))
    return emit.cmp(CmpF::OLT, absolute(emit, x), emit.constFloat(type, HUGE_VAL));
  if (isa<math::IPowIOp>(op))
    return emitIntPow(emit, x, operands[1]);

  // Inline recipes.
  if (isa<math::Exp2Op>(op))
    return emitExp2(builder, emit.loc, x);
  if (isa<math::ExpOp>(op))
    return emitExp(builder, emit.loc, x);
  Function function = *functionOf(op);
  if (isDouble && abi.hasFunctions())
    return emitFunctionCall(builder, emit.loc, abi, function.f64, operands);
  return function.unary ? function.unary(emit, x) : function.binary(emit, x, operands[1]);
}

} // namespace attnjit::tile
