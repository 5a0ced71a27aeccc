// Tokens to syntax tree.
#pragma once

#include "Expr/Ast.h"

namespace attnjit::expr {

/// Brackets, conditionals, calls and unary operators may nest this deep; chains of binary operators may be any length.
inline constexpr int kMaxNesting = 200;

/// Parses one mod: a bare expression, a lambda, or def statements of which the last is the mod.
Result<Ast> parseSyntax(const SourceText &source);

} // namespace attnjit::expr
