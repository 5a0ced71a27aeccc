// One op of a formula region (arith, math, attn.pointwise), emitted on scalars or native vectors.
#pragma once

#include "attnjit-mlir/Conversion/TileToVector/KernelFrame.h"

namespace attnjit::tile {

/// Emits `op` on `operands`, which are all scalars or all vectors of one length, and returns its results in that shape. Every op but
/// attn.load and attn.reduce, which are the expander's; isEmittable(op) must hold.
llvm::SmallVector<mlir::Value> emitFormulaOp(mlir::OpBuilder &builder, mlir::Location loc, AbiAccess &abi, mlir::Operation &op,
                                             llvm::ArrayRef<mlir::Value> operands);

/// Whether an op of a formula can be expanded.
bool isEmittable(mlir::Operation &op);

} // namespace attnjit::tile
