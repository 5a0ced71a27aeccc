// The walk over one mod's tree, split over Sema.cpp (names, operators, captures) and SemaCalls.cpp (functions and methods).
#pragma once

#include "Expr/Builtins.h"
#include "Expr/Names.h"
#include "Expr/Sema.h"

#include <map>

namespace attnjit::expr {

/// What an expression denotes while it is being analysed.
struct Denoted {
  enum class Tag : std::uint8_t { Nothing, Value, Tensor, Module, Function, Helper, String, Dtype } tag = Tag::Nothing;
  ValueId value = 0;                 ///< Value; receiver of a method
  std::size_t index = 0;             ///< Tensor: capture info; Helper: function
  std::vector<ValueId> indices;      ///< Tensor: those given so far
  const Builtin *builtin = nullptr;  ///< Function
  Namespace space = Namespace::None; ///< Function, Module
  std::string_view text;             ///< String
  Kind dtype = Kind::Float;          ///< Dtype
};

class Sema {
public:
  Sema(const Ast &ast, const SourceText &source, ModKind mod, const CaptureScope &captures)
      : ast(ast), source(source), mod(mod), captures(captures) {}
  Result<Function> run();

private:
  bool failed() const { return error.has_value(); }
  Denoted fail(TextRange range, std::string_view message, std::string_view help);
  /// Turns a problem of the typed layer into an error at `range`.
  Denoted checked(ValueId value, TextRange range);

  // --- the mod as a whole ---

  std::string_view role() const { return mod == ModKind::Score ? "score_mod" : "mask_mod"; }
  void bindArguments(const AstFunction &function);
  void bind(std::string_view name, ValueId value);
  /// Runs assignments up to the first return.
  Denoted runBody(const AstFunction &function);
  ValueId finishResult(const Denoted &result, const AstFunction &function);

  // --- expressions ---

  /// Bounds recursion and total work, helper calls included.
  bool enter(TextRange range);
  Denoted evaluate(AstId id);
  Denoted evaluateNode(const AstNode &node);
  /// Evaluates to a number, or fails saying what the text denotes instead.
  ValueId evaluateValue(AstId id);
  ValueId asValue(const Denoted &denoted, TextRange range);
  ValueId finishLoad(const Denoted &denoted, TextRange range);
  static std::string indexExample(const CaptureInfo &capture);
  Denoted lookUp(const AstNode &node);
  Denoted denoteCapture(std::size_t index, const AstNode &node);
  Denoted lookUpBuiltin(const AstNode &node);
  /// "did you mean ...; known here are ..." for a name that does not exist.
  std::string suggestName(std::string_view unknown) const;
  Denoted evaluateUnary(const AstNode &node);
  /// Binary operators, and, or: walks the left spine in a loop, since a sum of a thousand terms is a thousand levels deep.
  Denoted evaluateChain(const AstNode &top);
  ValueId applyBinary(const AstNode &node, ValueId left, ValueId right);
  /// a < b < c is (a < b) and (b < c), b evaluated once.
  Denoted evaluateCompare(const AstNode &node);
  Denoted evaluateConditional(const AstNode &node);
  Denoted evaluateSubscript(const AstNode &node);
  std::string listCaptures() const;
  Denoted evaluateAttribute(const AstNode &node);
  Denoted unknownMember(const AstNode &node, std::string_view what, bool asMethod);
  Denoted moduleMember(const AstNode &node, const Denoted &base);

  // --- calls ---

  Denoted evaluateCall(const AstNode &node);
  Denoted callHelper(const AstNode &node, std::size_t index);
  Denoted callBuiltin(const AstNode &node, const Denoted &callee);
  Denoted applyBuiltin(const AstNode &node, const Builtin &builtin, const std::vector<SignatureName> &signature, BuiltinCall &call);
  std::string_view calledName(const AstNode &node) const;
  Denoted failArity(const AstNode &node, const std::vector<SignatureName> &signature, bool isMethod);
  bool evaluateArgument(AstId id, Argument &argument);

  const Ast &ast;
  const SourceText &source;
  const ModKind mod;
  const CaptureScope &captures;
  Lower lower;
  std::map<std::string_view, Denoted> scope; ///< ordered: messages list it
  std::vector<std::size_t> active;           ///< helpers being expanded
  TextRange resultRange;
  bool isBare = false;
  int depth = 0;
  std::size_t steps = 0;
  std::optional<Error> error;
};

} // namespace attnjit::expr
