// What goes into the workspace of the efficient schedule: queries, copies of rows that cannot be used in place, sides of extra dots.
#include "EfficientSchedule.h"

#include "Elements.h"

#include <cmath>
#include <numbers>

using namespace mlir;

namespace attnjit::tile {

//===------------------------------------------------------------------------------------------------------------------===//
// Queries
//===------------------------------------------------------------------------------------------------------------------===//

/// Q times scale, and the state before any key. Rows that fill up the last register tile are 0.
void EfficientKernel::packQueries() {
  OperandAccess q = abi->operand(Operand::Q);
  Value scale = factors.score;
  if (softmax.scoresAreLog2)
    scale = emit.mulF(scale, scalarF(std::numbers::log2e));
  Value zero = splatF(0.0), lanes = emit.index(shape.lanes);
  emit.loop(emit.index(0), paddedRows(), emit.index(1), [&](Value row) {
    Value target = rowOf(layout.queries, row, d.padded());
    emit.loop(emit.index(0), emit.index(d.padded()), lanes, [&](Value column) { emit.store(zero, emit.at(target, compute, column)); });
    Value output = rowOf(layout.output, row, dv.padded());
    emit.loop(emit.index(0), emit.index(dv.padded()), lanes, [&](Value column) { emit.store(zero, emit.at(output, compute, column)); });
    emit.store(zero, rowOf(layout.sums, row, shape.lanes));
    emit.store(splatF(-INFINITY), rowOf(layout.laneMaxima, row, shape.lanes));
    emit.store(scalarF(-INFINITY), rowOf(layout.maxima, row, 1));
    emit.store(scalarF(1.0), rowOf(layout.factors, row, 1));
  });
  forEachRow([&](Value row) { packQueryRow(q, scale, row); });
  if (usesDots)
    for (EfficientDot &dot : dots)
      packDotQueries(dot);
  packWideQueries();
}

void EfficientKernel::packQueryRow(const OperandAccess &q, Value scale, Value row) {
  Value base = operandBase(q, program.qType, headOf(row)), scales = broadcast(scale);
  Value source = emit.at(base, program.qType, emit.mul(queryOf(row), q.strides[2])), target = rowOf(layout.queries, row, d.padded());
  if (!d.inPlace) {
    emit.loop(0, d.count, 1, [&](Value column) {
      Value from = program.contiguous ? column : emit.mul(column, q.strides[3]);
      Value element = loadFloats(emit, emit.at(source, program.qType, from), program.qType, compute, 1);
      emit.store(emit.mulF(element, scale), emit.at(target, compute, column));
    });
    return;
  }
  const EfficientRows queries{source, nullptr, nullptr, program.qType, d};
  emit.loop(0, d.full() * shape.lanes, shape.lanes, [&](Value column) {
    emit.store(emit.mulF(loadColumns(queries, source, column, false), scales), emit.at(target, compute, column));
  });
  if (d.hasTail())
    emit.store(emit.mulF(loadColumns(queries, source, emit.index(d.columnOf(d.full())), true), scales),
               emit.at(target, compute, emit.index(d.full() * shape.lanes)));
}

//===------------------------------------------------------------------------------------------------------------------===//
// Rows of K and V
//===------------------------------------------------------------------------------------------------------------------===//

/// The rows of K or V of a block as the products read them.
EfficientRows EfficientKernel::rowsOf(const KvRows &rows, const EfficientColumns &columns, const KvBlock &block, Value copy,
                                      Value pointers) {
  if (!columns.inPlace) {
    convertRows(rows, columns, block, copy);
    return {copy, emit.index(columns.padded()), nullptr, compute, columns};
  }
  if (!rows.inPages())
    return {rows.at(block.begin), rows.stride(), nullptr, program.kvType, columns};
  Value known = emit.minS(emit.sub(abi->keys(), block.begin), emit.index(pointerSlots()));
  rows.forEachStretch(block.begin, known, [&](Value address, Value first, Value count) {
    emit.loop(emit.index(0), count, emit.index(1), [&](Value row) {
      emit.store(emit.at(address, program.kvType, emit.mul(row, rows.stride())), emit.at(pointers, emit.ptr(), emit.add(first, row)));
    });
  });
  return {nullptr, nullptr, pointers, program.kvType, columns};
}

/// The rows of a block in the compute type, padded with zeros.
void EfficientKernel::convertRows(const KvRows &rows, const EfficientColumns &columns, const KvBlock &block, Value target) {
  Type type = program.kvType;
  auto convertRow = [&](Value from, Value to) {
    emit.store(splatF(0.0), emit.at(to, compute, emit.index(columns.padded() - shape.lanes)));
    emit.loop(0, columns.count, 1, [&](Value column) {
      Value address = emit.at(from, type, program.contiguous ? column : emit.mul(column, rows.columnStride()));
      emit.store(loadFloats(emit, address, type, compute, 1), emit.at(to, compute, column));
    });
  };
  rows.forEachStretch(block.begin, emit.sub(block.end, block.begin), [&](Value source, Value first, Value count) {
    emit.loop(emit.index(0), count, emit.index(1), [&](Value row) {
      convertRow(emit.at(source, type, emit.mul(row, rows.stride())),
                 emit.at(target, compute, emit.mul(emit.add(first, row), columns.padded())));
    });
  });
}

//===------------------------------------------------------------------------------------------------------------------===//
// Extra dots
//===------------------------------------------------------------------------------------------------------------------===//

/// Answers whether all dots fit the workspace, and one row of keys is that of all packed heads. (The key side may be bound to the head that
/// is asked about, and which heads it would be the same for, no formula says.)
Value EfficientKernel::bindDotLengths() {
  constexpr unsigned kHeadArgument = 1;
  Value fits = emit.truth(true), isOneHead = emit.cmp(Emitter::CmpI::eq, abi->queryHeads(), abi->kvHeads());
  for (EfficientDot &dot : dots) {
    fits = emit.bitAnd(fits, dot.bindLength(program, *abi));
    if (!dot.dot.keySide->getArgument(kHeadArgument).use_empty())
      fits = emit.bitAnd(fits, isOneHead);
  }
  return fits;
}

/// A row per packed row. Those that fill up the last register tile are the last one once more.
void EfficientKernel::packDotQueries(EfficientDot &dot) {
  Value lastRow = emit.sub(tile.rows, 1);
  emit.loop(emit.index(0), paddedRows(), emit.index(1), [&](Value row) {
    bindRow(dot.query, emit.minS(row, lastRow));
    dot.packRow(emit.at(region(dot.queries), compute, emit.mul(row, dot.stride)), [&](Value r, MapExpander::Lanes inLanes) {
      dot.query.bindKey(r, inLanes);
      Value value = dot.query.splat(dot.query.expand(nullptr).value);
      return softmax.scoresAreLog2 ? emit.mulF(value, splatF(std::numbers::log2e)) : value;
    });
  });
}

void EfficientKernel::packDotKeys(const KvBlock &block) {
  for (EfficientDot &dot : dots) {
    dot.key.bindHeads(emit.toInt(program.indexType, tile.b), emit.toInt(program.indexType, headOf(emit.index(0))));
    dot.packKeys(block.begin, emit.sub(block.end, block.begin), region(dot.keys));
  }
}

} // namespace attnjit::tile
