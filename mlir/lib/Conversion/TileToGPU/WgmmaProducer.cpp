// The producer of the wgmma schedule: walks the plan of a tile and starts the copies of Q, K and V into rings of buffers as they become
// empty. The plan is walked here alone; consumers are told block by block. One thread does it for tile after tile, which it takes off a
// counter, by tensor copies; or all threads of the warpgroup for one tile, each with its part of every copy.
#include "SharedTile.h"
#include "WgmmaShape.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace attnjit::tile {

namespace {

using CmpI = Emitter::CmpI;
using Values = Emitter::Values;

Value isFirstThread(const Emitter &emit, const WgmmaKernel &kernel) {
  return emit.cmp(CmpI::eq, kernel.position.thread, emit.constInt(emit.i32(), 0));
}

class WgmmaProducer {
public:
  WgmmaProducer(OpBuilder &builder, Location loc, const WgmmaKernel &kernel)
      : emit(builder, loc), kernel(kernel), program(kernel.program), shape(kernel.shape),
        abi(builder, loc, kernel.args, AbiAccess::Functions::Inline) {}

  void run() {
    Value queries = narrow(abi.queries());
    heads = emit.mul(narrow(abi.batch()), narrow(abi.queryHeads()));
    tilesPerHead = divide(emit.add(queries, shape.rows - 1), emit.constInt(emit.i32(), shape.rows));
    bindOrder();
    Value first = emit.make<NVVM::BlockIdXOp>(emit.i32()), zero = emit.constInt(emit.i32(), 0);
    if (copiesByThreads()) {
      sendTile(coordsOf(first), zero, zero);
      sendEnd(emit.constInt(emit.i32(), 1));
    } else {
      sendTiles(first, zero);
    }
  }

private:
  bool copiesByThreads() const { return shape.choices.getThreadCopies(); }

  //===----------------------------------------------------------------------------------------------------------------===//
  // Which tile
  //===----------------------------------------------------------------------------------------------------------------===//

  /// Head after head: thread blocks that read the same K and V at the same time share what the L2 cache sends. Where score_mod reads an
  /// element for each pair, the same rows of several heads, whose K and V stay in that cache together, follow each other.
  ///
  /// Under a mask tiles differ in length. There the last heads are gone through side by side, so that the shortest tiles come last: so many
  /// heads that they are two tiles for each multiprocessor.
  void bindOrder() {
    constexpr int64_t kCacheBytes = 24 << 20, kTailTiles = 2 * 132;
    ratio = divide(narrow(abi.queryHeads()), narrow(abi.kvHeads()));
    groupHeads = emit.constInt(emit.i32(), 1);
    tailHeads = emit.constInt(emit.i32(), 0);
    if (shape.choices.getStagesLoads()) {
      Value bytesPerKvHead = emit.mul(abi.keys(), (program.headDim + program.valueDim) * 2);
      Value kvHeads = emit.make<arith::DivUIOp>(emit.index(kCacheBytes), emit.maxS(bytesPerKvHead, emit.index(1)));
      Value fitting = emit.mul(kvHeads, widen(ratio));
      groupHeads = narrow(emit.minS(emit.maxS(fitting, emit.index(1)), widen(heads)));
    } else if (program.mask) {
      tailHeads = emit.make<arith::MinUIOp>(heads, divide(emit.add(tilesPerHead, kTailTiles - 1), tilesPerHead));
    }
    firstTailHead = emit.sub(heads, tailHeads);
    firstTail = emit.mul(firstTailHead, tilesPerHead);
  }

  /// The tile of a number. Under a mask the last rows of a group come first, since with most masks they see the most keys, and a long tile
  /// at the end would keep all others waiting.
  TileCoords coordsOf(Value number) {
    auto apart = [&](Value a, Value by) {
      Value quotient = divide(a, by);
      return std::pair(quotient, emit.sub(a, emit.mul(quotient, by)));
    };
    Value isTail = emit.cmp(CmpI::uge, number, firstTail), zero = emit.constInt(emit.i32(), 0);
    Value sideBySide = emit.select(isTail, tailHeads, groupHeads), inPart = emit.sub(number, emit.select(isTail, firstTail, zero));
    auto [group, inGroup] = apart(inPart, emit.mul(sideBySide, tilesPerHead));
    Value firstHead = emit.add(emit.select(isTail, firstTailHead, zero), emit.mul(group, sideBySide));
    auto [row, besides] = apart(inGroup, emit.make<arith::MinUIOp>(sideBySide, emit.sub(heads, firstHead)));
    Value head = emit.add(firstHead, besides), queryTile = program.mask ? emit.sub(emit.sub(tilesPerHead, 1), row) : row;
    Value queryHeads = narrow(abi.queryHeads());
    TileCoords tile;
    Value b = divide(head, queryHeads), h = emit.sub(head, emit.mul(b, queryHeads));
    tile.b = widen(b), tile.h = widen(h), tile.kvHead = widen(divide(h, ratio)), tile.queryTile = widen(queryTile);
    tile.q0 = emit.mul(tile.queryTile, shape.rows);
    tile.rows = emit.minS(emit.index(shape.rows), emit.sub(abi.queries(), tile.q0));
    return tile;
  }

  void sendTiles(Value first, Value zero) {
    Value tiles = emit.mul(heads, tilesPerHead);
    Values last = emit.loopWhile(
        {first, zero, zero}, [&](ValueRange state) { return emit.cmp(CmpI::ult, state[0], tiles); },
        [&](ValueRange state) {
          Value blocks = sendTile(coordsOf(state[0]), state[1], state[2]);
          return Values{takeTile(), emit.add(state[1], 1), blocks};
        });
    sendEnd(last[1]);
    resetCounters();
  }

  /// The n-th one of this thread block, whose blocks of keys are numbered from `firstBlock` on. Returns the number of the next block.
  Value sendTile(const TileCoords &tile, Value n, Value firstBlock) {
    sendQuery(n, tile);
    return sendBlocks(firstBlock, tile);
  }

  /// The first tiles are those of the block numbers; the counter hands out the others.
  Value takeTile() {
    Value next = emit.make<LLVM::AtomicRMWOp>(LLVM::AtomicBinOp::add, kernel.counters, emit.constInt(emit.i32(), 1),
                                              LLVM::AtomicOrdering::monotonic);
    return emit.add(next, Value(emit.make<NVVM::GridDimXOp>(emit.i32())));
  }

  /// The last block to end leaves the counters as the next launch wants them.
  void resetCounters() {
    Value zero = emit.constInt(emit.i32(), 0), one = emit.constInt(emit.i32(), 1);
    Value ended = emitByteOffset(emit, kernel.counters, int64_t(4));
    emit.make<LLVM::FenceOp>(LLVM::AtomicOrdering::acq_rel, StringRef("device"));
    Value before = emit.make<LLVM::AtomicRMWOp>(LLVM::AtomicBinOp::add, ended, one, LLVM::AtomicOrdering::monotonic);
    Value blocks = emit.make<NVVM::GridDimXOp>(emit.i32());
    emit.ifThen(emit.cmp(CmpI::eq, emit.add(before, 1), blocks), [&] {
      emit.store(zero, kernel.counters);
      emit.store(zero, ended);
    });
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // Copies
  //===----------------------------------------------------------------------------------------------------------------===//

  RingUse whenEmpty(const BufferRing &ring, Value n) {
    RingUse use(emit, kernel, ring, n);
    emitBarrierWait(emit, use.empty, emit.bitXor(use.parity, emit.constInt(emit.i32(), 1)));
    return use;
  }

  /// Rows of a head of an operand, i32.
  struct Rows {
    Value b, head, first, count;
  };

  void copy(const RingUse &use, const SwizzledTile &tile, Value map, Operand which, int64_t columns, const Rows &rows) {
    if (copiesByThreads()) {
      // No row is only asked for where no product is anybody's.
      emit.ifThen(emit.cmp(CmpI::sgt, rows.count, emit.constInt(emit.i32(), 0)), [&] { copyByThreads(use, tile, which, columns, rows); });
      signalFull(use);
      return;
    }
    emitBarrierExpect(emit, use.full, tile.sizeBytes());
    emitTensorCopy(emit, use.buffer, use.full, tile, map, rows.first, rows.head, rows.b);
  }

  void copyByThreads(const RingUse &use, const SwizzledTile &tile, Operand which, int64_t columns, const Rows &rows) {
    auto at = [&](Value row, Value columnBytes) {
      return emitSharedPointer(emit, emitSwizzledAddress(emit, tile, use.buffer, row, columnBytes));
    };
    OperandAccess operand = abi.operand(which);
    Value first = widen(rows.first), end = emit.add(first, widen(rows.count));
    emitCopyToShared(emit, kernel.position, WgmmaShape::kWarpgroupThreads, {tile.rows, paddedColumns(columns), 2, at}, program.qType,
                     {operand, columns, widen(rows.b), widen(rows.head), first, end, program.contiguous, program.qType});
  }

  /// Says that this thread has put its part into a buffer.
  void signalFull(const RingUse &use) {
    if (copiesByThreads())
      emitBarrierArriveWithCopies(emit, use.full);
    emitBarrierArrive(emit, use.full);
  }

  void writeSlot(const RingUse &use, ArrayRef<Value> fields) {
    if (copiesByThreads())
      emit.ifThen(isFirstThread(emit, kernel), [&] { emitWriteSlot(emit, use.slot, fields); });
    else
      emitWriteSlot(emit, use.slot, fields);
  }

  void sendQuery(Value n, const TileCoords &tile) {
    RingUse use = whenEmpty(shape.qRing, n);
    Value b = narrow(tile.b), h = narrow(tile.h), q0 = narrow(tile.q0);
    writeSlot(use, {b, h, narrow(tile.kvHead), q0});
    copy(use, shape.q, kernel.qMap, Operand::Q, program.headDim, {b, h, q0, narrow(tile.rows)});
  }

  void sendEnd(Value n) {
    RingUse use = whenEmpty(shape.qRing, n);
    Value none = emit.constInt(emit.i32(), -1);
    writeSlot(use, {none, none, none, none});
    signalFull(use);
  }

  /// Walks the plan one block behind, since each block is sent with the one after it, or with the word that it is the last. A tile that
  /// visits no block gets one without keys, behind the end of K and V, which nobody sees. Returns the number of the next block.
  Value sendBlocks(Value n, const TileCoords &tile) {
    Value nowhere = narrow(emit.maxS(abi.keys(), emit.index(1))), none = emit.constInt(emit.i32(), 0);
    Value nobody = emit.constInt(emit.i32(), BlockSlot::kEmpty * BlockSlot::kOfAll), absent = flagsOfAbsent(tile);
    Values last = forEachKvBlock(emit.builder, emit.loc, program, abi, scopeOf(emit.builder, emit.loc, abi, tile), shape.cols,
                                 {n, emit.truth(false), nowhere, nobody}, [&](const KvBlock &block, ValueRange state) {
                                   Value flags = emit.bitOr(absent, flagsOf(tile, block));
                                   SentBlock now{narrow(block.begin), emit.bitOr(flags, countOf(block))}, before{state[2], state[3]};
                                   Values next = emit.ifElse(
                                       {emit.i32()}, state[1],
                                       [&] {
                                         sendBlock(state[0], tile, before, now);
                                         return Values{emit.add(state[0], 1)};
                                       },
                                       [&] { return Values{state[0]}; });
                                   return Values{next[0], emit.truth(true), now.begin, now.keys};
                                 });
    sendBlock(last[0], tile, {last[2], emit.bitOr(last[3], emit.constInt(emit.i32(), BlockSlot::kLast))}, {none, none});
    return emit.add(last[0], 1);
  }

  Value countOf(const KvBlock &block) { return emit.mul(narrow(emit.sub(block.end, block.begin)), BlockSlot::kKey); }

  Value flagIf(Value condition, int64_t flag) {
    return emit.select(condition, emit.constInt(emit.i32(), flag), emit.constInt(emit.i32(), 0));
  }

  /// Consumers that have no row of this tile.
  Value flagsOfAbsent(const TileCoords &tile) {
    Value flags = emit.constInt(emit.i32(), 0);
    for (int64_t consumer = 1; consumer < shape.consumers(); ++consumer) {
      Value isAbsent = emit.cmp(CmpI::sle, tile.rows, emit.index(consumer * WgmmaShape::kWarpgroupRows));
      flags = emit.bitOr(flags, flagIf(isAbsent, BlockSlot::kEmpty << consumer));
    }
    return flags;
  }

  /// Where the tile has to ask the mask, the closed form is asked once more for the rows of each consumer: most blocks at an edge of the
  /// mask are at it for one of them.
  Value flagsOf(const TileCoords &tile, const KvBlock &block) {
    if (!program.closedForm)
      return flagIf(block.partial, BlockSlot::kPartial * BlockSlot::kOfAll);
    auto ofConsumers = [&] {
      Value flags = emit.constInt(emit.i32(), 0), lastRow = emit.sub(emit.add(tile.q0, tile.rows), 1), lastKey = emit.sub(block.end, 1);
      for (int64_t consumer = 0; consumer < shape.consumers(); ++consumer) {
        Value first = emit.add(tile.q0, consumer * WgmmaShape::kWarpgroupRows);
        Value last = emit.minS(emit.add(first, WgmmaShape::kWarpgroupRows - 1), lastRow);
        auto [mayBeTrue, mayBeFalse] =
            emitClassify(emit.builder, emit.loc, program, abi, tile.b, tile.h, first, last, block.begin, lastKey);
        flags = emit.bitOr(flags, flagIf(mayBeFalse, BlockSlot::kPartial << consumer));
        flags = emit.bitOr(flags, flagIf(emit.logicalNot(mayBeTrue), BlockSlot::kEmpty << consumer));
      }
      return Values{flags};
    };
    return emit.ifElse({emit.i32()}, block.partial, ofConsumers, [&] { return Values{emit.constInt(emit.i32(), 0)}; })[0];
  }

  void sendBlock(Value n, const TileCoords &tile, const SentBlock &block, const SentBlock &next) {
    Rows rows{narrow(tile.b), narrow(tile.kvHead), block.begin, emit.shrU(block.keys, llvm::Log2_64(BlockSlot::kKey))};
    RingUse k = whenEmpty(shape.kRing, n);
    writeSlot(k, {block.begin, block.keys, next.begin, next.keys});
    copy(k, shape.k, kernel.kMap, Operand::K, program.headDim, rows);
    copy(whenEmpty(shape.vRing, n), shape.v, kernel.vMap, Operand::V, program.valueDim, rows);
  }

  Value divide(Value a, Value b) { return emit.make<arith::DivUIOp>(a, b); }
  Value narrow(Value a) { return emit.toInt(emit.i32(), a); }
  Value widen(Value a) { return emit.make<arith::ExtUIOp>(emit.i64(), a); }

  Emitter emit;
  const WgmmaKernel &kernel;
  const TileProgram &program;
  const WgmmaShape &shape;
  AbiAccess abi;
  Value heads, tilesPerHead, ratio;                      ///< B * Hq, tiles of each, query heads per kv head; i32
  Value groupHeads, tailHeads, firstTailHead, firstTail; ///< of bindOrder; firstTail: a number of a tile; i32
};

} // namespace

void emitWgmmaProducer(OpBuilder &builder, Location loc, const WgmmaKernel &kernel) {
  Emitter emit(builder, loc);
  emitSetRegisters(emit, kernel.shape.choices.getProducerRegisters(), /*more=*/false);
  auto produce = [&] { WgmmaProducer(builder, loc, kernel).run(); };
  if (kernel.shape.choices.getThreadCopies())
    return produce();
  // Not an elected one: where there is elect.sync, ptxas keeps nothing in uniform registers (docs/performance.md).
  emit.ifThen(isFirstThread(emit, kernel), produce);
}

} // namespace attnjit::tile
