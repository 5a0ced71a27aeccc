// Transcendental functions on scalars and native vectors, inline where a short recipe exists, else through KernelArgs::functions.
#pragma once

#include "attnjit-mlir/Conversion/TileToVector/KernelFrame.h"

namespace attnjit::tile {

/// 2^x for x <= 0 or any x, f32 or f64, scalar or vector: degree-6 polynomial, at most 1 ulp in f32; -inf gives exactly 0, NaN stays NaN, results below 2^-126 flush to 0,
/// large x gives inf (docs/semantics.md, A5 and A6).
mlir::Value emitExp2(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value x);

/// Lowers one math-dialect op (already on scalars or native vectors) to arith / vector ops or to a call through the function table; erases it.
/// Fails on an op that has neither.
llvm::LogicalResult lowerMathOp(mlir::OpBuilder &builder, AbiAccess &abi, mlir::Operation *op);

} // namespace attnjit::tile
