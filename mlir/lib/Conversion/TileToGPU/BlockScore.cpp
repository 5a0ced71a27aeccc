#include "BlockScore.h"

#include "../TileToVector/Elements.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace attnjit::tile {

using CmpI = Emitter::CmpI;

/// Keys from a thread's first one.
static int64_t distanceOf(Place place) { return 8 * place.tile + place.column; }

static Value keyAt(const Emitter &emit, Value firstKey, Place place) {
  return emit.make<arith::AddIOp>(firstKey, emit.constInt(firstKey.getType(), distanceOf(place)), arith::IntegerOverflowFlags::nsw);
}

/// Either of them, where there are two.
static Value either(const Emitter &emit, Value a, Value b) { return a && b ? emit.bitOr(a, b) : a ? a : b; }

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

EvenLoad::EvenLoad(const FormulaFrame &frame, attn::LoadOp load, const DiagonalValues &values)
    : frame(frame), emit(frame.builder, frame.loc), op(load), memory(attn::captureElementType(load.getCapture().getType())),
      raw(rawType(emit, memory)), elementBytes(raw.getIntOrFloatBitWidth() / 8) {
  for (Value index : load.getIndices()) {
    auto expander =
        std::make_unique<MapExpander>(frame.builder, frame.loc, frame.program, *load->getParentRegion(), frame.abi, /*lanes=*/1, index);
    bool mayWrap = !expander->isNonNegative(index);
    indices.push_back({*values.slopeOf(index), std::move(expander), mayWrap});
  }
  sharesRows = llvm::all_of(indices, [](const Index &index) { return index.slope.q == 0; });
}

/// A column of pairs lies at even distances in every row.
bool EvenLoad::readsPairs() const {
  constexpr int64_t kLargestPiece = 8;
  return 2 * elementBytes <= kLargestPiece && indices.back().slope.q % 2 == 0;
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
    bool isLast = dim + 1 == indices.size();
    Value term = isLast ? position : emit.mul(position, index.expander->strideOf(op, dim));
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
  isMisaligned = nullptr;
  if (!readsPairs())
    return;
  // Where key 0 lies, and how far it is from row to row.
  Value bits = emit.make<LLVM::PtrToIntOp>(emit.i64(), addressAt(tile.q0, emit.index(0)));
  if (keyStep() < 0)
    bits = emit.sub(bits, elementBytes);
  for (auto [dim, index] : llvm::enumerate(indices))
    if (index.slope.q != 0 && dim + 1 != indices.size())
      bits = emit.bitOr(bits, emit.mul(index.expander->strideOf(op, dim), index.slope.q * elementBytes));
  isMisaligned = emit.cmp(CmpI::ne, emit.bitAnd(bits, emit.index(2 * elementBytes - 1)), emit.index(0));
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
  if (!readsPairs())
    return unfit;
  Value isOdd = emit.cmp(CmpI::ne, emit.bitAnd(block.begin, emit.index(1)), emit.index(0));
  return either(emit, unfit, emit.bitOr(isMisaligned, isOdd));
}

void EvenLoad::bindBlock(const FragmentOrigin &origin) {
  known.clear();
  for (int64_t row = 0; row < (sharesRows ? 1 : 2); ++row)
    first[row] = addressAt(origin.queries[row], origin.key);
}

/// Captured tensors are never written to while a kernel runs (A8).
Value EvenLoad::read(Type type, int64_t row, int64_t distance, int64_t alignment) const {
  return emit.make<LLVM::LoadOp>(type, emitByteOffset(emit, first[row], distance * elementBytes), alignment, /*isVolatile=*/false,
                                 /*isNonTemporal=*/false, /*isInvariant=*/true);
}

Value EvenLoad::widen(Value element) { return widenElements(emit, element, memory, op.getResult().getType()); }

/// Both columns of a place.
std::array<Value, 2> EvenLoad::readPair(Place place) {
  int64_t before = keyStep() < 0; // the second column lies before the first one
  Type bits = emit.builder.getIntegerType(8 * elementBytes), twice = emit.builder.getIntegerType(16 * elementBytes);
  Value both = read(twice, place.row, keyStep() * 8 * place.tile - before, 2 * elementBytes);
  auto half = [&](int64_t i) {
    Value part = emit.make<arith::TruncIOp>(bits, i ? emit.shrU(both, 8 * elementBytes) : both);
    return widen(raw == bits ? part : emit.bitcast(raw, part));
  };
  return {half(before), half(1 - before)};
}

Value EvenLoad::at(Place place) {
  if (sharesRows)
    place.row = 0;
  Value &value = known[place];
  if (value)
    return value;
  if (!readsPairs())
    return value = widen(read(raw, place.row, keyStep() * distanceOf(place), elementBytes));
  std::array<Value, 2> pair = readPair(place);
  for (int64_t column = 0; column < 2; ++column)
    known[{place.row, place.tile, column}] = pair[column];
  return pair[place.column];
}

//===------------------------------------------------------------------------------------------------------------------===//
// Diagonals
//===------------------------------------------------------------------------------------------------------------------===//

DiagonalValue::DiagonalValue(const FormulaFrame &frame, Operation *op, const DiagonalValues &values) : frame(frame), op(op) {
  for (std::unique_ptr<MapExpander> &row : rows)
    row = std::make_unique<MapExpander>(frame.builder, frame.loc, frame.program, *op->getParentRegion(), frame.abi, /*lanes=*/1,
                                        op->getResult(0));
  for (auto load : op->getBlock()->getOps<attn::LoadOp>())
    if (rows[0]->needs(load) && EvenLoad::fits(load, values)) {
      loads.push_back(std::make_unique<EvenLoad>(frame, load, values));
      for (std::unique_ptr<MapExpander> &row : rows)
        row->takeGiven(load);
    }
}

void DiagonalValue::bindTile(const TileCoords &tile) {
  for (std::unique_ptr<MapExpander> &row : rows)
    row->bindHeads(tile.b, tile.h);
  for (std::unique_ptr<EvenLoad> &load : loads)
    load->bindTile(tile);
}

Value DiagonalValue::isUnfit(const KvBlock &block) {
  Value unfit;
  for (std::unique_ptr<EvenLoad> &load : loads)
    unfit = either(Emitter(frame.builder, frame.loc), unfit, load->isUnfit(block));
  return unfit;
}

void DiagonalValue::bindBlock(const FragmentOrigin &origin) {
  known.clear();
  firstKey = origin.key;
  for (int64_t row = 0; row < 2; ++row) {
    rows[row]->assumeUnitStrides(true);
    rows[row]->bindQuery(origin.queries[row]);
  }
  for (std::unique_ptr<EvenLoad> &load : loads)
    load->bindBlock(origin);
}

/// Where the second row does not exist its values do not count, so that it does no harm to take them from the first.
Value DiagonalValue::at(Place place) {
  if (place.row == 1 && place.tile > 0)
    place = {0, place.tile - 1, place.column};
  Value &value = known[place];
  if (value)
    return value;
  MapExpander &row = *rows[place.row];
  row.bindKey(keyAt(Emitter(frame.builder, frame.loc), firstKey, place));
  Emitter::Values given;
  for (std::unique_ptr<EvenLoad> &load : loads)
    given.push_back(load->at(place));
  return value = row.expand(Value(), given).value;
}

//===------------------------------------------------------------------------------------------------------------------===//
// The formula
//===------------------------------------------------------------------------------------------------------------------===//

BlockScore::BlockScore(const FormulaFrame &frame, const ScoreFactors &ends) : frame(frame), hasFirstProduct(ends.firstProduct) {
  Region &score = *frame.program.score;
  for (std::unique_ptr<MapExpander> &row : rows)
    row = std::make_unique<MapExpander>(frame.builder, frame.loc, frame.program, score, frame.abi, /*lanes=*/1, ends.root);
  auto take = [&](Operation *op) {
    for (std::unique_ptr<MapExpander> &row : rows)
      row->takeGiven(op);
  };
  if (hasFirstProduct)
    take(ends.firstProduct);
  // An index that may leave its tensor has to be seen by the map of each element.
  if (frame.program.checkedIndices)
    return;
  const DiagonalValues values(score);
  for (Operation *op : values.numbers())
    if (rows[0]->needs(op)) {
      diagonals.push_back(std::make_unique<DiagonalValue>(frame, op, values));
      take(op);
    }
  for (auto load : score.front().getOps<attn::LoadOp>())
    if (rows[0]->needs(load) && EvenLoad::fits(load, values)) {
      loads.push_back(std::make_unique<EvenLoad>(frame, load, values));
      take(load);
    }
}

void BlockScore::bindTile(const TileCoords &tile) {
  for (std::unique_ptr<MapExpander> &row : rows)
    row->bindHeads(tile.b, tile.h);
  for (std::unique_ptr<DiagonalValue> &diagonal : diagonals)
    diagonal->bindTile(tile);
  for (std::unique_ptr<EvenLoad> &load : loads)
    load->bindTile(tile);
}

Value BlockScore::isUnfit(const KvBlock &block) {
  const Emitter emit(frame.builder, frame.loc);
  Value unfit;
  for (std::unique_ptr<DiagonalValue> &diagonal : diagonals)
    unfit = either(emit, unfit, diagonal->isUnfit(block));
  for (std::unique_ptr<EvenLoad> &load : loads)
    unfit = either(emit, unfit, load->isUnfit(block));
  return unfit;
}

void BlockScore::bindBlock(const FragmentOrigin &origin) {
  firstKey = origin.key;
  for (int64_t row = 0; row < 2; ++row) {
    rows[row]->assumeUnitStrides(true);
    rows[row]->bindQuery(origin.queries[row]);
  }
  for (std::unique_ptr<DiagonalValue> &diagonal : diagonals)
    diagonal->bindBlock(origin);
  for (std::unique_ptr<EvenLoad> &load : loads)
    load->bindBlock(origin);
}

Value BlockScore::expand(Place place, Value scaled) {
  MapExpander &row = *rows[place.row];
  row.bindKey(keyAt(Emitter(frame.builder, frame.loc), firstKey, place));
  Emitter::Values given;
  if (hasFirstProduct)
    given.push_back(scaled);
  for (std::unique_ptr<DiagonalValue> &diagonal : diagonals)
    given.push_back(diagonal->at(place));
  for (std::unique_ptr<EvenLoad> &load : loads)
    given.push_back(load->at(place));
  return row.expand(hasFirstProduct ? Value() : scaled, given).value;
}

} // namespace attnjit::tile
