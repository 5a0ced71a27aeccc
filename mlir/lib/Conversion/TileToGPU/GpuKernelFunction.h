// The function that a GPU schedule fills. Private to this room.
#pragma once

#include "../TileToVector/Emitter.h"
#include "attnjit-mlir/Dialect/Tile/TileProgram.h"

namespace attnjit::tile {

/// How a kernel is launched (Schedules.h).
struct GpuLaunch {
  int64_t threads, sharedBytes;
  int64_t sharedAlignment = 16;
  int64_t qBoxRows = 0, kvBoxRows = 0; ///< of tensor maps; 0: the kernel takes none
  int64_t stateRowBytes = 0;           ///< of a kernel whose blocks are parts (KernelAbi.h)
  bool handsRegistersOver = false;     ///< from one warpgroup to another
};

struct GpuKernelFunction {
  mlir::LLVM::LLVMFuncOp function;
  mlir::Value args;                       ///< KernelArgs
  mlir::Value shared;                     ///< the block's shared memory, whose size is the launch's
  mlir::Value qMap, kMap, vMap, counters; ///< with tensor maps only
};

/// Creates the empty kernel next to program.kernel. The builder is left at its entry, before the return.
GpuKernelFunction createGpuKernel(mlir::OpBuilder &builder, const TileProgram &program, const GpuLaunch &launch);
/// Takes constants out of the indices that become floats: float(base + constant) is float(base) + constant, and the base, the same for all
/// elements of a row, is converted once. Exact as long as indices are below 2^24, then within one rounding.
void hoistIndexConversions(mlir::Operation *function);

/// Erases the program, and what the expanders offered and nothing took up.
void finishGpuKernel(const GpuKernelFunction &kernel, const TileProgram &program);

} // namespace attnjit::tile
