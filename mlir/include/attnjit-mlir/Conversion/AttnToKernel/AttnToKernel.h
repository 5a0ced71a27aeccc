// attn.attention -> kernels beside the code that calls them, within a module of somebody else's. Pass documentation: AttnToKernel.td.
#pragma once

#include "mlir/Pass/Pass.h"

namespace attnjit::attn {

#define GEN_PASS_DECL
#include "attnjit-mlir/Conversion/AttnToKernel/AttnToKernel.h.inc"

void registerConvertAttnToCPUPass();
void registerConvertAttnToGPUPass();

/// Adds the passes that take a module of linalg, tensor, attn and the dialects below them down to LLVM dialect for the CPU: one-shot
/// bufferization across function boundaries, convert-attn-to-cpu, ownership-based deallocation, loops, LLVM.
void buildLowerToLlvm(mlir::OpPassManager &passes, const ConvertAttnToCPUPassOptions &kernels = {});
/// What these passes need of other dialects in a registry that does not hold all of MLIR (Pipelines.h has what LLVM dialect is reached by).
void registerLowerToLlvmDialects(mlir::DialectRegistry &registry);
/// The same as `attn-lower-to-llvm`.
void registerLowerToLlvmPipeline();

} // namespace attnjit::attn
