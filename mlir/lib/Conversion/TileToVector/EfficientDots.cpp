// The two products of the efficient schedule, and the prefetching that keeps memory busy under them: each asks for the rows it will need
// one block later, K during the first product and V during the second, a few at a time. A processor has room for a few dozen requests,
// about a kilobyte or two: whatever is asked for at once is waited for, and whatever is not asked for while there is work leaves memory
// idle. So register tiles of rows share the rows of the next block evenly.
#include "EfficientSchedule.h"

#include "Elements.h"

using namespace mlir;

namespace attnjit::tile {

/// Shares are fractions with so many bits.
static constexpr int64_t kShareBits = 16;

/// Pointer to a row of the block, or of the next.
Value EfficientKernel::rowAt(const EfficientRows &rows, Value index) const {
  if (rows.pointers)
    return emit.load(emit.ptr(), emit.at(rows.pointers, emit.ptr(), index));
  return emit.at(rows.base, rows.type, emit.mul(index, rows.stride));
}

/// Columns [column, column + lanes) of a row as floats. In the tail of a row that is used in place the lanes that the vector before it
/// holds are zeroed.
Value EfficientKernel::loadColumns(const EfficientRows &rows, Value rowPointer, Value column, bool isTail) {
  Value vector = loadFloats(emit, emit.at(rowPointer, rows.type, column), rows.type, compute, shape.lanes);
  if (!isTail)
    return vector;
  return emit.select(isNewInTail(rows.columns), vector, splatF(0.0));
}

Value EfficientKernel::isNewInTail(const EfficientColumns &columns) const {
  SmallVector<bool> isNew;
  for (int64_t lane = 0; lane < shape.lanes; ++lane)
    isNew.push_back(lane >= columns.overlap());
  auto type = VectorType::get({shape.lanes}, emit.i1());
  return emit.make<arith::ConstantOp>(DenseElementsAttr::get(type, ArrayRef<bool>(isNew)));
}

/// While keys [key, key + count) are worked on: asks for this register tile's share of as many rows of the next block, `bytes` bytes from
/// `column` on. They may lie behind the last key; a prefetch is a wish, not a read.
void EfficientKernel::emitPrefetch(const EfficientRows &rows, Value key, int64_t count, Value column, int64_t bytes) {
  if (!rows.columns.inPlace)
    return; // the copy reads ahead by itself
  auto fetch = [&](Value row) {
    Value line = emit.at(rowAt(rows, emit.add(row, program.tileCols)), rows.type, column);
    for (int64_t offset = 0; offset < bytes; offset += kCacheLineBytes)
      emit.make<LLVM::Prefetch>(emit.atBytes(line, offset), /*rw=*/0, /*hint=*/2, /*cache=*/1);
  };
  if (!prefetchShare) {
    for (int64_t row = 0; row < count; ++row)
      fetch(emit.add(key, row));
    return;
  }
  // The tiles' keys, one tile after the other, are mapped to the rows of the block.
  auto rowAt = [&](Value position) { return emit.shrU(emit.mul(position, prefetchShare), kShareBits); };
  Value position = emit.add(prefetchBase, key);
  emit.loop(rowAt(position), rowAt(emit.add(position, count)), emit.index(1), fetch);
}

/// Of the rows of the next block, what falls to the register tile that begins at `row`.
void EfficientKernel::sharePrefetch(Value row) {
  Value tiles = emit.make<arith::DivUIOp>(emit.add(tile.rows, shape.rowTile - 1), emit.index(shape.rowTile));
  prefetchShare = emit.make<arith::DivUIOp>(emit.index(int64_t(1) << kShareBits), tiles);
  prefetchBase = emit.mul(emit.make<arith::DivUIOp>(row, emit.index(shape.rowTile)), program.tileCols);
}

//===------------------------------------------------------------------------------------------------------------------===//
// S = Q K^T
//===------------------------------------------------------------------------------------------------------------------===//

void EfficientKernel::emitScores(const EfficientRows &keys, Value count, Value row, int64_t rows) {
  int64_t tileKeys = keysOfTile(rows), rowBytes = d.count * keys.type.getIntOrFloatBitWidth() / 8;
  Value queryRow = rowOf(layout.queries, row, d.padded());
  emit.loop(emit.index(0), count, emit.index(tileKeys), [&](Value key) {
    emitPrefetch(keys, key, tileKeys, emit.index(0), rowBytes);
    Values indices = tileOfKeys(key, count, rows), keyRows;
    for (Value index : indices)
      keyRows.push_back(rowAt(keys, index));
    Values sums = accumulateScores(keys, keyRows, queryRow, rows);
    if (const EfficientDot *dot = addedDot())
      sums = accumulateDot(*dot, indices, row, rows, sums);
    storeScores(sums, rowOf(layout.scores, row, pitch), rows, key);
  });
}

void EfficientKernel::emitDotScores(const EfficientDot &dot, Value count, Value row, int64_t rows) {
  emit.loop(emit.index(0), count, emit.index(keysOfTile(rows)), [&](Value key) {
    Values none(rows * keysOfTile(rows), splatF(0.0));
    storeScores(accumulateDot(dot, tileOfKeys(key, count, rows), row, rows, none), rowOf(dot.scores, row, pitch), rows, key);
  });
}

Emitter::Values EfficientKernel::tileOfKeys(Value key, Value count, int64_t rows) {
  Value lastKey = emit.sub(count, 1);
  Values indices;
  for (int64_t i = 0; i < keysOfTile(rows); ++i)
    indices.push_back(emit.minS(emit.add(key, i), lastKey));
  return indices;
}

/// Per row and key one vector whose lanes add up to the score: sums[row * keys + key].
Emitter::Values EfficientKernel::accumulateScores(const EfficientRows &keys, ArrayRef<Value> keyRows, Value queryRow, int64_t rows) {
  int64_t tileKeys = keyRows.size();
  auto step = [&](Value column, Value slot, bool isTail, ValueRange sums) {
    Values next(sums), queries;
    for (int64_t r = 0; r < rows; ++r)
      queries.push_back(emit.load(vectorType(), emit.atBytes(emit.at(queryRow, compute, slot), r * d.padded() * elementBytes())));
    for (int64_t key = 0; key < tileKeys; ++key) {
      Value vector = loadColumns(keys, keyRows[key], column, isTail);
      for (int64_t r = 0; r < rows; ++r)
        next[r * tileKeys + key] = emit.fma(queries[r], vector, next[r * tileKeys + key]);
    }
    return next;
  };
  Values sums(rows * tileKeys, splatF(0.0));
  if (d.full() > 0)
    sums = emit.loop(emit.index(0), emit.index(d.full() * shape.lanes), emit.index(shape.lanes), sums,
                     [&](Value column, ValueRange carried) { return step(column, column, false, carried); });
  if (d.hasTail())
    sums = step(emit.index(d.columnOf(d.full())), emit.index(d.full() * shape.lanes), true, sums);
  return sums;
}

/// Goes on with a dot, whose rows lie in whole vectors.
Emitter::Values EfficientKernel::accumulateDot(const EfficientDot &dot, ArrayRef<Value> keys, Value row, int64_t rows, Values sums) {
  auto rowsAt = [&](int64_t offset, ValueRange indices) {
    return llvm::map_to_vector(indices, [&](Value index) { return emit.at(region(offset), compute, emit.mul(index, dot.stride)); });
  };
  Values queryIndices;
  for (int64_t r = 0; r < rows; ++r)
    queryIndices.push_back(emit.add(row, r));
  Values queryRows = rowsAt(dot.queries, queryIndices), keyRows = rowsAt(dot.keys, keys);
  return emit.loop(emit.index(0), dot.stride, emit.index(shape.lanes), sums, [&](Value column, ValueRange carried) {
    auto load = [&](Value pointer) { return emit.load(vectorType(), emit.at(pointer, compute, column)); };
    Values next(carried), queries = llvm::map_to_vector(queryRows, load);
    for (auto [key, keyRow] : llvm::enumerate(keyRows)) {
      Value vector = load(keyRow);
      for (int64_t r = 0; r < rows; ++r)
        next[r * keys.size() + key] = emit.fma(queries[r], vector, next[r * keys.size() + key]);
    }
    return next;
  });
}

/// Adds up the lanes of each sum and stores the scores, [row][key]. `keyTile` vectors become one whose 128-bit parts each hold a piece of
/// the `keyTile` sums; those of rowTile rows become one whose parts are the rows.
void EfficientKernel::storeScores(ArrayRef<Value> sums, Value target, int64_t rows, Value key) {
  int64_t keyTile = shape.keyTile, tileKeys = sums.size() / rows;
  for (int64_t first = 0; first < tileKeys; first += keyTile) {
    SmallVector<Value> pieces;
    for (int64_t r = 0; r < rows; ++r)
      pieces.push_back(addWithinParts(sums.slice(r * tileKeys + first, keyTile)));
    Value all = addAcrossParts(pieces);
    for (int64_t r = 0; r < rows; ++r) {
      auto lanes = llvm::to_vector(llvm::seq<int64_t>(r * keyTile, (r + 1) * keyTile));
      Value scores = rows == 1 ? all : emit.make<vector::ShuffleOp>(all, all, lanes);
      emit.store(scores, emit.at(emit.atBytes(target, r * pitch * elementBytes()), compute, emit.add(key, first)));
    }
  }
}

/// keyTile vectors -> one: lane k of each 128-bit part is the sum of that part of vectors[k].
Value EfficientKernel::addWithinParts(ArrayRef<Value> vectors) {
  int64_t size = shape.keyTile;
  // Interleaves equal pieces of `width` lanes of a and b: the lower halves of each part, resp. the upper.
  auto interleave = [&](Value a, Value b, int64_t width, bool upper) {
    SmallVector<int64_t> lanes;
    for (int64_t part = 0; part < shape.lanes; part += size)
      for (int64_t piece = 0; piece < size / 2; piece += width)
        for (int64_t from : {int64_t(0), shape.lanes})
          for (int64_t lane = 0; lane < width; ++lane)
            lanes.push_back(from + part + (upper ? size / 2 : 0) + piece + lane);
    return Value(emit.make<vector::ShuffleOp>(a, b, lanes));
  };
  SmallVector<Value> level(vectors);
  for (int64_t width = 1; level.size() > 1; width *= 2) {
    SmallVector<Value> next;
    for (size_t i = 0; i < level.size(); i += 2)
      next.push_back(emit.addF(interleave(level[i], level[i + 1], width, false), interleave(level[i], level[i + 1], width, true)));
    level = next;
  }
  return level[0];
}

/// rowTile vectors -> one: part r is the sum of the parts of vectors[r]. One vector -> a vector of keyTile lanes, the sum of its parts.
Value EfficientKernel::addAcrossParts(ArrayRef<Value> vectors) {
  int64_t size = shape.keyTile;
  auto pick = [&](Value a, Value b, ArrayRef<int64_t> parts) {
    SmallVector<int64_t> lanes;
    for (int64_t part : parts)
      for (int64_t lane = 0; lane < size; ++lane)
        lanes.push_back(part * size + lane);
    return Value(emit.make<vector::ShuffleOp>(a, b, lanes));
  };
  if (vectors.size() == 1) {
    Value sum = vectors[0];
    for (int64_t half = shape.rowTile / 2; half >= 1; half /= 2)
      sum = emit.addF(pick(sum, sum, llvm::to_vector(llvm::seq<int64_t>(0, half))),
                      pick(sum, sum, llvm::to_vector(llvm::seq<int64_t>(half, 2 * half))));
    return sum;
  }
  if (shape.rowTile == 2)
    return emit.addF(pick(vectors[0], vectors[1], {0, 2}), pick(vectors[0], vectors[1], {1, 3}));
  SmallVector<Value> halves; // parts 0 and 1 of either vector
  for (size_t i = 0; i < vectors.size(); i += 2)
    halves.push_back(emit.addF(pick(vectors[i], vectors[i + 1], {0, 1, 4, 5}), pick(vectors[i], vectors[i + 1], {2, 3, 6, 7})));
  return emit.addF(pick(halves[0], halves[1], {0, 2, 4, 6}), pick(halves[0], halves[1], {1, 3, 5, 7}));
}

//===------------------------------------------------------------------------------------------------------------------===//
// O = factors * O + P V
//===------------------------------------------------------------------------------------------------------------------===//

void EfficientKernel::emitValues(const EfficientRows &values, Value count, Value row, int64_t rows) {
  int64_t lanes = shape.lanes, width = rows == 1 ? 2 * shape.valueVectors : shape.valueVectors; // a single row needs more chains
  int64_t inLoop = dv.full() / width * width;
  auto columnsFrom = [&](Value first) {
    Values columns;
    for (int64_t i = 0; i < width; ++i)
      columns.push_back(emit.add(first, i * lanes));
    return columns;
  };
  if (inLoop > 0)
    emit.loop(0, inLoop * lanes, width * lanes,
              [&](Value column) { emitValueTile(values, count, row, rows, columnsFrom(column), column); });
  Values rest;
  for (int64_t i = inLoop; i < dv.vectors(); ++i)
    rest.push_back(emit.index(dv.columnOf(i)));
  if (!rest.empty())
    emitValueTile(values, count, row, rows, rest, emit.index(inLoop * lanes));
}

/// Vectors of V from `columns`, those of O from `slot` on. V is read for exactly `count` keys: what lies behind might be NaN, or not there
/// at all.
void EfficientKernel::emitValueTile(const EfficientRows &values, Value count, Value row, int64_t rows, ArrayRef<Value> columns,
                                    Value slot) {
  int64_t width = columns.size();
  Values outputRows, sums;
  for (int64_t r = 0; r < rows; ++r) {
    Value index = emit.add(row, r);
    outputRows.push_back(emit.at(rowOf(layout.output, index, dv.padded()), compute, slot));
    Value factor = broadcast(emit.load(compute, rowOf(layout.factors, index, 1)));
    for (int64_t i = 0; i < width; ++i)
      sums.push_back(emit.mulF(emit.load(vectorType(), emit.atBytes(outputRows[r], i * shape.lanes * elementBytes())), factor));
  }
  Value probabilities = rowOf(layout.scores, row, pitch);
  int64_t bytes = width * shape.lanes * values.type.getIntOrFloatBitWidth() / 8;
  if (!values.pointers)
    sums.push_back(values.base); // moves along with the loop
  sums = emit.loop(emit.index(0), count, emit.index(1), sums, [&](Value key, ValueRange carried) {
    Values next(carried), vectors;
    Value valueRow = values.pointers ? rowAt(values, key) : next.pop_back_val();
    emitPrefetch(values, key, 1, columns.front(), bytes);
    for (Value column : columns)
      vectors.push_back(loadColumns(values, valueRow, column, false));
    Value p = emit.at(probabilities, compute, key);
    for (int64_t r = 0; r < rows; ++r) {
      Value weight = broadcast(emit.load(compute, emit.atBytes(p, r * pitch * elementBytes())));
      for (int64_t i = 0; i < width; ++i)
        next[r * width + i] = emit.fma(weight, vectors[i], next[r * width + i]);
    }
    if (!values.pointers)
      next.push_back(emit.at(valueRow, values.type, values.stride));
    return next;
  });
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < width; ++i)
      emit.store(sums[r * width + i], emit.atBytes(outputRows[r], i * shape.lanes * elementBytes()));
}

} // namespace attnjit::tile
