// The functions of torch that only tensors of known elements have: what they compute is computed when the formula is read.
#include "Expr/SemaImpl.h"

#include "Expr/Table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace attnjit::expr {

namespace {

/// A tensor along one of its dimensions: [outer, size, inner].
struct Axis {
  std::size_t outer = 1, size = 1, inner = 1;
  Axis(const std::vector<std::int64_t> &sizes, int dim) {
    for (std::size_t i = 0; i < sizes.size(); ++i)
      (static_cast<int>(i) < dim ? outer : static_cast<int>(i) == dim ? size : inner) *= static_cast<std::size_t>(sizes[i]);
  }
  std::size_t at(std::size_t row, std::size_t place, std::size_t column) const { return (row * size + place) * inner + column; }
};

/// The elements along the axis at those places, in that order.
std::vector<PyNumber> taken(const std::vector<PyNumber> &from, const Axis &axis, const std::vector<std::size_t> &places) {
  std::vector<PyNumber> elements;
  for (std::size_t row = 0; row < axis.outer; ++row)
    for (const std::size_t place : places)
      for (std::size_t column = 0; column < axis.inner; ++column)
        elements.push_back(from[axis.at(row, place, column)]);
  return elements;
}

/// NaN is the largest, as in torch.
bool isLess(const PyNumber &x, const PyNumber &y) {
  if (x.kind != Kind::Float)
    return x.i < y.i;
  return std::isnan(y.f) ? !std::isnan(x.f) : x.f < y.f;
}

bool isSame(const PyNumber &x, const PyNumber &y) { return x.kind == Kind::Float ? x.f == y.f : x.i == y.i; }

} // namespace

/// cumsum and cumprod: of ints and bools in int64.
Object Sema::pyScan(Arguments &a, const PythonFunction &) {
  const std::optional<DType> asked = takeDtype(a);
  std::vector<Object> values;
  int dim = 0;
  const Constant *tensor = failed() || !takeNamed(a, {"input", "dim"}, 2, values) ? nullptr : knownInput(values[0], a);
  if (!tensor || !dimOf(values[1], static_cast<int>(tensor->sizes.size()), a.call, dim))
    return {};
  const DType type = asked.value_or(kindOf(tensor->info.dtype) == Kind::Float ? tensor->info.dtype : DType::I64);
  const Axis axis(tensor->sizes, dim);
  std::vector<PyNumber> elements = tensor->elements;
  for (PyNumber &element : elements)
    element = asElement(element, type);
  const Op op = a.name == "cumprod" ? Op::Mul : Op::Add;
  for (std::size_t row = 0; row < axis.outer; ++row)
    for (std::size_t place = 1; place < axis.size; ++place)
      for (std::size_t column = 0; column < axis.inner; ++column) {
        PyNumber &here = elements[axis.at(row, place, column)];
        Object next;
        next.known = lower.op(op, {constant(elements[axis.at(row, place - 1, column)]).value, constant(here).value});
        here = asElement(numberOf(next), type);
      }
  return makeConstant(type, tensor->sizes, std::move(elements), a.call);
}

/// repeat_interleave(t, repeats, dim): every element so often, or each as often as `repeats` says.
Object Sema::pyRepeat(Arguments &a, const PythonFunction &) {
  std::vector<Object> values;
  if (!takeNamed(a, {"input", "repeats", "dim", "output_size"}, 1, values))
    return {};
  if (values[1].tag == Tag::None && isKnownTensor(values[0])) { // of a tensor of counts: which one each element is of
    values[1] = values[0];
    const Constant *counts = valuesOf(*values[0].view, a.call);
    std::vector<PyNumber> places;
    for (std::size_t i = 0; counts && i < counts->elements.size(); ++i)
      places.push_back({Kind::Int, static_cast<std::int64_t>(i), 0});
    values[0] = failed() ? Object() : makeConstant(DType::I64, {static_cast<std::int64_t>(places.size())}, places, a.call);
  }
  const Constant *tensor = failed() ? nullptr : knownInput(values[0], a);
  const Constant *repeats = tensor ? knownTensor(values[1], a.call) : nullptr;
  if (failed())
    return {};
  std::vector<std::int64_t> sizes = tensor->sizes;
  int dim = 0;
  if (values[2].tag == Tag::None)
    sizes = {static_cast<std::int64_t>(tensor->elements.size())};
  else if (!dimOf(values[2], static_cast<int>(sizes.size()), a.call, dim))
    return {};
  const Axis axis(sizes, dim);
  if (repeats->elements.size() != 1 && repeats->elements.size() != axis.size)
    return fail(a.call, fmt::format("{} counts for {} elements", repeats->elements.size(), axis.size), "give one count, or one for each");
  std::vector<std::size_t> places;
  for (std::size_t place = 0; place < axis.size; ++place) {
    const PyNumber &count = repeats->elements[repeats->elements.size() == 1 ? 0 : place];
    if (count.kind != Kind::Int || count.i < 0)
      return fail(a.call, "a count is an int and at least 0", "e.g. torch.repeat_interleave(ids, lengths)");
    if (static_cast<std::uint64_t>(count.i) * axis.outer * axis.inner > kMaxTableElements ||
        places.size() + static_cast<std::size_t>(count.i) > kMaxTableElements)
      return fail(a.call, fmt::format("a tensor of more than {} elements", kMaxTableElements), "make it before the call and capture it");
    places.insert(places.end(), static_cast<std::size_t>(count.i), place);
  }
  if (!spend(places.size() * axis.outer * axis.inner, a.call))
    return {};
  sizes[static_cast<std::size_t>(dim)] = static_cast<std::int64_t>(places.size());
  return makeConstant(tensor->info.dtype, sizes, taken(tensor->elements, axis, places), a.call);
}

/// flip and roll
Object Sema::pyFlip(Arguments &a, const PythonFunction &self) {
  const bool rolls = self.names == "roll";
  std::vector<Object> values;
  const bool read = rolls ? takeNamed(a, {"input", "shifts", "dims"}, 2, values) : takeNamed(a, {"input", "dims"}, 2, values);
  const Constant *tensor = read ? knownInput(values[0], a) : nullptr;
  if (!tensor)
    return {};
  const int rank = static_cast<int>(tensor->sizes.size());
  std::int64_t shift = 0;
  if (rolls) {
    const auto known = knownIntOf(values[1], a.call, "the shift of 'roll'");
    if (!known)
      return {};
    shift = *known;
  }
  std::vector<int> dims;
  const Object &chosen = values[rolls ? 2 : 1];
  if (rolls && chosen.tag == Tag::None && rank != 1)
    return fail(a.call, "'roll' needs the dimension along which it does", "e.g. t.roll(1, 0)");
  if (chosen.tag == Tag::None)
    dims = {0};
  else if (!readDims(chosen, rank, a.call, dims))
    return {};
  std::vector<PyNumber> elements = tensor->elements;
  for (const int dim : dims) {
    const Axis axis(tensor->sizes, dim);
    std::vector<std::size_t> places(axis.size);
    for (std::size_t place = 0; place < axis.size; ++place) {
      const auto size = static_cast<std::int64_t>(axis.size), from = (static_cast<std::int64_t>(place) - shift % size + size) % size;
      places[place] = rolls ? static_cast<std::size_t>(from) : axis.size - 1 - place;
    }
    elements = taken(elements, axis, places);
  }
  return makeConstant(tensor->info.dtype, tensor->sizes, std::move(elements), a.call);
}

/// tril and triu
Object Sema::pyTriangle(Arguments &a, const PythonFunction &) {
  std::vector<Object> values;
  const Constant *tensor = takeNamed(a, {"input", "diagonal"}, 1, values) ? knownInput(values[0], a) : nullptr;
  const auto diagonal =
      !tensor || values[1].tag == Tag::None ? std::optional<std::int64_t>(0) : knownIntOf(values[1], a.call, "the diagonal");
  if (failed())
    return {};
  if (tensor->sizes.size() < 2)
    return fail(a.call, fmt::format("'{}' of a tensor of rank {}", a.name, tensor->sizes.size()),
                "it keeps a triangle of the last two dimensions");
  const std::int64_t columns = tensor->sizes.back(), rows = tensor->sizes[tensor->sizes.size() - 2];
  std::vector<PyNumber> elements = tensor->elements;
  for (std::size_t i = 0; i < elements.size(); ++i) {
    const std::int64_t column = static_cast<std::int64_t>(i) % columns, row = static_cast<std::int64_t>(i) / columns % rows;
    if (a.name == "tril" ? column - row > *diagonal : column - row < *diagonal)
      elements[i] = {elements[i].kind, 0, 0};
  }
  return makeConstant(tensor->info.dtype, tensor->sizes, std::move(elements), a.call);
}

Object Sema::pyDiff(Arguments &a, const PythonFunction &) {
  std::vector<Object> values;
  if (!takeNamed(a, {"input"}, 1, values) || !knownInput(values[0], a))
    return {};
  if (!isTensor(values[0]))
    return fail(a.call, "'diff' of a number", "it subtracts neighbours of a tensor");
  const View &view = *values[0].view;
  const auto part = [&](const Object &start, const Object &stop) {
    Object ends = tuple({start, stop, {}}), object;
    ends.tag = Tag::Slice;
    object.tag = Tag::View;
    object.view = slice(view, view.rank - 1, ends, a.call);
    return object;
  };
  const Object later = part(knownInt(1), {}), earlier = part({}, knownInt(-1));
  return failed()
             ? Object()
             : mapTensors({later, earlier}, a.call, [this, range = a.call](const auto &x) { return arithmetic("-", x[0], x[1], range); });
}

/// argmax and argmin: the first of equals.
Object Sema::pyArgExtreme(Arguments &a, const PythonFunction &) {
  std::vector<Object> values;
  const Constant *tensor = takeNamed(a, {"input", "dim"}, 1, values) ? knownInput(values[0], a) : nullptr;
  if (!tensor)
    return {};
  std::vector<std::int64_t> sizes = tensor->sizes;
  int dim = 0;
  if (values[1].tag == Tag::None)
    sizes = {static_cast<std::int64_t>(tensor->elements.size())};
  else if (!dimOf(values[1], static_cast<int>(sizes.size()), a.call, dim))
    return {};
  const Axis axis(sizes, dim);
  if (axis.size == 0)
    return fail(a.call, "an extreme of no elements", "the row is empty: leave it out");
  std::vector<PyNumber> places;
  for (std::size_t row = 0; row < axis.outer; ++row)
    for (std::size_t column = 0; column < axis.inner; ++column) {
      std::size_t best = 0;
      for (std::size_t place = 1; place < axis.size; ++place) {
        const PyNumber &here = tensor->elements[axis.at(row, place, column)], &known = tensor->elements[axis.at(row, best, column)];
        const bool isNan = here.kind == Kind::Float && std::isnan(here.f), wasNan = known.kind == Kind::Float && std::isnan(known.f);
        if (!wasNan && (isNan || (a.name == "argmax" ? isLess(known, here) : isLess(here, known))))
          best = place;
      }
      places.push_back({Kind::Int, static_cast<std::int64_t>(best), 0});
    }
  sizes.erase(sizes.begin() + dim);
  return makeConstant(DType::I64, std::move(sizes), std::move(places), a.call);
}

/// sort gives values and indices, argsort the indices.
Object Sema::pySort(Arguments &a, const PythonFunction &self) {
  std::vector<Object> values;
  const Constant *tensor = takeNamed(a, {"input", "dim", "descending", "stable"}, 1, values) ? knownInput(values[0], a) : nullptr;
  if (!tensor)
    return {};
  if (tensor->sizes.empty())
    return fail(a.call, fmt::format("'{}' of a number", a.name), "it sorts a tensor");
  int dim = static_cast<int>(tensor->sizes.size()) - 1;
  if (values[1].tag != Tag::None && !dimOf(values[1], dim + 1, a.call, dim))
    return {};
  const bool descends = truth(values[2]).value_or(false);
  const Axis axis(tensor->sizes, dim);
  std::vector<PyNumber> sorted = tensor->elements, places(sorted.size());
  for (std::size_t row = 0; row < axis.outer; ++row)
    for (std::size_t column = 0; column < axis.inner; ++column) {
      std::vector<std::size_t> order(axis.size);
      std::iota(order.begin(), order.end(), 0);
      const auto element = [&](std::size_t place) -> const PyNumber & { return tensor->elements[axis.at(row, place, column)]; };
      std::stable_sort(order.begin(), order.end(), [&](std::size_t x, std::size_t y) {
        return descends ? isLess(element(y), element(x)) : isLess(element(x), element(y));
      });
      for (std::size_t place = 0; place < axis.size; ++place) {
        sorted[axis.at(row, place, column)] = element(order[place]);
        places[axis.at(row, place, column)] = {Kind::Int, static_cast<std::int64_t>(order[place]), 0};
      }
    }
  const std::vector<std::int64_t> sizes = tensor->sizes;
  const DType type = tensor->info.dtype;
  const Object indices = makeConstant(DType::I64, sizes, std::move(places), a.call);
  if (failed() || self.names == "argsort")
    return failed() ? Object() : indices;
  const Object ordered = makeConstant(type, sizes, std::move(sorted), a.call);
  return failed() ? Object() : tuple({ordered, indices});
}

/// unique: what occurs, in rising order; bincount: how often each int from 0 on does.
Object Sema::pyUnique(Arguments &a, const PythonFunction &self) {
  std::vector<Object> values;
  const Constant *tensor = takeNamed(a, {"input"}, 1, values) ? knownInput(values[0], a) : nullptr;
  if (!tensor)
    return {};
  std::vector<PyNumber> found;
  if (self.names == "unique") {
    found = tensor->elements;
    std::sort(found.begin(), found.end(), isLess);
    found.erase(std::unique(found.begin(), found.end(), isSame), found.end());
    return makeConstant(tensor->info.dtype, {static_cast<std::int64_t>(found.size())}, found, a.call);
  }
  for (const PyNumber &element : tensor->elements) {
    if (element.kind != Kind::Int || element.i < 0 || element.i >= static_cast<std::int64_t>(kMaxTableElements))
      return fail(a.call, fmt::format("'bincount' counts ints from 0 to {}", kMaxTableElements - 1), "");
    if (element.i >= static_cast<std::int64_t>(found.size()))
      found.resize(static_cast<std::size_t>(element.i) + 1, PyNumber{});
    ++found[static_cast<std::size_t>(element.i)].i;
  }
  return makeConstant(DType::I64, {static_cast<std::int64_t>(found.size())}, found, a.call);
}

Object Sema::pyToList(Arguments &a, const PythonFunction &self) {
  if (!takes(a, 1, 1))
    return {};
  const Descent level(*this);
  if (!level || !isTensor(a.values[0]))
    return failed() ? Object() : asNumber(a.values[0], a.call);
  const auto rows = elementsOf(a.values[0], a.call, "'tolist'");
  if (!rows)
    return {};
  std::vector<Object> items;
  for (const Object &row : *rows) {
    Arguments one{{row}, {{}}, {a.call}, a.call, a.name};
    items.push_back(pyToList(one, self));
    if (failed())
      return {};
  }
  return list(std::move(items));
}

// --- the table of them ---

std::span<const PythonFunction> tableFunctions() {
  static const PythonFunction kFunctions[] = {
      {"cumsum cumprod", &Sema::pyScan},
      {"repeat_interleave", &Sema::pyRepeat},
      {"flip", &Sema::pyFlip},
      {"roll", &Sema::pyFlip},
      {"tril triu", &Sema::pyTriangle},
      {"diff", &Sema::pyDiff},
      {"argmax argmin", &Sema::pyArgExtreme},
      {"sort", &Sema::pySort},
      {"argsort", &Sema::pySort},
      {"unique", &Sema::pyUnique},
      {"bincount", &Sema::pyUnique},
      {"tolist", &Sema::pyToList},
  };
  return kFunctions;
}

const PythonFunction *findTableFunction(std::string_view name) {
  for (const PythonFunction &function : tableFunctions()) {
    bool isIt = false;
    forEachName(function.names, [&](std::string_view synonym, bool) { isIt |= synonym == name; });
    if (isIt)
      return &function;
  }
  return nullptr;
}

} // namespace attnjit::expr
