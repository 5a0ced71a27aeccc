#include "Expr/ParserImpl.h"

namespace attnjit::expr {

bool isKeyword(std::string_view text) {
  static constexpr std::string_view kKeywords[] = {"and",   "or",    "not",   "if",   "else",   "lambda",  "def",      "return",  "for",
                                                   "while", "in",    "is",    "True", "False",  "None",    "import",   "from",    "with",
                                                   "try",   "class", "pass",  "del",  "assert", "raise",   "elif",     "yield",   "global",
                                                   "await", "break", "async", "as",   "except", "finally", "continue", "nonlocal"};
  return contains(kKeywords, text);
}

Result<Ast> Parser::run(TextForm asked) {
  form = asked;
  if (peek().kind == TokenKind::End)
    return source.error({}, "the text is empty", "write an expression, a lambda or a def; leave the option out for the default");
  ast.nodes.reserve(tokens.size());
  const bool hasDef =
      std::any_of(tokens.begin(), tokens.end(), [](const Token &token) { return token.kind == TokenKind::Name && token.text == "def"; });
  if (form == TextForm::Mod && !hasDef) {
    parseSingle();
  } else {
    while (!error && peek().kind != TokenKind::End)
      parseStatement(ast.body);
  }
  if (error)
    return std::move(*error);
  return std::move(ast);
}

void Parser::fail(TextRange range, std::string_view message, std::string_view help) {
  if (!error)
    error = peek().kind == TokenKind::Bad ? badTokens[static_cast<std::size_t>(peek().intValue)] : source.error(range, message, help);
  at = tokens.size() - 1; // every loop sees the end
}

std::string Parser::found() const {
  switch (peek().kind) {
  case TokenKind::End:
    return "the end of the text";
  case TokenKind::Newline:
    return "the end of the line";
  case TokenKind::Indent:
    return "a deeper indentation";
  case TokenKind::Dedent:
    return "the end of the block";
  case TokenKind::String:
  case TokenKind::FString:
    return "a string";
  default:
    return fmt::format("'{}'", peek().text);
  }
}

void Parser::failExpected(std::string_view expected, std::string_view help) {
  if (peek().is("=") && peek(1).is(">"))
    return fail(join(peek().range, peek(1).range), fmt::format("expected {}, found '=>'", expected), "write '>='");
  if (peek().is("="))
    return fail(peek().range, fmt::format("expected {}, found '='", expected), "'==' compares; assignments need the form 'def mod(...):'");
  fail(peek().range, fmt::format("expected {}, found {}", expected, found()), help);
}

bool Parser::expect(std::string_view spelling, std::string_view help) {
  if (eat(spelling))
    return true;
  failExpected(fmt::format("'{}'", spelling), help);
  return false;
}

AstId Parser::make(AstKind kind, TextRange range, TextRange token, std::vector<AstId> children, std::string_view text) {
  AstNode node;
  node.kind = kind;
  node.range = range;
  node.token = token;
  node.text = text;
  node.children = std::move(children);
  for (std::size_t i = 0; i < node.children.size(); ++i) {
    const AstNode &child = ast.nodes[node.children[i]];
    // Sema walks the left spine of binary chains in a loop: a long sum is not deep.
    const bool spine = i == 0 && isChain(kind) && isChain(child.kind);
    node.depth = std::max(node.depth, child.depth + !spine);
  }
  if (node.depth > kMaxNesting)
    failNesting(token);
  ast.nodes.push_back(std::move(node));
  return static_cast<AstId>(ast.nodes.size() - 1);
}

void Parser::failNesting(TextRange range) {
  fail(range, fmt::format("the expression is nested more than {} levels deep", kMaxNesting), "give parts of it a name in a def: 'x = ...'");
}

void Parser::parseSingle() {
  std::erase_if(tokens, [](const Token &token) {
    return token.kind == TokenKind::Newline || token.kind == TokenKind::Indent || token.kind == TokenKind::Dedent;
  });
  if (peek().kind == TokenKind::Name && peek(1).is("=") && peek(2).is("lambda"))
    at += 2; // causal = lambda b, h, q_idx, kv_idx: ...
  static constexpr std::string_view kStatements[] = {"if",    "for", "while",  "with",     "try",    "class", "assert",
                                                     "raise", "del", "global", "nonlocal", "import", "from",  "pass"};
  if (peek().kind == TokenKind::Name && contains(kStatements, peek().text))
    return fail(peek().range, fmt::format("'{}' is a statement; a mod without 'def' is one expression", peek().text),
                "write 'def mod(...):' before it, or a conditional expression: 'a if condition else b'");
  if (peek().is("return"))
    return fail(peek().range, "'return' needs a 'def'", "leave 'return' out, or write 'def mod(...):' before it");
  ast.expression = parseExpression();
  if (!error && eat(","))
    return fail(rangeOf(ast.expression), "this is a tuple", "a mod returns one value");
  if (!error && peek().kind != TokenKind::End)
    failExpected("an operator or the end of the text",
                 peek().is(")") || peek().is("]") ? "nothing opens this bracket; remove it" : "put an operator between two values");
}

void Parser::parseDef(Block &block, std::vector<AstId> decorators) {
  AstStatement statement = statementAt(AstStatementKind::Def);
  take();
  AstFunction function;
  function.head = peek().range;
  if (!isName())
    return failExpected("the name of the function", "a function reads 'def mask_mod(b, h, q_idx, kv_idx):'");
  function.name = take().text;
  function.decorators = std::move(decorators);
  if (peek().is("[")) // type parameters say nothing that types do not
    for (int depth = 0; peek().kind != TokenKind::End;) {
      depth += peek().is("[") ? 1 : peek().is("]") ? -1 : 0;
      take();
      if (depth == 0)
        break;
    }
  if (!expect("(", "a function reads 'def mask_mod(b, h, q_idx, kv_idx):'"))
    return;
  parseParameters(function, ")");
  if (!expect(")"))
    return;
  if (eat("->"))
    parseExpression();
  const int outerLoops = std::exchange(loopDepth, 0);
  ++functionDepth;
  parseBlock(function.body, "def");
  --functionDepth;
  loopDepth = outerLoops;
  statement.function = ast.functions.size();
  ast.functions.push_back(std::move(function));
  add(std::move(statement), block);
}

void Parser::parseParameters(AstFunction &function, std::string_view close) {
  bool keywordOnly = false, needsDefault = false;
  while (!error && !peek().is(close)) {
    if (eat("/")) { // what stands before may be given by position only; giving it by name as well does no harm
      if (!eat(","))
        return;
      continue;
    }
    AstParameter parameter;
    parameter.isDictionary = eat("**");
    if (peek().is("*")) {
      if (keywordOnly)
        return fail(peek().range, "'*' appears twice", "one '*' collects all further arguments");
      take();
      keywordOnly = true;
      if (eat(","))
        continue;
      parameter.isStarred = true;
    }
    if (!isName())
      return failExpected(fmt::format("an argument name or '{}'", close), "arguments are plain names, separated by commas");
    const Token &name = take();
    for (const AstParameter &other : function.parameters)
      if (other.name == name.text)
        return fail(name.range, fmt::format("the argument '{}' appears twice", name.text), "give every argument its own name");
    parameter.name = name.text;
    parameter.range = name.range;
    parameter.isKeywordOnly = keywordOnly && !parameter.isStarred && !parameter.isDictionary;
    if (close == ")" && eat(":"))
      parseExpression(); // an annotation says nothing that types do not
    const bool collects = parameter.isStarred || parameter.isDictionary;
    if (!collects && eat("=")) {
      parameter.defaultValue = parseExpression();
      needsDefault = true;
    } else if (needsDefault && !collects && !parameter.isKeywordOnly) {
      return fail(parameter.range, fmt::format("the argument '{}' has no default value, but one before it has", parameter.name),
                  "put arguments with default values last");
    }
    function.parameters.push_back(parameter);
    if (parameter.isDictionary && eat(",") && !peek().is(close))
      return fail(peek().range, fmt::format("an argument follows '**{}'", parameter.name), "put '**' last");
    if (!eat(","))
      return;
  }
}

AstId Parser::parseLambda() {
  const Nested nested(*this);
  const TextRange head = take().range;
  if (error)
    return nothing();
  AstFunction function;
  function.isLambda = true;
  function.name = "lambda";
  function.head = head;
  parseParameters(function, ":");
  expect(":", "a lambda reads 'lambda b, h, q_idx, kv_idx: q_idx >= kv_idx'");
  AstStatement result;
  result.kind = AstStatementKind::Return;
  result.range = head;
  result.value = error ? nothing() : parseExpression();
  const AstId id = make(AstKind::Lambda, join(head, rangeOf(result.value)), head, {result.value});
  add(std::move(result), function.body);
  ast.nodes[id].intValue = static_cast<std::int64_t>(ast.functions.size());
  ast.functions.push_back(std::move(function));
  return id;
}

Result<Ast> parseSyntax(const SourceText &source, TextForm form) {
  if (std::optional<Error> refused = source.check())
    return std::move(*refused);
  Result<Tokens> tokens = lex(source);
  if (!tokens)
    return tokens.error();
  return Parser(source, std::move(*tokens)).run(form);
}

} // namespace attnjit::expr
