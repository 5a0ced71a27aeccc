// attn.attention from what other formats say: formula text, PyTorch's flex_attention, ONNX's FlexAttention; OnnxAttention.h has ONNX's
// Attention.
//
// flex_attention(q, k, v, score_mod, block_mask) is buildAttention with the formula of its two functions; ONNX's FlexAttention the same
// with score_mod and prob_mod, whose subgraphs an importer writes as text or as an expr::Formula. Both scale by 1 / sqrt(D) unless told
// otherwise and map query head h to kv head h / (Hq / Hkv), as the op does.
#pragma once

#include "Expr/Ir.h"
#include "attnjit-mlir/Dialect/Attn/Attn.h"

namespace attnjit::attn {

/// Tensors of an attn.attention (Attn.td), and what its formula captures.
struct AttentionOperands {
  mlir::Value q, k, v;
  mlir::Value scale{}, sinks{}; ///< may be null
  llvm::SmallVector<mlir::Value> captures{},
      scalars{};         ///< in the order of the formula's tables; of scalars those that the caller has to give
  mlir::Type outType{};  ///< element type of the output; null: that of q
  bool wantsLse = false; ///< a second result
};

/// Builds the op on new output tensors. Number literals of the formula become constants, sizes of captured tensors tensor.dim. Fails, with
/// a diagnostic at `loc`, if captures or scalars are not as many as the formula has, or if its text makes tensors of its own.
mlir::FailureOr<AttentionOp> buildAttention(mlir::OpBuilder &builder, mlir::Location loc, const expr::Formula &formula,
                                            const AttentionOperands &operands);

} // namespace attnjit::attn
