// The CPU lowerings of a tile program. Each replaces the tile.kernel op by a func.func with the ABI of CpuKernelFn (KernelFrame.h) and
// sets on it the integer attribute "attnjit.workspace_bytes"; one whose work is cut into (tile, part) units also "attnjit.state_row_bytes"
// and, where they are gone through twice, "attnjit.rounds" (KernelAbi.h); where it calls through KernelArgs::functions,
// "attnjit.calls_functions".
#pragma once

#include "attnjit-mlir/Dialect/Tile/TileProgram.h"

#include <optional>
#include <string>

namespace attnjit::tile {

/// What multiplies bf16 on a CPU, pairs of elements at a time, with sums in f32.
enum class Bf16Unit {
  None,
  Vector, ///< AVX-512 BF16: vdpbf16ps
  Tile,   ///< AMX-BF16: tdpbf16ps on tiles of 16 x 16 sums; AVX-512 BF16 as well
};

/// What a CPU schedule must know about the machine.
struct CpuTarget {
  int64_t vectorBits = 256; ///< 128: SSE4.2 or NEON; 256: AVX2 + FMA + F16C; 512: AVX-512 F/BW/DQ/VL
  int64_t registers = 16;   ///< vector registers
  Bf16Unit bf16 = Bf16Unit::None;
  bool callsFunctions = true; ///< what f64 has no short recipe for is called through KernelArgs::functions; else all is inline
};

/// Tile sizes which a schedule wants for a problem; AttnToTile needs them.
struct TileSizes {
  int64_t rows, cols;
};

/// MATH: op by op over scratch buffers; accepts every legal program. It gives the dialect its executable meaning.
TileSizes chooseGenericTile(int64_t headDim, int64_t valueDim);
llvm::LogicalResult lowerGeneric(const TileProgram &program, const CpuTarget &target);

/// FLASH_ATTENTION: the transposed register-blocked schedule. `flashRefusal` says why a program cannot be scheduled; empty = it can.
/// `computeBits`: 32, or 64 for f64. `inBf16`: q, k and v are bf16.
TileSizes chooseFlashTile(int64_t headDim, int64_t valueDim, int64_t computeBits, bool inBf16, const CpuTarget &target);
std::optional<std::string> flashRefusal(const TileProgram &program, const CpuTarget &target);
/// `inPhases`: the phases of a tile (packing, scores, maps ...) become private functions after the kernel, which calls them.
llvm::LogicalResult lowerFlash(const TileProgram &program, const CpuTarget &target, bool inPhases = false);

/// EFFICIENT_ATTENTION: streams K and V once for all query heads of a kv head, in parts of the keys whose states are merged. It wants a
/// split program (tile.split).
TileSizes chooseEfficientTile(int64_t headDim, int64_t valueDim, const CpuTarget &target);
std::optional<std::string> efficientRefusal(const TileProgram &program, const CpuTarget &target);
llvm::LogicalResult lowerEfficient(const TileProgram &program, const CpuTarget &target);

} // namespace attnjit::tile
