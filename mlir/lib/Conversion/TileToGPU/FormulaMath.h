// Formula ops on a GPU: which of them need no library, and the recipes that differ from the CPU's. Private to this room.
#pragma once

#include "attnjit-mlir/Dialect/Tile/TileProgram.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

#include <cmath>
#include <optional>
#include <string>

namespace attnjit::tile {

/// The name of the first op of a formula region that the shared emitters do not know; empty if there is none, as in every formula that came
/// from text. All functions are inline in f32 and in f64: the pointers of KernelArgs::functions mean nothing here.
std::optional<std::string> functionMissingOnGpu(mlir::Region *formula);

/// Gives the formulas of a program the forms that tensor cores of 16-bit operands like.
///
/// Functions that the special function units serve: exp2 as ex2.approx, tanh on top of it and rcp.approx, which in a score_mod or prob_mod
/// is off by 2e-7 at most, however small it is. Other ops stay for the shared emitters.
///
/// Sums of products in a score_mod or prob_mod may become multiply-adds, which round once less. A mask_mod stays as it is, since the plan
/// and the kernel have to see the same.
///
/// In a score_mod or prob_mod the quotient of what is made of the score, or p, by what is the same for all elements of a head becomes a
/// product, with one division per tile; at most 1.5 ulp. Quotients of indices stay exact: they may be rounded to integers.
void specializeFormulas(const TileProgram &program);

/// Whether a formula, null or as specializeFormulas leaves it, computes something with the special function units.
bool usesSpecialFunctions(mlir::Region *formula);

/// score_mod taken apart as last * root(first * score): what is the same for all pairs of a head may join the scale before it, and the
/// exponential behind it. All are values of the region; there may be no such factor.
struct ScoreFactors {
  llvm::SmallVector<mlir::Value> first, last;
  mlir::arith::MulFOp firstProduct; ///< first * score, which `root` is made of; null without `first`
  mlir::Value root;
};
ScoreFactors scoreFactorsOf(mlir::Region &score);

/// Of every refinement in a score_mod (MapExpander::kRefinement), what multiplies it on its way into the score: values of the region, the
/// same for all pairs of a head. Without it the score is off by at most kCoarseError times their product.
llvm::SmallVector<llvm::SmallVector<mlir::Value>> refinementGainsOf(mlir::Region &score);
inline constexpr double kCoarseError = 2e-7;

/// Whether what the refinements of a score_mod (at least one) choose by is the score as ScoreFactors::first scales it: their first value
/// is as good as their second one where that is less than kNearTanh, on either side of 0.
bool refinesScaledScore(mlir::Region &score, const ScoreFactors &factors);
/// e^2x is 2^(kTanhPower x).
inline constexpr double kTanhPower = 2 * M_LOG2E, kNearTanh = kTanhPower * 15 / 32;

} // namespace attnjit::tile
