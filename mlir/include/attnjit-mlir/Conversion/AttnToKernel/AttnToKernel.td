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

def ConvertAttnToGPUPass : Pass<"convert-attn-to-gpu", "::mlir::ModuleOp"> {
  let summary = "Replaces each attn.attention on memrefs by a call of a function to be written, and adds its kernel for NVIDIA GPUs in a gpu.module";
  let description = [{
    As convert-attn-to-cpu, but a compiler for GPUs has a launcher of its own: who copies what, on which stream, is its business. So

    * `func.func private @attention`, which is called with the operands in their order, is a declaration, to be defined by the compiler or its runtime;
    * `gpu.module @attention_module` with an `#nvvm.target` holds the kernel, an `llvm.func` with `gpu.kernel` and `nvvm.kernel` of arith, scf, vector, llvm and nvvm ops, and its dynamic shared
      memory. MLIR's `convert-to-llvm` (or `convert-scf-to-cf` and it) and `gpu-module-to-binary` take it from there.

    The declaration says what a launch needs, as attributes: `attnjit.kernel` (the symbol), `attnjit.threads_per_block`, `attnjit.shared_bytes` and `attnjit.tile_rows`. The kernel takes one
    KernelArgs by value (attnjit/KernelAbi.h), all of whose pointers are of the device, those to captures, scalars and the status word included; scalars are the op's and then its offsets. The grid is B * Hq * ceil(M /
    tile_rows) blocks. Sizes are not checked; they and integer scalars have to be below 2^30 in magnitude, and the status word starts as INT64_MAX.

    Tensor cores (mma.sync) where types and head sizes allow, else multiply-adds.
  }];
  let options = [Option<"chip", "chip", "std::string", "\"sm_80\"", "architecture: sm_80, sm_89, sm_90 ...">];
  let dependentDialects = [
    "::attnjit::attn::AttnDialect", "::attnjit::tile::TileDialect", "::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::gpu::GPUDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::math::MathDialect", "::mlir::memref::MemRefDialect", "::mlir::NVVM::NVVMDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect"];
}

#endif // ATTNJIT_CONVERSION_ATTNTOKERNEL_TD
