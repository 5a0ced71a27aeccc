#include "SimtStaging.h"

#include "../TileToVector/Elements.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace attnjit::tile {

/// Threads that fill a row of a tile together: neighbours read neighbouring vectors, and an address is made once for a whole row.
static constexpr int64_t kRowThreads = 8;

Value emitIsAligned(const Emitter &emit, const OperandAccess &operand, Type memory, int64_t bytes) {
  Value strides = emit.bitOr(emit.bitOr(operand.strides[0], operand.strides[1]), operand.strides[2]);
  Value bits =
      emit.bitOr(emit.make<LLVM::PtrToIntOp>(emit.i64(), operand.pointer), emit.mul(strides, int64_t(memory.getIntOrFloatBitWidth() / 8)));
  return emit.cmp(Emitter::CmpI::eq, emit.bitAnd(bits, emit.index(bytes - 1)), emit.index(0));
}

/// One row of a tile.
struct SimtStaging::Place {
  Value from;   ///< its first element in global memory; of another row, where it does not exist
  Value exists; ///< i1
  Value to;     ///< in shared memory
};

void SimtStaging::copy(const StagedTile &tile, const StagingSource &source, Value firstColumn) const {
  if (!source.inVectors)
    return copyElements(tile, source, firstColumn);
  emit.ifElse(source.inVectors, [&] { copyVectors(tile, source, firstColumn); }, [&] { copyElements(tile, source, firstColumn); });
}

/// The row of this thread in a group of rows that are filled at once. Where the last group is not whole, some threads do the last row once
/// more: they write what is there already.
Value SimtStaging::rowOf(const StagedTile &tile, Value group) const {
  int64_t atOnce = threads / kRowThreads;
  Value row = emit.add(emit.shrU(position.thread, llvm::Log2_64(kRowThreads)), emit.mul(group, atOnce));
  return tile.rows % atOnce == 0 ? row : emit.minS(row, emit.constInt(emit.i32(), tile.rows - 1));
}

SimtStaging::Place SimtStaging::locate(const StagedTile &tile, const StagingSource &source, Value row) const {
  Value absolute = emit.add(source.first, emit.make<arith::ExtUIOp>(emit.i64(), row));
  Value exists = emit.cmp(Emitter::CmpI::slt, absolute, source.end);
  Type global = LLVM::LLVMPointerType::get(emit.builder.getContext(), unsigned(NVVM::NVVMMemorySpace::Global));
  Value from = emit.make<LLVM::AddrSpaceCastOp>(global, source.rowAt(emit.minS(absolute, emit.sub(source.end, 1))));
  Value to = emitByteOffset(emit, shared, emit.add(emit.mul(row, tile.pitchBytes()), tile.offsetBytes));
  return {from, exists, to};
}

/// The first column of the thread's vector in a turn over the row; as with rows, the last one is done twice rather than asked about.
Value SimtStaging::columnOf(const StagedTile &tile, int64_t turn, int64_t vector) const {
  Value number = emit.add(emit.bitAnd(position.thread, emit.constInt(emit.i32(), kRowThreads - 1)), turn * kRowThreads);
  int64_t count = tile.cols / vector;
  if ((turn + 1) * kRowThreads > count)
    number = emit.minS(number, emit.constInt(emit.i32(), count - 1));
  return emit.mul(number, vector);
}

void SimtStaging::copyVectors(const StagedTile &tile, const StagingSource &source, Value firstColumn) const {
  // As many loads are on their way before the first one is waited for.
  constexpr size_t kInFlight = 8;
  SmallVector<std::pair<Value, Value>> pending;
  auto storePending = [&] {
    for (auto [value, address] : pending)
      emit.make<LLVM::StoreOp>(value, address, /*alignment=*/16);
    pending.clear();
  };
  int64_t vector = vectorOf(tile), memoryBytes = source.memory.getIntOrFloatBitWidth() / 8, atOnce = threads / kRowThreads;
  Type raw = emit.vec(vector, rawType(emit, source.memory));
  bool mayPassEnd = firstColumn ? source.columns % tile.cols != 0 : source.columns < tile.cols;
  for (int64_t group = 0; group * atOnce < tile.rows; ++group) {
    Place place = locate(tile, source, rowOf(tile, emit.constInt(emit.i32(), group)));
    for (int64_t turn = 0; turn * kRowThreads * vector < tile.cols; ++turn) {
      Value inTile = columnOf(tile, turn, vector), column = firstColumn ? emit.add(firstColumn, inTile) : inTile, exists = place.exists;
      if (mayPassEnd) {
        Value inside = emit.cmp(Emitter::CmpI::slt, column, emit.constInt(emit.i32(), source.columns));
        column = emit.select(inside, column, emit.constInt(emit.i32(), 0));
        exists = emit.bitAnd(exists, inside);
      }
      Value elements =
          emit.make<LLVM::LoadOp>(raw, emitByteOffset(emit, place.from, emit.mul(column, memoryBytes)), unsigned(vector * memoryBytes));
      elements = widenElements(emit, elements, source.memory, compute);
      elements = emit.select(exists, elements, emit.constFloat(elements.getType(), 0.0));
      pending.push_back({elements, emitByteOffset(emit, place.to, emit.mul(inTile, tile.elementBytes))});
      if (pending.size() == kInFlight)
        storePending();
    }
  }
  storePending();
}

/// Any strides, any alignment.
void SimtStaging::copyElements(const StagedTile &tile, const StagingSource &source, Value firstColumn) const {
  int64_t vector = vectorOf(tile), atOnce = threads / kRowThreads;
  auto i32 = [&](int64_t value) { return emit.constInt(emit.i32(), value); };
  emit.loop(i32(0), i32(llvm::divideCeil(tile.rows, atOnce)), i32(1), [&](Value group) {
    Place place = locate(tile, source, rowOf(tile, group));
    for (int64_t turn = 0; turn * kRowThreads * vector < tile.cols; ++turn) {
      Value inTile = columnOf(tile, turn, vector), column = firstColumn ? emit.add(firstColumn, inTile) : inTile;
      for (int64_t element = 0; element < vector; ++element)
        emit.store(elementAt(place, source, emit.add(column, element)),
                   emitByteOffset(emit, place.to, emit.mul(emit.add(inTile, element), tile.elementBytes)));
    }
  });
}

Value SimtStaging::elementAt(const Place &place, const StagingSource &source, Value column) const {
  Value inside = emit.cmp(Emitter::CmpI::slt, column, emit.constInt(emit.i32(), source.columns));
  Value offset = emit.make<arith::ExtUIOp>(emit.i64(), emit.select(inside, column, emit.constInt(emit.i32(), 0)));
  if (source.columnStride)
    offset = emit.mul(offset, source.columnStride);
  int64_t memoryBytes = source.memory.getIntOrFloatBitWidth() / 8;
  Value element = loadFloats(emit, emitByteOffset(emit, place.from, emit.mul(offset, memoryBytes)), source.memory, compute, 1);
  return emit.select(emit.bitAnd(place.exists, inside), element, emit.constFloat(compute, 0.0));
}

} // namespace attnjit::tile
