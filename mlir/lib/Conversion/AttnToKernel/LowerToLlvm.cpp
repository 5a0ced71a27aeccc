#include "attnjit-mlir/Conversion/AttnToKernel/AttnToKernel.h"
#include "attnjit-mlir/Pipelines/Pipelines.h"

#include "mlir/Conversion/AffineToStandard/AffineToStandard.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/Transforms/BufferDeallocationOpInterfaceImpl.h"
#include "mlir/Dialect/Arith/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Bufferization/Pipelines/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/FuncBufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/ControlFlow/Transforms/BufferDeallocationOpInterfaceImpl.h"
#include "mlir/Dialect/ControlFlow/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/Linalg/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/MemRef/Transforms/AllocationOpInterfaceImpl.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/SCF/Transforms/BufferDeallocationOpInterfaceImpl.h"
#include "mlir/Dialect/SCF/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Tensor/Transforms/BufferizableOpInterfaceImpl.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassOptions.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;

namespace attnjit::attn {

namespace {

/// Those of convert-attn-to-cpu.
struct LowerToLlvmOptions : PassPipelineOptions<LowerToLlvmOptions> {
  Option<std::string> pipeline{*this, "pipeline", llvm::cl::desc("auto, math, flash or efficient"), llvm::cl::init("auto")};
  Option<int64_t> vectorBits{*this, "vector-bits", llvm::cl::desc("width of a native vector: 256 (AVX2) or 512 (AVX-512)"),
                             llvm::cl::init(256)};
};

} // namespace

void buildLowerToLlvm(OpPassManager &passes, const ConvertAttnToCPUPassOptions &kernels) {
  bufferization::OneShotBufferizePassOptions bufferize;
  bufferize.bufferizeFunctionBoundaries = true;
  // Dense boundaries: kernels read rows of stride 1 faster than rows of any stride.
  bufferize.functionBoundaryTypeConversion = bufferization::LayoutMapOption::IdentityLayoutMap;
  passes.addPass(bufferization::createOneShotBufferizePass(bufferize));
  passes.addPass(createConvertAttnToCPUPass(kernels));
  bufferization::buildBufferDeallocationPipeline(passes, {});
  passes.addNestedPass<func::FuncOp>(createConvertLinalgToLoopsPass());
  passes.addPass(memref::createExpandStridedMetadataPass());
  passes.addPass(createLowerAffinePass());
  passes.addPass(createCanonicalizerPass());
  pipelines::buildVectorToLlvm(passes);
}

void registerLowerToLlvmDialects(DialectRegistry &registry) {
  pipelines::registerDialects(registry);
  registry.insert<affine::AffineDialect, bufferization::BufferizationDialect, linalg::LinalgDialect, tensor::TensorDialect>();
  arith::registerBufferDeallocationOpInterfaceExternalModels(registry);
  arith::registerBufferizableOpInterfaceExternalModels(registry);
  bufferization::func_ext::registerBufferizableOpInterfaceExternalModels(registry);
  cf::registerBufferDeallocationOpInterfaceExternalModels(registry);
  cf::registerBufferizableOpInterfaceExternalModels(registry);
  linalg::registerBufferizableOpInterfaceExternalModels(registry);
  memref::registerAllocationOpInterfaceExternalModels(registry);
  scf::registerBufferDeallocationOpInterfaceExternalModels(registry);
  scf::registerBufferizableOpInterfaceExternalModels(registry);
  tensor::registerBufferizableOpInterfaceExternalModels(registry);
  registerConvertMemRefToLLVMInterface(registry);
}

void registerLowerToLlvmPipeline() {
  PassPipelineRegistration<LowerToLlvmOptions>(
      "attn-lower-to-llvm", "From linalg, tensors and attn.attention to LLVM dialect, for the CPU",
      [](OpPassManager &passes, const LowerToLlvmOptions &options) { buildLowerToLlvm(passes, {options.pipeline, options.vectorBits}); });
}

} // namespace attnjit::attn
