// Functions of Python and PyTorch that work on objects: ranges, tuples, functions of functions. What they compute with is known when the
// formula is read.
#include "Expr/SemaImpl.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace attnjit::expr {

bool Sema::takes(const Arguments &arguments, std::size_t least, std::size_t most) {
  for (std::size_t i = 0; i < arguments.size(); ++i)
    if (!arguments.keywords[i].empty()) {
      fail(arguments.ranges[i], fmt::format("'{}' has no argument '{}'", arguments.name, arguments.keywords[i]),
           "give its arguments by position");
      return false;
    }
  if (arguments.size() >= least && arguments.size() <= most)
    return true;
  const std::size_t bound = arguments.size() < least ? least : most;
  fail(arguments.call,
       fmt::format("'{}' takes {}{} argument{}, found {}", arguments.name,
                   least == most              ? ""
                   : arguments.size() < least ? "at least "
                                              : "at most ",
                   bound, bound == 1 ? "" : "s", arguments.size()),
       "");
  return false;
}

std::optional<std::int64_t> Sema::knownIntOf(const Object &object, TextRange range, std::string_view what) {
  if (object.isKnown() && numberOf(object).kind != Kind::Float)
    return numberOf(object).i;
  fail(range, fmt::format("{} must be an int that is known when the formula is read", what),
       object.isKnown() ? "use '//' instead of '/', or int(...)"
                        : "positions, captured numbers and sizes of captured tensors are known at run time only");
  return std::nullopt;
}

Object Sema::pyRange(Arguments &a, const PythonFunction &) {
  if (!takes(a, 1, 3))
    return {};
  std::int64_t bounds[3] = {0, 0, 1};
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto bound = knownIntOf(a.values[i], a.ranges[i], "a bound of 'range'");
    if (!bound)
      return {};
    bounds[a.size() == 1 ? 1 : i] = *bound;
  }
  const auto [start, stop, step] = bounds;
  if (step == 0)
    return fail(a.call, "the step of 'range' is 0", "leave it out");
  std::vector<Object> items;
  for (std::int64_t at = start; step > 0 ? at < stop : at > stop;) {
    if (!spend(kElementCost, a.call))
      return {};
    items.push_back(knownInt(at));
    if (__builtin_add_overflow(at, step, &at))
      break;
  }
  return tuple(std::move(items));
}

Object Sema::pyLen(Arguments &a, const PythonFunction &) {
  if (!takes(a, 1, 1))
    return {};
  const Object &object = a.values[0];
  if (object.tag == Tag::View && object.view->rank > 0)
    return sizeOf(*object.view, 0, a.call);
  if (object.isSequence())
    return knownInt(static_cast<std::int64_t>(object.items->size()));
  if (object.tag == Tag::Dict)
    return knownInt(static_cast<std::int64_t>(object.dict->entries.size()));
  if (object.tag == Tag::String)
    return knownInt(static_cast<std::int64_t>(object.text.size()));
  return fail(a.ranges[0], "'len' needs a captured tensor, a tuple or a list", "a single number has no length");
}

Object Sema::pyTuple(Arguments &a, const PythonFunction &self) {
  if (!takes(a, 0, 1))
    return {};
  auto elements = a.size() ? elementsOf(a.values[0], a.ranges[0], fmt::format("'{}'", a.name)) : std::optional(std::vector<Object>());
  if (!elements || !spend(kElementCost * elements->size(), a.call))
    return {};
  return self.names == "list" ? list(std::move(*elements)) : tuple(std::move(*elements));
}

Object Sema::pyEnumerate(Arguments &a, const PythonFunction &) {
  std::int64_t number = 0;
  if (a.size() == 2) {
    a.keywords[1] = a.keywords[1] == "start" ? std::string_view() : a.keywords[1];
    const auto start = knownIntOf(a.values[1], a.ranges[1], "the start of 'enumerate'");
    if (!start)
      return {};
    number = *start;
  }
  if (!takes(a, 1, 2))
    return {};
  const auto elements = elementsOf(a.values[0], a.ranges[0], "'enumerate'");
  if (!elements)
    return {};
  std::vector<Object> pairs;
  for (const Object &element : *elements) {
    pairs.push_back(tuple({knownInt(number), element}));
    number = static_cast<std::int64_t>(static_cast<std::uint64_t>(number) + 1);
  }
  return tuple(std::move(pairs));
}

Object Sema::pyZip(Arguments &a, const PythonFunction &) {
  if (!takes(a, 0, std::numeric_limits<std::size_t>::max()))
    return {};
  std::vector<std::vector<Object>> lists;
  std::size_t shortest = a.values.empty() ? 0 : std::numeric_limits<std::size_t>::max();
  for (std::size_t i = 0; i < a.size(); ++i) {
    auto elements = elementsOf(a.values[i], a.ranges[i], "'zip'");
    if (!elements)
      return {};
    shortest = std::min(shortest, elements->size());
    lists.push_back(std::move(*elements));
  }
  std::vector<Object> rows;
  for (std::size_t i = 0; i < shortest; ++i) {
    std::vector<Object> row;
    for (const std::vector<Object> &list : lists)
      row.push_back(list[i]);
    rows.push_back(tuple(std::move(row)));
  }
  return tuple(std::move(rows));
}

Object Sema::pyReversed(Arguments &a, const PythonFunction &) {
  if (!takes(a, 1, 1))
    return {};
  auto elements = elementsOf(a.values[0], a.ranges[0], "'reversed'");
  if (!elements)
    return {};
  std::reverse(elements->begin(), elements->end());
  return tuple(std::move(*elements));
}

/// torch.sum(t, dim=-1) is t.sum(dim=-1).
Object Sema::reduceFirst(Arguments &a) {
  Object method;
  method.tag = Tag::ViewMethod;
  method.text = a.name;
  return callViewMethod(method, a);
}

Object Sema::pySum(Arguments &a, const PythonFunction &) {
  if (a.size() > 0 && isTensor(a.values[0])) {
    // Python's own adds up along the first dimension, torch's along all or those that are asked for.
    const bool isPython = a.space != Namespace::Torch && a.size() == 1;
    return isPython ? reduceTensor(Op::ReduceSum, *a.values[0].view, {0}, false, a.call) : reduceFirst(a);
  }
  if (!takes(a, 1, 2))
    return {};
  const auto elements = elementsOf(a.values[0], a.ranges[0], "'sum'");
  if (!elements)
    return {};
  Object total = a.size() == 2 ? asNumber(a.values[1], a.ranges[1]) : knownInt(0);
  for (const Object &element : *elements) {
    const Object number = failed() ? Object() : asNumber(element, a.ranges[0]);
    if (failed())
      return {};
    // Bools of the run time count as torch's sum() counts them, not as '+' joins them.
    const auto counted = [&](const Object &x) {
      return x.isKnown() || lower.kind(x.value) != Kind::Bool ? x : runtime(lower.toInt(x.value));
    };
    total = arithmetic("+", counted(total), counted(number), a.call);
  }
  return total;
}

Object Sema::pyAllAny(Arguments &a, const PythonFunction &self) {
  if (a.size() > 0 && isTensor(a.values[0]))
    return reduceFirst(a);
  if (!takes(a, 1, 1))
    return {};
  const auto elements = elementsOf(a.values[0], a.ranges[0], fmt::format("'{}'", a.name));
  if (!elements)
    return {};
  const bool isAll = self.names == "all";
  Object result = knownBool(isAll);
  for (const Object &element : *elements) {
    if (const auto known = truth(element)) {
      if (*known != isAll)
        return knownBool(!isAll);
      continue;
    }
    const Object number = asNumber(element, a.ranges[0]);
    if (failed())
      return {};
    if (!lower.isCondition(number.value, fmt::format("'{}'", a.name)))
      return checked(number.value, a.ranges[0]);
    result = result.isKnown() ? number : runtime(lower.op(isAll ? Op::LogicalAnd : Op::LogicalOr, {result.value, number.value}));
  }
  return result;
}

Object Sema::pyStr(Arguments &a, const PythonFunction &self) {
  if (!takes(a, 1, 1))
    return {};
  return text(self.names == "repr" ? quoted(a.values[0]) : textOf(a.values[0]).value_or("?"));
}

Object Sema::pyCallable(Arguments &a, const PythonFunction &) { return takes(a, 1, 1) ? knownBool(a.values[0].isCallable()) : Object(); }

Object Sema::pyPartial(Arguments &a, const PythonFunction &) {
  if (a.size() == 0 || !a.keywords[0].empty() || !a.values[0].isCallable())
    return fail(a.call, "'partial' needs a function first", "e.g. functools.partial(f, offset=3)");
  Applied applied;
  applied.function = a.values[0];
  for (std::size_t i = 1; i < a.size(); ++i)
    if (a.keywords[i].empty())
      applied.arguments.push_back(a.values[i]);
    else
      applied.keywords.emplace_back(a.keywords[i], a.values[i]);
  Object object;
  object.tag = Tag::Partial;
  object.applied = &applieds.emplace_back(std::move(applied));
  return object;
}

Object Sema::pyReduce(Arguments &a, const PythonFunction &) {
  if (!takes(a, 2, 3))
    return {};
  const auto elements = a.values[0].isCallable() ? elementsOf(a.values[1], a.ranges[1], "'reduce'") : std::nullopt;
  if (!elements)
    return failed() ? Object() : fail(a.ranges[0], "'reduce' needs a function first", "e.g. functools.reduce(lambda x, y: x | y, list)");
  std::size_t begin = 0;
  if (a.size() == 2 && elements->empty())
    return fail(a.call, "'reduce' of nothing has no value", "give an initial value");
  Object total = a.size() == 3 ? a.values[2] : (*elements)[begin++];
  for (std::size_t i = begin; i < elements->size() && !failed(); ++i) {
    Arguments pair{{total, (*elements)[i]}, {{}, {}}, {a.call, a.call}, a.call, "reduce"};
    total = call(a.values[0], pair);
  }
  return total;
}

Object Sema::pyMap(Arguments &a, const PythonFunction &) {
  if (!takes(a, 2, 2))
    return {};
  const auto elements = a.values[0].isCallable() ? elementsOf(a.values[1], a.ranges[1], "'map'") : std::nullopt;
  if (!elements)
    return failed() ? Object() : fail(a.ranges[0], "'map' needs a function first", "e.g. map(lambda x: x + 1, list)");
  std::vector<Object> mapped;
  for (const Object &element : *elements) {
    Arguments one{{element}, {{}}, {a.call}, a.call, "map"};
    mapped.push_back(call(a.values[0], one));
    if (failed())
      return {};
  }
  return tuple(std::move(mapped));
}

Object Sema::pyMasks(Arguments &a, const PythonFunction &self) {
  Combined combined;
  combined.how = self.names.starts_with("and")   ? Combined::How::And
                 : self.names.starts_with("or")  ? Combined::How::Or
                 : self.names.starts_with("xor") ? Combined::How::Xor
                                                 : Combined::How::Not;
  if (!takes(a, combined.how == Combined::How::Not ? 1 : 0,
             combined.how == Combined::How::Not ? 1 : std::numeric_limits<std::size_t>::max()))
    return {};
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!a.values[i].isCallable())
      return fail(a.ranges[i], fmt::format("'{}' combines mask_mods, this is no function", a.name),
                  "give functions (b, h, q_idx, kv_idx) -> bool");
    combined.functions.push_back(a.values[i]);
  }
  Object object;
  object.tag = Tag::Combined;
  object.combined = &combineds.emplace_back(std::move(combined));
  return object;
}

Object Sema::pyNoopMask(Arguments &a, const PythonFunction &) { return takes(a, 4, 4) ? knownBool(true) : Object(); }

Object Sema::pyDevice(Arguments &, const PythonFunction &) {
  Object object;
  object.tag = Tag::Opaque;
  return object;
}

/// new_zeros, zeros ...: a number, or a tensor of equal elements.
Object Sema::pyNew(Arguments &a, const PythonFunction &self) {
  const bool isMethod = self.names.starts_with('.');
  const bool needsValue = self.names.find("full") != std::string_view::npos;
  std::vector<Object> positional;
  Object type, value;
  bool hasReceiver = false;
  Object receiver;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (isMethod && !hasReceiver) {
      receiver = a.values[i];
      hasReceiver = true;
    } else if (a.keywords[i] == "dtype") {
      type = a.values[i];
    } else if (a.keywords[i] == "fill_value") {
      value = a.values[i];
    } else if (a.keywords[i].empty() || a.keywords[i] == "size") {
      positional.push_back(a.values[i]);
    }
  }
  if (needsValue && value.tag == Tag::None && positional.size() == 2) {
    value = positional[1];
    positional.pop_back();
  }
  std::vector<std::int64_t> sizes;
  if (!takeShape(positional, a.call, sizes))
    return {};
  Object number = needsValue ? asNumber(value, a.call) : knownInt(self.names.find("ones") != std::string_view::npos);
  if (failed())
    return {};
  DType made = expr::dtypeOf(hasReceiver ? lower.kind(receiver.value) : needsValue ? lower.kind(number.value) : Kind::Float);
  if (type.tag != Tag::None) {
    Argument argument;
    if (!toArgument(type, a.call, argument) || argument.tag != Argument::Tag::Dtype)
      return failed() ? Object() : fail(a.call, "expected a dtype", "e.g. torch.float32");
    made = argument.dtype;
  }
  if (!sizes.empty() && number.isKnown()) {
    std::size_t count = 1;
    for (const std::int64_t size : sizes)
      count *= static_cast<std::size_t>(size);
    return makeConstant(made, std::move(sizes), std::vector<PyNumber>(count, numberOf(number)), a.call);
  }
  if (!sizes.empty())
    return fail(a.call, "the elements of a tensor must be known when the formula is read", "use the number itself: it is broadcast");
  Object result = checked(lower.cast(number.value, made), a.call);
  if (number.isKnown() && !failed())
    result.known = lower.cast(number.known, made);
  return result;
}

Object Sema::pyDict(Arguments &a, const PythonFunction &) {
  const Object made = dictionary({});
  if (a.size() > 1 && a.keywords[0].empty() && a.keywords[1].empty())
    return fail(a.call, "'dict' takes one dictionary or list of pairs, and named values", "e.g. dict(window=3)");
  dictUpdate(made, a);
  return failed() ? Object() : made;
}

Object Sema::pySet(Arguments &a, const PythonFunction &) {
  if (!takes(a, 0, 1))
    return {};
  const auto elements = a.size() ? elementsOf(a.values[0], a.ranges[0], fmt::format("'{}'", a.name)) : std::optional(std::vector<Object>());
  return elements ? setOf(*elements, a.call) : Object();
}

std::span<const PythonFunction> pythonFunctions() {
  static const PythonFunction kFunctions[] = {
      {"range", &Sema::pyRange},
      {"len", &Sema::pyLen},
      {"tuple", &Sema::pyTuple},
      {"list", &Sema::pyTuple},
      {"dict", &Sema::pyDict},
      {"set frozenset", &Sema::pySet},
      {"sorted", &Sema::pySorted},
      {"divmod", &Sema::pyDivmod},
      {"gcd", &Sema::pyIntMath},
      {"lcm", &Sema::pyIntMath},
      {"isqrt", &Sema::pyIntMath},
      {"comb", &Sema::pyCount},
      {"perm", &Sema::pyCount},
      {"factorial", &Sema::pyCount},
      {"prod", &Sema::pyProduct},
      {".bit_length", &Sema::pyBitLength},
      {"isinstance", &Sema::pyIsInstance},
      {"getattr", &Sema::pyAttribute},
      {"hasattr", &Sema::pyAttribute},
      {"print", &Sema::pyPrint},
      {"enumerate", &Sema::pyEnumerate},
      {"zip", &Sema::pyZip},
      {"reversed", &Sema::pyReversed},
      {"sum", &Sema::pySum},
      {"all", &Sema::pyAllAny},
      {"any", &Sema::pyAllAny},
      {"str", &Sema::pyStr},
      {"repr", &Sema::pyStr},
      {"callable", &Sema::pyCallable},
      {"partial", &Sema::pyPartial},
      {"reduce", &Sema::pyReduce},
      {"map", &Sema::pyMap},
      {"wraps", &Sema::pyUnchanged},
      {"compile lru_cache cache staticmethod contextmanager no_grad inference_mode enable_grad nullcontext", &Sema::pyUnchanged},
      {"and_masks", &Sema::pyMasks},
      {"or_masks", &Sema::pyMasks},
      {"xor_masks", &Sema::pyMasks},
      {"not_mask", &Sema::pyMasks},
      {"noop_mask", &Sema::pyNoopMask},
      {"finfo", &Sema::pyFinfo},
      {"iinfo", &Sema::pyFinfo},
      {"device", &Sema::pyDevice},
      {"tensor as_tensor asarray", &Sema::pyTensor},
      {"arange", &Sema::pyArange},
      {"linspace", &Sema::pyLinspace},
      {"eye", &Sema::pyEye},
      {"cat concat concatenate", &Sema::pyCat},
      {"stack", &Sema::pyCat},
      {"zeros empty", &Sema::pyNew},
      {"ones", &Sema::pyNew},
      {"full", &Sema::pyNew},
      {".new_zeros .new_empty", &Sema::pyNew},
      {".new_ones", &Sema::pyNew},
      {".new_full", &Sema::pyNew},
  };
  return kFunctions;
}

const PythonFunction *findPython(std::string_view name, bool asMethod) {
  using Index = std::unordered_map<std::string_view, const PythonFunction *>;
  static const std::pair<Index, Index> kIndex = [] {
    std::pair<Index, Index> made;
    for (const std::span<const PythonFunction> table : {pythonFunctions(), tableFunctions()})
      for (const PythonFunction &python : table)
        forEachName(python.names,
                    [&](std::string_view synonym, bool methodOnly) { (methodOnly ? made.second : made.first).emplace(synonym, &python); });
    return made;
  }();
  const Index &index = asMethod ? kIndex.second : kIndex.first;
  const auto found = index.find(name);
  return found == index.end() ? nullptr : found->second;
}

} // namespace attnjit::expr
