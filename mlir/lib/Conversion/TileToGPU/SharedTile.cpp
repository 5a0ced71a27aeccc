#include "SharedTile.h"

#include "../TileToVector/Elements.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace attnjit::tile {

namespace {

/// What a thread moves at a time: 16 bytes of shared memory, by one cp.async where nothing is to be converted.
constexpr int64_t kChunkBytes = 16;

int64_t chunkElements(const SharedTile &tile) { return kChunkBytes / tile.elementBytes; }

/// A chunk of this thread.
struct Chunk {
  Value row, columnBytes; ///< i32
  Value exists;           ///< i1; null: it does. One that does not is the last one of the tile once more
};

/// Deals the chunks of a tile out: thread, thread + threads ..., so that neighbours have neighbouring chunks.
SmallVector<Chunk> dealChunks(const Emitter &emit, const ThreadPosition &position, int64_t threads, const SharedTile &tile) {
  int64_t perRow = tile.cols / chunkElements(tile), total = tile.rows * perRow;
  auto place = [&](Value number) -> Chunk {
    Value row = emit.make<arith::DivUIOp>(number, emit.constInt(emit.i32(), perRow));
    return {row, emit.mul(emit.sub(number, emit.mul(row, perRow)), kChunkBytes), {}};
  };
  SmallVector<Chunk> chunks;
  Chunk first = place(position.thread);
  for (int64_t base = 0; base < total; base += threads) {
    bool isWhole = base + threads <= total;
    if (isWhole && threads % perRow == 0) { // whole rows at a time: the column stays
      chunks.push_back({emit.add(first.row, base / perRow), first.columnBytes, {}});
      continue;
    }
    Value number = emit.add(position.thread, base), last = emit.constInt(emit.i32(), total - 1);
    chunks.push_back(place(isWhole ? number : emit.minS(number, last)));
    if (!isWhole)
      chunks.back().exists = emit.cmp(Emitter::CmpI::sle, number, last);
  }
  return chunks;
}

/// 8 bytes of 8-bit floats as 16 bytes of `element`.
Value widenChunk(const Emitter &emit, Value bytes, Type memory, Type element) {
  Value raw = emit.make<LLVM::BitcastOp>(emit.vec(8, emit.i8()), bytes), single = widenElements(emit, raw, memory, emit.f32());
  return emit.make<LLVM::BitcastOp>(emit.vec(kChunkBytes / 4, emit.i32()), emit.make<arith::TruncFOp>(emit.vec(8, element), single));
}

struct Copy {
  const Emitter &emit;
  const ThreadPosition &position;
  int64_t threads;
  Value shared; ///< first element of the tile
  const SharedTile &tile;
  const TileSource &source;
  Type element; ///< of the tile
  Value global; ///< the first row, or the head in the first page, a pointer to global memory
  Value rowStrideBytes;
  Value rowCount; ///< that exist, i32

  /// Whether a row of the tile exists in memory, and the address of that row: of the first one where it does not.
  std::pair<Value, Value> locate(Value row) const {
    Value inside = emit.cmp(Emitter::CmpI::slt, row, rowCount);
    Value safe = emit.make<arith::ExtUIOp>(emit.i64(), emit.select(inside, row, emit.constInt(emit.i32(), 0)));
    if (source.inPages())
      return {inside, emit.make<LLVM::AddrSpaceCastOp>(global.getType(), source.rows->at(emit.add(source.first, safe)))};
    return {inside, emitByteOffset(emit, global, emit.mul(safe, rowStrideBytes))};
  }

  Value sharedAt(Value row, Value columnBytes) const {
    return emitByteOffset(emit, shared, emit.add(emit.mul(row, tile.pitchBytes()), columnBytes));
  }

  bool converts() const { return source.memory != element; }
  int64_t memoryBytes() const { return source.memory.getIntOrFloatBitWidth() / 8; }

  /// A byte of memory as bits of the tile's elements.
  Value convert(Value raw) const {
    return emit.bitcast(bits(), emit.make<arith::TruncFOp>(element, widenElements(emit, raw, source.memory, emit.f32())));
  }
  Type bits() const { return emit.builder.getIntegerType(tile.elementBytes * 8); }

  /// What does not exist becomes zero.
  void chunk(const Chunk &chunk) const {
    auto [inside, rowAddress] = locate(chunk.row);
    Value target = sharedAt(chunk.row, chunk.columnBytes);
    if (!converts()) {
      Value none = emit.constInt(emit.i32(), 0), all = emit.constInt(emit.i32(), kChunkBytes);
      emit.make<NVVM::CpAsyncOp>(target, emitByteOffset(emit, rowAddress, chunk.columnBytes), kChunkBytes, NVVM::LoadCacheModifierKind::CG,
                                 emit.select(inside, all, none));
      return;
    }
    // Without a branch, so that the loads of all chunks may be on their way together.
    Value bytes = emit.load(emit.i64(), emitByteOffset(emit, rowAddress, emit.shrU(chunk.columnBytes, 1)));
    Value words = widenChunk(emit, emit.select(inside, bytes, emit.index(0)), source.memory, element);
    emit.make<LLVM::StoreOp>(words, target, /*alignment=*/kChunkBytes);
  }

  void chunks() const {
    for (const Chunk &each : dealChunks(emit, position, threads, tile))
      if (each.exists)
        emit.ifThen(each.exists, [&] { chunk(each); });
      else
        chunk(each);
  }

  /// Any strides, any alignment: one element at a time.
  void elements() const {
    Value begin = emit.make<arith::ExtUIOp>(emit.i64(), position.thread);
    Value columnStrideBytes = emit.mul(source.operand.strides[3], memoryBytes());
    emit.loop(begin, emit.index(tile.rows * tile.cols), emit.index(threads), [&](Value wide) {
      Value i = emit.toInt(emit.i32(), wide);
      Value row = emit.make<arith::DivUIOp>(i, emit.constInt(emit.i32(), tile.cols));
      Value column = emit.sub(i, emit.mul(row, tile.cols));
      auto [inside, rowAddress] = locate(row);
      Value zero = emit.constInt(bits(), 0);
      Emitter::Values copied = emit.ifElse(
          {bits()}, inside,
          [&, rowAddress = rowAddress]() -> Emitter::Values {
            Value offset = emit.mul(emit.make<arith::ExtUIOp>(emit.i64(), column), columnStrideBytes);
            Value address = emitByteOffset(emit, rowAddress, offset);
            return {converts() ? convert(emit.load(emit.i8(), address)) : emit.load(bits(), address)};
          },
          [&]() -> Emitter::Values { return {zero}; });
      emit.store(copied[0], sharedAt(row, emit.mul(column, tile.elementBytes)));
    });
  }
};

} // namespace

void emitCopyToShared(const Emitter &emit, const ThreadPosition &position, int64_t threads, Value sharedBase, const SharedTile &tile,
                      Type element, const TileSource &source) {
  const OperandAccess &operand = source.operand;
  int64_t memoryBytes = source.memory.getIntOrFloatBitWidth() / 8;
  Type globalPointer = LLVM::LLVMPointerType::get(emit.builder.getContext(), unsigned(NVVM::NVVMMemorySpace::Global));
  Value global = emit.make<LLVM::AddrSpaceCastOp>(globalPointer, operand.pointer),
        rowStrideBytes = emit.mul(operand.strides[2], memoryBytes);
  Value batchBytes = emit.mul(operand.strides[0], memoryBytes), headBytes = emit.mul(operand.strides[1], memoryBytes);
  Value head = emitByteOffset(emit, global, emit.mul(source.head, headBytes)); // of batch 0, or of the first page
  if (!source.inPages())
    head = emitByteOffset(emit, head, emit.mul(source.b, batchBytes));
  Value firstRow = source.inPages() ? head : emitByteOffset(emit, head, emit.mul(source.first, rowStrideBytes));
  Value rowCount = emit.toInt(emit.i32(), emit.sub(source.end, source.first));
  Copy copy{emit,     position,       threads, emitByteOffset(emit, sharedBase, tile.offsetBytes), tile, source, element,
            firstRow, rowStrideBytes, rowCount};
  if (!source.contiguous)
    return copy.elements();
  // The compiled-in stride class promises a last stride of 1; alignment is the launch's affair.
  Value bits = emit.bitOr(emit.make<LLVM::PtrToIntOp>(emit.i64(), head), rowStrideBytes);
  if (source.inPages())
    bits = emit.bitOr(bits, batchBytes); // from page to page
  Value misaligned = emit.bitAnd(bits, emit.index(chunkElements(tile) * memoryBytes - 1));
  emit.ifElse(
      {}, emit.cmp(Emitter::CmpI::eq, misaligned, emit.index(0)), [&] { return copy.chunks(), Emitter::Values(); },
      [&] { return copy.elements(), Emitter::Values(); });
}

void emitWidenShared(const Emitter &emit, const ThreadPosition &position, int64_t threads, const TileToWiden &tile) {
  auto at = [&](Value base, const SharedTile &of, const Chunk &chunk, Value columnBytes) {
    Value first = emitByteOffset(emit, base, of.offsetBytes);
    return emitByteOffset(emit, first, emit.add(emit.mul(chunk.row, of.pitchBytes()), columnBytes));
  };
  SmallVector<Chunk> chunks = dealChunks(emit, position, threads, tile.wide);
  Emitter::Values bytes; // all of them before the first one is stored, so that none waits for another
  for (const Chunk &chunk : chunks)
    bytes.push_back(emit.load(emit.i64(), at(tile.from, tile.narrow, chunk, emit.shrU(chunk.columnBytes, 1))));
  for (auto [chunk, each] : llvm::zip_equal(chunks, bytes))
    emit.make<LLVM::StoreOp>(widenChunk(emit, each, tile.memory, tile.element), at(tile.to, tile.wide, chunk, chunk.columnBytes),
                             /*alignment=*/kChunkBytes);
}

} // namespace attnjit::tile
