// One op of a formula region (arith, math, attn.pointwise), emitted on scalars or native vectors.
#pragma once

#include "attnjit-mlir/Conversion/TileToVector/KernelFrame.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

namespace attnjit::tile {

/// Emits `op` on `operands`, which are all scalars or all vectors of one length, and returns its results in that shape. Every op but
/// attn.load and attn.reduce, which are the expander's; isEmittable(op) must hold.
llvm::SmallVector<mlir::Value> emitFormulaOp(mlir::OpBuilder &builder, mlir::Location loc, AbiAccess &abi, mlir::Operation &op,
                                             llvm::ArrayRef<mlir::Value> operands);

/// Whether an op of a formula can be expanded.
bool isEmittable(mlir::Operation &op);

/// Whether a value of a score_mod or prob_mod, outside of loops, is the same for all pairs of a head.
bool isUniform(mlir::Value value);

/// Rewrites f32 divisions of what moves with the element by what does not move with it, q or kv, into products with a reciprocal: up to
/// 1.5 ulp instead of 0.5, and the division is done once. Of those, the ones that `mayRound`. `formula` null: nothing.
void divideOnce(mlir::Region *formula, llvm::function_ref<bool(mlir::arith::DivFOp)> mayRound);
/// Those whose quotient goes to tanh, which makes no relative error larger: softcap.
void divideOnceForTanh(const TileProgram &program);

} // namespace attnjit::tile
