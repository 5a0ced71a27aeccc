// Python's text of values: str(), repr() and the format language of f-strings, format() and '%'.
#pragma once

#include "Expr/PyNumber.h"

#include <optional>

namespace attnjit::expr {

/// str(x)
std::string pyText(const PyNumber &x);
/// repr(text)
std::string pyQuoted(std::string_view text);
/// format(x, spec); empty if that is no format of a number, or one of more than 1000 columns.
std::optional<std::string> pyFormat(const PyNumber &x, std::string_view spec);
std::optional<std::string> pyFormat(std::string_view text, std::string_view spec);

} // namespace attnjit::expr
