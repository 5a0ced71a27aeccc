// The syntax tree: what the user wrote, before names and types mean anything. Every node keeps its range in the text.
#pragma once

#include "Expr/SourceText.h"

#include <vector>

namespace attnjit::expr {

enum class AstKind : std::uint8_t {
  Name,  ///< text
  Int,   ///< intValue
  Float, ///< floatValue
  Bool,  ///< intValue
  None,
  String,      ///< text: what stands between the quotes
  Unary,       ///< text is -, +, ~ or not; one child
  Binary,      ///< text is the operator; two children
  Compare,     ///< a chain: children x0 .. xn, operators[i] between xi and xi+1
  And,         ///< two children
  Or,          ///< two children
  Conditional, ///< children: value if true, condition, value if false
  Call,        ///< children: callee, arguments; keywords[i] names argument i (empty = positional)
  Subscript,   ///< children: base, indices
  Attribute,   ///< one child, text is the name
};

using AstId = std::uint32_t;

struct AstNode {
  AstKind kind = AstKind::None;
  TextRange range; ///< all of it
  TextRange token; ///< the part to point at: operator, name ...
  std::string_view text;
  std::vector<AstId> children;
  std::vector<std::string_view> operators; ///< of a Compare
  std::vector<std::string_view> keywords;  ///< of a Call
  std::int64_t intValue = 0;
  double floatValue = 0;
  int depth = 1; ///< levels of recursion that walking this tree needs
};

/// `target op= value` is stored as target = target op value. A Return has no target.
struct AstStatement {
  std::string_view target;
  TextRange targetRange;
  AstId value = 0;
  bool isReturn = false;
};

struct AstParameter {
  std::string_view name;
  TextRange range;
};

/// A mod. A bare expression has no parameters and one Return.
struct AstFunction {
  enum class Form : std::uint8_t { Bare, Lambda, Def } form = Form::Bare;
  std::string_view name;
  TextRange head; ///< what to point at when the whole is wrong
  std::vector<AstParameter> parameters;
  std::vector<AstStatement> body;
};

/// A parsed text. Its string views borrow from the text.
struct Ast {
  std::vector<AstNode> nodes;
  std::vector<AstFunction> functions; ///< helpers first; the last one is the mod
  const AstNode &operator[](AstId id) const { return nodes[id]; }
};

/// The tree as indented text with ranges, `--emit ast`.
std::string dump(const Ast &ast);

} // namespace attnjit::expr
