// Tensors that the text makes. Their elements are known when the formula is read, so functions of them are computed at once, by torch's
// rules and in its dtypes: a float is rounded to f32 after every step, as a tensor of torch would hold it. An element at known indices is
// a constant. Where the formula reads one at a position, the tensor becomes a capture of the formula's own (`#t0`), whose contents the
// kernel gets at run time.
#include "Expr/SemaImpl.h"

#include "Expr/Table.h"

#include <fmt/format.h>

#include <algorithm>

namespace attnjit::expr {

namespace {

std::size_t product(const std::vector<std::int64_t> &sizes) {
  std::size_t count = 1;
  for (const std::int64_t size : sizes)
    count *= static_cast<std::size_t>(size);
  return count;
}

/// Moves on to the next index, row-major.
void advance(std::vector<std::int64_t> &index, const std::vector<std::int64_t> &sizes) {
  for (std::size_t dim = sizes.size(); dim-- > 0;) {
    if (++index[dim] < sizes[dim])
      return;
    index[dim] = 0;
  }
}

/// The place of an index in a dense tensor; a size of 1 is repeated.
std::size_t offsetOf(std::span<const std::int64_t> index, const std::vector<std::int64_t> &sizes) {
  std::size_t place = 0;
  for (std::size_t dim = 0; dim < sizes.size(); ++dim)
    place = place * static_cast<std::size_t>(sizes[dim]) +
            (sizes[dim] == 1 ? 0 : static_cast<std::size_t>(index[index.size() - sizes.size() + dim]));
  return place;
}

} // namespace

// --- making ---

Object Sema::makeConstant(DType type, std::vector<std::int64_t> sizes, std::vector<PyNumber> elements, TextRange range) {
  for (PyNumber &element : elements)
    element = asElement(element, type);
  if (sizes.empty())
    return constant(elements[0]);
  if (elements.size() > kMaxTableElements)
    return fail(range, fmt::format("a tensor of {} elements", elements.size()),
                fmt::format("the tensors that a text makes have at most {}; make it before the call and capture it", kMaxTableElements));
  if (!spend(elements.size(), range))
    return {};
  View view;
  view.step = View::Step::Constant;
  view.rank = static_cast<int>(sizes.size());
  view.kind = kindOf(type);
  view.isKnown = true;
  view.constant = &constants.emplace_back(Constant{{{}, type, view.rank}, std::move(sizes), std::move(elements), constants.size()});
  return viewObject(std::move(view));
}

/// What Python sees of a number.
Object Sema::unlifted(const Object &object) const {
  Object plain = object;
  if (plain.isKnown())
    plain.value = plain.known;
  return plain;
}

const Constant *Sema::valuesOf(const View &view, TextRange range) {
  if (view.step == View::Step::Constant)
    return view.constant;
  Constant made{{{}, dtypeOf(view), view.rank}, {}, {}, constants.size()};
  for (int dim = 0; dim < view.rank && !failed(); ++dim)
    made.sizes.push_back(numberOf(sizeOf(view, dim, range)).i);
  const std::size_t count = failed() ? 0 : product(made.sizes);
  if (count > kMaxTableElements || !spend(count, range)) {
    fail(range, fmt::format("a tensor of {} elements", count), "make it before the call and capture it");
    return nullptr;
  }
  std::vector<std::int64_t> index(made.sizes.size(), 0);
  for (std::size_t i = 0; i < count && !failed(); ++i, advance(index, made.sizes)) {
    std::vector<Object> indices;
    for (const std::int64_t at : index)
      indices.push_back(knownInt(at));
    Object element;
    element.known = loadAt(view, std::move(indices), range);
    if (!failed())
      made.elements.push_back(numberOf(element));
  }
  return failed() ? nullptr : &constants.emplace_back(std::move(made));
}

/// The first argument of a function that only such tensors have.
const Constant *Sema::knownInput(const Object &object, const Arguments &a) {
  if (object.tag == Tag::View && !object.view->isKnown && isRefusedReduction(a.name))
    return failReduction(a.name, a.call), nullptr;
  return knownTensor(object, a.call);
}

const Constant *Sema::knownTensor(const Object &object, TextRange range) {
  if (isKnownTensor(object))
    return valuesOf(*object.view, range);
  if (object.isKnown()) {
    const PyNumber number = numberOf(object);
    return &constants.emplace_back(Constant{{{}, expr::dtypeOf(number.kind), 0}, {}, {number}, constants.size()});
  }
  if (!failed())
    fail(range, "this needs a tensor whose elements are known when the formula is read",
         object.isSequence()       ? "wrap the list: torch.tensor([...])"
         : object.tag == Tag::View ? "captured tensors are known at run time only; compute it before the call and capture the result"
                                   : "e.g. torch.arange(8)");
  return nullptr;
}

// --- reading ---

const View *Sema::foldedView(const View &view, TextRange range) {
  view.constant->isRead = true;
  if (view.folded)
    return view.folded;
  const Constant *values = valuesOf(view, range);
  if (!values)
    return nullptr;
  const Object folded = makeConstant(values->info.dtype, values->sizes, values->elements, range);
  return failed() ? nullptr : view.folded = folded.view;
}

/// Makes the tensor a capture of the formula's own. Mods of one module share what is equal.
bool Sema::placeTable(Constant &tensor, TextRange range) {
  const std::shared_ptr<const Table> table = makeTable(tensor.sizes, tensor.info.dtype, tensor.elements);
  std::size_t total = tensor.elements.size();
  for (std::size_t i = 0; i < tables.size(); ++i) {
    const CaptureDecl &other = tables[i];
    if (other.table && other.dtype == tensor.info.dtype && other.table->sizes == table->sizes && other.table->bytes == table->bytes)
      return tensor.slot = static_cast<int>(i), true;
    total += other.table ? tableElements(*other.table) : 0;
  }
  if (total > kMaxTableElements)
    return fail(range, fmt::format("the tensors that this formula makes have {} elements together", total),
                fmt::format("at most {} are accepted; make the larger ones before the call and capture them", kMaxTableElements)),
           false;
  tensor.slot = static_cast<int>(tables.size());
  tables.push_back({"#t", tensor.info.dtype, tensor.info.rank, table});
  return true;
}

/// An element: a constant where the index is known, else a read of the table.
ValueId Sema::constantElement(const View &view, const std::vector<Object> &indices, TextRange range) {
  Constant &tensor = *view.constant;
  const auto isPlain = [](const Object &index) { return index.isKnown() && !index.isLifted(); };
  if (std::all_of(indices.begin(), indices.end(), isPlain)) {
    std::vector<std::int64_t> at;
    for (std::size_t dim = 0; dim < indices.size(); ++dim) {
      const std::int64_t size = tensor.sizes[dim], index = numberOf(indices[dim]).i;
      if (index < -size || index >= size)
        return raise("IndexError", range, fmt::format("index {} of a dimension of {}", index, size), "the first is 0, the last is -1"), 0;
      at.push_back(index < 0 ? index + size : index);
    }
    return constant(tensor.elements[offsetOf(at, tensor.sizes)]).value;
  }
  if (tensor.sizes.size() > static_cast<std::size_t>(kMaxRank))
    return fail(range, fmt::format("a tensor of rank {}", tensor.sizes.size()),
                fmt::format("a formula reads those of rank {} at most", kMaxRank)),
           0;
  if (tensor.slot < 0 && !placeTable(tensor, range))
    return 0;
  tensor.isRead = true;
  std::vector<ValueId> values;
  for (const Object &index : indices)
    values.push_back(index.value);
  return lower.builder.load(tensor.slot, kindOf(tensor.info.dtype), values, range);
}

// --- functions of whole tensors ---

/// `apply` on every element at once. Numbers beside f32 tensors are rounded as torch does, and so is what comes out.
Object Sema::mapKnown(const std::vector<Object> &operands, const std::vector<Object> &sizes, Kind kind, const Elementwise &apply,
                      TextRange range) {
  std::vector<const Constant *> tensors;
  bool isDouble = false;
  for (const Object &operand : operands) {
    tensors.push_back(isTensor(operand) ? valuesOf(*operand.view, range) : nullptr);
    if (failed())
      return {};
    isDouble |= tensors.back() && tensors.back()->info.dtype == DType::F64;
  }
  const DType floats = isDouble ? DType::F64 : DType::F32;
  std::vector<Object> numbers = operands;
  for (Object &number : numbers)
    if (number.isNumber()) {
      const PyNumber known = numberOf(number);
      number = constant(known.kind == Kind::Float ? asElement(known, floats) : known);
    }
  std::vector<std::int64_t> shape;
  for (const Object &size : sizes)
    shape.push_back(numberOf(size).i);
  const std::size_t count = product(shape);
  if (count > kMaxTableElements || !spend(count * operands.size(), range))
    return fail(range, fmt::format("a tensor of {} elements", count), "make it before the call and capture it");
  std::vector<PyNumber> elements;
  std::vector<std::int64_t> index(shape.size(), 0);
  for (std::size_t i = 0; i < count; ++i, advance(index, shape)) {
    for (std::size_t operand = 0; operand < operands.size(); ++operand)
      if (const Constant *tensor = tensors[operand]) {
        numbers[operand] = constant(tensor->elements[offsetOf(index, tensor->sizes)]);
        numbers[operand].known = kUnknown; // so that torch's arithmetic is done, not Python's
      }
    Object one = apply(numbers);
    if (failed())
      return {};
    if (!lower.builder.isConst(one.value))
      return fail(range, "this function of a tensor that the text makes is known at run time only", "index the tensor first");
    one.known = one.value;
    elements.push_back(numberOf(one));
  }
  return makeConstant(kind == Kind::Float ? floats : expr::dtypeOf(kind), std::move(shape), std::move(elements), range);
}

Object Sema::reduceKnown(Op op, const View &view, const std::vector<int> &dims, bool keepDims, TextRange range) {
  const Constant *tensor = valuesOf(view, range);
  if (!tensor)
    return {};
  const auto isReduced = [&](std::size_t dim) { return std::find(dims.begin(), dims.end(), static_cast<int>(dim)) != dims.end(); };
  std::vector<std::int64_t> kept, shape; // with the reduced dimensions as 1, and as asked for
  for (std::size_t dim = 0; dim < tensor->sizes.size(); ++dim) {
    kept.push_back(isReduced(dim) ? 1 : tensor->sizes[dim]);
    if (keepDims || !isReduced(dim))
      shape.push_back(kept.back());
  }
  const bool isSum = op == Op::ReduceSum;
  const Kind kind = isSum && view.kind == Kind::Bool ? Kind::Int : view.kind;
  const PyNumber nothing{kind, op == Op::ReduceMin, 0}; // a sum of nothing is 0, any of nothing false, all of nothing true
  std::vector<PyNumber> elements(product(kept), nothing);
  std::vector<bool> met(elements.size(), false);
  std::vector<std::int64_t> index(tensor->sizes.size(), 0);
  for (std::size_t i = 0; i < tensor->elements.size(); ++i, advance(index, tensor->sizes)) {
    const std::size_t place = offsetOf(index, kept);
    Object total = constant(elements[place]), element = constant(tensor->elements[i]);
    const ValueId next = lower.convert(element.value, kind);
    total.known = !met[place]          ? next
                  : isSum              ? lower.op(Op::Add, {total.value, next})
                  : kind == Kind::Bool ? lower.op(op == Op::ReduceMax ? Op::LogicalOr : Op::LogicalAnd, {total.value, next})
                                       : lower.op(op == Op::ReduceMax ? Op::Max : Op::Min, {total.value, next});
    elements[place] = numberOf(total);
    met[place] = true;
  }
  const DType type = kind == view.kind ? dtypeOf(view) : DType::I64;
  return makeConstant(isSum && kind == Kind::Int ? DType::I64 : type, std::move(shape), std::move(elements), range);
}

/// t[indices] along one dimension, by a known tensor of ints, or of bools that choose.
Object Sema::gather(const View &view, int dim, const View &indices, TextRange range) {
  const Constant *from = valuesOf(view, range), *by = failed() ? nullptr : valuesOf(indices, range);
  if (failed())
    return {};
  const auto place = static_cast<std::size_t>(dim);
  const Kind kind = kindOf(by->info.dtype);
  if (kind == Kind::Float)
    return fail(range, "an index is a tensor of ints or bools", "convert it with .to(torch.int64)");
  const std::int64_t size = from->sizes[place];
  const bool chooses = kind == Kind::Bool;
  if (chooses && (by->sizes.size() != 1 || by->sizes[0] != size))
    return fail(range, fmt::format("bools that choose among {} elements must be as many", size), "compare the tensor itself: t[t > 0]");
  std::vector<std::int64_t> chosen;
  for (std::size_t i = 0; i < by->elements.size(); ++i) {
    const std::int64_t at = chooses ? static_cast<std::int64_t>(i) : by->elements[i].i;
    if (at < -size || at >= size)
      return raise("IndexError", range, fmt::format("index {} of a dimension of {}", at, size), "the first is 0, the last is -1");
    if (!chooses || by->elements[i].i)
      chosen.push_back(at < 0 ? at + size : at);
  }
  std::vector<std::int64_t> shape(from->sizes.begin(), from->sizes.begin() + dim);
  if (chooses)
    shape.push_back(static_cast<std::int64_t>(chosen.size()));
  else
    shape.insert(shape.end(), by->sizes.begin(), by->sizes.end());
  shape.insert(shape.end(), from->sizes.begin() + dim + 1, from->sizes.end());
  const std::size_t outer = product({from->sizes.begin(), from->sizes.begin() + dim}),
                    inner = product({from->sizes.begin() + dim + 1, from->sizes.end()});
  if (!spend(outer * chosen.size() * inner, range))
    return {};
  std::vector<PyNumber> elements;
  for (std::size_t row = 0; row < outer; ++row)
    for (const std::int64_t at : chosen) {
      const auto begin = from->elements.begin() +
                         static_cast<std::ptrdiff_t>((row * static_cast<std::size_t>(size) + static_cast<std::size_t>(at)) * inner);
      elements.insert(elements.end(), begin, begin + static_cast<std::ptrdiff_t>(inner));
    }
  return makeConstant(from->info.dtype, std::move(shape), std::move(elements), range);
}

// --- assigning ---

/// The same steps from another root.
const View *Sema::onOther(const View &view, const View *root) {
  if (!view.parent)
    return root;
  View moved = view;
  moved.parent = onOther(*view.parent, root);
  moved.folded = nullptr;
  moved.kind = root->kind;
  return &addView(std::move(moved));
}

/// t[...] = value
void Sema::assignConstant(const View &target, const Object &value, TextRange range) {
  Constant &tensor = *target.constant;
  if (!target.isKnown) {
    fail(range, "the index of an assignment must be known when the formula is read", "choose between values: torch.where(...)");
    return;
  }
  if (tensor.isRead || tensor.index < effects.constants) {
    fail(range,
         tensor.isRead ? "this tensor cannot change any more: a formula has read it at a position"
                       : "a tensor would change below a condition that is known only at run time",
         tensor.isRead ? "fill it before" : "choose between values: torch.where(...)");
    return;
  }
  // Which elements the steps of the target lead to: the same steps from a tensor of places tell.
  std::vector<PyNumber> numbers;
  for (std::size_t i = 0; i < tensor.elements.size(); ++i)
    numbers.push_back({Kind::Int, static_cast<std::int64_t>(i), 0});
  const Object root = makeConstant(DType::I64, tensor.sizes, std::move(numbers), range);
  const Constant *places = failed() ? nullptr : valuesOf(*onOther(target, root.view), range);
  const Object number = failed() || isKnownTensor(value) ? value : asNumber(value, range);
  const Constant *given = failed() ? nullptr : knownTensor(number, range);
  if (failed())
    return;
  bool fits = given->sizes.size() <= places->sizes.size();
  for (std::size_t back = 1; fits && back <= given->sizes.size(); ++back)
    fits = given->sizes[given->sizes.size() - back] == 1 ||
           given->sizes[given->sizes.size() - back] == places->sizes[places->sizes.size() - back];
  if (!fits) {
    fail(range, fmt::format("{} values for {} elements", given->elements.size(), places->elements.size()),
         "their shapes must fit, as in torch");
    return;
  }
  const std::vector<PyNumber> values = given->elements; // they may be the tensor's own
  std::vector<std::int64_t> index(places->sizes.size(), 0);
  for (std::size_t i = 0; i < places->elements.size(); ++i, advance(index, places->sizes))
    tensor.elements[static_cast<std::size_t>(places->elements[i].i)] = asElement(values[offsetOf(index, given->sizes)], tensor.info.dtype);
}

} // namespace attnjit::expr
