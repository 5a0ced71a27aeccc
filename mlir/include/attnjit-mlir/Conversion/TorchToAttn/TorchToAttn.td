//===- TorchToAttn.td - pass convert-torch-to-attn ----------------------------------------------------------------------===//
#ifndef ATTNJIT_CONVERSION_TORCHTOATTN_TD
#define ATTNJIT_CONVERSION_TORCHTOATTN_TD

include "mlir/Pass/PassBase.td"

def ConvertTorchToAttnPass : Pass<"convert-torch-to-attn", "::mlir::ModuleOp"> {
  let summary = "Turns torch.hop_flex_attention, as torch-mlir imports PyTorch's flex_attention, into attn.attention";
  let description = [{
    Before: `torch.hop_flex_attention` on value tensors, with score_mod_fn and mask_mod_fn naming functions of `torch.aten` ops on tensors of rank 0.

    After: attn.attention on builtin tensors between `torch_c.to_builtin_tensor` and `torch_c.from_builtin_tensor`. The two functions are written as text, op by op, and read by the
    formula language, so what an op means there is what it means in a formula (docs/language.md). Private functions that nobody names any more are removed.

    The torch dialect is met by its names alone: the pass works where torch-mlir has registered it, and on the generic form of a module where it is not
    (`--allow-unregistered-dialect`). Errors: a function that takes more than its standard arguments, since the op has no operands for captured tensors; an op that
    the language does not have; a max_scores result that is used; operands without rank 4 and element type.
  }];
  let dependentDialects = ["::attnjit::attn::AttnDialect", "::mlir::arith::ArithDialect", "::mlir::tensor::TensorDialect"];
}

#endif // ATTNJIT_CONVERSION_TORCHTOATTN_TD
