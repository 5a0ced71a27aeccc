// The GPU lowerings of a tile program. Each replaces the tile.kernel op by an llvm.func with the attribute nvvm.kernel.
//
// What a CPU schedule and a GPU schedule share is the program, the plan and the ABI, not the machine: the same AbiAccess reads KernelArgs,
// the same walk over the plan picks the blocks, the same MapExpander fills in the formula. Here an element is one scalar of an accumulator
// fragment at a known (row, column), a tile belongs to one thread block, and state lives in its threads' registers.
//
// The emitted function takes KernelArgs by value (a byval pointer parameter of sizeof(KernelArgs) bytes); every pointer in it is a device
// pointer, `functions` is not used. It is launched on a one-dimensional grid; tiles are numbered as in KernelAbi.h.
//
//   block   attribute "attnjit.threads_per_block"       (i64)
//   shared  attribute "attnjit.shared_bytes"            (i64) dynamic shared memory; above 48 KiB it has to be asked for at launch
//   grid    B * Hq * ceil(M / tileRows), one block per tile; nothing is launched where that is 0
//
// A kernel with the attributes "attnjit.q_box_rows" and "attnjit.kv_box_rows" (i64) other than 0 reads Q, K and V by tensor copies:
//
//   after KernelArgs  three tensor maps (CUtensorMap) by value, of q, k and v: 16-bit elements, dimensions (columns, rows, heads, batches),
//   boxes of
//                     64 columns x q_box_rows (q) or kv_box_rows (k, v) x 1 x 1, 128-byte swizzle, zeros outside. A dimension of size 0
//                     counts as 1. Then a pointer to two u32 of device memory, 0 before the launch and 0 again after it.
//   grid              at most as many blocks as run at once, one per multiprocessor: each takes tiles until there are none
//   needs             pointers of q, k and v aligned to 16 bytes, and strides of rows, heads and batches that are multiples of 16 bytes; M
//   and N
//                     below 2^31. A problem that is not so needs a kernel without tensor copies.
//
// A kernel with the attribute "attnjit.state_row_bytes" (i64) computes parts (KernelAbi.h), which merge themselves:
//
//   grid      one block per unit of a part; no block for merges
//   states    of all units, aligned to 16 bytes, in device memory; behind them one i32 for each tile, 0 before the launch. Neither is
//             read with one part
#pragma once

#include "attnjit-mlir/Conversion/TileToVector/Schedules.h"

namespace attnjit::tile {

class MmaSplitAttr;
class SimtAttr;
class WgmmaAttr;

/// What a GPU schedule must know about the machine.
struct GpuTarget {
  std::string chip;             ///< sm_80 ...
  int64_t sharedBytes = 101376; ///< shared memory that one thread block may have; together they may have a kilobyte more, less one each
  bool hasWgmma = false;        ///< warpgroup products, tensor copies and registers that change hands
  bool alignedOperands = true;  ///< q, k and v of every launch are fit for tensor copies (above: needs)

  /// The facts of an architecture by its name; one that is not known gets those which all have in common.
  static GpuTarget forChip(llvm::StringRef chip);
};

/// FLASH_ATTENTION for sm_80 and later: mma.sync on tiles in shared memory. Sixteen query rows per warp, scores and accumulators in
/// registers.
TileSizes chooseMmaSyncTile(int64_t headDim, int64_t valueDim);
/// Why a program cannot be scheduled; empty = it can.
std::optional<std::string> mmaSyncRefusal(const TileProgram &program, const GpuTarget &target);
/// mmaSyncRefusal must have been asked.
llvm::LogicalResult lowerMmaSync(const TileProgram &program, const GpuTarget &target);

/// EFFICIENT_ATTENTION for sm_80 and later: the query rows of all heads of a kv head in one tile, the keys in parts, mma.sync.
TileSizes chooseMmaSplitTile(int64_t headDim, int64_t valueDim, bool widensKeys, const GpuTarget &target);
std::optional<std::string> mmaSplitRefusal(const TileProgram &program, const GpuTarget &target, MmaSplitAttr choices);
/// mmaSplitRefusal must have been asked.
llvm::LogicalResult lowerMmaSplit(const TileProgram &program, const GpuTarget &target, MmaSplitAttr choices);

/// FLASH_ATTENTION for sm_90a: tensor copies by a producer warpgroup, wgmma by the others.
/// Whether its threads can bring operands that are not fit for tensor copies: by pieces of 4 bytes at least, of rows that 31 bits number.
bool threadsCopyForWgmma(int64_t headDim, int64_t valueDim, bool narrowIndices);
TileSizes chooseWgmmaTile(int64_t headDim, int64_t valueDim, bool formulasNeedRegisters);
std::optional<std::string> wgmmaRefusal(const TileProgram &program, const GpuTarget &target, WgmmaAttr choices);
/// wgmmaRefusal must have been asked.
llvm::LogicalResult lowerWgmma(const TileProgram &program, const GpuTarget &target, WgmmaAttr choices);

/// MATH: multiply-adds of single threads in the compute type, on any GPU; takes every program that is not split.
TileSizes chooseSimtTile(int64_t valueDim, int64_t computeBits);
std::optional<std::string> simtRefusal(const TileProgram &program, const GpuTarget &target, SimtAttr choices);
/// simtRefusal must have been asked.
llvm::LogicalResult lowerSimt(const TileProgram &program, const GpuTarget &target, SimtAttr choices);

enum class GpuPipeline { Flash, Math };

/// The chooser: writes the attribute `schedule` of the program's kernel, unless it is there.
void chooseGpuSchedule(const TileProgram &program, const GpuTarget &target, GpuPipeline pipeline);
/// As the schedules' own, for the one that the program's kernel names.
std::optional<std::string> gpuRefusal(const TileProgram &program, const GpuTarget &target);
/// gpuRefusal must have been asked.
llvm::LogicalResult lowerForGpu(const TileProgram &program, const GpuTarget &target);

} // namespace attnjit::tile
