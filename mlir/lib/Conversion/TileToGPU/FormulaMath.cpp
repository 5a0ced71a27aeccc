#include "FormulaMath.h"

#include "../TileToVector/MathRecipes.h"
#include "Fragments.h"
#include "attnjit-mlir/Conversion/TileToVector/FormulaOps.h"
#include "attnjit-mlir/Conversion/TileToVector/MapExpander.h"
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

/// The CPU's fraction with a reciprocal of 1 ulp.
static Value emitTanhOnGpu(const Emitter &emit, Value x) {
  auto limit = [&](double value) { return emit.constFloat(x.getType(), value); };
  Value clamped = emit.make<arith::MaximumFOp>(emit.make<arith::MinimumFOp>(x, limit(kTanhLimit)), limit(-kTanhLimit)); // NaN stays
  auto [numerator, denominator] = tanhFraction(emit, clamped);
  return emit.mulF(numerator, emitFastReciprocal(emit, denominator));
}

/// 1 - 2 / (e^2x + 1), which is off by 2e-7 at most, and below 15/32 a polynomial, which is off by 5e-7 of the result. The choice is a
/// refinement, which scores that come of the result without much gain can do without. Far takes five operations, two of them of the
/// special function units, near five of no such kind. tanh.approx would be one, but its error of 2^-11 would move a score capped at 50 by
/// 0.02.
static Value emitFastTanh(const Emitter &emit, Value x) {
  auto number = [&](double value) { return emit.constFloat(x.getType(), value); };
  Value power = emit.mulF(x, number(kTanhPower)), square = emit.mulF(power, power);
  Value far = emit.fma(emitFastReciprocal(emit, emit.addF(emitFastExp2(emit, power), number(1))), number(-2), number(1));
  // tanh(x) / x as a polynomial of x^2, whose largest relative error is the least there is; x is power / kTanhPower.
  Value ratio;
  double unit = std::pow(kTanhPower, -7);
  for (double coefficient : {-0.045429146, 0.13220521, -0.33328459, 0.99999967}) {
    Value scaled = number(coefficient * unit);
    ratio = ratio ? emit.fma(square, ratio, scaled) : scaled;
    unit *= kTanhPower * kTanhPower;
  }
  Value near = emit.mulF(power, ratio);
  Value result = emit.select(emit.cmp(Emitter::CmpF::OLT, square, number(kNearTanh * kNearTanh)), near, far); // NaN stays
  result.getDefiningOp()->setAttr(MapExpander::kRefinement, emit.builder.getUnitAttr());
  return result;
}

static void specializeMath(Region *formula, bool isFast) {
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
    auto result = [&]() -> Value {
      if (isa<math::Exp2Op>(op)) // not the flushing form: a formula may ask for small numbers
        return emit.make<LLVM::Exp2Op>(x.getType(), x, LLVM::FastmathFlagsAttr());
      return isFast ? emitFastTanh(emit, x) : emitTanhOnGpu(emit, x);
    };
    op.getResult(0).replaceAllUsesWith(result());
    op.erase();
  }
}

/// What multiplies `value` on its way to what the formula yields, if sums and products by what is the same for a head are all of that way.
static std::optional<SmallVector<Value>> gainsOf(Value value) {
  SmallVector<Value> gains;
  while (value.hasOneUse()) {
    Operation *user = *value.getUsers().begin();
    if (user->hasTrait<OpTrait::IsTerminator>())
      return gains;
    if (auto product = dyn_cast<arith::MulFOp>(user)) {
      Value other = product.getLhs() == value ? product.getRhs() : product.getLhs();
      if (!isUniform(other))
        return std::nullopt;
      gains.push_back(other);
    } else if (!isa<arith::AddFOp, arith::SubFOp, arith::NegFOp>(user)) {
      return std::nullopt;
    }
    value = user->getResult(0);
  }
  return std::nullopt;
}

SmallVector<SmallVector<Value>> refinementGainsOf(Region &score) {
  SmallVector<SmallVector<Value>> all;
  score.walk([&](arith::SelectOp select) {
    if (select->hasAttr(MapExpander::kRefinement))
      all.push_back(*gainsOf(select.getResult()));
  });
  return all;
}

bool refinesScaledScore(Region &score, const ScoreFactors &factors) {
  arith::MulFOp product = factors.firstProduct;
  Value scaled = product ? product.getResult() : Value(score.getArgument(0));
  bool any = false, all = true;
  score.walk([&](arith::SelectOp select) {
    if (!select->hasAttr(MapExpander::kRefinement))
      return;
    auto nearness = select.getCondition().getDefiningOp<arith::CmpFOp>();
    auto square = nearness ? nearness.getLhs().getDefiningOp<arith::MulFOp>() : arith::MulFOp();
    any = true;
    all &= square && square.getLhs() == scaled;
  });
  return any && all;
}

/// Leaves those whose gains can be told; the others are plain choices.
static void findRefinements(Region *score, bool mayRefine) {
  if (!score)
    return;
  score->walk([&](arith::SelectOp select) {
    if (!mayRefine || select->getParentRegion() != score || !gainsOf(select.getResult()))
      select->removeAttr(MapExpander::kRefinement);
  });
}

/// Sums of products may become multiply-adds.
static void contractSums(Region *formula) {
  if (!formula)
    return;
  formula->walk([](Operation *op) {
    if (auto arithmetic = dyn_cast<arith::ArithFastMathInterface>(op); arithmetic && isa<arith::AddFOp, arith::SubFOp, arith::MulFOp>(op))
      op->setAttr(arithmetic.getFastMathAttrName(), arith::FastMathFlagsAttr::get(op->getContext(), arith::FastMathFlags::contract));
  });
}

void specializeFormulas(const TileProgram &program) {
  for (Region *formula : {program.mask, program.closedForm})
    specializeMath(formula, /*isFast=*/false);
  for (Region *formula : {program.score, program.prob}) {
    specializeMath(formula, /*isFast=*/true);
    divideOnce(formula, [](arith::DivFOp) { return true; });
    contractSums(formula);
  }
  findRefinements(program.score, /*mayRefine=*/true);
  findRefinements(program.prob, /*mayRefine=*/false);
}

bool usesSpecialFunctions(Region *formula) {
  auto isOne = [](Operation *op) { return isa<LLVM::CallIntrinsicOp, LLVM::Exp2Op>(op) ? WalkResult::interrupt() : WalkResult::advance(); };
  return formula && formula->walk(isOne).wasInterrupted();
}

/// The product that `value` is, by what is the same for all pairs of a head; null where it is none.
static arith::MulFOp uniformProduct(Value value) {
  auto product = value.getDefiningOp<arith::MulFOp>();
  return product && (isUniform(product.getLhs()) || isUniform(product.getRhs())) ? product : arith::MulFOp();
}

static Value uniformSide(arith::MulFOp product) { return isUniform(product.getLhs()) ? product.getLhs() : product.getRhs(); }
static Value movingSide(arith::MulFOp product) { return isUniform(product.getLhs()) ? product.getRhs() : product.getLhs(); }

ScoreFactors scoreFactorsOf(Region &score) {
  ScoreFactors factors;
  for (Value moving = score.getArgument(0); moving.hasOneUse(); moving = factors.firstProduct) {
    Operation *user = *moving.getUsers().begin();
    arith::MulFOp product = user->getNumResults() == 1 ? uniformProduct(user->getResult(0)) : arith::MulFOp();
    if (!product || movingSide(product) != moving)
      break;
    factors.firstProduct = product;
    factors.first.push_back(uniformSide(product));
  }
  factors.root = score.front().getTerminator()->getOperand(0);
  for (arith::MulFOp last = uniformProduct(factors.root); last && last != factors.firstProduct; last = uniformProduct(factors.root)) {
    factors.last.push_back(uniformSide(last));
    factors.root = movingSide(last);
  }
  return factors;
}

} // namespace attnjit::tile
