//===- AttnToKernel.td - passes convert-attn-to-cpu and convert-attn-to-gpu -------------------------------------------===//
#ifndef ATTNJIT_CONVERSION_ATTNTOKERNEL_TD
#define ATTNJIT_CONVERSION_ATTNTOKERNEL_TD

include "mlir/Pass/PassBase.td"

def ConvertAttnToCPUPass : Pass<"convert-attn-to-cpu", "::mlir::ModuleOp"> {
  let summary = "Replaces each attn.attention on memrefs by a call, and adds what is called to the module";
  let description = [{
    Whatever else the module holds stays as it is. The regions are read as a formula, so that the analyses, the closed form of the mask, by which
    blocks of keys are left out, and the schedules apply as to a formula from text.

    Before: `attn.attention` on memrefs, anywhere below a function.

    After: `func.call @attention(operands)` in its place, and at the end of the module

    * `func.func private @attention`, which fills in a KernelArgs (attnjit/KernelAbi.h) on its stack and calls the kernel in an scf.parallel over ranges of tiles, each with scratch
      memory of its own from aligned_alloc. Lowered to a loop or to threads, the results are the same bits;
    * `llvm.func internal @attention_kernel`, the kernel, whose body is of arith, vector, scf and llvm ops, as convert-tile-to-vector leaves it. It calls nothing.

    It comes before ownership-based deallocation, which cannot look into regions of formulas. Equal ops share both. What types do not say is checked when the function runs, by cf.assert: that sizes agree, that sizes, offsets and integer scalars
    are below 2^30 in magnitude, and that no captured tensor is indexed out of range, unless that is proved from static sizes.

    A region that no formula can say (an unsigned comparison, for example) is an error at the operation that has no counterpart.

    `pipeline=auto` takes the streaming schedule for up to 16 queries if their number is static, else the flash schedule, and the generic lowering where these refuse.
  }];
  let options = [
    Option<"pipeline", "pipeline", "std::string", "\"auto\"", "auto, math, flash or efficient">,
    Option<"vectorBits", "vector-bits", "int64_t", "256", "width of a native vector: 256 (AVX2) or 512 (AVX-512)">,
  ];
  let dependentDialects = [
    "::attnjit::attn::AttnDialect", "::attnjit::tile::TileDialect", "::mlir::arith::ArithDialect", "::mlir::cf::ControlFlowDialect",
    "::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect", "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect"];
}

#endif // ATTNJIT_CONVERSION_ATTNTOKERNEL_TD
