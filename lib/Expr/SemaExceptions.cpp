// try, raise and assert. What a text raises, and what Python would raise over values that are known (a missing key, an index outside, a
// division by zero), may be caught. What formulas do not have is an error whatever stands around it, and so is what is raised below a
// condition that is known at run time only: there it would happen for some pairs.
#include "Expr/SemaImpl.h"

#include <fmt/format.h>

#include <algorithm>

namespace attnjit::expr {

namespace {

/// Exceptions and the one that they are a kind of; Exception, where nothing stands here.
constexpr std::pair<std::string_view, std::string_view> kKinds[] = {{"KeyError", "LookupError"},
                                                                    {"IndexError", "LookupError"},
                                                                    {"ZeroDivisionError", "ArithmeticError"},
                                                                    {"OverflowError", "ArithmeticError"},
                                                                    {"FloatingPointError", "ArithmeticError"},
                                                                    {"NotImplementedError", "RuntimeError"},
                                                                    {"RecursionError", "RuntimeError"},
                                                                    {"ModuleNotFoundError", "ImportError"},
                                                                    {"UnboundLocalError", "NameError"},
                                                                    {"UnicodeError", "ValueError"},
                                                                    {"FileNotFoundError", "OSError"}};

bool isKindOf(std::string_view name, std::string_view wanted) {
  if (wanted == name || wanted == "Exception" || wanted == "BaseException")
    return true;
  const auto row = std::find_if(std::begin(kKinds), std::end(kKinds), [&](const auto &kind) { return kind.first == name; });
  return row != std::end(kKinds) && isKindOf(row->second, wanted);
}

} // namespace

Object Sema::raise(std::string_view exception, TextRange range, std::string_view message, std::string_view help) {
  if (failed())
    return {};
  fail(range, message, help);
  raised = {std::string(exception), std::string(message), effects.conditions, {}, {}};
  return {};
}

void Sema::resume(const Standing &before) {
  error.reset();
  raised = {};
  lower.problem.clear();
  lower.help.clear();
  unit = before.unit;
  scope = before.scope;
  calls.erase(calls.begin() + static_cast<std::ptrdiff_t>(before.calls), calls.end());
  depth = before.depth;
  lifting = before.lifting;
  effects = before.effects;
}

Sema::Flow Sema::runTry(const AstStatement &statement, Frame &frame) {
  const Standing before = standing();
  const auto mayCatch = [&] { return failed() && !raised.name.empty() && raised.conditions == before.effects.conditions; };
  Flow flow = runBlock(statement.body, frame);
  if (mayCatch())
    flow = runHandlers(statement, frame, before);
  else if (!failed() && flow == Flow::Falls)
    flow = runBlock(statement.orElse, frame);
  if (statement.finally.empty() || (failed() && !mayCatch()))
    return flow;
  const std::optional<Error> pending = error;
  const Raised exception = raised;
  const Object result = frame.result;
  if (pending)
    resume(before);
  const Flow last = runBlock(statement.finally, frame);
  if (failed() || last != Flow::Falls)
    return last;
  frame.result = result;
  error = pending;
  raised = exception;
  return flow;
}

/// The first handler that names the exception runs; without one it goes on its way.
Sema::Flow Sema::runHandlers(const AstStatement &statement, Frame &frame, const Standing &before) {
  Raised exception = raised;
  exception.error = error;
  for (const AstArm &handler : statement.arms) {
    resume(before);
    if (!catches(handler.what, exception.name)) {
      if (failed())
        return Flow::Falls;
      continue;
    }
    exception.boundTo = handler.name;
    if (!handler.name.empty())
      frame.scope->bind(handler.name, text(exception.message));
    handling.push_back(exception);
    const Flow flow = runBlock(handler.body, frame);
    handling.pop_back();
    return flow;
  }
  error = exception.error;
  raised = exception;
  return Flow::Falls;
}

/// Exceptions are known by their names.
bool Sema::catches(AstId what, std::string_view raisedName) {
  if (what == kNoNode)
    return true;
  const AstNode &node = ast()[what];
  if (node.kind == AstKind::Name || node.kind == AstKind::Attribute)
    return isKindOf(raisedName, node.text);
  if (node.kind == AstKind::Tuple)
    return std::any_of(node.children.begin(), node.children.end(), [&](AstId one) { return catches(one, raisedName); });
  fail(node.range, "a handler names exceptions", "e.g. except (KeyError, ValueError):");
  return false;
}

void Sema::runAssert(const AstStatement &statement) {
  const Object checked = evaluate(statement.value);
  if (failed())
    return;
  const std::optional<bool> holds = truth(checked);
  if (!holds || *holds) // what is known at run time only (a size, a position) is not checked
    return;
  std::string message = "this assertion fails", said;
  if (statement.message != kNoNode) {
    const Object object = evaluate(statement.message);
    if (failed())
      return;
    said = textOf(object).value_or("");
    message += said.empty() ? "" : ": " + said;
  }
  raise("AssertionError", ast()[statement.value].range, message, "the text itself asks for this");
  raised.message = said;
}

void Sema::runRaise(const AstStatement &statement) {
  const AstNode *node = statement.value == kNoNode ? nullptr : &ast()[statement.value];
  const bool isBound = node && node->kind == AstKind::Name && !handling.empty() && handling.back().boundTo == node->text;
  if ((!node || isBound) && !handling.empty()) { // the one that is being handled
    error = handling.back().error;
    raised = handling.back();
    raised.conditions = effects.conditions;
    return;
  }
  std::string message = "the text raises an error here", said;
  std::string_view name = "Exception";
  const AstNode *type = node && node->kind == AstKind::Call ? &ast()[node->children[0]] : node;
  if (type && (type->kind == AstKind::Name || type->kind == AstKind::Attribute)) {
    name = type->text;
    message = fmt::format("the text raises {}", name);
  }
  if (node && node->kind == AstKind::Call && node->children.size() > 1) {
    const Object object = evaluate(node->children[1]);
    if (failed())
      return;
    said = textOf(object).value_or("");
    message += said.empty() ? "" : ": " + said;
  }
  raise(name, statement.range, message,
        "a condition above leads here when the formula is read; below a run-time condition nothing can be raised");
  raised.message = said;
}

} // namespace attnjit::expr
