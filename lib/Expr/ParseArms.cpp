// Statements with arms: try with its handlers, match with its cases.
#include "Expr/ParserImpl.h"

namespace attnjit::expr {

void Parser::parseTry(Block &block) {
  AstStatement statement = statementAt(AstStatementKind::Try);
  take();
  parseBlock(statement.body, "try");
  while (!error && peek().is("except"))
    parseHandler(statement);
  if (!error && !statement.arms.empty() && eat("else"))
    parseBlock(statement.orElse, "else");
  const bool hasFinally = !error && eat("finally");
  if (hasFinally)
    parseBlock(statement.finally, "finally");
  if (!error && statement.arms.empty() && !hasFinally)
    return failExpected("'except' or 'finally'", "a 'try' has handlers: 'except ValueError:'");
  if (!error)
    add(std::move(statement), block);
}

void Parser::parseHandler(AstStatement &statement) {
  AstArm arm;
  arm.range = take().range;
  if (!peek().is(":"))
    arm.what = parseExpressionList();
  if (!error && eat("as")) {
    if (!isName())
      return failExpected("a name", "a handler reads 'except ValueError as error:'");
    arm.name = take().text;
  }
  if (!error)
    parseBlock(arm.body, "except");
  statement.arms.push_back(std::move(arm));
}

bool Parser::isMatch() const {
  if (!peek().is("match"))
    return false;
  std::size_t end = 1;
  while (peek(end).kind != TokenKind::Newline && peek(end).kind != TokenKind::End)
    ++end;
  return end >= 3 && peek(end - 1).is(":") && peek(end + 1).kind == TokenKind::Indent && peek(end + 2).is("case");
}

void Parser::parseMatch(Block &block) {
  AstStatement statement = statementAt(AstStatementKind::Match);
  take();
  statement.value = parseExpressionList();
  if (!expect(":") || !eat(TokenKind::Newline) || !eat(TokenKind::Indent))
    return;
  while (!error && !eat(TokenKind::Dedent) && peek().kind != TokenKind::End)
    parseCase(statement);
  if (!error)
    add(std::move(statement), block);
}

void Parser::parseCase(AstStatement &statement) {
  AstArm arm;
  arm.range = peek().range;
  if (!expect("case", "a 'match' has cases: 'case 0:'"))
    return;
  arm.what = parsePattern();
  if (!error && eat("as"))
    arm.name = take().text;
  if (!error && eat("if"))
    arm.guard = parseExpression();
  if (!error)
    parseBlock(arm.body, "case");
  statement.arms.push_back(std::move(arm));
}

/// A pattern has the shape of an expression: names are bound, '|' means or, brackets are sequences.
AstId Parser::parsePattern() {
  std::vector<AstId> elements;
  const TextRange begin = peek().range;
  bool isSequence = false;
  do {
    if (peek().is(":") || peek().is("if") || peek().is("as"))
      break; // after the last comma
    if (peek().is("*")) {
      const TextRange star = take().range;
      const AstId rest = parseBinary(0);
      if (!error)
        elements.push_back(make(AstKind::Starred, join(star, rangeOf(rest)), star, {rest}));
      isSequence = true;
    } else {
      elements.push_back(parseBinary(0));
    }
    if (error)
      return nothing();
    isSequence |= peek().is(",");
  } while (eat(","));
  if (elements.empty()) {
    failExpected("a pattern", "e.g. case 0:, case \"causal\":, case [first, *rest]:, case _:");
    return nothing();
  }
  if (!isSequence)
    return elements[0];
  const TextRange range = join(begin, rangeOf(elements.back()));
  return make(AstKind::Tuple, range, range, std::move(elements));
}

} // namespace attnjit::expr
