#include "Expr/Parser.h"

#include "Expr/Lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

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
constexpr std::string_view kAugmented[] = {"+=", "-=", "*=", "/=", "//=", "%=", "**=", "&=", "|=", "^=", "<<=", ">>="};
constexpr std::string_view kKeywords[] = {"and",  "or",     "not",   "if",    "else", "lambda", "def",    "return", "for", "while",
                                          "in",   "is",     "True",  "False", "None", "import", "from",   "with",   "try", "class",
                                          "pass", "assert", "raise", "del",   "elif", "yield",  "global", "await"};

template <std::size_t N> bool contains(const std::string_view (&list)[N], std::string_view text) {
  return std::find(std::begin(list), std::end(list), text) != std::end(list);
}

TextRange join(TextRange a, TextRange b) { return {std::min(a.begin, b.begin), std::max(a.end, b.end)}; }

/// Statements of Python that a formula cannot have, with what to write instead.
struct Refused {
  std::string_view keyword, help;
};
constexpr Refused kRefused[] = {
    {"if", "write a conditional expression: 'x = a if condition else b', or torch.where(condition, a, b)"},
    {"for", "a formula has no loops: write the terms out, or put the values into a captured tensor and index it"},
    {"while", "a formula has no loops: write the terms out, or put the values into a captured tensor and index it"},
    {"with", "a formula has assignments and one return"},
    {"try", "a formula has assignments and one return"},
    {"class", "a formula has assignments and one return"},
    {"assert", "a formula cannot stop the computation; remove the line"},
    {"raise", "a formula cannot stop the computation; remove the line"},
    {"del", "remove the line"},
    {"global", "captured names can be read without a declaration; remove the line"},
    {"nonlocal", "captured names can be read without a declaration; remove the line"},
    {"import", "the functions of torch and math are built in; remove the line"},
    {"from", "the functions of torch and math are built in; remove the line"},
    {"def", "write helper functions before the mod, not inside it"},
    {"print", "a formula computes a value and nothing else; remove the line"},
};

class Parser {
public:
  Parser(const SourceText &source, std::vector<Token> tokens) : source(source), tokens(std::move(tokens)) {}

  Result<Ast> run() {
    if (peek().kind == TokenKind::End)
      return source.error({}, "the text is empty", "write an expression, a lambda or a def; leave the option out for the default");
    const bool isModule =
        std::any_of(tokens.begin(), tokens.end(), [](const Token &token) { return token.kind == TokenKind::Name && token.text == "def"; });
    if (isModule)
      parseModule();
    else
      parseSingle();
    if (error)
      return std::move(*error);
    return std::move(ast);
  }

private:
  // --- tokens ---
  const Token &peek(std::size_t ahead = 0) const { return tokens[std::min(at + ahead, tokens.size() - 1)]; }
  const Token &take() { return tokens[at + 1 < tokens.size() ? at++ : at]; }
  bool eat(std::string_view spelling) { return peek().is(spelling) ? (take(), true) : false; }
  bool eat(TokenKind kind) { return peek().kind == kind ? (take(), true) : false; }

  void fail(TextRange range, std::string_view message, std::string_view help) {
    if (!error)
      error = source.error(range, message, help);
    at = tokens.size() - 1; // every loop sees the end
  }

  std::string found() const {
    switch (peek().kind) {
    case TokenKind::End:
      return "the end of the text";
    case TokenKind::Newline:
      return "the end of the line";
    case TokenKind::Indent:
      return "a deeper indentation";
    case TokenKind::Dedent:
      return "the end of the function";
    case TokenKind::String:
      return "a string";
    default:
      return fmt::format("'{}'", peek().text);
    }
  }

  void failExpected(std::string_view expected, std::string_view help = {}) {
    if (peek().is("=") && peek(1).is(">"))
      return fail(join(peek().range, peek(1).range), fmt::format("expected {}, found '=>'", expected), "write '>='");
    if (peek().is("="))
      return fail(peek().range, fmt::format("expected {}, found '='", expected),
                  "'==' compares; assignments need the form 'def mod(...):'");
    fail(peek().range, fmt::format("expected {}, found {}", expected, found()), help);
  }

  bool expect(std::string_view spelling, std::string_view help = {}) {
    if (eat(spelling))
      return true;
    failExpected(fmt::format("'{}'", spelling), help);
    return false;
  }

  // --- tree ---
  AstId make(AstKind kind, TextRange range, TextRange token, std::vector<AstId> children = {}, std::string_view text = {}) {
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

  static bool isChain(AstKind kind) { return kind == AstKind::Binary || kind == AstKind::And || kind == AstKind::Or; }

  void failNesting(TextRange range) {
    fail(range, fmt::format("the expression is nested more than {} levels deep", kMaxNesting),
         "give parts of it a name in a def: 'x = ...'");
  }

  AstId nothing() { return make(AstKind::None, peek().range, peek().range); }
  TextRange rangeOf(AstId id) const { return ast.nodes[id].range; }

  // --- mods ---

  /// A bare expression or a lambda; the text may run over several lines at will.
  void parseSingle() {
    std::erase_if(tokens, [](const Token &token) {
      return token.kind == TokenKind::Newline || token.kind == TokenKind::Indent || token.kind == TokenKind::Dedent;
    });
    if (peek().kind == TokenKind::Name && peek(1).is("=") && peek(2).is("lambda"))
      at += 2; // causal = lambda b, h, q_idx, kv_idx: ...
    for (const Refused &refused : kRefused)
      if (peek().is(refused.keyword) && !peek(1).is("("))
        return fail(peek().range, fmt::format("'{}' is a statement; a mod without 'def' is one expression", refused.keyword), refused.help);
    if (peek().is("return"))
      return fail(peek().range, "'return' needs a 'def'", "leave 'return' out, or write 'def mod(...):' before it");
    AstFunction function;
    AstStatement result;
    result.isReturn = true;
    result.targetRange = function.head = peek().range;
    if (eat("lambda")) {
      function.form = AstFunction::Form::Lambda;
      function.name = "lambda";
      parseParameters(function, ":");
      expect(":", "a lambda reads 'lambda b, h, q_idx, kv_idx: q_idx >= kv_idx'");
    }
    result.value = parseExpression();
    function.body.push_back(result);
    if (!error && eat(","))
      return fail(rangeOf(result.value), "this is a tuple", "a mod returns one value");
    if (!error && peek().kind != TokenKind::End)
      failExpected("an operator or the end of the text",
                   peek().is(")") || peek().is("]") ? "nothing opens this bracket; remove it" : "put an operator between two values");
    ast.functions.push_back(std::move(function));
  }

  void parseModule() {
    while (!error && peek().kind != TokenKind::End) {
      if (peek().is("import") || peek().is("from")) {
        while (peek().kind != TokenKind::Newline && peek().kind != TokenKind::End)
          take(); // torch and math are built in: harmless
        eat(TokenKind::Newline);
      } else if (peek().is("def")) {
        parseDef();
      } else if (peek().is("@")) {
        fail(peek().range, "decorators are not accepted", "remove the line");
      } else {
        failExpected("'def'", "beside functions a text may hold only imports; captured values are given by name with the problem");
      }
    }
    if (!error && ast.functions.empty())
      fail(peek().range, "the text defines no function", "write 'def mod(...):'");
  }

  void parseDef() {
    take();
    AstFunction function;
    function.form = AstFunction::Form::Def;
    function.head = peek().range;
    if (peek().kind != TokenKind::Name || contains(kKeywords, peek().text))
      return failExpected("the name of the function", "a function reads 'def mask_mod(b, h, q_idx, kv_idx):'");
    function.name = take().text;
    for (const AstFunction &other : ast.functions)
      if (other.name == function.name)
        return fail(function.head, fmt::format("'{}' is defined twice", function.name), "give one of them another name");
    if (!expect("(", "a function reads 'def mask_mod(b, h, q_idx, kv_idx):'"))
      return;
    parseParameters(function, ")");
    if (!expect(")"))
      return;
    if (eat("->"))
      parseExpression();
    if (!expect(":", "the head of a function ends with ':'"))
      return;
    if (eat(TokenKind::Newline)) {
      if (!eat(TokenKind::Indent))
        return failExpected("the function's body, indented", "indent the statements below 'def'");
      while (!error && !eat(TokenKind::Dedent) && peek().kind != TokenKind::End)
        parseStatement(function);
    } else {
      parseStatement(function);
    }
    if (!error &&
        std::none_of(function.body.begin(), function.body.end(), [](const AstStatement &statement) { return statement.isReturn; }))
      fail(function.head, fmt::format("'{}' returns nothing", function.name), "end it with 'return ...'");
    ast.functions.push_back(std::move(function));
  }

  void parseParameters(AstFunction &function, std::string_view close) {
    while (!error && !peek().is(close)) {
      if (peek().is("*") || peek().is("**"))
        return fail(peek().range, "a mod takes no variable arguments", "name every argument");
      if (peek().kind != TokenKind::Name || contains(kKeywords, peek().text))
        return failExpected(fmt::format("an argument name or '{}'", close), "arguments are plain names, separated by commas");
      const Token &name = take();
      for (const AstParameter &other : function.parameters)
        if (other.name == name.text)
          return fail(name.range, fmt::format("the argument '{}' appears twice", name.text), "give every argument its own name");
      function.parameters.push_back({name.text, name.range});
      if (close == ")" && eat(":"))
        parseExpression(); // an annotation says nothing that types do not
      if (peek().is("="))
        return fail(peek().range, "default values of arguments are not accepted",
                    "capture the value under a name, or write it in the body");
      if (!eat(","))
        return;
    }
  }

  // --- statements ---
  void parseStatement(AstFunction &function) {
    parseSimpleStatement(function);
    while (!error && eat(";") && peek().kind != TokenKind::Newline && peek().kind != TokenKind::End)
      parseSimpleStatement(function);
    if (!error && !eat(TokenKind::Newline) && peek().kind != TokenKind::End)
      failExpected("an operator or the end of the statement", "put one statement on a line");
  }

  void parseSimpleStatement(AstFunction &function) {
    const Token &first = peek();
    if (first.kind == TokenKind::Indent)
      return fail(first.range, "this line is indented deeper than the one above", "indent the statements of a function alike");
    if (first.kind == TokenKind::String && (peek(1).kind == TokenKind::Newline || peek(1).is(";"))) {
      take(); // a docstring
      return;
    }
    if (eat("pass"))
      return;
    for (const Refused &refused : kRefused)
      if (first.is(refused.keyword))
        return fail(first.range, fmt::format("'{}' statements are not accepted in a formula", refused.keyword), refused.help);
    AstStatement statement;
    statement.targetRange = first.range;
    if (eat("return")) {
      statement.isReturn = true;
      if (peek().kind == TokenKind::Newline || peek().kind == TokenKind::End)
        return failExpected("a value after 'return'", "a mod returns one value");
      statement.value = parseExpression();
      if (peek().is(","))
        fail(peek().range, "a mod returns one value, not a tuple", "return a single expression");
      function.body.push_back(statement);
      return;
    }
    parseAssignment(function, statement);
  }

  void parseAssignment(AstFunction &function, AstStatement statement) {
    const Token target = peek();
    const Token &next = peek(1);
    const bool isName = target.kind == TokenKind::Name && !contains(kKeywords, target.text);
    const bool assigns = next.is("=") || next.is(":") || (next.kind == TokenKind::Operator && contains(kAugmented, next.text));
    if (!isName || !assigns) {
      const AstId value = parseExpression();
      if (error)
        return;
      if (peek().is(",") || (peek().is("=") && ast[value].kind != AstKind::Name))
        return fail(rangeOf(value), "only a plain name can be assigned to", "write 'name = value', one per line");
      return fail(rangeOf(value), "this value is not used", "assign it ('x = ...') or return it");
    }
    statement.target = target.text;
    take();
    if (eat(":")) { // x: float = ...
      parseExpression();
      if (!expect("=", "an annotated assignment reads 'x: float = value'"))
        return;
      statement.value = parseExpression();
    } else if (eat("=")) {
      statement.value = parseExpression();
      if (peek().is("="))
        return fail(peek().range, "chained assignment is not accepted", "write one assignment per line");
    } else {
      const Token &op = take();
      const AstId left = make(AstKind::Name, target.range, target.range, {}, target.text);
      const AstId right = parseExpression();
      statement.value =
          make(AstKind::Binary, join(target.range, rangeOf(right)), op.range, {left, right}, op.text.substr(0, op.text.size() - 1));
    }
    if (!error && peek().is(","))
      return fail(peek().range, "a value is one number, not a tuple", "write one assignment per line");
    function.body.push_back(statement);
  }

  // --- expressions ---

  /// Counts recursion, so that brackets cannot overflow the stack.
  struct Nested {
    explicit Nested(Parser &parser) : parser(parser) {
      if (++parser.nesting > kMaxNesting && !parser.error)
        parser.failNesting(parser.peek().range);
    }
    ~Nested() { --parser.nesting; }
    Parser &parser;
  };

  AstId parseExpression() {
    const Nested nested(*this);
    if (error)
      return nothing();
    if (peek().is("lambda")) {
      fail(peek().range, "a lambda inside an expression is not accepted", "write a helper function before the mod: 'def helper(x): ...'");
      return nothing();
    }
    const AstId value = parseOr();
    if (!eat("if"))
      return value;
    const TextRange token = tokens[at - 1].range;
    const AstId condition = parseOr();
    if (!expect("else", "a conditional expression reads 'a if condition else b'"))
      return value;
    const AstId other = parseExpression();
    return make(AstKind::Conditional, join(rangeOf(value), rangeOf(other)), token, {value, condition, other});
  }

  AstId parseOr() { return parseBoolChain("or", AstKind::Or, &Parser::parseAnd); }
  AstId parseAnd() { return parseBoolChain("and", AstKind::And, &Parser::parseNot); }

  AstId parseBoolChain(std::string_view spelling, AstKind kind, AstId (Parser::*operand)()) {
    AstId left = (this->*operand)();
    while (!error && eat(spelling)) {
      const TextRange token = tokens[at - 1].range;
      const AstId right = (this->*operand)();
      left = make(kind, join(rangeOf(left), rangeOf(right)), token, {left, right}, spelling);
    }
    return left;
  }

  AstId parseNot() {
    if (!eat("not"))
      return parseComparison();
    const Nested nested(*this);
    const TextRange token = tokens[at - 1].range;
    if (error)
      return nothing();
    const AstId operand = parseNot();
    return make(AstKind::Unary, join(token, rangeOf(operand)), token, {operand}, "not");
  }

  AstId parseComparison() {
    const AstId first = parseBinary(1);
    std::vector<AstId> children{first};
    std::vector<std::string_view> operators;
    TextRange token;
    while (!error) {
      if (peek().is("is") || peek().is("in") || (peek().is("not") && peek(1).is("in"))) {
        fail(peek().range, fmt::format("'{}' is not accepted in a formula", peek().text), "compare with ==, !=, <, <=, > or >=");
        break;
      }
      if (peek().kind != TokenKind::Operator || !contains(kComparisons, peek().text))
        break;
      if (operators.empty())
        token = peek().range;
      operators.push_back(take().text);
      children.push_back(parseBinary(1));
    }
    if (operators.empty())
      return first;
    const TextRange range = join(rangeOf(first), rangeOf(children.back()));
    const AstId id = make(AstKind::Compare, range, token, std::move(children));
    ast.nodes[id].operators = std::move(operators);
    return id;
  }

  AstId parseBinary(int minimum) {
    AstId left = parseUnary();
    while (!error && peek().kind == TokenKind::Operator) {
      const auto level = std::find_if(std::begin(kBinary), std::end(kBinary),
                                      [&](const BinaryLevel &candidate) { return candidate.spelling == peek().text; });
      if (level == std::end(kBinary) || level->strength < minimum)
        break;
      const Token &op = take();
      if (op.text == "@") {
        fail(op.range, "'@' (matrix product) is not accepted in a formula", "a formula works on single numbers");
        break;
      }
      const AstId right = parseBinary(level->strength + 1);
      left = make(AstKind::Binary, join(rangeOf(left), rangeOf(right)), op.range, {left, right}, op.text);
    }
    return left;
  }

  AstId parseUnary() {
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

  AstId parsePostfix() {
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

  AstId parseCall(AstId callee) {
    std::vector<AstId> children{callee};
    std::vector<std::string_view> keywords;
    while (!error && !peek().is(")")) {
      if (peek().is("*") || peek().is("**")) {
        fail(peek().range, "unpacking arguments is not accepted", "write the arguments one by one");
        break;
      }
      keywords.emplace_back();
      if (peek().kind == TokenKind::Name && peek(1).is("=")) {
        keywords.back() = take().text;
        take();
      } else if (keywords.size() > 1 && !keywords[keywords.size() - 2].empty()) {
        fail(peek().range, "a positional argument follows a named one", "put positional arguments first");
      }
      children.push_back(parseExpression());
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

  AstId parseSubscript(AstId base) {
    std::vector<AstId> children{base};
    while (!error && !peek().is("]")) {
      if (peek().is(":") || peek().is("...")) {
        fail(peek().range, "slices are not accepted in a formula", "index every dimension with one integer");
        break;
      }
      children.push_back(parseExpression());
      if (peek().is(":"))
        fail(peek().range, "slices are not accepted in a formula", "index every dimension with one integer");
      if (!eat(","))
        break;
    }
    const TextRange end = peek().range;
    if (expect("]") && children.size() == 1)
      fail(end, "expected an index, found ']'", "index every dimension with one integer");
    return make(AstKind::Subscript, join(rangeOf(base), end), rangeOf(base), std::move(children));
  }

  AstId parseAtom() {
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
      take();
      return make(AstKind::String, token.range, token.range, {}, token.text);
    case TokenKind::Name:
      return parseNameAtom();
    default:
      break;
    }
    if (eat("("))
      return parseParenthesised(token.range);
    if (peek().is("[") || peek().is("{"))
      fail(token.range, "lists, sets and dictionaries are not accepted in a formula", "put the values into a captured tensor and index it");
    const bool doubled = at > 0 && (peek().is("&") || peek().is("|")) && tokens[at - 1].text == peek().text;
    failExpected("a value", doubled                         ? "write 'and' or '&' for and, 'or' or '|' for or"
                            : peek().kind == TokenKind::End ? "the expression is not complete"
                                                            : "a value is a name, a number, a call or something in brackets");
    return nothing();
  }

  AstId parseNameAtom() {
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
    if (contains(kKeywords, token.text)) {
      failExpected("a value", token.text == "not" ? "put the negation in brackets: '(not x)'" : "");
      return nothing();
    }
    take();
    return make(AstKind::Name, token.range, token.range, {}, token.text);
  }

  AstId parseParenthesised(TextRange open) {
    const AstId value = parseExpression();
    if (!error && peek().is(","))
      fail(peek().range, "a tuple is not a value in a formula", "write one expression between the brackets");
    if (!error && peek().kind == TokenKind::End)
      fail(open, "this '(' is never closed", "add ')'");
    const TextRange close = peek().range;
    if (expect(")"))
      ast.nodes[value].range = join(open, close);
    return value;
  }

  const SourceText &source;
  std::vector<Token> tokens;
  std::size_t at = 0;
  int nesting = 0;
  Ast ast;
  std::optional<Error> error;
};

} // namespace

Result<Ast> parseSyntax(const SourceText &source) {
  if (std::optional<Error> refused = source.check())
    return std::move(*refused);
  Result<std::vector<Token>> tokens = lex(source);
  if (!tokens)
    return tokens.error();
  return Parser(source, std::move(*tokens)).run();
}

} // namespace attnjit::expr
