// Formula ops on a GPU: which of them need no library, and the recipes that differ from the CPU's. Private to this room.
#pragma once

#include "attnjit-mlir/Dialect/Tile/TileProgram.h"

#include <optional>
#include <string>

namespace attnjit::tile {

/// The name of the first op of a formula region that the shared emitters do not know; empty if there is none, as in every formula that came
/// from text. All functions are inline in f32 and in f64: the pointers of KernelArgs::functions mean nothing here.
std::optional<std::string> functionMissingOnGpu(mlir::Region *formula);

/// Gives the formulas of a program the forms that a GPU likes.
///
/// Ops that the special function units serve: exp2 as ex2.approx, tanh on top of it. Other ops stay for the shared emitters.
///
/// In a score_mod or prob_mod the quotient of what is made of the score, or p, by what is the same for all elements of a head becomes a
/// product, with one division per tile; at most 1.5 ulp. Quotients of indices stay exact: they may be rounded to integers.
void specializeFormulas(const TileProgram &program);

} // namespace attnjit::tile
