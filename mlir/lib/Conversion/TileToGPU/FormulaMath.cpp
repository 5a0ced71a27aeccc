#include "FormulaMath.h"

#include "../TileToVector/MathRecipes.h"
#include "Fragments.h"
#include "attnjit-mlir/Conversion/TileToVector/FormulaOps.h"
#include "attnjit-mlir/Dialect/Attn/Attn.h"

#include <cmath>

using namespace mlir;

namespace attnjit::tile {

std::optional<std::string> functionMissingOnGpu(Region *formula) {
  if (!formula)
    return std::nullopt;
  std::optional<std::string> missing;
  formula->walk([&](Operation *op) {
    if (!missing && !op->hasTrait<OpTrait::IsTerminator>() && !isEmittable(*op))
      missing = op->getName().getStringRef().str();
  });
  return missing;
}

//===------------------------------------------------------------------------------------------------------------------===//
// Recipes
//===------------------------------------------------------------------------------------------------------------------===//

/// The CPU's fraction with a reciprocal of 1 ulp: one special function instruction, of which a multiprocessor finishes an eighth as many as
/// of others, where 1 - 2 / (e^2x + 1) takes two. tanh.approx would be the only one, but its error of 2^-11 would move a score capped at 50
/// by 0.02.
static Value emitTanhOnGpu(const Emitter &emit, Value x) {
  auto limit = [&](double value) { return emit.constFloat(x.getType(), value); };
  Value clamped = emit.make<arith::MaximumFOp>(emit.make<arith::MinimumFOp>(x, limit(kTanhLimit)), limit(-kTanhLimit)); // NaN stays
  auto [numerator, denominator] = tanhFraction(emit, clamped);
  return emit.mulF(numerator, emitFastReciprocal(emit, denominator));
}

static void specializeMath(Region *formula) {
  if (!formula)
    return;
  SmallVector<Operation *> functions; // within reductions too
  formula->walk([&](Operation *op) {
    if (isa<math::TanhOp, math::Exp2Op>(op) && op->getResult(0).getType().isF32())
      functions.push_back(op);
  });
  for (Operation *function : functions) {
    Operation &op = *function;
    OpBuilder builder(&op);
    Emitter emit(builder, op.getLoc());
    Value x = op.getOperand(0);
    // Not the flushing form: a formula may ask for small numbers.
    Value result =
        isa<math::TanhOp>(op) ? emitTanhOnGpu(emit, x) : Value(emit.make<LLVM::Exp2Op>(x.getType(), x, LLVM::FastmathFlagsAttr()));
    op.getResult(0).replaceAllUsesWith(result);
    op.erase();
  }
}

void specializeFormulas(const TileProgram &program) {
  for (Region *formula : {program.score, program.mask, program.prob, program.closedForm})
    specializeMath(formula);
  for (Region *formula : {program.score, program.prob})
    divideOnce(formula, [](arith::DivFOp) { return true; });
}

} // namespace attnjit::tile
