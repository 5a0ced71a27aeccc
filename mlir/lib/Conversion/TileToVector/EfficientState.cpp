// What goes into and comes out of the workspace of the efficient schedule: queries, copies of rows that cannot be used in place, results;
// and the states of parts, which are written, merged and finished here.
#include "EfficientSchedule.h"

#include "Elements.h"
#include "attnjit-mlir/Conversion/TileToVector/SoftmaxEnd.h"
#include "attnjit-mlir/Conversion/TileToVector/VectorMath.h"

#include <cmath>
#include <numbers>

using namespace mlir;

namespace attnjit::tile {

//===------------------------------------------------------------------------------------------------------------------===//
// Going in
//===------------------------------------------------------------------------------------------------------------------===//

/// Q times scale, and the state before any key. Rows that fill up the last register tile are 0.
void EfficientKernel::packQueries() {
  OperandAccess q = abi->operand(Operand::Q);
  Value scale = factors.score;
  if (scoresAreLog2)
    scale = emit.mulF(scale, scalarF(std::numbers::log2e));
  Value scales = broadcast(scale), zero = splatF(0.0), lanes = emit.index(shape.lanes), tileRows = emit.index(shape.rowTile);
  Value padded = emit.mul(emit.make<arith::DivUIOp>(emit.add(tile.rows, shape.rowTile - 1), tileRows), tileRows);
  emit.loop(emit.index(0), padded, emit.index(1), [&](Value row) {
    Value target = rowOf(layout.queries, row, d.padded());
    emit.loop(emit.index(0), emit.index(d.padded()), lanes, [&](Value column) { emit.store(zero, emit.at(target, compute, column)); });
    Value output = rowOf(layout.output, row, dv.padded());
    emit.loop(emit.index(0), emit.index(dv.padded()), lanes, [&](Value column) { emit.store(zero, emit.at(output, compute, column)); });
    emit.store(zero, rowOf(layout.sums, row, shape.lanes));
    emit.store(scalarF(-INFINITY), rowOf(layout.maxima, row, 1));
    emit.store(scalarF(1.0), rowOf(layout.factors, row, 1));
  });
  forEachRow([&](Value row) {
    Value base = operandBase(q, program.qType, headOf(row));
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
  });
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
// States
//===------------------------------------------------------------------------------------------------------------------===//

/// Elements of the vector behind the output of a state's row.
enum StateElement : int64_t { kStateMax, kStateSum, kStateWeight };

/// The row of a unit's state; units lie behind one another, min(R, tileRows) rows each.
static Value stateRow(const Emitter &emit, AbiAccess &abi, Type compute, Value unit, Value rowsPerUnit, Value row, int64_t rowElems) {
  return emit.at(abi.splitStates(), compute, emit.mul(emit.add(emit.mul(unit, rowsPerUnit), row), rowElems));
}

Value EfficientKernel::rowsPerState() { return emit.minS(emit.mul(abi->queries(), tile.group), emit.index(program.tileRows)); }

void EfficientKernel::writeState(Value unit) {
  Value rowsPerUnit = rowsPerState();
  forEachRow([&](Value row) {
    Value state = stateRow(emit, *abi, compute, unit, rowsPerUnit, row, stateRowElems());
    Value sum = fold(emit.load(vectorType(), rowOf(layout.sums, row, shape.lanes)), [&](Value a, Value b) { return emit.addF(a, b); });
    Value tail = emit.atBytes(state, dv.padded() * elementBytes());
    emit.store(emit.load(compute, rowOf(layout.maxima, row, 1)), emit.atBytes(tail, kStateMax * elementBytes()));
    emit.store(sum, emit.atBytes(tail, kStateSum * elementBytes()));
    // A row that saw nothing has nothing to say.
    emit.ifThen(emit.cmp(Emitter::CmpF::UNE, sum, scalarF(0.0)), [&] {
      Value output = rowOf(layout.output, row, dv.padded());
      emit.loop(0, dv.padded(), shape.lanes, [&](Value column) {
        emit.store(emit.load(vectorType(), emit.at(output, compute, column)), emit.at(state, compute, column));
      });
    });
  });
}

void EfficientKernel::mergeStates(Value first, Value stride, Value parts) {
  Value rowsPerUnit = rowsPerState(), next = emit.mul(emit.mul(stride, rowsPerUnit), stateRowElems());
  forEachRow([&](Value row) { mergeRow(stateRow(emit, *abi, compute, first, rowsPerUnit, row, stateRowElems()), next, parts, row); });
}

/// One row from all parts, in their order. The reference point of all is their common maximum, so that each part is weighted once.
void EfficientKernel::mergeRow(Value firstState, Value stride, Value parts, Value row) {
  Value zero = scalarF(0.0), none = emit.index(0), one = emit.index(1);
  auto slot = [&](Value state, StateElement element) { return emit.atBytes(state, (dv.padded() + element) * elementBytes()); };
  auto next = [&](Value state) { return emit.at(state, compute, stride); };

  Value max = emit.loop(none, parts, one, {scalarF(-INFINITY), firstState}, [&](Value, ValueRange carried) -> Values {
    return {maximum(emit.load(compute, slot(carried[1], kStateMax)), carried[0]), next(carried[1])};
  })[0];
  Value isEmpty = emit.cmp(Emitter::CmpF::OEQ, max, scalarF(-INFINITY)), reference = emit.select(isEmpty, zero, max);
  Value sum = emit.loop(none, parts, one, {zero, firstState}, [&](Value, ValueRange carried) -> Values {
    Value state = carried[1], ofPart = emit.load(compute, slot(state, kStateMax));
    Value weight = emitExp2NonPositive(builder, emit.loc, exponent(emit.subF(ofPart, reference)));
    emit.store(weight, slot(state, kStateWeight));
    return {emit.fma(weight, emit.load(compute, slot(state, kStateSum)), carried[0]), next(state)};
  })[0];
  emit.store(max, rowOf(layout.maxima, row, 1));
  Value sums = emit.make<vector::InsertOp>(sum, splatF(0.0), int64_t(0));
  emit.store(sums, rowOf(layout.sums, row, shape.lanes));

  Value output = rowOf(layout.output, row, dv.padded());
  emit.loop(0, dv.padded(), shape.lanes, [&](Value column) {
    Value merged = emit.loop(none, parts, one, {splatF(0.0), firstState}, [&](Value, ValueRange carried) -> Values {
      Value state = carried[1];
      Value sawKeys = emit.cmp(Emitter::CmpF::UNE, emit.load(compute, slot(state, kStateSum)), zero);
      Value added = emit.ifElse(
          {vectorType()}, sawKeys,
          [&]() -> Values {
            Value weights = broadcast(emit.load(compute, slot(state, kStateWeight)));
            return {emit.fma(weights, emit.load(vectorType(), emit.at(state, compute, column)), carried[0])};
          },
          [&]() -> Values { return {carried[0]}; })[0];
      return {added, next(state)};
    })[0];
    emit.store(merged, emit.at(output, compute, column));
  });
}

//===------------------------------------------------------------------------------------------------------------------===//
// Coming out
//===------------------------------------------------------------------------------------------------------------------===//

void EfficientKernel::writeResults() {
  forEachRow([&](Value row) {
    Value head = headOf(row), query = queryOf(row);
    Value max = emit.load(compute, rowOf(layout.maxima, row, 1));
    Value sum = fold(emit.load(vectorType(), rowOf(layout.sums, row, shape.lanes)), [&](Value a, Value b) { return emit.addF(a, b); });
    Value natural = finishedMax(max, sum), sink = emitSink(builder, emit.loc, program, *abi, tile.b, head);
    SoftmaxEnd end = emitSoftmaxEnd(builder, emit.loc, *abi, natural, sum, sink, [&](Value x) {
      return emitExp2NonPositive(builder, emit.loc, emit.mulF(x, scalarF(std::numbers::log2e)));
    });
    writeRowScalar(Operand::Max, head, query, [&] { return natural; });
    writeRowScalar(Operand::Lse, head, query, [&] { return end.lse; });
    writeOutputRow(head, query, row, end.isEmpty, end.factor(builder, emit.loc));
  });
}

/// In natural units. The running maximum passes over NaN; the sum does not. (Its NaN may also come from inf - inf, but then the maximum is
/// known.)
Value EfficientKernel::finishedMax(Value max, Value sum) {
  Value sawNan = emit.bitAnd(emit.cmp(Emitter::CmpF::UNO, sum, sum), emit.cmp(Emitter::CmpF::OLT, max, scalarF(INFINITY)));
  return emit.select(sawNan, sum, scoresAreLog2 ? emit.mulF(max, scalarF(std::numbers::ln2)) : max);
}

/// One value of a row output that the caller may not want.
void EfficientKernel::writeRowScalar(Operand which, Value head, Value query, llvm::function_ref<Value()> value) {
  OperandAccess operand = abi->operand(which);
  Value wanted = emit.make<LLVM::ICmpOp>(LLVM::ICmpPredicate::ne, operand.pointer, emit.make<LLVM::ZeroOp>(emit.ptr()));
  emit.ifThen(wanted,
              [&] { emit.store(value(), emit.at(operandBase(operand, compute, head), compute, emit.mul(query, operand.strides[2]))); });
}

void EfficientKernel::writeOutputRow(Value head, Value query, Value row, Value isEmpty, Value factor) {
  OperandAccess out = abi->operand(Operand::Out);
  Value target = emit.at(operandBase(out, program.outType, head), program.outType, emit.mul(query, out.strides[2]));
  Value output = rowOf(layout.output, row, dv.padded());
  // A row that saw no key is 0: its sums may be NaN times 0 (A5).
  factor = emit.mulF(factor, factors.output);
  Value isEmptyRow = broadcast(isEmpty), rowFactors = broadcast(factor);
  auto write = [&](Value slot, Value column) {
    Value quotient = emit.mulF(emit.load(vectorType(), emit.at(output, compute, slot)), rowFactors);
    storeFloats(emit, emit.select(isEmptyRow, splatF(0.0), quotient), emit.at(target, program.outType, column), program.outType);
  };
  if (dv.inPlace && program.outIsContiguous) {
    emit.loop(0, dv.full() * shape.lanes, shape.lanes, [&](Value column) { write(column, column); });
    if (dv.hasTail())
      write(emit.index(dv.full() * shape.lanes), emit.index(dv.columnOf(dv.full())));
    return;
  }
  auto writeOne = [&](Value slot, Value column) {
    Value quotient = emit.mulF(emit.load(compute, emit.at(output, compute, slot)), factor);
    storeFloats(emit, emit.select(isEmpty, scalarF(0.0), quotient), emit.at(target, program.outType, emit.mul(column, out.strides[3])),
                program.outType);
  };
  int64_t whole = dv.inPlace ? dv.full() * shape.lanes : dv.count;
  emit.loop(0, whole, 1, [&](Value column) { writeOne(column, column); });
  if (dv.hasTail())
    emit.loop(whole, dv.count, 1, [&](Value column) { writeOne(emit.add(column, dv.overlap()), column); });
}

} // namespace attnjit::tile
