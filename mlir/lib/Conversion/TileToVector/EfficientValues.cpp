// O = O + P V in the efficient schedule. V is taken in groups of keys that stay in the first-level cache while all rows and columns use
// them; a register tile is rowTile rows x valueVectors vectors of columns, and P is broadcast.
#include "EfficientSchedule.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace attnjit::tile {

/// Bytes of V that the products read over and over: half of the smallest first-level cache.
static constexpr int64_t kGroupBytes = 16 << 10;

/// As many keys as fit, and no more than what divides a block about evenly.
int64_t EfficientKernel::keysOfGroup() const {
  int64_t keys = program.tileCols, most = std::max<int64_t>(kGroupBytes / (dv.padded() * elementBytes()), 1);
  while (keys > most)
    keys = llvm::divideCeil(keys, 2);
  return keys;
}

void EfficientKernel::emitValues(const EfficientRows &values, Value count, RowCount rowCount) {
  bool widens = rowCount == RowCount::Many && values.type != compute;
  int64_t rows = rowsOfTile(rowCount), width = rows == 1 ? 2 * shape.valueVectors : shape.valueVectors; // a single row needs more chains
  int64_t group = keysOfGroup(), columnTiles = llvm::divideCeil(dv.vectors(), width);
  EfficientAhead ahead = planAhead(values, group, emit.mul(tilesFrom(emit.index(0), rows), columnTiles * group), rowCount);
  emit.loop(emit.index(0), count, emit.index(group), [&](Value firstKey) {
    Value end = emit.add(firstKey, group);
    ahead.rows = rowsFrom(values, end);
    EfficientValueGroup keys{rowsFrom(values, firstKey), firstKey, emit.sub(emit.minS(end, count), firstKey)};
    if (widens)
      keys.values = widenRows(keys.values, keys.count, region(layout.values));
    emitValueGroup(keys, rows, width, ahead);
  });
}

/// All rows and columns of O for a group of keys.
void EfficientKernel::emitValueGroup(const EfficientValueGroup &group, int64_t rows, int64_t width, const EfficientAhead &ahead) {
  int64_t lanes = shape.lanes, inLoop = dv.full() / width * width;
  auto overRows = [&](ArrayRef<Value> columns, Value slot, Value cursor) -> Values {
    if (rows == 1)
      return {emitValueTile(group, emit.index(0), 1, columns, slot, ahead, cursor)};
    return emit.loop(emit.index(0), tile.rows, emit.index(rows), {cursor}, [&](Value row, ValueRange carried) -> Values {
      return {emitValueTile(group, row, rows, columns, slot, ahead, carried[0])};
    });
  };
  Values cursor{emit.index(0)};
  if (inLoop > 0)
    cursor = emit.loop(emit.index(0), emit.index(inLoop * lanes), emit.index(width * lanes), cursor, [&](Value column, ValueRange carried) {
      Values columns;
      for (int64_t i = 0; i < width; ++i)
        columns.push_back(emit.add(column, i * lanes));
      return overRows(columns, column, carried[0]);
    });
  Values rest;
  for (int64_t i = inLoop; i < dv.vectors(); ++i)
    rest.push_back(emit.index(dv.columnOf(i)));
  if (!rest.empty())
    overRows(rest, emit.index(inLoop * lanes), cursor[0]);
}

/// Vectors of V from `columns`, those of O from `slot` on. V is read for exactly the keys of the group: what lies behind might be NaN, or
/// not there at all.
Value EfficientKernel::emitValueTile(const EfficientValueGroup &group, Value row, int64_t rows, ArrayRef<Value> columns, Value slot,
                                     const EfficientAhead &ahead, Value cursor) {
  const EfficientRows &values = group.values;
  int64_t width = columns.size();
  Values outputs, carried;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < width; ++i) {
      Value output = rowOf(layout.output, emit.add(row, r), dv.padded());
      outputs.push_back(emit.atBytes(emit.at(output, compute, slot), i * shape.lanes * elementBytes()));
      carried.push_back(emit.load(vectorType(), outputs.back()));
    }
  Value probabilities = emit.at(rowOf(layout.scores, row, pitch), compute, group.firstKey);
  carried.push_back(cursor);
  if (!values.pointers)
    carried.push_back(values.base); // moves along with the loop
  carried = emit.loop(emit.index(0), group.count, emit.index(1), carried, [&](Value key, ValueRange state) {
    Values next(state), vectors;
    Value valueRow = values.pointers ? rowAt(values, key) : next.pop_back_val();
    next.back() = askAhead(ahead, next.back());
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
  for (auto [output, sum] : llvm::zip(outputs, carried))
    emit.store(sum, output);
  return carried[rows * width];
}

} // namespace attnjit::tile
