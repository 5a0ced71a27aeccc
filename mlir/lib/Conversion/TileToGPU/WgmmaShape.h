// How the wgmma schedule cuts a tile, and what lies where in shared memory. Private to this room.
#pragma once

#include "Hopper.h"
#include "attnjit-mlir/Conversion/TileToGPU/Schedules.h"
#include "attnjit-mlir/Dialect/Tile/Tile.h"

namespace attnjit::tile {

/// Buffers of shared memory that one side fills and the other empties, in turn. Each has a barrier for "full" and one for "empty", and a
/// slot of 16 bytes in which the filling side says what is in it. `count` is a power of two, so that the n-th use of a ring says which
/// buffer and which phase.
struct BufferRing {
  static constexpr int64_t kSlotBytes = 16, kBarrierBytes = 8;
  int64_t count, sizeBytes;         ///< of a buffer
  int64_t data, full, empty, slots; ///< offsets
};

struct WgmmaShape {
  static constexpr int64_t kWarpgroupThreads = 128, kWarpgroupRows = 64;
  /// Shared memory is aligned by the kernel itself to what the swizzle repeats after.
  static constexpr int64_t kAlignment = 1024;

  int64_t rows, cols, headDim, valueDim; ///< padded
  WgmmaAttr choices;
  SwizzledTile q, k, v;
  BufferRing qRing, kRing, vRing;
  int64_t loads; ///< room for what score_mod reads (BlockScore.h), if the schedule stages that
  int64_t endOfShared;

  static WgmmaShape of(const TileProgram &program, WgmmaAttr choices) {
    WgmmaShape shape{program.tileRows,
                     program.tileCols,
                     paddedColumns(program.headDim),
                     paddedColumns(program.valueDim),
                     choices,
                     {},
                     {},
                     {},
                     {},
                     {},
                     {},
                     0,
                     0};
    shape.q = {shape.rows, shape.headDim};
    shape.k = {shape.cols, shape.headDim};
    shape.v = {shape.cols, shape.valueDim};
    int64_t &end = shape.endOfShared;
    auto take = [&](int64_t bytes) { return std::exchange(end, end + bytes); };
    auto ring = [&](const SwizzledTile &tile, int64_t count) {
      return BufferRing{count, tile.sizeBytes(), take(count * tile.sizeBytes()), 0, 0, 0};
    };
    shape.qRing = ring(shape.q, choices.getQBuffers());
    shape.kRing = ring(shape.k, choices.getKvStages());
    shape.vRing = ring(shape.v, choices.getKvStages());
    shape.loads =
        take(choices.getStagesLoads() ? shape.consumers() * (kWarpgroupRows / StagedLoad::kRows) * StagedLoad::roomBytes(shape.cols) : 0);
    for (BufferRing *ring : {&shape.qRing, &shape.kRing, &shape.vRing})
      ring->slots = take(ring->count * BufferRing::kSlotBytes);
    for (BufferRing *ring : {&shape.qRing, &shape.kRing, &shape.vRing}) {
      ring->full = take(ring->count * BufferRing::kBarrierBytes);
      ring->empty = take(ring->count * BufferRing::kBarrierBytes);
    }
    return shape;
  }

  /// That fill a buffer: one thread's, with its tensor copies; or two of every thread, for what it has stored and with its copies.
  int64_t producerArrivals() const { return choices.getThreadCopies() ? 2 * kWarpgroupThreads : 1; }
  int64_t consumers() const { return rows / kWarpgroupRows; }
  int64_t consumerThreads() const { return consumers() * kWarpgroupThreads; }
  /// The first warpgroup is the producer.
  int64_t threads() const { return (consumers() + 1) * kWarpgroupThreads; }
  int64_t sharedBytes() const { return endOfShared + kAlignment; }
};

/// What both sides of the kernel know.
struct WgmmaKernel {
  const TileProgram &program;
  const WgmmaShape &shape;
  mlir::Value args;             ///< KernelArgs
  mlir::Value qMap, kMap, vMap; ///< tensor maps; null with thread_copies, and so is `counters`
  mlir::Value counters;         ///< two i32 of global memory: tiles handed out, thread blocks that are through
  mlir::Value shared;           ///< address of shared memory, aligned
  ThreadPosition position;
};

/// The n-th use (i32) of a ring.
struct RingUse {
  const BufferRing &ring;
  mlir::Value buffer, full, empty, slot; ///< addresses
  mlir::Value parity;                    ///< of the phase in which it is full
  RingUse(const Emitter &emit, const WgmmaKernel &kernel, const BufferRing &ring, mlir::Value n);
};

/// What the producer tells the consumers about a tile (slot of Q) and about a block of keys (slot of K), all i32. A block comes with the
/// one after it, so that no consumer waits for the word of what it is about to multiply.
struct TileSlot {
  enum Field : unsigned { B, H, KvHead, Q0, Count }; ///< B = -1: there is no more tile
};
struct BlockSlot {
  enum Field : unsigned { Begin, Keys, NextBegin, NextKeys, Count }; ///< Keys: how many, times kKey, and flags
  static constexpr int64_t kLast = 1;                                ///< no block of this tile follows; not known of the next one
  static constexpr int64_t kMostConsumers = 3;                       ///< each has its own of the other flags, shifted by its number
  static constexpr int64_t kPartial = 2;                             ///< its rows must evaluate the mask
  static constexpr int64_t kEmpty = kPartial << kMostConsumers;      ///< its rows see none of these keys
  static constexpr int64_t kKey = kEmpty << kMostConsumers;
  static constexpr int64_t kOfAll = (1 << kMostConsumers) - 1; ///< times a flag: that of all consumers
};
/// Begin and Keys, or NextBegin and NextKeys.
struct SentBlock {
  mlir::Value begin, keys;
};
void emitWriteSlot(const Emitter &emit, mlir::Value slot, llvm::ArrayRef<mlir::Value> fields);
Emitter::Values emitReadSlot(const Emitter &emit, mlir::Value slot);

/// The code of the producer's warpgroup, and of a consumer's.
void emitWgmmaProducer(mlir::OpBuilder &builder, mlir::Location loc, const WgmmaKernel &kernel);
void emitWgmmaConsumer(mlir::OpBuilder &builder, mlir::Location loc, const WgmmaKernel &kernel);

} // namespace attnjit::tile
