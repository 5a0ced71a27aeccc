#include "Engine/CallCheck.h"

#include "Engine/CaptureCheck.h"
#include "Engine/MaskedCall.h"
#include "Engine/PageCheck.h"
#include "Engine/TensorCheck.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <tuple>
#include <vector>

namespace attnjit::engine {

namespace {

/// Bound of the narrow index class (KernelSpec::narrowIndices).
constexpr std::int64_t kNarrow = std::int64_t{1} << 30;

bool isNarrow(std::int64_t value) { return value >= -kNarrow && value <= kNarrow; }

OperandArg operandArg(const TensorRef &tensor, bool broadcastBatch) {
  OperandArg arg{tensor.data, {}};
  for (int dim = 0; dim < tensor.rank; ++dim)
    arg.strides[dim] = tensor.strides[dim];
  if (broadcastBatch)
    arg.strides[0] = 0;
  return arg;
}

std::string_view letterOf(int dim, const ForwardCall &call) {
  constexpr std::string_view key[] = {"B", "Hkv", "N", "D"}, pool[] = {"P", "Hkv", "page size", "D"};
  return call.pages ? pool[dim] : key[dim];
}

/// q, k and v against each other.
Result<void> checkInputs(const ForwardCall &call, bool needsData) {
  for (auto [name, tensor] : {std::pair{"q", &call.q}, {"k", &call.k}, {"v", &call.v}}) {
    if (Result<void> view = checkView(name, *tensor, 4, needsData); !view)
      return view;
  }
  const TensorRef &q = call.q, &k = call.k, &v = call.v;
  if (Result<void> dtypes = checkOperandDTypes({"q", q.dtype}, {"k", k.dtype}, {"v", v.dtype}); !dtypes)
    return dtypes;

  for (auto [name, tensor] : {std::pair{"q", &q}, {"v", &v}})
    if (tensor->sizes[3] < 1 || tensor->sizes[3] > kMaxHeadDim)
      return invalidTensor(name, fmt::format("its last size, the head dimension, is {}; it must be 1 to {} (sizes {})", tensor->sizes[3],
                                             kMaxHeadDim, sizesText(*tensor)));
  if (k.sizes[3] != q.sizes[3])
    return invalidTensor("k", fmt::format("its head dimension is {}, that of q is {}; they must be equal (k {}, q {})", k.sizes[3],
                                          q.sizes[3], sizesText(k), sizesText(q)));
  for (int dim : {1, 2})
    if (v.sizes[dim] != k.sizes[dim])
      return invalidTensor("v", fmt::format("its {} (dimension {}) is {}, that of k is {}; they must be equal (v {}, k {})",
                                            letterOf(dim, call), dim, v.sizes[dim], k.sizes[dim], sizesText(v), sizesText(k)));
  if (call.pages)
    if (Result<void> pages = checkPages(call, needsData); !pages)
      return pages;
  for (auto [name, tensor] : {std::pair{"k", &k}, {"v", &v}})
    if (!call.pages && tensor->sizes[0] != q.sizes[0] && tensor->sizes[0] != 1)
      return invalidTensor(name, fmt::format("its batch is {}, that of q is {}; it must be the same, or 1 to be shared ({} {}, q {})",
                                             tensor->sizes[0], q.sizes[0], name, sizesText(*tensor), sizesText(q)));
  const std::int64_t Hq = q.sizes[1], Hkv = k.sizes[1];
  if (Hq != 0 && (Hkv == 0 || Hq % Hkv != 0))
    return invalidTensor("k",
                         fmt::format("its head count is {}, that of q is {}; q's must be a multiple of it (grouped heads, A4)", Hkv, Hq));
  return {};
}

/// The descales by name.
struct NamedDescale {
  std::string_view name;
  const std::optional<TensorRef> &tensor;
};
std::array<NamedDescale, 3> descalesOf(const ForwardCall &call) {
  return {{{"qDescale", call.qDescale}, {"kDescale", call.kDescale}, {"vDescale", call.vDescale}}};
}

Result<void> checkDescales(const ForwardCall &call, bool needsData) {
  const std::int64_t B = call.q.sizes[0], Hkv = call.k.sizes[1];
  for (const auto &[name, tensor] : descalesOf(call)) {
    if (!tensor)
      continue;
    if (Result<void> view = checkView(name, *tensor, 2, needsData); !view)
      return view;
    if (tensor->dtype != DType::F32)
      return invalidTensor(name, fmt::format("its dtype is {}; expected f32, whatever the operands are", attnjit::name(tensor->dtype)));
    for (auto [dim, expected, what] : {std::tuple{0, B, "batch"}, {1, Hkv, "kv head"}})
      if (tensor->sizes[dim] != expected && tensor->sizes[dim] != 1)
        return invalidTensor(
            name, fmt::format("its {} size (dimension {}) is {}; expected {}, one factor for each {}, or 1 to share it (sizes {})", what,
                              dim, tensor->sizes[dim], expected, what, sizesText(*tensor)));
  }
  return {};
}

DescaleArg descaleArg(const std::optional<TensorRef> &tensor) {
  static constexpr float kOne = 1;
  if (!tensor)
    return {&kOne, {0, 0}};
  DescaleArg arg{static_cast<const float *>(tensor->data), {}};
  for (int dim : {0, 1})
    arg.strides[dim] = tensor->sizes[dim] == 1 ? 0 : tensor->strides[dim];
  return arg;
}

Result<void> checkOutput(std::string_view name, const TensorRef &tensor, DType dtype, std::span<const std::int64_t> sizes, bool needsData) {
  if (Result<void> view = checkView(name, tensor, static_cast<int>(sizes.size()), needsData); !view)
    return view;
  if (tensor.dtype != dtype)
    return invalidTensor(name, fmt::format("its dtype is {}, expected {}", attnjit::name(tensor.dtype), attnjit::name(dtype)));
  if (!std::equal(sizes.begin(), sizes.end(), tensor.sizes.begin()))
    return invalidTensor(name, fmt::format("expected sizes [{}], got {}", fmt::join(sizes.begin(), sizes.end(), ", "), sizesText(tensor)));
  return checkDisjointElements(name, tensor);
}

/// One logit per query head.
Result<void> checkSinks(const ForwardCall &call, bool needsData) {
  if (!call.sinks)
    return {};
  const TensorRef &sinks = *call.sinks;
  if (Result<void> view = checkView("sinks", sinks, 1, needsData); !view)
    return view;
  if (!isFloat(sinks.dtype))
    return invalidTensor("sinks", fmt::format("its dtype is {}; expected f32, bf16, f16 or f64", attnjit::name(sinks.dtype)));
  if (sinks.sizes[0] != call.q.sizes[1])
    return invalidTensor("sinks", fmt::format("it has {} elements; expected one per query head, {} (a stride of 0 repeats one)",
                                              sinks.sizes[0], call.q.sizes[1]));
  return {};
}

/// An output that surely shares memory with another operand. Interleaved views (a packed q, k, v, out buffer) are legal and pass.
Result<void> checkAliasing(const ForwardCall &call) {
  struct Named {
    std::string_view name;
    const TensorRef *tensor;
  };
  const Named outputs[] = {{"out", &call.out}, {"lse", call.lse ? &*call.lse : nullptr}, {"max", call.max ? &*call.max : nullptr}};
  std::vector<Named> all{{"q", &call.q}, {"k", &call.k}, {"v", &call.v}, {"sinks", call.sinks ? &*call.sinks : nullptr},
                         outputs[0],     outputs[1],     outputs[2]};
  for (const auto &[name, tensor] : descalesOf(call))
    all.push_back({name, tensor ? &*tensor : nullptr});
  for (const Named &output : outputs) {
    if (!output.tensor)
      continue;
    const ByteRange written = touchedBytes(*output.tensor);
    for (const Named &other : all) {
      if (!other.tensor || other.tensor == output.tensor)
        continue;
      const ByteRange touched = touchedBytes(*other.tensor);
      // Both start at the same element, or one leaves no gap in which the other could lie.
      const bool sameStart = output.tensor->data == other.tensor->data && written.end > written.begin && touched.end > touched.begin;
      if (sameStart || (written.intersects(touched) && (isGapless(*output.tensor) || isGapless(*other.tensor))))
        return invalidTensor(
            output.name,
            fmt::format("it shares memory with {}; results are written while operands are still read, so give it memory of its own",
                        other.name));
    }
  }
  return {};
}

/// The linear code of a position (A10) has to fit 64 bits.
Result<void> checkPositions(const Problem &problem) {
  const __int128 rows = static_cast<__int128>(problem.B) * problem.Hq;
  constexpr __int128 limit = std::numeric_limits<std::int64_t>::max();
  const bool fits = rows <= limit && rows * problem.M <= limit && (rows * problem.M == 0 || problem.N <= limit / (rows * problem.M));
  if (fits)
    return {};
  return Error{ErrorCode::InvalidArgument,
               fmt::format("B * Hq * M * N = {} * {} * {} * {} does not fit 64 bits", problem.B, problem.Hq, problem.M, problem.N)};
}

Result<void> checkOptions(const ForwardCall &call) {
  auto refuse = [](std::string why) { return Error{ErrorCode::InvalidArgument, std::move(why)}; };
  if (call.scale && !std::isfinite(*call.scale))
    return refuse(fmt::format("scale: {} is not a finite number; leave it out for 1/sqrt(D)", *call.scale));
  if (call.threads < 0)
    return refuse(fmt::format("threads: {} is negative; 0 means the engine's setting", call.threads));
  constexpr std::int64_t kMaxTile = 4096;
  for (auto [name, size] : {std::pair{"tiles.rows", call.tiles.rows}, {"tiles.cols", call.tiles.cols}})
    if (size < 0 || size > kMaxTile)
      return refuse(fmt::format("{}: {} is not a tile size; 0 lets the schedule choose, else 1 to {}", name, size, kMaxTile));
  return {};
}

/// What tensor copies of a GPU ask of q, k and v: addresses and strides of whole 16 bytes that go upward, coordinates of 31 bits, and a
/// batch of k and v for each of q. A dimension of one element has no neighbour, so its stride says nothing.
bool isFitForTensorCopies(const ForwardCall &call) {
  constexpr std::int64_t kUnit = 16, kMostRows = std::int64_t{1} << 31;
  if (call.pages || call.k.sizes[0] != call.q.sizes[0] || call.v.sizes[0] != call.q.sizes[0])
    return false;
  return std::ranges::all_of(std::array{&call.q, &call.k, &call.v}, [](const TensorRef *tensor) {
    bool fits = reinterpret_cast<std::uintptr_t>(tensor->data) % kUnit == 0 && tensor->sizes[2] < kMostRows;
    for (int dim = 0; dim < 3; ++dim)
      if (tensor->sizes[dim] > 1)
        fits &= tensor->strides[dim] > 0 && tensor->strides[dim] * static_cast<std::int64_t>(sizeInBytes(tensor->dtype)) % kUnit == 0;
    return fits;
  });
}

void describe(const ForwardCall &call, const ModImpl &mod, CheckedCall &checked) {
  Problem &problem = checked.problem;
  const TensorRef &q = call.q, &k = call.k, &v = call.v;
  problem.B = q.sizes[0];
  problem.paged = call.pages.has_value();
  problem.Bkv = call.pages ? call.pages->table.sizes[0] : std::max(k.sizes[0], v.sizes[0]);
  problem.Hq = q.sizes[1];
  problem.Hkv = k.sizes[1];
  problem.M = q.sizes[2];
  problem.N = call.pages ? call.pages->keys : k.sizes[2];
  problem.D = q.sizes[3];
  problem.Dv = v.sizes[3];
  problem.qType = q.dtype;
  problem.kvType = k.dtype;
  problem.outType = call.out.dtype;
  problem.scale = call.scale.value_or(1.0 / std::sqrt(static_cast<double>(problem.D)));
  // The only element of a row is contiguous whatever its stride says.
  auto lastIsOne = [](const TensorRef &tensor) { return tensor.strides[3] == 1 || tensor.sizes[3] == 1; };
  problem.contiguous = lastIsOne(q) && lastIsOne(k) && lastIsOne(v);
  problem.aligned = isFitForTensorCopies(call);
  problem.hasMask = mod.hasMask;
  problem.hasBlockMask = call.blockMask.has_value();
  problem.scoreIsIdentity = mod.scoreIsIdentity;
  problem.hasDescales = call.qDescale || call.kDescale || call.vDescale;
  problem.probIsIdentity = mod.probIsIdentity;
  problem.probIsHomogeneous = mod.probIsHomogeneous;
  if (call.sinks)
    problem.sinks = call.sinks->dtype;
  problem.wantsLse = call.lse.has_value();
  problem.wantsMax = call.max.has_value();
  problem.tiles = call.tiles;

  KernelArgs &args = checked.args;
  args.B = problem.B;
  args.Hq = problem.Hq;
  args.Hkv = problem.Hkv;
  args.M = problem.M;
  args.N = problem.N;
  args.scale = problem.scale;
  args.q = operandArg(q, false);
  args.k = operandArg(k, !call.pages && k.sizes[0] != problem.B);
  args.v = operandArg(v, !call.pages && v.sizes[0] != problem.B);
  if (call.pages)
    args.pages = {checked.pages.data(), problem.Bkv == 1 ? 0 : pagesPerBatch(call), k.sizes[2]};
  args.out = operandArg(call.out, false);
  if (problem.hasDescales) {
    args.qDescale = descaleArg(call.qDescale);
    args.kDescale = descaleArg(call.kDescale);
    args.vDescale = descaleArg(call.vDescale);
  }
  if (call.lse)
    args.lse = operandArg(*call.lse, false);
  if (call.max)
    args.max = operandArg(*call.max, false);
  if (call.sinks)
    args.sinks = {call.sinks->data, {0, call.sinks->strides[0], 0, 0}};
}

/// Which index classes this call needs: decided per call, because sizes and numbers are run-time arguments.
void classifyIndices(const ModImpl &mod, CheckedCall &checked) {
  Problem &problem = checked.problem;
  problem.narrowIndices = isNarrow(problem.B) && isNarrow(problem.Hq) && isNarrow(problem.M) && isNarrow(problem.N);
  for (std::size_t i = 0; i < checked.scalars.size(); ++i)
    if (mod.formula.scalars[i].kind == expr::Kind::Int)
      problem.narrowIndices &= isNarrow(checked.scalars[i].i);
  problem.checkedIndices = !mod.indicesProved(problem.B, problem.Hq, problem.M, problem.N, checked.bindings());
}

} // namespace

Result<CheckedCall> checkCall(const ForwardCall &call, const ModImpl &mod, CheckFor purpose) {
  const bool needsData = purpose == CheckFor::Launch;
  if (Result<void> inputs = checkInputs(call, needsData); !inputs)
    return inputs.error();
  if (Result<void> descales = checkDescales(call, needsData); !descales)
    return descales.error();
  if (Result<void> sinks = checkSinks(call, needsData); !sinks)
    return sinks.error();

  const std::int64_t sizes[] = {call.q.sizes[0], call.q.sizes[1], call.q.sizes[2], call.v.sizes[3]};
  const DType rowType = call.q.dtype == DType::F64 ? DType::F64 : DType::F32;
  if (Result<void> out = checkOutput("out", call.out, call.out.dtype, sizes, needsData); !out)
    return out.error();
  if (!isFloat(call.out.dtype)) // A12: q's, or another that the caller states with the tensor
    return invalidTensor(
        "out", fmt::format("its dtype is {}; expected a float dtype, as a rule that of q ({})", name(call.out.dtype), name(call.q.dtype)));
  if (call.out.sizes[3] > 1 && call.out.strides[3] != 1) // A12: kernels write whole vectors of a row
    return invalidTensor("out",
                         fmt::format("its last stride is {}; the columns of a row of the output must lie side by side (last stride 1)",
                                     call.out.strides[3]));
  for (auto [name, rows] : {std::pair{"lse", &call.lse}, {"max", &call.max}})
    if (*rows)
      if (Result<void> checked = checkOutput(name, **rows, rowType, std::span(sizes).first(3), needsData); !checked)
        return checked.error();
  if (needsData)
    if (Result<void> aliasing = checkAliasing(call); !aliasing)
      return aliasing.error();
  if (Result<void> options = checkOptions(call); !options)
    return options.error();

  CheckedCall checked;
  if (call.pages && needsData) {
    Result<std::vector<std::int64_t>> pages = readPages(call);
    if (!pages)
      return pages.error();
    checked.pages = std::move(*pages);
  }
  describe(call, mod, checked);
  if (Result<void> positions = checkPositions(checked.problem); !positions)
    return positions.error();
  if (call.blockMask)
    if (Result<void> fits = checkBlockMask(*call.blockMask, checked.problem); !fits)
      return fits.error();
  Result<BoundCaptures> bound = bindCaptures(call.captures, mod, purpose);
  if (!bound)
    return bound.error();
  checked.captures = std::move(bound->captures);
  checked.scalars = std::move(bound->scalars);
  classifyIndices(mod, checked);
  return checked;
}

Result<void> checkGroupOutputs(std::span<const ForwardCall> calls) {
  if (calls.size() < 2)
    return {};
  struct Written {
    ByteRange bytes;
    bool gapless;
    std::size_t call;
    std::string_view name;
  };
  std::vector<Written> outputs;
  for (std::size_t i = 0; i < calls.size(); ++i)
    for (auto [name, tensor] : {std::pair{"out", &calls[i].out},
                                {"lse", calls[i].lse ? &*calls[i].lse : nullptr},
                                {"max", calls[i].max ? &*calls[i].max : nullptr}}) {
      // What is no view at all is found, and named better, when its call is checked.
      if (!tensor || tensor->rank < 1 || tensor->rank > 4 || !checkView(name, *tensor, tensor->rank, true))
        continue;
      if (const ByteRange bytes = touchedBytes(*tensor); bytes.begin < bytes.end)
        outputs.push_back({bytes, isGapless(*tensor), i, name});
    }
  std::sort(outputs.begin(), outputs.end(), [](const Written &a, const Written &b) { return a.bytes.begin < b.bytes.begin; });
  for (std::size_t i = 1, widest = 0; i < outputs.size(); ++i) {
    const Written &before = outputs[widest], &here = outputs[i];
    const bool sameStart = before.bytes.begin == here.bytes.begin;
    if (before.call != here.call && before.bytes.intersects(here.bytes) && (sameStart || before.gapless || here.gapless))
      return Error{
          ErrorCode::InvalidArgument,
          fmt::format("call {}: its {} shares memory with {} of call {}; calls of a group run together, so give each memory of its own",
                      here.call, here.name, before.name, before.call)};
    if (here.bytes.end > before.bytes.end)
      widest = i;
  }
  return {};
}

} // namespace attnjit::engine
