// Small text helpers of error messages: nearest names, lists, signatures.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace attnjit::expr {

/// The candidate within a third of the name's length of edits (at least 1), the closest one; empty if none is near, and for names of one
/// letter.
std::optional<std::string_view> nearestName(std::string_view name, std::span<const std::string_view> candidates);

/// "a, b, c", shortened after 24 names.
std::string listNames(std::span<const std::string_view> names);

/// One argument of a built-in function.
struct SignatureName {
  std::string_view name;
  bool optional = false;
  bool variadic = false;
};
std::vector<SignatureName> parseSignature(std::string_view signature);
/// "input, min=, max="
std::string showSignature(std::span<const SignatureName> signature);

} // namespace attnjit::expr
