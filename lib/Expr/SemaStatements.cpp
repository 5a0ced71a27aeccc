#include "Expr/SemaImpl.h"

#include <fmt/format.h>

#include <algorithm>

namespace attnjit::expr {

Sema::Flow Sema::runBlock(const std::vector<StatementId> &block, Frame &frame) {
  for (StatementId id : block)
    if (const Flow flow = runStatement(ast().statements[id], frame); flow != Flow::Falls || failed())
      return flow;
  return Flow::Falls;
}

Sema::Flow Sema::runStatement(const AstStatement &statement, Frame &frame) {
  if (failed() || !enter(statement.range))
    return Flow::Falls;
  switch (statement.kind) {
  case AstStatementKind::Expression: {
    const Object value = evaluate(statement.value);
    // Functions of the text, and methods that change something, may be called for what they do.
    const bool isCalled = ast()[statement.value].kind == AstKind::Call && lastCallee != Tag::Builtin && lastCallee != Tag::ViewMethod;
    if (!failed() && !isCalled && (value.isNumber() || value.tag == Tag::View))
      fail(statement.range, "this value is not used", "assign it ('x = ...') or return it");
    break;
  }
  case AstStatementKind::Assign: {
    if (statement.isAugmented && extendInPlace(ast()[statement.value]))
      break;
    const Object value = evaluate(statement.value);
    for (AstId target : statement.targets)
      if (!failed())
        assign(target, value, *frame.scope);
    break;
  }
  case AstStatementKind::Return: {
    Object value = statement.value == kNoNode ? nothingFrom(*frame.closure) : evaluate(statement.value);
    if (failed())
      return Flow::Falls;
    frame.resultRange = statement.value == kNoNode ? statement.range : ast()[statement.value].range;
    frame.result = frame.hasPending ? merge(frame.when, frame.pending, value) : value;
    if (frame.result.tag == Tag::Unset && !failed())
      fail(frame.resultRange, fmt::format("this return and one above it cannot be joined: {}", frame.result.text), frame.result.detail);
    return Flow::Returns;
  }
  case AstStatementKind::If:
    return runIf(statement, frame);
  case AstStatementKind::For:
    return runFor(statement, frame);
  case AstStatementKind::While:
    return runWhile(statement, frame);
  case AstStatementKind::Def: {
    const AstFunction &function = ast().functions[statement.function];
    Object made = makeClosure(function, *frame.scope);
    for (auto decorator = function.decorators.rbegin(); decorator != function.decorators.rend() && !failed(); ++decorator)
      made = decorate(*decorator, made);
    if (!failed())
      frame.scope->bind(function.name, made);
    break;
  }
  case AstStatementKind::Assert:
    runAssert(statement);
    break;
  case AstStatementKind::Raise:
    runRaise(statement);
    break;
  case AstStatementKind::Try:
    return runTry(statement, frame);
  case AstStatementKind::Match:
    return runMatch(statement, frame);
  case AstStatementKind::Import:
    runImport(statement, *frame.scope);
    break;
  case AstStatementKind::Break:
    return Flow::Breaks;
  case AstStatementKind::Continue:
    return Flow::Continues;
  case AstStatementKind::With:
    return runWith(statement, frame);
  case AstStatementKind::Delete:
    runDelete(statement, *frame.scope);
    break;
  case AstStatementKind::Global:
  case AstStatementKind::Nonlocal:
    runDeclaration(statement, *frame.scope);
    break;
  case AstStatementKind::Refused:
    failAs(ast().errors[statement.error]);
    break;
  case AstStatementKind::Pass:
    break;
  }
  return Flow::Falls;
}

Object Sema::makeClosure(const AstFunction &function, Scope &own) {
  Closure closure{unit, &function, &own, {}};
  for (const AstParameter &parameter : function.parameters) {
    Object missing;
    missing.tag = Tag::Ellipsis;
    closure.defaults.push_back(parameter.defaultValue == kNoNode ? missing : evaluate(parameter.defaultValue));
  }
  Object object;
  object.tag = Tag::Closure;
  object.closure = &closures.emplace_back(std::move(closure));
  return object;
}

// --- if ---

Sema::Flow Sema::runIf(const AstStatement &statement, Frame &frame) {
  std::optional<bool> known;
  ValueId value = 0;
  if (!condition(statement.value, "'if'", known, value))
    return Flow::Falls;
  if (known)
    return runBlock(*known ? statement.body : statement.orElse, frame);
  ++depth;
  const Flow flow = runBothArms(statement, value, frame);
  --depth;
  return flow;
}

/// Both arms run, each on the names as they were; what they leave behind is chosen by the condition.
Sema::Flow Sema::runBothArms(const AstStatement &statement, ValueId condition, Frame &frame) {
  const Frame before = frame;
  const Scope::Names names = frame.scope->names();
  if (!spend(3 * names.size(), statement.range))
    return Flow::Falls;

  const Effects outside = effects;
  freeze(false);
  frame.hasPending = false;
  const Flow thenFlow = runBlock(statement.body, frame);
  const Frame thenFrame = frame;
  Scope::Names thenNames = frame.scope->names();

  frame.scope->restore(names);
  frame.hasPending = false;
  if (failed())
    return Flow::Falls;
  const Flow elseFlow = runBlock(statement.orElse, frame);
  const Frame elseFrame = frame;
  effects = outside;
  if (failed())
    return Flow::Falls;

  for (Flow flow : {thenFlow, elseFlow})
    if (flow == Flow::Breaks || flow == Flow::Continues) {
      fail(statement.range,
           fmt::format("'{}' below a condition that is known only at run time", flow == Flow::Breaks ? "break" : "continue"),
           "loops are written out when the formula is read; use the condition in the values instead, e.g. torch.where");
      return Flow::Falls;
    }

  const bool thenReturns = thenFlow == Flow::Returns, elseReturns = elseFlow == Flow::Returns;
  const auto join = [&](const Object &a, const Object &b) {
    const Object joined = merge(condition, a, b);
    if (joined.tag == Tag::Unset && !failed())
      fail(statement.range, fmt::format("the returns of the two branches cannot be joined: {}", joined.text), joined.detail);
    return joined;
  };
  if (thenReturns && elseReturns) {
    frame.result = join(thenFrame.result, elseFrame.result);
    return decide(Flow::Returns, frame, before);
  }
  // The names go on as they are on the way that falls through; what has returned asks for none.
  if (elseReturns)
    frame.scope->restore(std::move(thenNames));
  else if (!thenReturns)
    mergeScopes(condition, *frame.scope, thenNames, Scope::Names(frame.scope->names()), statement.range);

  struct Decided {
    bool any;
    ValueId when;
    Object value;
  };
  const ValueId always = lower.boolean(true), never = lower.boolean(false);
  const auto decided = [&](bool returns, const Frame &arm) {
    return returns ? Decided{true, always, arm.result} : Decided{arm.hasPending, arm.hasPending ? arm.when : never, arm.pending};
  };
  const Decided yes = decided(thenReturns, thenFrame), no = decided(elseReturns, elseFrame);
  frame.hasPending = yes.any || no.any;
  if (frame.hasPending) {
    frame.when = lower.op(Op::Select, {condition, yes.when, no.when});
    frame.pending = yes.any && no.any ? join(yes.value, no.value) : yes.any ? yes.value : no.value;
    freeze(false); // what follows happens only where nothing was returned
  }
  return decide(Flow::Falls, frame, before);
}

/// Puts what was decided before the statement ahead of what it decided.
Sema::Flow Sema::decide(Flow flow, Frame &frame, const Frame &before) {
  if (failed() || !before.hasPending)
    return flow;
  const auto prepend = [&](const Object &later) {
    const Object joined = merge(before.when, before.pending, later);
    if (joined.tag == Tag::Unset && !failed())
      fail(frame.resultRange, fmt::format("this return and one above it cannot be joined: {}", joined.text), joined.detail);
    return joined;
  };
  if (flow == Flow::Returns) {
    frame.result = prepend(frame.result);
    return flow;
  }
  frame.pending = frame.hasPending ? prepend(frame.pending) : before.pending;
  frame.when = frame.hasPending ? lower.op(Op::LogicalOr, {before.when, frame.when}) : before.when;
  frame.hasPending = true;
  return flow;
}

Object Sema::merge(ValueId condition, const Object &a, const Object &b) {
  const Descent level(*this);
  if (!level)
    return {};
  if (sameObject(a, b))
    return a;
  if (a.tag == Tag::Unset)
    return a;
  if (b.tag == Tag::Unset)
    return b;
  const auto isValue = [](const Object &object) { return object.isNumber() || (object.tag == Tag::View && object.view->rank == 0); };
  if (isValue(a) && isValue(b)) {
    const Object x = asNumber(a, lower.range), y = asNumber(b, lower.range);
    return failed() ? Object() : runtime(lower.select(condition, x.value, y.value));
  }
  if (a.isSequence() && a.tag == b.tag && a.items->size() == b.items->size()) {
    std::vector<Object> items;
    for (std::size_t i = 0; i < a.items->size(); ++i)
      items.push_back(merge(condition, (*a.items)[i], (*b.items)[i]));
    return a.tag == Tag::List ? list(std::move(items)) : tuple(std::move(items));
  }
  Object unset;
  unset.tag = Tag::Unset;
  unset.text = "it would be chosen at run time between things that are no numbers";
  unset.detail = "choose between numbers: index or call first, then choose";
  return unset;
}

void Sema::mergeScopes(ValueId condition, Scope &own, const Scope::Names &thenNames, const Scope::Names &elseNames, TextRange range) {
  // Names bound before the statement stand at the same place in both.
  const auto find = [](const Scope::Names &names, std::string_view wanted, std::size_t guess) -> const Object * {
    if (guess < names.size() && names[guess].first == wanted)
      return &names[guess].second;
    const auto found = std::find_if(names.begin(), names.end(), [&](const auto &entry) { return entry.first == wanted; });
    return found == names.end() ? nullptr : &found->second;
  };
  const auto bindOneSided = [&](std::string_view name) {
    Object unset;
    unset.tag = Tag::Unset;
    unset.text = texts.emplace_back(fmt::format("it is assigned in only one branch of the 'if' in line {}", unit->source.line(range)));
    unset.detail = "assign it before the 'if', or in both branches";
    own.bind(name, unset);
  };
  std::size_t place = 0;
  for (const auto &[name, thenValue] : thenNames) {
    const Object *elseValue = find(elseNames, name, place++);
    elseValue ? own.bind(name, merge(condition, thenValue, *elseValue)) : bindOneSided(name);
  }
  place = 0;
  for (const auto &[name, elseValue] : elseNames)
    if (!find(thenNames, name, place++))
      bindOneSided(name);
}

// --- loops ---

std::optional<std::vector<Object>> Sema::elementsOf(const Object &object, TextRange range, std::string_view what) {
  if (object.isSequence() && spend(object.items->size(), range))
    return *object.items;
  if (object.tag == Tag::Dict && spend(object.dict->entries.size(), range)) {
    std::vector<Object> keys;
    for (const auto &entry : object.dict->entries)
      keys.push_back(entry.first);
    return keys;
  }
  if (object.tag == Tag::String && spend(object.text.size(), range)) {
    std::vector<Object> letters;
    for (std::size_t at = 0; at < object.text.size();) {
      const std::size_t begin = at;
      decodeUtf8(object.text, at);
      letters.push_back(text(std::string(object.text.substr(begin, at - begin))));
    }
    return letters;
  }
  if (isKnownTensor(object) && object.view->rank > 0) {
    std::vector<Object> rows;
    const std::int64_t count = numberOf(sizeOf(*object.view, 0, range)).i;
    for (std::int64_t row = 0; row < count && spend(kElementCost, range); ++row)
      rows.push_back(indexView(*object.view, {knownInt(row)}, {range}, range));
    return failed() ? std::nullopt : std::optional(std::move(rows));
  }
  if (!failed())
    fail(range, fmt::format("{} needs a range, a tuple or a list", what),
         object.tag == Tag::View ? "a captured tensor has its length at run time only; loops are written out when the formula is read"
                                 : "loops are written out when the formula is read, e.g. for i in range(4)");
  return std::nullopt;
}

Sema::Flow Sema::runFor(const AstStatement &statement, Frame &frame) {
  const Object iterable = evaluate(statement.value);
  if (failed())
    return Flow::Falls;
  const auto elements = elementsOf(iterable, ast()[statement.value].range, "'for'");
  if (!elements)
    return Flow::Falls;
  for (const Object &element : *elements) {
    assign(statement.targets[0], element, *frame.scope);
    if (failed() || !spend(1, statement.range))
      return Flow::Falls;
    const Flow flow = runBlock(statement.body, frame);
    if (failed() || flow == Flow::Returns)
      return flow;
    if (flow == Flow::Breaks)
      return Flow::Falls;
  }
  return runBlock(statement.orElse, frame);
}

Sema::Flow Sema::runWhile(const AstStatement &statement, Frame &frame) {
  while (true) {
    std::optional<bool> known;
    ValueId value = 0;
    if (!spend(1, statement.range) || !condition(statement.value, "'while'", known, value))
      return Flow::Falls;
    if (!known) {
      fail(ast()[statement.value].range, "a loop cannot depend on what is known only at run time",
           "loops are written out when the formula is read: give 'while' a condition over plain numbers, or loop over a range");
      return Flow::Falls;
    }
    if (!*known)
      return runBlock(statement.orElse, frame);
    const Flow flow = runBlock(statement.body, frame);
    if (failed() || flow == Flow::Returns)
      return flow;
    if (flow == Flow::Breaks)
      return Flow::Falls;
  }
}

// --- the rest ---

void Sema::assign(AstId target, const Object &value, Scope &own) {
  const AstNode &node = ast()[target];
  if (node.kind == AstKind::Name) {
    if (isKnownTensor(value) && value.view->constant->info.name.empty())
      value.view->constant->info.name = node.text;
    if (own.isRedirected(node.text) && !effects.outerNames)
      fail(node.range, fmt::format("'{}' of an outer function would change below a condition that is known only at run time", node.text),
           "return the value instead");
    else
      own.bind(node.text, value);
    return;
  }
  if (node.kind == AstKind::Subscript)
    return assignElement(node, value);
  if (node.kind == AstKind::Attribute) { // f.__name__ = ..., f.window = ... are for people
    if (!node.text.starts_with("__") && !evaluate(node.children[0]).isCallable() && !failed())
      fail(node.range, fmt::format("the attribute '{}' cannot be assigned to", node.text), "use a name of its own");
    return;
  }
  const auto elements = elementsOf(value, node.range, "unpacking");
  if (!elements)
    return;
  const std::size_t names = node.children.size(), values = elements->size();
  const auto isStarred = [&](AstId child) { return ast()[child].kind == AstKind::Starred; };
  const std::size_t star =
      static_cast<std::size_t>(std::find_if(node.children.begin(), node.children.end(), isStarred) - node.children.begin());
  if (star == names ? values != names : values + 1 < names) {
    raise("ValueError", node.range,
          fmt::format("{}{} names for {} values", star == names ? "" : "at least ", star == names ? names : names - 1, values),
          "give every value one name");
    return;
  }
  const std::size_t rest = star == names ? 0 : values + 1 - names; // what the starred name takes
  for (std::size_t i = 0; i < names && !failed(); ++i) {
    const auto from = elements->begin() + static_cast<std::ptrdiff_t>(i <= star ? i : i + rest - 1);
    if (i == star)
      assign(ast()[node.children[i]].children[0], list(std::vector<Object>(from, from + static_cast<std::ptrdiff_t>(rest))), own);
    else
      assign(node.children[i], *from, own);
  }
}

/// `list += more` changes the list.
bool Sema::extendInPlace(const AstNode &sum) {
  if (sum.text != "+")
    return false;
  const Object left = evaluate(sum.children[0]);
  if (failed() || left.tag != Tag::List)
    return failed();
  const Object more = evaluate(sum.children[1]);
  Arguments arguments{{more}, {{}}, {ast()[sum.children[1]].range}, sum.token, "extend"};
  if (!failed())
    listExtend(left, arguments);
  return true;
}

} // namespace attnjit::expr
