// Text in, Formula out: the only door from the user's text to the IR.
#pragma once

#include "Expr/Ir.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace attnjit::expr {

/// What the text of a mod may refer to besides its arguments. `rank` -1 = a captured number of the given kind.
struct CaptureInfo {
  std::string name;
  DType dtype = DType::F32; ///< of a tensor; for a number: F64 float, I64 int, Bool bool
  int rank = -1;
};

/// The texts of one problem; empty text = default (identity score, True mask, identity prob).
struct SourceTexts {
  std::string_view scoreMod;
  std::string_view maskMod;
  std::string_view module = {};         ///< Python text whose names all mods may use
  std::string_view moduleName = "mods"; ///< what messages call it, e.g. its file
  std::string_view probMod = {};
};

/// Lexes, parses, checks and simplifies both mods. Captures appear in the Formula in the order of `captures`, those that no
/// mod uses included; numbers that the formula brings itself (ScalarDecl) follow them. Errors: ErrorCode::InvalidFormula with line, column,
/// excerpt, caret and what would be accepted.
Result<Formula> parseFormula(const SourceTexts &texts, std::span<const CaptureInfo> captures);

/// The syntax tree as text (`--emit ast`).
Result<std::string> dumpAst(const SourceTexts &texts);

} // namespace attnjit::expr
