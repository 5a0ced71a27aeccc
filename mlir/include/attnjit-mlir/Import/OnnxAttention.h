// ONNX's Attention (opsets 23 to 25) as attn.attention, and what stands around it there: heads folded into columns, a cache that grows
// within the op, scores as an output. What comes out is tensor and linalg ops around one attn.attention; no mask is ever written out.
#pragma once

#include "attnjit-mlir/Dialect/Attn/Attn.h"

#include <cstdint>
#include <optional>

namespace attnjit::attn {

/// qk_matmul_output_mode: which scores the fourth output has. A hidden pair is -inf in Masked and 0 in Probabilities.
enum class OnnxScores { Raw = 0, Capped = 1, Masked = 2, Probabilities = 3 };

/// The inputs and attributes, under what they mean. softmax_precision has no place: the softmax is f32, of f64 operands f64.
struct OnnxAttention {
  /// [B, heads, rows, columns]; or all of them [B, rows, heads * columns], and then both numbers of heads.
  mlir::Value q, k, v;
  std::int64_t qHeads = 0, kvHeads = 0;
  /// attn_mask: rank 1 to 4, i1 (true: visible) or floats that are added. Its sizes are those of the last dimensions of [B, Hq, M, N], or
  /// 1, which repeats and has to be static; the last one is at most N: keys past it are hidden.
  mlir::Value mask{};
  /// past_key, past_value: [B, Hkv, P, columns], which go in front of k and v.
  mlir::Value pastKey{}, pastValue{};
  /// nonpad_kv_seqlen, tensor<?xi64>: keys of each batch that exist. Not together with a past.
  mlir::Value keysUsed{};
  /// Query i stands at position i + P; or, with keysUsed, the queries are the last of these keys. If causal it sees no key behind that.
  bool isCausal = false;
  /// It sees so many keys before and behind its position; below 0: all.
  std::int64_t leftWindow = -1, rightWindow = -1;
  std::optional<double> scale{}; ///< default 1 / sqrt(columns of q)
  double softcap = 0;            ///< 0: none. Scores are scaled, capped, then masked
  std::optional<OnnxScores> scores{};
};

struct OnnxResults {
  AttentionOp attention;
  mlir::Value y;                            ///< of the rank of q
  mlir::Value presentKey{}, presentValue{}; ///< [B, Hkv, P + N, columns], if there is a past
  mlir::Value scores{};                     ///< [B, Hq, M, keys] in the type of q, if they are wanted: these are written out
};

/// Fails with a diagnostic at `loc` on operands that do not belong together.
mlir::FailureOr<OnnxResults> buildOnnxAttention(mlir::OpBuilder &builder, mlir::Location loc, const OnnxAttention &attention);

} // namespace attnjit::attn
