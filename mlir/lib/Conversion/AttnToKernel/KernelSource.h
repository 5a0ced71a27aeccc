// What one kernel is compiled from, read off an attn.attention.
#pragma once

#include "Expr/Ir.h"
#include "attnjit-mlir/Import/ImportFormula.h"

namespace attnjit::attn {

class AttentionOp;

struct KernelSource {
  /// Captures and scalars in the op's order; then, if the op has offsets, three Int scalars for them.
  expr::Formula formula;
  /// Without tile sizes.
  AttnProblem problem;
};

/// Fails with a diagnostic on what no formula can say. `op` is on memrefs.
mlir::FailureOr<KernelSource> kernelSourceOf(AttentionOp op);

} // namespace attnjit::attn
