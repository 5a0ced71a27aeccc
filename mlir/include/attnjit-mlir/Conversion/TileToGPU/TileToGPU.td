//===- TileToGPU.td - pass convert-tile-to-gpu ------------------------------------------------------------------------===//
#ifndef ATTNJIT_CONVERSION_TILETOGPU_TD
#define ATTNJIT_CONVERSION_TILETOGPU_TD

include "mlir/Pass/PassBase.td"

def ConvertTileToGPUPass : Pass<"convert-tile-to-gpu", "::mlir::ModuleOp"> {
  let summary = "Replaces each tile.kernel by a kernel for NVIDIA GPUs";
  let description = [{
    Before: `tile.kernel @f` in normal form (tile-verify).

    After: `llvm.func @f(%args: !llvm.ptr {llvm.byval}, ...)` with `nvvm.kernel` and the launch sizes `attnjit.threads_per_block` and
    `attnjit.shared_bytes` (Schedules.h beside this file says how it is launched, and with which other parameters), and
    `llvm.mlir.global @f_shared`, its dynamic shared memory. The body is arith, scf, llvm and nvvm; nothing in it needs libdevice.

    Which schedule a program gets stands in its attribute `schedule`: `#tile.mma_sync` (sm_80 and later), `#tile.wgmma` (sm_90a), for one with a
    tile.split `#tile.mma_split` (sm_80 and later), or `#tile.simt`, which takes any other. Where it is absent the chooser of the pipeline writes it first: FLASH_ATTENTION has
    the first two, EFFICIENT_ATTENTION the third, MATH the last. The pass fails with the schedule's reason on a program that it cannot take.
  }];
  let options = [Option<"chip", "chip", "std::string", "\"sm_80\"", "architecture: sm_80, sm_89, sm_90 ...">,
                 Option<"math", "math", "bool", "false", "schedules of MATH, not of FLASH_ATTENTION">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect", "::mlir::NVVM::NVVMDialect", "::mlir::scf::SCFDialect",
                           "::mlir::vector::VectorDialect"];
}

#endif // ATTNJIT_CONVERSION_TILETOGPU_TD
