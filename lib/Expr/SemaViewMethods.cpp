// Attributes and methods of whole captured tensors: each yields a size, a view or a cast.
#include "Expr/SemaImpl.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace attnjit::expr {

namespace {

constexpr std::string_view kViewMethods[] = {
    "size",    "dim",  "ndimension", "numel",   "nelement",   "view",   "reshape", "flatten", "ravel",   "transpose", "swapaxes",
    "permute", "t",    "unsqueeze",  "squeeze", "contiguous", "clone",  "detach",  "to",      "type",    "float",     "double",
    "int",     "long", "bool",       "cuda",    "cpu",        "select", "narrow",  "half",    "bfloat16"};

} // namespace

std::span<const std::string_view> viewMethods() { return kViewMethods; }
bool isViewMethod(std::string_view name) {
  return std::find(std::begin(kViewMethods), std::end(kViewMethods), name) != std::end(kViewMethods);
}

/// The dtype of a captured tensor stays that of its views; what is computed has this machine's.
DType Sema::dtypeOf(const View &view) const {
  const View *step = &view;
  while (step->parent && step->step != View::Step::Reduce && step->parent->kind == step->kind)
    step = step->parent;
  return step->step == View::Step::Capture || step->step == View::Step::Constant ? infoOf(*step).dtype : expr::dtypeOf(view.kind);
}

Object Sema::viewAttribute(const View &view, const AstNode &node) {
  const CaptureInfo &capture = infoOf(view);
  if (node.text == "shape")
    return shapeOf(view, node.range);
  if (node.text == "ndim")
    return knownInt(view.rank);
  if (node.text == "dtype")
    return dtype(dtypeOf(view));
  if (node.text == "device" || node.text == "requires_grad") {
    Object object;
    object.tag = Tag::Opaque;
    return object;
  }
  if (node.text == "data") {
    Object object;
    object.tag = Tag::View;
    object.view = &view;
    return object;
  }
  std::vector<int> order(static_cast<std::size_t>(view.rank));
  std::iota(order.begin(), order.end(), 0);
  if (node.text == "T") {
    std::reverse(order.begin(), order.end());
    return permute(view, std::move(order), node.range);
  }
  if (node.text == "mT") {
    if (view.rank < 2)
      return fail(node.token, fmt::format("'.mT' of a tensor of rank {}", view.rank), "it swaps the last two dimensions");
    std::swap(order[order.size() - 1], order[order.size() - 2]);
    return permute(view, std::move(order), node.range);
  }
  if (isInPlace(node.text)) {
    Object object;
    object.tag = Tag::ViewMethod;
    object.view = &view;
    object.text = inPlace(node) ? node.text.substr(0, node.text.size() - 1) : node.text;
    return failed() ? Object() : object;
  }
  // Functions of one number work on every element: x.exp(), x.clamp(min=0).
  if (isViewMethod(node.text) || isTensorReduction(node.text) || isTensorProduct(node.text) || findBuiltin(node.text, true) ||
      (view.isKnown && findTableFunction(node.text))) {
    Object object;
    object.tag = Tag::ViewMethod;
    object.text = node.text;
    object.view = &view;
    return object;
  }
  if (isRefusedReduction(node.text))
    return failReduction(fmt::format(".{}", node.text), node.token);
  return fail(node.token, fmt::format("'.{}' of a whole captured tensor is not accepted", node.text),
              fmt::format("index it first: {}", indexExample(capture)));
}

bool Sema::dimOf(const Object &object, int rank, TextRange range, int &dim) {
  const auto known = knownIntOf(object, range, "a dimension");
  if (!known)
    return false;
  if (*known < -rank || *known >= rank) {
    fail(range, fmt::format("dimension {} of a tensor of rank {}", *known, rank), fmt::format("dimensions are {} to {}", -rank, rank - 1));
    return false;
  }
  dim = static_cast<int>(*known < 0 ? *known + rank : *known);
  return true;
}

Object Sema::permute(const View &view, std::vector<int> order, TextRange) {
  View step{View::Step::Permute, &view, view.capture, view.rank, 0, {}, {}, {}, {}, std::move(order), {}, view.kind};
  return viewObject(std::move(step));
}

Object Sema::reshape(const View &view, std::vector<Object> sizes, TextRange range) {
  if (sizes.size() > 16)
    return fail(range, fmt::format("{} dimensions", sizes.size()), "at most 16 are accepted");
  Object rest = elementCount(view, range), *open = nullptr;
  for (Object &size : sizes) {
    if (failed())
      return {};
    size = asNumber(size, range);
    if (view.isKnown && !failed())
      size = unlifted(size);
    if (failed())
      return {};
    if (lower.kind(size.value) != Kind::Int)
      return fail(range, "a size must be an int", "use '//' instead of '/'");
    if (size.isKnown() && numberOf(size).i == -1) {
      if (open)
        return fail(range, "two sizes are -1", "one size can follow from the others");
      open = &size;
      continue;
    }
    if (size.isKnown() && numberOf(size).i < 0)
      return fail(range, fmt::format("{} is no size", numberOf(size).i), "sizes are at least 0, or -1 for what is left");
    if (size.isKnown() && numberOf(size).i == 0)
      return fail(range, "a size of 0 leaves nothing to read", "sizes are at least 1, or -1 for what is left");
  }
  Object known = knownInt(1);
  for (const Object &size : sizes)
    if (&size != open && !failed())
      known = arithmetic("*", known, size, range);
  if (open && !failed())
    *open = arithmetic("//", rest, known, range);
  if (failed())
    return {};
  const int rank = static_cast<int>(sizes.size());
  View step{View::Step::Reshape, &view, view.capture, rank, 0, {}, {}, {}, {}, {}, std::move(sizes), view.kind};
  return viewObject(std::move(step));
}

Object Sema::flatten(const View &view, int first, int last, TextRange range) {
  std::vector<Object> sizes;
  Object joined = knownInt(1);
  for (int dim = 0; dim < view.rank && !failed(); ++dim) {
    const Object size = sizeOf(view, dim, range);
    if (dim < first || dim > last)
      sizes.push_back(size);
    else
      joined = arithmetic("*", joined, size, range);
    if (dim == last)
      sizes.push_back(joined);
  }
  if (failed() || first == last)
    return failed() ? Object() : viewObject(view);
  const int rank = static_cast<int>(sizes.size());
  View step{View::Step::Reshape, &view, view.capture, rank, 0, {}, {}, {}, {}, {}, std::move(sizes), view.kind};
  return viewObject(std::move(step));
}

Object Sema::castView(const View &view, Arguments &arguments, std::string_view method) {
  std::optional<DType> type;
  for (const auto &[name, candidate] : torchDtypes())
    if (name == method)
      type = candidate;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    Argument argument;
    const Object &value = arguments.values[i];
    if (value.tag == Tag::View && method == "to") {
      type = dtypeOf(*value.view);
      continue;
    }
    if (value.tag == Tag::String || value.tag == Tag::Opaque || value.tag == Tag::None || arguments.keywords[i] == "copy" ||
        arguments.keywords[i] == "non_blocking" || arguments.keywords[i] == "memory_format")
      continue;
    if (value.tag == Tag::Number || !toArgument(value, arguments.ranges[i], argument) || argument.tag != Argument::Tag::Dtype)
      return failed() ? Object()
                      : fail(arguments.ranges[i], "expected a dtype",
                             "dtypes are torch.float32, float64, int8, uint8, int16, int32, int64 and bool");
    type = argument.dtype;
  }
  if (view.isKnown && type && *type != dtypeOf(view)) {
    const Constant *values = valuesOf(view, arguments.call);
    return values ? makeConstant(*type, values->sizes, values->elements, arguments.call) : Object();
  }
  const bool isPlain =
      !type || *type == DType::F32 || *type == DType::F64 || *type == DType::I32 || *type == DType::I64 || *type == DType::Bool;
  if (!isPlain && *type != dtypeOf(view)) { // the bits that are lost change the elements
    Object self;
    self.tag = Tag::View;
    self.view = &view;
    const TextRange range = arguments.call;
    return mapTensors({self}, range, [this, to = *type, range](const auto &x) { return checked(lower.cast(x[0].value, to), range); });
  }
  if (!type || kindOf(*type) == view.kind) {
    Object object;
    object.tag = Tag::View;
    object.view = &view;
    return object;
  }
  // A cast is a step that renames no index: a permutation in the old order.
  std::vector<int> order(static_cast<std::size_t>(view.rank));
  std::iota(order.begin(), order.end(), 0);
  View step{View::Step::Permute, &view, view.capture, view.rank, 0, {}, {}, {}, {}, std::move(order), {}, kindOf(*type)};
  return viewObject(std::move(step));
}

Object Sema::callViewMethod(const Object &callee, Arguments &arguments) {
  const std::string_view method = callee.text;
  const View *receiver = callee.view;
  if (!receiver) { // torch.transpose(t, 0, 1)
    if (arguments.values.empty() || arguments.values[0].tag != Tag::View)
      return fail(arguments.call, fmt::format("'{}' works on a captured tensor", method), "give one first");
    if (arguments.values[0].view->rank == 0 && (isTensorReduction(method) || isTensorProduct(method)))
      return fail(arguments.ranges[0], fmt::format("'{}' needs a tensor, found a number", method),
                  "leave an index out: t[h] instead of t[h, i]");
    receiver = arguments.values[0].view;
    arguments.values.erase(arguments.values.begin());
    arguments.keywords.erase(arguments.keywords.begin());
    arguments.ranges.erase(arguments.ranges.begin());
  }
  const View &view = *receiver;
  const TextRange range = arguments.call;
  const bool isOfTwo = arguments.size() == 1 && arguments.keywords[0].empty() && isTensor(arguments.values[0]); // x.max(other)
  if (isTensorReduction(method) && !(isOfTwo && findBuiltin(method, true)))
    return callReduction(method, view, arguments);
  if (isTensorProduct(method))
    return callProduct(method, view, arguments);
  if (const PythonFunction *function = view.isKnown && !isViewMethod(method) ? findTableFunction(method) : nullptr) {
    Object self;
    self.tag = Tag::View;
    self.view = receiver;
    arguments.values.insert(arguments.values.begin(), self);
    arguments.keywords.insert(arguments.keywords.begin(), std::string_view());
    arguments.ranges.insert(arguments.ranges.begin(), range);
    arguments.name = method;
    return (this->*function->call)(arguments, *function);
  }
  if (!isViewMethod(method)) {
    Object function, tensor;
    function.tag = Tag::Builtin;
    function.space = Namespace::Method;
    function.builtin = findBuiltin(method, true);
    tensor.tag = Tag::View;
    tensor.view = receiver;
    return mapCall(function, &tensor, arguments);
  }
  const auto self = [&] {
    Object object;
    object.tag = Tag::View;
    object.view = receiver;
    return object;
  };
  static constexpr std::string_view kCasts[] = {"to", "type", "float", "double", "int", "long", "bool", "half", "bfloat16"};
  if (std::find(std::begin(kCasts), std::end(kCasts), method) != std::end(kCasts))
    return castView(view, arguments, method);
  static constexpr std::string_view kSame[] = {"contiguous", "clone", "detach", "cuda", "cpu"};
  if (std::find(std::begin(kSame), std::end(kSame), method) != std::end(kSame))
    return self();
  for (std::string_view &keyword : arguments.keywords) // dim=0, dims=(..), start_dim=..: their places are their order
    if (keyword == "dim" || keyword == "dim0" || keyword == "dim1" || keyword == "dims" || keyword == "start_dim" || keyword == "end_dim" ||
        keyword == "index" || keyword == "start" || keyword == "length" || keyword == "shape" || keyword == "size")
      keyword = {};
  std::vector<Object> values = arguments.values;
  std::vector<TextRange> ranges = arguments.ranges;
  if (values.size() == 1 && values[0].isSequence()) { // view((2, 3)) is view(2, 3)
    ranges.assign(values[0].items->size(), ranges[0]);
    values = std::vector<Object>(*values[0].items);
  }
  int dims[2] = {0, 0};
  const auto readDims = [&](std::size_t count, int rank) {
    for (std::size_t i = 0; i < count; ++i)
      if (!dimOf(values[i], rank, ranges[i], dims[i]))
        return false;
    return true;
  };
  if (method == "dim" || method == "ndimension")
    return takes(arguments, 0, 0) ? knownInt(view.rank) : Object();
  if (method == "numel" || method == "nelement")
    return takes(arguments, 0, 0) ? elementCount(view, range) : Object();
  if (method == "size") {
    if (!takes(arguments, 0, 1) || !readDims(values.size(), view.rank))
      return {};
    return values.empty() ? shapeOf(view, range) : sizeOf(view, dims[0], range);
  }
  if (method == "view" || method == "reshape") {
    if (!takes(arguments, 1, 16))
      return {};
    return reshape(view, std::move(values), range);
  }
  if (method == "flatten" || method == "ravel") {
    if (!takes(arguments, 0, method == "ravel" ? 0 : 2) || !readDims(values.size(), view.rank))
      return {};
    const int last = values.size() == 2 ? dims[1] : view.rank - 1;
    return dims[0] <= last ? flatten(view, dims[0], last, range)
                           : fail(range, "the first dimension lies behind the last", "e.g. t.flatten(0, 1)");
  }
  if (method == "unsqueeze") {
    if (!takes(arguments, 1, 1) || !readDims(1, view.rank + 1))
      return {};
    View step{View::Step::Unsqueeze, &view, view.capture, view.rank + 1, dims[0], {}, {}, {}, {}, {}, {}, view.kind};
    return viewObject(std::move(step));
  }
  if (method == "squeeze") {
    if (values.empty() && view.isKnown) {
      Object squeezed = self();
      for (int dim = view.rank; dim-- > 0 && !failed();)
        if (numberOf(sizeOf(view, dim, range)).i == 1)
          squeezed = viewNamed(View::Step::Squeeze, *squeezed.view, dim);
      return squeezed;
    }
    if (values.empty())
      return fail(range, "'squeeze' without a dimension", "the sizes of a captured tensor are known at run time only: write .squeeze(0)");
    if (!takes(arguments, 1, 1) || !readDims(1, view.rank))
      return {};
    View step{View::Step::Squeeze, &view, view.capture, view.rank - 1, dims[0], {}, {}, {}, {}, {}, {}, view.kind};
    return viewObject(std::move(step));
  }
  if (method == "select") {
    if (!takes(arguments, 2, 2) || !readDims(1, view.rank))
      return {};
    std::vector<Object> items(static_cast<std::size_t>(dims[0]), tuple({{}, {}, {}}));
    for (Object &item : items)
      item.tag = Tag::Slice;
    items.push_back(values[1]);
    return indexView(view, items, std::vector<TextRange>(items.size(), ranges[1]), range);
  }
  if (method == "narrow") {
    if (!takes(arguments, 3, 3) || !readDims(1, view.rank))
      return {};
    const Object start = asNumber(values[1], ranges[1]), length = failed() ? Object() : asNumber(values[2], ranges[2]);
    if (failed())
      return {};
    Object part = tuple({start, arithmetic("+", start, length, range), {}});
    part.tag = Tag::Slice;
    Object object;
    object.tag = Tag::View;
    object.view = slice(view, dims[0], part, range);
    return object;
  }
  std::vector<int> order(static_cast<std::size_t>(view.rank));
  std::iota(order.begin(), order.end(), 0);
  if (method == "t") {
    if (view.rank > 2)
      return fail(range, fmt::format("'.t()' of a tensor of rank {}", view.rank), "use .transpose(0, 1) or .mT");
    std::reverse(order.begin(), order.end());
    return permute(view, std::move(order), range);
  }
  if (method == "transpose" || method == "swapaxes") {
    if (!takes(arguments, 2, 2) || !readDims(2, view.rank))
      return {};
    std::swap(order[static_cast<std::size_t>(dims[0])], order[static_cast<std::size_t>(dims[1])]);
    return permute(view, std::move(order), range);
  }
  // permute
  if (values.size() != order.size())
    return fail(range, fmt::format("'permute' of a tensor of rank {} with {} dimensions", view.rank, values.size()),
                "name every dimension once");
  std::vector<bool> seen(order.size(), false);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!dimOf(values[i], view.rank, ranges[i], dims[0]))
      return {};
    if (seen[static_cast<std::size_t>(dims[0])])
      return fail(ranges[i], fmt::format("dimension {} appears twice", dims[0]), "name every dimension once");
    seen[static_cast<std::size_t>(dims[0])] = true;
    order[i] = dims[0];
  }
  return permute(view, std::move(order), range);
}

} // namespace attnjit::expr
