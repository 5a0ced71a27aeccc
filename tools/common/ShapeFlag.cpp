// --shape: sizes by their letters, also those that operand files bring.
#include "common/ProblemFlags.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace attnjit::tools {

namespace {

Error invalid(std::string message) { return {ErrorCode::InvalidArgument, std::move(message)}; }

/// The first of `letters` that is there.
ShapeLetters::const_iterator firstOf(const ShapeLetters &shape, std::initializer_list<std::string_view> letters) {
  for (const std::string_view letter : letters)
    if (const auto found = shape.find(letter); found != shape.end())
      return found;
  return shape.end();
}

/// Letters of one dimension of a file, and what may stand for each in --shape.
struct Letter {
  std::string_view own, alias;
};

} // namespace

Result<ShapeLetters> parseShape(std::string_view text) {
  ShapeLetters given;
  static constexpr std::string_view kKeys[] = {"B", "Bkv", "H", "Hq", "Hkv", "S", "M", "N", "D", "Dv"};
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t end = std::min(rest.find(','), rest.size());
    const std::string_view item = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const std::size_t equals = item.find('=');
    const std::string_view key = item.substr(0, equals);
    if (equals == std::string_view::npos || std::find(std::begin(kKeys), std::end(kKeys), key) == std::end(kKeys))
      return invalid(fmt::format("--shape: '{}' is not one of {}=NUMBER", item, fmt::join(kKeys, "=, ")));
    const Result<std::int64_t> value = parseInt(item.substr(equals + 1), fmt::format("--shape {}", key));
    if (!value)
      return value.error();
    if (*value < 0)
      return invalid(fmt::format("--shape {}: {} is negative", key, *value));
    if (!given.emplace(key, *value).second)
      return invalid(fmt::format("--shape: {} is given twice", key));
  }
  return given;
}

Result<void> addFileSizes(char operand, std::string_view path, std::span<const std::int64_t> sizes, const ShapeLetters &stated,
                          ShapeLetters &shape) {
  const bool isQuery = operand == 'q';
  const Letter letters[] = {
      {isQuery ? "B" : "Bkv", ""}, {isQuery ? "Hq" : "Hkv", "H"}, {isQuery ? "M" : "N", "S"}, {operand == 'v' ? "Dv" : "D", ""}};
  for (std::size_t dim = 0; dim < std::size(letters); ++dim) {
    if (const auto said = firstOf(stated, {letters[dim].own, letters[dim].alias}); said != stated.end() && said->second != sizes[dim])
      return invalid(fmt::format("--shape says {} = {}, --{} {} has {}", said->first, said->second, operand, path, sizes[dim]));
    shape.emplace(letters[dim].own, sizes[dim]);
  }
  return {};
}

Result<Dims> dimsOf(const ShapeLetters &shape) {
  const auto pick = [&](std::initializer_list<std::string_view> letters, std::int64_t otherwise) {
    const auto found = firstOf(shape, letters);
    return found == shape.end() ? otherwise : found->second;
  };
  if (firstOf(shape, {"M", "S"}) == shape.end())
    return invalid("--shape: M (query rows) is missing; e.g. --shape B=2,Hq=8,M=1000,D=64");
  if (!shape.contains("D"))
    return invalid("--shape: D (the head dimension) is missing; e.g. --shape B=2,Hq=8,M=1000,D=64");
  Dims dims;
  dims.B = pick({"B"}, 1);
  dims.Bkv = pick({"Bkv"}, dims.B);
  dims.Hq = pick({"Hq", "H"}, 1);
  dims.Hkv = pick({"Hkv", "H"}, dims.Hq);
  dims.M = pick({"M", "S"}, 0);
  dims.N = pick({"N", "S"}, dims.M);
  dims.D = pick({"D"}, 0);
  dims.Dv = pick({"Dv"}, dims.D);
  return dims;
}

} // namespace attnjit::tools
