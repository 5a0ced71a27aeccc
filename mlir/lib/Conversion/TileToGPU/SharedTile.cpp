#include "SharedTile.h"

#include "../TileToVector/Elements.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace attnjit::tile {

namespace {

/// What a thread moves at a time: 16 bytes of shared memory, by one cp.async where nothing is to be converted.
constexpr int64_t kChunkBytes = 16, kChunkElements = kChunkBytes / 2;

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

  /// Bytes of memory as bits of the tile's elements.
  Value convert(Value raw) const {
    Value single = widenElements(emit, raw, source.memory, emit.f32());
    return emit.bitcast(emit.i16(), emit.make<arith::TruncFOp>(likeShape(single.getType(), element), single));
  }

  void chunk(Value row, Value columnBytes) const {
    auto [inside, rowAddress] = locate(row);
    if (!converts()) {
      Value none = emit.constInt(emit.i32(), 0), all = emit.constInt(emit.i32(), kChunkBytes);
      emit.make<NVVM::CpAsyncOp>(sharedAt(row, columnBytes), emitByteOffset(emit, rowAddress, columnBytes), kChunkBytes,
                                 NVVM::LoadCacheModifierKind::CG, emit.select(inside, all, none));
      return;
    }
    Emitter::Values bytes = emit.ifElse(
        {emit.i64()}, inside,
        [&, rowAddress = rowAddress]() -> Emitter::Values {
          return {emit.load(emit.i64(), emitByteOffset(emit, rowAddress, emit.shrU(columnBytes, 1)))};
        },
        [&]() -> Emitter::Values { return {emit.index(0)}; });
    Value widened = convert(emit.make<LLVM::BitcastOp>(emit.vec(kChunkElements, emit.i8()), bytes[0]));
    Value words = emit.make<LLVM::BitcastOp>(emit.vec(kChunkBytes / 4, emit.i32()), widened);
    emit.make<LLVM::StoreOp>(words, sharedAt(row, columnBytes), /*alignment=*/kChunkBytes);
  }

  /// Every thread copies chunks thread, thread + threads ...: neighbours copy neighbouring chunks. What does not exist becomes zero.
  void chunks() const {
    int64_t chunksPerRow = tile.cols / kChunkElements, total = tile.rows * chunksPerRow;
    Value perRow = emit.constInt(emit.i32(), chunksPerRow);
    auto place = [&](Value number) -> std::pair<Value, Value> {
      Value row = emit.make<arith::DivUIOp>(number, perRow);
      return {row, emit.mul(emit.sub(number, emit.mul(row, chunksPerRow)), kChunkBytes)};
    };
    auto [firstRow, firstColumn] = place(position.thread);
    for (int64_t base = 0; base < total; base += threads) {
      Value number = emit.add(position.thread, base);
      auto copy = [&, row = firstRow, column = firstColumn] {
        if (threads % chunksPerRow == 0) // whole rows at a time: the column stays
          return chunk(emit.add(row, base / chunksPerRow), column);
        auto [otherRow, otherColumn] = place(number);
        chunk(otherRow, otherColumn);
      };
      if (base + threads <= total)
        copy();
      else
        emit.ifThen(emit.cmp(Emitter::CmpI::ult, number, emit.constInt(emit.i32(), total)), copy);
    }
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
      Value zero = emit.constInt(emit.i16(), 0);
      Emitter::Values element = emit.ifElse(
          {emit.i16()}, inside,
          [&, rowAddress = rowAddress]() -> Emitter::Values {
            Value offset = emit.mul(emit.make<arith::ExtUIOp>(emit.i64(), column), columnStrideBytes);
            Value address = emitByteOffset(emit, rowAddress, offset);
            return {converts() ? convert(emit.load(emit.i8(), address)) : emit.load(emit.i16(), address)};
          },
          [&]() -> Emitter::Values { return {zero}; });
      emit.store(element[0], sharedAt(row, emit.shl(column, 1)));
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
  Value misaligned = emit.bitAnd(bits, emit.index(kChunkElements * memoryBytes - 1));
  emit.ifElse(
      {}, emit.cmp(Emitter::CmpI::eq, misaligned, emit.index(0)), [&] { return copy.chunks(), Emitter::Values(); },
      [&] { return copy.elements(), Emitter::Values(); });
}

} // namespace attnjit::tile
