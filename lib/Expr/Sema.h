// Syntax trees to IR, by running them: see Object.h. What it accepts has a meaning; what it refuses it explains.
#pragma once

#include "Expr/Frontend.h"
#include "Expr/Object.h"

namespace attnjit::expr {

/// A mod may have this many operations after simplification.
inline constexpr std::size_t kMaxOperations = 20000;

/// What all mods see: the captures by name.
struct CaptureScope {
  std::span<const CaptureInfo> infos;
  std::vector<int> slots; ///< per info: index into Formula::captures or Formula::scalars
};

enum class ModKind : std::uint8_t { Score, Mask, Prob };

/// "score_mod", "mask_mod" or "prob_mod": what messages call the text.
std::string_view roleOf(ModKind mod);

/// Checks and lowers one mod. `module` may be null. What the kernel gets at run time without the user's doing (lifted literals, sizes of
/// captured tensors, tensors that the text makes) is added to the tables of `formula`.
Result<Function> analyse(const Unit &text, const Unit *module, ModKind mod, const CaptureScope &captures, Formula &formula);

} // namespace attnjit::expr
