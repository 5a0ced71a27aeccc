// S = Q K^T of the efficient schedule for rows that fill vectors. Lanes along rows: a register tile is wideKeys keys x one vector of rows,
// an element of a key is broadcast to all of them, and Q is packed once with rows and columns exchanged. No sum crosses lanes; what is left
// is to exchange rows and keys of the finished tile, a tenth of the shuffles that sums along D take.
#include "EfficientSchedule.h"

#include "Transpose.h"

using namespace mlir;

namespace attnjit::tile {

/// Steps along D per turn of the inner loop.
static constexpr int64_t kUnroll = 2;
/// Steps along D that one sum takes one after the other. Errors of longer chains grow with their length; sums of chains are added up.
static constexpr int64_t kChain = 32;

/// The sum of `products` for all rows and keys, into `target`. The first product's keys are asked for ahead.
void EfficientKernel::emitWideScores(ArrayRef<EfficientProduct> products, Value count, int64_t target) {
  int64_t tileKeys = shape.wideKeys;
  Value lanes = emit.index(shape.lanes);
  const EfficientRows &keys = products.front().keys;
  Value steps = emit.mul(emit.make<arith::DivUIOp>(tile.wideRows, lanes),
                         emit.make<arith::DivUIOp>(emit.add(products.front().depth, kUnroll), emit.index(kUnroll)));
  EfficientAhead ahead = planAhead(keys, tileKeys, steps, RowCount::Many);
  emit.loop(emit.index(0), count, emit.index(tileKeys), [&](Value key) {
    ahead.rows = rowsFrom(keys, emit.add(key, rowsAhead(keys, tileKeys)));
    SmallVector<Values> keyRows;
    for (const EfficientProduct &product : products)
      keyRows.push_back(wideKeyRows(product.keys, key, count));
    emit.loop(emit.index(0), tile.wideRows, lanes, {emit.index(0)}, [&](Value row, ValueRange carried) -> Values {
      Value cursor = carried[0];
      Values sums(tileKeys, splatF(0.0));
      for (auto [product, rows] : llvm::zip(products, keyRows))
        accumulateWide(product, rows, row, sums, ahead, cursor);
      storeWide(sums, emit.at(rowOf(target, row, pitch), compute, key));
      return {cursor};
    });
  });
}

/// Rows of the keys of a register tile, in the compute type. Past the last key they hold what they may: those scores become -inf.
Emitter::Values EfficientKernel::wideKeyRows(const EfficientRows &keys, Value key, Value count) {
  Values rows;
  if (keys.type == compute) {
    for (Value index : tileOfKeys(key, count, shape.wideKeys))
      rows.push_back(rowAt(keys, index));
    return rows;
  }
  Value known = emit.minS(emit.sub(count, key), emit.index(shape.wideKeys));
  EfficientRows wide = widenRows(rowsFrom(keys, key), known, region(layout.keys));
  for (int64_t i = 0; i < shape.wideKeys; ++i)
    rows.push_back(emit.atBytes(wide.base, i * keys.columns.padded() * elementBytes()));
  return rows;
}

/// sums[key] += K[key] * Q of a tile of rows.
void EfficientKernel::accumulateWide(const EfficientProduct &product, ValueRange keyRows, Value row, Values &sums,
                                     const EfficientAhead &ahead, Value &cursor) {
  int64_t rowBytes = shape.lanes * elementBytes();
  auto steps = [&](Value column, int64_t count, Value queries, MutableArrayRef<Value> next) {
    for (int64_t step = 0; step < count; ++step) {
      Value query = emit.load(vectorType(), emit.atBytes(queries, step * rowBytes));
      for (auto [sum, keyRow] : llvm::zip(next, keyRows)) {
        Value element = emit.load(compute, emit.atBytes(emit.at(keyRow, compute, column), step * elementBytes()));
        sum = emit.fma(broadcast(element), query, sum);
      }
    }
  };
  Value end = emit.bitAnd(product.depth, emit.index(-kUnroll));
  auto chain = [&](Value first, ValueRange carried) {
    Value last = emit.minS(emit.add(first, kChain), end);
    return emit.loop(first, last, emit.index(kUnroll), carried, [&](Value column, ValueRange state) {
      Values next(state);
      Value asked = askAhead(ahead, next.pop_back_val()), queries = next.pop_back_val();
      steps(column, kUnroll, queries, next);
      next.push_back(emit.atBytes(queries, kUnroll * rowBytes));
      next.push_back(asked);
      return next;
    });
  };
  Values carried = std::move(sums);
  carried.push_back(emit.at(product.queries, compute, emit.mul(row, product.depth)));
  carried.push_back(cursor);
  carried = emit.loop(emit.index(0), end, emit.index(kChain), carried, [&](Value first, ValueRange state) {
    Values begin(state.size() - 2, splatF(0.0));
    llvm::append_range(begin, state.take_back(2));
    Values next = chain(first, begin);
    for (auto [sum, before] : llvm::zip(MutableArrayRef<Value>(next).drop_back(2), state))
      sum = emit.addF(before, sum);
    return next;
  });
  cursor = carried.pop_back_val();
  Value queries = carried.pop_back_val();
  steps(end, product.rest, queries, carried);
  sums = std::move(carried);
}

/// [key][row] -> [row][key]
void EfficientKernel::storeWide(ArrayRef<Value> sums, Value target) {
  for (int64_t first = 0; first < shape.wideKeys; first += shape.lanes)
    for (auto [row, scores] : llvm::enumerate(transpose(emit, sums.slice(first, shape.lanes))))
      emit.store(scores, emit.atBytes(target, (int64_t(row) * pitch + first) * elementBytes()));
}

//===------------------------------------------------------------------------------------------------------------------===//
// Queries
//===------------------------------------------------------------------------------------------------------------------===//

/// The rows as emitWideScores reads them, for each tile of `lanes` rows [column][row]. Lanes past the last row hold it once more.
void EfficientKernel::packWideQueries() {
  Value none = emit.index(0), one = emit.index(1), lanes = emit.index(shape.lanes), lastRow = emit.sub(tile.rows, 1);
  emit.loop(none, tile.wideRows, lanes, [&](Value firstRow) {
    // Columns [begin, end) of rows `pitch` apart; in the rows they stand `shift` further on.
    auto pack = [&](int64_t from, Value pitch, int64_t to, Value depth, Value begin, Value end, int64_t shift) {
      Value target = emit.at(region(to), compute, emit.mul(firstRow, depth));
      emit.loop(begin, end, one, [&](Value column) {
        Value source = emit.at(region(from), compute, emit.add(column, shift)),
              targetRow = emit.at(target, compute, emit.mul(column, lanes));
        emit.loop(none, lanes, one, [&](Value lane) {
          Value row = emit.minS(emit.add(firstRow, lane), lastRow);
          emit.store(emit.load(compute, emit.at(source, compute, emit.mul(row, pitch))), emit.at(targetRow, compute, lane));
        });
      });
    };
    Value count = emit.index(d.count), pitch = emit.index(d.padded()), tail = emit.index(d.hasTail() ? d.full() * shape.lanes : d.count);
    pack(layout.queries, pitch, layout.wideQueries, count, none, tail, 0);
    if (d.hasTail())
      pack(layout.queries, pitch, layout.wideQueries, count, tail, count, d.overlap());
    if (usesDots)
      for (const EfficientDot &dot : dots)
        pack(dot.queries, dot.stride, dot.wideQueries, dot.stride, none, dot.stride, 0);
  });
}

EfficientProduct EfficientKernel::productOf(const EfficientRows &keys) const {
  return {keys, region(layout.wideQueries), emit.index(d.count), d.count % kUnroll};
}

/// Rows of a dot are whole vectors, filled up with zeros.
EfficientProduct EfficientKernel::productOf(const EfficientDot &dot) const {
  const EfficientColumns copied{kMostDotLength, shape.lanes, /*inPlace=*/false};
  return {{region(dot.keys), dot.stride, nullptr, compute, copied}, region(dot.wideQueries), dot.stride, /*rest=*/0};
}

} // namespace attnjit::tile
