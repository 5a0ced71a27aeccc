// Divisions by what is the same for all pairs of a head, as products with a reciprocal that the map expander computes once.
#include "attnjit-mlir/Conversion/TileToVector/FormulaOps.h"

#include "Emitter.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <cfloat>

using namespace mlir;

namespace attnjit::tile {

/// Whether a value of a formula is made of any of these arguments; true too where a loop makes it unclear.
static bool isMadeOf(Value value, llvm::function_ref<bool(BlockArgument)> wanted) {
  if (auto argument = dyn_cast<BlockArgument>(value))
    return wanted(argument);
  Operation *op = value.getDefiningOp();
  return op->getNumRegions() != 0 || llvm::any_of(op->getOperands(), [&](Value operand) { return isMadeOf(operand, wanted); });
}

/// 1 / x; the largest number for an x so small that its reciprocal is none, lest 0 / x become NaN. 0 keeps its infinity.
static Value reciprocal(const Emitter &emit, Value x) {
  auto number = [&](double value) { return emit.constFloat(x.getType(), value); };
  Value isSmall = emit.cmp(Emitter::CmpF::OLT, emit.make<math::AbsFOp>(x), number(FLT_MIN));
  Value isNegative = emit.cmp(Emitter::CmpF::OLT, x, number(0)), isPositive = emit.cmp(Emitter::CmpF::OGT, x, number(0));
  Value whole = emit.divF(number(1), x);
  Value largest = emit.select(isPositive, number(FLT_MAX), emit.select(isNegative, number(-FLT_MAX), whole));
  return emit.select(isSmall, largest, whole);
}

enum Argument : unsigned { Element, B, H, Q, Kv };

static bool moves(Region *formula, BlockArgument argument) {
  unsigned number = argument.getArgNumber();
  return argument.getOwner()->getParent() != formula || number == Element || number == Q || number == Kv;
}

bool isUniform(Value value) {
  Region *formula = value.getParentRegion();
  return !isMadeOf(value, [&](BlockArgument argument) { return moves(formula, argument); });
}

void divideOnce(Region *formula, llvm::function_ref<bool(arith::DivFOp)> mayRound) {
  if (!formula)
    return;
  SmallVector<arith::DivFOp> divisions;
  formula->walk([&](arith::DivFOp op) {
    if (op.getType().isF32() && isMadeOf(op.getLhs(), [](BlockArgument argument) { return argument.getArgNumber() == Element; }) &&
        !isMadeOf(op.getRhs(), [&](BlockArgument argument) { return moves(formula, argument); }) && mayRound(op))
      divisions.push_back(op);
  });
  for (arith::DivFOp op : divisions) {
    OpBuilder builder(op);
    Emitter emit(builder, op.getLoc());
    op.replaceAllUsesWith(emit.mulF(op.getLhs(), reciprocal(emit, op.getRhs())));
    op.erase();
  }
}

void divideOnceForTanh(const TileProgram &program) {
  for (Region *formula : {program.score, program.prob})
    divideOnce(formula, [](arith::DivFOp op) { return llvm::all_of(op->getUsers(), llvm::IsaPred<math::TanhOp>); });
}

} // namespace attnjit::tile
