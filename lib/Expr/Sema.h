// Syntax tree to IR: names, types, promotion, arity. What it accepts has a meaning; what it refuses it explains.
#pragma once

#include "Expr/Ast.h"
#include "Expr/Frontend.h"

namespace attnjit::expr {

/// A mod may have this many operations after simplification.
inline constexpr std::size_t kMaxOperations = 20000;

/// What both mods see: the captures by name.
struct CaptureScope {
  std::span<const CaptureInfo> infos;
  std::vector<int> slots; ///< per info: index into Formula::captures or Formula::scalars
};

enum class ModKind : std::uint8_t { Score, Mask };

/// Checks and lowers one parsed mod.
Result<Function> analyse(const Ast &ast, const SourceText &source, ModKind mod, const CaptureScope &captures);

} // namespace attnjit::expr
