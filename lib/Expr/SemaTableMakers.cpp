// The functions of torch that make tensors of known elements.
#include "Expr/SemaImpl.h"

#include "Expr/Table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

namespace attnjit::expr {

namespace {

/// What two dtypes become together: the larger kind, and within it the wider one.
DType joined(DType x, DType y) {
  if (kindOf(x) != kindOf(y))
    return kindOf(x) > kindOf(y) ? x : y;
  if (x == y)
    return x;
  if (isFloat(x))
    return x == DType::F64 || y == DType::F64 ? DType::F64 : DType::F32;
  if ((x == DType::U8 && y == DType::I8) || (x == DType::I8 && y == DType::U8))
    return DType::I16;
  return sizeInBytes(x) >= sizeInBytes(y) ? (x == DType::U8 ? y : x) : y;
}

} // namespace

// --- arguments ---

/// The argument `dtype`, taken out. Where there is none, or none that counts, empty.
std::optional<DType> Sema::takeDtype(Arguments &a) {
  std::optional<DType> type;
  static constexpr std::string_view kMeanNothing[] = {"device", "requires_grad", "layout",   "pin_memory",
                                                      "out",    "memory_format", "generator"};
  for (std::size_t i = a.size(); i-- > 0;) {
    const bool meansNothing = std::find(std::begin(kMeanNothing), std::end(kMeanNothing), a.keywords[i]) != std::end(kMeanNothing);
    if (!meansNothing && a.keywords[i] != "dtype")
      continue;
    Argument argument;
    if (!meansNothing && a.values[i].tag != Tag::None) {
      if (!toArgument(a.values[i], a.ranges[i], argument) || argument.tag != Argument::Tag::Dtype) {
        if (!failed())
          fail(a.ranges[i], "expected a dtype", "e.g. torch.float32");
        return type;
      }
      type = argument.dtype;
    }
    const auto place = static_cast<std::ptrdiff_t>(i);
    a.values.erase(a.values.begin() + place);
    a.keywords.erase(a.keywords.begin() + place);
    a.ranges.erase(a.ranges.begin() + place);
  }
  return type;
}

/// The arguments in the order of `names`, None where there is none. Not true: an error.
bool Sema::takeNamed(Arguments &a, std::initializer_list<std::string_view> names, std::size_t least, std::vector<Object> &values) {
  values.assign(names.size(), Object());
  std::vector<bool> given(names.size(), false);
  std::size_t position = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto named = std::find(names.begin(), names.end(), a.keywords[i]);
    const std::size_t place = a.keywords[i].empty() ? position++ : static_cast<std::size_t>(named - names.begin());
    if (place >= names.size() || given[place]) {
      fail(a.ranges[i],
           a.keywords[i].empty()  ? fmt::format("'{}' takes at most {} arguments", a.name, names.size())
           : place < names.size() ? fmt::format("the argument '{}' is given twice", a.keywords[i])
                                  : fmt::format("'{}' has no argument '{}'", a.name, a.keywords[i]),
           fmt::format("it takes ({})", fmt::join(names, ", ")));
      return false;
    }
    values[place] = a.values[i];
    given[place] = true;
  }
  if (std::all_of(given.begin(), given.begin() + static_cast<std::ptrdiff_t>(least), [](bool one) { return one; }))
    return true;
  fail(a.call, fmt::format("'{}' needs at least {} argument{}", a.name, least, least == 1 ? "" : "s"),
       fmt::format("it takes ({})", fmt::join(names, ", ")));
  return false;
}

/// zeros(2, 3), zeros((2, 3))
bool Sema::takeShape(const std::vector<Object> &given, TextRange range, std::vector<std::int64_t> &sizes) {
  const std::vector<Object> values = given.size() == 1 && given[0].isSequence() ? *given[0].items : given;
  for (const Object &value : values) {
    const Object number = value.tag == Tag::View ? asNumber(value, range) : value;
    const auto size = failed() ? std::nullopt : knownIntOf(number, range, "a size");
    if (!size)
      return false;
    if (*size < 0)
      return fail(range, fmt::format("{} is no size", *size), "sizes are at least 0"), false;
    sizes.push_back(*size);
  }
  __int128 count = 1;
  for (const std::int64_t size : sizes)
    if (count *= size; count > static_cast<__int128>(kMaxTableElements))
      return fail(range, fmt::format("a tensor of more than {} elements", kMaxTableElements), "make it before the call and capture it"),
             false;
  return true;
}

// --- makers ---

bool Sema::readElements(const Object &data, TextRange range, std::vector<std::int64_t> &sizes, std::vector<PyNumber> &elements,
                        std::size_t dim) {
  const Descent level(*this);
  if (!level)
    return false;
  const bool isRow = data.isSequence() || (isKnownTensor(data) && data.view->rank > 0);
  std::optional<std::vector<Object>> rows;
  if (isRow && !(rows = elementsOf(data, range, "'tensor'")))
    return false;
  const bool isFirst = elements.empty() && dim == sizes.size();
  if (isRow && isFirst)
    sizes.push_back(static_cast<std::int64_t>(rows->size()));
  if (isRow ? dim >= sizes.size() || sizes[dim] != static_cast<std::int64_t>(rows->size()) : dim != sizes.size())
    return fail(range, "the lists of a tensor must have equal lengths", "e.g. [[1, 2], [3, 4]]"), false;
  if (isRow) {
    for (const Object &row : *rows)
      if (!readElements(row, range, sizes, elements, dim + 1))
        return false;
    return true;
  }
  const Object number = asNumber(data, range);
  if (failed())
    return false;
  if (!number.isKnown())
    return fail(range, "the elements of a tensor must be known when the formula is read",
                "choose between values with torch.where, or make the tensor before the call and capture it"),
           false;
  elements.push_back(numberOf(number));
  return spend(1, range);
}

/// torch.tensor([...]): of ints int64, of floats float32, of bools bool.
Object Sema::pyTensor(Arguments &a, const PythonFunction &) {
  const bool isTable = a.size() > 0 && (a.values[0].isSequence() || isKnownTensor(a.values[0]));
  if (!isTable) {
    Object scalar;
    scalar.tag = Tag::Builtin;
    scalar.builtin = findBuiltin("scalar_tensor", false);
    return callBuiltin(scalar, a);
  }
  std::optional<DType> type = takeDtype(a);
  std::vector<Object> values;
  if (failed() || !takeNamed(a, {"data"}, 1, values))
    return {};
  std::vector<std::int64_t> sizes;
  std::vector<PyNumber> elements;
  if (!readElements(values[0], a.ranges[0], sizes, elements, 0))
    return {};
  Kind kind = elements.empty() ? Kind::Float : Kind::Bool;
  for (const PyNumber &element : elements)
    kind = std::max(kind, element.kind);
  if (!type)
    type = isKnownTensor(values[0]) ? dtypeOf(*values[0].view) : expr::dtypeOf(kind);
  for (const PyNumber &element : elements)
    if (element.kind != Kind::Float && kindOf(*type) == Kind::Int && asElement(element, *type).i != element.i && !isKnownTensor(values[0]))
      return fail(a.call, fmt::format("{} does not fit torch.{}", element.i, *type == DType::U8 ? "uint8" : name(*type)),
                  "choose a wider dtype");
  return makeConstant(*type, std::move(sizes), std::move(elements), a.call);
}

Object Sema::pyArange(Arguments &a, const PythonFunction &) {
  const std::optional<DType> type = takeDtype(a);
  if (!failed() && a.size() == 1 && (a.keywords[0].empty() || a.keywords[0] == "end")) { // arange(end)
    a.values.insert(a.values.begin(), knownInt(0));
    a.keywords = {{}, {}};
    a.ranges.push_back(a.ranges[0]);
  }
  std::vector<Object> values;
  if (failed() || !takeNamed(a, {"start", "end", "step"}, 2, values))
    return {};
  if (values[2].tag == Tag::None)
    values[2] = knownInt(1);
  PyNumber bounds[3];
  Kind kind = Kind::Int;
  for (std::size_t i = 0; i < 3; ++i) {
    const Object number = asNumber(values[i], a.call);
    if (failed())
      return {};
    if (!number.isKnown())
      return fail(a.call, "the bounds of 'arange' must be known when the formula is read",
                  "a position is q_idx or kv_idx itself; a tensor whose length is a captured number has to be captured");
    bounds[i] = numberOf(number);
    kind = std::max(kind, bounds[i].kind);
  }
  const double start = bounds[0].asDouble(), step = bounds[2].asDouble();
  const __int128 distance = static_cast<__int128>(bounds[1].i) - bounds[0].i; // of ints, which a double would round
  const double count =
      kind == Kind::Int && step != 0 ? std::ceil(static_cast<double>(distance) / step) : std::ceil((bounds[1].asDouble() - start) / step);
  if (step == 0 || !(count >= 0))
    return fail(a.call, "'arange' does not reach its end by this step", "e.g. torch.arange(0, 8, 2)");
  if (count > static_cast<double>(kMaxTableElements))
    return fail(a.call, fmt::format("a tensor of more than {} elements", kMaxTableElements), "make it before the call and capture it");
  std::vector<PyNumber> elements;
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(count); ++i)
    elements.push_back(kind == Kind::Int ? PyNumber{Kind::Int, bounds[0].i + i * bounds[2].i, 0}
                                         : PyNumber{Kind::Float, 0, start + static_cast<double>(i) * step});
  const auto size = static_cast<std::int64_t>(elements.size());
  return makeConstant(type.value_or(expr::dtypeOf(kind)), {size}, std::move(elements), a.call);
}

Object Sema::pyLinspace(Arguments &a, const PythonFunction &) {
  const std::optional<DType> type = takeDtype(a);
  std::vector<Object> values;
  if (failed() || !takeNamed(a, {"start", "end", "steps"}, 3, values))
    return {};
  const Object first = asNumber(values[0], a.call), last = failed() ? Object() : asNumber(values[1], a.call);
  std::vector<std::int64_t> sizes;
  if (failed() || !takeShape({values[2]}, a.call, sizes))
    return {};
  if (!first.isKnown() || !last.isKnown())
    return fail(a.call, "the ends of 'linspace' must be known when the formula is read", "compute the value: start + i * step");
  const double start = numberOf(first).asDouble(), end = numberOf(last).asDouble();
  const std::int64_t count = sizes[0];
  const double step = count > 1 ? (end - start) / static_cast<double>(count - 1) : 0;
  std::vector<PyNumber> elements;
  for (std::int64_t i = 0; i < count; ++i) // from both ends, as torch does
    elements.push_back(
        {Kind::Float, 0,
         i < count / 2 || count == 1 ? start + static_cast<double>(i) * step : end - static_cast<double>(count - 1 - i) * step});
  return makeConstant(type.value_or(DType::F32), std::move(sizes), std::move(elements), a.call);
}

Object Sema::pyEye(Arguments &a, const PythonFunction &) {
  const std::optional<DType> type = takeDtype(a);
  std::vector<Object> values;
  if (failed() || !takeNamed(a, {"n", "m"}, 1, values))
    return {};
  std::vector<std::int64_t> sizes;
  if (!takeShape({values[0], values[1].tag == Tag::None ? values[0] : values[1]}, a.call, sizes))
    return {};
  std::vector<PyNumber> elements(static_cast<std::size_t>(sizes[0] * sizes[1]), PyNumber{});
  for (std::int64_t i = 0; i < std::min(sizes[0], sizes[1]); ++i)
    elements[static_cast<std::size_t>(i * sizes[1] + i)].i = 1;
  return makeConstant(type.value_or(DType::F32), std::move(sizes), std::move(elements), a.call);
}

/// cat and stack
Object Sema::pyCat(Arguments &a, const PythonFunction &self) {
  const bool stacks = self.names.starts_with("stack");
  std::vector<Object> values;
  if (!takeNamed(a, {"tensors", "dim"}, 1, values))
    return {};
  const auto rows = elementsOf(values[0], a.ranges[0], fmt::format("'{}'", a.name));
  if (!rows)
    return {};
  std::vector<const Constant *> parts;
  for (const Object &row : *rows)
    if (parts.push_back(knownTensor(row, a.ranges[0])); failed())
      return {};
  if (parts.empty() || (!stacks && parts[0]->sizes.empty()))
    return fail(a.call, fmt::format("'{}' joins tensors", a.name),
                stacks ? "give at least one" : "numbers have no dimension: use torch.stack");
  const int rank = static_cast<int>(parts[0]->sizes.size());
  int dim = 0;
  if (values[1].tag != Tag::None && !dimOf(values[1], rank + stacks, a.call, dim))
    return {};
  const auto withoutDim = [&](std::vector<std::int64_t> sizes) {
    if (!stacks && dim < static_cast<int>(sizes.size()))
      sizes.erase(sizes.begin() + dim);
    return sizes;
  };
  DType type = parts[0]->info.dtype;
  std::int64_t size = 0;
  for (const Constant *part : parts) {
    if (part->sizes.size() != parts[0]->sizes.size() || withoutDim(part->sizes) != withoutDim(parts[0]->sizes))
      return fail(a.call,
                  fmt::format("'{}' joins tensors of one shape{}", a.name, stacks ? "" : " but for the dimension along which it does"),
                  "reshape them first");
    type = joined(type, part->info.dtype);
    size += stacks ? 1 : part->sizes[static_cast<std::size_t>(dim)];
  }
  std::vector<std::int64_t> sizes = parts[0]->sizes;
  if (stacks)
    sizes.insert(sizes.begin() + dim, size);
  else
    sizes[static_cast<std::size_t>(dim)] = size;
  std::size_t outer = 1;
  for (int i = 0; i < dim; ++i)
    outer *= static_cast<std::size_t>(sizes[static_cast<std::size_t>(i)]);
  std::vector<PyNumber> elements;
  for (std::size_t row = 0; row < outer; ++row)
    for (const Constant *part : parts) {
      const std::size_t count = part->elements.size() / std::max<std::size_t>(outer, 1);
      const auto begin = part->elements.begin() + static_cast<std::ptrdiff_t>(row * count);
      elements.insert(elements.end(), begin, begin + static_cast<std::ptrdiff_t>(count));
    }
  return makeConstant(type, std::move(sizes), std::move(elements), a.call);
}

} // namespace attnjit::expr
