// The SIMT schedule (MATH on a GPU): one thread block per tile of query rows of one head, multiply-adds in the compute type. It takes every
// program that is not split.
//
//   Q -> shared, as the compute type
//   for each block of keys of the plan:
//     K, V -> shared, as the compute type
//     S = Q K^T            a few rows x columns per thread, in registers
//     score_mod, mask_mod  element by element (ElementMaps)
//     online softmax       a row lives in `rowLanes` neighbouring threads
//     prob_mod
//     P -> shared, where only threads of the same warp read it
//     O += P V             the same rows, a few vectors of columns per thread
//   O / sum -> out
//
// Q and K of wide heads come in pieces of `depth` columns, V in pieces of `valueRows` rows. A prob_mod that needs the normalised p walks
// the keys twice: for the state, and for the output.
#include "ElementMaps.h"
#include "GpuKernelFunction.h"
#include "SimtStaging.h"

#include "../TileToVector/Elements.h"
#include "attnjit-mlir/Conversion/TileToVector/SoftmaxEnd.h"
#include "attnjit-mlir/Conversion/TileToVector/VectorMath.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

#include <cmath>

using namespace mlir;

namespace attnjit::tile {

namespace {

using CmpI = Emitter::CmpI;
using CmpF = Emitter::CmpF;
using Values = Emitter::Values;

/// What a thread carries through a loop over keys, as one flat list: of its rows the maximum (the same in all threads of a row) and the sum
/// (of its own columns), and its part of the output, row after row. A walk may do without the first two or without the output.
struct State {
  Values max, sum, out;

  Values flatten() const {
    Values values = max;
    llvm::append_range(values, sum);
    llvm::append_range(values, out);
    return values;
  }
  static State unflatten(ValueRange values, size_t rows) {
    return {Values(values.take_front(rows)), Values(values.slice(rows, rows)), Values(values.drop_front(2 * rows))};
  }
};

class Simt {
public:
  Simt(OpBuilder &builder, Location loc, const TileProgram &program, const SimtShape &shape, Value args, Value shared)
      : emit(builder, loc), program(program), shape(shape), compute(program.computeType),
        abi(builder, loc, args, AbiAccess::Functions::Inline), shared(shared), position(ThreadPosition::emit(emit)),
        staging(builder, loc, compute, position, shape.threads, shared), maps(builder, loc, program, abi, columnsOf(shape), shape.cols) {}

  void run() {
    Value tile = emit.make<arith::ExtUIOp>(emit.i64(), Value(emit.make<NVVM::BlockIdXOp>(emit.i32())));
    forEachTile(emit.builder, emit.loc, abi, shape.rows, tile, emit.add(tile, 1), [&](const TileCoords &coords) { emitTile(coords); });
  }

private:
  static SmallVector<int64_t> columnsOf(const SimtShape &shape) {
    SmallVector<int64_t> columns;
    for (int64_t i = 0; i < shape.colsPerThread(); ++i)
      columns.push_back(i * shape.rowLanes);
    return columns;
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // The tile
  //===----------------------------------------------------------------------------------------------------------------===//

  void emitTile(const TileCoords &coords) {
    tile = coords;
    bindThread();
    bindOperands();
    factors = abi.headFactors(compute, tile.b, tile.kvHead);
    sink = emitSink(emit.builder, emit.loc, program, abi, tile.b, tile.h);
    if (shape.keepsQ())
      staging.copy(shape.q, qSource, Value());
    if (program.isTwoPass)
      emitTwoPasses();
    else
      emitOnePass();
  }

  void emitOnePass() {
    State initial = emptyState();
    initial.out = noOutput();
    Values last = forEachBlock(initial.flatten(), [&](const KvBlock &block, ValueRange carried) {
      State state = State::unflatten(carried, rows.size());
      Values scores = computeScores(block, /*withV=*/true), visible = visibleOf(scores);
      Values alpha = takeIntoState(state, scores);
      for (auto [place, element] : llvm::enumerate(state.out))
        element = emit.mulF(element, alpha[place / outPerRow()]);
      addProduct(state.out, scores, visible, block);
      return state.flatten();
    });
    State state = State::unflatten(last, rows.size());
    SmallVector<SoftmaxEnd> ends = finishRows(state);
    for (auto [place, element] : llvm::enumerate(state.out)) {
      const SoftmaxEnd &end = ends[place / outPerRow()];
      Value weighted = end.weight ? emit.mulF(element, end.weight) : element;
      // Not 0 times the accumulator, which a NaN in a masked row of V may have reached (A5).
      element = emit.select(end.isEmpty, emit.constFloat(compute, 0.0), emit.mulF(emit.divF(weighted, end.total), factors.output));
    }
    storeOutput(state.out);
  }

  /// The state first, then the output from the p that it normalises.
  void emitTwoPasses() {
    Values last = forEachBlock(emptyState().flatten(), [&](const KvBlock &block, ValueRange carried) {
      State state = State::unflatten(carried, rows.size());
      Values scores = computeScores(block, /*withV=*/false);
      takeIntoState(state, scores);
      return state.flatten();
    });
    State state = State::unflatten(last, rows.size());
    SmallVector<SoftmaxEnd> ends = finishRows(state);
    Values references, norms;
    for (auto [max, end] : llvm::zip_equal(state.max, ends)) {
      references.push_back(referenceOf(max));
      norms.push_back(end.factor(emit.builder, emit.loc));
    }
    Values out = forEachBlock(noOutput(), [&](const KvBlock &block, ValueRange carried) {
      Values scores = computeScores(block, /*withV=*/true), visible = visibleOf(scores), sums(carried);
      for (auto [place, score] : llvm::enumerate(scores)) {
        size_t row = place / shape.colsPerThread();
        score = emit.mulF(emitExp(emit.builder, emit.loc, emit.subF(score, references[row])), norms[row]);
      }
      addProduct(sums, scores, visible, block);
      return sums;
    });
    for (auto [place, element] : llvm::enumerate(out))
      element = emit.select(ends[place / outPerRow()].isEmpty, emit.constFloat(compute, 0.0), emit.mulF(element, factors.output));
    storeOutput(out);
  }

  Values forEachBlock(ValueRange initial, llvm::function_ref<Values(const KvBlock &, ValueRange)> body) {
    return forEachKvBlock(emit.builder, emit.loc, program, abi, scopeOf(emit.builder, emit.loc, abi, tile), shape.cols, initial, body);
  }

  State emptyState() {
    Value lowest = emit.constFloat(compute, -HUGE_VAL), zero = emit.constFloat(compute, 0.0);
    return {Values(rows.size(), lowest), Values(rows.size(), zero), {}};
  }
  Values noOutput() { return Values(shape.outPerThread(), emit.constFloat(compute, 0.0)); }
  size_t outPerRow() const { return shape.valueVectors() * shape.vector(); }

  /// Where this thread stands (SimtShape.h).
  void bindThread() {
    Value group = emit.shrU(position.lane, llvm::Log2_64(shape.rowLanes));
    rowLane = emit.bitAnd(position.lane, emit.constInt(emit.i32(), shape.rowLanes - 1));
    Value firstRow = emit.add(emit.mul(position.warp, shape.warpRows()), group);
    rows.clear();
    for (int64_t i = 0; i < shape.rowsPerThread(); ++i)
      rows.push_back(emit.make<arith::ExtUIOp>(emit.i64(), emit.add(firstRow, i * shape.groups())));
    maps.bindTile(tile, rows, rowLane);
    qRows = sharedAt(shape.q, firstRow, Value());
    pRows = sharedAt(shape.p, firstRow, Value());
    pElements = sharedAt(shape.p, firstRow, rowLane);
    kRows = sharedAt(shape.k, rowLane, Value());
    vColumns = sharedAt(shape.v, Value(), emit.mul(rowLane, shape.vector()));
  }

  /// Row and column i32; null for 0.
  Value sharedAt(const StagedTile &staged, Value row, Value column) {
    Value offset = emit.constInt(emit.i32(), staged.offsetBytes);
    if (row)
      offset = emit.add(offset, emit.mul(row, staged.pitchBytes()));
    if (column)
      offset = emit.add(offset, emit.mul(column, staged.elementBytes));
    return emitByteOffset(emit, shared, offset);
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // Memory
  //===----------------------------------------------------------------------------------------------------------------===//

  void bindOperands() {
    OperandAccess q = abi.operand(Operand::Q);
    Value first = emit.at(q.pointer, program.qType, emit.add(emit.mul(tile.b, q.strides[0]), emit.mul(tile.h, q.strides[1])));
    auto rowOfQ = [this, first, stride = q.strides[2]](Value row) { return emit.at(first, program.qType, emit.mul(row, stride)); };
    qSource = {program.qType,
               shape.headDim,
               rowOfQ,
               columnStrideOf(q),
               inVectors(q, program.qType, shape.headDim),
               tile.q0,
               emit.add(tile.q0, tile.rows)};
    kSource = kvSource(Operand::K, shape.headDim);
    vSource = kvSource(Operand::V, shape.valueDim);
  }

  StagingSource kvSource(Operand which, int64_t columns) {
    OperandAccess access = abi.operand(which);
    KvRows kvRows(emit.builder, emit.loc, program, abi, which, tile.b, tile.kvHead);
    return {program.kvType,
            columns,
            [kvRows](Value row) { return kvRows.at(row); },
            columnStrideOf(access),
            inVectors(access, program.kvType, columns),
            Value(),
            Value()};
  }

  Value columnStrideOf(const OperandAccess &operand) { return program.contiguous ? Value() : operand.strides[3]; }
  /// Null: never.
  Value inVectors(const OperandAccess &operand, Type memory, int64_t columns) {
    if (!program.contiguous || columns % shape.vector() != 0)
      return nullptr;
    return emitIsAligned(emit, operand, memory, shape.vector() * memory.getIntOrFloatBitWidth() / 8);
  }

  void barrier() { emit.make<NVVM::Barrier0Op>(); }
  void stageKeys(const KvBlock &block, Value firstColumn) {
    kSource.first = block.begin, kSource.end = block.end;
    staging.copy(shape.k, kSource, firstColumn);
  }
  void stageValues(const KvBlock &block, int64_t firstRow) {
    vSource.first = emit.add(block.begin, firstRow), vSource.end = block.end;
    staging.copy(shape.v, vSource, Value());
  }

  /// As many elements of shared memory as move at once.
  Value loadVector(Value address, int64_t offsetBytes) {
    return emit.loadUnaligned(emit.vec(shape.vector(), compute), emitByteOffset(emit, address, offsetBytes), /*alignment=*/16);
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // The two products
  //===----------------------------------------------------------------------------------------------------------------===//

  /// The scores of a block, row after row. Brings K, and V if it is wanted and comes in one piece; the first barrier waits for those that
  /// read the block before.
  Values computeScores(const KvBlock &block, bool withV) {
    Values products(shape.scoresPerThread(), emit.constFloat(compute, 0.0));
    auto bringV = [&] {
      if (withV && shape.bringsV())
        stageValues(block, 0);
    };
    if (shape.keepsQ()) {
      barrier();
      stageKeys(block, Value());
      bringV();
      barrier();
      products = addDots(products);
    } else {
      barrier();
      bringV();
      auto i32 = [&](int64_t value) { return emit.constInt(emit.i32(), value); };
      products = emit.loop(i32(0), i32(shape.headDim), i32(shape.q.cols), products, [&](Value column, ValueRange carried) {
        barrier();
        staging.copy(shape.q, qSource, column);
        stageKeys(block, column);
        barrier();
        return addDots(carried);
      });
    }
    for (Value &product : products)
      product = emit.mulF(product, factors.score);
    maps.applyScores(products, block);
    return products;
  }

  /// sums + Q K^T over the columns that are in shared memory.
  Values addDots(ValueRange sums) {
    int64_t unit = shape.vector();
    auto i32 = [&](int64_t value) { return emit.constInt(emit.i32(), value); };
    return emit.loop(i32(0), i32(shape.q.cols), i32(unit), sums, [&](Value column, ValueRange carried) {
      Value offset = emit.mul(column, shape.elementBytes);
      Value q = emitByteOffset(emit, qRows, offset), k = emitByteOffset(emit, kRows, offset);
      Values qs, ks, next(carried);
      for (int64_t i = 0; i < shape.rowsPerThread(); ++i)
        qs.push_back(loadVector(q, i * shape.groups() * shape.q.pitchBytes()));
      for (int64_t j = 0; j < shape.colsPerThread(); ++j)
        ks.push_back(loadVector(k, j * shape.rowLanes * shape.k.pitchBytes()));
      for (int64_t e = 0; e < unit; ++e)
        for (int64_t i = 0; i < shape.rowsPerThread(); ++i)
          for (int64_t j = 0; j < shape.colsPerThread(); ++j) {
            Value &sum = next[i * shape.colsPerThread() + j];
            sum = emit.fma(emit.lane(qs[i], e), emit.lane(ks[j], e), sum);
          }
      return next;
    });
  }

  /// out += prob_mod(probs) V.
  void addProduct(Values &out, Values &probs, ArrayRef<Value> visible, const KvBlock &block) {
    if (maps.hasProb())
      maps.applyProb(probs, visible, block);
    for (auto [place, element] : llvm::enumerate(probs)) {
      int64_t row = place / shape.colsPerThread(), column = place % shape.colsPerThread();
      int64_t offset = row * shape.groups() * shape.p.pitchBytes() + column * shape.rowLanes * shape.elementBytes;
      emit.store(element, emitByteOffset(emit, pElements, offset));
    }
    emit.make<NVVM::SyncWarpOp>(emit.constInt(emit.i32(), -1));
    for (int64_t firstRow = 0; firstRow < shape.cols; firstRow += shape.valueRows) {
      if (!shape.bringsV()) {
        barrier();
        stageValues(block, firstRow);
        barrier();
      }
      addRows(out, emitByteOffset(emit, pRows, firstRow * shape.elementBytes));
    }
    // The next block's first barrier stands before P is written again.
  }

  /// out += P V over the rows of V that are in shared memory; `probs`: the column of P of the first of them.
  void addRows(Values &out, Value probs) {
    int64_t unit = shape.vector(), vectors = shape.valueVectors();
    auto i32 = [&](int64_t value) { return emit.constInt(emit.i32(), value); };
    out = emit.loop(i32(0), i32(std::min(shape.valueRows, shape.cols)), i32(unit), out, [&](Value key, ValueRange carried) {
      Value p = emitByteOffset(emit, probs, emit.mul(key, shape.elementBytes)),
            v = emitByteOffset(emit, vColumns, emit.mul(key, shape.v.pitchBytes()));
      Values ps, next(carried);
      for (int64_t i = 0; i < shape.rowsPerThread(); ++i)
        ps.push_back(loadVector(p, i * shape.groups() * shape.p.pitchBytes()));
      for (int64_t e = 0; e < unit; ++e)
        for (int64_t n = 0; n < vectors; ++n) {
          Value values = loadVector(v, e * shape.v.pitchBytes() + n * shape.rowLanes * 16);
          for (int64_t i = 0; i < shape.rowsPerThread(); ++i)
            for (int64_t w = 0; w < unit; ++w) {
              Value &sum = next[(i * vectors + n) * unit + w];
              sum = emit.fma(emit.lane(ps[i], e), emit.lane(values, w), sum);
            }
        }
      return next;
    });
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // Softmax
  //===----------------------------------------------------------------------------------------------------------------===//

  /// Above -inf, or NaN: where prob_mod counts. Empty without one.
  Values visibleOf(ArrayRef<Value> scores) {
    Values visible;
    if (maps.hasProb())
      for (Value score : scores)
        visible.push_back(emit.cmp(CmpF::UNE, score, emit.constFloat(compute, -HUGE_VAL)));
    return visible;
  }

  Value maximum(Value a, Value b) { return emit.make<arith::MaximumFOp>(a, b); } // NaN propagates (A6)
  /// Where no score is above -inf yet it is 0: exp(-inf - 0) is 0, exp(-inf + inf) would be NaN.
  Value referenceOf(Value max) {
    Value isEmpty = emit.cmp(CmpF::OEQ, max, emit.constFloat(compute, -HUGE_VAL));
    return emit.select(isEmpty, emit.constFloat(compute, 0.0), max);
  }

  /// Scores become probabilities relative to the new maximum; returned is what makes older ones so, for each row.
  Values takeIntoState(State &state, Values &scores) {
    Values alpha;
    for (size_t row = 0; row < rows.size(); ++row) {
      MutableArrayRef<Value> ofRow = MutableArrayRef<Value>(scores).slice(row * shape.colsPerThread(), shape.colsPerThread());
      Value max = ofRow[0];
      for (Value score : ofRow.drop_front())
        max = maximum(max, score);
      max = maximum(state.max[row], emitLaneReduce(emit, max, shape.rowLanes, [&](Value a, Value b) { return maximum(a, b); }));
      Value reference = referenceOf(max), sum;
      for (Value &element : ofRow) {
        element = emitExp(emit.builder, emit.loc, emit.subF(element, reference));
        sum = sum ? emit.addF(sum, element) : element;
      }
      alpha.push_back(emitExp(emit.builder, emit.loc, emit.subF(state.max[row], reference)));
      state.sum[row] = emit.fma(alpha[row], state.sum[row], sum);
      state.max[row] = max;
    }
    return alpha;
  }

  /// The ends of all rows. Stores lse and max.
  SmallVector<SoftmaxEnd> finishRows(const State &state) {
    SmallVector<SoftmaxEnd> ends;
    for (auto [max, partial] : llvm::zip_equal(state.max, state.sum)) {
      Value sum = emitLaneReduce(emit, partial, shape.rowLanes, [&](Value a, Value b) { return emit.addF(a, b); });
      ends.push_back(
          emitSoftmaxEnd(emit.builder, emit.loc, abi, max, sum, sink, [&](Value x) { return emitExp(emit.builder, emit.loc, x); }));
    }
    storeRows(Operand::Lse, llvm::map_to_vector(ends, [](const SoftmaxEnd &end) { return end.lse; }));
    storeRows(Operand::Max, state.max);
    return ends;
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // Results
  //===----------------------------------------------------------------------------------------------------------------===//

  /// Element (b, h, row, 0) of an operand.
  Value rowPointer(const OperandAccess &operand, Type memory, size_t row) {
    Value offset = emit.add(emit.mul(tile.b, operand.strides[0]), emit.mul(tile.h, operand.strides[1]));
    return emit.at(operand.pointer, memory, emit.add(offset, emit.mul(maps.query(row), operand.strides[2])));
  }

  /// One of the threads of a row has the word.
  void storeRows(Operand which, ArrayRef<Value> values) {
    OperandAccess operand = abi.operand(which);
    Value speaks = emit.cmp(CmpI::eq, rowLane, emit.constInt(emit.i32(), 0));
    Value isWanted = emit.make<LLVM::ICmpOp>(LLVM::ICmpPredicate::ne, operand.pointer, emit.make<LLVM::ZeroOp>(emit.ptr()));
    emit.ifThen(emit.bitAnd(isWanted, speaks), [&] {
      for (auto [row, value] : llvm::enumerate(values))
        emit.ifThen(maps.rowExists(row), [&] { emit.store(value, rowPointer(operand, compute, row)); });
    });
  }

  void storeOutput(ArrayRef<Value> out) {
    OperandAccess access = abi.operand(Operand::Out);
    Type memory = program.outType;
    int64_t unit = shape.vector();
    for (size_t row = 0; row < rows.size(); ++row)
      emit.ifThen(maps.rowExists(row), [&] {
        Value first = rowPointer(access, memory, row);
        for (int64_t n = 0; n < shape.valueVectors(); ++n)
          for (int64_t w = 0; w < unit; ++w) {
            Value column = emit.add(emit.mul(rowLane, unit), n * shape.rowLanes * unit + w);
            auto store = [&] {
              Value offset = emit.make<arith::ExtUIOp>(emit.i64(), column);
              if (!program.outIsContiguous)
                offset = emit.mul(offset, access.strides[3]);
              storeFloats(emit, out[row * outPerRow() + n * unit + w], emit.at(first, memory, offset), memory);
            };
            if ((n + 1) * shape.rowLanes * unit <= shape.valueDim)
              store();
            else
              emit.ifThen(emit.cmp(CmpI::slt, column, emit.constInt(emit.i32(), shape.valueDim)), store);
          }
      });
  }

  Emitter emit;
  const TileProgram &program;
  const SimtShape &shape;
  Type compute;
  AbiAccess abi;
  Value shared; ///< the block's shared memory
  ThreadPosition position;
  SimtStaging staging;
  ElementMaps maps;

  TileCoords tile;
  HeadFactors factors;
  Value sink;    ///< null: none
  Values rows;   ///< of this thread in the tile, i64
  Value rowLane; ///< place among the threads of a row, i32
  StagingSource qSource, kSource, vSource;
  /// Shared memory of this thread: where its rows of Q, of P, of K (a column of scores each) and its columns of V begin, and its first
  /// element of P.
  Value qRows, pRows, kRows, vColumns, pElements;
};

} // namespace

LogicalResult lowerSimt(const TileProgram &program, const GpuTarget &target, SimtAttr choices) {
  if (std::optional<std::string> refusal = simtRefusal(program, target, choices))
    return program.kernel->emitOpError("cannot be scheduled for threads alone: ") << *refusal;
  OpBuilder builder(program.kernel);
  SimtShape shape = SimtShape::of(program, choices);
  GpuKernelFunction kernel = createGpuKernel(builder, program, {shape.threads, shape.sharedBytes()});
  Simt(builder, program.kernel->getLoc(), program, shape, kernel.args, kernel.shared).run();
  finishGpuKernel(kernel, program);
  return success();
}

} // namespace attnjit::tile
