// S = Q K^T of the efficient schedule for the rows that fill no vector. Lanes along D: a register tile is keyTile keys x rowTile rows; its
// sums across lanes are made by pairs, so that one vector comes out per tile instead of one number per reduction.
#include "EfficientSchedule.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace attnjit::tile {

/// Bytes of K that are asked for ahead: enough to cover the way from memory, few enough to stay in the first-level cache.
static constexpr int64_t kAheadBytes = 8 << 10;

/// The same in rows, for tiles of `tileKeys` keys: the next tile at least, and within this block and the next.
int64_t EfficientKernel::rowsAhead(const EfficientRows &keys, int64_t tileKeys) const {
  int64_t rowBytes = d.count * keys.type.getIntOrFloatBitWidth() / 8, rows = std::max(kAheadBytes / rowBytes, tileKeys);
  return std::min(rows, blockKeys());
}

void EfficientKernel::emitScores(const EfficientRows &keys, Value count, RowCount rowCount) {
  int64_t rows = rowsOfTile(rowCount), tileKeys = keysOfTile(rows);
  EfficientAhead ahead = planAhead(keys, tileKeys, emit.mul(tilesFrom(tile.wideRows, rows), d.vectors()), rowCount);
  emit.loop(emit.index(0), count, emit.index(tileKeys), [&](Value key) {
    ahead.rows = rowsFrom(keys, emit.add(key, rowsAhead(keys, tileKeys)));
    Values indices = tileOfKeys(key, count, tileKeys), keyRows;
    for (Value index : indices)
      keyRows.push_back(rowAt(keys, index));
    auto tileOfRows = [&](Value row, ValueRange carried) -> Values {
      Value cursor = carried[0];
      Values sums = accumulateScores(keys, keyRows, row, rows, ahead, cursor);
      if (const EfficientDot *dot = addedDot())
        sums = accumulateDot(*dot, indices, row, rows, sums);
      storeScores(sums, rowOf(layout.scores, row, pitch), rows, key);
      return {cursor};
    };
    if (rows == 1)
      tileOfRows(emit.index(0), {emit.index(0)});
    else
      emit.loop(tile.wideRows, tile.rows, emit.index(rows), {emit.index(0)}, tileOfRows);
  });
}

void EfficientKernel::emitDotScores(const EfficientDot &dot, Value count, RowCount rowCount) {
  int64_t rows = rowsOfTile(rowCount), tileKeys = keysOfTile(rows);
  emit.loop(tile.wideRows, tile.rows, emit.index(rows), [&](Value row) {
    emit.loop(emit.index(0), count, emit.index(tileKeys), [&](Value key) {
      Values none(rows * tileKeys, splatF(0.0));
      Values sums = accumulateDot(dot, tileOfKeys(key, count, tileKeys), row, rows, none);
      storeScores(sums, rowOf(dot.scores, row, pitch), rows, key);
    });
  });
}

/// Key `key` and those behind it that make a register tile of S; past the last one, that one again, which becomes -inf later.
Emitter::Values EfficientKernel::tileOfKeys(Value key, Value count, int64_t tileKeys) {
  Value lastKey = emit.sub(count, 1);
  Values indices;
  for (int64_t i = 0; i < tileKeys; ++i)
    indices.push_back(emit.minS(emit.add(key, i), lastKey));
  return indices;
}

/// Per row and key one vector whose lanes add up to the score: sums[row * keys + key].
Emitter::Values EfficientKernel::accumulateScores(const EfficientRows &keys, ArrayRef<Value> keyRows, Value row, int64_t rows,
                                                  const EfficientAhead &ahead, Value &cursor) {
  int64_t tileKeys = keyRows.size();
  Value queryRow = rowOf(layout.queries, row, d.padded());
  auto step = [&](Value column, Value slot, bool isTail, ValueRange sums) {
    Values next(sums), queries;
    Value asked = askAhead(ahead, next.pop_back_val());
    for (int64_t r = 0; r < rows; ++r)
      queries.push_back(emit.load(vectorType(), emit.atBytes(emit.at(queryRow, compute, slot), r * d.padded() * elementBytes())));
    for (int64_t key = 0; key < tileKeys; ++key) {
      Value vector = loadColumns(keys, keyRows[key], column, isTail);
      for (int64_t r = 0; r < rows; ++r)
        next[r * tileKeys + key] = emit.fma(queries[r], vector, next[r * tileKeys + key]);
    }
    next.push_back(asked);
    return next;
  };
  Values carried(rows * tileKeys, splatF(0.0));
  carried.push_back(cursor);
  if (d.full() > 0)
    carried = emit.loop(emit.index(0), emit.index(d.full() * shape.lanes), emit.index(shape.lanes), carried,
                        [&](Value column, ValueRange state) { return step(column, column, false, state); });
  if (d.hasTail())
    carried = step(emit.index(d.columnOf(d.full())), emit.index(d.full() * shape.lanes), true, carried);
  cursor = carried.pop_back_val();
  return carried;
}

/// Goes on with a dot, whose rows lie in whole vectors.
Emitter::Values EfficientKernel::accumulateDot(const EfficientDot &dot, ArrayRef<Value> keys, Value row, int64_t rows, ValueRange sums) {
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
/// the `keyTile` sums; those of as many rows as there are parts become one whose parts are the rows.
void EfficientKernel::storeScores(ArrayRef<Value> sums, Value target, int64_t rows, Value key) {
  int64_t keyTile = shape.keyTile, tileKeys = sums.size() / rows, together = std::min(rows, shape.parts);
  auto add = [&](Value a, Value b) { return emit.addF(a, b); };
  for (int64_t row = 0; row < rows; row += together)
    for (int64_t first = 0; first < tileKeys; first += keyTile) {
      SmallVector<Value> pieces;
      for (int64_t r = row; r < row + together; ++r)
        pieces.push_back(foldWithinParts(sums.slice(r * tileKeys + first, keyTile), add));
      Value all = foldAcrossParts(pieces, add);
      for (int64_t r = 0; r < together; ++r) {
        auto lanes = llvm::to_vector(llvm::seq<int64_t>(r * keyTile, (r + 1) * keyTile));
        Value scores = together == 1 ? all : emit.make<vector::ShuffleOp>(all, all, lanes);
        emit.store(scores, emit.at(emit.atBytes(target, (row + r) * pitch * elementBytes()), compute, emit.add(key, first)));
      }
    }
}

/// keyTile vectors -> one: lane k of each 128-bit part is that part of vectors[k] combined, its sum for example.
Value EfficientKernel::foldWithinParts(ArrayRef<Value> vectors, Combine combine) {
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
      next.push_back(combine(interleave(level[i], level[i + 1], width, false), interleave(level[i], level[i + 1], width, true)));
    level = next;
  }
  return level[0];
}

/// As many vectors as parts -> one: part r is all parts of vectors[r] combined. One vector -> a vector of keyTile lanes, its parts
/// combined.
Value EfficientKernel::foldAcrossParts(ArrayRef<Value> vectors, Combine combine) {
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
    for (int64_t half = shape.parts / 2; half >= 1; half /= 2)
      sum = combine(pick(sum, sum, llvm::to_vector(llvm::seq<int64_t>(0, half))),
                    pick(sum, sum, llvm::to_vector(llvm::seq<int64_t>(half, 2 * half))));
    return sum;
  }
  if (shape.parts == 2)
    return combine(pick(vectors[0], vectors[1], {0, 2}), pick(vectors[0], vectors[1], {1, 3}));
  SmallVector<Value> halves; // parts 0 and 1 of either vector
  for (size_t i = 0; i < vectors.size(); i += 2)
    halves.push_back(combine(pick(vectors[i], vectors[i + 1], {0, 1, 4, 5}), pick(vectors[i], vectors[i + 1], {2, 3, 6, 7})));
  return combine(pick(halves[0], halves[1], {0, 2, 4, 6}), pick(halves[0], halves[1], {1, 3, 5, 7}));
}

} // namespace attnjit::tile
