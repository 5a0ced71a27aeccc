#include "Expr/Sema.h"

#include "Expr/Builtins.h"
#include "Expr/Names.h"
#include "Expr/Ops.h"
#include "Expr/Parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace attnjit::expr {

namespace {

/// Helper calls may nest and repeat; these bounds keep a short text from asking for unbounded work.
constexpr int kMaxRecursion = 2 * kMaxNesting;
constexpr std::size_t kMaxSteps = 2'000'000;

/// What an expression denotes while it is being analysed.
struct Denoted {
  enum class Tag : std::uint8_t { Nothing, Value, Tensor, Module, Function, Helper, String, Dtype } tag = Tag::Nothing;
  ValueId value = 0;                     ///< Value; receiver of a method
  std::size_t index = 0;                 ///< Tensor: capture info; Helper: function
  std::vector<ValueId> indices;          ///< Tensor: those given so far
  const Builtin *builtin = nullptr;      ///< Function
  Namespace space = Namespace::None;     ///< Function, Module
  std::string_view text;                 ///< String
  Kind dtype = Kind::Float;              ///< Dtype
};

using Tag = Denoted::Tag;

std::string describe(Kind kind) { return fmt::format("{} {}", kind == Kind::Int ? "an" : "a", name(kind)); }

class Sema {
public:
  Sema(const Ast &ast, const SourceText &source, ModKind mod, const CaptureScope &captures)
      : ast(ast), source(source), mod(mod), captures(captures) {}

  Result<Function> run() {
    const AstFunction &function = ast.functions.back();
    bindArguments(function);
    ValueId result = 0;
    if (!failed())
      result = finishResult(runBody(function), function);
    if (failed())
      return std::move(*error);
    Function finished = lower.builder.finish(result);
    if (finished.nodes.size() > kMaxOperations)
      return source.error(function.head, fmt::format("the formula has {} operations", finished.nodes.size()), fmt::format("at most {} are accepted; put large tables into a captured tensor", kMaxOperations));
    return finished;
  }

private:
  bool failed() const { return error.has_value(); }

  Denoted fail(TextRange range, std::string_view message, std::string_view help) {
    if (!error)
      error = source.error(range, message, help);
    return {};
  }

  /// Turns a problem of the typed layer into an error at `range`.
  Denoted checked(ValueId value, TextRange range) {
    if (!lower.problem.empty())
      return fail(range, lower.problem, lower.help);
    Denoted denoted;
    denoted.tag = Tag::Value;
    denoted.value = value;
    return denoted;
  }

  // --- the mod as a whole ---

  std::string_view role() const { return mod == ModKind::Score ? "score_mod" : "mask_mod"; }

  void bindArguments(const AstFunction &function) {
    static constexpr Param kParams[] = {Param::Score, Param::B, Param::H, Param::Q, Param::Kv};
    const std::size_t first = mod == ModKind::Score ? 0 : 1;
    if (function.form == AstFunction::Form::Bare) {
      static constexpr std::pair<std::string_view, Param> kStandard[] = {{"score", Param::Score}, {"b", Param::B},        {"batch", Param::B},  {"h", Param::H},
                                                                         {"head", Param::H},      {"q_idx", Param::Q}, {"kv_idx", Param::Kv}};
      for (const auto &[name, param] : kStandard)
        if (param != Param::Score || mod == ModKind::Score)
          bind(name, lower.builder.param(param));
      isBare = true;
      return;
    }
    const std::size_t expected = 5 - first;
    if (function.parameters.size() != expected) {
      const std::string_view list = mod == ModKind::Score ? "(score, b, h, q_idx, kv_idx)" : "(b, h, q_idx, kv_idx)";
      TextRange where = function.head;
      if (function.parameters.size() > expected)
        where = function.parameters[expected].range;
      fail(where, fmt::format("a {} takes {} arguments, found {}", role(), expected, function.parameters.size()), fmt::format("the arguments are {}; their names are free", list));
      return;
    }
    for (std::size_t i = 0; i < expected; ++i)
      bind(function.parameters[i].name, lower.builder.param(kParams[first + i]));
  }

  void bind(std::string_view name, ValueId value) {
    Denoted denoted;
    denoted.tag = Tag::Value;
    denoted.value = value;
    scope.insert_or_assign(name, std::move(denoted));
  }

  /// Runs assignments up to the first return.
  Denoted runBody(const AstFunction &function) {
    for (const AstStatement &statement : function.body) {
      Denoted value = evaluate(statement.value);
      if (failed())
        return {};
      if (statement.isReturn) {
        resultRange = ast[statement.value].range;
        return value;
      }
      scope.insert_or_assign(statement.target, std::move(value));
    }
    return {};
  }

  ValueId finishResult(const Denoted &result, const AstFunction &function) {
    const TextRange range = resultRange;
    const ValueId value = asValue(result, range);
    if (failed())
      return 0;
    lower.range = range;
    const Kind kind = lower.kind(value);
    if (mod == ModKind::Mask) {
      if (kind != Kind::Bool)
        fail(range, fmt::format("a mask_mod returns a bool, found {}", describe(kind)), "use a comparison, e.g. q_idx >= kv_idx; True keeps the pair");
      return value;
    }
    if (kind == Kind::Bool)
      fail(range, "a score_mod returns a float, found a bool",
           "to hide pairs use mask_mod, or torch.where(condition, score, float(\"-inf\"))");
    return failed() ? 0 : lower.toFloat(value);
  }

  // --- expressions ---

  /// Bounds recursion and total work, helper calls included.
  bool enter(TextRange range) {
    if (++steps > kMaxSteps)
      fail(range, "the formula is too large once its helper functions are written out", "call helpers less often, or assign their results to names");
    else if (depth >= kMaxRecursion)
      fail(range, "calls of helper functions are nested too deeply", "call fewer helpers from within helpers");
    return !failed();
  }

  Denoted evaluate(AstId id) {
    const AstNode &node = ast[id];
    if (failed() || !enter(node.range))
      return {};
    ++depth;
    Denoted result = evaluateNode(node);
    --depth;
    return result;
  }

  Denoted evaluateNode(const AstNode &node) {
    lower.range = node.range;
    switch (node.kind) {
    case AstKind::Name: return lookUp(node);
    case AstKind::Int: return checked(lower.integer(node.intValue), node.range);
    case AstKind::Float: return checked(lower.number(node.floatValue), node.range);
    case AstKind::Bool: return checked(lower.boolean(node.intValue), node.range);
    case AstKind::None: return {};
    case AstKind::String: {
      Denoted denoted;
      denoted.tag = Tag::String;
      denoted.text = node.text;
      return denoted;
    }
    case AstKind::Unary: return evaluateUnary(node);
    case AstKind::Binary:
    case AstKind::And:
    case AstKind::Or: return evaluateChain(node);
    case AstKind::Compare: return evaluateCompare(node);
    case AstKind::Conditional: return evaluateConditional(node);
    case AstKind::Call: return evaluateCall(node);
    case AstKind::Subscript: return evaluateSubscript(node);
    case AstKind::Attribute: return evaluateAttribute(node);
    }
    return {};
  }

  /// Evaluates to a number, or fails saying what the text denotes instead.
  ValueId evaluateValue(AstId id) {
    const Denoted denoted = evaluate(id);
    return failed() ? 0 : asValue(denoted, ast[id].range);
  }

  ValueId asValue(const Denoted &denoted, TextRange range) {
    switch (denoted.tag) {
    case Tag::Value: return denoted.value;
    case Tag::Tensor: return finishLoad(denoted, range);
    case Tag::Nothing: fail(range, "expected a number, found None", "every branch needs a value"); break;
    case Tag::Module: fail(range, "expected a number, found a module", "call one of its functions, e.g. torch.exp(x)"); break;
    case Tag::Function:
    case Tag::Helper: fail(range, "expected a number, found a function", "call it: add '(...)'"); break;
    case Tag::String: fail(range, "expected a number, found a string", "strings occur only in float(\"inf\") and the like"); break;
    case Tag::Dtype: fail(range, "expected a number, found a dtype", "dtypes occur only in x.to(torch.float32)"); break;
    }
    return 0;
  }

  ValueId finishLoad(const Denoted &denoted, TextRange range) {
    const CaptureInfo &capture = captures.infos[denoted.index];
    if (static_cast<int>(denoted.indices.size()) != capture.rank) {
      fail(range, fmt::format("'{}' has rank {}, found {} {}", capture.name, capture.rank, denoted.indices.size(), denoted.indices.size() == 1 ? "index" : "indices"),
           fmt::format("a formula reads single elements: {}", indexExample(capture)));
      return 0;
    }
    const CaptureDecl decl{capture.name, capture.dtype, capture.rank};
    return lower.builder.load(captures.slots[denoted.index], decl.elementKind(), denoted.indices, range);
  }

  static std::string indexExample(const CaptureInfo &capture) {
    static constexpr std::string_view kIndices[] = {"h", "q_idx", "kv_idx", "b"};
    std::string text = capture.name;
    for (int dim = 0; dim < capture.rank; ++dim)
      text += fmt::format("{}{}", dim ? ", " : "[", kIndices[dim % 4]);
    return capture.rank ? text + "]" : text;
  }

  Denoted lookUp(const AstNode &node) {
    const auto local = scope.find(node.text);
    const auto capture = std::find_if(captures.infos.begin(), captures.infos.end(), [&](const CaptureInfo &info) { return info.name == node.text; });
    if (local != scope.end()) {
      if (isBare && capture != captures.infos.end())
        return fail(node.token, fmt::format("'{}' is both an argument and a captured name", node.text), "rename the capture, or use a lambda with other argument names");
      return local->second;
    }
    if (capture != captures.infos.end())
      return denoteCapture(static_cast<std::size_t>(capture - captures.infos.begin()), node);
    for (std::size_t i = 0; i < ast.functions.size(); ++i)
      if (!ast.functions[i].name.empty() && ast.functions[i].form == AstFunction::Form::Def && ast.functions[i].name == node.text) {
        Denoted denoted;
        denoted.tag = Tag::Helper;
        denoted.index = i;
        return denoted;
      }
    return lookUpBuiltin(node);
  }

  Denoted denoteCapture(std::size_t index, const AstNode &node) {
    const CaptureInfo &capture = captures.infos[index];
    if (capture.rank < 0) {
      const Kind kind = isFloat(capture.dtype) ? Kind::Float : capture.dtype == DType::Bool ? Kind::Bool : Kind::Int;
      return checked(lower.builder.scalar(captures.slots[index], kind, node.range), node.range);
    }
    Denoted denoted;
    denoted.tag = Tag::Tensor;
    denoted.index = index;
    return denoted;
  }

  Denoted lookUpBuiltin(const AstNode &node) {
    Denoted denoted;
    if (node.text == "torch" || node.text == "math" || node.text == "F" || node.text == "np" || node.text == "numpy") {
      denoted.tag = Tag::Module;
      denoted.space = node.text == "math" ? Namespace::Math : Namespace::Torch;
      return denoted;
    }
    if (const Builtin *builtin = findBuiltin(node.text, false)) {
      denoted.tag = Tag::Function;
      denoted.builtin = builtin;
      return denoted;
    }
    if (const auto constant = findConstant(node.text); constant && node.text != "e")
      return checked(lower.number(*constant), node.range);
    return fail(node.token, fmt::format("unknown name '{}'", node.text), suggestName(node.text));
  }

  /// "did you mean ...; known here are ..." for a name that does not exist.
  std::string suggestName(std::string_view unknown) const {
    std::vector<std::string_view> visible, all;
    for (const auto &[name, value] : scope)
      visible.push_back(name);
    for (const CaptureInfo &capture : captures.infos)
      visible.push_back(capture.name);
    for (const AstFunction &function : ast.functions)
      if (function.form == AstFunction::Form::Def && &function != &ast.functions.back())
        visible.push_back(function.name);
    all = visible;
    for (const Builtin &builtin : builtins())
      forEachName(builtin, [&](std::string_view name, bool methodOnly) {
        if (!methodOnly)
          all.push_back(name);
      });
    std::string text;
    if (unknown == "score" && mod == ModKind::Mask)
      text = "a mask_mod sees no score; ";
    else if (const auto nearest = nearestName(unknown, all))
      text = fmt::format("did you mean '{}'? ", *nearest);
    return text + fmt::format("the names known here are {}, and the functions of torch and math", listNames(visible));
  }

  Denoted evaluateUnary(const AstNode &node) {
    const ValueId operand = evaluateValue(node.children[0]);
    if (failed())
      return {};
    lower.range = node.range;
    if (node.text == "-")
      return checked(lower.negate(operand), node.token);
    if (node.text == "+")
      return checked(operand, node.token);
    if (node.text == "~")
      return checked(lower.invert(operand), node.token);
    if (!lower.isCondition(operand, "'not'"))
      return checked(operand, ast[node.children[0]].range);
    return checked(lower.op(Op::LogicalNot, {operand}), node.token);
  }

  /// Binary operators, and, or: walks the left spine in a loop, since a sum of a thousand terms is a thousand levels deep.
  Denoted evaluateChain(const AstNode &top) {
    std::vector<const AstNode *> spine{&top};
    const auto isChain = [](const AstNode &node) { return node.kind == AstKind::Binary || node.kind == AstKind::And || node.kind == AstKind::Or; };
    while (isChain(ast[spine.back()->children[0]]))
      spine.push_back(&ast[spine.back()->children[0]]);
    AstId leftId = spine.back()->children[0];
    ValueId left = evaluateValue(leftId);
    for (; !spine.empty() && !failed(); spine.pop_back()) {
      const AstNode &node = *spine.back();
      const ValueId right = evaluateValue(node.children[1]);
      if (failed() || !enter(node.range))
        return {};
      lower.range = node.range;
      left = applyBinary(node, left, right);
    }
    return failed() ? Denoted() : checked(left, top.range);
  }

  ValueId applyBinary(const AstNode &node, ValueId left, ValueId right) {
    if (node.kind == AstKind::Binary) {
      const ValueId result = lower.binary(node.text, left, right);
      checked(result, node.token);
      return result;
    }
    const std::string where = fmt::format("'{}'", node.text);
    for (const auto &[operand, id] : {std::pair(left, node.children[0]), std::pair(right, node.children[1])})
      if (!lower.isCondition(operand, where)) {
        checked(operand, ast[id].range);
        return operand;
      }
    return lower.op(node.kind == AstKind::And ? Op::LogicalAnd : Op::LogicalOr, {left, right});
  }

  /// a < b < c is (a < b) and (b < c), b evaluated once.
  Denoted evaluateCompare(const AstNode &node) {
    ValueId left = evaluateValue(node.children[0]), all = 0;
    for (std::size_t i = 0; i < node.operators.size() && !failed(); ++i) {
      const ValueId right = evaluateValue(node.children[i + 1]);
      if (failed())
        return {};
      lower.range = node.range;
      const ValueId one = lower.compare(node.operators[i], left, right);
      all = i == 0 ? one : lower.op(Op::LogicalAnd, {all, one});
      left = right;
    }
    return failed() ? Denoted() : checked(all, node.token);
  }

  Denoted evaluateConditional(const AstNode &node) {
    const ValueId condition = evaluateValue(node.children[1]);
    if (failed())
      return {};
    if (!lower.isCondition(condition, "'if'"))
      return checked(condition, ast[node.children[1]].range);
    const ValueId yes = evaluateValue(node.children[0]);
    const ValueId no = failed() ? 0 : evaluateValue(node.children[2]);
    if (failed())
      return {};
    lower.range = node.range;
    return checked(lower.select(condition, yes, no), node.token);
  }

  Denoted evaluateSubscript(const AstNode &node) {
    Denoted base = evaluate(node.children[0]);
    if (failed())
      return {};
    if (base.tag != Tag::Tensor)
      return fail(node.range, "only captured tensors can be indexed", captures.infos.empty() ? "the problem has no captures" : "the captures are " + listCaptures());
    const CaptureInfo &capture = captures.infos[base.index];
    for (std::size_t i = 1; i < node.children.size(); ++i) {
      const AstId indexId = node.children[i];
      const ValueId index = evaluateValue(indexId);
      if (failed())
        return {};
      if (static_cast<int>(base.indices.size()) == capture.rank)
        return fail(ast[indexId].range, fmt::format("too many indices: '{}' has rank {}", capture.name, capture.rank), fmt::format("write {}", indexExample(capture)));
      if (lower.kind(index) != Kind::Int)
        return fail(ast[indexId].range, fmt::format("an index must be an int, found {}", describe(lower.kind(index))),
                    lower.kind(index) == Kind::Float ? "use '//' instead of '/', or convert with .int()" : "convert with .int()");
      base.indices.push_back(index);
    }
    return base;
  }

  std::string listCaptures() const {
    std::vector<std::string_view> names;
    for (const CaptureInfo &capture : captures.infos)
      names.push_back(capture.name);
    return listNames(names);
  }

  Denoted evaluateAttribute(const AstNode &node) {
    const Denoted base = evaluate(node.children[0]);
    if (failed())
      return {};
    if (base.tag == Tag::Module)
      return moduleMember(node, base);
    if (base.tag == Tag::Tensor && static_cast<int>(base.indices.size()) < captures.infos[base.index].rank)
      return fail(node.token, fmt::format("'.{}' of a whole captured tensor is not accepted", node.text),
                  fmt::format("index it first: {}; sizes and the like are captured as numbers", indexExample(captures.infos[base.index])));
    const ValueId receiver = asValue(base, ast[node.children[0]].range);
    if (failed())
      return {};
    Denoted denoted;
    if (node.text == "dtype") {
      denoted.tag = Tag::Dtype;
      denoted.dtype = lower.kind(receiver);
      return denoted;
    }
    denoted.tag = Tag::Function;
    denoted.builtin = findBuiltin(node.text, true);
    denoted.space = Namespace::Method;
    denoted.value = receiver;
    return denoted.builtin ? denoted : unknownMember(node, "method", true);
  }

  Denoted unknownMember(const AstNode &node, std::string_view what, bool asMethod) {
    std::vector<std::string_view> all;
    for (const Builtin &builtin : builtins())
      forEachName(builtin, [&](std::string_view name, bool methodOnly) {
        if (!methodOnly || asMethod)
          all.push_back(name);
      });
    const auto nearest = nearestName(node.text, all);
    return fail(node.token, fmt::format("unknown {} '{}'", what, node.text),
                fmt::format("{}docs/language.md lists the functions; those that reduce or reshape tensors have no place in a formula", nearest ? fmt::format("did you mean '{}'? ", *nearest) : ""));
  }

  Denoted moduleMember(const AstNode &node, const Denoted &base) {
    static constexpr std::pair<std::string_view, Kind> kDtypes[] = {{"float", Kind::Float}, {"float32", Kind::Float}, {"float64", Kind::Float}, {"double", Kind::Float},
                                                                    {"int", Kind::Int},     {"int32", Kind::Int},     {"int64", Kind::Int},     {"long", Kind::Int},
                                                                    {"bool", Kind::Bool}};
    Denoted denoted;
    if (node.text == "nn" || node.text == "functional" || node.text == "special" || node.text == "Tensor") {
      denoted = base;
      return denoted;
    }
    for (const auto &[name, kind] : kDtypes)
      if (base.space == Namespace::Torch && name == node.text) {
        denoted.tag = Tag::Dtype;
        denoted.dtype = kind;
        return denoted;
      }
    if (const auto constant = findConstant(node.text))
      return checked(lower.number(*constant), node.range);
    denoted.tag = Tag::Function;
    denoted.builtin = findBuiltin(node.text, false);
    denoted.space = base.space;
    return denoted.builtin ? denoted : unknownMember(node, "function", false);
  }

  // --- calls ---

  Denoted evaluateCall(const AstNode &node) {
    const Denoted callee = evaluate(node.children[0]);
    if (failed())
      return {};
    if (callee.tag == Tag::Helper)
      return callHelper(node, callee.index);
    if (callee.tag != Tag::Function) {
      const bool isTensor = callee.tag == Tag::Tensor;
      return fail(node.token, "this is not a function", isTensor ? "index a captured tensor with square brackets" : "write '*' for a product");
    }
    return callBuiltin(node, callee);
  }

  Denoted callHelper(const AstNode &node, std::size_t index) {
    const AstFunction &function = ast.functions[index];
    if (std::find(active.begin(), active.end(), index) != active.end() || index + 1 == ast.functions.size())
      return fail(node.token, fmt::format("'{}' calls itself", function.name), "a formula has no recursion; write the steps out");
    const std::size_t given = node.children.size() - 1;
    if (given != function.parameters.size())
      return fail(node.token, fmt::format("'{}' takes {}, found {}", function.name, countOf(function.parameters.size()), given), "give every argument once");
    std::map<std::string_view, Denoted> inner;
    for (std::size_t i = 0; i < given; ++i) {
      std::size_t slot = i;
      if (const std::string_view keyword = node.keywords[i]; !keyword.empty()) {
        slot = 0;
        while (slot < given && function.parameters[slot].name != keyword)
          ++slot;
        if (slot == given)
          return fail(ast[node.children[i + 1]].range, fmt::format("'{}' has no argument '{}'", function.name, keyword), "use the names of its head");
      }
      Denoted argument = evaluate(node.children[i + 1]);
      if (failed())
        return {};
      if (!inner.emplace(function.parameters[slot].name, std::move(argument)).second)
        return fail(ast[node.children[i + 1]].range, fmt::format("the argument '{}' is given twice", function.parameters[slot].name), "give every argument once");
    }
    active.push_back(index);
    std::swap(scope, inner);
    const TextRange outerResult = resultRange;
    Denoted result = runBody(function);
    resultRange = outerResult;
    std::swap(scope, inner);
    active.pop_back();
    return result;
  }

  static std::string countOf(std::size_t count) { return count == 1 ? "1 argument" : fmt::format("{} arguments", count); }

  Denoted callBuiltin(const AstNode &node, const Denoted &callee) {
    const std::vector<SignatureName> signature = parseSignature(callee.builtin->signature);
    const bool isMethod = callee.space == Namespace::Method;
    BuiltinCall call;
    call.space = callee.space;
    call.arguments.resize(signature.size() - (signature.back().variadic ? 1 : 0));
    if (isMethod) {
      call.arguments[0].tag = Argument::Tag::Value;
      call.arguments[0].value = callee.value;
    }
    for (std::size_t i = 1; i < node.children.size(); ++i) {
      const std::string_view keyword = node.keywords[i - 1];
      std::size_t slot = i - 1 + (isMethod ? 1 : 0);
      if (!keyword.empty()) {
        slot = 0;
        while (slot < call.arguments.size() && signature[slot].name != keyword)
          ++slot;
        if (slot == call.arguments.size())
          return fail(ast[node.children[i]].range, fmt::format("'{}' has no argument '{}'", calledName(node), keyword), fmt::format("it takes ({})", showSignature(signature)));
      }
      if (slot >= call.arguments.size()) {
        if (!signature.back().variadic)
          return failArity(node, signature, isMethod);
        call.arguments.emplace_back();
      }
      if (call.arguments[slot].tag != Argument::Tag::Missing)
        return fail(ast[node.children[i]].range, fmt::format("the argument '{}' is given twice", signature[slot].name), fmt::format("it takes ({})", showSignature(signature)));
      if (!evaluateArgument(node.children[i], call.arguments[slot]))
        return {};
    }
    for (std::size_t i = 0; i < call.arguments.size() && i < signature.size(); ++i)
      if (call.arguments[i].tag == Argument::Tag::Missing && !signature[i].optional && !signature[i].variadic)
        return failArity(node, signature, isMethod);
    return applyBuiltin(node, *callee.builtin, signature, call);
  }

  Denoted applyBuiltin(const AstNode &node, const Builtin &builtin, const std::vector<SignatureName> &signature, BuiltinCall &call) {
    // Strings and dtypes mean something to a few arguments only; None stands for "left out".
    for (std::size_t i = 0; i < call.arguments.size(); ++i) {
      Argument &argument = call.arguments[i];
      const std::string_view name = i < signature.size() ? signature[i].name : "";
      const bool takesText = name == "approximate" || name == "rounding_mode" || (builtin.names == "float" && i == 0);
      const bool takesDtype = name == "dtype";
      if (argument.tag == Argument::Tag::None && i < signature.size() && signature[i].optional)
        argument.tag = Argument::Tag::Missing;
      const bool wrong = argument.tag == Argument::Tag::None || (argument.tag == Argument::Tag::String && !takesText) || (argument.tag == Argument::Tag::Dtype && !takesDtype) ||
                         (argument.isValue() && (takesDtype || name == "approximate" || name == "rounding_mode"));
      if (wrong)
        return fail(node.token, fmt::format("'{}' does not take this kind of value for '{}'", calledName(node), name.empty() ? "other" : name), fmt::format("it takes ({})", showSignature(signature)));
    }
    lower.range = node.range;
    return checked(builtin.lower(lower, call), node.token);
  }

  std::string_view calledName(const AstNode &node) const {
    const AstNode &callee = ast[node.children[0]];
    return callee.text;
  }

  Denoted failArity(const AstNode &node, const std::vector<SignatureName> &signature, bool isMethod) {
    std::size_t least = 0;
    for (const SignatureName &name : signature)
      least += !name.optional && !name.variadic;
    const std::size_t given = node.children.size() - 1 + isMethod;
    const bool fixed = least == signature.size();
    return fail(node.token, fmt::format("'{}' takes {}{}, found {}", calledName(node), fixed ? "" : given < least ? "at least " : "at most ",
                                        countOf(given < least ? least : signature.size()), given),
                fmt::format("it takes ({}){}", showSignature(signature), isMethod ? "; the value before the dot is the first" : ""));
  }

  bool evaluateArgument(AstId id, Argument &argument) {
    const Denoted denoted = evaluate(id);
    if (failed())
      return false;
    switch (denoted.tag) {
    case Tag::Nothing: argument.tag = Argument::Tag::None; return true;
    case Tag::String:
      argument.tag = Argument::Tag::String;
      argument.text = denoted.text;
      return true;
    case Tag::Dtype:
      argument.tag = Argument::Tag::Dtype;
      argument.dtype = denoted.dtype;
      return true;
    case Tag::Function: // the builtins float, int and bool double as dtypes: x.to(float)
      for (const auto &[name, kind] : {std::pair("float", Kind::Float), std::pair("int .long", Kind::Int), std::pair("bool", Kind::Bool)})
        if (denoted.builtin->names == name && denoted.space == Namespace::None) {
          argument.tag = Argument::Tag::Dtype;
          argument.dtype = kind;
          return true;
        }
      [[fallthrough]];
    default:
      argument.tag = Argument::Tag::Value;
      argument.value = asValue(denoted, ast[id].range);
      return !failed();
    }
  }

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

} // namespace

Result<Function> analyse(const Ast &ast, const SourceText &source, ModKind mod, const CaptureScope &captures) {
  return Sema(ast, source, mod, captures).run();
}

} // namespace attnjit::expr
