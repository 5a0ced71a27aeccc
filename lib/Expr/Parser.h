// Tokens to syntax tree.
#pragma once

#include "Expr/Ast.h"

namespace attnjit::expr {

/// Brackets, conditionals, calls, unary operators and blocks may nest this deep; chains of binary operators may be any length.
inline constexpr int kMaxNesting = 200;

enum class TextForm : std::uint8_t {
  Mod,    ///< an expression, a lambda, or statements with a def whose last one gives the mod
  Module, ///< statements
};

/// Parses a whole text.
Result<Ast> parseSyntax(const SourceText &source, TextForm form);

} // namespace attnjit::expr
