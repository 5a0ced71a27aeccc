#include "Expr/SemaImpl.h"

#include "Expr/Ops.h"

#include <fmt/format.h>

#include <algorithm>

namespace attnjit::expr {

Object Sema::evaluate(AstId id) {
  const AstNode &node = ast()[id];
  if (failed() || !enter(node.range))
    return {};
  ++depth;
  Object result = evaluateNode(node);
  --depth;
  return result;
}

Object Sema::evaluateNode(const AstNode &node) {
  lower.range = node.range;
  switch (node.kind) {
  case AstKind::Name:
    return lookUp(node);
  case AstKind::Int: {
    ScalarArg value{};
    value.i = node.intValue;
    return lifting ? lift(Kind::Int, value, node.range) : knownInt(node.intValue);
  }
  case AstKind::Float: {
    ScalarArg value{};
    value.f = node.floatValue;
    return lifting ? lift(Kind::Float, value, node.range) : constant({Kind::Float, 0, node.floatValue});
  }
  case AstKind::Bool:
    return knownBool(node.intValue);
  case AstKind::None:
    return {};
  case AstKind::Ellipsis: {
    Object object;
    object.tag = Tag::Ellipsis;
    return object;
  }
  case AstKind::String: {
    Object object;
    object.tag = Tag::String;
    object.text = node.text;
    return object;
  }
  case AstKind::FString:
    return evaluateFString(node);
  case AstKind::Unary:
    return evaluateUnary(node);
  case AstKind::Binary:
  case AstKind::And:
  case AstKind::Or:
    return evaluateChain(node);
  case AstKind::Compare:
    return evaluateCompare(node);
  case AstKind::Conditional:
    return evaluateConditional(node);
  case AstKind::Call:
    return evaluateCall(node);
  case AstKind::Subscript:
    return evaluateSubscript(node);
  case AstKind::Slice:
    return evaluateSlice(node);
  case AstKind::Attribute:
    return evaluateAttribute(node);
  case AstKind::Lambda:
    return makeClosure(ast().functions[static_cast<std::size_t>(node.intValue)], *scope);
  case AstKind::Tuple:
  case AstKind::List:
    return evaluateTuple(node);
  case AstKind::Set:
    return evaluateSet(node);
  case AstKind::Dict:
    return evaluateDict(node);
  case AstKind::Named:
    return evaluateNamed(node);
  case AstKind::Comprehension:
    return evaluateComprehension(node);
  case AstKind::Starred:
    return fail(node.range, "'*' unpacks arguments of a call only", "write the elements one by one");
  }
  return {};
}

// --- numbers ---

Object Sema::runtime(ValueId value) const {
  Object object;
  object.tag = Tag::Number;
  object.value = value;
  return object;
}

Object Sema::constant(const PyNumber &number) {
  Object object = runtime(number.kind == Kind::Float  ? lower.number(number.f)
                          : number.kind == Kind::Bool ? lower.boolean(number.i != 0)
                                                      : lower.integer(number.i));
  object.known = object.value;
  return object;
}

PyNumber Sema::numberOf(const Object &known) const {
  const Node &node = lower.builder[known.known];
  return node.kind == Kind::Float ? PyNumber{Kind::Float, 0, node.imm.f} : PyNumber{node.kind, node.imm.i, 0};
}

/// A literal of the mod-naming expression: Python sees the number, the formula sees an argument of the kernel.
Object Sema::lift(Kind kind, ScalarArg value, TextRange range) {
  Object object = constant({kind, kind == Kind::Float ? 0 : value.i, kind == Kind::Float ? value.f : 0});
  ScalarDecl decl = ScalarDecl::literal(kind, value);
  object.value = lower.builder.scalar(static_cast<int>(scalars.size()), kind, range);
  scalars.push_back(std::move(decl));
  return object;
}

Object Sema::text(std::string value) {
  Object object;
  object.tag = Tag::String;
  object.text = texts.emplace_back(std::move(value));
  return object;
}

Object Sema::tuple(std::vector<Object> items) {
  Object object;
  object.tag = Tag::Tuple;
  object.items = &tuples.emplace_back(std::move(items));
  return object;
}

Object Sema::evaluateNumber(AstId id) {
  const Object object = evaluate(id);
  return failed() ? Object() : asNumber(object, ast()[id].range);
}

Object Sema::asNumber(const Object &object, TextRange range) {
  switch (object.tag) {
  case Tag::Number:
    return object;
  case Tag::View:
    return load(*object.view, range);
  case Tag::None: {
    if (!object.closure)
      return raise("TypeError", range, "expected a number, found None", "every branch needs a value");
    const Unit *outer = std::exchange(unit, object.closure->unit);
    fail(object.closure->function->head, fmt::format("'{}' returns nothing", object.closure->function->name), "end it with 'return ...'");
    unit = outer;
    return {};
  }
  case Tag::Module:
    return fail(range, "expected a number, found a module", "call one of its functions, e.g. torch.exp(x)");
  case Tag::String:
    return raise("TypeError", range, "expected a number, found a string", "strings occur only in float(\"inf\") and the like");
  case Tag::Dtype:
  case Tag::Finfo:
    return fail(range, "expected a number, found a dtype", "dtypes occur only in x.to(torch.float32)");
  case Tag::Dict:
    return raise("TypeError", range, "expected a number, found a dictionary", "ask it for one of its values, e.g. options[\"window\"]");
  case Tag::Type:
    return fail(range, "expected a number, found a type", "types occur only in isinstance(...)");
  case Tag::Tuple:
  case Tag::List:
    return fail(range, "expected a number, found a tuple",
                "index it or unpack it: 'a, b = pair'; a table of numbers belongs into a captured tensor");
  case Tag::Slice:
  case Tag::Ellipsis:
    return fail(range, "expected a number, found a slice", "slices occur only in the index of a captured tensor or a tuple");
  case Tag::Opaque:
    return fail(range, "expected a number, found a device", "devices mean nothing in a formula");
  case Tag::Unset:
    return fail(range, fmt::format("this has no certain value: {}", object.text), object.detail);
  case Tag::Failed:
    return error = moduleErrors[object.index], Object();
  default:
    return fail(range, "expected a number, found a function", "call it: add '(...)'");
  }
}

std::optional<bool> Sema::truth(const Object &object) const {
  switch (object.tag) {
  case Tag::None:
    return false;
  case Tag::Number:
    return object.isKnown() ? std::optional(numberOf(object).truth()) : std::nullopt;
  case Tag::String:
    return !object.text.empty();
  case Tag::Tuple:
  case Tag::List:
    return !object.items->empty();
  case Tag::Dict:
    return !object.dict->entries.empty();
  case Tag::View:
    return std::nullopt;
  default:
    return true;
  }
}

bool Sema::condition(AstId id, std::string_view where, std::optional<bool> &known, ValueId &value) {
  const Object object = evaluate(id);
  if (failed())
    return false;
  known = truth(object);
  if (known)
    return true;
  const TextRange range = ast()[id].range;
  const Object number = asNumber(object, range);
  if (failed())
    return false;
  known = truth(number); // an element of a tensor that the text makes
  if (known)
    return true;
  lower.range = range;
  if (!lower.isCondition(number.value, where)) {
    checked(number.value, range);
    return false;
  }
  value = number.value;
  return true;
}

// --- operators ---

Object Sema::evaluateUnary(const AstNode &node) {
  if (node.text == "not") {
    std::optional<bool> known;
    ValueId value = 0;
    if (!condition(node.children[0], "'not'", known, value))
      return {};
    return known ? knownBool(!*known) : checked(lower.op(Op::LogicalNot, {value}), node.token);
  }
  Object operand = evaluate(node.children[0]);
  if (failed())
    return {};
  if (isTensor(operand))
    return mapTensors({operand}, node.range, [this, &node](const auto &numbers) { return unary(node, numbers[0]); });
  operand = asNumber(operand, ast()[node.children[0]].range);
  return failed() ? Object() : unary(node, operand);
}

Object Sema::unary(const AstNode &node, const Object &operand) {
  lower.range = node.range;
  Object result;
  if (operand.isKnown()) {
    const PyResult known = pyUnary(node.text, numberOf(operand));
    if (!known.problem.empty())
      return fail(node.token, known.problem, known.help);
    result = constant(known.value);
    if (!operand.isLifted())
      return result;
  }
  result.tag = Tag::Number;
  result.value = node.text == "-" ? lower.negate(operand.isKnown() ? lower.convert(operand.value, lower.kind(result.known)) : operand.value)
                 : node.text == "~" ? lower.invert(operand.value)
                                    : operand.value;
  return lower.problem.empty() ? result : checked(result.value, node.token);
}

Object Sema::evaluateChain(const AstNode &top) {
  std::vector<const AstNode *> spine{&top};
  const auto isChain = [](const AstNode &node) {
    return node.kind == AstKind::Binary || node.kind == AstKind::And || node.kind == AstKind::Or;
  };
  while (isChain(ast()[spine.back()->children[0]]))
    spine.push_back(&ast()[spine.back()->children[0]]);
  Object left = evaluate(spine.back()->children[0]);
  for (; !spine.empty() && !failed(); spine.pop_back()) {
    const AstNode &node = *spine.back();
    if (!enter(node.range))
      return {};
    if (node.kind != AstKind::Binary) {
      left = evaluateLogic(node, left);
      continue;
    }
    const Object right = evaluate(node.children[1]);
    if (!failed())
      left = binary(node.text, left, right, ast()[node.children[0]].range, ast()[node.children[1]].range, node);
  }
  return failed() ? Object() : left;
}

/// Python's `and` and `or`: what is known on the left decides without looking right; at run time both sides are bools.
Object Sema::evaluateLogic(const AstNode &node, const Object &left) {
  const bool isAnd = node.kind == AstKind::And;
  if (const std::optional<bool> known = truth(left))
    return *known == isAnd ? evaluate(node.children[1]) : left;
  const Effects outside = effects;
  freeze(true);
  const Object right = evaluate(node.children[1]);
  effects = outside;
  if (failed())
    return {};
  const std::string where = fmt::format("'{}'", node.text);
  ValueId values[2] = {};
  for (int side = 0; side < 2; ++side) {
    const TextRange range = ast()[node.children[side]].range;
    const Object number = asNumber(side ? right : left, range);
    if (failed())
      return {};
    lower.range = node.range;
    if (!lower.isCondition(number.value, where))
      return checked(number.value, range);
    values[side] = number.value;
  }
  return checked(lower.op(isAnd ? Op::LogicalAnd : Op::LogicalOr, {values[0], values[1]}), node.token);
}

Object Sema::binary(std::string_view spelling, const Object &left, const Object &right, TextRange leftRange, TextRange rightRange,
                    const AstNode &node) {
  if (spelling == "+" && left.tag == Tag::String && right.tag == Tag::String && spend(left.text.size() + right.text.size(), node.range))
    return text(std::string(left.text) + std::string(right.text));
  if (spelling == "%" && left.tag == Tag::String)
    return percentFormat(left, right, node.range);
  if (spelling == "*" && left.tag == Tag::String && right.isKnown() && numberOf(right).kind == Kind::Int) {
    const std::int64_t times = std::max<std::int64_t>(0, numberOf(right).i);
    std::string all;
    for (std::int64_t i = 0; i < times && !left.text.empty() && spend(left.text.size(), node.range); ++i)
      all += left.text;
    return failed() ? Object() : text(std::move(all));
  }
  const auto isType = [](const Object &object) {
    return object.tag == Tag::Type || object.tag == Tag::Builtin || object.tag == Tag::Python || object.tag == Tag::None;
  };
  if (spelling == "|" && isType(left) && isType(right)) // int | None
    return tuple({left, right});
  if (spelling == "|" && left.tag == Tag::Dict) {
    Dict both = *left.dict;
    return mergeInto(both, right, rightRange) ? dictionary(std::move(both)) : Object();
  }
  if (spelling == "+" && left.isSequence() && right.isSequence() &&
      spend(kElementCost * (left.items->size() + right.items->size()), node.range)) {
    std::vector<Object> items = *left.items;
    items.insert(items.end(), right.items->begin(), right.items->end());
    return left.tag == Tag::List ? list(std::move(items)) : tuple(std::move(items));
  }
  if (spelling == "*" && left.isSequence() && right.isKnown() && numberOf(right).kind == Kind::Int) {
    std::vector<Object> items;
    for (std::int64_t i = 0; i < numberOf(right).i && spend(kElementCost * (left.items->size() + 1), node.range); ++i)
      items.insert(items.end(), left.items->begin(), left.items->end());
    return left.tag == Tag::List ? list(std::move(items)) : tuple(std::move(items));
  }
  if (failed())
    return {};
  if (spelling == "@")
    return matrixProduct(left, right, node.range);
  if (isTensor(left) || isTensor(right))
    return mapTensors({left, right}, node.token, [=, this, token = node.token](const auto &numbers) {
      const Object x = asNumber(numbers[0], leftRange);
      const Object y = failed() ? Object() : asNumber(numbers[1], rightRange);
      return failed() ? Object() : arithmetic(spelling, x, y, token);
    });
  const Object x = asNumber(left, leftRange);
  const Object y = failed() ? Object() : asNumber(right, rightRange);
  if (failed())
    return {};
  lower.range = node.range;
  return arithmetic(spelling, x, y, node.token);
}

/// Python's numbers where both are known; IR beside it where something else than a constant stands for them.
Object Sema::arithmetic(std::string_view spelling, const Object &x, const Object &y, TextRange range) {
  Object result;
  if (x.isKnown() && y.isKnown()) {
    const PyResult known = pyBinary(spelling, numberOf(x), numberOf(y));
    if (!known.problem.empty())
      return known.exception.empty() ? fail(range, known.problem, known.help) : raise(known.exception, range, known.problem, known.help);
    result = constant(known.value);
    if (!x.isLifted() && !y.isLifted())
      return result;
  }
  // A power of a known exponent is another formula for every exponent (a product, a root): the number is structure.
  ValueId right = y.value;
  if (spelling == "**" && y.isLifted()) {
    const PyNumber exponent = numberOf(y);
    const double e = exponent.asDouble();
    if (exponent.kind == Kind::Int || e == 0 || e == 1 || e == 2 || e == 3 || std::abs(e) == 0.5 || e == -1 || e == -2)
      right = y.known;
  }
  ValueId left = x.value;
  if (result.isKnown()) { // Python's kinds decide: True + True is 2 there, and an int to a negative power a float
    const Kind kind = lower.kind(result.known);
    const bool bools = lower.kind(left) == Kind::Bool && lower.kind(right) == Kind::Bool;
    if ((bools && kind == Kind::Int) || (spelling == "**" && kind == Kind::Float))
      left = lower.convert(left, kind), right = lower.convert(right, kind);
  }
  result.tag = Tag::Number;
  result.value = lower.binary(spelling, left, right);
  return lower.problem.empty() ? result : checked(result.value, range);
}

Object Sema::evaluateCompare(const AstNode &node) {
  Object left = evaluate(node.children[0]), all;
  for (std::size_t i = 0; i < node.operators.size() && !failed(); ++i) {
    const Object right = evaluate(node.children[i + 1]);
    if (failed())
      return {};
    lower.range = node.range;
    const Object one =
        compare(node.operators[i], left, right, ast()[node.children[i]].range, ast()[node.children[i + 1]].range, node.token);
    if (failed())
      return {};
    if (i > 0 && (isTensor(all) || isTensor(one)))
      return asNumber(isTensor(one) ? one : all, node.range); // its truth is ambiguous
    if (i == 0)
      all = one;
    else if (all.isKnown() && one.isKnown() && !all.isLifted() && !one.isLifted())
      all = knownBool(numberOf(all).truth() && numberOf(one).truth());
    else
      all = runtime(lower.op(Op::LogicalAnd, {all.value, one.value}));
    left = right;
  }
  return failed() ? Object() : all;
}

bool Sema::sameObject(const Object &x, const Object &y, bool byValue) {
  const Descent level(*this);
  if (x.tag != y.tag || !level)
    return false;
  switch (x.tag) {
  case Tag::None:
    return true;
  case Tag::Dict:
    return x.dict == y.dict;
  case Tag::Type:
    return x.text == y.text;
  case Tag::Number:
    if (byValue && x.isKnown() && y.isKnown())
      return pyCompare("==", numberOf(x), numberOf(y));
    return x.value == y.value && x.known == y.known;
  case Tag::String:
    return x.text == y.text;
  case Tag::Tuple:
  case Tag::List:
    return x.items == y.items || std::equal(x.items->begin(), x.items->end(), y.items->begin(), y.items->end(),
                                            [&](const Object &a, const Object &b) { return sameObject(a, b, byValue); });
  case Tag::Dtype:
  case Tag::Finfo:
    return x.dtype == y.dtype;
  case Tag::Unset:
  case Tag::Failed:
    return x.text == y.text && x.index == y.index;
  case Tag::Module:
    return x.space == y.space;
  default:
    return x.pointer == y.pointer && x.value == y.value && x.text == y.text;
  }
}

Object Sema::compare(std::string_view spelling, const Object &x, const Object &y, TextRange xRange, TextRange yRange, TextRange range) {
  if (spelling == "in" || spelling == "not in") {
    const Object found = isMember(x, y, xRange, yRange, range);
    if (failed() || spelling == "in")
      return found;
    return found.isKnown() ? knownBool(!numberOf(found).truth()) : checked(lower.op(Op::LogicalNot, {found.value}), range);
  }
  const bool identity = spelling == "is" || spelling == "is not";
  const bool equality = spelling == "==" || spelling == "!=";
  const bool positive = spelling == "is" || spelling == "==";
  const auto isNumeric = [](const Object &object) { return object.isNumber() || object.tag == Tag::View; };
  if (identity && isNumeric(x) && isNumeric(y) && !(x.isKnown() && y.isKnown()))
    return fail(range, fmt::format("'{}' compares identities, which numbers at run time do not have", spelling),
                fmt::format("write '{}'", positive ? "==" : "!="));
  if ((identity || equality) && !(isNumeric(x) && isNumeric(y)))
    return knownBool(sameObject(x, y, equality) == positive);
  if (!isNumeric(x) && x.tag == y.tag && x.tag == Tag::String)
    return knownBool(pyCompare(spelling, {Kind::Int, x.text.compare(y.text), 0}, {Kind::Int, 0, 0}));
  if (isTensor(x) || isTensor(y))
    return mapTensors({x, y}, range,
                      [=, this](const auto &numbers) { return compare(spelling, numbers[0], numbers[1], xRange, yRange, range); });
  const Object a = asNumber(x, xRange);
  const Object b = failed() ? Object() : asNumber(y, yRange);
  if (failed())
    return {};
  if (identity)
    return knownBool((a.known == b.known) == positive);
  Object result;
  if (a.isKnown() && b.isKnown()) {
    result = knownBool(pyCompare(spelling, numberOf(a), numberOf(b)));
    if (!a.isLifted() && !b.isLifted())
      return result;
  }
  result.tag = Tag::Number;
  result.value = lower.compare(spelling, a.value, b.value);
  return lower.problem.empty() ? result : checked(result.value, range);
}

Object Sema::isMember(const Object &x, const Object &list, TextRange xRange, TextRange listRange, TextRange range) {
  if (list.tag == Tag::String && x.tag == Tag::String)
    return knownBool(list.text.find(x.text) != std::string_view::npos);
  if (list.tag == Tag::Dict)
    return entryOf(*list.dict, x, xRange) ? knownBool(true) : failed() ? Object() : knownBool(false);
  if (isTensor(list)) {
    const Object equal = compare("==", list, x, listRange, xRange, range);
    const Object any = failed() ? Object() : callReduction("any", *equal.view, {{}, {}, {}, range, "any"});
    return failed() ? Object() : asNumber(any, range);
  }
  if (!list.isSequence())
    return fail(listRange, "'in' needs a tuple, a list or a range on its right", "e.g. h in (0, 3), or compare with ==");
  Object any = knownBool(false);
  if (isTensor(x))
    return asNumber(x, xRange);
  for (const Object &item : *list.items) {
    if (isTensor(item))
      return asNumber(item, listRange);
    const Object one = compare("==", x, item, xRange, listRange, range);
    if (failed())
      return {};
    if (one.isKnown() && !one.isLifted()) {
      if (numberOf(one).truth())
        return one;
      continue;
    }
    any = any.isKnown() ? one : runtime(lower.op(Op::LogicalOr, {any.value, one.value}));
  }
  return any;
}

Object Sema::evaluateConditional(const AstNode &node) {
  std::optional<bool> known;
  ValueId value = 0;
  if (!condition(node.children[1], "'if'", known, value))
    return {};
  if (known)
    return evaluate(node.children[*known ? 0 : 2]);
  const Effects outside = effects;
  freeze(true);
  const Object yes = evaluate(node.children[0]);
  const Object no = failed() ? Object() : evaluate(node.children[2]);
  effects = outside;
  if (failed())
    return {};
  lower.range = node.range;
  const Object merged = merge(value, yes, no);
  if (failed() || merged.tag != Tag::Unset)
    return merged;
  asNumber(yes, ast()[node.children[0]].range);
  if (!failed())
    asNumber(no, ast()[node.children[2]].range);
  return failed() ? Object() : fail(node.token, merged.text, merged.detail);
}

/// (n := value): binds in the function, also from within a comprehension.
Object Sema::evaluateNamed(const AstNode &node) {
  const Object value = evaluate(node.children[1]);
  if (failed())
    return {};
  if (!effects.named)
    return fail(node.token, "':=' below a condition that is known only at run time", "assign on a line of its own");
  Scope *owner = scope;
  while (owner->isComprehension)
    owner = owner->parent;
  assign(node.children[0], value, *owner);
  return value;
}

} // namespace attnjit::expr
