// Phases of a kernel that stand as functions of their own: all but the code of its formulas is the same in many kernels, and a compiler
// that knows it again need not generate it anew. Emitter::phase marks them; then one of these makes the func.func legal.
#pragma once

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace attnjit::tile {

/// Makes a private function after `kernel` of every phase, named <kernel>.<number>.<phase>, and calls it. What is computed for phases alone
/// moves into them; else a phase is given what it uses from around it.
void outlinePhases(mlir::func::FuncOp kernel);

/// Puts every phase where it is marked.
void inlinePhases(mlir::func::FuncOp kernel);

} // namespace attnjit::tile
