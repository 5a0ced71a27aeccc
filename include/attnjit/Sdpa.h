// torch.nn.functional.scaled_dot_product_attention over the engine: softmax(scale * q k^T + bias) v with a mask given as a tensor.
//
//   query  [..., Hq, L, E]     key [..., H, S, E]     value [..., H, S, Ev]     out [..., Hq, L, Ev]
//
// At least 2 and at most kMaxRank dimensions; all before the head are batch. They, and without enableGqa the heads too, are broadcast
// against each other as in torch (a size of 1, or a missing dimension, is repeated without a copy). A mask that is a formula needs none of
// this: give it to Engine::forward.
#pragma once

#include "attnjit/Bias.h"
#include "attnjit/Engine.h"

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

namespace attnjit::inline v0 {

/// No mask; a tensor broadcastable to [..., Hq, L, S], of bool (True = may attend) or of any float dtype (added to the scaled score); or a
/// causal bias of the very lengths.
using AttnMask = std::variant<std::monostate, TensorRef, CausalBias>;

struct SdpaCall {
  TensorRef query = {}, key = {}, value = {}, out = {};
  AttnMask attnMask = {};
  double dropoutP = 0;                         ///< share of pairs to drop; 0 for inference
  bool isCausal = false;                       ///< query i sees keys j <= i (top left), whatever the lengths; not together with attnMask
  std::optional<double> scale = {};            ///< default 1 / sqrt(E)
  bool enableGqa = false;                      ///< several query heads may share a key head: Hq a multiple of H
  std::optional<TensorRef> lse = {}, max = {}; ///< [..., Hq, L]: as ForwardCall's
  /// [..., H], broadcastable, f32: factors of quantized operands, as ForwardCall's. torch's quantized variant takes e4m3 and writes bf16;
  /// here any dtypes go that go without factors.
  std::optional<TensorRef> qDescale = {}, kDescale = {}, vDescale = {};
  std::optional<TensorRef> sinks = {}; ///< [Hq]: as ForwardCall's
  double softcap = 0;                  ///< as ForwardCall's
  /// Of the dropout, which torch keeps in a generator: the same two numbers drop the same pairs. Give each call an offset of its own,
  /// further on by the number of its pairs.
  std::uint64_t seed = 0, offset = 0;
  std::optional<BackendSet> backends = {};
  int threads = 0;
  void *stream = nullptr; ///< as ForwardCall's
  TileOptions tiles = {};
};

/// Computes the call. A row that sees no key gives 0. Errors: InvalidArgument naming the operand by torch's name and the cure, and those of
/// Engine::forward.
Result<ForwardReport> scaledDotProductAttention(const Engine &engine, const SdpaCall &call);

/// The call in the engine's terms, for explain(), prepare() and compileStages(). It is one ForwardCall, unless batch dimensions have
/// strides that no single stride can walk: then one for each step of those.
Result<std::vector<ForwardCall>> toForwardCalls(const SdpaCall &call);

/// What torch.backends.cuda.SDPAParams holds. Only shapes, strides and dtypes are looked at: data may be null.
struct SDPAParams {
  TensorRef query = {}, key = {}, value = {};
  AttnMask attnMask = {};
  double dropout = 0;
  bool isCausal = false;
  bool enableGqa = false;
};

/// Whether that backend computes such calls on this engine. `reasons`, if given, receives everything that speaks against it (torch warns of
/// the first thing only); a call that no backend takes has the reason "call".
bool canUseFlashAttention(const Engine &engine, const SDPAParams &params, std::vector<BackendReason> *reasons = nullptr);
bool canUseEfficientAttention(const Engine &engine, const SDPAParams &params, std::vector<BackendReason> *reasons = nullptr);
bool canUseCudnnAttention(const Engine &engine, const SDPAParams &params, std::vector<BackendReason> *reasons = nullptr);

} // namespace attnjit::inline v0
