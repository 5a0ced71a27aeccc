// The end of a softmax row (tile.softmax_finish, tile.softmax_norm), emitted alike by every lowering.
#pragma once

#include "attnjit-mlir/Conversion/TileToVector/KernelFrame.h"

namespace attnjit::tile {

/// What a row's state comes to. Scalars or vectors, as the state is.
struct SoftmaxEnd {
  mlir::Value weight;  ///< out = acc * weight / total; null: 1
  mlir::Value total;   ///< the denominator
  mlir::Value isEmpty; ///< no key was visible: out is 0, though the accumulator may be NaN times 0 (A5)
  mlir::Value lse;     ///< natural log

  /// What makes p of exp(u - max): weight / total; 0 for an empty row.
  mlir::Value factor(mlir::OpBuilder &builder, mlir::Location loc) const;
};

/// `max` and `sum` of the scores, in natural units, NaN where a visible score is; `sink` null for none. `exp` gets what is at most 0.
SoftmaxEnd emitSoftmaxEnd(mlir::OpBuilder &builder, mlir::Location loc, AbiAccess &abi, mlir::Value max, mlir::Value sum, mlir::Value sink,
                          llvm::function_ref<mlir::Value(mlir::Value)> exp);

/// The sink of query head h as a scalar of the compute type; null if the program has no sinks.
mlir::Value emitSink(mlir::OpBuilder &builder, mlir::Location loc, const TileProgram &program, AbiAccess &abi, mlir::Value b,
                     mlir::Value h);

} // namespace attnjit::tile
