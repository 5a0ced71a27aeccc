#include "attnjit-mlir/Pipelines/Pipelines.h"

#include "mlir/Conversion/ConvertToLLVM/ToLLVMPass.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Target/LLVMIR/Export.h"

#include "llvm/IR/Module.h"

using namespace mlir;

namespace attnjit::pipelines {

void buildVectorToLlvm(OpPassManager &passes) {
  passes.addPass(createSCFToControlFlowPass());
  // One conversion for all dialects: nine separate ones take twice as long. Without rollback the driver keeps no history.
  ConvertToLLVMPassOptions options;
  options.allowPatternRollback = false;
  passes.addPass(createConvertToLLVMPass(options));
  passes.addPass(createReconcileUnrealizedCastsPass());
}

VectorToLlvm::VectorToLlvm(MLIRContext *context) : passes(context, ModuleOp::getOperationName()) {
  // verifyStage checks the end of the stage; LLVM's verifier checks the code once more.
  passes.enableVerifier(false);
  buildVectorToLlvm(passes);
}

llvm::LogicalResult VectorToLlvm::run(ModuleOp module) {
  if (failed(passes.run(module)))
    return failure();
  return verifyStage(module, MlirStage::Llvm);
}

std::unique_ptr<llvm::Module> llvmToLl(ModuleOp module, llvm::LLVMContext &context) {
  // CpuBackend::optimize verifies the LLVM module once, for every way in.
  return translateModuleToLLVMIR(module, context, "attention", /*disableVerification=*/true);
}

} // namespace attnjit::pipelines
