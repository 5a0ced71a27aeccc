// One op of a formula region (arith, math, attn.pointwise), emitted on scalars or native vectors. Private to this room.
#pragma once

#include "Emitter.h"
#include "attnjit-mlir/Conversion/TileToVector/KernelFrame.h"

namespace attnjit::tile {

/// Emits `op` on `operands`, which are all scalars or all vectors of one length, and returns its results in that shape. Every op but attn.load;
/// isEmittable(op) must hold.
llvm::SmallVector<mlir::Value> emitFormulaOp(const Emitter &emit, AbiAccess &abi, mlir::Operation &op, llvm::ArrayRef<mlir::Value> operands);

/// Whether the CPU lowerings know how to emit a formula op.
bool isEmittable(mlir::Operation &op);

/// a^b for integers, wrapping; a negative exponent gives 0 unless a is 1 or -1.
mlir::Value emitIntPow(const Emitter &emit, mlir::Value a, mlir::Value b);

} // namespace attnjit::tile
