// Tuples and texts, subscripts, attributes: reaching into objects.
#include "Expr/SemaImpl.h"

#include "Expr/Ops.h"

#include <fmt/format.h>

#include <algorithm>

namespace attnjit::expr {

// --- tuples, texts ---

Object Sema::evaluateTuple(const AstNode &node) {
  std::vector<Object> items;
  items.reserve(node.children.size());
  for (AstId child : node.children) {
    if (ast()[child].kind == AstKind::Starred) {
      const Object list = evaluate(ast()[child].children[0]);
      const auto elements = failed() ? std::nullopt : elementsOf(list, ast()[child].range, "'*'");
      if (!elements)
        return {};
      items.insert(items.end(), elements->begin(), elements->end());
      continue;
    }
    items.push_back(evaluate(child));
    if (failed())
      return {};
  }
  return tuple(std::move(items));
}

Object Sema::evaluateComprehension(const AstNode &node) {
  const Object iterable = evaluate(node.children[2]);
  const auto elements = failed() ? std::nullopt : elementsOf(iterable, ast()[node.children[2]].range, "a comprehension");
  if (!elements)
    return {};
  Scope &own = scopes.emplace_back(scope, false);
  Scope *outer = std::exchange(scope, &own);
  std::vector<Object> items;
  for (const Object &element : *elements) {
    assign(node.children[1], element, own);
    bool wanted = true;
    for (std::size_t i = 3; i < node.children.size() && !failed() && wanted; ++i) {
      std::optional<bool> known;
      ValueId value = 0;
      if (condition(node.children[i], "'if'", known, value) && !known)
        fail(ast()[node.children[i]].range, "the length of a list cannot depend on what is known only at run time",
             "use the condition in the values instead");
      wanted = known.value_or(false);
    }
    if (wanted && !failed())
      items.push_back(evaluate(node.children[0]));
    if (failed() || !spend(1, node.range))
      break;
  }
  scope = outer;
  return failed() ? Object() : tuple(std::move(items));
}

std::optional<std::string> Sema::textOf(const Object &object) const {
  switch (object.tag) {
  case Tag::String:
    return std::string(object.text);
  case Tag::None:
    return "None";
  case Tag::Number:
    return object.isKnown() ? pyText(numberOf(object)) : "?"; // known at run time only
  case Tag::Tuple: {
    std::string all = "(";
    for (const Object &item : *object.items) {
      if (all.size() > 200)
        return all + "...)";
      const auto one = textOf(item);
      all += fmt::format("{}{}", all.size() > 1 ? ", " : "", one ? *one : "?");
    }
    return all + ")";
  }
  case Tag::Closure:
    return fmt::format("<function {}>", object.closure->function->name);
  case Tag::Dtype:
    return object.dtype == Kind::Float ? "torch.float32" : object.dtype == Kind::Int ? "torch.int64" : "torch.bool";
  default:
    return std::nullopt;
  }
}

Object Sema::evaluateFString(const AstNode &node) {
  std::string all;
  for (std::size_t i = 0; i < node.children.size(); ++i) {
    const Object piece = evaluate(node.children[i]);
    if (failed())
      return {};
    const std::string words = textOf(piece).value_or("?");
    std::string_view format = node.keywords[i];
    if (format.starts_with("!r") || format.starts_with("!s"))
      format.remove_prefix(2);
    if (format.starts_with(":") && piece.isKnown()) {
      // The formats of numbers are the same here and there; widths are kept small.
      const PyNumber number = numberOf(piece);
      const std::string spec = fmt::format("{{{}}}", format);
      try {
        if (format.size() <= 8)
          all += number.kind == Kind::Float || std::string_view("feg").find(format.back()) != std::string_view::npos
                     ? fmt::format(fmt::runtime(spec), number.asDouble())
                     : fmt::format(fmt::runtime(spec), number.i);
      } catch (const fmt::format_error &) {
        return fail(ast()[node.children[i]].range, fmt::format("'{}' is no format of this number", format.substr(1)),
                    "e.g. {x:.2f}, {n:3d}");
      }
      if (all.size() > 10000)
        return fail(node.range, "this text becomes too long", "use smaller widths");
      continue;
    }
    all += words;
    if (!spend(words.size() / 8 + 1, node.range))
      return {};
  }
  return text(std::move(all));
}

// --- subscripts and attributes ---

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
  if (base.tag != Tag::View && base.tag != Tag::Tuple && base.tag != Tag::String)
    return fail(node.range, "only captured tensors and tuples can be indexed",
                captures.infos.empty() ? "the problem has no captures" : "the captures are " + listCaptures());
  std::vector<Object> items;
  std::vector<TextRange> ranges;
  for (std::size_t i = 1; i < node.children.size(); ++i) {
    const Object item = evaluate(node.children[i]);
    if (failed())
      return {};
    // t[i, j] and t[(i, j)] are the same.
    if (item.tag == Tag::Tuple && node.children.size() == 2 && base.tag == Tag::View)
      items = *item.items, ranges.assign(items.size(), ast()[node.children[i]].range);
    else
      items.push_back(item), ranges.push_back(ast()[node.children[i]].range);
  }
  return base.tag == Tag::View ? indexView(*base.view, items, ranges, node.range) : indexItems({base, items[0]}, node);
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
    return tuple(std::move(chosen));
  }
  if (!isKnownInt(index))
    return fail(range, "the index of a tuple must be an int that is known when the formula is read",
                "for an index at run time put the values into a captured tensor");
  const std::int64_t at = numberOf(index).i;
  if (at < -size || at >= size)
    return fail(range, fmt::format("index {} of a tuple of {}", at, size), fmt::format("indices go from {} to {}", -size, size - 1));
  return (*elements)[static_cast<std::size_t>(at < 0 ? at + size : at)];
}

Object Sema::evaluateAttribute(const AstNode &node) {
  const Object base = evaluate(node.children[0]);
  if (failed())
    return {};
  switch (base.tag) {
  case Tag::Module:
    return moduleMember(node, base);
  case Tag::View:
    if (base.view->rank > 0)
      return viewAttribute(*base.view, node);
    break;
  case Tag::Finfo: {
    const bool isFloat = base.dtype == Kind::Float;
    const double floats[] = {-std::numeric_limits<float>::max(), std::numeric_limits<float>::max(), std::numeric_limits<float>::epsilon(),
                             std::numeric_limits<float>::min()};
    static constexpr std::string_view kMembers[] = {"min", "max", "eps", "tiny"};
    for (std::size_t i = 0; i < std::size(kMembers); ++i)
      if (kMembers[i] == node.text && (isFloat || i < 2))
        return isFloat ? constant({Kind::Float, 0, floats[i]}) : knownInt(i == 0 ? INT64_MIN : INT64_MAX);
    return fail(node.token, fmt::format("finfo has no '{}'", node.text), "it has min, max, eps and tiny");
  }
  case Tag::Closure:
  case Tag::Partial:
  case Tag::Combined:
  case Tag::Python:
    if (node.text == "__name__")
      return text(base.tag == Tag::Closure ? std::string(base.closure->function->name) : "mask_mod");
    break;
  case Tag::Tuple:
    if (node.text == "numel" || node.text == "index" || node.text == "count" || node.text == "append")
      return fail(node.token, fmt::format("'.{}' of a tuple or list is not accepted", node.text),
                  "lists do not change here: write list + [x]");
    break;
  default:
    break;
  }
  const Object receiver = asNumber(base, ast()[node.children[0]].range);
  return failed() ? Object() : numberAttribute(receiver, node);
}

Object Sema::numberAttribute(const Object &receiver, const AstNode &node) {
  Object object;
  if (node.text == "dtype") {
    object.tag = Tag::Dtype;
    object.dtype = lower.kind(receiver.value);
    return object;
  }
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
  if (const PythonFunction *python = findPython(node.text, true)) {
    object.tag = Tag::Python;
    object.python = python;
    return object;
  }
  object.tag = Tag::Builtin;
  object.builtin = findBuiltin(node.text, true);
  return object.builtin ? object : unknownMember(node, "method", true);
}

Object Sema::unknownMember(const AstNode &node, std::string_view what, bool asMethod) {
  if (asMethod && (isTensorReduction(node.text) || isTensorProduct(node.text)))
    return fail(node.token, fmt::format("'.{}' of a single number", node.text), "it reduces a tensor: leave an index out, e.g. t[h].sum()");
  if (isRefusedReduction(node.text))
    return fail(node.token, fmt::format("'{}' of a whole tensor is not accepted", node.text),
                "the reductions are sum, mean, amax, amin, any, all, count_nonzero and norm; else compute it before the call and capture "
                "the result");
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
  static constexpr std::pair<std::string_view, Kind> kDtypes[] = {
      {"float", Kind::Float}, {"float32", Kind::Float}, {"float64", Kind::Float}, {"double", Kind::Float}, {"int", Kind::Int},
      {"int32", Kind::Int},   {"int64", Kind::Int},     {"long", Kind::Int},      {"bool", Kind::Bool}};
  static constexpr std::string_view kSubmodules[] = {"nn", "functional", "special", "linalg", "Tensor", "attention", "flex_attention"};
  static constexpr std::string_view kHalves[] = {"float16", "half", "bfloat16"};
  Object object;
  if (std::find(std::begin(kSubmodules), std::end(kSubmodules), node.text) != std::end(kSubmodules))
    return base;
  for (const auto &[name, kind] : kDtypes)
    if (base.space == Namespace::Torch && name == node.text) {
      object.tag = Tag::Dtype;
      object.dtype = kind;
      return object;
    }
  if (std::find(std::begin(kHalves), std::end(kHalves), node.text) != std::end(kHalves))
    return fail(node.token, "formulas compute floats in f32 (f64 for f64 problems), never in half precision",
                "write torch.float32; captured half-precision tensors are widened exactly");
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
