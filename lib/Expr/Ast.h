// The syntax tree: what the user wrote, before names and types mean anything. Every node keeps its range in the text.
#pragma once

#include "Expr/SourceText.h"

#include <deque>
#include <vector>

namespace attnjit::expr {

enum class AstKind : std::uint8_t {
  Name,  ///< text
  Int,   ///< intValue
  Float, ///< floatValue
  Bool,  ///< intValue
  None,
  Ellipsis,      ///< ...
  String,        ///< text: what stands between the quotes
  FString,       ///< children: String pieces and expressions; keywords[i] is the format after ':' of child i
  Unary,         ///< text is -, +, ~ or not; one child
  Binary,        ///< text is the operator; two children
  Compare,       ///< a chain: children x0 .. xn, operators[i] between xi and xi+1
  And,           ///< two children
  Or,            ///< two children
  Conditional,   ///< children: value if true, condition, value if false
  Call,          ///< children: callee, arguments; keywords[i] names argument i (empty = positional)
  Starred,       ///< *x in a call, a tuple or a target; one child
  Subscript,     ///< children: base, indices
  Slice,         ///< children: start, stop, step; a part left out is a None
  Attribute,     ///< one child, text is the name
  Lambda,        ///< intValue: index into Ast::functions; one child, the value
  Tuple,         ///< children: the elements
  List,          ///< children: the elements
  Comprehension, ///< children: element, target, iterable, conditions; intValue 1: the element is the next 'for' of the same comprehension
  Dict,          ///< children: keys and values in turn, a Starred dictionary followed by a None; or one Comprehension of pairs (intValue 1)
  Set,           ///< children: the elements, the Comprehension of one Starred
  Named,         ///< name := value; children: the Name, the value
};

using AstId = std::uint32_t;
inline constexpr AstId kNoNode = ~AstId{0};

struct AstNode {
  AstKind kind = AstKind::None;
  TextRange range; ///< all of it
  TextRange token; ///< the part to point at: operator, name ...
  std::string_view text;
  std::vector<AstId> children;
  std::vector<std::string_view> operators; ///< of a Compare
  std::vector<std::string_view> keywords;  ///< of a Call ("**": a dictionary of such) or FString
  std::int64_t intValue = 0;
  double floatValue = 0;
  int depth = 1; ///< levels of recursion that walking this tree needs
};

enum class AstStatementKind : std::uint8_t {
  Expression, ///< value
  Assign,     ///< targets: names, attributes, elements, or tuples of them; value. `target op= value` is stored as target = target op value
  Return,     ///< value, or kNoNode
  If,         ///< value: the condition; body, orElse (an elif is an If in orElse)
  For,        ///< targets[0], value: what is walked; body, orElse
  While,      ///< value: the condition; body, orElse
  Def,        ///< function
  Assert,     ///< value, message
  Raise,      ///< value, or kNoNode
  Try,        ///< body, arms: the handlers, orElse, finally
  Match,      ///< value: the subject; arms: the cases
  Pass,
  Break,
  Continue,
  Import, ///< imports
  With,   ///< value: the context; targets[0] if it is named; body
  Delete, ///< targets
  Global, ///< names
  Nonlocal,
  Refused, ///< what formulas do not have or what cannot be read: running it is error `error`; names: what it might have bound or changed
};

using StatementId = std::uint32_t;

/// `import path as alias`, `from path import member as alias`.
struct AstImport {
  std::string_view path, member, alias;
};

/// An `except` or a `case`.
struct AstArm {
  TextRange range;
  AstId what = kNoNode;  ///< the exceptions, or kNoNode for all; the pattern
  AstId guard = kNoNode; ///< of a case
  std::string_view name; ///< after `as`
  std::vector<StatementId> body;
};

struct AstStatement {
  AstStatementKind kind = AstStatementKind::Pass;
  TextRange range; ///< what to point at
  std::vector<AstId> targets;
  AstId value = kNoNode, message = kNoNode;
  std::vector<StatementId> body, orElse, finally;
  std::vector<AstArm> arms;
  std::size_t function = 0;
  std::vector<AstImport> imports;
  std::vector<std::string_view> names;
  std::size_t error = 0;    ///< of a Refused: index into Ast::errors
  bool isAugmented = false; ///< an Assign of `target op= value`
};

struct AstParameter {
  std::string_view name;
  TextRange range;
  AstId defaultValue = kNoNode;
  bool isStarred = false;     ///< *args
  bool isDictionary = false;  ///< **options
  bool isKeywordOnly = false; ///< stands after *
};

struct AstFunction {
  bool isLambda = false;
  std::string_view name;
  TextRange head; ///< what to point at when the whole is wrong
  std::vector<AstParameter> parameters;
  std::vector<AstId> decorators;
  std::vector<StatementId> body; ///< of a lambda: one Return
};

/// A parsed text: one expression, or statements. Its string views borrow from the text and from `texts`.
struct Ast {
  std::vector<AstNode> nodes;
  std::vector<AstStatement> statements;
  std::vector<AstFunction> functions;
  AstId expression = kNoNode;
  std::vector<StatementId> body; ///< without an expression
  std::vector<Error> errors;     ///< of Refused statements
  std::deque<std::string> texts; ///< of strings with escapes
  const AstNode &operator[](AstId id) const { return nodes[id]; }
};

/// The tree as indented text with ranges, `--emit ast`.
std::string dump(const Ast &ast);

} // namespace attnjit::expr
