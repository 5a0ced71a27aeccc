// The user's text and how errors point into it.
#pragma once

#include "Expr/Ir.h"

#include <optional>
#include <string>
#include <string_view>

namespace attnjit::expr {

/// Texts longer than this are refused: a formula is a few lines.
inline constexpr std::size_t kMaxTextBytes = std::size_t{1} << 20;

/// Decodes the code point at `at` (valid UTF-8) and moves past it.
char32_t decodeUtf8(std::string_view text, std::size_t &at);

/// One text with its role ("score_mod", "mask_mod", or the name of a module).
struct SourceText {
  std::string_view role;
  std::string_view text;

  /// Refuses what cannot be shown or read: too long, or not UTF-8.
  std::optional<Error> check() const;

  /// "role:line:col: message", the user's line, a caret under `range`, and `help` (what would be accepted; may be empty).
  Error error(TextRange range, std::string_view message, std::string_view help) const;

  /// Where `range` begins.
  ErrorPlace place(TextRange range) const;
  /// "role:line:col" of the beginning of `range`.
  std::string placeText(TextRange range) const;
  /// From 1.
  std::size_t line(TextRange range) const;
};

} // namespace attnjit::expr
