#include "Expr/SemaImpl.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace attnjit::expr {

namespace {

std::string countOf(std::size_t count) { return count == 1 ? "1 argument" : fmt::format("{} arguments", count); }

/// Arguments that say where and how PyTorch computes, not what.
bool meansNothing(std::string_view keyword) {
  return keyword == "device" || keyword == "requires_grad" || keyword == "non_blocking" || keyword == "copy" ||
         keyword == "memory_format" || keyword == "layout" || keyword == "pin_memory" || keyword == "inplace";
}

} // namespace

Object Sema::evaluateCall(const AstNode &node) {
  const Object callee = evaluate(node.children[0]);
  if (failed())
    return {};
  if (!callee.isCallable()) {
    if (callee.tag == Tag::Opaque || callee.tag == Tag::Failed || callee.tag == Tag::Unset)
      return asNumber(callee, node.token);
    return fail(node.token, "this is not a function",
                callee.tag == Tag::View    ? "index a captured tensor with square brackets"
                : callee.tag == Tag::Dtype ? "convert with .to(...), .float(), .int() or .bool()"
                                           : "write '*' for a product");
  }
  Arguments arguments;
  arguments.call = node.token;
  arguments.name = callee.tag == Tag::Method ? callee.text : ast()[node.children[0]].text;
  if (!readArguments(node, arguments))
    return {};
  lower.range = node.range;
  const Object result = call(callee, arguments);
  lastCallee = callee.tag;
  return result;
}

bool Sema::readArguments(const AstNode &node, Arguments &arguments) {
  for (std::size_t i = 1; i < node.children.size(); ++i) {
    const AstNode &argument = ast()[node.children[i]];
    const bool isStarred = argument.kind == AstKind::Starred;
    const Object value = evaluate(isStarred ? argument.children[0] : node.children[i]);
    if (failed())
      return false;
    if (node.keywords[i - 1] == "**") {
      if (value.tag != Tag::Dict) {
        fail(argument.range, "'**' needs a dictionary", "e.g. f(**options) with options = {\"window\": 3}");
        return false;
      }
      for (const auto &[key, entry] : value.dict->entries) {
        if (key.tag != Tag::String || !spend(1, argument.range)) {
          fail(argument.range, "the keys of '**' are names", "");
          return false;
        }
        arguments.values.push_back(entry);
        arguments.keywords.push_back(key.text);
        arguments.ranges.push_back(argument.range);
      }
      continue;
    }
    if (!isStarred) {
      arguments.values.push_back(value);
      arguments.keywords.push_back(node.keywords[i - 1]);
      arguments.ranges.push_back(argument.range);
      continue;
    }
    const auto elements = elementsOf(value, argument.range, "'*'");
    if (!elements)
      return false;
    for (const Object &element : *elements) {
      arguments.values.push_back(element);
      arguments.keywords.emplace_back();
      arguments.ranges.push_back(argument.range);
    }
  }
  return true;
}

Object Sema::call(const Object &callee, Arguments &arguments) {
  arguments.space = callee.space;
  switch (callee.tag) {
  case Tag::Closure:
    return callClosure(*callee.closure, arguments);
  case Tag::Partial: {
    Arguments all = arguments;
    const std::vector<Object> &first = callee.applied->arguments;
    all.values.insert(all.values.begin(), first.begin(), first.end());
    all.keywords.insert(all.keywords.begin(), first.size(), std::string_view());
    all.ranges.insert(all.ranges.begin(), first.size(), arguments.call);
    for (const auto &[name, value] : callee.applied->keywords) {
      if (std::find(arguments.keywords.begin(), arguments.keywords.end(), name) != arguments.keywords.end())
        continue; // the call's own value wins, as in Python
      all.values.push_back(value);
      all.keywords.push_back(name);
      all.ranges.push_back(arguments.call);
    }
    return call(callee.applied->function, all);
  }
  case Tag::Combined:
    return callCombined(*callee.combined, arguments);
  case Tag::Builtin:
    return callBuiltin(callee, arguments);
  case Tag::Python:
    if (callee.space == Namespace::Method) { // the receiver comes first
      Object receiver = runtime(callee.value);
      receiver.known = callee.known;
      arguments.values.insert(arguments.values.begin(), receiver);
      arguments.keywords.insert(arguments.keywords.begin(), std::string_view());
      arguments.ranges.insert(arguments.ranges.begin(), arguments.call);
    }
    return (this->*callee.python->call)(arguments, *callee.python);
  case Tag::ViewMethod:
    return callViewMethod(callee, arguments);
  case Tag::Method:
    return (this->*objectMethods()[callee.index].call)((*callee.items)[0], arguments);
  default:
    return asNumber(callee, arguments.call);
  }
}

// --- functions of the text ---

Object Sema::callClosure(const Closure &closure, Arguments &arguments) {
  if (!enter(arguments.call))
    return {};
  const std::size_t madeBefore = closures.size();
  Scope &own = scopes.emplace_back(closure.scope, false);
  if (!bindParameters(closure, arguments, own))
    return {};
  calls.push_back({unit, arguments.call, closure.function});
  const Unit *outerUnit = std::exchange(unit, closure.unit);
  Scope *outerScope = std::exchange(scope, &own);
  const bool outerLifting = std::exchange(lifting, false);
  ++depth;
  const Effects outerEffects = effects;
  effects.named = true;
  Frame frame{&own, &closure, false, 0, {}, {}, {}};
  const Flow flow = runBlock(closure.function->body, frame);
  if (flow != Flow::Returns && frame.hasPending)
    fail(closure.function->head, fmt::format("'{}' may end without a return", closure.function->name),
         "end it with a 'return' that holds where no other one does");
  else if (flow != Flow::Returns)
    frame.result = nothingFrom(closure);
  effects = outerEffects;
  --depth;
  if (!failed()) {
    resultRange = frame.resultRange;
    resultUnit = unit;
  }
  lifting = outerLifting;
  scope = outerScope;
  unit = outerUnit;
  calls.pop_back();
  lower.range = arguments.call;
  if (closures.size() == madeBefore && &scopes.back() == &own) // nothing looks into it any more
    scopes.pop_back();
  return frame.result;
}

Object Sema::nothingFrom(const Closure &closure) {
  Object none;
  none.closure = &closure;
  return none;
}

bool Sema::bindParameters(const Closure &closure, Arguments &arguments, Scope &own) {
  const std::vector<AstParameter> &parameters = closure.function->parameters;
  const std::string_view name = closure.function->name;
  std::vector<const Object *> given(parameters.size(), nullptr);
  std::vector<Object> rest;
  Dict options;
  std::size_t next = 0;
  const auto starred = std::find_if(parameters.begin(), parameters.end(), [](const AstParameter &p) { return p.isStarred; });
  const auto failCount = [&] {
    std::size_t least = 0, most = 0;
    for (const AstParameter &parameter : parameters)
      if (!parameter.isStarred && !parameter.isDictionary) {
        ++most;
        least += parameter.defaultValue == kNoNode;
      }
    const bool tooFew = arguments.size() < least;
    const std::string_view bound = least == most ? (starred != parameters.end() ? "at least " : "") : tooFew ? "at least " : "at most ";
    raise("TypeError", arguments.call,
          fmt::format("'{}' takes {}{}, found {}", name, bound, countOf(tooFew ? least : most), arguments.size()),
          "give every argument once");
    return false;
  };
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const Object &value = arguments.values[i];
    if (arguments.keywords[i].empty()) {
      while (next < parameters.size() && parameters[next].isKeywordOnly)
        ++next;
      if (next < parameters.size() && !parameters[next].isStarred && !parameters[next].isDictionary) {
        given[next++] = &value;
        continue;
      }
      if (starred == parameters.end())
        return failCount();
      rest.push_back(value);
      continue;
    }
    const auto slot = std::find_if(parameters.begin(), parameters.end(), [&](const AstParameter &p) {
      return p.name == arguments.keywords[i] && !p.isStarred && !p.isDictionary;
    });
    if (slot == parameters.end() && !parameters.empty() && parameters.back().isDictionary) {
      if (!store(options, text(std::string(arguments.keywords[i])), value, arguments.ranges[i]))
        return false;
      continue;
    }
    if (slot == parameters.end()) {
      raise("TypeError", arguments.ranges[i], fmt::format("'{}' has no argument '{}'", name, arguments.keywords[i]),
            "use the names of its head");
      return false;
    }
    const Object *&place = given[static_cast<std::size_t>(slot - parameters.begin())];
    if (place) {
      fail(arguments.ranges[i], fmt::format("the argument '{}' is given twice", slot->name), "give every argument once");
      return false;
    }
    place = &value;
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].isStarred) {
      if (!spend(rest.size(), arguments.call))
        return false;
      own.bind(parameters[i].name, tuple(rest));
      continue;
    }
    if (parameters[i].isDictionary) {
      own.bind(parameters[i].name, dictionary(options));
      continue;
    }
    if (!given[i] && parameters[i].defaultValue == kNoNode)
      return failCount();
    own.bind(parameters[i].name, given[i] ? *given[i] : closure.defaults[i]);
  }
  return true;
}

/// What and_masks(f, g) computes: all of them at the same position, joined.
Object Sema::callCombined(const Combined &combined, Arguments &arguments) {
  ValueId all = 0;
  for (std::size_t i = 0; i < combined.functions.size(); ++i) {
    Arguments mine = arguments;
    const Object result = call(combined.functions[i], mine);
    const Object one = failed() ? Object() : asNumber(result, arguments.call);
    if (failed())
      return {};
    if (lower.kind(one.value) != Kind::Bool)
      return fail(arguments.call, fmt::format("mask {} of the combination yields no bool", i + 1),
                  "and_masks and the like combine mask_mods");
    const Op op = combined.how == Combined::How::And ? Op::LogicalAnd : combined.how == Combined::How::Or ? Op::LogicalOr : Op::LogicalXor;
    all = i == 0 ? one.value : lower.op(op, {all, one.value});
  }
  if (combined.functions.empty())
    return runtime(lower.boolean(combined.how == Combined::How::And));
  if (combined.how == Combined::How::Not)
    all = lower.op(Op::LogicalNot, {all});
  return runtime(all);
}

// --- functions of torch and math ---

Object Sema::callBuiltin(const Object &callee, Arguments &arguments) {
  const bool isMethod = callee.space == Namespace::Method;
  // A function of whole tensors: torch.transpose(t, 0, 1), float(t) ...
  if (!isMethod && !arguments.values.empty() && arguments.values[0].tag == Tag::View && arguments.values[0].view->rank > 0 &&
      isViewMethod(arguments.name)) {
    Object method;
    method.tag = Tag::ViewMethod;
    method.text = arguments.name;
    return callViewMethod(method, arguments);
  }
  if (std::any_of(arguments.values.begin(), arguments.values.end(), isTensor)) {
    const bool isFirst = !isMethod && isTensor(arguments.values[0]), isOfTwo = arguments.size() > 1 && isTensor(arguments.values[1]);
    if (isFirst && isTensorReduction(arguments.name) && !isOfTwo) // torch.max(t)
      return reduceFirst(arguments);
    Object receiver = runtime(callee.value);
    receiver.known = callee.known;
    return mapCall(callee, isMethod ? &receiver : nullptr, arguments);
  }
  const std::vector<SignatureName> &signature = signatureOf(*callee.builtin);
  const bool isVariadic = signature.back().variadic;
  // max(list) is max(*list).
  if (isVariadic && arguments.size() == 1 && !isMethod && arguments.values[0].isSequence()) {
    const std::vector<Object> items = *arguments.values[0].items;
    if (!spend(items.size(), arguments.call))
      return {};
    arguments.values = items;
    arguments.keywords.assign(items.size(), {});
    arguments.ranges.assign(items.size(), arguments.ranges[0]);
    if (items.size() == 1)
      return items[0];
  }
  BuiltinCall call;
  call.space = callee.space;
  call.arguments.resize(signature.size() - (isVariadic ? 1 : 0));
  std::vector<Object> given(call.arguments.size());
  if (isMethod) {
    given[0] = runtime(callee.value);
    given[0].known = callee.known;
    call.arguments[0].tag = Argument::Tag::Value;
  }
  std::size_t position = isMethod ? 1 : 0;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view keyword = arguments.keywords[i];
    std::size_t slot = position;
    if (!keyword.empty()) {
      slot = 0;
      while (slot < call.arguments.size() && signature[slot].name != keyword)
        ++slot;
      if (slot == call.arguments.size() && meansNothing(keyword))
        continue;
      if (slot == call.arguments.size())
        return fail(arguments.ranges[i], fmt::format("'{}' has no argument '{}'", arguments.name, keyword),
                    fmt::format("it takes ({})", showSignature(signature)));
    } else {
      ++position;
    }
    if (slot >= call.arguments.size()) {
      if (!isVariadic)
        return failArity(arguments, signature, isMethod);
      call.arguments.emplace_back();
      given.emplace_back();
    }
    if (call.arguments[slot].tag != Argument::Tag::Missing)
      return fail(arguments.ranges[i], fmt::format("the argument '{}' is given twice", signature[slot].name),
                  fmt::format("it takes ({})", showSignature(signature)));
    given[slot] = arguments.values[i];
    if (!toArgument(given[slot], arguments.ranges[i], call.arguments[slot]))
      return {};
    if (call.arguments[slot].isValue() && given[slot].tag == Tag::View)
      given[slot] = runtime(call.arguments[slot].value);
  }
  for (std::size_t i = 0; i < call.arguments.size() && i < signature.size(); ++i)
    if (call.arguments[i].tag == Argument::Tag::Missing && !signature[i].optional && !signature[i].variadic)
      return failArity(arguments, signature, isMethod);
  return applyBuiltin(*callee.builtin, signature, call, given, arguments);
}

Object Sema::applyBuiltin(const Builtin &builtin, const std::vector<SignatureName> &signature, BuiltinCall &call,
                          std::vector<Object> &given, const Arguments &arguments) {
  // Strings and dtypes mean something to a few arguments only; None stands for "left out".
  bool allKnown = true, anyLifted = false;
  for (std::size_t i = 0; i < call.arguments.size(); ++i) {
    Argument &argument = call.arguments[i];
    const std::string_view name = i < signature.size() ? signature[i].name : "";
    const bool takesText = name == "approximate" || name == "rounding_mode" || (builtin.names == "float" && i == 0);
    const bool takesDtype = name == "dtype";
    if (argument.tag == Argument::Tag::None && i < signature.size() && signature[i].optional)
      argument.tag = Argument::Tag::Missing;
    const bool wrong = argument.tag == Argument::Tag::None || (argument.tag == Argument::Tag::String && !takesText && !takesDtype) ||
                       (argument.tag == Argument::Tag::Dtype && !takesDtype) ||
                       (argument.isValue() && (name == "approximate" || name == "rounding_mode"));
    if (wrong)
      return fail(arguments.call,
                  fmt::format("'{}' does not take this kind of value for '{}'", arguments.name, name.empty() ? "other" : name),
                  fmt::format("it takes ({})", showSignature(signature)));
    if (!argument.isValue())
      continue;
    argument.value = given[i].value;
    allKnown &= given[i].isKnown();
    anyLifted |= given[i].isLifted();
  }
  Object result;
  result.tag = Tag::Number;
  result.value = builtin.lower(lower, call);
  if (allKnown && lower.problem.empty()) {
    result.known = result.value;
    if (anyLifted) { // once more with what Python sees
      for (std::size_t i = 0; i < call.arguments.size(); ++i)
        if (call.arguments[i].isValue())
          call.arguments[i].value = given[i].known;
      result.known = builtin.lower(lower, call);
      result.value = lower.convert(result.value, lower.kind(result.known)); // Python's round() of a number gives an int
    }
    if (!lower.builder.isConst(result.known))
      result.known = kUnknown;
  }
  return lower.problem.empty() ? result : checked(result.value, arguments.call);
}

Object Sema::failArity(const Arguments &arguments, const std::vector<SignatureName> &signature, bool isMethod) {
  std::size_t least = 0;
  for (const SignatureName &name : signature)
    least += !name.optional && !name.variadic;
  const std::size_t given = arguments.size() + isMethod;
  const bool fixed = least == signature.size();
  return fail(arguments.call,
              fmt::format("'{}' takes {}{}, found {}", arguments.name,
                          fixed           ? ""
                          : given < least ? "at least "
                                          : "at most ",
                          countOf(given < least ? least : signature.size()), given),
              fmt::format("it takes ({}){}", showSignature(signature), isMethod ? "; the value before the dot is the first" : ""));
}

bool Sema::toArgument(const Object &object, TextRange range, Argument &argument) {
  switch (object.tag) {
  case Tag::None:
    argument.tag = Argument::Tag::None;
    return true;
  case Tag::String:
    argument.tag = Argument::Tag::String;
    argument.text = object.text;
    return true;
  case Tag::Opaque:
    argument.tag = Argument::Tag::String;
    argument.text = "device";
    return true;
  case Tag::Dtype:
    argument.tag = Argument::Tag::Dtype;
    argument.dtype = object.dtype;
    return true;
  case Tag::Builtin: // the builtins float, int and bool double as dtypes: x.to(float)
    for (const auto &[name, dtype] : {std::pair("float", DType::F64), std::pair("int .long", DType::I64), std::pair("bool", DType::Bool)})
      if (object.builtin->names == name && object.space == Namespace::None) {
        argument.tag = Argument::Tag::Dtype;
        argument.dtype = dtype;
        return true;
      }
    [[fallthrough]];
  default:
    argument.tag = Argument::Tag::Value;
    argument.value = asNumber(object, range).value;
    return !failed();
  }
}

} // namespace attnjit::expr
