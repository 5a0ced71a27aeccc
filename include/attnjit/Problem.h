// One call of attention as the user states it: operands, formulas, options.
//
// Shapes (sizes of TensorRef, always rank 4 for q, k, v, out and 3 for lse, max):
//
//   q   [B, Hq, M, D]      query
//   k   [B or 1, Hkv, N, D]   key; a batch of 1 is shared by every query batch
//   v   [B or 1, Hkv, N, Dv]  value
//   out [B, Hq, M, Dv]     output, as a rule of q's dtype
//   lse [B, Hq, M]         log of the sum of exponentials, natural log, f32 (f64 when q is f64)
//   max [B, Hq, M]         largest score of each row, same dtype as lse
//   sinks [Hq]             one logit of each query head that takes its share of the softmax, any float dtype
//
// k and v have one dtype, which may be narrower than q's: q's has to hold every number of it (holdsExactly). Computed is in f32, in f64
// when q is f64. With ForwardCall::pages, k and v are pools of pages instead (see PageTable). Hq must be a multiple of Hkv. 1 <= D, Dv <=
// kMaxHeadDim. Every size but D and Dv may be 0. Strides count elements and are free, except that no two elements of an output may share
// memory and that the last stride of out is 1. All memory stays the caller's; inputs are only read. With a GPU target, q, k, v, out, lse
// and max lie on the GPU, and stay alive until the stream has passed the launch; captures, sinks and descales may lie there or, up to 1 MiB
// each, in host memory, which is copied before the call returns; page tables are in host memory.
#pragma once

#include "attnjit/Backend.h"
#include "attnjit/BlockMask.h"
#include "attnjit/Mod.h"
#include "attnjit/Types.h"

#include <optional>
#include <string>
#include <vector>

namespace attnjit::inline v0 {

/// The largest head dimension of q, k and v.
inline constexpr std::int64_t kMaxHeadDim = 512;

/// Tile sizes to compile for; 0 = the schedule's own choice, which is right unless you are tuning. Part of the cache key.
struct TileOptions {
  std::int64_t rows = 0; ///< query rows per tile
  std::int64_t cols = 0; ///< keys per block
  bool operator==(const TileOptions &) const = default;
};

/// Keys and values in pages: k and v are pools [P, Hkv, page size, D or Dv], which all batches share, and row j of batch b is row
/// j mod page size of page table[b, floor(j / page size)]. Formulas, masks and plans see j. Results have the bits that rows in one piece
/// give.
struct PageTable {
  /// [B or 1, pages], i32 or i64, any strides. Entries past the page of row keys - 1 are not read.
  TensorRef table;
  /// N, of every batch. Sequences of several lengths are calls of one group (Engine::forwardGrouped), or end by the mask.
  std::int64_t keys = 0;
};

/// Dropout after the softmax and prob_mod: with i = offset + ((b * Hq + h) * M + q_idx) * N + kv_idx, the weight of a pair becomes 0 where
/// rand(seed, i) < p, and is divided by 1 - p elsewhere (docs/language.md has rand). So the same numbers drop the same pairs on every
/// pipeline, target, tile size and number of threads; the next call of a training step takes an offset further on by B * Hq * M * N.
/// Run-time numbers, but that p = 0 is no dropout, and costs nothing.
struct Dropout {
  double p = 0; ///< 0 to 1; compared as f32
  std::uint64_t seed = 0, offset = 0;
};

/// What a call does when the kernel that is best for it has still to be compiled.
enum class WhenMissing {
  Wait,     ///< it waits
  Fallback, ///< another kernel computes it, and the best one is made in the background (EngineOptions::whenMissing)
};

/// A forward call. `data` of the tensors may be null for explain(), prepare() and stages(), which look at shapes only.
struct ForwardCall {
  Mod mod;
  TensorRef q, k, v, out;
  std::optional<PageTable> pages; ///< k and v are pools of pages
  std::optional<TensorRef> lse, max;
  std::optional<double> scale; ///< default 1 / sqrt(D)
  /// Factors of quantized operands, f32 [B or 1, Hkv or 1]: the elements of q, k or v stand for themselves times the factor of their batch
  /// and kv head. score_mod, lse and max see scores of what they stand for. Left out: 1.
  std::optional<TensorRef> qDescale, kDescale, vDescale;
  std::vector<CaptureArgument> captures;
  /// Attention sinks (A15): p = exp(u) / (exp(sinks[h]) + sum exp(u)). lse includes them, max does not. A sink of -inf is none, and a row
  /// that sees no key gives 0 still. New values need no new kernel; another dtype, or their presence, does.
  std::optional<TensorRef> sinks = {};
  /// The scaled score becomes softcap * tanh(score / softcap) before score_mod sees it. A run-time number; 0 = none.
  double softcap = 0;
  std::optional<Dropout> dropout = {};
  /// Which blocks of keys each block of queries sees. A block in none of its lists contributes nothing, a full one is not asked about the
  /// mask_mod, a partial one is. Its mask_mod is used where `mod` has none; its lengths must be M and N, its batch and heads B and Hq or 1.
  std::optional<BlockMask> blockMask;
  std::optional<BackendSet> backends; ///< default: SdpaKernelScope::current()
  int threads = 0;                    ///< at most this many workers; 0 = the engine's setting. Never changes the result.
  void *stream = nullptr;             ///< a CUstream (or cudaStream_t) of the engine's GPU; null = the default stream. GPU only
  bool timeOnDevice = false;          ///< the report's launch tells its time (Launch::deviceNs). GPU only
  TileOptions tiles;
  std::optional<WhenMissing> whenMissing = {}; ///< default: the engine's
};

/// What the predicates of a pipeline are asked about: a call, checked and summed up.
struct Problem {
  std::int64_t B = 0, Bkv = 0, Hq = 0, Hkv = 0, M = 0, N = 0, D = 0, Dv = 0;
  DType qType = DType::F32, kvType = DType::F32, outType = DType::F32;
  double scale = 1;
  bool contiguous = true; ///< the last strides of q, k and v are 1
  bool aligned = true;    ///< for a GPU: q, k and v are fit for tensor copies (pointers and strides of whole 16 bytes, sizes below 2^31)
  bool paged = false;     ///< k and v are pools of pages
  bool hasMask = false;
  bool hasBlockMask = false;
  bool hasDescales = false;
  bool scoreIsIdentity = true;
  bool probIsIdentity = true;
  bool probIsHomogeneous = true; ///< one pass over the keys computes it (A13)
  std::optional<DType> sinks;    ///< their dtype; empty: there are none
  bool wantsLse = false, wantsMax = false;
  bool checkedIndices = false; ///< some captured index could not be proved in bounds (A10)
  bool narrowIndices = true;   ///< M, N, B, Hq and all int numbers lie within +-2^30
  bool forGpu = false;         ///< the engine's target is a GPU
  TileOptions tiles;
};

} // namespace attnjit::inline v0
