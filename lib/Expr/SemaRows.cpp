// Whole tensors as values: what is computed from captured tensors element by element, and what reduces it to fewer dimensions.
//
// Such a tensor is a View like any other: it reads nothing, it can be indexed, sliced and transposed, and once every dimension has an index
// its element is built. A reduction gives a dimension the index of its loop:
//
//   (a[q_idx] - b[kv_idx]).square().sum()
//     Map square ( Map - ( Select(a, q), Select(b, kv) ) ), reduced over its one dimension
//     %i = iter 0 a.size(1);  %e = sub a[q, %i], b[kv, %i];  reduce_sum %i, mul %e, %e
#include "Expr/SemaImpl.h"

#include "Expr/Ops.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace attnjit::expr {

namespace {

constexpr std::string_view kReductions[] = {"sum", "mean", "amax",          "amin", "max",        "min",
                                            "any", "all",  "count_nonzero", "norm", "vector_norm"};
constexpr std::string_view kProducts[] = {"dot", "vdot", "vecdot", "inner", "matmul", "mv", "mm", "bmm"};
constexpr std::string_view kRefused[] = {"prod",   "argmax", "argmin", "std",     "var",     "cumsum", "cumprod", "einsum",    "logsumexp",
                                         "median", "sort",   "topk",   "softmax", "argsort", "nansum", "nanmean", "tensordot", "outer"};

constexpr std::string_view kMakers[] = {"randn",     "randperm", "rand_like", "randn_like", "normal",
                                        "bernoulli", "logspace", "meshgrid",  "from_numpy", "load"};

template <std::size_t Count> bool contains(const std::string_view (&names)[Count], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

} // namespace

bool isTensorReduction(std::string_view name) { return contains(kReductions, name); }
bool isTensorProduct(std::string_view name) { return contains(kProducts, name); }
bool isRefusedReduction(std::string_view name) { return contains(kRefused, name); }

bool isTensorMaker(std::string_view name) { return contains(kMakers, name); }

Object Sema::failReduction(std::string_view name, TextRange range) {
  return fail(range, fmt::format("'{}' of a whole tensor is not accepted", name),
              "the reductions are sum, mean, amax, amin, any, all, count_nonzero and norm; else compute it before the call and capture "
              "the result");
}

// --- elementwise ---

/// The size of a dimension of two tensors together. Sizes known at run time only are compared there (mappedElement).
Object Sema::broadcastSize(const Object &x, const Object &y, bool mustEqual, TextRange range) {
  const auto plain = [](const Object &size) { return size.isKnown() && !size.isLifted(); };
  const auto isOne = [&](const Object &size) { return plain(size) && numberOf(size).i == 1; };
  if (x.value == y.value)
    return x;
  if (plain(x) && plain(y) && (mustEqual || (!isOne(x) && !isOne(y))))
    return fail(range, fmt::format("dimensions of {} and of {} elements do not fit", numberOf(x).i, numberOf(y).i),
                mustEqual ? "they must be equal" : "they must be equal, or one of them 1");
  if (mustEqual)
    return plain(y) ? y : x;
  if (isOne(x))
    return y;
  if (isOne(y))
    return x;
  if (plain(x) || plain(y)) // a known size that is not 1 stays
    return plain(x) ? x : y;
  return runtime(lower.select(lower.op(Op::Eq, {x.value, lower.integer(1)}), y.value, x.value));
}

Object Sema::mapTensors(std::vector<Object> operands, TextRange range, Elementwise apply, int equalDim) {
  // A problem met later, when elements are built, is shown where the function was written.
  const auto atHome = [this, home = unit, range, apply = std::move(apply)](const std::vector<Object> &numbers) {
    const Unit *outer = std::exchange(unit, home);
    lower.range = range;
    Object result = apply(numbers);
    if (!failed() && !result.isNumber())
      result = asNumber(result, range);
    unit = outer;
    return result;
  };
  if (std::none_of(operands.begin(), operands.end(), isTensor))
    return atHome(operands);
  Mapped mapped;
  View view;
  view.step = View::Step::Map;
  std::vector<Object> samples = operands;
  bool isFirst = true;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    if (!isTensor(operands[i]))
      continue;
    const View &operand = *operands[i].view;
    view.capture = isFirst ? operand.capture : view.capture;
    view.constant = isFirst ? operand.constant : view.constant;
    view.height = std::max(view.height, operand.height);
    mapped.depth = std::max(mapped.depth, operand.depth);
    isFirst = false;
    const Object shape = shapeOf(operand, range);
    if (failed())
      return {};
    const std::vector<Object> &sizes = *shape.items;
    if (sizes.size() > mapped.sizes.size())
      mapped.sizes.insert(mapped.sizes.begin(), sizes.size() - mapped.sizes.size(), knownInt(1));
    for (std::size_t back = 1; back <= sizes.size() && !failed(); ++back) {
      Object &joined = mapped.sizes[mapped.sizes.size() - back];
      const bool mustEqual = static_cast<int>(back) - 1 == equalDim && i > 0;
      joined = broadcastSize(joined, sizes[sizes.size() - back], mustEqual, range);
    }
    if (failed())
      return {};
    // Some element: what the function makes of its kind.
    const ValueId some = lower.builder.param(Param::Q);
    samples[i] =
        runtime(operand.kind == Kind::Bool ? lower.op(Op::Lt, {some, lower.builder.param(Param::Kv)}) : lower.convert(some, operand.kind));
  }
  const Object sample = atHome(samples);
  if (failed())
    return {};
  const auto isKnownOperand = [](const Object &operand) {
    return isTensor(operand) ? operand.view->isKnown : !operand.isNumber() || operand.isKnown();
  };
  if (std::all_of(operands.begin(), operands.end(), isKnownOperand))
    return mapKnown(operands, mapped.sizes, lower.kind(sample.value), atHome, range);
  for (const Object &operand : operands)
    if (isTensor(operand) && operand.view->constant)
      operand.view->constant->isRead = true;
  view.rank = static_cast<int>(mapped.sizes.size());
  view.kind = lower.kind(sample.value);
  view.depth = mapped.depth;
  mapped.operands = std::move(operands);
  mapped.apply = atHome;
  mapped.equalDim = equalDim;
  view.mapped = &mappeds.emplace_back(std::move(mapped));
  return viewObject(std::move(view));
}

ValueId Sema::mappedElement(const View &view, const std::vector<Object> &indices, TextRange range) {
  const Mapped &mapped = *view.mapped;
  std::vector<ValueId> at;
  for (const Object &index : indices)
    at.push_back(index.value);
  if (mapped.lastValue && mapped.lastIndices == at)
    return *mapped.lastValue;
  std::vector<Object> numbers = mapped.operands;
  for (Object &number : numbers) {
    if (!isTensor(number) || !spend(1, range))
      continue;
    const View &operand = *number.view;
    std::vector<Object> own(indices.end() - operand.rank, indices.end());
    for (int dim = 0; dim < operand.rank && !failed(); ++dim) {
      Object &index = own[static_cast<std::size_t>(dim)];
      const Object size = sizeOf(operand, dim, range),
                   joined = mapped.sizes[mapped.sizes.size() - own.size() + static_cast<std::size_t>(dim)];
      if (failed() || size.value == joined.value)
        continue;
      const bool broadcasts = operand.rank - 1 - dim != mapped.equalDim;
      if (broadcasts && size.isKnown() && !size.isLifted() && numberOf(size).i == 1) {
        index = knownInt(0);
        continue;
      }
      // Of sizes that do not fit at run time, every element is out of range (A10): the size is no index.
      const Object wrapped = wrapIndex(index, joined, range);
      ValueId value = lower.select(lower.op(Op::Eq, {size.value, joined.value}), wrapped.value, size.value);
      if (broadcasts)
        value = lower.select(lower.op(Op::Eq, {size.value, lower.integer(1)}), lower.integer(0), value);
      index = runtime(value);
    }
    if (failed())
      return 0;
    number = runtime(loadAt(operand, std::move(own), range));
  }
  const Object result = failed() ? Object() : mapped.apply(numbers);
  if (failed())
    return 0;
  mapped.lastIndices = std::move(at);
  mapped.lastValue = result.value;
  return result.value;
}

/// A function of torch, called with whole tensors.
Object Sema::mapCall(const Object &callee, const Object *receiver, const Arguments &arguments) {
  std::vector<Object> operands = arguments.values;
  if (receiver)
    operands.insert(operands.begin(), *receiver);
  return mapTensors(std::move(operands), arguments.call,
                    [this, callee, isMethod = receiver != nullptr, arguments](const std::vector<Object> &numbers) {
                      Object one = callee;
                      Arguments mine = arguments;
                      mine.values.assign(numbers.begin() + isMethod, numbers.end());
                      if (isMethod) {
                        one.value = numbers[0].value;
                        one.known = numbers[0].known;
                      }
                      return callBuiltin(one, mine);
                    });
}

// --- reductions ---

Object Sema::viewNamed(View::Step step, const View &view, int dim) {
  View made;
  made.step = step;
  made.parent = &view;
  made.capture = view.capture;
  made.rank = view.rank + (step == View::Step::Unsqueeze) - (step == View::Step::Squeeze);
  made.dim = dim;
  made.kind = view.kind;
  return viewObject(std::move(made));
}

bool Sema::readDims(const Object &dims, int rank, TextRange range, std::vector<int> &chosen) {
  std::vector<Object> items{dims};
  if (dims.isSequence())
    items = *dims.items;
  for (const Object &item : items) {
    int dim = 0;
    if (!dimOf(item, rank, range, dim))
      return false;
    if (std::find(chosen.begin(), chosen.end(), dim) != chosen.end()) {
      fail(range, fmt::format("dimension {} appears twice", dim), "name every dimension once");
      return false;
    }
    chosen.push_back(dim);
  }
  std::sort(chosen.begin(), chosen.end());
  return true;
}

Object Sema::reduceTensor(Op op, const View &view, const std::vector<int> &dims, bool keepDims, TextRange range) {
  for (const int dim : dims) {
    const Object size = sizeOf(view, dim, range);
    if (failed())
      return {};
    if (lower.builder.usesArguments(size.value))
      return fail(range, "the length of this row depends on the position",
                  "reduce the whole row, with torch.where for what does not count");
    if (op != Op::ReduceSum && view.kind != Kind::Bool && size.isKnown() && !size.isLifted() && numberOf(size).i == 0)
      return fail(range, "an extreme of no elements", "the row is empty: leave the reduction out");
  }
  if (view.isKnown)
    return reduceKnown(op, view, dims, keepDims, range);
  View made;
  made.step = View::Step::Reduce;
  made.parent = &view;
  made.capture = view.capture;
  made.rank = view.rank - static_cast<int>(dims.size());
  made.order = dims;
  made.kind = op == Op::ReduceSum && view.kind == Kind::Bool ? Kind::Int : view.kind;
  made.reduction = op;
  if (view.depth + static_cast<int>(dims.size()) > kMaxLevels)
    return fail(range, fmt::format("reductions over more than {} dimensions, one inside of the other", kMaxLevels),
                "reduce some of them before the call and capture the result");
  Object result = viewObject(std::move(made));
  for (const int dim : dims)
    if (keepDims && !failed())
      result = viewNamed(View::Step::Unsqueeze, *result.view, dim);
  return failed() ? Object() : result;
}

ValueId Sema::reducedElement(const View &view, const std::vector<Object> &indices, TextRange range) {
  const View &parent = *view.parent;
  const int count = static_cast<int>(view.order.size());
  std::vector<Object> all;
  std::vector<ValueId> iters;
  for (int dim = 0, kept = 0; dim < parent.rank; ++dim) {
    if (std::find(view.order.begin(), view.order.end(), dim) == view.order.end()) {
      all.push_back(indices[static_cast<std::size_t>(kept++)]);
      continue;
    }
    const Object size = sizeOf(parent, dim, range);
    if (failed() || !spend(1, range))
      return 0;
    const int level = parent.depth + count - 1 - static_cast<int>(iters.size()); // the last dimension is the innermost loop
    iters.push_back(lower.builder.iter(level, size.value, range));
    all.push_back(runtime(iters.back()));
  }
  ValueId value = loadAt(parent, std::move(all), range);
  if (failed())
    return 0;
  value = lower.convert(value, view.kind);
  for (std::size_t i = iters.size(); i-- > 0;)
    value = lower.op(view.reduction, {iters[i], value});
  return value;
}

/// x.sum(), torch.amax(x, dim=-1, keepdim=True) ...
Object Sema::callReduction(std::string_view name, const View &view, const Arguments &arguments) {
  const bool isExtreme = name == "max" || name == "min", isNorm = name == "norm" || name == "vector_norm";
  std::vector<int> dims;
  bool keepDims = false;
  std::optional<Kind> kind;
  std::vector<std::string_view> places =
      isNorm ? std::vector<std::string_view>{"p", "dim", "keepdim"} : std::vector<std::string_view>{"dim", "keepdim"};
  std::size_t position = 0;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const Object &value = arguments.values[i];
    const TextRange range = arguments.ranges[i];
    std::string_view place = arguments.keywords[i];
    if (place.empty())
      place = position < places.size() ? places[position++] : "";
    if (isExtreme)
      return fail(range, fmt::format("'{}' along a dimension gives values and indices", name),
                  fmt::format("write .a{}(dim) for the values", name));
    if (place == "dim" || place == "axis") {
      if (value.tag != Tag::None && !readDims(value, view.rank, range, dims))
        return {};
    } else if (place == "keepdim" || place == "keepdims") {
      const std::optional<bool> known = truth(value);
      if (!known)
        return fail(range, "keepdim must be known when the formula is read", "write True or False");
      keepDims = *known;
    } else if (place == "dtype") {
      Argument argument;
      if (value.tag == Tag::None)
        continue;
      if (!toArgument(value, range, argument) || argument.tag != Argument::Tag::Dtype)
        return failed() ? Object() : fail(range, "expected a dtype", "e.g. torch.float32");
      kind = kindOf(argument.dtype);
    } else if (isNorm && (place == "p" || place == "ord")) {
      const bool isTwo = value.tag == Tag::None || (value.isKnown() && numberOf(value).asDouble() == 2) ||
                         (value.tag == Tag::String && value.text == "fro");
      if (!isTwo)
        return fail(range, "only the Euclidean norm is accepted", "e.g. .abs().sum(-1) for p=1, .abs().amax(-1) for the largest");
    } else {
      return fail(range, fmt::format("'{}' has no argument '{}'", name, place.empty() ? "here" : place),
                  "it takes dim=, keepdim= and dtype=");
    }
  }
  if (dims.empty())
    for (int dim = 0; dim < view.rank; ++dim)
      dims.push_back(dim);
  const TextRange range = arguments.call;
  Object self;
  self.tag = Tag::View;
  self.view = &view;
  const auto as = [&](Kind target) {
    return mapTensors({self}, range, [this, target](const auto &x) { return runtime(lower.convert(x[0].value, target)); });
  };
  const auto reduced = [&](Op op, const Object &of) { return failed() ? Object() : reduceTensor(op, *of.view, dims, keepDims, range); };
  if (name == "amax" || name == "max")
    return reduced(Op::ReduceMax, self);
  if (name == "amin" || name == "min")
    return reduced(Op::ReduceMin, self);
  if (name == "any" || name == "all")
    return reduced(name == "any" ? Op::ReduceMax : Op::ReduceMin, as(Kind::Bool));
  if (name == "count_nonzero")
    return reduced(Op::ReduceSum, as(Kind::Bool));
  if (isNorm) {
    const Object squares = mapTensors({self}, range, [this](const auto &x) {
      const ValueId value = lower.toFloat(x[0].value);
      return runtime(lower.op(Op::Mul, {value, value}));
    });
    const Object sum = reduced(Op::ReduceSum, squares);
    return failed() ? Object()
                    : mapTensors({sum}, range, [this](const auto &x) { return runtime(lower.op(Op::Sqrt, {asNumber(x[0], {}).value})); });
  }
  const bool isMean = name == "mean";
  const Object sum = reduced(Op::ReduceSum, kind || isMean ? as(kind.value_or(Kind::Float)) : self);
  if (failed() || !isMean)
    return sum;
  Object count = knownInt(1);
  for (const int dim : dims)
    count = failed() ? count : arithmetic("*", count, sizeOf(view, dim, range), range);
  return failed() ? Object() : mapTensors({sum, count}, range, [this, range](const auto &x) {
    return arithmetic("/", asNumber(x[0], range), asNumber(x[1], range), range);
  });
}

// --- products ---

Object Sema::sumOfProducts(const Object &x, const Object &y, int dimFromBack, TextRange range) {
  const Object product =
      mapTensors({x, y}, range, [this, range](const auto &numbers) { return arithmetic("*", numbers[0], numbers[1], range); }, dimFromBack);
  return failed() ? Object() : reduceTensor(Op::ReduceSum, *product.view, {product.view->rank - 1 - dimFromBack}, false, range);
}

Object Sema::matrixProduct(const Object &x, const Object &y, TextRange range) {
  if (!isTensor(x) || !isTensor(y))
    return fail(range, "a matrix product needs two tensors", "write '*' for a product of numbers");
  const int left = x.view->rank, right = y.view->rank;
  if (right == 1)
    return sumOfProducts(x, y, 0, range);
  const Object column = viewNamed(View::Step::Unsqueeze, *x.view, left); // [.., k, 1]
  if (left == 1 || failed())
    return failed() ? Object() : sumOfProducts(column, y, 1, range);
  const Object rows = viewNamed(View::Step::Unsqueeze, *y.view, right - 2); // [.., 1, k, n]
  return failed() ? Object() : sumOfProducts(column, rows, 1, range);
}

Object Sema::callProduct(std::string_view name, const View &receiver, const Arguments &arguments) {
  Object self;
  self.tag = Tag::View;
  self.view = &receiver;
  int dim = -1;
  std::vector<Object> others;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments.keywords[i] == "dim" && name == "vecdot") {
      const auto known = knownIntOf(arguments.values[i], arguments.ranges[i], "a dimension");
      if (!known)
        return {};
      dim = static_cast<int>(std::clamp<std::int64_t>(*known, -1000, 1000));
      continue;
    }
    if (!isTensor(arguments.values[i]))
      return fail(arguments.ranges[i], fmt::format("'{}' takes two rows or matrices", name), "e.g. torch.dot(a[q_idx], b[kv_idx])");
    others.push_back(arguments.values[i]);
  }
  if (others.size() != 1)
    return fail(arguments.call, fmt::format("'{}' takes 2 tensors, found {}", name, others.size() + 1),
                "e.g. torch.dot(a[q_idx], b[kv_idx])");
  const int left = receiver.rank, right = others[0].view->rank;
  struct Ranks {
    std::string_view name;
    int left, right;
  };
  static constexpr Ranks kRanks[] = {{"dot", 1, 1}, {"vdot", 1, 1}, {"inner", 1, 1}, {"mv", 2, 1}, {"mm", 2, 2}, {"bmm", 3, 3}};
  for (const Ranks &row : kRanks)
    if (row.name == name && (row.left != left || row.right != right))
      return fail(arguments.call,
                  fmt::format("'{}' takes tensors of ranks {} and {}, found {} and {}", name, row.left, row.right, left, right),
                  "index what is too much, e.g. torch.dot(a[q_idx], b[kv_idx])");
  if (name != "vecdot")
    return matrixProduct(self, others[0], arguments.call);
  const int rank = std::max(left, right);
  if (dim < -rank || dim >= rank)
    return fail(arguments.call, fmt::format("dimension {} of a tensor of rank {}", dim, rank),
                fmt::format("dimensions are {} to {}", -rank, rank - 1));
  return sumOfProducts(self, others[0], dim < 0 ? -1 - dim : rank - 1 - dim, arguments.call);
}

} // namespace attnjit::expr
