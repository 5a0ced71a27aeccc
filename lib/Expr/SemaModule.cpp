// Modules: statements one after the other, imports, decorators, and what the ones that fail take with them.
#include "Expr/SemaImpl.h"

#include <fmt/format.h>

#include <algorithm>

namespace attnjit::expr {

namespace {

/// A module may have so many statements that cannot be run here; one with more is no module of mods.
constexpr std::size_t kMaxModuleErrors = 200;
/// Steps of a call that stands alone in a module: it may be the program that uses the mods.
constexpr std::size_t kMaxSideSteps = kMaxSteps / 10;

/// Libraries whose decorators and contexts say how a function runs, not what it computes.
constexpr std::string_view kPlainLibraries[] = {
    "torch",  "functools", "typing", "typing_extensions", "dataclasses", "contextlib", "abc", "numpy",
    "triton", "numba",     "pytest", "warnings",          "jaxtyping",   "beartype",   "math"};
/// Theirs that do change the function.
constexpr std::string_view kTransforms[] = {"vmap",   "grad",   "grad_and_value", "jvp",       "vjp",
                                            "jacrev", "jacfwd", "hessian",        "vectorize", "singledispatch"};

template <std::size_t N> bool contains(const std::string_view (&list)[N], std::string_view text) {
  return std::find(std::begin(list), std::end(list), text) != std::end(list);
}

constexpr std::string_view kModules[] = {"torch", "math", "F", "np", "numpy", "functools", "flex_attention", "operator"};

} // namespace

bool isModuleName(std::string_view name) { return contains(kModules, name); }

Object Sema::moduleNamed(std::string_view name) const {
  Object object;
  object.tag = Tag::Module;
  object.space = name == "math" ? Namespace::Math : name == "operator" ? Namespace::Operator : Namespace::Torch;
  return object;
}

// --- the statements ---

/// One that cannot be run (it makes a tensor, say) does no harm until its names are used.
void Sema::runModule(const Unit &text, Scope &own) {
  const Unit *outerUnit = std::exchange(unit, &text);
  Scope *outerScope = std::exchange(scope, &own);
  if (!own.find("__name__"))
    own.bind("__name__", this->text("attnjit"));
  Frame frame{&own, nullptr, false, 0, {}, {}, {}};
  for (StatementId id : text.ast.body) {
    const AstStatement &statement = text.ast.statements[id];
    if (statement.kind == AstStatementKind::Expression && !mayMatter(statement, own))
      continue;
    const std::size_t before = steps;
    stepLimit = statement.kind == AstStatementKind::Expression ? std::min(kMaxSteps, steps + kMaxSideSteps) : kMaxSteps;
    if (statement.kind == AstStatementKind::Expression)
      evaluate(statement.value);
    else
      runStatement(statement, frame);
    const bool isExhausted = steps > kMaxSteps;
    steps = std::min(steps, std::max(before, stepLimit));
    stepLimit = kMaxSteps;
    if (!failed())
      continue;
    moduleErrors.push_back(std::move(*error));
    error.reset();
    raised = {};
    lower.problem.clear();
    lower.help.clear();
    calls.clear();
    depth = 0;
    effects = {};
    unit = &text;
    scope = &own;
    if (isExhausted || moduleErrors.size() > kMaxModuleErrors) { // no statement may run for ever, and none after it
      error = moduleErrors.back();
      break;
    }
    disable(statement, own);
  }
  unit = outerUnit;
  scope = outerScope;
}

/// A call that stands alone in a module means something where it changes a list, a dictionary or a global name.
bool Sema::mayMatter(const AstStatement &statement, const Scope &own) const {
  const AstNode *node = &ast()[statement.value];
  if (node->kind != AstKind::Call)
    return false;
  while (node->kind == AstKind::Call || node->kind == AstKind::Attribute || node->kind == AstKind::Subscript)
    node = &ast()[node->children[0]];
  const Object *bound = node->kind == AstKind::Name ? own.find(node->text) : nullptr;
  return bound && (bound->tag == Tag::List || bound->tag == Tag::Dict || bound->tag == Tag::Closure);
}

/// The names that a failed statement would have bound, or whose objects it would have changed, give its error from here on.
void Sema::disable(const AstStatement &failedStatement, Scope &own) {
  Object unusable;
  unusable.tag = Tag::Failed;
  unusable.index = moduleErrors.size() - 1;
  std::vector<const AstStatement *> open{&failedStatement};
  const auto addBlock = [&](const std::vector<StatementId> &block) {
    for (StatementId id : block)
      open.push_back(&ast().statements[id]);
  };
  while (!open.empty()) {
    const AstStatement &statement = *open.back();
    open.pop_back();
    for (std::string_view name : statement.names)
      own.bind(name, unusable);
    for (AstId target : statement.targets)
      disableTarget(target, unusable, own);
    if (statement.kind == AstStatementKind::Def)
      own.bind(ast().functions[statement.function].name, unusable);
    if (statement.kind == AstStatementKind::Expression)
      disableChanged(statement.value, unusable, own);
    addBlock(statement.body);
    addBlock(statement.orElse);
    addBlock(statement.finally);
    for (const AstArm &arm : statement.arms)
      addBlock(arm.body);
  }
}

void Sema::disableTarget(AstId target, const Object &unusable, Scope &own) {
  for (std::vector<AstId> open{target}; !open.empty();) {
    const AstNode &node = ast()[open.back()];
    open.pop_back();
    if (node.kind == AstKind::Name)
      own.bind(node.text, unusable);
    else if (node.kind == AstKind::Subscript)
      open.push_back(node.children[0]);
    else if (node.kind != AstKind::Attribute)
      open.insert(open.end(), node.children.begin(), node.children.end());
  }
}

/// A call that failed half way: the lists and dictionaries that it names may be half changed, so may those of the function called.
void Sema::disableChanged(AstId expression, const Object &unusable, Scope &own) {
  const auto isChangeable = [](const Object *object) { return object && (object->tag == Tag::List || object->tag == Tag::Dict); };
  std::vector<AstId> open{expression};
  while (!open.empty()) {
    const AstNode &node = ast()[open.back()];
    open.pop_back();
    open.insert(open.end(), node.children.begin(), node.children.end());
    const Object *bound = node.kind == AstKind::Name ? own.find(node.text) : nullptr;
    if (isChangeable(bound))
      own.bind(node.text, unusable);
    if (!bound || bound->tag != Tag::Closure || bound->closure->unit != unit)
      continue;
    std::vector<StatementId> block = bound->closure->function->body;
    while (!block.empty()) {
      const AstStatement &statement = ast().statements[block.back()];
      block.pop_back();
      block.insert(block.end(), statement.body.begin(), statement.body.end());
      block.insert(block.end(), statement.orElse.begin(), statement.orElse.end());
      block.insert(block.end(), statement.finally.begin(), statement.finally.end());
      for (const AstArm &arm : statement.arms)
        block.insert(block.end(), arm.body.begin(), arm.body.end());
      if (statement.kind == AstStatementKind::Global)
        for (std::string_view name : statement.names)
          own.bind(name, unusable);
      std::vector<AstId> parts = statement.targets;
      if (statement.kind == AstStatementKind::Expression)
        parts.push_back(statement.value);
      for (AstId part : parts) {
        const AstNode *root = &ast()[part];
        while (!root->children.empty() && root->kind != AstKind::Tuple)
          root = &ast()[root->children[0]];
        if (root->kind == AstKind::Name && isChangeable(own.find(root->text)))
          own.bind(root->text, unusable);
      }
    }
  }
}

// --- imports ---

void Sema::runImport(const AstStatement &statement, Scope &own) {
  for (const AstImport &import : statement.imports) {
    const std::string_view rootName = import.path.substr(0, import.path.find('.'));
    const std::string_view bound = !import.alias.empty() ? import.alias : import.member.empty() ? rootName : import.member;
    imports.insert_or_assign(bound, import);
    const bool isKnownModule =
        rootName == "torch" || rootName == "math" || rootName == "numpy" || rootName == "functools" || rootName == "operator";
    if (!isKnownModule || (import.member.empty() && import.alias.empty()))
      continue; // the names that mean something are built in
    const Object module = moduleNamed(rootName);
    Object object;
    static constexpr std::string_view kParts[] = {"nn", "functional", "attention", "flex_attention", "special"};
    if (import.member.empty() || contains(kParts, import.member)) {
      // flex_attention is also the function; nobody calls it inside a formula
      own.bind(bound, module);
    } else if (module.space == Namespace::Operator) {
      object.tag = Tag::Python;
      object.python = findOperator(import.member);
      if (object.python)
        own.bind(bound, object);
    } else if (findBuiltinObject(import.member, module.space, object)) {
      if (bound != import.member || rootName == "math")
        own.bind(bound, object);
    }
  }
}

// --- decorators and contexts ---

/// Whether an expression begins with a name of a library that only says how a function runs: @torch.library.custom_op("f", ...).
bool Sema::isForeign(AstId id) const {
  std::string_view member;
  const AstNode *node = &ast()[id];
  for (; node->kind == AstKind::Call || node->kind == AstKind::Attribute; node = &ast()[node->children[0]])
    if (member.empty() && node->kind == AstKind::Attribute)
      member = node->text;
  if (node->kind != AstKind::Name)
    return false;
  if (const Object *bound = lookUpQuietly(node->text); bound && bound->tag != Tag::Module)
    return false;
  const auto import = imports.find(node->text);
  std::string_view library = isModuleName(node->text) ? "torch" : "";
  if (import != imports.end()) {
    library = import->second.path.substr(0, import->second.path.find('.'));
    member = member.empty() ? import->second.member : member;
  }
  return contains(kPlainLibraries, library) && !contains(kTransforms, member) && !findPython(member, false) && !findBuiltin(member, false);
}

Object Sema::decorate(AstId decorator, const Object &function) {
  if (isForeign(decorator))
    return function;
  const Object wrapper = evaluate(decorator);
  if (failed())
    return {};
  const TextRange range = ast()[decorator].range;
  if (!wrapper.isCallable())
    return fail(range, "this decorator is no function", "a decorator takes a function and returns one");
  Arguments arguments{{function}, {{}}, {range}, range, "decorator"};
  return call(wrapper, arguments);
}

/// with torch.no_grad(): ...
Sema::Flow Sema::runWith(const AstStatement &statement, Frame &frame) {
  if (!isForeign(statement.value)) {
    const Object context = evaluate(statement.value);
    if (failed())
      return Flow::Falls;
    const bool isPlain = context.tag == Tag::Opaque || (context.tag == Tag::Python && context.python == findPython("compile", false));
    if (!isPlain) {
      fail(ast()[statement.value].range, "'with' of something that is not known to have no effect",
           "contexts of torch have none here, e.g. torch.no_grad()");
      return Flow::Falls;
    }
  }
  Object opaque;
  opaque.tag = Tag::Opaque;
  if (!statement.targets.empty())
    assign(statement.targets[0], opaque, *frame.scope);
  return runBlock(statement.body, frame);
}

/// global x, nonlocal x
void Sema::runDeclaration(const AstStatement &statement, Scope &own) {
  const bool isGlobal = statement.kind == AstStatementKind::Global;
  for (std::string_view name : statement.names) {
    Scope *owner = own.parent;
    while (owner && (isGlobal ? !owner->isModule : !owner->isModule && !owner->find(name)))
      owner = owner->parent;
    if (own.isModule)
      continue;
    if (!owner || (!isGlobal && owner->isModule)) {
      fail(statement.range, fmt::format("'{}' is no name of an outer function", name), "assign it there first");
      return;
    }
    own.redirect(name, *owner);
  }
}

} // namespace attnjit::expr
