// Python's tokens, as far as formulas need them.
#pragma once

#include "Expr/SourceText.h"

#include <vector>

namespace attnjit::expr {

enum class TokenKind : std::uint8_t {
  Name,
  Int, ///< intValue
  Float,
  String,
  FString,
  Operator,
  Newline,
  Indent,
  Dedent,
  Bad, ///< no token of ours; intValue: index into Tokens::errors
  End
};

struct Token {
  TokenKind kind = TokenKind::End;
  TextRange range;
  std::string_view text; ///< the bytes of `range`; for a String or FString what stands between the quotes
  std::int64_t intValue = 0;
  double floatValue = 0;
  bool isRaw = false; ///< a String or FString: backslashes stand for themselves

  bool is(std::string_view spelling) const { return (kind == TokenKind::Operator || kind == TokenKind::Name) && text == spelling; }
};

struct Tokens {
  std::vector<Token> list; ///< ended by End
  std::vector<Error> errors;
  bool isUnclosed = false; ///< a bracket stays open: where a statement ends is anybody's guess
};

/// All tokens of a checked text. Newlines inside brackets, blank lines and comments leave no token; Indent and
/// Dedent are relative to the first line's indentation. An error is one of the text's layout; what else cannot be read becomes a Bad token.
Result<Tokens> lex(const SourceText &source);

/// The tokens of a part of the text as if it stood in brackets: the expression inside an f-string.
Result<Tokens> lexPart(const SourceText &source, TextRange part);

} // namespace attnjit::expr
