#include "GpuKernelFunction.h"

#include "attnjit/KernelAbi.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;

namespace attnjit::tile {

/// Makes a pointer parameter one that is passed by value.
static void passByValue(LLVM::LLVMFuncOp function, unsigned index, int64_t bytes, int64_t alignment) {
  Builder builder(function.getContext());
  Type type = LLVM::LLVMArrayType::get(builder.getI8Type(), bytes);
  function.setArgAttr(index, LLVM::LLVMDialect::getByValAttrName(), TypeAttr::get(type));
  function.setArgAttr(index, LLVM::LLVMDialect::getAlignAttrName(), builder.getI64IntegerAttr(alignment));
}

GpuKernelFunction createGpuKernel(OpBuilder &builder, const TileProgram &program, const GpuLaunch &launch) {
  constexpr int64_t kMapBytes = 128, kMapAlignment = 64; // CUtensorMap
  builder.setInsertionPoint(program.kernel);
  Emitter emit(builder, program.kernel->getLoc());
  auto memory =
      emit.make<LLVM::GlobalOp>(LLVM::LLVMArrayType::get(emit.i8(), 0), /*isConstant=*/false, LLVM::Linkage::External,
                                program.name + "_shared", Attribute(), launch.sharedAlignment, unsigned(NVVM::NVVMMemorySpace::Shared));
  bool hasMaps = launch.qBoxRows != 0;
  SmallVector<Type> parameters(hasMaps ? 4 : 1, emit.ptr());
  if (hasMaps)
    parameters.push_back(LLVM::LLVMPointerType::get(builder.getContext(), unsigned(NVVM::NVVMMemorySpace::Global)));
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(builder.getContext()), parameters);
  auto function = emit.make<LLVM::LLVMFuncOp>(program.name, type);
  passByValue(function, 0, sizeof(KernelArgs), alignof(KernelArgs));
  for (unsigned map = 1; hasMaps && map <= 3; ++map) {
    passByValue(function, map, kMapBytes, kMapAlignment);
    function.setArgAttr(map, NVVM::NVVMDialect::getGridConstantAttrName(), builder.getUnitAttr());
  }
  function->setAttr(NVVM::NVVMDialect::getKernelFuncAttrName(), builder.getUnitAttr());
  function->setAttr(NVVM::NVVMDialect::getMaxntidAttrName(), builder.getDenseI32ArrayAttr({int32_t(launch.threads)}));
  if (launch.handsRegistersOver) // which takes this attribute
    function->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(), builder.getI32IntegerAttr(1));
  auto say = [&](StringRef name, int64_t value) { function->setAttr(name, builder.getI64IntegerAttr(value)); };
  say("attnjit.threads_per_block", launch.threads);
  say("attnjit.shared_bytes", launch.sharedBytes);
  say("attnjit.q_box_rows", launch.qBoxRows);
  say("attnjit.kv_box_rows", launch.kvBoxRows);
  if (launch.stateRowBytes)
    say("attnjit.state_row_bytes", launch.stateRowBytes);

  Block *entry = function.addEntryBlock(builder);
  builder.setInsertionPointToEnd(entry);
  builder.setInsertionPoint(emit.make<LLVM::ReturnOp>(ValueRange()));
  GpuKernelFunction kernel{function, entry->getArgument(0), emit.make<LLVM::AddressOfOp>(memory), {}, {}, {}, {}};
  if (hasMaps)
    kernel.qMap = entry->getArgument(1), kernel.kMap = entry->getArgument(2), kernel.vMap = entry->getArgument(3),
    kernel.counters = entry->getArgument(4);
  return kernel;
}

void finishGpuKernel(const GpuKernelFunction &kernel, const TileProgram &program) {
  IRRewriter rewriter(program.kernel->getContext());
  LLVM::LLVMFuncOp function = kernel.function;
  hoistIndexConversions(function);
  (void)runRegionDCE(rewriter, function->getRegions());
  program.kernel->erase();
}

} // namespace attnjit::tile
