#include "attnjit/Sdpa.h"

#include "Attention/BatchFold.h"
#include "Attention/FixedMod.h"
#include "Engine/Guard.h"
#include "Engine/TensorCheck.h"
#include "Support/ForkMutex.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <mutex>
#include <tuple>

namespace attnjit::inline v0 {

using namespace attention;
using engine::invalidTensor;
using engine::sizesText;

namespace {

/// What a call is about once everything is broadcast. `batch` has at least one size.
struct Shapes {
  int rank = 4; ///< of query, key and value with missing dimensions filled in
  std::vector<std::int64_t> batch;
  std::int64_t Hq = 0, H = 0, L = 0, S = 0, E = 0, Ev = 0;

  std::vector<std::int64_t> sizes(std::int64_t heads, std::int64_t rows, std::int64_t cols) const {
    std::vector<std::int64_t> all = batch;
    all.insert(all.end(), {heads, rows, cols});
    return all;
  }
};

Result<void> checkOperand(std::string_view name, const TensorRef &tensor) {
  if (tensor.rank < 2 || tensor.rank > kMaxRank)
    return invalidTensor(name, fmt::format("it has {} dimensions; expected 2 ([length, head dimension]) to {}", tensor.rank, kMaxRank));
  if (Result<void> view = engine::checkView(name, tensor, tensor.rank, false); !view)
    return view;
  return {};
}

/// The size that `sizes` are repeated to: all alike but for ones. Error text otherwise.
Result<std::int64_t> commonSize(std::string_view what, std::initializer_list<std::pair<std::string_view, std::int64_t>> sizes) {
  std::int64_t common = 1;
  for (const auto &[name, size] : sizes)
    if (size != 1) {
      if (common != 1 && size != common)
        return invalidTensor(
            name, fmt::format("its {} is {}, another operand's is {}; they must be equal, or 1 to be repeated", what, size, common));
      common = size;
    }
  return common;
}

Result<std::pair<std::int64_t, std::int64_t>> headsOf(std::int64_t q, std::int64_t k, std::int64_t v, bool enableGqa) {
  if (!enableGqa) {
    Result<std::int64_t> heads = commonSize("head count", {{"query", q}, {"key", k}, {"value", v}});
    if (heads)
      return std::pair{*heads, *heads};
    return Error{heads.error().code,
                 heads.error().message +
                     fmt::format(" (query has {}, key {}, value {}).{}", q, k, v,
                                 k > 0 && k == v && q % k == 0 ? " To let query heads share key heads, set enableGqa" : "")};
  }
  if (k != v)
    return invalidTensor("value", fmt::format("its head count is {}, that of key is {}; grouped heads need them equal", v, k));
  if (q != 0 && (k == 0 || q % k != 0))
    return invalidTensor("key",
                         fmt::format("its head count is {}, that of query is {}; with enableGqa the latter must be a multiple", k, q));
  return std::pair{q, k};
}

Result<Shapes> shapesOf(const TensorRef &query, const TensorRef &key, const TensorRef &value, bool enableGqa) {
  for (auto [name, tensor] : {std::pair{"query", &query}, {"key", &key}, {"value", &value}})
    if (Result<void> checked = checkOperand(name, *tensor); !checked)
      return checked.error();
  if (Result<void> dtypes = engine::checkOperandDTypes({"query", query.dtype}, {"key", key.dtype}, {"value", value.dtype}); !dtypes)
    return dtypes.error();
  Shapes shapes;
  shapes.rank = std::max({4, query.rank, key.rank, value.rank});
  const int rank = shapes.rank;
  const TensorRef q = withRank(query, rank), k = withRank(key, rank), v = withRank(value, rank);
  shapes.L = q.sizes[rank - 2];
  shapes.S = k.sizes[rank - 2];
  shapes.E = q.sizes[rank - 1];
  shapes.Ev = v.sizes[rank - 1];
  if (k.sizes[rank - 1] != shapes.E)
    return invalidTensor("key", fmt::format("its last size is {}, that of query is {}; they must be equal (key {}, query {})",
                                            k.sizes[rank - 1], shapes.E, sizesText(key), sizesText(query)));
  if (v.sizes[rank - 2] != shapes.S)
    return invalidTensor("value", fmt::format("its length is {}, that of key is {}; they must be equal (value {}, key {})",
                                              v.sizes[rank - 2], shapes.S, sizesText(value), sizesText(key)));
  Result<std::pair<std::int64_t, std::int64_t>> heads = headsOf(q.sizes[rank - 3], k.sizes[rank - 3], v.sizes[rank - 3], enableGqa);
  if (!heads)
    return heads.error();
  std::tie(shapes.Hq, shapes.H) = *heads;
  for (int dim = 0; dim < rank - 3; ++dim) {
    Result<std::int64_t> size = commonSize(fmt::format("size {} from the end", rank - dim),
                                           {{"query", q.sizes[dim]}, {"key", k.sizes[dim]}, {"value", v.sizes[dim]}});
    if (!size)
      return size.error();
    shapes.batch.push_back(*size);
  }
  return shapes;
}

/// An output in the shape that the inputs ask for, which has `missing` leading dimensions more than the caller's.
Result<TensorRef> outputView(std::string_view name, const TensorRef &tensor, std::span<const std::int64_t> sizes, int missing) {
  const std::span<const std::int64_t> expected = sizes.subspan(static_cast<std::size_t>(missing));
  if (tensor.rank != static_cast<int>(expected.size()) || !std::equal(expected.begin(), expected.end(), tensor.sizes.begin()))
    return invalidTensor(name, fmt::format("its sizes are {}, expected [{}]", sizesText(tensor), fmt::join(expected, ", ")));
  return withRank(tensor, static_cast<int>(sizes.size()));
}

/// Factors repeated to [batch..., heads].
Result<TensorRef> descaleView(std::string_view name, const TensorRef &descale, const Shapes &shapes, std::int64_t heads) {
  const int rank = shapes.rank - 2;
  if (descale.rank < 0 || descale.rank > rank)
    return invalidTensor(
        name, fmt::format("it has {} dimensions; at most {}: those of key without its length and head dimension", descale.rank, rank));
  if (Result<void> view = engine::checkView(name, descale, descale.rank, false); !view)
    return view.error();
  if (descale.dtype != DType::F32)
    return invalidTensor(name, fmt::format("its dtype is {}; expected f32, whatever the operands are", attnjit::name(descale.dtype)));
  std::vector<std::int64_t> sizes = shapes.batch;
  sizes.push_back(heads);
  return expandTo(name, withRank(descale, rank), sizes);
}

/// The mask repeated to [batch..., Hq, L, S].
Result<TensorRef> maskView(const TensorRef &mask, const Shapes &shapes) {
  if (mask.rank < 0 || mask.rank > shapes.rank)
    return invalidTensor("attn_mask", fmt::format("it has {} dimensions; at most the {} of query, key and value", mask.rank, shapes.rank));
  if (Result<void> view = engine::checkView("attn_mask", mask, mask.rank, false); !view)
    return view.error();
  if (mask.dtype != DType::Bool && !isFloat(mask.dtype))
    return invalidTensor(
        "attn_mask",
        fmt::format("its dtype is {}; expected bool (True = may attend) or a float dtype (added to the score)", name(mask.dtype)));
  return expandTo("attn_mask", withRank(mask, shapes.rank), shapes.sizes(shapes.Hq, shapes.L, shapes.S));
}

/// A mask tensor as a capture of exactly the dimensions in which it varies: what it repeats over is no part of the formula, so the planner
/// shares its answers there.
struct MaskCapture {
  Mod mod;
  TensorRef tensor;
};

/// `mask` is [b, h, q, kv].
MaskCapture maskCapture(const TensorRef &mask) {
  static constexpr const char *kNames[] = {"b", "h", "q_idx", "kv_idx"};
  MaskCapture capture;
  capture.tensor = mask;
  capture.tensor.rank = 0;
  std::string indices;
  for (int dim = 0; dim < 4; ++dim) {
    if (mask.sizes[dim] == 1 || mask.strides[dim] == 0)
      continue;
    indices += fmt::format("{}{}", indices.empty() ? "" : ", ", kNames[dim]);
    capture.tensor.sizes[capture.tensor.rank] = mask.sizes[dim];
    capture.tensor.strides[capture.tensor.rank++] = mask.strides[dim];
  }

  static auto &mutex = *new ForkMutex;                       // never ends: a fork() may come at any time
  static std::map<std::pair<DType, std::string>, Mod> known; // a few dozen at most: dtypes times subsets of four dimensions
  std::lock_guard lock(mutex);
  auto found = known.find({mask.dtype, indices});
  if (found == known.end()) {
    const std::string element = indices.empty() ? "attn_mask" : fmt::format("attn_mask[{}]", indices);
    const bool isBool = mask.dtype == DType::Bool;
    const Mod mod = fixedMod(isBool ? "" : "score + " + element, isBool ? element : "", {{"attn_mask", mask.dtype, capture.tensor.rank}});
    found = known.emplace(std::pair{mask.dtype, indices}, mod).first;
  }
  capture.mod = found->second;
  return capture;
}

Result<void> checkOptions(const SdpaCall &call, const Shapes &shapes) {
  auto refuse = [](std::string why) { return Error{ErrorCode::InvalidArgument, std::move(why)}; };
  if (!(call.dropoutP >= 0 && call.dropoutP <= 1))
    return refuse(fmt::format("dropout_p: {} is no probability", call.dropoutP));
  if (call.isCausal && !std::holds_alternative<std::monostate>(call.attnMask))
    return refuse("is_causal and attn_mask are both given; give one. For both at once, write the mask as a formula and give it to "
                  "Engine::forward, e.g. 'attn_mask[q_idx, kv_idx] & (q_idx >= kv_idx)'");
  if (const auto *bias = std::get_if<CausalBias>(&call.attnMask); bias && (bias->seqLenQ != shapes.L || bias->seqLenKv != shapes.S))
    return refuse(fmt::format("attn_mask: the causal bias was made for {} queries and {} keys, the call has {} and {}", bias->seqLenQ,
                              bias->seqLenKv, shapes.L, shapes.S));
  return {};
}

Result<std::vector<ForwardCall>> lower(const SdpaCall &call) {
  Result<Shapes> shapes = shapesOf(call.query, call.key, call.value, call.enableGqa);
  if (!shapes)
    return shapes.error();
  if (Result<void> options = checkOptions(call, *shapes); !options)
    return options.error();

  // Every operand with all batch dimensions written out; optional ones follow.
  const int rank = shapes->rank, missing = rank - std::max({call.query.rank, call.key.rank, call.value.rank});
  std::vector<TensorRef> operands;
  auto add = [&](Result<TensorRef> view) -> Result<void> {
    if (!view)
      return view.error();
    operands.push_back(*view);
    return {};
  };
  const std::vector<std::int64_t> rows = shapes->sizes(shapes->Hq, shapes->L, 0);
  const std::span<const std::int64_t> rowSizes(rows.data(), rows.size() - 1);
  const std::int64_t headsOfKey = call.enableGqa ? shapes->H : shapes->Hq;
  const std::vector<std::int64_t> keySizes = shapes->sizes(headsOfKey, shapes->S, shapes->E);
  if (Result<void> ok = add(expandTo("query", withRank(call.query, rank), shapes->sizes(shapes->Hq, shapes->L, shapes->E))); !ok)
    return ok.error();
  if (Result<void> ok = add(expandTo("key", withRank(call.key, rank), keySizes)); !ok)
    return ok.error();
  if (Result<void> ok = add(expandTo("value", withRank(call.value, rank), shapes->sizes(headsOfKey, shapes->S, shapes->Ev))); !ok)
    return ok.error();
  if (Result<void> ok = add(outputView("out", call.out, shapes->sizes(shapes->Hq, shapes->L, shapes->Ev), missing)); !ok)
    return ok.error();
  for (auto [name, tensor] : {std::pair{"lse", &call.lse}, {"max", &call.max}})
    if (*tensor)
      if (Result<void> ok = add(outputView(name, **tensor, rowSizes, missing)); !ok)
        return ok.error();
  for (auto [name, tensor] : {std::pair{"q_descale", &call.qDescale}, {"k_descale", &call.kDescale}, {"v_descale", &call.vDescale}})
    if (*tensor)
      if (Result<void> ok = add(descaleView(name, **tensor, *shapes, headsOfKey)); !ok)
        return ok.error();
  const auto *mask = std::get_if<TensorRef>(&call.attnMask);
  if (mask)
    if (Result<void> ok = add(maskView(*mask, *shapes)); !ok)
      return ok.error();

  Result<std::vector<FoldedStep>> steps = foldBatch(operands, rank - 3);
  if (!steps)
    return steps.error();
  std::vector<ForwardCall> calls;
  std::uint64_t offset = call.offset; // of the dropout: each step draws numbers of its own
  for (const FoldedStep &step : *steps) {
    ForwardCall &forward = calls.emplace_back();
    auto next = step.begin();
    forward.q = *next++;
    forward.k = *next++;
    forward.v = *next++;
    forward.out = *next++;
    if (call.lse)
      forward.lse = *next++;
    if (call.max)
      forward.max = *next++;
    for (auto [wanted, slot] :
         {std::pair{&call.qDescale, &forward.qDescale}, {&call.kDescale, &forward.kDescale}, {&call.vDescale, &forward.vDescale}})
      if (*wanted)
        *slot = *next++;
    if (mask) {
      MaskCapture capture = maskCapture(*next++);
      forward.mod = std::move(capture.mod);
      forward.captures = {{"attn_mask", capture.tensor}};
    } else if (const auto *bias = std::get_if<CausalBias>(&call.attnMask)) {
      forward.mod = bias->mod();
      forward.captures = bias->captures();
    } else if (call.isCausal) {
      forward.mod = causalUpperLeft(shapes->L, shapes->S).mod();
    }
    forward.scale = call.scale;
    forward.sinks = call.sinks;
    forward.softcap = call.softcap;
    if (call.dropoutP > 0) {
      forward.dropout = Dropout{call.dropoutP, call.seed, offset};
      offset += static_cast<std::uint64_t>(forward.q.sizes[0] * forward.q.sizes[1]) *
                static_cast<std::uint64_t>(forward.q.sizes[2] * forward.k.sizes[2]);
    }
    forward.backends = call.backends;
    forward.threads = call.threads;
    forward.stream = call.stream;
    forward.tiles = call.tiles;
  }
  return calls;
}

/// A dense output without memory, for questions about shapes.
TensorRef shapeOnly(DType dtype, std::span<const std::int64_t> sizes) {
  TensorRef tensor;
  tensor.dtype = dtype;
  tensor.rank = static_cast<int>(sizes.size());
  std::int64_t stride = 1;
  for (int dim = tensor.rank - 1; dim >= 0; --dim) {
    tensor.sizes[dim] = sizes[dim];
    tensor.strides[dim] = stride;
    if (__builtin_mul_overflow(stride, std::max<std::int64_t>(1, sizes[dim]), &stride))
      stride = INT64_MAX; // the engine will say that this is more than memory can hold
  }
  return tensor;
}

Result<BackendReport> verdictOf(const Engine &engine, const SDPAParams &params, SDPBackend backend) {
  Result<Shapes> shapes = shapesOf(params.query, params.key, params.value, params.enableGqa);
  if (!shapes)
    return shapes.error();
  std::vector<std::int64_t> sizes = shapes->sizes(shapes->Hq, shapes->L, shapes->Ev);
  sizes.erase(sizes.begin(), sizes.begin() + (shapes->rank - std::max({params.query.rank, params.key.rank, params.value.rank})));
  SdpaCall call{.query = params.query,
                .key = params.key,
                .value = params.value,
                .out = shapeOnly(params.query.dtype, sizes),
                .attnMask = params.attnMask,
                .dropoutP = params.dropout,
                .isCausal = params.isCausal,
                .enableGqa = params.enableGqa};
  call.backends = BackendSet{backend};
  Result<std::vector<ForwardCall>> calls = toForwardCalls(call);
  if (!calls)
    return calls.error();
  Result<ExplainReport> report = engine.explain(calls->front()); // the others have the same shapes and strides
  if (!report)
    return report.error();
  return *std::find_if(report->backends.begin(), report->backends.end(), [&](const BackendReport &row) { return row.backend == backend; });
}

bool canUse(const Engine &engine, const SDPAParams &params, SDPBackend backend, std::vector<BackendReason> *reasons) {
  const Result<BackendReport> verdict = engine::guarded([&] { return verdictOf(engine, params, backend); });
  if (reasons)
    reasons->clear();
  if (!verdict) {
    if (reasons)
      reasons->push_back({"call", false, verdict.error().message});
    return false;
  }
  if (reasons)
    std::copy_if(verdict->reasons.begin(), verdict->reasons.end(), std::back_inserter(*reasons),
                 [](const BackendReason &r) { return !r.ok; });
  return verdict->accepted;
}

} // namespace

Result<std::vector<ForwardCall>> toForwardCalls(const SdpaCall &call) {
  return engine::guarded([&] { return lower(call); });
}

Result<ForwardReport> scaledDotProductAttention(const Engine &engine, const SdpaCall &call) {
  Result<std::vector<ForwardCall>> calls = toForwardCalls(call);
  if (!calls)
    return calls.error();
  return calls->size() == 1 ? engine.forward(calls->front()) : engine.forwardGrouped(*calls);
}

bool canUseFlashAttention(const Engine &engine, const SDPAParams &params, std::vector<BackendReason> *reasons) {
  return canUse(engine, params, SDPBackend::FlashAttention, reasons);
}

bool canUseEfficientAttention(const Engine &engine, const SDPAParams &params, std::vector<BackendReason> *reasons) {
  return canUse(engine, params, SDPBackend::EfficientAttention, reasons);
}

bool canUseCudnnAttention(const Engine &engine, const SDPAParams &params, std::vector<BackendReason> *reasons) {
  return canUse(engine, params, SDPBackend::CudnnAttention, reasons);
}

} // namespace attnjit::inline v0
