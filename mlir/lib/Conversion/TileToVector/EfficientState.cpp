// What comes out of the workspace of the efficient schedule: the states of parts, which are written and merged here, and results.
#include "EfficientSchedule.h"

#include "Elements.h"

#include <cmath>

using namespace mlir;

namespace attnjit::tile {

//===------------------------------------------------------------------------------------------------------------------===//
// States
//===------------------------------------------------------------------------------------------------------------------===//

/// The row of a unit's state; units lie behind one another, min(R, tileRows) rows each.
Value EfficientKernel::stateRow(Value unit, Value row) {
  return emit.at(abi->splitStates(), compute, emit.mul(emit.add(emit.mul(unit, rowsPerState()), row), stateRowElems()));
}

Value EfficientKernel::rowsPerState() { return emit.minS(emit.mul(abi->queries(), tile.group), emit.index(program.tileRows)); }

void EfficientKernel::writeState(Pass pass, Value unit) {
  forEachRow([&](Value row) {
    Value state = stateRow(unit, row);
    auto copyOutput = [&] {
      Value output = rowOf(layout.output, row, dv.padded());
      emit.loop(0, dv.padded(), shape.lanes, [&](Value column) {
        emit.store(emit.load(vectorType(), emit.at(output, compute, column)), emit.at(state, compute, column));
      });
    };
    if (pass == Pass::Output)
      return copyOutput();
    Value sum = sumOf(row);
    emit.store(emit.load(compute, rowOf(layout.maxima, row, 1)), stateSlot(state, kStateMax));
    emit.store(sum, stateSlot(state, kStateSum));
    if (pass == Pass::Whole) // a row that saw nothing has nothing to say
      emit.ifThen(emit.cmp(Emitter::CmpF::UNE, sum, scalarF(0.0)), copyOutput);
  });
}

void EfficientKernel::writeFinishedRows() {
  forEachRow([&](Value row) {
    Value state = stateRow(tile.firstUnit, row);
    emit.store(emit.load(compute, rowOf(layout.maxima, row, 1)), stateSlot(state, kStateMax));
    emit.store(emit.load(compute, rowOf(layout.normalisers, row, 1)), stateSlot(state, kStateNormaliser));
  });
}

void EfficientKernel::readFinishedRows() {
  forEachRow([&](Value row) {
    Value state = stateRow(tile.firstUnit, row);
    emit.store(emit.load(compute, stateSlot(state, kStateMax)), rowOf(layout.maxima, row, 1));
    emit.store(emit.load(compute, stateSlot(state, kStateNormaliser)), rowOf(layout.normalisers, row, 1));
    emit.store(scalarF(1.0), rowOf(layout.factors, row, 1));
  });
}

/// From all parts, in their order. The reference point of all is their common maximum, so that each part is weighted once; outputs of p
/// that is normalised already weigh 1.
void EfficientKernel::mergeStateRow(Value row) {
  Value none = emit.index(0), one = emit.index(1), firstState = stateRow(tile.firstUnit, row);
  Value max = emit.loop(none, tile.parts, one, {scalarF(-INFINITY), firstState}, [&](Value, ValueRange carried) -> Values {
    return {softmax.maximum(emit.load(compute, stateSlot(carried[1], kStateMax)), carried[0]), nextState(carried[1])};
  })[0];
  Value reference = softmax.reference(max);
  Value sum = emit.loop(none, tile.parts, one, {scalarF(0.0), firstState}, [&](Value, ValueRange carried) -> Values {
    Value state = carried[1], weight = softmax.exponential(emit.load(compute, stateSlot(state, kStateMax)), reference);
    emit.store(program.isTwoPass ? scalarF(1.0) : weight, stateSlot(state, kStateWeight));
    return {emit.fma(weight, emit.load(compute, stateSlot(state, kStateSum)), carried[0]), nextState(state)};
  })[0];
  emit.store(max, rowOf(layout.maxima, row, 1));
  emit.store(emit.make<vector::InsertOp>(sum, splatF(0.0), int64_t(0)), rowOf(layout.sums, row, shape.lanes));
}

/// From all parts, in their order, that saw something.
void EfficientKernel::mergeOutputRow(Value row) {
  Value output = rowOf(layout.output, row, dv.padded()), firstState = stateRow(tile.firstUnit, row);
  emit.loop(0, dv.padded(), shape.lanes, [&](Value column) {
    auto addPart = [&](Value, ValueRange carried) -> Values {
      Value state = carried[1];
      Value sawKeys = emit.cmp(Emitter::CmpF::UNE, emit.load(compute, stateSlot(state, kStateSum)), scalarF(0.0));
      auto add = [&]() -> Values {
        Value weights = broadcast(emit.load(compute, stateSlot(state, kStateWeight)));
        return {emit.fma(weights, emit.load(vectorType(), emit.at(state, compute, column)), carried[0])};
      };
      Value added = emit.ifElse({vectorType()}, sawKeys, add, [&]() -> Values { return {carried[0]}; })[0];
      return {added, nextState(state)};
    };
    Value merged = emit.loop(emit.index(0), tile.parts, emit.index(1), {splatF(0.0), firstState}, addPart)[0];
    emit.store(merged, emit.at(output, compute, column));
  });
}

//===------------------------------------------------------------------------------------------------------------------===//
// Results
//===------------------------------------------------------------------------------------------------------------------===//

void EfficientKernel::finishRows() {
  forEachRow([&](Value row) {
    Value head = headOf(row), query = queryOf(row), maxAddress = rowOf(layout.maxima, row, 1), sum = sumOf(row);
    Value max = softmax.finishedMax(emit.load(compute, maxAddress), sum);
    SoftmaxEnd end = softmax.finish(*abi, max, sum, emitSink(builder, emit.loc, program, *abi, tile.b, head));
    writeRowScalar(Operand::Max, head, query, [&] { return softmax.natural(max); });
    writeRowScalar(Operand::Lse, head, query, [&] { return end.lse; });
    emit.store(max, maxAddress);
    Value normaliser = end.factor(builder, emit.loc);
    if (program.isTwoPass)
      emit.store(normaliser, rowOf(layout.normalisers, row, 1));
    emit.store(program.isTwoPass ? scalarF(1.0) : normaliser, rowOf(layout.factors, row, 1));
  });
}

/// One value of a row output that the caller may not want.
void EfficientKernel::writeRowScalar(Operand which, Value head, Value query, llvm::function_ref<Value()> value) {
  OperandAccess operand = abi->operand(which);
  Value wanted = emit.make<LLVM::ICmpOp>(LLVM::ICmpPredicate::ne, operand.pointer, emit.make<LLVM::ZeroOp>(emit.ptr()));
  emit.ifThen(wanted,
              [&] { emit.store(value(), emit.at(operandBase(operand, compute, head), compute, emit.mul(query, operand.strides[2]))); });
}

void EfficientKernel::writeOutput() {
  forEachRow([&](Value row) { writeOutputRow(row); });
}

void EfficientKernel::writeOutputRow(Value row) {
  OperandAccess out = abi->operand(Operand::Out);
  Value target = emit.at(operandBase(out, program.outType, headOf(row)), program.outType, emit.mul(queryOf(row), out.strides[2]));
  Value output = rowOf(layout.output, row, dv.padded());
  // A row that saw no key is 0: its sums may be NaN times 0 (A5).
  Value isEmpty = emit.cmp(Emitter::CmpF::OEQ, emit.load(compute, rowOf(layout.maxima, row, 1)), scalarF(-INFINITY));
  Value factor = emit.mulF(emit.load(compute, rowOf(layout.factors, row, 1)), factors.output);
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
