#include "Expr/Names.h"

#include <fmt/format.h>

#include <algorithm>

namespace attnjit::expr {

namespace {

/// Edits (insert, delete, replace, swap of neighbours) between two names.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j)
    last[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(last);
    last.swap(row);
  }
  return last[b.size()];
}

} // namespace

std::optional<std::string_view> nearestName(std::string_view name, std::span<const std::string_view> candidates) {
  std::optional<std::string_view> nearest;
  constexpr std::size_t kLongest = 64;           // keeps the work bounded on absurd names
  if (name.size() > kLongest || name.size() < 2) // everything short is near to one letter
    return nearest;
  // Between equally near names, one of the same length is the likelier slip.
  std::size_t best = 2 * (std::max<std::size_t>(1, name.size() / 3) + 1);
  for (std::string_view candidate : candidates)
    if (candidate.size() <= kLongest)
      if (const std::size_t edits = 2 * distance(name, candidate) + (candidate.size() != name.size()); edits < best) {
        best = edits;
        nearest = candidate;
      }
  return nearest;
}

std::string listNames(std::span<const std::string_view> names) {
  constexpr std::size_t kShown = 24;
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < kShown; ++i)
    text += fmt::format("{}{}", i ? ", " : "", names[i]);
  return names.size() > kShown ? text + fmt::format(" and {} more", names.size() - kShown) : text;
}

std::vector<SignatureName> parseSignature(std::string_view signature) {
  std::vector<SignatureName> names;
  while (!signature.empty()) {
    const std::size_t end = std::min(signature.find(' '), signature.size());
    std::string_view name = signature.substr(0, end);
    const bool optional = name.ends_with('='), variadic = name == "...";
    if (optional)
      name.remove_suffix(1);
    names.push_back({name, optional, variadic});
    signature.remove_prefix(std::min(end + 1, signature.size()));
  }
  return names;
}

std::string showSignature(std::span<const SignatureName> signature) {
  std::string text;
  for (std::size_t i = 0; i < signature.size(); ++i)
    text += fmt::format("{}{}{}", i ? ", " : "", signature[i].name, signature[i].optional ? "=" : "");
  return text;
}

} // namespace attnjit::expr
