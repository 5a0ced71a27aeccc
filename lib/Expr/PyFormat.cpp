#include "Expr/PyFormat.h"

#include "Expr/SourceText.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace attnjit::expr {

namespace {

constexpr int kMaxColumns = 1000;

/// [[fill]align][sign][#][0][width][grouping][.precision][type]
struct Spec {
  std::string_view fill;
  char align = 0, sign = '-', grouping = 0, type = 0;
  bool hasPrefix = false;
  int width = 0, precision = -1;
};

bool readNumber(std::string_view &rest, int &number) {
  const auto parsed = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  rest.remove_prefix(static_cast<std::size_t>(parsed.ptr - rest.data()));
  return parsed.ec == std::errc() && number <= kMaxColumns;
}

bool eat(std::string_view &rest, std::string_view any, char &taken) {
  if (rest.empty() || any.find(rest[0]) == std::string_view::npos)
    return false;
  taken = rest[0];
  rest.remove_prefix(1);
  return true;
}

std::optional<Spec> readSpec(std::string_view rest) {
  Spec spec;
  std::size_t next = 0;
  if (!rest.empty())
    decodeUtf8(rest, next);
  constexpr std::string_view kAligns = "<>^=";
  if (next < rest.size() && next > 0 && kAligns.find(rest[next]) != std::string_view::npos) {
    spec.fill = rest.substr(0, next);
    spec.align = rest[next];
    rest.remove_prefix(next + 1);
  } else {
    eat(rest, kAligns, spec.align);
  }
  char flag = 0;
  eat(rest, "+- ", spec.sign);
  spec.hasPrefix = eat(rest, "#", flag);
  if (eat(rest, "0", flag) && spec.align == 0) {
    spec.fill = "0";
    spec.align = '=';
  }
  if (!rest.empty() && rest[0] >= '0' && rest[0] <= '9' && !readNumber(rest, spec.width))
    return std::nullopt;
  eat(rest, ",_", spec.grouping);
  if (eat(rest, ".", flag) && !readNumber(rest, spec.precision))
    return std::nullopt;
  eat(rest, "bcdeEfFgGnosxX%", spec.type);
  return rest.empty() ? std::optional(spec) : std::nullopt;
}

int columnsOf(std::string_view text) {
  int count = 0;
  for (std::size_t at = 0; at < text.size(); ++count)
    decodeUtf8(text, at);
  return count;
}

std::string padded(const Spec &spec, std::string_view sign, std::string_view body, char standard) {
  const char align = spec.align ? spec.align : standard;
  const int missing = std::max(0, spec.width - columnsOf(body) - static_cast<int>(sign.size()));
  const auto fill = [&](int count) {
    std::string text;
    for (int i = 0; i < count; ++i)
      text += spec.fill.empty() ? std::string_view(" ") : spec.fill;
    return text;
  };
  if (align == '=')
    return fmt::format("{}{}{}", sign, fill(missing), body);
  const int before = align == '>' ? missing : align == '^' ? missing / 2 : 0;
  return fmt::format("{}{}{}{}", fill(before), sign, body, fill(missing - before));
}

std::string grouped(std::string digits, char separator) {
  const std::size_t whole = std::min(digits.find_first_not_of("0123456789"), digits.size());
  for (std::size_t at = whole; at > 3; at -= 3)
    digits.insert(at - 3, 1, separator);
  return digits;
}

std::optional<std::string> intDigits(const Spec &spec, std::uint64_t x) {
  const std::string_view prefix = spec.hasPrefix ? "#" : "";
  switch (spec.type) {
  case 0:
  case 'd':
  case 'n':
    return fmt::format("{}", x);
  case 'b':
  case 'o':
  case 'x':
  case 'X': {
    std::string digits = fmt::format(fmt::runtime(fmt::format("{{:{}}}", spec.type)), x);
    return prefix.empty() ? digits : fmt::format("0{}{}", spec.type, digits);
  }
  default:
    return std::nullopt;
  }
}

std::optional<std::string> floatDigits(const Spec &spec, double x) {
  if (std::isnan(x) || std::isinf(x))
    return std::isnan(x) ? "nan" : "inf";
  const int precision = spec.precision < 0 ? 6 : spec.precision;
  switch (spec.type) {
  case 0:
    return spec.precision < 0 ? pyText({Kind::Float, 0, x}) : fmt::format("{:.{}g}", x, precision);
  case 'f':
  case 'F':
    return fmt::format("{:.{}f}", x, precision);
  case 'e':
    return fmt::format("{:.{}e}", x, precision);
  case 'E':
    return fmt::format("{:.{}E}", x, precision);
  case 'g':
  case 'n':
    return fmt::format("{:.{}g}", x, precision);
  case 'G':
    return fmt::format("{:.{}G}", x, precision);
  case '%':
    return fmt::format("{:.{}f}%", x * 100, precision);
  default:
    return std::nullopt;
  }
}

} // namespace

std::string pyText(const PyNumber &x) {
  if (x.kind == Kind::Bool)
    return x.i ? "True" : "False";
  if (x.kind == Kind::Int)
    return fmt::format("{}", x.i);
  if (std::isnan(x.f) || std::isinf(x.f))
    return std::isnan(x.f) ? "nan" : x.f < 0 ? "-inf" : "inf";
  const double size = std::fabs(x.f);
  const bool isPlain = size == 0 || (size >= 1e-4 && size < 1e16);
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, x.f, isPlain ? std::chars_format::fixed : std::chars_format::scientific);
  std::string text(buffer, end.ptr);
  return isPlain && text.find('.') == std::string::npos ? text + ".0" : text;
}

std::string pyQuoted(std::string_view text) {
  const char quote = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string quoted(1, quote);
  for (const char c : text) {
    if (c == quote || c == '\\')
      quoted += '\\';
    quoted += c == '\n' ? "\\n" : c == '\t' ? "\\t" : c == '\r' ? "\\r" : std::string(1, c);
  }
  return quoted + quote;
}

std::optional<std::string> pyFormat(const PyNumber &x, std::string_view text) {
  const std::optional<Spec> spec = readSpec(text);
  if (!spec)
    return std::nullopt;
  const bool isFloat = x.kind == Kind::Float || (spec->type && std::string_view("eEfFgG%").find(spec->type) != std::string_view::npos);
  if (x.kind == Kind::Bool && text.empty())
    return pyText(x);
  if (!isFloat && spec->precision >= 0)
    return std::nullopt;
  const bool isNegative = isFloat ? std::signbit(x.asDouble()) : x.i < 0;
  const auto size = isNegative ? 0 - static_cast<std::uint64_t>(x.i) : static_cast<std::uint64_t>(x.i);
  std::optional<std::string> digits = isFloat ? floatDigits(*spec, std::fabs(x.asDouble())) : intDigits(*spec, size);
  if (!digits)
    return std::nullopt;
  const std::string_view sign = isNegative ? "-" : spec->sign == '-' ? "" : spec->sign == '+' ? "+" : " ";
  return padded(*spec, sign, spec->grouping ? grouped(*digits, spec->grouping) : *digits, '>');
}

std::optional<std::string> pyFormat(std::string_view text, std::string_view format) {
  const std::optional<Spec> spec = readSpec(format);
  if (!spec || (spec->type != 0 && spec->type != 's') || spec->align == '=')
    return std::nullopt;
  std::size_t end = 0;
  for (int i = 0; end < text.size() && (spec->precision < 0 || i < spec->precision); ++i)
    decodeUtf8(text, end);
  return padded(*spec, "", text.substr(0, end), '<');
}

} // namespace attnjit::expr
