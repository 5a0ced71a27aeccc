#include "Expr/ParserImpl.h"

namespace attnjit::expr {

namespace {

constexpr std::string_view kAugmented[] = {"+=", "-=", "*=", "/=", "//=", "%=", "**=", "&=", "|=", "^=", "<<=", ">>="};

/// Statements of Python that a formula cannot have, with what to write instead.
struct Refused {
  std::string_view keyword, help;
};
constexpr Refused kRefused[] = {
    {"with", "a formula has assignments, if, for and return"},
    {"try", "a formula has assignments, if, for and return"},
    {"class", "a formula has functions; put what the object holds into their arguments"},
    {"async", "write a plain 'def'"},
    {"del", "remove the line"},
    {"global", "captured names can be read without a declaration; remove the line"},
    {"nonlocal", "return the value instead of changing an outer name"},
    {"yield", "a formula returns one value"},
    {"await", "a formula returns one value"},
    {"print", "a formula computes a value and nothing else; remove the line"},
};

} // namespace

void Parser::parseStatement(Block &block) {
  const Token &first = peek();
  if (first.kind == TokenKind::Indent)
    return fail(first.range, "this line is indented deeper than the one above", "indent the statements of a function alike");
  if (first.is("def") || first.is("if") || first.is("for") || first.is("while") || first.is("@"))
    return parseCompound(block);
  if (refuse(block))
    return;
  if (first.is("elif") || first.is("else") || first.is("except") || first.is("finally"))
    return fail(first.range, fmt::format("this '{}' belongs to no statement above", first.text), "indent it like the 'if' it belongs to");
  parseSimpleStatement(block);
  while (!error && eat(";") && peek().kind != TokenKind::Newline && peek().kind != TokenKind::End)
    parseSimpleStatement(block);
  if (!error && !eat(TokenKind::Newline) && peek().kind != TokenKind::End)
    failExpected("an operator or the end of the statement", "put one statement on a line");
}

bool Parser::refuse(Block &block) {
  for (const Refused &refused : kRefused) {
    if (!peek().is(refused.keyword))
      continue;
    if (refused.keyword == "print" && !peek(1).is("("))
      return false;
    if (functionDepth > 0) {
      fail(peek().range, fmt::format("'{}' statements are not accepted in a formula", refused.keyword), refused.help);
      return true;
    }
    AstStatement statement = statementAt(AstStatementKind::Refused);
    statement.detail = refused.keyword;
    if (refused.keyword == "class" && peek(1).kind == TokenKind::Name)
      statement.name = peek(1).text;
    skipStatement();
    while (peek().is("except") || peek().is("finally") || peek().is("else"))
      skipStatement();
    add(std::move(statement), block);
    return true;
  }
  return false;
}

void Parser::skipStatement() {
  while (!error && peek().kind != TokenKind::Newline && peek().kind != TokenKind::End)
    take();
  eat(TokenKind::Newline);
  if (!eat(TokenKind::Indent))
    return;
  for (int depth = 1; depth > 0 && peek().kind != TokenKind::End;) {
    const TokenKind kind = take().kind;
    depth += kind == TokenKind::Indent ? 1 : kind == TokenKind::Dedent ? -1 : 0;
  }
}

void Parser::parseCompound(Block &block) {
  const Nested nested(*this);
  if (error)
    return;
  while (peek().is("@")) { // a decorator changes how PyTorch runs a function, not what it computes
    take();
    parseExpression();
    if (!eat(TokenKind::Newline) || (!peek().is("def") && !peek().is("@") && !peek().is("class")))
      return failExpected("a 'def' below the decorator", "");
  }
  if (refuse(block))
    return;
  if (peek().is("def"))
    return parseDef(block);
  if (peek().is("if"))
    return parseIf(block);
  peek().is("for") ? parseFor(block) : parseWhile(block);
}

void Parser::parseBlock(Block &block, std::string_view owner) {
  if (!expect(":", owner == "def" ? std::string_view("the head of a function ends with ':'")
                                  : std::string_view("the line that begins a block ends with ':'")))
    return;
  if (!eat(TokenKind::Newline)) {
    if (peek().is("if") || peek().is("for") || peek().is("while") || peek().is("def"))
      return fail(peek().range, fmt::format("'{}' cannot stand on the same line", peek().text), "begin a new line, indented");
    return parseStatement(block);
  }
  if (!eat(TokenKind::Indent))
    return failExpected(owner == "def" ? "the function's body, indented" : fmt::format("the body of '{}', indented", owner),
                        fmt::format("indent the statements below '{}'", owner));
  while (!error && !eat(TokenKind::Dedent) && peek().kind != TokenKind::End)
    parseStatement(block);
}

void Parser::parseIf(Block &block) {
  AstStatement statement = statementAt(AstStatementKind::If);
  const bool isElif = peek().is("elif");
  take();
  statement.value = parseExpression();
  if (error)
    return;
  parseBlock(statement.body, isElif ? "elif" : "if");
  if (peek().is("elif")) {
    const Nested nested(*this);
    if (!error)
      parseIf(statement.orElse);
  } else if (eat("else")) {
    parseBlock(statement.orElse, "else");
  }
  if (!error)
    add(std::move(statement), block);
}

void Parser::parseFor(Block &block) {
  AstStatement statement = statementAt(AstStatementKind::For);
  take();
  statement.targets.push_back(parseTargetList());
  if (!expect("in", "a loop reads 'for i in range(4):'"))
    return;
  statement.value = parseExpressionList();
  if (error)
    return;
  ++loopDepth;
  parseBlock(statement.body, "for");
  --loopDepth;
  if (eat("else"))
    parseBlock(statement.orElse, "else");
  add(std::move(statement), block);
}

void Parser::parseWhile(Block &block) {
  AstStatement statement = statementAt(AstStatementKind::While);
  take();
  statement.value = parseExpression();
  if (error)
    return;
  ++loopDepth;
  parseBlock(statement.body, "while");
  --loopDepth;
  if (eat("else"))
    parseBlock(statement.orElse, "else");
  add(std::move(statement), block);
}

void Parser::parseSimpleStatement(Block &block) {
  const Token &first = peek();
  if ((first.kind == TokenKind::String || first.is("...")) &&
      (peek(1).kind == TokenKind::Newline || peek(1).kind == TokenKind::End || peek(1).is(";"))) {
    take(); // a docstring
    return;
  }
  if (first.is("pass")) {
    add(statementAt(AstStatementKind::Pass), block);
    take();
    return;
  }
  if (first.is("break") || first.is("continue")) {
    if (loopDepth == 0)
      return fail(first.range, fmt::format("'{}' outside a loop", first.text), "it belongs into a 'for' or 'while'");
    add(statementAt(first.is("break") ? AstStatementKind::Break : AstStatementKind::Continue), block);
    take();
    return;
  }
  if (first.is("return"))
    return parseReturn(statementAt(AstStatementKind::Return), block);
  if (first.is("import") || first.is("from"))
    return parseImport(statementAt(AstStatementKind::Import), block);
  if (first.is("assert")) {
    AstStatement statement = statementAt(AstStatementKind::Assert);
    take();
    statement.value = parseExpression();
    if (!error && eat(","))
      statement.message = parseExpression();
    return add(std::move(statement), block);
  }
  if (first.is("raise")) {
    AstStatement statement = statementAt(AstStatementKind::Raise);
    take();
    sawReturn = true;
    if (peek().kind != TokenKind::Newline && peek().kind != TokenKind::End)
      statement.value = parseExpression();
    if (!error && eat("from"))
      parseExpression();
    return add(std::move(statement), block);
  }
  parseAssignmentOrExpression(statementAt(AstStatementKind::Expression), block);
}

void Parser::parseReturn(AstStatement statement, Block &block) {
  if (functionDepth == 0)
    return fail(statement.range, "'return' outside a function", "indent it below its 'def'");
  take();
  sawReturn = true;
  if (peek().kind == TokenKind::Newline || peek().kind == TokenKind::End || peek().is(";"))
    return failExpected("a value after 'return'", "a mod returns one value");
  statement.value = parseExpressionList();
  add(std::move(statement), block);
}

void Parser::parseImport(AstStatement statement, Block &block) {
  const auto dotted = [&] {
    TextRange range = peek().range;
    while (!error && (peek().kind == TokenKind::Name || peek().is(".") || peek().is("...")) && !peek().is("import") && !peek().is("as"))
      range = join(range, take().range);
    return source.text.substr(range.begin, range.end - range.begin);
  };
  if (eat("import")) {
    do {
      AstImport import{dotted(), {}, {}};
      if (eat("as"))
        import.alias = take().text;
      statement.imports.push_back(import);
    } while (!error && eat(","));
  } else {
    take();
    const std::string_view path = dotted();
    if (!expect("import", "an import reads 'from module import name'"))
      return;
    const bool bracket = eat("(");
    do {
      if (bracket && peek().is(")"))
        break;
      AstImport import{path, take().text, {}};
      if (eat("as"))
        import.alias = take().text;
      statement.imports.push_back(import);
    } while (!error && eat(","));
    if (bracket)
      expect(")");
  }
  add(std::move(statement), block);
}

bool Parser::isTarget(AstId id) const {
  const AstNode &node = ast[id];
  if (node.kind == AstKind::Tuple || node.kind == AstKind::List)
    return std::all_of(node.children.begin(), node.children.end(), [&](AstId child) { return isTarget(child); });
  return node.kind == AstKind::Name || node.kind == AstKind::Attribute;
}

void Parser::parseAssignmentOrExpression(AstStatement statement, Block &block) {
  const AstId first = parseExpressionList();
  if (error)
    return;
  statement.range = rangeOf(first);
  const auto failTarget = [&](AstId id) {
    fail(rangeOf(id), "only names can be assigned to", "captured tensors are read-only; write 'name = value' or 'a, b = pair'");
  };
  if (peek().is(":") && ast[first].kind == AstKind::Name) { // x: float = ...
    take();
    parseExpression();
    if (!error && !peek().is("="))
      return; // a declaration without a value
    take();
    statement.targets.push_back(first);
    statement.value = parseExpressionList();
  } else if (peek().kind == TokenKind::Operator && contains(kAugmented, peek().text)) {
    if (ast[first].kind != AstKind::Name)
      return failTarget(first);
    const Token &op = take();
    const AstId left = make(AstKind::Name, rangeOf(first), rangeOf(first), {}, ast[first].text);
    const AstId right = parseExpressionList();
    statement.targets.push_back(first);
    statement.value =
        make(AstKind::Binary, join(rangeOf(first), rangeOf(right)), op.range, {left, right}, op.text.substr(0, op.text.size() - 1));
  } else if (peek().is("=")) {
    statement.value = first;
    while (!error && eat("=")) {
      if (!isTarget(statement.value))
        return failTarget(statement.value);
      statement.targets.push_back(statement.value);
      statement.value = parseExpressionList();
    }
  } else {
    statement.value = first;
    return add(std::move(statement), block);
  }
  statement.kind = AstStatementKind::Assign;
  if (!error)
    add(std::move(statement), block);
}

} // namespace attnjit::expr
