// The instructions of sm_90a that LLVM has no op for, or whose op would not say which registers it waits for: barriers in shared memory,
// tensor copies, warpgroup products. Private to this room. Addresses of shared memory are i32.
//
// A warpgroup is four warps. wgmma multiplies 64xK by KxN asynchronously: A from shared memory or registers, B from shared memory, C in
// registers in the fragment layout of mma.sync (Fragments.h), warp w holding rows 16w .. 16w + 15. Between issue and wait the registers
// belong to the tensor core; nothing may touch them.
#pragma once

#include "FragmentRows.h"

namespace attnjit::tile {

/// A tile of 16-bit elements in shared memory as tensor copies write and wgmma reads it: boxes of 64 columns beside each other, each `rows`
/// rows of 128 bytes whose 16-byte units are permuted (128-byte swizzle). Columns past the operand's are zero.
struct SwizzledTile {
  static constexpr int64_t kBoxColumns = 64, kBoxRowBytes = 128;
  int64_t rows, cols;
  int64_t boxes() const { return (cols + kBoxColumns - 1) / kBoxColumns; }
  int64_t boxBytes() const { return rows * kBoxRowBytes; }
  int64_t sizeBytes() const { return boxes() * boxBytes(); }
};

/// The address of byte columnBytes (i32) of a row (i32) of a tile that begins at `tileAddress`; 16 bytes from there lie together if it is a
/// multiple of 16.
mlir::Value emitSwizzledAddress(const Emitter &emit, const SwizzledTile &tile, mlir::Value tileAddress, mlir::Value row,
                                mlir::Value columnBytes);

/// The address of a pointer to shared memory.
mlir::Value emitSharedAddress(const Emitter &emit, mlir::Value pointer);
mlir::Value emitSharedPointer(const Emitter &emit, mlir::Value address);

/// Barriers of shared memory (mbarrier): 8 bytes that count arrivals, and bytes of copies, of one phase after the other.
void emitBarrierInit(const Emitter &emit, mlir::Value barrier, int64_t arrivals);
/// Makes initialised barriers known to the copy engine.
void emitBarrierInitFence(const Emitter &emit);
/// Waits until the phase of this parity (i32, 0 or 1) is over.
void emitBarrierWait(const Emitter &emit, mlir::Value barrier, mlir::Value parity);
void emitBarrierArrive(const Emitter &emit, mlir::Value barrier);
/// Arrives once the copies that this thread has started (cp.async) are there.
void emitBarrierArriveWithCopies(const Emitter &emit, mlir::Value barrier);
/// Arrives, and makes the phase wait for so many bytes of copies too.
void emitBarrierExpect(const Emitter &emit, mlir::Value barrier, int64_t bytes);

/// Named barriers of the block, 0 .. 15: wait until, or note that, so many threads have come.
void emitNamedSync(const Emitter &emit, mlir::Value number, int64_t threads);
void emitNamedArrive(const Emitter &emit, mlir::Value number, int64_t threads);

/// Generic accesses to shared memory up to here come before asynchronous ones after it.
void emitProxyFence(const Emitter &emit);

/// One thread starts the copy of tile rows from `row` of (head, b) of an operand to shared memory; rows and columns that do not exist
/// become zero. The barrier counts tile.sizeBytes() bytes. `map`: a tensor map (columns, rows, heads, batches) with boxes of 64 x
/// tile.rows.
void emitTensorCopy(const Emitter &emit, mlir::Value to, mlir::Value barrier, const SwizzledTile &tile, mlir::Value map, mlir::Value row,
                    mlir::Value head, mlir::Value b);

/// Issues a . b^T for 64 rows of `a`, from `aAddress` on, and all rows of `b`.
Fragments emitWarpgroupProduct(const Emitter &emit, mlir::Type type, const SwizzledTile &a, mlir::Value aAddress, const SwizzledTile &b,
                               mlir::Value bAddress);
/// Issues sum + a . b; `a` as left factors of 64x16 from left to right.
Fragments emitWarpgroupSum(const Emitter &emit, mlir::Type type, const Fragments &sum, llvm::ArrayRef<Fragment4> a, const SwizzledTile &b,
                           mlir::Value bAddress);
/// Issues no product: for emitWarpgroupWait one like any other.
void emitWarpgroupNothing(const Emitter &emit);
/// Waits until at most `inFlight` products are on their way. Only the returned values may be used from here on.
void emitWarpgroupWait(const Emitter &emit, int64_t inFlight, llvm::ArrayRef<Fragments *> results);

/// Gives registers up or takes them, for all threads of a warpgroup.
void emitSetRegisters(const Emitter &emit, int64_t count, bool more);

} // namespace attnjit::tile
