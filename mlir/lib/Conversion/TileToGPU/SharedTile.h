// A tile of an operand in shared memory. Private to this room.
//
// Rows are padded by 16 bytes: a row then takes an odd number of 16-byte units (the head dimension is a multiple of 16), so the eight
// rows of an ldmatrix lie in eight different groups of banks, without any swizzle in the address arithmetic.
#pragma once

#include "Fragments.h"
#include "attnjit-mlir/Conversion/TileToVector/KernelFrame.h"

namespace attnjit::tile {

struct SharedTile {
  int64_t offsetBytes; ///< in the block's shared memory
  int64_t rows, cols;  ///< of 16-bit elements
  int64_t pitchBytes() const { return cols * 2 + 16; }
  int64_t sizeBytes() const { return rows * pitchBytes(); }
};

/// What a tile is filled from: rows [first, end) of one head of an operand; tile rows past `end` become zero and are never read from memory.
struct TileSource {
  const OperandAccess &operand;
  mlir::Value b, head, first, end; ///< i64; first < end
  bool contiguous;                 ///< the last stride is 1
};

/// Lets the whole block of `threads` threads copy a tile, asynchronously (cp.async) where rows are contiguous and aligned to 16 bytes, else
/// element by element. The copies belong to the current group of cp.async: commit and wait before the barrier.
void emitCopyToShared(const Emitter &emit, const ThreadPosition &position, int64_t threads, mlir::Value sharedBase, const SharedTile &tile,
                      const TileSource &source);

} // namespace attnjit::tile
