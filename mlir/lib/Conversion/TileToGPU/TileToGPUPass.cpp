#include "attnjit-mlir/Conversion/TileToGPU/TileToGPU.h"

#include "attnjit-mlir/Conversion/TileToGPU/Schedules.h"
#include "attnjit-mlir/Dialect/Tile/Tile.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"

using namespace mlir;

namespace attnjit::tile {

#define GEN_PASS_DECL_CONVERTTILETOGPUPASS
#include "attnjit-mlir/Conversion/TileToGPU/TileToGPU.h.inc"
#define GEN_PASS_DEF_CONVERTTILETOGPUPASS
#include "attnjit-mlir/Conversion/TileToGPU/TileToGPU.h.inc"

namespace {

struct ConvertTileToGPUPass : impl::ConvertTileToGPUPassBase<ConvertTileToGPUPass> {
  using ConvertTileToGPUPassBase::ConvertTileToGPUPassBase;

  void runOnOperation() override {
    GpuTarget target = GpuTarget::forChip(chip);
    for (KernelOp kernel : llvm::make_early_inc_range(getOperation().getOps<KernelOp>())) {
      FailureOr<TileProgram> program = TileProgram::match(kernel);
      if (failed(program))
        return signalPassFailure();
      chooseGpuSchedule(*program, target, math ? GpuPipeline::Math : GpuPipeline::Flash);
      if (failed(lowerForGpu(*program, target)))
        return signalPassFailure();
    }
  }
};

} // namespace

void registerConvertTileToGPUPass() {
  registerPass([] { return createConvertTileToGPUPass(); });
}

} // namespace attnjit::tile
