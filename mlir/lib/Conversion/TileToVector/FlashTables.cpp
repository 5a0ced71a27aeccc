// Tables of the flash schedule: what score_mod needs for the pairs of a panel and a block (ScoreTables.h), filled before their scores are
// computed and read a vector of queries at a time.
#include "Elements.h"
#include "FlashSchedule.h"
#include "ScoreTables.h"
#include "Transpose.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace attnjit::tile {

FlashTable::FlashTable(OpBuilder &builder, const TileProgram &program, AbiAccess &abi, const FlashShape &shape, Kind kind, Value source)
    : kind(kind), source(source), value(builder, program.kernel->getLoc(), program, *program.score, abi, shape.lanes, source) {}

void FlashKernel::addTable(FlashTable::Kind kind, Value source) {
  bool isOfDiagonals = kind == FlashTable::Kind::Diagonals;
  int64_t width = shape.panelWidth(), elements = isOfDiagonals ? program.tileCols + width + shape.lanes : program.tileCols * width;
  int64_t bytes = elements * llvm::divideCeil(source.getType().getIntOrFloatBitWidth(), 8);
  FlashTable &made = tables.emplace_back(builder, program, *abi, shape, kind, source);
  made.region = reserve(bytes);
}

void FlashKernel::fillTables(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count) {
  for (FlashTable &table : tables) {
    if (table.kind == FlashTable::Kind::Diagonals)
      fillDiagonals(table, block, panel, keys, count);
    else
      fillPairs(table, block, panel, keys, count);
  }
}

/// The value for a vector of the panel's queries and `key`, which is relative to the block.
Value FlashKernel::loadTable(const FlashTable &table, const FlashKeys &keys, Value key, int64_t vector) const {
  Type type = table.source.getType();
  Value element = table.kind == FlashTable::Kind::Diagonals ? emit.sub(emit.sub(keys.end, 1), key)
                                                            : emit.mul(emit.sub(key, keys.begin), shape.panelWidth());
  Value address = emit.at(region(table.region), type, element);
  return emit.load(emit.vec(shape.lanes, type), emit.atBytes(address, vector * shape.lanes * type.getIntOrFloatBitWidth() / 8));
}

/// Element i is of the diagonal i places above that of the panel's first query and the last of `count` keys.
void FlashKernel::fillDiagonals(FlashTable &table, const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count) {
  Type index = program.indexType, indexVector = emit.vec(shape.lanes, index);
  Value firstKey = emit.add(block.begin, keys.begin), lastKey = emit.sub(emit.add(firstKey, count), 1);
  auto splatIndex = [&](Value value) { return emit.splat(emit.toInt(index, value), shape.lanes); };
  Value first = splatIndex(emit.sub(panel.firstQuery, lastKey)), last = splatIndex(emit.sub(panel.lastQuery, firstKey));
  Value zero = emit.constInt(indexVector, 0), end = emit.add(count, shape.panelWidth() - 1);
  emit.loop(emit.index(0), end, emit.index(shape.lanes), [&](Value i) {
    // Any pair of the diagonal will do; the first one is a pair of the problem. Diagonals past the last one repeat it: their lanes are not
    // written.
    Value distance = emit.minS(emit.add(emit.add(first, splatIndex(i)), emit.iota(indexVector)), last);
    Value query = emit.maxS(distance, zero);
    table.value.bindQuery(query);
    table.value.bindKey(emit.sub(query, distance));
    Value value = table.value.splat(table.value.expand(nullptr).value);
    emit.store(value, emit.at(region(table.region), table.source.getType(), i));
  });
}

/// A row per key, of the panel's queries: like the scores.
void FlashKernel::fillPairs(FlashTable &table, const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count) {
  auto load = table.source.getDefiningOp<attn::LoadOp>();
  Type type = table.source.getType(), index = program.indexType;
  int64_t lanes = shape.lanes, elementBytes = type.getIntOrFloatBitWidth() / 8;
  Value firstKey = emit.add(block.begin, keys.begin);
  Value rowCount = emit.add(emit.sub(panel.lastQuery, panel.firstQuery), 1);
  auto at = [&](Value key, Value lane) { return emit.at(region(table.region), type, emit.add(emit.mul(key, shape.panelWidth()), lane)); };

  auto alongKeys = [&] {
    Type memory = attn::captureElementType(load.getCapture().getType()), raw = rawType(emit, memory);
    table.value.bindKey(emit.toInt(index, firstKey));
    emit.loop(emit.index(0), rowCount, emit.index(lanes), [&](Value lane) {
      Values rows;
      for (int64_t i = 0; i < lanes; ++i) {
        table.value.bindQuery(emit.toInt(index, emit.minS(emit.add(emit.add(panel.firstQuery, lane), i), panel.lastQuery)));
        rows.push_back(table.value.addressOf(load));
      }
      emit.loop(emit.index(0), count, emit.index(lanes), [&](Value chunk) {
        Value key = emit.minS(chunk, emit.sub(count, lanes)); // the last ones once more rather than others
        Values elements;
        for (Value row : rows) {
          Value some = emit.load(emit.vec(lanes, raw), emit.at(row, raw, key));
          elements.push_back(widenElements(emit, some, memory, type));
        }
        Value target = at(key, lane);
        for (auto [i, ofKey] : llvm::enumerate(transpose(emit, elements)))
          emit.store(ofKey, emit.atBytes(target, i * shape.panelWidth() * elementBytes));
      });
    });
  };
  auto pairByPair = [&] {
    for (auto [vector, queries] : llvm::enumerate(queriesOf(panel))) {
      table.value.bindQuery(queries);
      emit.loop(emit.index(0), count, emit.index(1), [&](Value key) {
        table.value.bindKey(emit.toInt(index, emit.add(firstKey, key)));
        emit.store(table.value.splat(table.value.expand(nullptr).value), at(key, emit.index(vector * lanes)));
      });
    }
  };
  Value isDense = emit.cmp(Emitter::CmpI::eq, table.value.strideOf(load, keyDimension(load)), emit.index(1));
  emit.ifElse(emit.bitAnd(isDense, emit.cmp(Emitter::CmpI::sge, count, emit.index(lanes))), alongKeys, pairByPair);
}

} // namespace attnjit::tile
