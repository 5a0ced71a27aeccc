#include "Expr/SemaImpl.h"

#include "Expr/Ops.h"
#include "Expr/Parser.h"

#include <fmt/format.h>

#include <algorithm>

namespace attnjit::expr {

namespace {

/// Calls may nest and repeat; these bounds keep a short text from asking for unbounded work.
constexpr int kMaxRecursion = 2 * kMaxNesting;

std::string describe(Kind kind) { return fmt::format("{} {}", kind == Kind::Int ? "an" : "a", name(kind)); }

constexpr std::pair<std::string_view, Param> kPositionNames[] = {{"b", Param::B},    {"batch", Param::B}, {"h", Param::H},
                                                                 {"head", Param::H}, {"q_idx", Param::Q}, {"kv_idx", Param::Kv}};
constexpr std::string_view kScoreName = "score", kProbName = "p";

/// What a bare formula calls the value that it maps; a mask maps none.
std::string_view mappedName(ModKind mod) { return mod == ModKind::Score ? kScoreName : mod == ModKind::Prob ? kProbName : ""; }

/// `score` is one in every mod, so that a mask_mod which asks for it hears that it has none; `p` is a name like any other where it means
/// nothing.
bool isStandardName(std::string_view name, ModKind mod) {
  return name == kScoreName || name == mappedName(mod) ||
         std::any_of(std::begin(kPositionNames), std::end(kPositionNames), [&](const auto &row) { return row.first == name; });
}

/// Whether an expression uses one of the standard names as such: then it is a bare formula, else it may name a mod.
bool mentionsArguments(const Ast &ast, AstId root, ModKind mod) {
  std::vector<AstId> stack{root};
  while (!stack.empty()) {
    const AstNode &node = ast[stack.back()];
    stack.pop_back();
    if (node.kind == AstKind::Name && isStandardName(node.text, mod))
      return true;
    // The parameters of a lambda are its own; what else its body mentions is found when it is run.
    if (node.kind != AstKind::Lambda)
      stack.insert(stack.end(), node.children.begin(), node.children.end());
  }
  return false;
}

} // namespace

std::string_view roleOf(ModKind mod) {
  switch (mod) {
  case ModKind::Score:
    return "score_mod";
  case ModKind::Mask:
    return "mask_mod";
  case ModKind::Prob:
    return "prob_mod";
  }
  return "mod";
}

// --- scopes ---

const Object *Scope::find(std::string_view name) const {
  if (const Scope *owner = ownerOf(name))
    return owner->find(name);
  if (!index.empty()) {
    const auto found = index.find(name);
    return found == index.end() ? nullptr : &bound[found->second].second;
  }
  for (const auto &[known, object] : bound)
    if (known == name)
      return &object;
  return nullptr;
}

Scope *Scope::ownerOf(std::string_view name) const {
  for (const auto &[known, owner] : redirected)
    if (known == name)
      return owner;
  return nullptr;
}

void Scope::bind(std::string_view name, const Object &object) {
  if (Scope *owner = ownerOf(name))
    return owner->bind(name, object);
  if (const Object *existing = find(name)) {
    const_cast<Object &>(*existing) = object;
    return;
  }
  bound.emplace_back(name, object);
  constexpr std::size_t kMany = 24;
  if (bound.size() == kMany)
    for (std::size_t i = 0; i < bound.size(); ++i)
      index.emplace(bound[i].first, i);
  else if (bound.size() > kMany)
    index.emplace(name, bound.size() - 1);
}

void Scope::restore(Names names) {
  bound.clear();
  index.clear();
  for (auto &[name, object] : names)
    bind(name, object);
}

// --- errors and bounds ---

Object Sema::fail(TextRange range, std::string_view message, std::string_view help) {
  if (error)
    return {};
  raised = {};
  error = unit->source.error(range, message, help);
  // An error inside a module function also says which call of the user's own text led there.
  if (unit != &root)
    for (auto caller = calls.rbegin(); caller != calls.rend(); ++caller)
      if (caller->unit == &root) {
        error->message += fmt::format("\n  in the call at {}", root.source.placeText(caller->range));
        break;
      }
  return {};
}

Object Sema::failAs(const Error &known) {
  fail({}, "", "");
  const std::size_t place = error->message.find("\n  in the call at");
  error->message = known.message + (place == std::string::npos ? "" : error->message.substr(place));
  return {};
}

Object Sema::checked(ValueId value, TextRange range) {
  if (!lower.problem.empty())
    return fail(range, lower.problem, lower.help);
  return runtime(value);
}

bool Sema::spend(std::size_t work, TextRange range) {
  steps += work;
  if (steps > stepLimit)
    fail(range, "the formula is too large once its helper functions are written out",
         "call helpers less often, loop fewer times, or put tables into captured tensors");
  return !failed();
}

Sema::Descent::operator bool() const {
  if (sema.descent > kMaxNesting)
    sema.fail(sema.lower.range, fmt::format("tuples and lists are nested more than {} levels deep here", kMaxNesting),
              "lists that contain themselves cannot be compared or shown");
  return !sema.failed() && sema.spend(1, sema.lower.range);
}

bool Sema::enter(TextRange range) {
  if (depth >= kMaxRecursion) {
    const auto isLast = [&](const Call &call) { return call.callee == calls.back().callee; };
    if (std::count_if(calls.begin(), calls.end(), isLast) > 1) {
      const Unit *here = std::exchange(unit, calls.back().unit); // the call, not whatever stood deepest in it
      fail(calls.back().range, fmt::format("'{}' calls itself without an end in sight", calls.back().callee->name),
           "recursion must end by a condition that is known when the formula is read; else write the steps out");
      unit = here;
    } else
      fail(range, "calls of helper functions are nested too deeply", "call fewer helpers from within helpers");
  }
  return !failed() && spend(1, range);
}

// --- the mod as a whole ---

Result<Function> Sema::run() {
  const Object result = denoteMod();
  ValueId value = 0;
  if (!failed())
    value = finishResult(result, resultRange);
  if (failed())
    return std::move(*error);
  Function finished = lower.builder.finish(value);
  if (finished.nodes.size() > kMaxOperations)
    return root.source.error({}, fmt::format("the formula has {} operations", finished.nodes.size()),
                             fmt::format("at most {} are accepted; put large tables into a captured tensor", kMaxOperations));
  return finished;
}

void Sema::reset() {
  lower = Lower();
  error.reset();
  raised = {};
  handling.clear();
  unit = &root;
  calls.clear();
  depth = 0;
  lifting = false;
  bareScope = nullptr;
  scopes.clear();
  moduleErrors.clear();
  tables.erase(tables.begin() + static_cast<std::ptrdiff_t>(othersTables), tables.end());
  imports.clear();
  effects = {};
  scope = &scopes.emplace_back(nullptr, true);
  if (module)
    runModule(*module, *scope);
}

Object Sema::denoteMod() {
  reset();
  if (failed())
    return {};
  if (root.ast.expression == kNoNode) {
    Scope &own = scopes.emplace_back(scope, true);
    runModule(root, own);
    if (failed())
      return {};
    scope = &own;
    // The last statement gives the mod: the function it defines, the name it assigns, or its value.
    Object last;
    TextRange range;
    for (StatementId id : root.ast.body) {
      const AstStatement &statement = root.ast.statements[id];
      AstId value = kNoNode;
      if (statement.kind == AstStatementKind::Refused && id == root.ast.body.back())
        return error = root.ast.errors[statement.error], Object();
      if (statement.kind == AstStatementKind::Def) {
        const AstFunction &function = root.ast.functions[statement.function];
        range = function.head;
        last = *own.find(function.name);
        continue;
      }
      if (statement.kind == AstStatementKind::Assign && root.ast[statement.targets[0]].kind == AstKind::Name)
        value = statement.targets[0];
      else if (statement.kind == AstStatementKind::Expression)
        value = statement.value;
      if (value == kNoNode)
        continue;
      range = root.ast[value].range;
      last = {};
      if (const Object *bound = root.ast[value].kind == AstKind::Name ? own.find(root.ast[value].text) : nullptr)
        last = *bound;
      else if (&statement == &root.ast.statements[root.ast.body.back()])
        last = evaluate(value);
    }
    if (failed())
      return {};
    if (last.tag == Tag::Failed)
      return error = moduleErrors[last.index], Object();
    if (!last.isCallable())
      return fail(range, "the last statement gives no function", fmt::format("end the text with the mod: 'def {}(...):'", role()));
    return callMod(last, range);
  }
  const AstId expression = root.ast.expression;
  if (!mentionsArguments(root.ast, expression, mod)) {
    Object named = evaluateNaming();
    if (!failed() && named.isCallable())
      return callMod(named, root.ast[expression].token);
    if (failed() && root.ast[expression].kind == AstKind::Lambda)
      return {};
    reset();
  }
  return evaluateBare();
}

Object Sema::evaluateNaming() {
  lifting = true;
  Object named = evaluate(root.ast.expression);
  lifting = false;
  return named;
}

Object Sema::evaluateBare() {
  Scope &own = scopes.emplace_back(scope, true);
  bindStandardNames(own);
  bareScope = scope = &own;
  resultUnit = &root;
  resultRange = root.ast[root.ast.expression].range;
  Object result = evaluate(root.ast.expression);
  return !failed() && (result.tag == Tag::Closure || result.tag == Tag::Partial || result.tag == Tag::Combined)
             ? callMod(result, root.ast[root.ast.expression].token)
             : result;
}

void Sema::bindStandardNames(Scope &own) {
  if (const std::string_view mapped = mappedName(mod); !mapped.empty())
    own.bind(mapped, runtime(lower.builder.param(Param::Score)));
  for (const auto &[name, param] : kPositionNames)
    own.bind(name, runtime(lower.builder.param(param)));
}

std::vector<Object> Sema::modArguments() {
  std::vector<Object> arguments;
  for (Param param : {Param::Score, Param::B, Param::H, Param::Q, Param::Kv})
    if (param != Param::Score || mod != ModKind::Mask)
      arguments.push_back(runtime(lower.builder.param(param)));
  return arguments;
}

bool Sema::checkModArity(const Closure &closure) {
  const AstFunction &function = *closure.function;
  const std::size_t expected = mod == ModKind::Mask ? 4 : 5;
  std::size_t most = 0, least = 0;
  TextRange where = function.head;
  for (const AstParameter &parameter : function.parameters) {
    if (parameter.isStarred)
      return true;
    if (parameter.isDictionary)
      continue;
    if (parameter.isKeywordOnly)
      continue;
    ++most;
    least += parameter.defaultValue == kNoNode;
    if (least == expected + 1)
      where = parameter.range, ++least; // points at the first one too many
  }
  least -= least > expected;
  if (least <= expected && expected <= most)
    return true;
  const Unit *outer = std::exchange(unit, closure.unit);
  fail(where, fmt::format("a {} takes {} arguments, found {}", role(), expected, least > expected ? least : most),
       fmt::format("the arguments are ({}{}b, h, q_idx, kv_idx); their names are free", mappedName(mod), mod == ModKind::Mask ? "" : ", "));
  unit = outer;
  return false;
}

Object Sema::callMod(const Object &function, TextRange range) {
  if (function.tag == Tag::Closure && !checkModArity(*function.closure))
    return {};
  resultUnit = &root;
  resultRange = range;
  if (function.tag == Tag::Builtin || function.tag == Tag::ViewMethod)
    return fail(root.ast.expression == kNoNode ? range : root.ast[root.ast.expression].range, "expected a number, found a function",
                "call it: add '(...)'");
  Arguments arguments;
  arguments.values = modArguments();
  arguments.keywords.resize(arguments.size());
  arguments.ranges.resize(arguments.size(), range);
  arguments.call = range;
  arguments.name = role();
  return call(function, arguments);
}

ValueId Sema::finishResult(const Object &result, TextRange range) {
  unit = resultUnit;
  const Object number = asNumber(result, range);
  if (failed())
    return 0;
  lower.range = range;
  const Kind kind = lower.kind(number.value);
  if (mod == ModKind::Mask) {
    if (kind != Kind::Bool)
      fail(range, fmt::format("a mask_mod returns a bool, found {}", describe(kind)),
           "use a comparison, e.g. q_idx >= kv_idx; True keeps the pair");
    return number.value;
  }
  if (kind == Kind::Bool)
    fail(range, fmt::format("a {} returns a float, found a bool", role()),
         mod == ModKind::Prob ? "to drop pairs write torch.where(condition, p, 0.0)"
                              : "to hide pairs use mask_mod, or torch.where(condition, score, float(\"-inf\"))");
  return failed() ? 0 : lower.toFloat(number.value);
}

// --- names ---

Object Sema::lookUp(const AstNode &node) {
  const auto capture =
      std::find_if(captures.infos.begin(), captures.infos.end(), [&](const CaptureInfo &info) { return info.name == node.text; });
  const bool isCapture = capture != captures.infos.end();
  for (const Scope *here = scope; here; here = here->parent) {
    const Object *bound = here->find(node.text);
    if (!bound)
      continue;
    if (here->isModule && isCapture && (bound->tag == Tag::Failed || isKnownTensor(*bound)))
      break; // the problem gives what the module could not make, or another table than the module's
    if (here->isModule && isCapture)
      return here == bareScope
                 ? fail(node.token, fmt::format("'{}' is both an argument and a captured name", node.text),
                        "rename the capture, or use a lambda with other argument names")
                 : fail(node.token, fmt::format("'{}' is both a name of the text and a captured name", node.text), "rename one of them");
    if (bound->tag == Tag::Failed) {
      error = moduleErrors[bound->index];
      error->message += fmt::format("\n  '{}' is needed at {}", node.text, unit->source.placeText(node.range));
      return {};
    }
    if (bound->tag == Tag::Unset)
      return fail(node.token, fmt::format("'{}' has no certain value here: {}", node.text, bound->text), bound->detail);
    if (here == bareScope && isStandardName(node.text, mod))
      for (const Scope *outer = here->parent; outer; outer = outer->parent)
        if (outer->find(node.text))
          return fail(node.token, fmt::format("'{}' is both an argument and a name of the module", node.text),
                      "rename it in the module, or use a lambda with other argument names");
    return *bound;
  }
  if (isCapture)
    return denoteCapture(static_cast<std::size_t>(capture - captures.infos.begin()), node);
  return lookUpBuiltin(node.text, node.token);
}

const Object *Sema::lookUpQuietly(std::string_view name) const {
  for (const Scope *here = scope; here; here = here->parent)
    if (const Object *bound = here->find(name))
      return bound;
  return nullptr;
}

Object Sema::denoteCapture(std::size_t index, const AstNode &node) {
  const CaptureInfo &capture = captures.infos[index];
  if (capture.rank >= 0)
    return captureView(index);
  const Kind kind = isFloat(capture.dtype) ? Kind::Float : capture.dtype == DType::Bool ? Kind::Bool : Kind::Int;
  return runtime(lower.builder.scalar(captures.slots[index], kind, node.range));
}

bool isInPlace(std::string_view name) {
  return name.size() > 2 && name.ends_with('_') && !name.ends_with("__") && findBuiltin(name.substr(0, name.size() - 1), true);
}

bool Sema::findBuiltinObject(std::string_view name, Namespace space, Object &object) {
  if (const PythonFunction *python = findPython(name, false)) {
    object.tag = Tag::Python;
    object.python = python;
    object.space = space;
    return true;
  }
  if (const Builtin *builtin = findBuiltin(name, false)) {
    object.tag = Tag::Builtin;
    object.builtin = builtin;
    object.space = space;
    return true;
  }
  return false;
}

Object Sema::lookUpBuiltin(std::string_view name, TextRange range) {
  Object object;
  if (isModuleName(name))
    return moduleNamed(name);
  if (findBuiltinObject(name, Namespace::None, object))
    return object;
  if (isTensorReduction(name) || isTensorProduct(name)) {
    object.tag = Tag::ViewMethod;
    object.text = name;
    return object;
  }
  if (const auto number = findConstant(name); number && name != "e")
    return constant({Kind::Float, 0, *number});
  if (isTypeName(name))
    return typeNamed(name);
  if (const auto import = imports.find(name); import != imports.end())
    return fail(range, fmt::format("'{}' comes from '{}', which is not read", name, import->second.path),
                "define it in the text, or put the text that defines it before it");
  return fail(range, fmt::format("unknown name '{}'", name), suggestName(name));
}

std::string Sema::suggestName(std::string_view unknown) const {
  std::vector<std::string_view> visible, all;
  constexpr std::size_t kMany = 400; // keeps the work bounded; far fewer are shown
  const auto add = [&](const Scope &from) {
    const std::size_t begin = visible.size();
    for (const auto &[name, object] : from.names())
      if (visible.size() < kMany && !name.starts_with("__") && std::find(visible.begin(), visible.end(), name) == visible.end())
        visible.push_back(name);
    std::sort(visible.begin() + static_cast<std::ptrdiff_t>(begin), visible.end());
  };
  if (scope)
    add(*scope);
  for (const CaptureInfo &capture : captures.infos)
    visible.push_back(capture.name);
  if (scope)
    for (const Scope *outer = scope->parent; outer; outer = outer->parent)
      add(*outer);
  all = visible;
  for (const Builtin &builtin : builtins())
    forEachName(builtin.names, [&](std::string_view name, bool methodOnly) {
      if (!methodOnly)
        all.push_back(name);
    });
  for (const PythonFunction &python : pythonFunctions())
    forEachName(python.names, [&](std::string_view name, bool methodOnly) {
      if (!methodOnly)
        all.push_back(name);
    });
  std::string text;
  if (unknown == kScoreName && mod != ModKind::Score)
    text = mod == ModKind::Mask ? "a mask_mod sees no score; " : "a prob_mod sees no score, its argument is p; ";
  else if (const auto nearest = nearestName(unknown, all))
    text = fmt::format("did you mean '{}'? ", *nearest);
  const std::string known = visible.empty()
                                ? "only the functions of torch and math are known here"
                                : fmt::format("the names known here are {}, and the functions of torch and math", listNames(visible));
  return text + known + "; any other has to be captured";
}

std::string Sema::listCaptures() const {
  std::vector<std::string_view> names;
  for (const CaptureInfo &capture : captures.infos)
    names.push_back(capture.name);
  return listNames(names);
}

Result<Function> analyse(const Unit &text, const Unit *module, ModKind mod, const CaptureScope &captures, Formula &formula) {
  return Sema(text, module, mod, captures, formula).run();
}

} // namespace attnjit::expr
