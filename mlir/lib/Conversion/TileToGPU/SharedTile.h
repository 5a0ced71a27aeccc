// A tile of an operand in shared memory. Private to this room.
//
// A tile has whole fragments of columns (paddedColumns), and its rows are padded by 16 bytes: a row then takes an odd number of 16-byte
// units, so the eight rows of an ldmatrix lie in eight different groups of banks, without any swizzle in the address arithmetic.
#pragma once

#include "Fragments.h"
#include "attnjit-mlir/Conversion/TileToVector/KernelFrame.h"

namespace attnjit::tile {

struct SharedTile {
  int64_t offsetBytes; ///< in the block's shared memory
  int64_t rows, cols;
  int64_t elementBytes = 2;
  int64_t pitchBytes() const { return cols * elementBytes + 16; }
  int64_t sizeBytes() const { return rows * pitchBytes(); }
};

/// Where threads write a tile of any layout: `at` is the place, a pointer to shared memory, of byte columnBytes (i32) of a row (i32), from
/// which on 16 bytes lie together.
struct TilePlaces {
  int64_t rows, cols, elementBytes;
  llvm::function_ref<mlir::Value(mlir::Value row, mlir::Value columnBytes)> at;
};

/// What a tile is filled from: rows [first, end) of one head of an operand, each of so many columns; what the tile has beyond becomes zero
/// and is never read from memory.
struct TileSource {
  const OperandAccess &operand;
  int64_t columns;
  mlir::Value b, head, first, end; ///< i64; first < end
  bool contiguous;                 ///< the last stride is 1
  mlir::Type memory;               ///< of the elements: that of the tile, or an 8-bit float
  const KvRows *rows = nullptr;    ///< of K and V: where they lie, if that may be in pages
  bool inPages() const { return rows && rows->inPages(); }
};

/// Lets the whole block of `threads` threads copy a tile of `element`, in pieces of as many bytes as rows without gaps are aligned to, up
/// to 16: asynchronously (cp.async) from 4 bytes on, else through registers. 8-bit floats in a tile of f16 or bf16 are widened on the way,
/// exactly, and come through registers too. Rows that are not contiguous, or not aligned so, come element by element. The copies belong to
/// the current group of cp.async: commit and wait before the barrier.
void emitCopyToShared(const Emitter &emit, const ThreadPosition &position, int64_t threads, const TilePlaces &to, mlir::Type element,
                      const TileSource &source);
void emitCopyToShared(const Emitter &emit, const ThreadPosition &position, int64_t threads, mlir::Value sharedBase, const SharedTile &tile,
                      mlir::Type element, const TileSource &source);

/// A tile of 8-bit floats in shared memory, and where it is wanted as `element` (f16 or bf16).
struct TileToWiden {
  mlir::Value from, to; ///< pointers to shared memory, which the offsets of the tiles are added to
  const SharedTile &narrow, &wide;
  mlir::Type memory, element;
};
/// Lets the whole block widen a tile, exactly.
void emitWidenShared(const Emitter &emit, const ThreadPosition &position, int64_t threads, const TileToWiden &tile);

} // namespace attnjit::tile
