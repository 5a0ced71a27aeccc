// The recursive-descent parser, split over Parser.cpp (tokens, modules, functions), ParseStatements.cpp, ParseArms.cpp (try and match),
// ParseExpressions.cpp and ParseStrings.cpp.
#pragma once

#include "Expr/Lexer.h"
#include "Expr/Parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>

namespace attnjit::expr {

inline TextRange join(TextRange a, TextRange b) { return {std::min(a.begin, b.begin), std::max(a.end, b.end)}; }

template <std::size_t N> bool contains(const std::string_view (&list)[N], std::string_view text) {
  return std::find(std::begin(list), std::end(list), text) != std::end(list);
}

bool isKeyword(std::string_view text);

class Parser {
public:
  Parser(const SourceText &source, Tokens tokens)
      : source(source), tokens(std::move(tokens.list)), badTokens(std::move(tokens.errors)), isUnclosed(tokens.isUnclosed) {}

  Result<Ast> run(TextForm form);

private:
  // --- tokens ---
  const Token &peek(std::size_t ahead = 0) const { return tokens[std::min(at + ahead, tokens.size() - 1)]; }
  const Token &take() { return tokens[at + 1 < tokens.size() ? at++ : at]; }
  bool eat(std::string_view spelling) { return peek().is(spelling) ? (take(), true) : false; }
  bool eat(TokenKind kind) { return peek().kind == kind ? (take(), true) : false; }
  bool isName() const { return peek().kind == TokenKind::Name && !isKeyword(peek().text); }

  void fail(TextRange range, std::string_view message, std::string_view help);
  std::string found() const;
  void failExpected(std::string_view expected, std::string_view help = {});
  bool expect(std::string_view spelling, std::string_view help = {});

  // --- tree ---
  AstId make(AstKind kind, TextRange range, TextRange token, std::vector<AstId> children = {}, std::string_view text = {});
  static bool isChain(AstKind kind) { return kind == AstKind::Binary || kind == AstKind::And || kind == AstKind::Or; }
  void failNesting(TextRange range);
  AstId nothing() { return make(AstKind::None, peek().range, peek().range); }
  TextRange rangeOf(AstId id) const { return ast.nodes[id].range; }

  /// Counts recursion, so that brackets and blocks cannot overflow the stack.
  struct Nested {
    explicit Nested(Parser &parser) : parser(parser) {
      if (++parser.nesting > kMaxNesting && !parser.error)
        parser.failNesting(parser.peek().range);
    }
    ~Nested() { --parser.nesting; }
    Parser &parser;
  };

  // --- texts and functions (Parser.cpp) ---
  /// A bare expression or a lambda; the text may run over several lines at will.
  void parseSingle();
  void parseDef(std::vector<StatementId> &block, std::vector<AstId> decorators);
  void parseParameters(AstFunction &function, std::string_view close);
  AstId parseLambda();

  // --- statements (ParseStatements.cpp) ---
  using Block = std::vector<StatementId>;
  /// One that cannot be read becomes a Refused, where it may never be needed: in functions and modules.
  void parseStatement(Block &block);
  void parseAnyStatement(Block &block);
  bool mayRefuse() const;
  void refuseFrom(std::size_t begin, Block &block);
  /// What stands after ':': statements on the same line, or an indented block.
  void parseBlock(Block &block, std::string_view owner);
  void parseCompound(Block &block);
  void parseIf(Block &block);
  void parseFor(Block &block);
  void parseWhile(Block &block);
  void parseWith(Block &block);
  void parseTry(Block &block);
  void parseHandler(AstStatement &statement);
  void parseMatch(Block &block);
  void parseCase(AstStatement &statement);
  AstId parsePattern();
  /// 'match' is a name too.
  bool isMatch() const;
  void parseNames(AstStatement statement, Block &block);
  void parseDelete(AstStatement statement, Block &block);
  void parseSimpleStatement(Block &block);
  void parseReturn(AstStatement statement, Block &block);
  void parseImport(AstStatement statement, Block &block);
  void parseAssignmentOrExpression(AstStatement statement, Block &block);
  bool isTarget(AstId id) const;
  /// try, class ...: fails and answers true.
  bool refuse();
  void skipStatement();
  AstStatement statementAt(AstStatementKind kind) const {
    AstStatement statement;
    statement.kind = kind;
    statement.range = peek().range;
    return statement;
  }
  void add(AstStatement statement, Block &block) {
    block.push_back(static_cast<StatementId>(ast.statements.size()));
    ast.statements.push_back(std::move(statement));
  }

  // --- expressions (ParseExpressions.cpp) ---
  AstId parseExpression();
  /// "a, b" is a tuple.
  AstId parseExpressionList();
  AstId parseElement();
  AstId parseTargetList();
  AstId parseOr() { return parseBoolChain("or", AstKind::Or, &Parser::parseAnd); }
  AstId parseAnd() { return parseBoolChain("and", AstKind::And, &Parser::parseNot); }
  AstId parseBoolChain(std::string_view spelling, AstKind kind, AstId (Parser::*operand)());
  AstId parseNot();
  AstId parseComparison();
  std::string_view eatComparison();
  AstId parseBinary(int minimum);
  AstId parseUnary();
  AstId parsePostfix();
  AstId parseCall(AstId callee);
  AstId parseSubscript(AstId base);
  AstId parseIndex();
  AstId parseAtom();
  AstId parseNameAtom();
  AstId parseStrings();
  /// What the bytes between the quotes mean, from `at` on in the text.
  AstId parseLiteral(std::string_view text, TextRange range, bool isRaw);
  std::string unescaped(std::string_view text, TextRange range);
  void parseFormatted(const Token &token, std::vector<AstId> &pieces, std::vector<std::string_view> &formats);
  AstId parseParenthesised(TextRange open);
  AstId parseList(TextRange open);
  AstId parseBraces(TextRange open);
  AstId parseComprehension(AstId element, TextRange open);

  const SourceText &source;
  std::vector<Token> tokens;
  std::vector<Error> badTokens;
  bool isUnclosed = false;
  TextForm form = TextForm::Mod;
  std::size_t at = 0;
  int nesting = 0;
  int functionDepth = 0, loopDepth = 0;
  Ast ast;
  std::optional<Error> error;
};

} // namespace attnjit::expr
