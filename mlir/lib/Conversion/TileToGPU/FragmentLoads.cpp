#include "FragmentLoads.h"

#include "../TileToVector/Elements.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace attnjit::tile {

using CmpI = Emitter::CmpI;

Value keyAt(const Emitter &emit, Value firstKey, Place place) {
  return emit.make<arith::AddIOp>(firstKey, emit.constInt(firstKey.getType(), place.distance()), arith::IntegerOverflowFlags::nsw);
}

Value either(const Emitter &emit, Value a, Value b) { return a && b ? emit.bitOr(a, b) : a ? a : b; }

//===------------------------------------------------------------------------------------------------------------------===//
// Loads
//===------------------------------------------------------------------------------------------------------------------===//

bool EvenLoad::fits(attn::LoadOp load, const DiagonalValues &values) {
  for (auto [dim, index] : llvm::enumerate(load.getIndices())) {
    std::optional<DiagonalValues::Slope> slope = values.slopeOf(index);
    bool isLast = dim + 1 == load.getIndices().size();
    if (!slope || (std::abs(slope->kv) == 1) != isLast || (slope->kv != 0) != isLast)
      return false;
  }
  return !load.getIndices().empty();
}

/// A column of pairs lies at even distances in every row.
static int64_t alignmentFor(int64_t elementBytes, const DiagonalValues::Slope &last) {
  constexpr int64_t kLargestPiece = 8;
  return 2 * elementBytes <= kLargestPiece && last.q % 2 == 0 ? 2 * elementBytes : elementBytes;
}

EvenLoad::EvenLoad(const FormulaFrame &frame, attn::LoadOp load, const DiagonalValues &values)
    : frame(frame), emit(frame.builder, frame.loc), op(load), memory(attn::captureElementType(load.getCapture().getType())),
      raw(rawType(emit, memory)) {
  for (Value index : load.getIndices()) {
    auto expander =
        std::make_unique<MapExpander>(frame.builder, frame.loc, frame.program, *load->getParentRegion(), frame.abi, /*lanes=*/1, index);
    bool mayWrap = !expander->isNonNegative(index);
    indices.push_back({*values.slopeOf(index), std::move(expander), mayWrap});
  }
  elementBytes = raw.getIntOrFloatBitWidth() / 8;
  alignment = alignmentFor(elementBytes, indices.back().slope);
  sharesRows = llvm::all_of(indices, [](const Index &index) { return index.slope.q == 0; });
}

Value EvenLoad::indexAt(Index &index, Value query, Value key) {
  index.expander->bindQuery(emit.toInt(frame.program.indexType, query));
  index.expander->bindKey(emit.toInt(frame.program.indexType, key));
  return emit.toInt(emit.i64(), index.expander->expand(Value()).value);
}

Value EvenLoad::addressAt(Value query, Value key) {
  Value offset;
  for (auto [dim, index] : llvm::enumerate(indices)) {
    Value position = indexAt(index, query, key);
    bool isUnit = isDense && dim + 1 == indices.size();
    Value term = isUnit ? position : emit.mul(position, index.expander->strideOf(op, dim));
    offset = offset ? emit.add(offset, term) : term;
  }
  Type global = LLVM::LLVMPointerType::get(frame.builder.getContext(), unsigned(NVVM::NVVMMemorySpace::Global));
  Value pointer = emit.make<LLVM::AddrSpaceCastOp>(global, indices.front().expander->pointerOf(op));
  return emitByteOffset(emit, pointer, emit.mul(offset, elementBytes));
}

void EvenLoad::bindTile(const TileCoords &coords) {
  tile = coords;
  for (Index &index : indices)
    index.expander->bindHeads(tile.b, tile.h);
  if (!readsPairs())
    return;
  tileAddress = addressAt(tile.q0, emit.index(0));
  rowBytes = emit.index(0);
  for (auto [dim, index] : llvm::enumerate(indices))
    if (index.slope.q != 0) {
      bool isLast = dim + 1 == indices.size();
      Value stride = isLast ? emit.index(1) : index.expander->strideOf(op, dim);
      rowBytes = emit.add(rowBytes, emit.mul(stride, index.slope.q * elementBytes));
    }
  Value start = emit.make<LLVM::PtrToIntOp>(emit.i64(), tileAddress);
  if (keyStep() < 0) // the second key of a pair lies before the first one
    start = emit.sub(start, elementBytes);
  Value rest = emit.bitAnd(emit.bitOr(start, rowBytes), emit.index(alignment - 1));
  tileIsMisaligned = emit.cmp(CmpI::ne, rest, emit.index(0));
}

/// The smallest value of an index among the pairs of a block, all of which exist.
Value EvenLoad::lowestOf(Index &index, const KvBlock &block) {
  Value lastQuery = emit.sub(emit.add(tile.q0, tile.rows), 1), lastKey = emit.sub(block.end, 1);
  return indexAt(index, index.slope.q < 0 ? lastQuery : tile.q0, index.slope.kv < 0 ? lastKey : block.begin);
}

Value EvenLoad::isUnfit(const KvBlock &block) {
  Value unfit;
  for (Index &index : indices)
    if (index.mayWrap)
      unfit = either(emit, unfit, emit.cmp(CmpI::slt, lowestOf(index, block), emit.index(0)));
  return readsPairs() ? either(emit, unfit, isMisaligned(block)) : unfit;
}

Value EvenLoad::isMisaligned(const KvBlock &block) {
  Value rest = emit.bitAnd(block.begin, emit.index(alignment / elementBytes - 1));
  return emit.bitOr(tileIsMisaligned, emit.cmp(CmpI::ne, rest, emit.index(0)));
}

void EvenLoad::bindBlock(const FragmentOrigin &origin) {
  known.clear();
  for (int64_t row = 0; row < (sharesRows ? 1 : 2); ++row)
    first[row] = addressAt(origin.queries[row], origin.key);
}

/// Captured tensors are never written to while a kernel runs (A8).
Value EvenLoad::read(Type type, Value address, int64_t alignment) const {
  return emit.make<LLVM::LoadOp>(type, address, alignment, /*isVolatile=*/false, /*isNonTemporal=*/false, /*isInvariant=*/true);
}

Value EvenLoad::addressOf(int64_t row, int64_t distance) const { return emitByteOffset(emit, first[row], distance * elementBytes); }
Value EvenLoad::elementAddress(Place place) const { return addressOf(place.row, keyStep() * place.distance()); }
Value EvenLoad::lastStride() { return indices.back().expander->strideOf(op, indices.size() - 1); }

Value EvenLoad::widen(Value element) { return widenElements(emit, element, memory, op.getResult().getType()); }

std::array<Value, 2> EvenLoad::readPair(Place place) {
  Type twice = emit.builder.getIntegerType(16 * elementBytes);
  return halvesOf(read(twice, addressOf(place.row, keyStep() * 8 * place.tile - (keyStep() < 0)), 2 * elementBytes));
}

std::array<Value, 2> EvenLoad::halvesOf(Value both) {
  Type bits = emit.builder.getIntegerType(8 * elementBytes);
  auto half = [&](int64_t i) {
    Value part = emit.make<arith::TruncIOp>(bits, i ? emit.shrU(both, 8 * elementBytes) : both);
    return widen(raw == bits ? part : emit.bitcast(raw, part));
  };
  int64_t firstColumn = keyStep() < 0;
  return {half(firstColumn), half(1 - firstColumn)};
}

Value EvenLoad::at(Place place) {
  if (sharesRows)
    place.row = 0;
  Value &value = known[place];
  if (value)
    return value;
  if (!readsPairs())
    return value = widen(read(raw, elementAddress(place), elementBytes));
  std::array<Value, 2> pair = readPair(place);
  for (int64_t column = 0; column < 2; ++column)
    known[{place.row, place.tile, column}] = pair[column];
  return pair[place.column];
}

//===------------------------------------------------------------------------------------------------------------------===//
// Loads where keys may be missing
//===------------------------------------------------------------------------------------------------------------------===//

ClampedLoad::ClampedLoad(const FormulaFrame &frame, attn::LoadOp load, const DiagonalValues &values) : EvenLoad(frame, load, values) {
  alignment = elementBytes;
  isDense = false;
}

std::unique_ptr<ClampedLoad> ClampedLoad::create(const FormulaFrame &frame, attn::LoadOp load, const DiagonalValues &values) {
  if (!EvenLoad::fits(load, values))
    return nullptr;
  std::unique_ptr<ClampedLoad> made(new ClampedLoad(frame, load, values));
  bool mayWrap = llvm::any_of(made->indices, [](const Index &index) { return index.mayWrap; });
  return mayWrap ? nullptr : std::move(made);
}

void ClampedLoad::bindKeys(const FragmentOrigin &origin, Value keysLeft) {
  // A thread whose first key is missing goes back to the last one.
  Value missing = emit.minS(emit.sub(keysLeft, 1), emit.constInt(emit.i32(), 0));
  lastDistance = emit.maxS(emit.sub(keysLeft, 1), emit.constInt(emit.i32(), 0));
  stepBytes = emit.mul(lastStride(), keyStep() * elementBytes);
  bindBlock({origin.queries, emit.add(origin.key, emit.toInt(origin.key.getType(), missing))});
}

Value ClampedLoad::elementAddress(Place place) const {
  Value distance = emit.minS(emit.constInt(emit.i32(), place.distance()), lastDistance);
  return emitByteOffset(emit, first[place.row], emit.mul(emit.make<arith::ExtUIOp>(emit.i64(), distance), stepBytes));
}

//===------------------------------------------------------------------------------------------------------------------===//
// Loads by way of shared memory
//===------------------------------------------------------------------------------------------------------------------===//

bool StagedLoad::fits(attn::LoadOp load, const DiagonalValues &values, int64_t cols) {
  constexpr int64_t kBits = 16, kLeast = 64, kMost = 256; // a row's chunks are 8, 16 or 32
  if (!EvenLoad::fits(load, values) || attn::captureElementType(load.getCapture().getType()).getIntOrFloatBitWidth() != kBits)
    return false;
  DiagonalValues::Slope last = *values.slopeOf(load.getIndices().back());
  bool movesWithQuery = llvm::any_of(load.getIndices(), [&](Value index) { return values.slopeOf(index)->q != 0; });
  return last.kv == 1 && last.q == 0 && movesWithQuery && llvm::isPowerOf2_64(cols) && cols >= kLeast && cols <= kMost;
}

StagedLoad::StagedLoad(const FormulaFrame &frame, attn::LoadOp load, const DiagonalValues &values, const StageRoom &room)
    : EvenLoad(frame, load, values), room(room) {
  alignment = kChunkBytes;
}

Value StagedLoad::sharedPointer(Value address) const {
  return emit.make<LLVM::IntToPtrOp>(LLVM::LLVMPointerType::get(frame.builder.getContext(), unsigned(NVVM::NVVMMemorySpace::Shared)),
                                     address);
}

/// Lanes take a row's chunks side by side, and as many rows at a time as they reach. Rows that do not exist are the last one once more.
void StagedLoad::stage(const KvBlock &block) {
  int64_t chunks = room.cols * elementBytes / kChunkBytes, rowsAtOnce = 32 / chunks;
  Value row = emit.shrU(room.lane, llvm::Log2_64(chunks)), chunk = emit.bitAnd(room.lane, emit.constInt(emit.i32(), chunks - 1));
  Value to = emit.add(room.address, emit.add(emit.mul(row, rowPitch(room.cols)), emit.shl(emit.bitXor(chunk, row), 4)));
  Value begin = emit.add(emit.mul(block.begin, elementBytes), emit.make<arith::ExtUIOp>(emit.i64(), emit.shl(chunk, 4)));
  Value from = emitByteOffset(emit, tileAddress, begin);
  Value firstRow = emit.add(room.firstRow, row), lastRow = emit.toInt(emit.i32(), emit.sub(tile.rows, 1));
  for (int64_t distance = 0; distance < kRows; distance += rowsAtOnce) {
    Value source = emit.make<arith::ExtUIOp>(emit.i64(), emit.minS(emit.add(firstRow, distance), lastRow));
    Value target = emit.add(emit.bitXor(to, emit.constInt(emit.i32(), distance % 8 * kChunkBytes)), distance * rowPitch(room.cols));
    emit.make<NVVM::CpAsyncOp>(sharedPointer(target), emitByteOffset(emit, from, emit.mul(source, rowBytes)), kChunkBytes,
                               NVVM::LoadCacheModifierKind::CG, Value());
  }
  emit.make<NVVM::CpAsyncCommitGroupOp>();
}

void StagedLoad::bindBlock(const FragmentOrigin &origin) {
  known.clear();
  emit.make<NVVM::CpAsyncWaitGroupOp>(frame.builder.getI32IntegerAttr(0));
  emit.make<NVVM::SyncWarpOp>(emit.constInt(emit.i32(), -1)); // what other lanes have brought
}

/// Matrices of 8 rows and 8 keys: both rows of a tile, and both of the next one. Lanes 8i .. 8i + 7 name the rows of the i-th.
Value StagedLoad::at(Place place) {
  Value &value = known[place];
  if (value)
    return value;
  int64_t left = place.tile & ~int64_t(1);
  auto bits = [&](int64_t from, int64_t count) {
    return emit.bitAnd(emit.shrU(room.lane, from), emit.constInt(emit.i32(), (1 << count) - 1));
  };
  Value row = emit.add(bits(0, 3), emit.shl(bits(3, 1), 3)), chunk = emit.bitXor(bits(0, 3), bits(4, 1));
  Value first = emit.add(room.address, emit.add(emit.mul(row, rowPitch(room.cols)), emit.shl(chunk, 4)));
  Fragment4 matrices = emitLoadMatrices(emit, sharedPointer(emit.bitXor(first, emit.constInt(emit.i32(), left * kChunkBytes))),
                                        /*transposed=*/false);
  for (int64_t i = 0; i < 4; ++i)
    for (auto [column, half] : llvm::enumerate(halvesOf(matrices[i])))
      known[{i % 2, left + i / 2, int64_t(column)}] = half;
  return known[place];
}

} // namespace attnjit::tile
