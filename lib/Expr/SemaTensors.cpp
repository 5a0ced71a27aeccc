// Views of captured tensors. A view reads nothing: it is a chain of steps, and when every dimension has an index, the indices walk the
// chain down to the capture. Where a step narrows a dimension, an index outside the narrowed range is turned into one that is outside the
// capture too, so that A10 reports it instead of another element being read.
#include "Expr/SemaImpl.h"

#include "Expr/Ops.h"

#include <fmt/format.h>

#include <algorithm>

namespace attnjit::expr {

/// Known, and no number that is kept out of the formula.
static bool isPlain(const Object &object) { return object.isKnown() && !object.isLifted(); }

const View &Sema::addView(View view) {
  if (view.parent) {
    view.height = view.parent->height;
    view.constant = view.parent->constant;
    view.isKnown = view.parent->isKnown && view.step != View::Step::Reduce && (view.step != View::Step::Select || isPlain(view.index)) &&
                   (view.step != View::Step::Slice || (isPlain(view.start) && isPlain(view.size))) &&
                   std::all_of(view.sizes.begin(), view.sizes.end(), isPlain);
    view.depth = view.parent->depth + (view.step == View::Step::Reduce ? static_cast<int>(view.order.size()) : 0);
  }
  if (++view.height > kMaxViewHeight)
    fail(lower.range, fmt::format("this tensor is made in more than {} steps", kMaxViewHeight),
         "write the steps with numbers: index first");
  return views.emplace_back(std::move(view));
}

Object Sema::viewObject(View view) {
  Object object;
  object.tag = Tag::View;
  object.view = &addView(std::move(view));
  return failed() ? Object() : object;
}

Object Sema::captureView(std::size_t index) {
  const CaptureInfo &capture = captures.infos[index];
  View view;
  view.capture = index;
  view.rank = capture.rank;
  view.kind = CaptureDecl{capture.name, capture.dtype, capture.rank}.elementKind();
  return viewObject(std::move(view));
}

std::string Sema::indexExample(const CaptureInfo &capture) {
  static constexpr std::string_view kIndices[] = {"h", "q_idx", "kv_idx", "b"};
  std::string text = capture.name.empty() ? "t" : capture.name; // a tensor that the text makes may have no name
  for (int dim = 0; dim < capture.rank; ++dim)
    text += fmt::format("{}{}", dim ? ", " : "[", kIndices[dim % 4]);
  return capture.rank ? text + "]" : text;
}

Object Sema::failRank(const View &view, TextRange range) {
  const CaptureInfo &capture = infoOf(view);
  if (view.isKnown)
    return fail(range, fmt::format("expected a number, found a tensor of rank {}", view.rank),
                fmt::format("a formula reads single elements: {}", indexExample({capture.name, capture.dtype, view.rank})));
  int given = 0;
  const View *step = &view;
  for (; step->step == View::Step::Select; step = step->parent)
    ++given;
  const View *root = step;
  while (root->parent && root->step != View::Step::Reduce)
    root = root->parent;
  if (root->step != View::Step::Capture && root->step != View::Step::Constant)
    return fail(range,
                fmt::format("expected a number, found a tensor of rank {}, computed from {}", view.rank,
                            capture.name.empty() ? "one that the text makes" : "'" + capture.name + "'"),
                fmt::format("index what it is made of, e.g. {}, or reduce it: (...).sum()", indexExample(capture)));
  if (step->parent)
    return fail(
        range,
        fmt::format("expected a number, found a view of '{}' with {} dimension{}", capture.name, view.rank, view.rank == 1 ? "" : "s"),
        "give an index for every dimension, or reduce it: .sum(), .amax(-1) ...");
  return fail(range, fmt::format("'{}' has rank {}, found {} {}", capture.name, capture.rank, given, given == 1 ? "index" : "indices"),
              fmt::format("a formula reads single elements: {}", indexExample(capture)));
}

// --- sizes ---

Object Sema::sizeOf(const View &view, int dim, TextRange range) {
  switch (view.step) {
  case View::Step::Capture: {
    const int slot = captures.slots[view.capture];
    ScalarDecl decl = ScalarDecl::size(captures.infos[view.capture].name, slot, dim);
    auto known = std::find_if(scalars.begin(), scalars.end(), [&](const ScalarDecl &other) { return other.name == decl.name; });
    const auto index = static_cast<int>(known - scalars.begin());
    if (known == scalars.end())
      scalars.push_back(std::move(decl));
    return runtime(lower.builder.scalar(index, Kind::Int, range));
  }
  case View::Step::Constant:
    return knownInt(view.constant->sizes[static_cast<std::size_t>(dim)]);
  case View::Step::Select:
  case View::Step::Squeeze:
    return sizeOf(*view.parent, dim < view.dim ? dim : dim + 1, range);
  case View::Step::Slice:
    return dim == view.dim ? view.size : sizeOf(*view.parent, dim, range);
  case View::Step::Permute:
    return sizeOf(*view.parent, view.order[static_cast<std::size_t>(dim)], range);
  case View::Step::Unsqueeze:
    return dim == view.dim ? knownInt(1) : sizeOf(*view.parent, dim < view.dim ? dim : dim - 1, range);
  case View::Step::Reshape:
    return view.sizes[static_cast<std::size_t>(dim)];
  case View::Step::Map:
    return view.mapped->sizes[static_cast<std::size_t>(dim)];
  case View::Step::Reduce:
    for (const int reduced : view.order) // rising: each one at or before the dimension moves it on
      dim += reduced <= dim;
    return sizeOf(*view.parent, dim, range);
  }
  return {};
}

Object Sema::shapeOf(const View &view, TextRange range) {
  std::vector<Object> sizes;
  for (int dim = 0; dim < view.rank; ++dim)
    sizes.push_back(sizeOf(view, dim, range));
  return tuple(std::move(sizes));
}

Object Sema::elementCount(const View &view, TextRange range) {
  Object count = knownInt(1);
  for (int dim = 0; dim < view.rank && !failed(); ++dim)
    count = arithmetic("*", count, sizeOf(view, dim, range), range);
  return count;
}

// --- indexing ---

Object Sema::indexView(const View &base, const std::vector<Object> &items, const std::vector<TextRange> &ranges, TextRange range) {
  const CaptureInfo &capture = infoOf(base);
  const auto consumes = [](const Object &item) { return item.tag != Tag::None && item.tag != Tag::Ellipsis; };
  const auto consumed = std::count_if(items.begin(), items.end(), consumes);
  const View *view = &base;
  int dim = 0;
  for (std::size_t i = 0; i < items.size() && !failed(); ++i) {
    Object item = items[i];
    if (item.tag == Tag::Ellipsis) {
      dim += std::max(0, base.rank - static_cast<int>(consumed));
      continue;
    }
    if (item.tag == Tag::None) {
      View step{View::Step::Unsqueeze, view, view->capture, view->rank + 1, dim++, {}, {}, {}, {}, {}, {}, view->kind};
      view = &addView(std::move(step));
      continue;
    }
    if (dim >= view->rank) {
      const View *step = &base;
      while (step->step == View::Step::Select)
        step = step->parent;
      return !step->parent ? fail(ranges[i], fmt::format("too many indices: '{}' has rank {}", capture.name, capture.rank),
                                  fmt::format("write {}", indexExample(capture)))
                           : fail(ranges[i], fmt::format("too many indices: this view of '{}' has rank {}", capture.name, base.rank),
                                  "leave the last ones out");
    }
    if (item.tag == Tag::Slice) {
      view = slice(*view, dim++, item, ranges[i]);
      continue;
    }
    if (isKnownTensor(item) && item.view->rank > 0 && view->isKnown) {
      const Object chosen = gather(*view, dim, *item.view, ranges[i]);
      if (failed())
        return {};
      dim += chosen.view->rank - view->rank + 1;
      view = chosen.view;
      continue;
    }
    if (item.tag == Tag::View && item.view->rank > 0)
      return fail(ranges[i], "a whole tensor cannot be an index", "index it first, e.g. table[ids[kv_idx]]");
    item = asNumber(item, ranges[i]);
    if (failed())
      return {};
    const Kind kind = lower.kind(item.value);
    if (kind != Kind::Int)
      return fail(ranges[i], fmt::format("an index must be an int, found a {}", name(kind)),
                  kind == Kind::Float ? "use '//' instead of '/', or convert with .int()" : "convert with .int()");
    view = select(*view, dim, item, range);
  }
  if (failed())
    return {};
  Object object;
  object.tag = Tag::View;
  object.view = view;
  return object;
}

const View *Sema::select(const View &view, int dim, const Object &index, TextRange) {
  View step{View::Step::Select, &view, view.capture, view.rank - 1, dim, index, {}, {}, {}, {}, {}, view.kind};
  return &addView(std::move(step));
}

const View *Sema::slice(const View &view, int dim, const Object &slice, TextRange range) {
  const auto part = [&](std::size_t i) { return view.isKnown ? unlifted((*slice.items)[i]) : (*slice.items)[i]; };
  const Object first = part(0), last = part(1), by = part(2);
  const Object zero = knownInt(0), one = knownInt(1);
  const bool hasStep = by.tag != Tag::None;
  if (hasStep && (!by.isKnown() || numberOf(by).i < 1)) {
    fail(range, "the step of a slice must be a positive int that is known when the formula is read", "e.g. t[::2]");
    return &view;
  }
  if (first.tag == Tag::None && last.tag == Tag::None && (!hasStep || numberOf(by).i == 1))
    return &view; // all of it
  const Object size = sizeOf(view, dim, range);
  const auto pick = [&](Op op, const Object &x, const Object &y) {
    if (x.isKnown() && y.isKnown() && !x.isLifted() && !y.isLifted())
      return knownInt(op == Op::Min ? std::min(numberOf(x).i, numberOf(y).i) : std::max(numberOf(x).i, numberOf(y).i));
    return runtime(lower.op(op, {x.value, y.value}));
  };
  // An end counts from the back when negative, and is kept within the tensor, as in Python.
  const auto end = [&](const Object &given, const Object &missing) {
    if (given.tag == Tag::None)
      return missing;
    if (given.isKnown() && !given.isLifted())
      return numberOf(given).i < 0    ? pick(Op::Max, arithmetic("+", size, given, range), zero)
             : numberOf(given).i == 0 ? zero
                                      : pick(Op::Min, given, size);
    const ValueId fromBack = lower.op(Op::Lt, {given.value, zero.value});
    const Object wrapped = runtime(lower.select(fromBack, lower.op(Op::Add, {given.value, size.value}), given.value));
    return pick(Op::Min, pick(Op::Max, wrapped, zero), size);
  };
  const Object start = end(first, zero), stop = end(last, size);
  Object length = pick(Op::Max, arithmetic("-", stop, start, range), zero);
  if (hasStep && numberOf(by).i != 1)
    length = arithmetic("//", arithmetic("+", length, knownInt(numberOf(by).i - 1), range), by, range);
  View step{View::Step::Slice, &view, view.capture, view.rank, dim, {}, start, hasStep ? by : one, length, {}, {}, view.kind};
  return &addView(std::move(step));
}

// --- reading ---

Object Sema::load(const View &view, TextRange range) {
  // A tensor of one element is a number where one is needed: torch.zeros(1).
  for (int dim = 0; dim < view.rank; ++dim)
    if (const Object size = sizeOf(view, dim, range); failed() || !isPlain(size) || numberOf(size).i != 1)
      return failRank(view, range);
  lower.range = range;
  Object element = runtime(loadAt(view, std::vector<Object>(static_cast<std::size_t>(view.rank), knownInt(0)), range));
  if (view.isKnown && !failed() && lower.builder.isConst(element.value))
    element.known = element.value;
  return failed() ? Object() : element;
}

Object Sema::isInside(const Object &index, const Object &size, TextRange range) {
  if (index.isKnown() && size.isKnown() && !index.isLifted() && !size.isLifted()) {
    const std::int64_t at = numberOf(index).i, count = numberOf(size).i;
    if (at < -count || at >= count)
      return fail(range, fmt::format("index {} of a dimension of {}", at, count), "the first is 0, the last is -1");
    return knownBool(true);
  }
  const Node &node = lower.builder[index.value];
  if (node.op == Op::Iter && node.operands[0] == size.value)
    return knownBool(true);
  const Object wrapped = wrapIndex(index, size, range);
  const ValueId least = lower.op(Op::Le, {lower.integer(0), wrapped.value}), most = lower.op(Op::Lt, {wrapped.value, size.value});
  return runtime(lower.op(Op::LogicalAnd, {least, most}));
}

Object Sema::wrapIndex(const Object &index, const Object &size, TextRange range) {
  if (index.isKnown() && !index.isLifted())
    return numberOf(index).i < 0 ? arithmetic("+", size, index, range) : index;
  if (lower.builder[index.value].op == Op::Iter)
    return index;
  const ValueId negative = lower.op(Op::Lt, {index.value, lower.integer(0)});
  return runtime(lower.select(negative, lower.op(Op::Add, {index.value, size.value}), index.value));
}

Object Sema::guarded(const Object &inside, const Object &index, const View &view, int dim, TextRange range) {
  if (inside.isKnown() || failed())
    return index;
  // The size of a dimension is no index of it.
  return runtime(lower.select(inside.value, index.value, sizeOf(view, dim, range).value));
}

ValueId Sema::loadAt(const View &view, std::vector<Object> indices, TextRange range) {
  if (failed())
    return 0;
  const auto at = [&](int dim) -> Object & { return indices[static_cast<std::size_t>(dim)]; };
  if (view.isKnown && view.parent && !std::all_of(indices.begin(), indices.end(), isPlain)) {
    const View *folded = foldedView(view, range); // one table of the formula, without arithmetic on indices
    return folded ? loadAt(*folded, std::move(indices), range) : 0;
  }
  switch (view.step) {
  case View::Step::Constant:
    return constantElement(view, indices, range);
  case View::Step::Capture: {
    std::vector<ValueId> values;
    for (const Object &index : indices)
      values.push_back(index.value);
    const CaptureInfo &capture = captures.infos[view.capture];
    return lower.builder.load(captures.slots[view.capture], CaptureDecl{capture.name, capture.dtype, capture.rank}.elementKind(), values,
                              range);
  }
  case View::Step::Map:
    return mappedElement(view, indices, range);
  case View::Step::Reduce:
    return reducedElement(view, indices, range);
  case View::Step::Select:
    indices.insert(indices.begin() + view.dim, view.index);
    break;
  case View::Step::Slice: {
    const Object inside = isInside(at(view.dim), view.size, range);
    if (failed())
      return 0;
    const Object wrapped = wrapIndex(at(view.dim), view.size, range);
    const Object index = arithmetic("+", view.start, arithmetic("*", wrapped, view.stride, range), range);
    at(view.dim) = guarded(inside, index, *view.parent, view.dim, range);
    break;
  }
  case View::Step::Permute: {
    std::vector<Object> original(indices.size());
    for (std::size_t dim = 0; dim < indices.size(); ++dim)
      original[static_cast<std::size_t>(view.order[dim])] = indices[dim];
    indices = std::move(original);
    break;
  }
  case View::Step::Unsqueeze: {
    const Object inside = isInside(at(view.dim), knownInt(1), range);
    indices.erase(indices.begin() + view.dim);
    if (!failed() && !inside.isKnown() && indices.empty())
      fail(range, "the only index of a dimension of size 1 is known only at run time", "write 0");
    if (!failed() && !inside.isKnown())
      at(0) = guarded(inside, at(0), *view.parent, 0, range);
    break;
  }
  case View::Step::Squeeze: {
    const Object size = sizeOf(*view.parent, view.dim, range);
    const Object isOne = compare("==", size, knownInt(1), range, range, range);
    if (isOne.isKnown() && !numberOf(isOne).truth())
      fail(range, "'squeeze' of a dimension whose size is not 1", "index it instead");
    indices.insert(indices.begin() + view.dim, guarded(isOne, knownInt(0), *view.parent, view.dim, range));
    break;
  }
  case View::Step::Reshape: {
    const View &parent = *view.parent;
    Object inside = compare("==", elementCount(view, range), elementCount(parent, range), range, range, range);
    if (inside.isKnown() && !numberOf(inside).truth())
      fail(range, "the new sizes hold another number of elements than the old ones", "their products must be equal");
    Object flat = knownInt(0);
    for (int dim = 0; dim < view.rank && !failed(); ++dim) {
      const Object &size = view.sizes[static_cast<std::size_t>(dim)];
      const Object one = isInside(at(dim), size, range);
      if (failed())
        return 0;
      inside = runtime(lower.op(Op::LogicalAnd, {inside.value, one.value}));
      flat = arithmetic("+", arithmetic("*", flat, size, range), wrapIndex(at(dim), size, range), range);
    }
    std::vector<Object> original(static_cast<std::size_t>(parent.rank));
    for (int dim = parent.rank; dim-- > 0 && !failed();) {
      const Object size = sizeOf(parent, dim, range);
      original[static_cast<std::size_t>(dim)] = dim ? arithmetic("%", flat, size, range) : flat;
      if (dim)
        flat = arithmetic("//", flat, size, range);
    }
    if (failed())
      return 0;
    if (parent.rank > 0 && !lower.builder.isConst(inside.value))
      original[0] = guarded(inside, original[0], parent, 0, range);
    else if (parent.rank == 0 && !lower.builder.isConst(inside.value))
      fail(range, "the index of a single reshaped number is known only at run time", "write 0");
    indices = std::move(original);
    break;
  }
  }
  if (failed())
    return 0;
  const ValueId value = loadAt(*view.parent, std::move(indices), range);
  return failed() ? 0 : lower.convert(value, view.kind);
}

} // namespace attnjit::expr
