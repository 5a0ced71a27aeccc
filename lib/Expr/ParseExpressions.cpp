#include "Expr/ParserImpl.h"

namespace attnjit::expr {

namespace {

/// Binary operators by binding strength, as in Python; comparisons, not, and, or stand above with rules of their own.
struct BinaryLevel {
  std::string_view spelling;
  int strength;
};
constexpr BinaryLevel kBinary[] = {{"|", 1}, {"^", 2}, {"&", 3}, {"<<", 4}, {">>", 4}, {"+", 5},
                                   {"-", 5}, {"*", 6}, {"/", 6}, {"//", 6}, {"%", 6},  {"@", 6}};
constexpr std::string_view kComparisons[] = {"<", "<=", ">", ">=", "==", "!="};

} // namespace

AstId Parser::parseExpression() {
  const Nested nested(*this);
  if (error)
    return nothing();
  if (peek().is("lambda"))
    return parseLambda();
  const AstId value = parseOr();
  if (peek().is(":=")) {
    const TextRange token = peek().range;
    if (ast[value].kind != AstKind::Name) {
      fail(token, "':=' gives a value to a name", "e.g. (n := len(t))");
      return value;
    }
    take();
    const AstId named = parseExpression();
    return make(AstKind::Named, join(rangeOf(value), rangeOf(named)), token, {value, named});
  }
  if (!peek().is("if") || error)
    return value;
  const TextRange token = take().range;
  const AstId condition = parseOr();
  if (!expect("else", "a conditional expression reads 'a if condition else b'"))
    return value;
  const AstId other = parseExpression();
  return make(AstKind::Conditional, join(rangeOf(value), rangeOf(other)), token, {value, condition, other});
}

/// An element of a tuple or list: x or *x.
AstId Parser::parseElement() {
  if (!peek().is("*"))
    return parseExpression();
  const Nested nested(*this);
  const TextRange star = take().range;
  const AstId list = error ? nothing() : parseOr();
  return make(AstKind::Starred, join(star, rangeOf(list)), star, {list});
}

AstId Parser::parseExpressionList() {
  const AstId first = parseElement();
  if (error || !peek().is(","))
    return first;
  std::vector<AstId> elements{first};
  while (!error && eat(",")) {
    if (peek().kind == TokenKind::Newline || peek().kind == TokenKind::End || peek().is("=") || peek().is(")") || peek().is("]") ||
        peek().is(":"))
      break;
    elements.push_back(parseElement());
  }
  const TextRange range = join(rangeOf(first), rangeOf(elements.back()));
  return make(AstKind::Tuple, range, range, std::move(elements));
}

AstId Parser::parseTargetList() {
  std::vector<AstId> elements;
  bool isTuple = false;
  do {
    if (isTuple && peek().is("in"))
      break;
    if (eat("(")) {
      elements.push_back(parseTargetList());
      expect(")");
    } else if (isName() || peek().is("*")) {
      const TextRange star = peek().range;
      const bool isStarred = eat("*");
      if (!isName()) {
        failExpected("a name", "");
        break;
      }
      const Token &name = take();
      const AstId id = make(AstKind::Name, name.range, name.range, {}, name.text);
      elements.push_back(isStarred ? make(AstKind::Starred, join(star, name.range), star, {id}) : id);
    } else {
      failExpected("a name", "a loop reads 'for i in range(4):'");
    }
    isTuple |= peek().is(",");
  } while (!error && eat(","));
  if (!isTuple || elements.empty())
    return elements.empty() ? nothing() : elements[0];
  const TextRange range = join(rangeOf(elements.front()), rangeOf(elements.back()));
  return make(AstKind::Tuple, range, range, std::move(elements));
}

AstId Parser::parseBoolChain(std::string_view spelling, AstKind kind, AstId (Parser::*operand)()) {
  AstId left = (this->*operand)();
  while (!error && eat(spelling)) {
    const TextRange token = tokens[at - 1].range;
    const AstId right = (this->*operand)();
    left = make(kind, join(rangeOf(left), rangeOf(right)), token, {left, right}, spelling);
  }
  return left;
}

AstId Parser::parseNot() {
  if (!eat("not"))
    return parseComparison();
  const Nested nested(*this);
  const TextRange token = tokens[at - 1].range;
  if (error)
    return nothing();
  const AstId operand = parseNot();
  return make(AstKind::Unary, join(token, rangeOf(operand)), token, {operand}, "not");
}

std::string_view Parser::eatComparison() {
  if (eat("in"))
    return "in";
  if (peek().is("not") && peek(1).is("in"))
    return take(), take(), "not in";
  if (eat("is"))
    return eat("not") ? "is not" : "is";
  return peek().kind == TokenKind::Operator && contains(kComparisons, peek().text) ? take().text : std::string_view();
}

AstId Parser::parseComparison() {
  const AstId first = parseBinary(1);
  std::vector<AstId> children{first};
  std::vector<std::string_view> operators;
  TextRange token = peek().range;
  while (!error) {
    const TextRange here = peek().range;
    const std::string_view spelling = eatComparison();
    if (spelling.empty())
      break;
    if (operators.empty())
      token = here;
    operators.push_back(spelling);
    children.push_back(parseBinary(1));
  }
  if (operators.empty())
    return first;
  const TextRange range = join(rangeOf(first), rangeOf(children.back()));
  const AstId id = make(AstKind::Compare, range, token, std::move(children));
  ast.nodes[id].operators = std::move(operators);
  return id;
}

AstId Parser::parseBinary(int minimum) {
  AstId left = parseUnary();
  while (!error && peek().kind == TokenKind::Operator) {
    const auto level = std::find_if(std::begin(kBinary), std::end(kBinary),
                                    [&](const BinaryLevel &candidate) { return candidate.spelling == peek().text; });
    if (level == std::end(kBinary) || level->strength < minimum)
      break;
    const Token &op = take();
    const AstId right = parseBinary(level->strength + 1);
    left = make(AstKind::Binary, join(rangeOf(left), rangeOf(right)), op.range, {left, right}, op.text);
  }
  return left;
}

AstId Parser::parseUnary() {
  if (peek().kind == TokenKind::Operator && (peek().text == "-" || peek().text == "+" || peek().text == "~")) {
    const Token &op = take();
    const Nested nested(*this);
    const AstId operand = error ? nothing() : parseUnary();
    return make(AstKind::Unary, join(op.range, rangeOf(operand)), op.range, {operand}, op.text);
  }
  const AstId base = parsePostfix();
  if (error || !eat("**"))
    return base;
  const TextRange token = tokens[at - 1].range;
  const Nested nested(*this);
  const AstId exponent = error ? nothing() : parseUnary(); // right to left, and -x on the right: 2 ** -x
  return make(AstKind::Binary, join(rangeOf(base), rangeOf(exponent)), token, {base, exponent}, "**");
}

AstId Parser::parsePostfix() {
  AstId value = parseAtom();
  while (!error) {
    if (eat("(")) {
      value = parseCall(value);
    } else if (eat("[")) {
      value = parseSubscript(value);
    } else if (eat(".")) {
      if (peek().kind != TokenKind::Name) {
        failExpected("a name after '.'", "write a method, e.g. x.abs()");
        break;
      }
      const Token &name = take();
      value = make(AstKind::Attribute, join(rangeOf(value), name.range), name.range, {value}, name.text);
    } else {
      break;
    }
  }
  return value;
}

AstId Parser::parseCall(AstId callee) {
  std::vector<AstId> children{callee};
  std::vector<std::string_view> keywords;
  while (!error && !peek().is(")")) {
    keywords.emplace_back();
    if (peek().is("**")) {
      keywords.back() = take().text;
      children.push_back(parseExpression());
    } else if (peek().is("*")) {
      const TextRange star = take().range;
      const AstId list = parseExpression();
      children.push_back(make(AstKind::Starred, join(star, rangeOf(list)), star, {list}));
    } else {
      if (peek().kind == TokenKind::Name && peek(1).is("=")) {
        keywords.back() = take().text;
        take();
      } else if (keywords.size() > 1 && !keywords[keywords.size() - 2].empty()) {
        fail(peek().range, "a positional argument follows a named one", "put positional arguments first");
      }
      AstId argument = parseExpression();
      if (!error && peek().is("for"))
        argument = parseComprehension(argument, rangeOf(argument));
      children.push_back(argument);
    }
    if (!eat(","))
      break;
  }
  const TextRange end = peek().range;
  expect(")");
  const TextRange token = ast.nodes[callee].token;
  const AstId id = make(AstKind::Call, join(rangeOf(callee), end), token, std::move(children));
  ast.nodes[id].keywords = std::move(keywords);
  return id;
}

AstId Parser::parseIndex() {
  const TextRange begin = peek().range;
  const auto isEnd = [&] { return peek().is(":") || peek().is(",") || peek().is("]"); };
  const AstId start = isEnd() ? nothing() : parseExpression();
  if (error || !eat(":"))
    return start;
  const AstId stop = isEnd() ? nothing() : parseExpression();
  const AstId step = !error && eat(":") && !isEnd() ? parseExpression() : nothing();
  return make(AstKind::Slice, join(begin, tokens[at - 1].range), begin, {start, stop, step});
}

AstId Parser::parseSubscript(AstId base) {
  std::vector<AstId> children{base};
  while (!error && !peek().is("]")) {
    children.push_back(parseIndex());
    if (!eat(","))
      break;
  }
  const TextRange end = peek().range;
  if (expect("]") && children.size() == 1)
    fail(end, "expected an index, found ']'", "give an index, e.g. t[h, kv_idx]");
  return make(AstKind::Subscript, join(rangeOf(base), end), rangeOf(base), std::move(children));
}

AstId Parser::parseAtom() {
  const Token &token = peek();
  switch (token.kind) {
  case TokenKind::Int:
  case TokenKind::Float: {
    take();
    const AstId id = make(token.kind == TokenKind::Int ? AstKind::Int : AstKind::Float, token.range, token.range);
    ast.nodes[id].intValue = token.intValue;
    ast.nodes[id].floatValue = token.floatValue;
    return id;
  }
  case TokenKind::String:
  case TokenKind::FString:
    return parseStrings();
  case TokenKind::Name:
    return parseNameAtom();
  default:
    break;
  }
  if (eat("("))
    return parseParenthesised(token.range);
  if (eat("["))
    return parseList(token.range);
  if (eat("..."))
    return make(AstKind::Ellipsis, token.range, token.range);
  if (eat("{"))
    return parseBraces(token.range);
  const bool doubled = at > 0 && (peek().is("&") || peek().is("|")) && tokens[at - 1].text == peek().text;
  failExpected("a value", doubled                         ? "write 'and' or '&' for and, 'or' or '|' for or"
                          : peek().kind == TokenKind::End ? "the expression is not complete"
                                                          : "a value is a name, a number, a call or something in brackets");
  return nothing();
}

AstId Parser::parseNameAtom() {
  const Token &token = peek();
  if (token.text == "True" || token.text == "False") {
    take();
    const AstId id = make(AstKind::Bool, token.range, token.range);
    ast.nodes[id].intValue = token.text == "True";
    return id;
  }
  if (token.text == "None") {
    take();
    return make(AstKind::None, token.range, token.range);
  }
  if (isKeyword(token.text)) {
    failExpected("a value", token.text == "not" ? "put the negation in brackets: '(not x)'" : "");
    return nothing();
  }
  take();
  return make(AstKind::Name, token.range, token.range, {}, token.text);
}

AstId Parser::parseParenthesised(TextRange open) {
  if (peek().is(")")) {
    const TextRange range = join(open, take().range);
    return make(AstKind::Tuple, range, range);
  }
  AstId value = parseElement();
  if (!error && peek().is("for")) {
    value = parseComprehension(value, open);
  } else if (!error && peek().is(",")) {
    std::vector<AstId> elements{value};
    while (!error && eat(",") && !peek().is(")"))
      elements.push_back(parseElement());
    value = make(AstKind::Tuple, open, open, std::move(elements));
  }
  if (!error && peek().kind == TokenKind::End)
    fail(open, "this '(' is never closed", "add ')'");
  const TextRange close = peek().range;
  if (expect(")"))
    ast.nodes[value].range = join(open, close);
  return value;
}

AstId Parser::parseList(TextRange open) {
  std::vector<AstId> elements;
  while (!error && !peek().is("]")) {
    elements.push_back(parseElement());
    if (!error && peek().is("for") && elements.size() == 1) {
      const AstId comprehension = parseComprehension(elements[0], open);
      const TextRange close = peek().range;
      if (expect("]"))
        ast.nodes[comprehension].range = join(open, close);
      return comprehension;
    }
    if (!eat(","))
      break;
  }
  if (!error && peek().kind == TokenKind::End)
    fail(open, "this '[' is never closed", "add ']'");
  const TextRange close = peek().range;
  expect("]");
  return make(AstKind::List, join(open, close), open, std::move(elements));
}

/// A dictionary or a set.
AstId Parser::parseBraces(TextRange open) {
  std::vector<AstId> children;
  bool isDict = peek().is("}"), isComprehension = false;
  while (!error && !peek().is("}")) {
    if (peek().is("**")) {
      const TextRange stars = take().range;
      const AstId other = parseOr();
      children.push_back(make(AstKind::Starred, join(stars, rangeOf(other)), stars, {other}));
      children.push_back(nothing());
      isDict = true;
    } else {
      AstId element = parseElement();
      if (!error && children.empty())
        isDict = peek().is(":");
      if (!error && isDict && expect(":", "a dictionary reads {\"name\": value}")) {
        const AstId value = parseExpression();
        if (!error && peek().is("for"))
          element = make(AstKind::Tuple, join(rangeOf(element), rangeOf(value)), rangeOf(element), {element, value});
        else
          children.push_back(element), element = value;
      }
      isComprehension = !error && peek().is("for") && children.empty();
      children.push_back(isComprehension ? parseComprehension(element, open) : element);
    }
    if (isComprehension || !eat(","))
      break;
  }
  if (!error && peek().kind == TokenKind::End)
    fail(open, "this '{' is never closed", "add '}'");
  const TextRange close = peek().range;
  expect("}");
  const AstId id = make(isDict ? AstKind::Dict : AstKind::Set, join(open, close), open, std::move(children));
  ast.nodes[id].intValue = isComprehension;
  return id;
}

AstId Parser::parseComprehension(AstId element, TextRange open) {
  const TextRange token = take().range;
  std::vector<AstId> children{element, parseTargetList()};
  if (expect("in", "a comprehension reads '[f(i) for i in range(4)]'"))
    children.push_back(parseOr());
  while (!error && eat("if"))
    children.push_back(parseOr());
  const Nested nested(*this);
  const bool isNested = !error && peek().is("for");
  if (isNested)
    children[0] = parseComprehension(element, open);
  const TextRange end = rangeOf(children.back());
  const AstId id = make(AstKind::Comprehension, join(open, end), token, std::move(children));
  ast.nodes[id].intValue = isNested;
  return id;
}

} // namespace attnjit::expr
