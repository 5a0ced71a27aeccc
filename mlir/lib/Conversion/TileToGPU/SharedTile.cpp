#include "SharedTile.h"

#include "../TileToVector/Elements.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace attnjit::tile {

namespace {

/// What a thread stores at a time, unless it is a piece of cp.async: 16 bytes of shared memory.
constexpr int64_t kChunkBytes = 16;

int64_t chunkElements(const TilePlaces &to) { return kChunkBytes / to.elementBytes; }

/// A chunk of this thread, or a piece of one.
struct Chunk {
  Value row, columnBytes; ///< i32
  Value exists;           ///< i1; null: it does. One that does not is the last one of the tile once more
};

/// How a tile is cut into chunks, numbered row by row.
struct Chunks {
  int64_t bytes, perRow, total;

  template <typename Tile>
  Chunks(const Tile &tile, int64_t bytes) : bytes(bytes), perRow(tile.cols * tile.elementBytes / bytes), total(tile.rows * perRow) {}

  Chunk at(const Emitter &emit, Value number) const {
    Value row = emit.make<arith::DivUIOp>(number, emit.constInt(emit.i32(), perRow));
    return {row, emit.mul(emit.sub(number, emit.mul(row, perRow)), bytes), {}};
  }
};

/// Deals the chunks of a tile out: thread, thread + threads ..., so that neighbours have neighbouring chunks.
SmallVector<Chunk> dealChunks(const Emitter &emit, const ThreadPosition &position, int64_t threads, const Chunks &all) {
  SmallVector<Chunk> chunks;
  Chunk first = all.at(emit, position.thread);
  for (int64_t base = 0; base < all.total; base += threads) {
    bool isWhole = base + threads <= all.total;
    if (isWhole && threads % all.perRow == 0) { // whole rows at a time: the column stays
      chunks.push_back({emit.add(first.row, base / all.perRow), first.columnBytes, {}});
      continue;
    }
    Value number = emit.add(position.thread, base), last = emit.constInt(emit.i32(), all.total - 1);
    chunks.push_back(all.at(emit, isWhole ? number : emit.minS(number, last)));
    if (!isWhole)
      chunks.back().exists = emit.cmp(Emitter::CmpI::sle, number, last);
  }
  return chunks;
}

/// 8 bytes of 8-bit floats, in whatever type, as 16 bytes of `element`.
Value widenChunk(const Emitter &emit, Value bytes, Type memory, Type element) {
  Value raw = emit.make<LLVM::BitcastOp>(emit.vec(8, emit.i8()), bytes), single = widenElements(emit, raw, memory, emit.f32());
  return emit.make<LLVM::BitcastOp>(emit.vec(kChunkBytes / 4, emit.i32()), emit.make<arith::TruncFOp>(emit.vec(8, element), single));
}

struct Copy {
  const Emitter &emit;
  const ThreadPosition &position;
  int64_t threads;
  const TilePlaces &to;
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

  bool converts() const { return source.memory != element; }
  int64_t memoryBytes() const { return source.memory.getIntOrFloatBitWidth() / 8; }
  bool isPadded() const { return source.columns < to.cols; }
  /// What rows of a tensor without gaps are aligned to, but no more than a chunk takes.
  int64_t unitBytes() const {
    int64_t rowBytes = source.columns * memoryBytes();
    return std::min(rowBytes & -rowBytes, chunkElements(to) * memoryBytes());
  }

  /// cp.async; what does not exist becomes zero.
  void start(const Chunk &piece, int64_t bytes) const {
    auto [exists, rowAddress] = locate(piece.row);
    if (isPadded())
      exists = emit.bitAnd(exists, isColumn(piece.columnBytes, to.elementBytes));
    Value none = emit.constInt(emit.i32(), 0), all = emit.constInt(emit.i32(), bytes);
    auto cached = bytes == 16 ? NVVM::LoadCacheModifierKind::CG : NVVM::LoadCacheModifierKind::CA; // those that there are
    emit.make<NVVM::CpAsyncOp>(to.at(piece.row, piece.columnBytes), emitByteOffset(emit, rowAddress, piece.columnBytes), int32_t(bytes),
                               cached, emit.select(exists, all, none));
  }

  /// Through registers, by loads of `unit` bytes; strideBytes (i64): from element to element, null where they lie together. Without a
  /// branch, so that many loads may be on their way together.
  void move(const Chunk &chunk, int64_t unit, Value strideBytes) const {
    auto [inside, rowAddress] = locate(chunk.row);
    int64_t perLoad = unit / memoryBytes(), loads = chunkElements(to) / perLoad;
    Type word = emit.builder.getIntegerType(unsigned(unit * 8));
    Value first = emit.shrU(chunk.columnBytes, llvm::Log2_64(to.elementBytes)), words = emit.make<LLVM::PoisonOp>(emit.vec(loads, word));
    for (int64_t i = 0; i < loads; ++i) {
      Value column = emit.add(first, i * perLoad), exists = inside;
      if (isPadded()) {
        exists = emit.bitAnd(inside, isColumn(column, 1));
        column = emit.minS(column, emit.constInt(emit.i32(), source.columns - perLoad));
      }
      Value offset = strideBytes ? emit.mul(emit.make<arith::ExtUIOp>(emit.i64(), column), strideBytes) : emit.mul(column, memoryBytes());
      Value loaded = emit.select(exists, emit.load(word, emitByteOffset(emit, rowAddress, offset)), emit.constInt(word, 0));
      words = emit.make<LLVM::InsertElementOp>(words, loaded, emit.constInt(emit.i32(), i));
    }
    Value converted = converts() ? widenChunk(emit, words, source.memory, element)
                                 : Value(emit.make<LLVM::BitcastOp>(emit.vec(kChunkBytes / 4, emit.i32()), words));
    emit.make<LLVM::StoreOp>(converted, to.at(chunk.row, chunk.columnBytes), /*alignment=*/kChunkBytes);
  }

  /// Whether a column, counted in units of which an element has so many, exists.
  Value isColumn(Value column, int64_t unitsPerElement) const {
    return emit.cmp(Emitter::CmpI::slt, column, emit.constInt(emit.i32(), source.columns * unitsPerElement));
  }

  /// Rows that are contiguous and aligned to unitBytes().
  void aligned() const {
    int64_t unit = unitBytes();
    bool starts = !converts() && unit >= 4;
    for (const Chunk &each : dealChunks(emit, position, threads, Chunks(to, starts ? unit : kChunkBytes))) {
      auto copy = [&] { starts ? start(each, unit) : move(each, unit, Value()); };
      if (each.exists)
        emit.ifThen(each.exists, copy);
      else
        copy();
    }
  }

  /// Any strides, any alignment.
  void elements() const {
    Chunks all(to, kChunkBytes);
    Value begin = emit.make<arith::ExtUIOp>(emit.i64(), position.thread);
    Value strideBytes = source.contiguous ? Value() : emit.mul(source.operand.strides[3], memoryBytes());
    emit.loop(begin, emit.index(all.total), emit.index(threads),
              [&](Value number) { move(all.at(emit, emit.toInt(emit.i32(), number)), memoryBytes(), strideBytes); });
  }
};

} // namespace

void emitCopyToShared(const Emitter &emit, const ThreadPosition &position, int64_t threads, const TilePlaces &to, Type element,
                      const TileSource &source) {
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
  Copy copy{emit, position, threads, to, source, element, firstRow, rowStrideBytes, rowCount};
  // The compiled-in stride class promises a last stride of 1; alignment is the launch's affair, but to elements everything is aligned.
  if (!source.contiguous || copy.unitBytes() == memoryBytes)
    return copy.elements();
  Value bits = emit.bitOr(emit.make<LLVM::PtrToIntOp>(emit.i64(), head), rowStrideBytes);
  if (source.inPages())
    bits = emit.bitOr(bits, batchBytes); // from page to page
  Value misaligned = emit.bitAnd(bits, emit.index(copy.unitBytes() - 1));
  emit.ifElse(emit.cmp(Emitter::CmpI::eq, misaligned, emit.index(0)), [&] { copy.aligned(); }, [&] { copy.elements(); });
}

void emitCopyToShared(const Emitter &emit, const ThreadPosition &position, int64_t threads, Value sharedBase, const SharedTile &tile,
                      Type element, const TileSource &source) {
  Value shared = emitByteOffset(emit, sharedBase, tile.offsetBytes);
  auto at = [&](Value row, Value columnBytes) {
    return emitByteOffset(emit, shared, emit.add(emit.mul(row, tile.pitchBytes()), columnBytes));
  };
  emitCopyToShared(emit, position, threads, {tile.rows, tile.cols, tile.elementBytes, at}, element, source);
}

void emitWidenShared(const Emitter &emit, const ThreadPosition &position, int64_t threads, const TileToWiden &tile) {
  auto at = [&](Value base, const SharedTile &of, const Chunk &chunk, Value columnBytes) {
    Value first = emitByteOffset(emit, base, of.offsetBytes);
    return emitByteOffset(emit, first, emit.add(emit.mul(chunk.row, of.pitchBytes()), columnBytes));
  };
  SmallVector<Chunk> chunks = dealChunks(emit, position, threads, Chunks(tile.wide, kChunkBytes));
  Emitter::Values bytes; // all of them before the first one is stored, so that none waits for another
  for (const Chunk &chunk : chunks)
    bytes.push_back(emit.load(emit.i64(), at(tile.from, tile.narrow, chunk, emit.shrU(chunk.columnBytes, 1))));
  for (auto [chunk, each] : llvm::zip_equal(chunks, bytes))
    emit.make<LLVM::StoreOp>(widenChunk(emit, each, tile.memory, tile.element), at(tile.to, tile.wide, chunk, chunk.columnBytes),
                             /*alignment=*/kChunkBytes);
}

} // namespace attnjit::tile
