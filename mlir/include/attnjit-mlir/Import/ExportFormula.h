// attn -> expr: the formula of an attn.attention or attn.forward that anybody built, so that it gets the analyses, the closed form of its
// mask and a hash.
#pragma once

#include "Expr/Ir.h"
#include "attnjit-mlir/Dialect/Attn/Attn.h"

namespace attnjit::attn {

/// Reads the regions back. Captures and scalars keep their order; their names are those of the `names` attribute, else c0, c1 ... and s0,
/// s1 ... An operation without a counterpart in lib/Expr/ExprOps.def fails with a diagnostic on it. The result is simplified: exporting
/// what importFormula built from a simplified formula gives the same hash.
mlir::FailureOr<expr::Formula> exportFormula(ForwardOp op);
/// The same; positions are those within the op, its offsets not added.
mlir::FailureOr<expr::Formula> exportFormula(AttentionOp op);

} // namespace attnjit::attn
