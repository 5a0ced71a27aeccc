// Transcendental functions on scalars and native vectors: in f32 all inline, in f64 through KernelArgs::functions (exp and exp2 excepted)
// or, where a kernel has none (AbiAccess::hasFunctions), inline too.
//
// Nothing here leaves an external symbol behind: no libm, no compiler-rt. All recipes keep NaN and give the right infinities;
// docs/functions.md has their errors.
#pragma once

#include "attnjit-mlir/Conversion/TileToVector/KernelFrame.h"

namespace attnjit::tile {

/// 2^x for any x, f32 or f64, scalar or vector: at most 1 ulp in f32; -inf gives exactly 0, NaN stays NaN, large x gives inf
/// (docs/semantics.md, A5 and A6); small results are subnormal.
mlir::Value emitExp2(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value x);

/// The same for x <= 12 (or NaN), four instructions shorter: the exponential inside a softmax whose reference point is the row's maximum
/// or little below it. Results below the smallest normal number flush to 0.
mlir::Value emitExp2OfSoftmax(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value x);

/// The same for results that are rounded to bf16: at most 3 ulp, and where it is shorter so (AVX-512), by two instructions more. 2^0 is
/// still 1.
mlir::Value emitExp2ForBf16(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value x);

/// The same for results that are rounded to 16 bits: at most 3e-6 of the result, for GPUs, whose special function units give one
/// exponential in the time of eight other operations. NaN stays; 2^0 is 1, and 0 whatever is below 2^-127.
mlir::Value emitExp2Short(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value x);

/// e^x, with the same promises as 2^x.
mlir::Value emitExp(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value x);

/// Natural logarithm; ln 0 = -inf, of a negative number NaN. As above.
mlir::Value emitLog(mlir::OpBuilder &builder, mlir::Location loc, AbiAccess &abi, mlir::Value x);

/// Whether emitMathOp can emit an op of the math dialect.
bool isEmittableMath(mlir::Operation *op);

/// Emits a math-dialect op on `operands`, all scalars or all vectors of one length; isEmittableMath(op) must hold.
mlir::Value emitMathOp(mlir::OpBuilder &builder, AbiAccess &abi, mlir::Operation *op, llvm::ArrayRef<mlir::Value> operands);

/// Calls the function at `offsetInTable` (offsetof in FunctionTable) on one or two operands of f32 or f64, scalar or vector: their elements
/// travel through a buffer in the frame of the kernel.
mlir::Value emitFunctionCall(mlir::OpBuilder &builder, mlir::Location loc, AbiAccess &abi, uint64_t offsetInTable,
                             llvm::ArrayRef<mlir::Value> operands);

} // namespace attnjit::tile
