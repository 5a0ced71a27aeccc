#include "Expr/ParserImpl.h"

namespace attnjit::expr {

namespace {

constexpr std::string_view kAugmented[] = {"+=", "-=", "*=", "/=", "//=", "%=", "**=", "&=", "|=", "^=", "<<=", ">>="};

/// Statements of Python that a formula cannot have, with what to write instead.
struct Refused {
  std::string_view keyword, help;
};
constexpr Refused kRefused[] = {
    {"class", "a formula has functions; put what the object holds into their arguments"},
    {"async", "write a plain 'def'"},
    {"yield", "a formula returns one value"},
    {"await", "a formula returns one value"},
    {"type", "annotations mean nothing here; remove the line"},
};

/// Methods that change the list or dictionary before the dot.
constexpr std::string_view kMutators[] = {"append", "extend",  "insert", "remove",     "pop", "clear",
                                          "sort",   "reverse", "update", "setdefault", "add"};

bool isAny(const Token &token, std::initializer_list<std::string_view> spellings) {
  return std::any_of(spellings.begin(), spellings.end(), [&](std::string_view spelling) { return token.is(spelling); });
}

bool startsLine(const Token &before) {
  return before.kind == TokenKind::Newline || before.kind == TokenKind::Indent || before.kind == TokenKind::Dedent || before.is(";");
}

/// The names that the statements of these tokens bind, or whose contents they may change.
std::vector<std::string_view> touchedNames(std::span<const Token> tokens) {
  std::vector<std::string_view> names;
  const auto spelling = [&](std::size_t i) { return i < tokens.size() ? tokens[i].text : std::string_view(); };
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].kind != TokenKind::Name || isKeyword(tokens[i].text))
      continue;
    const bool isFirst = i == 0 || startsLine(tokens[i - 1]);
    const bool isDeclared = i > 0 && isAny(tokens[i - 1], {"def", "class", "as", "for", "type"});
    const std::string_view next = spelling(i + 1);
    const bool isAssigned = isFirst && (next == "=" || next == ":" || next == "," || next == "[" || contains(kAugmented, next));
    const bool isChanged = isFirst && next == "." && contains(kMutators, spelling(i + 2));
    const bool isChained = i > 0 && (tokens[i - 1].is("=") || tokens[i - 1].is(",")) && (next == "=" || next == ",");
    if (isDeclared || isAssigned || isChanged || isChained)
      names.push_back(tokens[i].text);
  }
  return names;
}

} // namespace

void Parser::parseStatement(Block &block) {
  const std::size_t begin = at, size = block.size();
  const bool mayFail = mayRefuse();
  parseAnyStatement(block);
  if (!error || !mayFail)
    return;
  block.resize(size);
  refuseFrom(begin, block);
}

/// The user's own statements are all wanted; in a module, and in the body of a function, one may never be reached.
bool Parser::mayRefuse() const {
  const bool isForeign = isAny(peek(), {"class", "async"});
  return !isUnclosed && (functionDepth > 0 || form == TextForm::Module || isForeign);
}

void Parser::refuseFrom(std::size_t begin, Block &block) {
  AstStatement statement;
  statement.kind = AstStatementKind::Refused;
  statement.range = tokens[begin].range;
  statement.error = ast.errors.size();
  ast.errors.push_back(std::move(*error));
  error.reset();
  at = begin;
  skipStatement();
  while (isAny(peek(), {"elif", "else", "except", "finally"}))
    skipStatement();
  statement.names = touchedNames(std::span(tokens).subspan(begin, at - begin));
  add(std::move(statement), block);
}

void Parser::parseAnyStatement(Block &block) {
  const Token &first = peek();
  if (first.kind == TokenKind::Indent)
    return fail(first.range, "this line is indented deeper than the one above", "indent the statements of a function alike");
  if (isAny(first, {"def", "if", "for", "while", "with", "try", "@"}) || isMatch())
    return parseCompound(block);
  if (refuse())
    return;
  if (isAny(first, {"elif", "else", "except", "finally"}))
    return fail(first.range, fmt::format("this '{}' belongs to no statement above", first.text), "indent it like the 'if' it belongs to");
  parseSimpleStatement(block);
  while (!error && eat(";") && peek().kind != TokenKind::Newline && peek().kind != TokenKind::End)
    parseSimpleStatement(block);
  if (!error && !eat(TokenKind::Newline) && peek().kind != TokenKind::End)
    failExpected("an operator or the end of the statement", "put one statement on a line");
}

bool Parser::refuse() {
  const Token &first = peek();
  for (const Refused &refused : kRefused) {
    if (!first.is(refused.keyword))
      continue;
    // 'type' is a name too.
    if (first.text == "type" && !(peek(1).kind == TokenKind::Name && (peek(2).is("=") || peek(2).is("["))))
      return false;
    fail(first.range, fmt::format("'{}' statements are not accepted in a formula", refused.keyword), refused.help);
    return true;
  }
  return false;
}

/// To the end of the line, and of the block below it.
void Parser::skipStatement() {
  if (peek().kind != TokenKind::Indent) {
    while (peek().kind != TokenKind::Newline && peek().kind != TokenKind::End)
      take();
    eat(TokenKind::Newline);
  }
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
  std::vector<AstId> decorators;
  while (eat("@")) {
    decorators.push_back(parseExpression());
    if (!eat(TokenKind::Newline) || !isAny(peek(), {"def", "@", "class", "async"}))
      return failExpected("a 'def' below the decorator", "");
  }
  if (refuse())
    return;
  if (peek().is("def"))
    return parseDef(block, std::move(decorators));
  if (peek().is("if"))
    return parseIf(block);
  if (peek().is("with"))
    return parseWith(block);
  if (peek().is("try"))
    return parseTry(block);
  if (isMatch())
    return parseMatch(block);
  peek().is("for") ? parseFor(block) : parseWhile(block);
}

void Parser::parseBlock(Block &block, std::string_view owner) {
  if (!expect(":", owner == "def" ? std::string_view("the head of a function ends with ':'")
                                  : std::string_view("the line that begins a block ends with ':'")))
    return;
  if (!eat(TokenKind::Newline)) {
    if (isAny(peek(), {"if", "for", "while", "with", "try", "def"}))
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

void Parser::parseWith(Block &block) {
  AstStatement statement = statementAt(AstStatementKind::With);
  take();
  statement.value = parseExpression();
  if (!error && eat("as"))
    statement.targets.push_back(parseTargetList());
  if (error)
    return;
  parseBlock(statement.body, "with");
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
  if (first.is("global") || first.is("nonlocal"))
    return parseNames(statementAt(first.is("global") ? AstStatementKind::Global : AstStatementKind::Nonlocal), block);
  if (first.is("del"))
    return parseDelete(statementAt(AstStatementKind::Delete), block);
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
  if (peek().kind != TokenKind::Newline && peek().kind != TokenKind::End && !peek().is(";"))
    statement.value = parseExpressionList();
  add(std::move(statement), block);
}

void Parser::parseNames(AstStatement statement, Block &block) {
  take();
  do {
    if (!isName())
      return failExpected("a name", "");
    statement.names.push_back(take().text);
  } while (eat(","));
  add(std::move(statement), block);
}

void Parser::parseDelete(AstStatement statement, Block &block) {
  take();
  const AstId list = parseExpressionList();
  if (error)
    return;
  statement.targets = ast[list].kind == AstKind::Tuple ? ast[list].children : std::vector<AstId>{list};
  for (AstId target : statement.targets)
    if (ast[target].kind != AstKind::Name && ast[target].kind != AstKind::Subscript)
      return fail(rangeOf(target), "only names and elements can be deleted", "");
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
  if (node.kind == AstKind::Starred)
    return isTarget(node.children[0]);
  return node.kind == AstKind::Name || node.kind == AstKind::Attribute || node.kind == AstKind::Subscript;
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
    if (ast[first].kind != AstKind::Name && ast[first].kind != AstKind::Subscript)
      return failTarget(first);
    const Token &op = take();
    statement.isAugmented = true;
    const AstId right = parseExpressionList();
    statement.targets.push_back(first);
    statement.value =
        make(AstKind::Binary, join(rangeOf(first), rangeOf(right)), op.range, {first, right}, op.text.substr(0, op.text.size() - 1));
  } else if (peek().is("=")) {
    statement.value = first;
    while (!error && eat("=")) {
      if (!isTarget(statement.value) || ast[statement.value].kind == AstKind::Starred)
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
