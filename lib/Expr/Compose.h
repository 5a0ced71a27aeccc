// Formulas out of formulas: masks joined by logic, a score with another's mask, arguments moved.
#pragma once

#include "Expr/Builder.h"
#include "Expr/Ir.h"

#include <array>
#include <vector>

namespace attnjit::expr {

/// Where the captures and scalars of one formula went in the tables of another.
struct CaptureMap {
  std::vector<int> captures, scalars;
};

/// Adds the tables of `from` to those of `into`; an equal name is the same capture. Error: InvalidArgument when a name is declared in two
/// ways.
Result<CaptureMap> joinTables(Formula &into, const Formula &from);

/// Values that stand for the arguments of a function, by Param.
using Arguments = std::array<ValueId, 5>;
/// The arguments themselves.
Arguments ownArguments(Builder &builder);

/// Copies what `function` computes, on `arguments` instead of its own, and answers its result.
ValueId copyInto(Builder &builder, const Function &function, const CaptureMap &map, const Arguments &arguments);

} // namespace attnjit::expr
