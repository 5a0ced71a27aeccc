#include "Expr/SourceText.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

namespace attnjit::expr {

namespace {

/// Byte length of the well-formed UTF-8 sequence at `at`, 0 if there is none (overlong forms and surrogates are ill-formed).
std::size_t sequenceLength(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u; };
  const auto isTail = [&](std::size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const unsigned first = byte(0);
  if (first < 0x80)
    return 1;
  if (first >= 0xC2 && first <= 0xDF)
    return isTail(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool overlong = first == 0xE0 && byte(1) < 0xA0, surrogate = first == 0xED && byte(1) > 0x9F;
    return isTail(1) && isTail(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool overlong = first == 0xF0 && byte(1) < 0x90, beyond = first == 0xF4 && byte(1) > 0x8F;
    return isTail(1) && isTail(2) && isTail(3) && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}

struct Span {
  char32_t first, last;
};

// Terminal columns, in the manner of wcwidth(): East Asian wide and emoji take two, combining marks none.
constexpr Span kWide[] = {{0x1100, 0x115F},   {0x2E80, 0x303E},   {0x3041, 0xA4CF},   {0xAC00, 0xD7A3},
                          {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},   {0xFFE0, 0xFFE6},
                          {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}};
constexpr Span kZeroWidth[] = {{0x0300, 0x036F}, {0x200B, 0x200F}, {0x202A, 0x202E}, {0x2060, 0x2064},
                               {0x20D0, 0x20F0}, {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}, {0xFEFF, 0xFEFF}};

template <std::size_t N> bool isIn(const Span (&spans)[N], char32_t c) {
  return std::any_of(std::begin(spans), std::end(spans), [c](const Span &span) { return c >= span.first && c <= span.last; });
}

std::size_t columns(char32_t c) { return isIn(kZeroWidth, c) ? 0 : isIn(kWide, c) ? 2 : 1; }

constexpr std::size_t kMaxExcerptColumns = 110;

/// The line that `range` begins in, cut to a window if long, and a caret line of the same shape below it.
std::string excerpt(std::string_view text, TextRange range) {
  const std::size_t lineBegin = text.rfind('\n', range.begin == 0 ? std::string_view::npos : range.begin - 1);
  const std::size_t begin = range.begin == 0 || lineBegin == std::string_view::npos ? 0 : lineBegin + 1;
  std::size_t end = std::min(text.find('\n', range.begin), text.size());
  if (end > begin && text[end - 1] == '\r' && end - 1 >= range.begin)
    --end;
  std::string shown, caret;
  std::size_t used = 0, from = begin;
  // A long line is shown from a little before the caret.
  if (range.begin - begin > kMaxExcerptColumns - 30) {
    from = range.begin - 40;
    while (from > begin && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80)
      --from;
    shown = caret = "...";
    std::fill(caret.begin(), caret.end(), ' ');
  }
  bool pointed = false;
  for (std::size_t at = from; at < end;) {
    const std::size_t here = at;
    char32_t c = decodeUtf8(text, at);
    std::string_view bytes = text.substr(here, at - here);
    // A tab stays a tab in both lines: wherever the terminal's stops are, the caret keeps its place. Control characters are not passed on
    // to the terminal.
    if ((c < 0x20 && c != '\t') || c == 0x7F || (c >= 0x80 && c < 0xA0)) {
      c = '?';
      bytes = "?";
    }
    if (used + columns(c) > kMaxExcerptColumns) {
      shown += "...";
      break;
    }
    shown += bytes;
    used += columns(c);
    if (here < range.begin) {
      c == '\t' ? caret += '\t' : caret.append(columns(c), ' ');
    } else if (here == range.begin || here < range.end) {
      caret.append(std::max<std::size_t>(columns(c), pointed ? 0 : 1), '~');
      if (!pointed)
        caret[caret.size() - std::max<std::size_t>(columns(c), 1)] = '^';
      pointed = true;
    }
  }
  if (!pointed)
    caret += '^';
  return fmt::format("    {}\n    {}", shown, caret);
}

} // namespace

char32_t decodeUtf8(std::string_view text, std::size_t &at) {
  const std::size_t length = std::max<std::size_t>(sequenceLength(text, at), 1);
  const auto first = static_cast<unsigned char>(text[at]);
  char32_t c = length == 1 ? first : first & (0x7F >> length);
  for (std::size_t i = 1; i < length; ++i)
    c = c << 6 | (static_cast<unsigned char>(text[at + i]) & 0x3F);
  at += length;
  return c;
}

std::optional<Error> SourceText::check() const {
  if (text.size() > kMaxTextBytes)
    return Error{ErrorCode::InvalidFormula,
                 fmt::format("{}: the text has {} bytes; a formula may have at most {}", role, text.size(), kMaxTextBytes)};
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = sequenceLength(text, at);
    if (length == 0)
      return Error{ErrorCode::InvalidFormula, fmt::format("{}: byte {} (0x{:02X}) is not UTF-8; save the text as UTF-8", role, at,
                                                          static_cast<unsigned char>(text[at]))};
    at += length;
  }
  return std::nullopt;
}

std::size_t SourceText::line(TextRange range) const {
  const std::size_t end = std::min<std::size_t>(range.begin, text.size());
  return 1 + static_cast<std::size_t>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
}

ErrorPlace SourceText::place(TextRange range) const {
  const std::size_t end = std::min<std::size_t>(range.begin, text.size());
  const std::size_t newline = end == 0 ? std::string_view::npos : text.rfind('\n', end - 1);
  std::size_t column = 1;
  for (std::size_t at = newline == std::string_view::npos ? 0 : newline + 1; at < end; ++column)
    decodeUtf8(text, at);
  return {std::string(role), line(range), column};
}

std::string SourceText::placeText(TextRange range) const {
  const ErrorPlace where = place(range);
  return fmt::format("{}:{}:{}", where.text, where.line, where.column);
}

Error SourceText::error(TextRange range, std::string_view message, std::string_view help) const {
  range.begin = std::min<std::uint32_t>(range.begin, static_cast<std::uint32_t>(text.size()));
  std::string full = fmt::format("{}: {}\n{}", placeText(range), message, excerpt(text, range));
  if (!help.empty())
    full += fmt::format("\n  {}", help);
  return {ErrorCode::InvalidFormula, std::move(full), place(range)};
}

} // namespace attnjit::expr
