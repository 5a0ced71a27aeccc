//===- LinalgToAttn.td - pass raise-linalg-to-attn --------------------------------------------------------------------===//
#ifndef ATTNJIT_CONVERSION_LINALGTOATTN_TD
#define ATTNJIT_CONVERSION_LINALGTOATTN_TD

include "mlir/Pass/PassBase.td"

def RaiseLinalgToAttnPass : Pass<"raise-linalg-to-attn"> {
  let summary = "Recognises attention written out in linalg on tensors, and writes attn.attention in its place";
  let description = [{
    Before: softmax(f(q k^T)) v as frameworks lower it: two products (linalg.generic, batch_matmul and their kin, from the number zero), between them elementwise
    ops, and softmax as max, subtract, exp, sum, divide or as linalg.softmax.

    After: an attn.attention, with reshapes around it where heads and batches lie in one dimension. f becomes the score region: a scale, a bias from a captured tensor of any
    shape that broadcasts, positions from linalg.index, selects. A select between a score and -inf as the last step becomes the mask region, by which blocks of
    keys are left out. What the former ops computed is dead then, and canonicalization removes it.

    Ops are not matched by name or order. Every tensor is read as a function of positions, through reshapes, transposes, broadcasts and whatever elementwise ops there are; the
    maximum, the sum and the exponential belong to a softmax when their elements are provably the same. So heads may share keys (by an index h floordiv G, or a broadcast that is
    then collapsed), q and k may be widened from f16 or bf16 first, and p may be rounded to the type of v before its product, which the precision policy of schedules allows.

    What is not proved the same stays as it is: a product that adds up in less than f32, probabilities that somebody else uses too, 32-bit index arithmetic that might wrap, anything that no
    formula can say. Two differences remain, both where the written form gives NaN: a row without any visible key gives 0 (A5), and a masked
    score that is NaN is not seen (A3).

    A mask that is added is a sum with -inf, not a select: a score of inf or NaN shows through it. So it is kept as a sum, and no block is left out; with
    `assume-finite`, which promises that scores are finite, a sum with a select between 0 and -inf is a mask.
  }];
  let options = [Option<"assumeFinite", "assume-finite", "bool", "false", "scores before masking are finite, so adding -inf masks">];
  let dependentDialects = ["::attnjit::attn::AttnDialect", "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect"];
}

#endif // ATTNJIT_CONVERSION_LINALGTOATTN_TD
