#include "attnjit-mlir/Pipelines/Pipelines.h"

#include "attnjit-mlir/Dialect/Tile/Tile.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace attnjit::pipelines {

namespace {

/// The op that a stage's module has to hold, alone.
template <typename Op> FailureOr<Op> onlyOp(ModuleOp module, llvm::StringRef what) {
  Op found;
  for (Operation &op : *module.getBody()) {
    auto candidate = dyn_cast<Op>(op);
    if (!candidate)
      return op.emitOpError("may not stand in the module of this stage, which holds one ") << what;
    if (found)
      return op.emitOpError("is the second ") << what << " of the module; this stage has exactly one";
    found = candidate;
  }
  if (!found)
    return module.emitOpError("holds no ") << what;
  return found;
}

/// The kernel of a module that holds one, and private functions that it calls.
template <typename Function> FailureOr<Function> kernelAmongPhases(ModuleOp module, llvm::StringRef what) {
  Function kernel;
  for (Operation &op : *module.getBody()) {
    auto candidate = dyn_cast<Function>(op);
    if (!candidate)
      return op.emitOpError("may not stand in the module of this stage, which holds one ") << what << " and private ones";
    if (candidate.isPrivate())
      continue;
    if (kernel)
      return op.emitOpError("is the second public ") << what << " of the module; this stage has exactly one";
    kernel = candidate;
  }
  if (!kernel)
    return module.emitOpError("holds no public ") << what;
  return kernel;
}

llvm::LogicalResult verifyAttn(ModuleOp module) {
  FailureOr<func::FuncOp> function = onlyOp<func::FuncOp>(module, "func.func around an attn.forward");
  if (failed(function))
    return failure();
  int64_t count = 0;
  (*function)->walk([&](attn::ForwardOp) { ++count; });
  if (count != 1)
    return function->emitOpError("has to hold exactly one attn.forward, got ") << count;
  return success();
}

llvm::LogicalResult verifyTile(ModuleOp module) {
  FailureOr<tile::KernelOp> kernel = onlyOp<tile::KernelOp>(module, "tile.kernel");
  if (failed(kernel))
    return failure();
  return success(succeeded(tile::TileProgram::match(*kernel)));
}

/// Fails on the first op below `root` whose dialect is not listed.
llvm::LogicalResult verifyDialects(Operation *root, llvm::ArrayRef<llvm::StringRef> dialects) {
  WalkResult result = root->walk([&](Operation *op) -> WalkResult {
    if (llvm::is_contained(dialects, op->getName().getDialectNamespace()))
      return WalkResult::advance();
    op->emitOpError("may not occur in this stage");
    return WalkResult::interrupt();
  });
  return success(!result.wasInterrupted());
}

/// A size that the launcher will go by.
llvm::LogicalResult verifySize(Operation *function, llvm::StringRef name) {
  auto size = function->getAttrOfType<IntegerAttr>(name);
  if (size && size.getType().isInteger(64) && size.getInt() >= 0 && size.getInt() <= INT32_MAX)
    return success();
  return function->emitOpError("needs the attribute ") << name << ", an i64 from 0 to 2^31 - 1";
}

/// (args, begin, end, workspace) of CpuKernelFn.
template <typename FunctionType> llvm::LogicalResult verifySignature(Operation *function, FunctionType type, llvm::ArrayRef<Type> inputs) {
  MLIRContext *context = function->getContext();
  Type pointer = LLVM::LLVMPointerType::get(context), integer = IntegerType::get(context, 64);
  if (inputs == llvm::ArrayRef<Type>{pointer, integer, integer, pointer})
    return success();
  return function->emitOpError("has to take (!llvm.ptr, i64, i64, !llvm.ptr) as CpuKernelFn does, got ") << type;
}

llvm::LogicalResult verifyVector(ModuleOp module) {
  FailureOr<func::FuncOp> function = kernelAmongPhases<func::FuncOp>(module, "func.func");
  if (failed(function))
    return failure();
  if (failed(verifySize(*function, "attnjit.workspace_bytes")))
    return failure();
  for (llvm::StringRef optional : {"attnjit.state_row_bytes", "attnjit.rounds"})
    if ((*function)->hasAttr(optional) && failed(verifySize(*function, optional)))
      return failure();
  FunctionType type = function->getFunctionType();
  if (failed(verifySignature(*function, type, type.getInputs())))
    return failure();
  return verifyDialects(module, {"builtin", "func", "arith", "math", "vector", "scf", "llvm"});
}

bool isGpuKernel(LLVM::LLVMFuncOp function) { return function && function->hasAttr(NVVM::NVVMDialect::getKernelFuncAttrName()); }

/// The kernel of a GPU stage: alone but for shared memory, taking KernelArgs by value, and saying how it is launched.
llvm::LogicalResult verifyGpuKernel(ModuleOp module, llvm::ArrayRef<llvm::StringRef> dialects) {
  LLVM::LLVMFuncOp kernel;
  for (Operation &op : *module.getBody()) {
    auto global = dyn_cast<LLVM::GlobalOp>(op);
    if (global && global.getAddrSpace() == unsigned(NVVM::NVVMMemorySpace::Shared))
      continue;
    auto function = dyn_cast<LLVM::LLVMFuncOp>(op);
    if (!isGpuKernel(function) || kernel)
      return op.emitOpError("may not stand in the module of this stage, which holds one llvm.func with nvvm.kernel and shared memory");
    kernel = function;
  }
  if (!kernel)
    return module.emitOpError("holds no llvm.func with nvvm.kernel");
  for (llvm::StringRef attribute : {"attnjit.threads_per_block", "attnjit.shared_bytes", "attnjit.q_box_rows", "attnjit.kv_box_rows"})
    if (failed(verifySize(kernel, attribute)))
      return failure();
  if (kernel->hasAttr("attnjit.state_row_bytes") && failed(verifySize(kernel, "attnjit.state_row_bytes")))
    return failure();
  // KernelArgs; then, where there are boxes, three tensor maps and the counters.
  llvm::ArrayRef<Type> parameters = kernel.getFunctionType().getParams();
  const unsigned byValue = kernel->getAttrOfType<IntegerAttr>("attnjit.q_box_rows").getInt() == 0 ? 1 : 4;
  bool fits = parameters.size() == (byValue == 1 ? 1 : 5) && llvm::all_of(parameters, llvm::IsaPred<LLVM::LLVMPointerType>);
  for (unsigned i = 0; fits && i < byValue; ++i)
    fits = bool(kernel.getArgAttr(i, LLVM::LLVMDialect::getByValAttrName()));
  if (!fits)
    return kernel.emitOpError(
        "has to take KernelArgs by value, one !llvm.ptr with llvm.byval; with tensor boxes, three tensor maps likewise and "
        "a pointer to counters after it");
  return verifyDialects(kernel, dialects);
}

llvm::LogicalResult verifyLlvm(ModuleOp module) {
  if (llvm::any_of(module.getOps<LLVM::LLVMFuncOp>(), isGpuKernel))
    return verifyGpuKernel(module, {"llvm", "nvvm"});
  FailureOr<LLVM::LLVMFuncOp> function = kernelAmongPhases<LLVM::LLVMFuncOp>(module, "llvm.func");
  if (failed(function))
    return failure();
  LLVM::LLVMFunctionType type = function->getFunctionType();
  if (failed(verifySignature(*function, type, type.getParams())))
    return failure();
  return verifyDialects(module, {"builtin", "llvm"});
}

} // namespace

llvm::LogicalResult verifyStage(ModuleOp module, MlirStage stage) {
  switch (stage) {
  case MlirStage::Attn:
    return verifyAttn(module);
  case MlirStage::Tile:
    return verifyTile(module);
  case MlirStage::Vector:
    return verifyVector(module);
  case MlirStage::Gpu:
    return verifyGpuKernel(module, {"arith", "scf", "vector", "llvm", "nvvm"});
  case MlirStage::Llvm:
    return verifyLlvm(module);
  }
  llvm_unreachable("stage");
}

} // namespace attnjit::pipelines
