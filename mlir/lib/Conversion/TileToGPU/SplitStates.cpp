#include "SplitStates.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace attnjit::tile {

using CmpI = Emitter::CmpI;
using CmpF = Emitter::CmpF;
using Values = Emitter::Values;

/// States whose loads are on their way together.
static constexpr int64_t kAtOnce = 8;

static Value loadVector(const Emitter &emit, Value address) {
  return emit.make<LLVM::LoadOp>(emit.vec(4, emit.f32()), address, /*alignment=*/16);
}

void SplitStates::storeWarp(const MmaState &state, Value first) const {
  for (int64_t row = 0; row < kRowsPerThread; ++row) {
    Value stateRow = emitByteOffset(emit, first, emit.mul(emit.add(position.group, 8 * row), shape.stateRowBytes()));
    Value columns = emitByteOffset(emit, stateRow, emit.mul(position.pair, 4));
    for (auto [tile, fragment] : llvm::enumerate(state.out))
      for (int64_t column = 0; column < 2; ++column)
        emit.store(fragment[row * 2 + column], emitByteOffset(emit, columns, (8 * int64_t(tile) + column) * 4));
    Value sum = emitRowReduce(emit, state.row.sum[row], [&](Value a, Value b) { return emit.addF(a, b); });
    emit.store(state.row.max[row], emitByteOffset(emit, stateRow, maxOffset())); // by four threads, the same
    emit.store(sum, emitByteOffset(emit, stateRow, sumOffset()));
  }
}

/// Visits the columns of this lane. Past the last ones it gets those once more.
void SplitStates::forEachColumns(llvm::function_ref<void(int64_t, Value)> body) const {
  Value last = emit.constInt(emit.i32(), shape.valueDim - kLaneColumns);
  for (int64_t index = 0; index < vectors(); ++index) {
    Value column = emit.mul(emit.add(position.lane, index * 32), kLaneColumns);
    body(index, emit.minS(column, last));
  }
}

Value SplitStates::maximumOfWarp(Value value) const {
  Value allLanes = emit.constInt(emit.i32(), -1), clamp = emit.constInt(emit.i32(), 31);
  for (int64_t distance = 1; distance < 32; distance *= 2)
    value = rows.maximum(value, emit.make<NVVM::ShflOp>(emit.f32(), allLanes, value, emit.constInt(emit.i32(), distance), clamp,
                                                        NVVM::ShflKind::bfly, UnitAttr()));
  return value;
}

/// Every lane looks at some of the states.
Value SplitStates::maximumOf(const StateRows &states) const {
  Value lane = emit.make<arith::ExtUIOp>(emit.i64(), position.lane);
  Value seen = emit.loop(lane, states.count, emit.index(32), {rows.minusInfinity()}, [&](Value i, ValueRange carried) -> Values {
    Value state = emitByteOffset(emit, states.first, emit.mul(i, states.strideBytes));
    return {rows.maximum(carried[0], emit.load(emit.f32(), emitByteOffset(emit, state, maxOffset())))};
  })[0];
  return maximumOfWarp(seen);
}

/// The reference point of all is their common maximum, so that each state is weighted once.
SplitStates::Merged SplitStates::merge(const StateRows &states) const {
  Value max = maximumOf(states), zero = emit.constFloat(emit.f32(), 0.0);
  FragmentRows::Reference reference = rows.referenceOf(max);
  Values initial(1 + vectors(), emit.constFloat(emit.vec(4, emit.f32()), 0.0));
  initial[0] = zero;
  Values sums = emit.loop(emit.index(0), states.count, emit.index(kAtOnce), initial, [&](Value begin, ValueRange carried) {
    struct State {
      Value exists, max, sum;
      Values columns;
    };
    SmallVector<State> some(kAtOnce);
    for (auto [i, state] : llvm::enumerate(some)) {
      Value number = emit.add(begin, int64_t(i));
      state.exists = emit.cmp(CmpI::slt, number, states.count);
      Value row = emitByteOffset(emit, states.first, emit.mul(emit.select(state.exists, number, begin), states.strideBytes));
      state.max = emit.load(emit.f32(), emitByteOffset(emit, row, maxOffset()));
      state.sum = emit.load(emit.f32(), emitByteOffset(emit, row, sumOffset()));
      forEachColumns(
          [&](int64_t, Value column) { state.columns.push_back(loadVector(emit, emitByteOffset(emit, row, emit.mul(column, 4)))); });
    }
    Values next(carried);
    for (State &state : some) {
      // A row that saw nothing has nothing to say, though its output may be NaN times 0.
      Value counts = emit.bitAnd(state.exists, emit.cmp(CmpF::UNE, state.sum, zero));
      Value weight = rows.rescale(state.max, max, reference);
      next[0] = emit.select(counts, emit.fma(weight, state.sum, next[0]), next[0]);
      Value weights = emit.splat(weight, kLaneColumns);
      for (int64_t i = 0; i < vectors(); ++i)
        next[1 + i] = emit.select(counts, emit.fma(weights, state.columns[i], next[1 + i]), next[1 + i]);
    }
    return next;
  });
  return {max, sums[0], Values(llvm::drop_begin(sums))};
}

void SplitStates::store(const Merged &state, Value to) const {
  forEachColumns([&](int64_t index, Value column) {
    emit.make<LLVM::StoreOp>(state.columns[index], emitByteOffset(emit, to, emit.mul(column, 4)), /*alignment=*/16);
  });
  emit.ifThen(isSpeaker(), [&] {
    emit.store(state.max, emitByteOffset(emit, to, maxOffset()));
    emit.store(state.sum, emitByteOffset(emit, to, sumOffset()));
  });
}

void SplitStates::finish(const Merged &state, Value row) const {
  auto [head, query] = rows.placeOf(row);
  FragmentRows::RowEnd end = rows.endOf(head, state.max, state.sum);
  Value factor = emit.mulF(end.factor, rows.outputFactor());
  emit.ifThen(isSpeaker(), [&, head = head, query = query] {
    rows.storeRow(Operand::Lse, head, query, end.lse);
    rows.storeRow(Operand::Max, head, query, end.max);
  });
  OperandAccess out = abi.operand(Operand::Out);
  Value first = rows.rowPointer(out, program.outType, head, query), zero = emit.constFloat(emit.f32(), 0.0);
  forEachColumns([&](int64_t index, Value column) {
    Value wide = emit.make<arith::ExtUIOp>(emit.i64(), column);
    Value pointer = emit.at(first, program.outType, emit.mul(wide, out.strides[3]));
    for (int64_t i = 0; i < kLaneColumns; ++i) {
      // Not 0 times the sum, which a NaN in a masked row of V may have reached (A5).
      Value element = emit.select(end.isEmpty, zero, emit.mulF(emit.lane(state.columns[index], i), factor));
      Value rounded = program.outType.isF32() ? element : Value(emit.make<arith::TruncFOp>(program.outType, element));
      auto store = [&] { emit.store(rounded, emit.at(pointer, program.outType, emit.mul(out.strides[3], i))); };
      if (program.valueDim == shape.valueDim)
        store();
      else
        emit.ifThen(emit.cmp(CmpI::slt, column, emit.constInt(emit.i32(), program.valueDim - i)), store);
    }
  });
}

} // namespace attnjit::tile
