// Strings: escapes, implicit concatenation, and the expressions of f-strings.
#include "Expr/ParserImpl.h"

#include <charconv>

namespace attnjit::expr {

namespace {

/// Whether the '=' at `at` ends the expression of {x=}.
bool isSelfNaming(std::string_view text, std::size_t at) {
  if (text[at] != '=' || at == 0 || std::string_view("=!<>").find(text[at - 1]) != std::string_view::npos)
    return false;
  const std::size_t next = text.find_first_not_of(' ', at + 1);
  return next != std::string_view::npos && std::string_view("}:!").find(text[next]) != std::string_view::npos;
}

/// What a letter after a backslash stands for; 0 for none of these.
char simpleEscape(char letter) {
  static constexpr std::string_view kLetters = "\\'\"abfnrtv", kMeanings = "\\'\"\a\b\f\n\r\t\v";
  const std::size_t place = kLetters.find(letter);
  return place == std::string_view::npos ? 0 : kMeanings[place];
}

void appendUtf8(std::string &text, char32_t c) {
  const auto put = [&](char32_t byte) { text += static_cast<char>(byte); };
  if (c < 0x80)
    return put(c);
  if (c < 0x800) {
    put(0xC0 | c >> 6);
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
  }
  put(0x80 | (c & 0x3F));
}

/// The digits of a numeric escape after its backslash: \x41, \u00e9, \U0001F600, \101. No digits: none.
struct Digits {
  std::size_t letters = 0, count = 0; ///< before the digits, and of them
  int base = 16;
  bool isExact = true; ///< as many as there must be
};
Digits digitsAt(std::string_view text) {
  const auto run = [&](std::size_t from, std::size_t most, std::string_view allowed) {
    std::size_t count = 0;
    while (count < most && from + count < text.size() && allowed.find(text[from + count]) != std::string_view::npos)
      ++count;
    return count;
  };
  constexpr std::string_view kOctal = "01234567", kHex = "0123456789abcdefABCDEF";
  if (const std::size_t count = run(0, 3, kOctal))
    return {0, count, 8, true};
  const std::size_t wanted = text.starts_with("x") ? 2 : text.starts_with("u") ? 4 : text.starts_with("U") ? 8 : 0;
  const std::size_t count = wanted ? run(1, wanted, kHex) : 0;
  return {wanted ? std::size_t{1} : 0, count, 16, count == wanted};
}

} // namespace

AstId Parser::parseLiteral(std::string_view text, TextRange range, bool isRaw) {
  if (!isRaw && text.find('\\') != std::string_view::npos)
    text = ast.texts.emplace_back(unescaped(text, range));
  return make(AstKind::String, range, range, {}, text);
}

/// Escapes that Python does not know stay as they are.
std::string Parser::unescaped(std::string_view text, TextRange range) {
  std::string out;
  while (!text.empty()) {
    const std::size_t slash = std::min(text.find('\\'), text.size());
    out += text.substr(0, slash);
    text.remove_prefix(slash);
    if (text.size() < 2) {
      out += text;
      break;
    }
    text.remove_prefix(1);
    const Digits digits = digitsAt(text);
    std::uint32_t code = 0;
    std::from_chars(text.data() + digits.letters, text.data() + digits.letters + digits.count, code, digits.base);
    if (!digits.isExact || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
      fail(range,
           fmt::format("'\\{}' needs the number of a character in {} digits", text[0],
                       text[0] == 'x'   ? 2
                       : text[0] == 'u' ? 4
                                        : 8),
           "e.g. \"\\x41\", \"\\u00e9\"; a backslash itself is \"\\\\\" or stands in r\"...\"");
      break;
    }
    if (digits.count > 0) {
      appendUtf8(out, code);
      text.remove_prefix(digits.letters + digits.count);
      continue;
    }
    if (const char meant = simpleEscape(text[0]))
      out += meant;
    else if (text[0] != '\n') // the end of a line is left out
      out.append("\\").append(text.substr(0, 1));
    text.remove_prefix(1);
  }
  return out;
}

AstId Parser::parseStrings() {
  std::vector<AstId> pieces;
  std::vector<std::string_view> formats;
  TextRange range = peek().range;
  while (!error && (peek().kind == TokenKind::String || peek().kind == TokenKind::FString)) {
    const Token token = take();
    range = join(range, token.range);
    if (token.kind == TokenKind::FString) {
      parseFormatted(token, pieces, formats);
    } else {
      pieces.push_back(parseLiteral(token.text, token.range, token.isRaw));
      formats.emplace_back();
    }
  }
  if (pieces.size() == 1 && ast[pieces[0]].kind == AstKind::String && formats[0].empty())
    return pieces[0];
  const AstId id = make(AstKind::FString, range, range, std::move(pieces));
  ast.nodes[id].keywords = std::move(formats);
  return id;
}

void Parser::parseFormatted(const Token &token, std::vector<AstId> &pieces, std::vector<std::string_view> &formats) {
  const Nested nested(*this);
  const std::string_view text = token.text;
  const auto base = static_cast<std::uint32_t>(text.data() - source.text.data());
  const auto literal = [&](std::size_t begin, std::size_t end) {
    if (begin == end)
      return;
    const TextRange range{base + static_cast<std::uint32_t>(begin), base + static_cast<std::uint32_t>(end)};
    pieces.push_back(parseLiteral(text.substr(begin, end - begin), range, token.isRaw));
    formats.emplace_back();
  };
  std::size_t begin = 0;
  for (std::size_t i = 0; !error && i < text.size(); ++i) {
    if (text[i] != '{' && text[i] != '}')
      continue;
    literal(begin, i);
    if (i + 1 < text.size() && text[i + 1] == text[i]) { // {{ is {
      literal(i, i + 1);
      begin = ++i + 1;
      continue;
    }
    const TextRange here{base + static_cast<std::uint32_t>(i), base + static_cast<std::uint32_t>(i) + 1};
    if (text[i] == '}')
      return fail(here, "this '}' closes nothing", "write '}}' for the character itself");
    // The expression ends at '}', at a format after ':' or '!', or at a '=' of {name=}; brackets and quotes protect them.
    std::size_t end = i + 1;
    char quote = 0;
    for (int depth = 0; end < text.size(); ++end) {
      const char c = text[end];
      if (quote)
        quote = c == quote ? 0 : quote;
      else if (c == '"' || c == '\'')
        quote = c;
      else if (c == '(' || c == '[')
        ++depth;
      else if (c == ')' || c == ']')
        --depth;
      else if (depth <= 0 && (c == '}' || c == ':' || (c == '!' && text.substr(end, 2) != "!=") || isSelfNaming(text, end)))
        break;
    }
    const bool namesItself = end < text.size() && text[end] == '=';
    const std::size_t close = text.find('}', end);
    if (close == std::string_view::npos)
      return fail(here, "this '{' is never closed", "write '{{' for the character itself");
    const TextRange part{base + static_cast<std::uint32_t>(i) + 1, base + static_cast<std::uint32_t>(end)};
    Result<Tokens> inner = lexPart(source, part);
    if (!inner) {
      error = inner.error();
      return;
    }
    std::swap(tokens, inner->list);
    std::swap(badTokens, inner->errors);
    const std::size_t outerAt = std::exchange(at, 0);
    const AstId value = parseExpression();
    if (!error && peek().kind != TokenKind::End)
      failExpected("the end of the expression", "an f-string holds expressions in '{}'");
    std::swap(tokens, inner->list);
    std::swap(badTokens, inner->errors);
    at = error ? tokens.size() - 1 : outerAt;
    if (namesItself)
      literal(i + 1, ++end); // "x=" stands before its value
    pieces.push_back(value);
    formats.push_back(namesItself && end == close ? "!r" : text.substr(end, close - end));
    begin = close + 1;
    i = close;
  }
  literal(begin, text.size());
}

} // namespace attnjit::expr
