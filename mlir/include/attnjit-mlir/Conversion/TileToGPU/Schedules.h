// The GPU lowerings of a tile program. Each replaces the tile.kernel op by an llvm.func with the attribute nvvm.kernel.
//
// What a CPU schedule and a GPU schedule share is the program, the plan and the ABI, not the machine: the same AbiAccess reads KernelArgs, the
// same walk over the plan picks the blocks, the same MapExpander fills in the formula. Here an element is one scalar of an accumulator
// fragment at a known (row, column), a tile belongs to one thread block, and state lives in its threads' registers.
//
// The emitted function takes KernelArgs by value (a byval pointer parameter of sizeof(KernelArgs) bytes); every pointer in it is a device
// pointer, `functions` is not used. It is launched on a one-dimensional grid with one block per tile, in the tile order of KernelAbi.h:
//
//   grid    B * Hq * ceil(M / tileRows)                 nothing is launched where that is 0
//   block   attribute "attnjit.threads_per_block"       (i64)
//   shared  attribute "attnjit.shared_bytes"            (i64) dynamic shared memory; above 48 KiB it has to be asked for at launch
#pragma once

#include "attnjit-mlir/Conversion/TileToVector/Schedules.h"

namespace attnjit::tile {

/// What a GPU schedule must know about the machine.
struct GpuTarget {
  std::string chip;             ///< sm_80 ...
  int64_t sharedBytes = 101376; ///< shared memory that one thread block may have

  /// The facts of an architecture by its name; one that is not known gets those which all have in common.
  static GpuTarget forChip(llvm::StringRef chip);
};

/// FLASH_ATTENTION for sm_80 and later: mma.sync on tiles in shared memory. Sixteen query rows per warp, scores and accumulators in registers.
TileSizes chooseMmaSyncTile(int64_t headDim, int64_t valueDim);
/// Why a program cannot be scheduled; empty = it can.
std::optional<std::string> mmaSyncRefusal(const TileProgram &program, const GpuTarget &target);
/// mmaSyncRefusal must have been asked.
llvm::LogicalResult lowerMmaSync(const TileProgram &program, const GpuTarget &target);

} // namespace attnjit::tile
