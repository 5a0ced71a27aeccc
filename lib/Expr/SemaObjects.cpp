// Functions of Python that ask what an object is, sort objects, or stand for operators; dtypes; and what has no effect in a formula.
#include "Expr/SemaImpl.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

namespace attnjit::expr {

// --- dtypes ---

std::span<const std::pair<std::string_view, DType>> torchDtypes() {
  static constexpr std::pair<std::string_view, DType> kDtypes[] = {{"float32", DType::F32},
                                                                   {"float", DType::F32},
                                                                   {"float64", DType::F64},
                                                                   {"double", DType::F64},
                                                                   {"float16", DType::F16},
                                                                   {"half", DType::F16},
                                                                   {"bfloat16", DType::BF16},
                                                                   {"float8_e4m3fn", DType::F8E4M3},
                                                                   {"float8_e5m2", DType::F8E5M2},
                                                                   {"int64", DType::I64},
                                                                   {"long", DType::I64},
                                                                   {"int32", DType::I32},
                                                                   {"int", DType::I32},
                                                                   {"int16", DType::I16},
                                                                   {"short", DType::I16},
                                                                   {"int8", DType::I8},
                                                                   {"uint8", DType::U8},
                                                                   {"bool", DType::Bool}};
  return kDtypes;
}

Object Sema::dtype(DType type) const {
  Object object;
  object.tag = Tag::Dtype;
  object.dtype = type;
  return object;
}

namespace {

/// The numbers of a float format of `mantissa` bits behind the point, whose largest finite number is `largest`.
struct FloatFormat {
  DType dtype;
  double largest;
  int mantissa, minExponent, bits;
};
constexpr FloatFormat kFloats[] = {{DType::F64, std::numeric_limits<double>::max(), 52, -1022, 64},
                                   {DType::F32, std::numeric_limits<float>::max(), 23, -126, 32},
                                   {DType::BF16, 0x1.FEp127, 7, -126, 16},
                                   {DType::F16, 65504, 10, -14, 16},
                                   {DType::F8E4M3, 448, 3, -6, 8},
                                   {DType::F8E5M2, 57344, 2, -14, 8}};

} // namespace

Object Sema::pyFinfo(Arguments &a, const PythonFunction &self) {
  const bool wantsFloat = self.names == "finfo";
  if (!takes(a, wantsFloat ? 0 : 1, 1))
    return {};
  Argument argument;
  if (a.size() && (a.values[0].tag == Tag::Number || a.values[0].tag == Tag::View || !toArgument(a.values[0], a.ranges[0], argument)))
    argument = {};
  const bool isDtype = a.size() == 0 || argument.tag == Argument::Tag::Dtype;
  if (failed() || !isDtype || isFloat(argument.dtype) != wantsFloat || argument.dtype == DType::Bool)
    return failed() ? Object()
                    : fail(a.ranges[0], fmt::format("'{}' needs a dtype of {}", a.name, wantsFloat ? "floats" : "ints"),
                           wantsFloat ? "e.g. torch.finfo(torch.float32).min" : "e.g. torch.iinfo(torch.int64).max");
  Object object = dtype(argument.dtype);
  object.tag = Tag::Finfo;
  return object;
}

Object Sema::finfoMember(const Object &info, const AstNode &node) {
  const auto bitsOf = [](DType type) { return static_cast<int>(8 * sizeInBytes(type)); };
  if (node.text == "bits")
    return knownInt(bitsOf(info.dtype));
  if (!isFloat(info.dtype)) {
    const int bits = bitsOf(info.dtype);
    const bool isSigned = info.dtype != DType::U8;
    const std::int64_t largest = static_cast<std::int64_t>(~std::uint64_t{0} >> (64 - bits + isSigned));
    if (node.text == "min" || node.text == "max")
      return knownInt(node.text == "max" ? largest : isSigned ? -largest - 1 : 0);
    return fail(node.token, fmt::format("iinfo has no '{}'", node.text), "it has min, max and bits");
  }
  const FloatFormat &format =
      *std::find_if(std::begin(kFloats), std::end(kFloats), [&](const FloatFormat &row) { return row.dtype == info.dtype; });
  const double smallest = std::ldexp(1.0, format.minExponent);
  const std::pair<std::string_view, double> members[] = {{"min", -format.largest},
                                                         {"max", format.largest},
                                                         {"eps", std::ldexp(1.0, -format.mantissa)},
                                                         {"tiny", smallest},
                                                         {"smallest_normal", smallest}};
  for (const auto &[name, value] : members)
    if (name == node.text)
      return constant({Kind::Float, 0, value});
  return fail(node.token, fmt::format("finfo has no '{}'", node.text), "it has min, max, eps, tiny, smallest_normal and bits");
}

// --- what an object is ---

Object Sema::typeNamed(std::string_view name) const {
  Object object;
  object.tag = Tag::Type;
  object.text = name;
  return object;
}

bool isTypeName(std::string_view name) {
  static constexpr std::string_view kNames[] = {"Tensor",      "BoolTensor", "IntTensor", "LongTensor",
                                                "FloatTensor", "Callable",   "Sequence",  "object"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

/// isinstance(object, type); empty where `type` is no type.
std::optional<bool> Sema::hasType(const Object &object, const Object &type) const {
  // A number of the run time is a tensor, unless it comes from the call: a captured number, a size.
  const bool isScalar = object.isNumber() && (object.isKnown() || lower.builder[object.value].op == Op::Scalar);
  const auto isNumberOf = [&](std::initializer_list<Kind> kinds) {
    return isScalar && std::find(kinds.begin(), kinds.end(), lower.kind(object.isKnown() ? object.known : object.value)) != kinds.end();
  };
  if (type.tag == Tag::Type) {
    if (type.text == "Callable")
      return object.isCallable();
    if (type.text == "Sequence")
      return object.isSequence() || object.tag == Tag::String;
    return type.text == "object" || object.tag == Tag::View || (object.isNumber() && !isScalar);
  }
  if (type.tag == Tag::None)
    return object.tag == Tag::None;
  if (type.tag == Tag::Builtin) {
    const std::string_view names = type.builtin->names;
    if (names == "float")
      return isNumberOf({Kind::Float});
    if (names == "bool")
      return isNumberOf({Kind::Bool});
    if (names.starts_with("int"))
      return isNumberOf({Kind::Bool, Kind::Int});
  }
  if (type.tag == Tag::Python) {
    static constexpr std::pair<std::string_view, Tag> kTypes[] = {{"str", Tag::String}, {"tuple", Tag::Tuple},     {"list", Tag::List},
                                                                  {"dict", Tag::Dict},  {"partial", Tag::Partial}, {"range", Tag::Tuple}};
    for (const auto &[names, tag] : kTypes)
      if (type.python->names == names)
        return object.tag == tag;
  }
  return std::nullopt;
}

Object Sema::pyIsInstance(Arguments &a, const PythonFunction &) {
  if (!takes(a, 2, 2))
    return {};
  const std::vector<Object> types = a.values[1].tag == Tag::Tuple ? *a.values[1].items : std::vector<Object>{a.values[1]};
  bool any = false;
  for (const Object &type : types) {
    const std::optional<bool> has = hasType(a.values[0], type);
    if (!has)
      return fail(a.ranges[1], "'isinstance' needs a type that formulas know",
                  "these are int, float, bool, str, tuple, list, dict, torch.Tensor and Callable");
    any |= *has;
  }
  return knownBool(any);
}

Object Sema::pyAttribute(Arguments &a, const PythonFunction &self) {
  const bool asks = self.names == "hasattr";
  if (!takes(a, 2, asks ? 2 : 3))
    return {};
  if (a.values[1].tag != Tag::String)
    return fail(a.ranges[1], fmt::format("'{}' takes the name of an attribute", a.name), "e.g. getattr(torch, \"tanh\")");
  AstNode node;
  node.text = a.values[1].text;
  node.token = a.ranges[1];
  node.range = a.call;
  const Object found = attributeOf(a.values[0], node, a.ranges[0]);
  if (!asks && a.size() == 2)
    return found;
  const bool exists = !failed();
  error.reset();
  lower.problem.clear();
  lower.help.clear();
  return asks ? knownBool(exists) : exists ? found : a.values[2];
}

// --- order ---

/// Below, at or above 0 as x is less than, equal to or greater than y: numbers, texts and tuples of such, as long as they are known.
std::optional<int> Sema::order(const Object &x, const Object &y) {
  const Descent level(*this);
  const auto sign = [](bool isLess, bool isMore) { return static_cast<int>(isMore) - static_cast<int>(isLess); };
  if (!level)
    return std::nullopt;
  if (x.isKnown() && y.isKnown())
    return sign(pyCompare("<", numberOf(x), numberOf(y)), pyCompare(">", numberOf(x), numberOf(y)));
  if (x.tag == Tag::String && y.tag == Tag::String)
    return sign(x.text<y.text, x.text> y.text);
  if (!x.isSequence() || y.tag != x.tag)
    return std::nullopt;
  for (std::size_t i = 0; i < std::min(x.items->size(), y.items->size()); ++i)
    if (const std::optional<int> one = order((*x.items)[i], (*y.items)[i]); !one || *one != 0)
      return one;
  return sign(x.items->size() < y.items->size(), x.items->size() > y.items->size());
}

Object Sema::pySorted(Arguments &a, const PythonFunction &) {
  Object key, reverse = knownBool(false);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a.keywords[i] == "key")
      key = a.values[i];
    else if (a.keywords[i] == "reverse")
      reverse = a.values[i];
    else
      a.values[kept] = a.values[i], a.keywords[kept] = a.keywords[i], a.ranges[kept++] = a.ranges[i];
  a.values.resize(kept);
  a.keywords.resize(kept);
  a.ranges.resize(kept);
  if (!takes(a, 1, 1))
    return {};
  const auto elements = elementsOf(a.values[0], a.ranges[0], fmt::format("'{}'", a.name));
  if (!elements || !spend(kElementCost * elements->size(), a.call))
    return {};
  std::vector<Object> keys = *elements;
  for (Object &one : keys)
    if (key.tag != Tag::None) {
      Arguments single{{one}, {{}}, {a.call}, a.call, a.name};
      one = call(key, single);
      if (failed())
        return {};
    }
  const auto isOrdered = [&](const Object &one) {
    const bool isNan = one.isKnown() && std::isnan(numberOf(one).asDouble());
    return !isNan && order(one, one) && order(one, keys[0]);
  };
  if (!std::all_of(keys.begin(), keys.end(), isOrdered))
    return failed() ? Object()
                    : fail(a.ranges[0], fmt::format("'{}' needs numbers or texts that are known when the formula is read", a.name),
                           "what is known only at run time has no order here");
  std::vector<std::size_t> places(keys.size());
  std::iota(places.begin(), places.end(), std::size_t{0});
  const bool descends = truth(reverse).value_or(false);
  std::stable_sort(places.begin(), places.end(), [&](std::size_t i, std::size_t j) {
    return (descends ? order(keys[j], keys[i]) : order(keys[i], keys[j])).value_or(0) < 0;
  });
  std::vector<Object> sorted;
  for (const std::size_t place : places)
    sorted.push_back((*elements)[place]);
  return list(std::move(sorted));
}

// --- numbers ---

Object Sema::pyDivmod(Arguments &a, const PythonFunction &) {
  if (!takes(a, 2, 2))
    return {};
  const Object x = asNumber(a.values[0], a.ranges[0]), y = failed() ? Object() : asNumber(a.values[1], a.ranges[1]);
  const Object quotient = failed() ? Object() : arithmetic("//", x, y, a.call);
  const Object rest = failed() ? Object() : arithmetic("%", x, y, a.call);
  return failed() ? Object() : tuple({quotient, rest});
}

Object Sema::pyIntMath(Arguments &a, const PythonFunction &self) {
  std::int64_t result = self.names == "lcm" ? 1 : 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto known = knownIntOf(a.values[i], a.ranges[i], fmt::format("an argument of '{}'", a.name));
    if (!known || *known == INT64_MIN)
      return failed() ? Object() : fail(a.ranges[i], "this integer is too large", "");
    const std::int64_t size = std::abs(*known);
    if (self.names == "gcd") {
      result = std::gcd(result, size);
    } else if (self.names == "isqrt") {
      if (*known < 0)
        return fail(a.ranges[i], "the root of a negative number", "");
      result = static_cast<std::int64_t>(std::sqrt(static_cast<double>(size)));
      while (result > 0 && result > size / result)
        --result;
      while (result + 1 <= size / (result + 1))
        ++result;
    } else if (result == 0 || size == 0) {
      result = 0;
    } else if (__builtin_mul_overflow(result / std::gcd(result, size), size, &result)) {
      return fail(a.call, "the result of 'lcm' does not fit into 64 bits", "");
    }
  }
  return a.size() == (self.names == "isqrt" ? 1u : 2u)
             ? knownInt(result)
             : fail(a.call, fmt::format("'{}' takes other arguments", a.name), "e.g. math.gcd(12, 18)");
}

/// comb(n, k), perm(n, k) and factorial(n): products of falling factors.
Object Sema::pyCount(Arguments &a, const PythonFunction &self) {
  const bool isFactorial = self.names == "factorial", isComb = self.names == "comb";
  if (!takes(a, isComb ? 2 : 1, isFactorial ? 1 : 2))
    return {};
  std::int64_t numbers[2] = {};
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto known = knownIntOf(a.values[i], a.ranges[i], fmt::format("an argument of '{}'", a.name));
    if (!known)
      return {};
    if (*known < 0)
      return raise("ValueError", a.ranges[i], fmt::format("'{}' of a negative number", a.name), "it counts arrangements");
    numbers[i] = *known;
  }
  const std::int64_t n = numbers[0];
  std::int64_t k = a.size() == 1 ? n : numbers[1];
  if (k > n)
    return knownInt(0);
  if (isComb)
    k = std::min(k, n - k);
  __int128 result = 1; // of comb exact after every step: it is a binomial coefficient
  for (std::int64_t i = 1; i <= k; ++i) {
    result = result * (isComb ? n - k + i : n - i + 1) / (isComb ? i : 1);
    if (result > INT64_MAX)
      return fail(a.call, fmt::format("the result of '{}' does not fit into 64 bits", a.name),
                  "compute it before the call and capture it as a float");
  }
  return knownInt(static_cast<std::int64_t>(result));
}

Object Sema::pyBitLength(Arguments &a, const PythonFunction &) {
  const auto known = takes(a, 1, 1) ? knownIntOf(a.values[0], a.call, "the number of '.bit_length'") : std::nullopt;
  if (!known)
    return {};
  const auto size = *known < 0 ? 0 - static_cast<std::uint64_t>(*known) : static_cast<std::uint64_t>(*known);
  return knownInt(static_cast<std::int64_t>(std::bit_width(size)));
}

Object Sema::pyProduct(Arguments &a, const PythonFunction &) {
  if (a.size() > 0 && isTensor(a.values[0]) && !(isKnownTensor(a.values[0]) && a.values[0].view->rank == 1))
    return failReduction(a.name, a.call);
  const auto elements = takes(a, 1, 1) ? elementsOf(a.values[0], a.ranges[0], "'prod'") : std::nullopt;
  if (!elements)
    return {};
  Object product = knownInt(1);
  for (const Object &element : *elements) {
    const Object number = failed() ? Object() : asNumber(element, a.ranges[0]);
    product = failed() ? Object() : arithmetic("*", product, number, a.call);
  }
  return failed() ? Object() : product;
}

// --- operators as functions ---

namespace {

struct OperatorFunction {
  std::string_view name, spelling;
};
/// The module `operator`; unary ones have one argument.
constexpr OperatorFunction kOperators[] = {{"add", "+"},  {"sub", "-"},     {"mul", "*"},     {"truediv", "/"}, {"floordiv", "//"},
                                           {"mod", "%"},  {"pow", "**"},    {"matmul", "@"},  {"and_", "&"},    {"or_", "|"},
                                           {"xor", "^"},  {"lshift", "<<"}, {"rshift", ">>"}, {"lt", "<"},      {"le", "<="},
                                           {"gt", ">"},   {"ge", ">="},     {"eq", "=="},     {"ne", "!="},     {"is_", "is"},
                                           {"neg", "-x"}, {"pos", "+x"},    {"inv", "~x"},    {"invert", "~x"}, {"not_", "not"}};

} // namespace

decltype(PythonFunction::call) pythonOperator() { return &Sema::pyOperator; }

const PythonFunction *findOperator(std::string_view name) {
  static const std::vector<PythonFunction> kFunctions = [] {
    std::vector<PythonFunction> made;
    for (const OperatorFunction &row : kOperators)
      made.push_back({row.name, pythonOperator()});
    return made;
  }();
  const auto found = std::find_if(kFunctions.begin(), kFunctions.end(), [&](const PythonFunction &row) { return row.names == name; });
  return found == kFunctions.end() ? nullptr : &*found;
}

Object Sema::pyOperator(Arguments &a, const PythonFunction &self) {
  std::string_view spelling = std::find_if(std::begin(kOperators), std::end(kOperators), [&](const OperatorFunction &row) {
                                return row.name == self.names;
                              })->spelling;
  const bool isUnary = spelling == "not" || spelling.ends_with("x");
  if (!takes(a, isUnary ? 1 : 2, isUnary ? 1 : 2))
    return {};
  AstNode node;
  node.range = node.token = a.call;
  node.text = isUnary && spelling != "not" ? spelling.substr(0, 1) : spelling;
  if (spelling == "not") {
    const std::optional<bool> known = truth(a.values[0]);
    const Object number = known ? Object() : asNumber(a.values[0], a.ranges[0]);
    if (failed() || known)
      return failed() ? Object() : knownBool(!*known);
    return lower.isCondition(number.value, "'not'") ? runtime(lower.op(Op::LogicalNot, {number.value})) : checked(number.value, a.call);
  }
  if (isUnary)
    return mapTensors({a.values[0]}, a.call, [this, node, range = a.ranges[0]](const auto &numbers) {
      const Object number = asNumber(numbers[0], range);
      return failed() ? Object() : unary(node, number);
    });
  const bool compares = std::string_view("<>=!").find(spelling[0]) != std::string_view::npos && spelling != "<<" && spelling != ">>";
  return compares || spelling == "is" ? compare(spelling, a.values[0], a.values[1], a.ranges[0], a.ranges[1], a.call)
                                      : binary(spelling, a.values[0], a.values[1], a.ranges[0], a.ranges[1], node);
}

// --- without effect ---

Object Sema::pyPrint(Arguments &, const PythonFunction &) { return {}; }

/// torch.compile(f), functools.lru_cache(maxsize=8)(f), functools.wraps(g)(f): f. What comes in front of f, or without it, is the same
/// again.
Object Sema::pyUnchanged(Arguments &a, const PythonFunction &self) {
  const bool isDecorated = self.names != "wraps" && a.size() > 0 && a.keywords[0].empty() && a.values[0].isCallable();
  if (isDecorated)
    return a.values[0];
  Object again;
  again.tag = Tag::Python;
  again.python = findPython("compile", false);
  return again;
}

} // namespace attnjit::expr
