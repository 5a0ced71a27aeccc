// Subscripts and attributes: reaching into objects.
#include "Expr/SemaImpl.h"

#include "Expr/Ops.h"

#include <fmt/format.h>

#include <algorithm>

namespace attnjit::expr {

Object Sema::evaluateSlice(const AstNode &node) {
  std::vector<Object> parts;
  for (AstId child : node.children) {
    parts.push_back(evaluate(child));
    if (failed())
      return {};
    if (parts.back().tag == Tag::View)
      parts.back() = asNumber(parts.back(), ast()[child].range);
    if (failed())
      return {};
    const Object &part = parts.back();
    if (part.tag != Tag::None && (!part.isNumber() || lower.kind(part.value) != Kind::Int))
      return fail(ast()[child].range, "the ends and the step of a slice are ints", "e.g. t[1:], t[:n]");
  }
  Object object = tuple(std::move(parts));
  object.tag = Tag::Slice;
  return object;
}

Object Sema::evaluateSubscript(const AstNode &node) {
  const Object base = evaluate(node.children[0]);
  if (failed())
    return {};
  if (base.tag != Tag::View && !base.isSequence() && base.tag != Tag::String && base.tag != Tag::Dict)
    return fail(node.range, "only captured tensors, tuples, lists and dictionaries can be indexed",
                captures.infos.empty() ? "the problem has no captures" : "the captures are " + listCaptures());
  std::vector<Object> items;
  std::vector<TextRange> ranges;
  for (std::size_t i = 1; i < node.children.size(); ++i) {
    const Object item = evaluate(node.children[i]);
    if (failed())
      return {};
    // t[i, j] and t[(i, j)] are the same.
    if (item.isSequence() && node.children.size() == 2 && base.tag == Tag::View)
      items = *item.items, ranges.assign(items.size(), ast()[node.children[i]].range);
    else
      items.push_back(item), ranges.push_back(ast()[node.children[i]].range);
  }
  if (base.tag == Tag::View)
    return indexView(*base.view, items, ranges, node.range);
  if (base.tag != Tag::Dict)
    return indexItems({base, items[0]}, node);
  const Object key = items.size() == 1 ? items[0] : tuple(items);
  const Object *entry = entryOf(*base.dict, key, ranges[0]);
  return entry ? *entry : failed() ? Object() : failKey(*base.dict, key, ranges[0]);
}

/// An element or a slice of a tuple or text: everything is known.
Object Sema::indexItems(const std::vector<Object> &baseAndIndex, const AstNode &node) {
  const auto elements = elementsOf(baseAndIndex[0], node.range, "an index");
  if (!elements)
    return {};
  const Object &index = baseAndIndex[1];
  const TextRange range = ast()[node.children[1]].range;
  const auto size = static_cast<std::int64_t>(elements->size());
  const auto isKnownInt = [&](const Object &object) { return object.isKnown() && numberOf(object).kind != Kind::Float; };
  if (index.tag == Tag::Slice) {
    const std::vector<Object> &parts = *index.items;
    for (const Object &part : parts)
      if (part.tag != Tag::None && !isKnownInt(part))
        return fail(range, "a slice of a tuple must be known when the formula is read", "use plain numbers");
    const std::int64_t step = parts[2].tag == Tag::None ? 1 : numberOf(parts[2]).i;
    if (step == 0)
      return fail(range, "the step of a slice is 0", "leave it out");
    const auto end = [&](const Object &part, std::int64_t missing) {
      if (part.tag == Tag::None)
        return missing;
      const std::int64_t at = numberOf(part).i, wrapped = at < 0 ? at + size : at;
      return step > 0 ? std::clamp<std::int64_t>(wrapped, 0, size) : std::clamp<std::int64_t>(wrapped, -1, size - 1);
    };
    const std::int64_t start = end(parts[0], step > 0 ? 0 : size - 1), stop = end(parts[1], step > 0 ? size : -1);
    std::vector<Object> chosen;
    for (std::int64_t at = start; step > 0 ? at < stop : at > stop; at += step) {
      chosen.push_back((*elements)[static_cast<std::size_t>(at)]);
      if (step > size || step < -size)
        break;
    }
    if (baseAndIndex[0].tag == Tag::List)
      return list(std::move(chosen));
    if (baseAndIndex[0].tag != Tag::String)
      return tuple(std::move(chosen));
    std::string letters;
    for (const Object &letter : chosen)
      letters += letter.text;
    return text(std::move(letters));
  }
  if (!isKnownInt(index))
    return fail(range, "the index of a tuple must be an int that is known when the formula is read",
                "for an index at run time put the values into a captured tensor");
  const std::int64_t at = numberOf(index).i;
  if (at < -size || at >= size)
    return raise("IndexError", range, fmt::format("index {} of a tuple of {}", at, size),
                 fmt::format("indices go from {} to {}", -size, size - 1));
  return (*elements)[static_cast<std::size_t>(at < 0 ? at + size : at)];
}

Object Sema::evaluateAttribute(const AstNode &node) {
  const Object base = evaluate(node.children[0]);
  return failed() ? Object() : attributeOf(base, node, ast()[node.children[0]].range);
}

Object Sema::attributeOf(const Object &base, const AstNode &node, TextRange baseRange) {
  switch (base.tag) {
  case Tag::Module:
    return moduleMember(node, base);
  case Tag::Type:
    return moduleMember(node, moduleNamed("torch"));
  case Tag::View:
    if (base.view->rank > 0)
      return viewAttribute(*base.view, node);
    if (node.text == "dtype")
      return dtype(dtypeOf(*base.view));
    break;
  case Tag::Finfo:
    return finfoMember(base, node);
  case Tag::Closure:
  case Tag::Partial:
  case Tag::Combined:
  case Tag::Python:
    if (node.text == "__name__")
      return text(base.tag == Tag::Closure ? std::string(base.closure->function->name) : "mask_mod");
    return fail(node.token, fmt::format("a function has no attribute '{}' here", node.text), "call the function, or pass the value along");
  case Tag::String:
  case Tag::Tuple:
  case Tag::List:
  case Tag::Dict:
    return objectMethod(base, node);
  default:
    break;
  }
  const Object receiver = asNumber(base, baseRange);
  return failed() ? Object() : numberAttribute(receiver, node);
}

Object Sema::numberAttribute(const Object &receiver, const AstNode &node) {
  Object object;
  if (node.text == "dtype")
    return dtype(expr::dtypeOf(lower.kind(receiver.value)));
  if (node.text == "device") {
    object.tag = Tag::Opaque;
    return object;
  }
  if (node.text == "shape")
    return tuple({});
  if (node.text == "ndim")
    return knownInt(0);
  object.value = receiver.value;
  object.known = receiver.known;
  object.space = Namespace::Method;
  if (isInPlace(node.text)) {
    object.tag = Tag::Builtin;
    object.builtin = inPlace(node);
    return failed() ? Object() : object;
  }
  if (const PythonFunction *python = findPython(node.text, true)) {
    object.tag = Tag::Python;
    object.python = python;
    return object;
  }
  object.tag = Tag::Builtin;
  object.builtin = findBuiltin(node.text, true);
  return object.builtin ? object : unknownMember(node, "method", true);
}

/// x.clamp_(...): only the name of a value tells who else would see the change; of a value that was just computed nobody does.
const Builtin *Sema::inPlace(const AstNode &node) {
  const std::string_view name = node.text.substr(0, node.text.size() - 1);
  const AstNode *receiver = node.children.empty() ? nullptr : &ast()[node.children[0]];
  bool isFresh = receiver && (receiver->kind == AstKind::Binary || receiver->kind == AstKind::Unary || receiver->kind == AstKind::Compare);
  if (receiver && receiver->kind == AstKind::Call) { // functions that may give back what they got
    static constexpr std::string_view kSame[] = {"detach",  "contiguous", "cuda",   "cpu", "to",   "type",
                                                 "type_as", "float",      "double", "int", "long", "bool"};
    std::string_view called = ast()[receiver->children[0]].text;
    called.remove_suffix(isInPlace(called) ? 1 : 0);
    isFresh = findBuiltin(called, true) && std::find(std::begin(kSame), std::end(kSame), called) == std::end(kSame) &&
              lookUpQuietly(called) == nullptr;
  }
  if (!isFresh)
    fail(node.token, fmt::format("'.{}' changes a value in place", node.text), fmt::format("write x = x.{}(...)", name));
  return findBuiltin(name, true);
}

Object Sema::unknownMember(const AstNode &node, std::string_view what, bool asMethod) {
  if (asMethod && (isTensorReduction(node.text) || isTensorProduct(node.text)))
    return fail(node.token, fmt::format("'.{}' of a single number", node.text), "it reduces a tensor: leave an index out, e.g. t[h].sum()");
  if (isRefusedReduction(node.text))
    return failReduction(node.text, node.token);
  if (isTensorMaker(node.text))
    return fail(node.token, fmt::format("'{}' makes a tensor that is not known when the formula is read", node.text),
                "make it before the call and capture it; a capture takes the place of a module's tensor of the same name");
  std::vector<std::string_view> all;
  for (const Builtin &builtin : builtins())
    forEachName(builtin.names, [&](std::string_view name, bool methodOnly) {
      if (!methodOnly || asMethod)
        all.push_back(name);
    });
  const auto nearest = nearestName(node.text, all);
  return fail(node.token, fmt::format("unknown {} '{}'", what, node.text),
              fmt::format("{}docs/language.md lists the functions", nearest ? fmt::format("did you mean '{}'? ", *nearest) : ""));
}

Object Sema::moduleMember(const AstNode &node, const Object &base) {
  static constexpr std::string_view kSubmodules[] = {"nn", "functional", "special", "linalg", "attention", "flex_attention"};
  Object object;
  if (base.space == Namespace::Operator) {
    object.tag = Tag::Python;
    object.python = findOperator(node.text);
    return object.python ? object : fail(node.token, fmt::format("unknown operator '{}'", node.text), "e.g. operator.add");
  }
  if (std::find(std::begin(kSubmodules), std::end(kSubmodules), node.text) != std::end(kSubmodules))
    return base;
  for (const auto &[name, type] : torchDtypes())
    if (base.space == Namespace::Torch && name == node.text)
      return dtype(type);
  if (isTypeName(node.text))
    return typeNamed(node.text);
  if (const auto number = findConstant(node.text))
    return constant({Kind::Float, 0, *number});
  if (findBuiltinObject(node.text, base.space, object))
    return object;
  if (isViewMethod(node.text) || isTensorReduction(node.text) || isTensorProduct(node.text)) {
    object.tag = Tag::ViewMethod;
    object.text = node.text;
    return object;
  }
  return unknownMember(node, "function", false);
}

} // namespace attnjit::expr
