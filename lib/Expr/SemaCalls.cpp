#include "Expr/SemaImpl.h"

#include <fmt/format.h>

#include <algorithm>

namespace attnjit::expr {

namespace {

using Tag = Denoted::Tag;

std::string countOf(std::size_t count) { return count == 1 ? "1 argument" : fmt::format("{} arguments", count); }

} // namespace

Denoted Sema::evaluateAttribute(const AstNode &node) {
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

Denoted Sema::unknownMember(const AstNode &node, std::string_view what, bool asMethod) {
  std::vector<std::string_view> all;
  for (const Builtin &builtin : builtins())
    forEachName(builtin, [&](std::string_view name, bool methodOnly) {
      if (!methodOnly || asMethod)
        all.push_back(name);
    });
  const auto nearest = nearestName(node.text, all);
  return fail(node.token, fmt::format("unknown {} '{}'", what, node.text),
              fmt::format("{}docs/language.md lists the functions; those that reduce or reshape tensors have no place in a formula",
                          nearest ? fmt::format("did you mean '{}'? ", *nearest) : ""));
}

Denoted Sema::moduleMember(const AstNode &node, const Denoted &base) {
  static constexpr std::pair<std::string_view, Kind> kDtypes[] = {
      {"float", Kind::Float}, {"float32", Kind::Float}, {"float64", Kind::Float}, {"double", Kind::Float}, {"int", Kind::Int},
      {"int32", Kind::Int},   {"int64", Kind::Int},     {"long", Kind::Int},      {"bool", Kind::Bool}};
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

Denoted Sema::evaluateCall(const AstNode &node) {
  const Denoted callee = evaluate(node.children[0]);
  if (failed())
    return {};
  if (callee.tag == Tag::Helper)
    return callHelper(node, callee.index);
  if (callee.tag != Tag::Function) {
    const bool isTensor = callee.tag == Tag::Tensor;
    return fail(node.token, "this is not a function",
                isTensor ? "index a captured tensor with square brackets" : "write '*' for a product");
  }
  return callBuiltin(node, callee);
}

Denoted Sema::callHelper(const AstNode &node, std::size_t index) {
  const AstFunction &function = ast.functions[index];
  if (std::find(active.begin(), active.end(), index) != active.end() || index + 1 == ast.functions.size())
    return fail(node.token, fmt::format("'{}' calls itself", function.name), "a formula has no recursion; write the steps out");
  const std::size_t given = node.children.size() - 1;
  if (given != function.parameters.size())
    return fail(node.token, fmt::format("'{}' takes {}, found {}", function.name, countOf(function.parameters.size()), given),
                "give every argument once");
  std::map<std::string_view, Denoted> inner;
  for (std::size_t i = 0; i < given; ++i) {
    std::size_t slot = i;
    if (const std::string_view keyword = node.keywords[i]; !keyword.empty()) {
      slot = 0;
      while (slot < given && function.parameters[slot].name != keyword)
        ++slot;
      if (slot == given)
        return fail(ast[node.children[i + 1]].range, fmt::format("'{}' has no argument '{}'", function.name, keyword),
                    "use the names of its head");
    }
    Denoted argument = evaluate(node.children[i + 1]);
    if (failed())
      return {};
    if (!inner.emplace(function.parameters[slot].name, std::move(argument)).second)
      return fail(ast[node.children[i + 1]].range, fmt::format("the argument '{}' is given twice", function.parameters[slot].name),
                  "give every argument once");
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

Denoted Sema::callBuiltin(const AstNode &node, const Denoted &callee) {
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
        return fail(ast[node.children[i]].range, fmt::format("'{}' has no argument '{}'", calledName(node), keyword),
                    fmt::format("it takes ({})", showSignature(signature)));
    }
    if (slot >= call.arguments.size()) {
      if (!signature.back().variadic)
        return failArity(node, signature, isMethod);
      call.arguments.emplace_back();
    }
    if (call.arguments[slot].tag != Argument::Tag::Missing)
      return fail(ast[node.children[i]].range, fmt::format("the argument '{}' is given twice", signature[slot].name),
                  fmt::format("it takes ({})", showSignature(signature)));
    if (!evaluateArgument(node.children[i], call.arguments[slot]))
      return {};
  }
  for (std::size_t i = 0; i < call.arguments.size() && i < signature.size(); ++i)
    if (call.arguments[i].tag == Argument::Tag::Missing && !signature[i].optional && !signature[i].variadic)
      return failArity(node, signature, isMethod);
  return applyBuiltin(node, *callee.builtin, signature, call);
}

Denoted Sema::applyBuiltin(const AstNode &node, const Builtin &builtin, const std::vector<SignatureName> &signature, BuiltinCall &call) {
  // Strings and dtypes mean something to a few arguments only; None stands for "left out".
  for (std::size_t i = 0; i < call.arguments.size(); ++i) {
    Argument &argument = call.arguments[i];
    const std::string_view name = i < signature.size() ? signature[i].name : "";
    const bool takesText = name == "approximate" || name == "rounding_mode" || (builtin.names == "float" && i == 0);
    const bool takesDtype = name == "dtype";
    if (argument.tag == Argument::Tag::None && i < signature.size() && signature[i].optional)
      argument.tag = Argument::Tag::Missing;
    const bool wrong = argument.tag == Argument::Tag::None || (argument.tag == Argument::Tag::String && !takesText) ||
                       (argument.tag == Argument::Tag::Dtype && !takesDtype) ||
                       (argument.isValue() && (takesDtype || name == "approximate" || name == "rounding_mode"));
    if (wrong)
      return fail(node.token,
                  fmt::format("'{}' does not take this kind of value for '{}'", calledName(node), name.empty() ? "other" : name),
                  fmt::format("it takes ({})", showSignature(signature)));
  }
  lower.range = node.range;
  return checked(builtin.lower(lower, call), node.token);
}

std::string_view Sema::calledName(const AstNode &node) const {
  const AstNode &callee = ast[node.children[0]];
  return callee.text;
}

Denoted Sema::failArity(const AstNode &node, const std::vector<SignatureName> &signature, bool isMethod) {
  std::size_t least = 0;
  for (const SignatureName &name : signature)
    least += !name.optional && !name.variadic;
  const std::size_t given = node.children.size() - 1 + isMethod;
  const bool fixed = least == signature.size();
  return fail(node.token,
              fmt::format("'{}' takes {}{}, found {}", calledName(node),
                          fixed           ? ""
                          : given < least ? "at least "
                                          : "at most ",
                          countOf(given < least ? least : signature.size()), given),
              fmt::format("it takes ({}){}", showSignature(signature), isMethod ? "; the value before the dot is the first" : ""));
}

bool Sema::evaluateArgument(AstId id, Argument &argument) {
  const Denoted denoted = evaluate(id);
  if (failed())
    return false;
  switch (denoted.tag) {
  case Tag::Nothing:
    argument.tag = Argument::Tag::None;
    return true;
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

} // namespace attnjit::expr
