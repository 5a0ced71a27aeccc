#include "Expr/Lexer.h"

#include <fmt/format.h>

#include <charconv>
#include <iterator>
#include <limits>

namespace attnjit::expr {

namespace {

bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isNameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80; }
bool isNamePart(char c) { return isNameStart(c) || isDigit(c); }

/// Characters that word processors put where Python has ASCII.
struct Lookalike {
  char32_t character;
  std::string_view meant;
};
constexpr Lookalike kLookalikes[] = {{0x2264, "<="},
                                     {0x2265, ">="},
                                     {0x2260, "!="},
                                     {0x00D7, "*"},
                                     {0x00F7, "/"},
                                     {0x2212, "-"},
                                     {0x2013, "-"},
                                     {0x2014, "-"},
                                     {0x2018, "'"},
                                     {0x2019, "'"},
                                     {0x201C, "\""},
                                     {0x201D, "\""},
                                     {0x00B2, "**2"},
                                     {0x00B7, "*"},
                                     {0x221A, "sqrt"},
                                     {0x221E, "float(\"inf\")"},
                                     {0x2227, "&"},
                                     {0x2228, "|"},
                                     {0x00AC, "~"},
                                     {0x00A0, "a plain space"},
                                     {0x3000, "a plain space"},
                                     {0xFEFF, "nothing (it is a byte order mark)"}};

/// A text with more Bad tokens is none.
constexpr std::size_t kMaxBad = 200;

class Lexer {
public:
  explicit Lexer(const SourceText &source) : source(source), text(source.text) {}
  Lexer(const SourceText &source, TextRange part)
      : source(source), text(source.text.substr(0, part.end)), at(part.begin), depth(1), isPart(true) {}

  Result<Tokens> run() {
    tokens.reserve(text.size() / 3 + 4);
    if (depth == 0)
      beginLine();
    while (!error && at < text.size())
      next();
    if (error)
      return std::move(*error);
    if (!tokens.empty() && tokens.back().kind != TokenKind::Newline && tokens.back().kind != TokenKind::Dedent && !indents.empty())
      push(TokenKind::Newline, at, at);
    for (; indents.size() > 1; indents.pop_back())
      push(TokenKind::Dedent, at, at);
    push(TokenKind::End, at, at);
    return Tokens{std::move(tokens), std::move(errors), depth > 0 && !isPart};
  }

private:
  Token &push(TokenKind kind, std::size_t begin, std::size_t end) {
    Token token;
    token.kind = kind;
    token.range = {static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)};
    token.text = text.substr(begin, end - begin);
    return tokens.emplace_back(token);
  }

  /// Ends the reading.
  void fail(std::size_t begin, std::size_t end, std::string_view message, std::string_view help) {
    if (!error)
      error = errorAt(begin, end, message, help);
  }

  /// Goes on behind `at`; the statement that holds the token cannot be used.
  void bad(std::size_t begin, std::size_t end, std::string_view message, std::string_view help) {
    at = std::max(at, end);
    push(TokenKind::Bad, begin, end).intValue = static_cast<std::int64_t>(errors.size());
    errors.push_back(errorAt(begin, end, message, help));
    if (errors.size() == kMaxBad)
      fail(begin, end, message, help);
  }

  Error errorAt(std::size_t begin, std::size_t end, std::string_view message, std::string_view help) const {
    return source.error({static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)}, message, help);
  }

  char peek(std::size_t ahead = 0) const { return at + ahead < text.size() ? text[at + ahead] : '\0'; }

  /// At the start of a line outside brackets: skips blank lines, then compares the indentation.
  void beginLine() {
    std::size_t begin = at;
    std::size_t width = 0;
    for (; at < text.size(); ++at) {
      if (text[at] == ' ')
        ++width;
      else if (text[at] == '\t')
        width = (width / 8 + 1) * 8;
      else if (text[at] == '#')
        skipComment(), --at;
      else if (text[at] == '\n')
        begin = at + 1, width = 0;
      else if (text[at] != '\r' && text[at] != '\f')
        break;
    }
    if (at >= text.size())
      return;
    if (indents.empty())
      indents.push_back(width); // the text as a whole may be indented
    if (width > indents.back()) {
      indents.push_back(width);
      push(TokenKind::Indent, begin, at);
      return;
    }
    for (; indents.size() > 1 && width < indents.back(); indents.pop_back())
      push(TokenKind::Dedent, at, at);
    if (width != indents.back())
      fail(begin, at + 1, "this line's indentation matches no line above", "indent it like the other statements");
  }

  void skipComment() {
    while (at < text.size() && text[at] != '\n')
      ++at;
  }

  void next() {
    const char c = text[at];
    if (c == '\n') {
      if (depth == 0) {
        push(TokenKind::Newline, at, at + 1);
        ++at;
        beginLine();
      } else {
        ++at;
      }
    } else if (c == ' ' || c == '\t' || c == '\r' || c == '\f') {
      ++at;
    } else if (c == '#') {
      skipComment();
    } else if (c == '\\' && (peek(1) == '\n' || (peek(1) == '\r' && peek(2) == '\n'))) {
      at += peek(1) == '\n' ? 2 : 3;
    } else if (isDigit(c) || (c == '.' && isDigit(peek(1)))) {
      number();
    } else if (c == '"' || c == '\'') {
      string(at, TokenKind::String);
    } else if (isNameStart(c)) {
      nameOrPrefixedString();
    } else {
      operatorToken();
    }
  }

  /// r, u, f, rf in any case and order.
  static bool isPrefix(std::string_view name) {
    std::string lower;
    for (const char c : name.substr(0, 3))
      lower += static_cast<char>(c | 0x20);
    return lower == "r" || lower == "u" || lower == "f" || lower == "rf" || lower == "fr";
  }

  void nameOrPrefixedString() {
    const std::size_t begin = at;
    while (at < text.size() && isNamePart(text[at])) {
      const std::size_t here = at;
      if (static_cast<unsigned char>(text[at]) < 0x80) {
        ++at;
        continue;
      }
      const char32_t c = decodeUtf8(text, at);
      for (const Lookalike &lookalike : kLookalikes)
        if (lookalike.character == c)
          return bad(here, at, fmt::format("unexpected character '{}' (U+{:04X})", text.substr(here, at - here), static_cast<unsigned>(c)),
                     fmt::format("write {} instead", lookalike.meant));
    }
    const std::string_view name = text.substr(begin, at - begin);
    const bool quote = peek() == '"' || peek() == '\'';
    if (quote && isPrefix(name)) {
      const bool isFormatted = name.find_first_of("fF") != std::string_view::npos;
      return string(begin, isFormatted ? TokenKind::FString : TokenKind::String, name.find_first_of("rR") != std::string_view::npos);
    }
    push(TokenKind::Name, begin, at);
  }

  void string(std::size_t begin, TokenKind kind, bool isRaw = false) {
    const char quote = text[at];
    const bool triple = peek(1) == quote && peek(2) == quote;
    const std::size_t open = triple ? 3 : 1;
    const std::size_t content = at + open;
    for (std::size_t i = content; i < text.size(); ++i) {
      if (text[i] == '\\')
        ++i;
      else if (text[i] == '\n' && !triple)
        break;
      else if (text[i] == quote && (!triple || text.substr(i, 3) == std::string(3, quote))) {
        at = i + open;
        Token &token = push(kind, begin, at);
        token.text = text.substr(content, i - content);
        token.isRaw = isRaw;
        return;
      }
    }
    const std::string help = fmt::format("close it with {}", std::string(open, quote));
    if (triple)
      return fail(begin, begin + open, "this string is never closed", help);
    bad(begin, begin + open, "this string is never closed", help);
    at = std::min(text.find('\n', content), text.size());
  }

  void number() {
    const std::size_t begin = at;
    int base = 10;
    if (peek() == '0' && (peek(1) | 32) == 'x')
      base = 16;
    else if (peek() == '0' && (peek(1) | 32) == 'b')
      base = 2;
    else if (peek() == '0' && (peek(1) | 32) == 'o')
      base = 8;
    std::string digits;
    bool isFloat = false;
    if (base != 10)
      at += 2;
    for (; at < text.size(); ++at) {
      const char c = text[at];
      const bool exponent =
          base == 10 && (c == 'e' || c == 'E') && (isDigit(peek(1)) || ((peek(1) == '+' || peek(1) == '-') && isDigit(peek(2))));
      if (c == '_' && isNamePart(peek(1)))
        continue;
      if (exponent) {
        isFloat = true;
        digits += c;
        digits += text[++at];
      } else if (base == 10 && c == '.' && !isFloat) {
        isFloat = true;
        digits += c;
      } else if (isDigit(c) || (base == 16 && isNamePart(c) && static_cast<unsigned char>(c) < 0x80)) {
        digits += c;
      } else {
        break;
      }
    }
    if (at < text.size() && isNamePart(text[at])) {
      const std::size_t tail = at;
      while (at < text.size() && isNamePart(text[at]))
        ++at;
      return bad(begin, at, fmt::format("'{}' is not a number", text.substr(begin, at - begin)),
                 text.substr(tail, at - tail) == "j" ? "complex numbers have no place in a formula"
                                                     : "write a space or an operator after the number");
    }
    finishNumber(begin, digits, base, isFloat);
  }

  void finishNumber(std::size_t begin, const std::string &digits, int base, bool isFloat) {
    const char *first = digits.data(), *last = first + digits.size();
    if (isFloat) {
      double value = 0;
      const auto parsed = std::from_chars(first, last, value);
      if (parsed.ec == std::errc::result_out_of_range) // 1e999 is inf and 1e-999 is 0, as in Python
        value =
            digits.find("e-") != std::string::npos || digits.find("E-") != std::string::npos ? 0 : std::numeric_limits<double>::infinity();
      push(TokenKind::Float, begin, at).floatValue = value;
      return;
    }
    std::int64_t value = 0;
    const auto parsed = std::from_chars(first, last, value, base);
    if (parsed.ec == std::errc::result_out_of_range)
      return bad(begin, at, "this integer does not fit into 64 bits",
                 "integers are -9223372036854775808 to 9223372036854775807; write a float, e.g. 1e20");
    if (parsed.ec != std::errc() || parsed.ptr != last)
      return bad(begin, at, fmt::format("'{}' is not a number", text.substr(begin, at - begin)), "numbers look like 42, 0x2A, 1.5 or 1e-3");
    push(TokenKind::Int, begin, at).intValue = value;
  }

  void operatorToken() {
    static constexpr std::string_view kOperators[] = {"**=", "//=", "<<=", ">>=", "...", "->", ":=", "**", "//", "<<", ">>", "<=",
                                                      ">=",  "==",  "!=",  "+=",  "-=",  "*=", "/=", "%=", "&=", "|=", "^=", "+",
                                                      "-",   "*",   "/",   "%",   "&",   "|",  "^",  "~",  "<",  ">",  "=",  "(",
                                                      ")",   "[",   "]",   "{",   "}",   ",",  ":",  ".",  ";",  "@"};
    const std::string_view rest = text.substr(at);
    for (std::string_view candidate : kOperators)
      if (rest.starts_with(candidate)) {
        if (candidate == "(" || candidate == "[" || candidate == "{")
          ++depth;
        else if ((candidate == ")" || candidate == "]" || candidate == "}") && depth > 0)
          --depth;
        push(TokenKind::Operator, at, at + candidate.size());
        at += candidate.size();
        return;
      }
    const char c = text[at];
    const bool printable = c > ' ' && c < 0x7F;
    const std::string shown =
        printable ? fmt::format("'{}'", c) : fmt::format("U+{:04X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    std::string_view help = "formulas are written with Python's operators, names, numbers and brackets";
    if (c == '!')
      help = "write 'not x' or '~x' for a negation, '!=' for unequal";
    else if (c == '?')
      help = "write 'a if condition else b'";
    bad(at, at + 1, fmt::format("unexpected character {}", shown), help);
  }

  const SourceText &source;
  std::string_view text;
  std::size_t at = 0;
  int depth = 0;
  bool isPart = false;
  std::vector<std::size_t> indents;
  std::vector<Token> tokens;
  std::vector<Error> errors;
  std::optional<Error> error;
};

} // namespace

Result<Tokens> lex(const SourceText &source) { return Lexer(source).run(); }
Result<Tokens> lexPart(const SourceText &source, TextRange part) { return Lexer(source, part).run(); }

} // namespace attnjit::expr
