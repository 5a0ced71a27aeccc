// Attention over packed sequences of different lengths (torch.nn.attention.varlen), with formulas, which PyTorch's lacks.
//
//   q, out [Tq, Hq, D]    k [Tk, Hkv, D]    v [Tk, Hkv, Dv]        the tokens of all sequences, one after another
//   cuSeqQ = [0, 5, 7, 20]                                         sequence 0 has queries 0..4, sequence 1 has 5..6, sequence 2 has 7..19
//
// Every sequence is computed as a call of its own, all of them in one parallel region (Engine::forwardGrouped). So no pair of different
// sequences is ever looked at, a sequence has the same bits whatever it is packed with, formulas see positions inside their
// sequence and keep what is known about them, and new lengths never compile anything.
#pragma once

#include "attnjit/Engine.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace attnjit::inline v0 {

/// Keys that a query may see, counted from its own place when both sequences end together (bottom right): query i of Lq sees key j of Lk
/// iff i + (Lk - Lq) - left <= j <= i + (Lk - Lq) + right. -1 = no bound on that side; {-1, 0} is causal. Run-time numbers.
struct VarlenWindow {
  std::int64_t left = -1, right = -1;
};

struct VarlenCall {
  /// b is the number of the sequence, q_idx and kv_idx count inside it, h is the query head.
  Mod mod = {};
  std::vector<CaptureArgument> captures = {};
  TensorRef q = {}, k = {}, v = {}, out = {};
  /// [S + 1], i32 or i64: prefix sums of the lengths, in host memory whatever the target. They start with 0, never fall, and end within Tq
  /// or Tk. Tokens after the last sequence are not read, and their rows of the outputs not written.
  TensorRef cuSeqQ = {}, cuSeqK = {};
  /// No sequence may be longer. Needed for nothing else.
  std::optional<std::int64_t> maxQ = {}, maxK = {};
  VarlenWindow window = {};
  /// [S], i32 or i64: only the first so many keys of a sequence exist (a cache that is not full). The window counts from their end.
  std::optional<TensorRef> seqUsedK = {};
  /// [S, pages], i32 or i64: k and v are pools [P, page size, Hkv, D] of pages, and row s names the pages of sequence s in order. Then
  /// seqUsedK says the lengths and cuSeqK stays empty.
  std::optional<TensorRef> blockTable = {};
  bool enableGqa = false; ///< query heads may share key heads: Hq a multiple of Hkv
  std::optional<double> scale = {};
  /// [Hq, Tq] (head first, as PyTorch's operator has it and its documentation does not), f32, or f64 for f64 operands; any strides.
  std::optional<TensorRef> lse = {}, max = {};
  /// f32 [S or 1, Hkv or 1]: factors of quantized operands, as ForwardCall's, one row for each sequence.
  std::optional<TensorRef> qDescale = {}, kDescale = {}, vDescale = {};
  std::optional<TensorRef> sinks = {}; ///< [Hq]: as ForwardCall's, the same for every sequence
  double softcap = 0;                  ///< as ForwardCall's
  std::optional<BackendSet> backends = {};
  int threads = 0;
  void *stream = nullptr; ///< as ForwardCall's
  TileOptions tiles = {};
};

/// Computes the call into call.out (varlen_attn_out; C++ callers own their outputs, so varlen_attn is the same). A query that sees no key
/// gives 0. Errors: InvalidArgument naming the operand, the sequence and the cure; those of Engine::forward, with the sequence.
///
/// Paged keys are read where they lie (ForwardCall::pages), in pages of any size, with every formula and mask; the bits do not depend on
/// which pages were free.
Result<ForwardReport> varlenAttention(const Engine &engine, const VarlenCall &call);

} // namespace attnjit::inline v0
