// match over values that are known when the formula is read. A pattern has the shape of an expression: see Parser::parsePattern.
#include "Expr/SemaImpl.h"

#include <fmt/format.h>

#include <algorithm>

namespace attnjit::expr {

Sema::Flow Sema::runMatch(const AstStatement &statement, Frame &frame) {
  const Object subject = evaluate(statement.value);
  for (const AstArm &arm : statement.arms) {
    if (failed() || !spend(1, arm.range))
      return Flow::Falls;
    if (!matches(arm.what, subject, *frame.scope) || failed())
      continue;
    if (!arm.name.empty())
      frame.scope->bind(arm.name, subject);
    if (arm.guard != kNoNode) {
      std::optional<bool> known;
      ValueId value = 0;
      if (!condition(arm.guard, "'case'", known, value))
        return Flow::Falls;
      if (!known) {
        fail(ast()[arm.guard].range, "the condition of a 'case' must be known when the formula is read", "write 'if' in its body");
        return Flow::Falls;
      }
      if (!*known)
        continue;
    }
    return runBlock(arm.body, frame);
  }
  return Flow::Falls;
}

/// Whether the subject is this value.
bool Sema::isEqual(const Object &subject, const Object &wanted, TextRange range) {
  if (failed())
    return false;
  if ((subject.tag == Tag::Number || subject.tag == Tag::View) != (wanted.tag == Tag::Number))
    return false;
  const Object equal = compare("==", subject, wanted, range, range, range);
  if (failed())
    return false;
  if (!equal.isKnown())
    return fail(range, "'match' of a value that is known only at run time", "write 'if' and 'elif'"), false;
  return numberOf(equal).truth();
}

/// Names of the pattern are bound on the way, as in Python also where the whole does not match.
bool Sema::matches(AstId pattern, const Object &subject, Scope &own) {
  const Descent level(*this);
  if (!level)
    return false;
  const AstNode &node = ast()[pattern];
  switch (node.kind) {
  case AstKind::Name:
    if (node.text != "_")
      own.bind(node.text, subject);
    return true;
  case AstKind::Bool:
  case AstKind::None: { // these match by identity: True is not 1
    const Object wanted = evaluate(pattern);
    const bool isBool = subject.isKnown() && numberOf(subject).kind == Kind::Bool;
    return node.kind == AstKind::None ? subject.tag == Tag::None : isBool && isEqual(subject, wanted, node.range);
  }
  case AstKind::Int:
  case AstKind::Float:
  case AstKind::Unary:
  case AstKind::String:
  case AstKind::FString:
  case AstKind::Attribute:
    return isEqual(subject, evaluate(pattern), node.range);
  case AstKind::Tuple:
  case AstKind::List:
    return matchesSequence(node, subject, own);
  case AstKind::Binary:
    if (node.text == "|")
      return matches(node.children[0], subject, own) || (!failed() && matches(node.children[1], subject, own));
    break;
  case AstKind::Call:
    if (node.children.size() == 1) { // int(), str()
      const std::optional<bool> is = hasType(subject, evaluate(node.children[0]));
      if (failed() || is)
        return !failed() && *is;
    }
    break;
  default:
    break;
  }
  fail(node.range, "this is no pattern that a formula can have",
       "patterns are numbers, texts, None, names, '_', sequences of such, types such as int(), and several with '|'");
  return false;
}

bool Sema::matchesSequence(const AstNode &pattern, const Object &subject, Scope &own) {
  if (!subject.isSequence())
    return false;
  const std::vector<Object> items = *subject.items;
  const std::size_t parts = pattern.children.size(), values = items.size();
  const auto isStarred = [&](AstId child) { return ast()[child].kind == AstKind::Starred; };
  const auto star =
      static_cast<std::size_t>(std::find_if(pattern.children.begin(), pattern.children.end(), isStarred) - pattern.children.begin());
  if (star == parts ? values != parts : values + 1 < parts)
    return false;
  const std::size_t rest = star == parts ? 0 : values + 1 - parts; // what the starred name takes
  for (std::size_t i = 0; i < parts; ++i) {
    const auto from = items.begin() + static_cast<std::ptrdiff_t>(i <= star ? i : i + rest - 1);
    const bool fits = i == star
                          ? matches(ast()[pattern.children[i]].children[0], list({from, from + static_cast<std::ptrdiff_t>(rest)}), own)
                          : matches(pattern.children[i], *from, own);
    if (!fits || failed())
      return false;
  }
  return true;
}

} // namespace attnjit::expr
