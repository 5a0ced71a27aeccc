// What goes into and comes out of the workspace of the flash schedule. Queries and results pass through once per tile, element by element:
// that is some ten thousand scalar moves for millions of FMAs, any stride and type is welcome, and there is little code to compile.
// Keys and values are converted or made dense, where they must be, once per tile and block.
#include "FlashSchedule.h"

#include "Elements.h"
#include "llvm/Support/MathExtras.h"

#include <cmath>

using namespace mlir;

namespace attnjit::tile {

/// Q^T times scale; panels are filled up with duplicates of the last query. Also the initial state.
void FlashKernel::packQueries() {
  OperandAccess q = abi->operand(Operand::Q);
  Value base = operandBase(q, program.qType, tile.h);

  emit.loop(emit.index(0), panelCount, emit.index(1), [&](Value index) {
    FlashPanel panel = panelAt(index);
    if (shape.takesWords())
      packQueryWords(panel, q, base);
    else
      packQueryPanel(panel, q, base);
    if (usesDots)
      for (FlashDot &dot : dots)
        packDotQueries(dot, panel);
    storeRow(Values(shape.panelVectors, splatF(-INFINITY)), panel.maxima);
    storeRow(Values(shape.panelVectors, splatF(-INFINITY)), panel.references);
    storeRow(Values(shape.panelVectors, splatF(0.0)), panel.sums);
    emit.loop(emit.index(0), emit.index(program.valueDim), emit.index(1), {panel.output}, [&](Value, ValueRange state) -> Values {
      storeRow(Values(shape.panelVectors, splatF(0.0)), state[0]);
      return {emit.atBytes(state[0], rowBytes())};
    });
  });
}

void FlashKernel::packQueryPanel(const FlashPanel &panel, const OperandAccess &q, Value base) {
  emit.loop(0, shape.panelWidth(), 1, [&](Value lane) {
    Value row = emit.minS(emit.add(panel.firstQuery, lane), panel.lastQuery);
    Value source = emit.at(base, program.qType, emit.mul(row, q.strides[2]));
    Value target = emit.at(panel.queries, compute, lane);
    emit.loop(emit.index(0), emit.index(program.headDim), emit.index(1), {target}, [&](Value dim, ValueRange state) -> Values {
      Value address = emit.at(source, program.qType, program.contiguous ? dim : emit.mul(dim, q.strides[3]));
      Value element = loadFloats(emit, address, program.qType, compute, 1);
      emit.store(emit.mulF(element, scoreFactor), state[0]);
      return {emit.atBytes(state[0], rowBytes())};
    });
  });
}

//===------------------------------------------------------------------------------------------------------------------===//
// Keys and values
//===------------------------------------------------------------------------------------------------------------------===//

FlashBlock FlashKernel::loadBlock(Pass pass, const KvBlock &kvBlock) {
  Value count = emit.sub(kvBlock.end, kvBlock.begin);
  if (shape.takesWords())
    return {loadKeyWords(k, kvBlock.begin, count), pass == Pass::State ? Value() : packValueWords(v, kvBlock.begin, count), kvBlock.begin,
            count, kvBlock.partial};
  Value keys = loadRows(k, kvBlock.begin, count, program.headDim, region(layout.keys));
  Value values = pass == Pass::State ? Value() : loadRows(v, kvBlock.begin, count, program.valueDim, region(layout.values));
  return {keys, values, kvBlock.begin, count, kvBlock.partial};
}

/// Where rows [begin, begin + count) lie as dense rows of the compute type: in place if they are that, otherwise in `copy`. Rows that stand
/// apart, as those of one head in a [B, N, H, D] tensor do, fall into few sets of the first-level cache and would push each other out for
/// every panel.
Value FlashKernel::loadRows(const KvRows &rows, Value begin, Value count, int64_t columns, Value copy) {
  if (!program.contiguous || program.kvType != compute) {
    convertRows(rows, begin, count, columns, copy);
    return copy;
  }
  Value isDense = emit.cmp(Emitter::CmpI::eq, rows.stride(), emit.index(columns));
  if (rows.inPages())
    isDense = emit.bitAnd(isDense, rows.areEvenlySpaced(begin, count));
  emit.ifThen(emit.logicalNot(isDense), [&] { convertRows(rows, begin, count, columns, copy); });
  return emit.select(isDense, rows.at(begin), copy);
}

/// Rows [begin, begin + count) of `columns` elements in the compute type, row behind row.
void FlashKernel::convertRows(const KvRows &rows, Value begin, Value count, int64_t columns, Value target) {
  Type type = program.kvType;
  int64_t vectorColumns = program.contiguous ? columns / shape.lanes * shape.lanes : 0;
  auto convertRow = [&](Value from, Value to) {
    auto convert = [&](int64_t begin, int64_t end, int64_t lanes) {
      if (begin == end)
        return;
      emit.loop(begin, end, lanes, [&](Value column) {
        Value address = emit.at(from, type, program.contiguous ? column : emit.mul(column, rows.columnStride()));
        emit.store(loadFloats(emit, address, type, compute, lanes), emit.at(to, compute, column));
      });
    };
    convert(0, vectorColumns, shape.lanes);
    convert(vectorColumns, columns, 1);
  };
  rows.forEachStretch(begin, count, [&](Value source, Value first, Value length) {
    emit.loop(emit.index(0), length, emit.index(1), [&](Value row) {
      convertRow(emit.at(source, type, emit.mul(row, rows.stride())), emit.at(target, compute, emit.mul(emit.add(first, row), columns)));
    });
  });
}

//===------------------------------------------------------------------------------------------------------------------===//
// Prefetching
//===------------------------------------------------------------------------------------------------------------------===//

/// Rows of the next block that a panel asks for, in all.
int64_t FlashKernel::prefetchedRows() const { return llvm::divideCeil(program.tileCols, panels); }

/// The panels of a tile share the rows of the next block among them: the first ones of this panel, in K and in V. They may lie behind the
/// last key; a prefetch is a wish, not a read.
Emitter::Values FlashKernel::firstPrefetch(const FlashBlock &block, const FlashPanel &panel) {
  Value row = emit.add(emit.add(block.begin, program.tileCols), emit.mul(panel.index, prefetchedRows()));
  if (program.paged) // the page table ends with the last key
    row = emit.minS(row, emit.sub(abi->keys(), 1));
  return {k.at(row), v.at(row)};
}

/// Asks for the few rows that one register tile of S^T is to fetch into the second-level cache; returns the rows after them.
Emitter::Values FlashKernel::emitPrefetch(ValueRange rows, int64_t keysPerStep) {
  int64_t elementBytes = program.kvType.getIntOrFloatBitWidth() / 8;
  int64_t rowsPerTile = llvm::divideCeil(prefetchedRows() * keysPerStep, program.tileCols);
  auto fetch = [&](Value row, const KvRows &rows, int64_t columns) {
    Value stride = emit.mul(rows.stride(), elementBytes);
    emit.loop(0, columns * elementBytes, kCacheLineBytes, [&](Value offset) {
      Value line = emit.at(row, emit.i8(), offset);
      for (int64_t i = 0; i < rowsPerTile; ++i, line = emit.at(line, emit.i8(), stride))
        emit.make<LLVM::Prefetch>(line, /*rw=*/0, /*hint=*/2, /*cache=*/1);
    });
    return emit.at(row, emit.i8(), emit.mul(stride, rowsPerTile));
  };
  return {fetch(rows[0], k, program.headDim), fetch(rows[1], v, program.valueDim)};
}

//===------------------------------------------------------------------------------------------------------------------===//
// Results
//===------------------------------------------------------------------------------------------------------------------===//

void FlashKernel::writeOutput() {
  OperandAccess out = abi->operand(Operand::Out), lse = abi->operand(Operand::Lse), max = abi->operand(Operand::Max);
  Value outBase = operandBase(out, program.outType, tile.h), zero = emit.constFloat(compute, 0.0);
  forEachPanel([&](const FlashPanel &panel) {
    int64_t written = shape.takesWords() && program.outIsContiguous ? program.valueDim / shape.lanes * shape.lanes : 0;
    if (written > 0)
      writeOutputRows(panel, out, outBase);
    Value lanes = emit.add(emit.sub(panel.lastQuery, panel.firstQuery), 1);
    emit.loop(emit.index(0), lanes, emit.index(1), [&](Value lane) {
      Value row = emit.add(panel.firstQuery, lane);
      auto laneOf = [&](Value region) { return emit.at(region, compute, lane); };
      writeScalar(lse, row, emit.load(compute, laneOf(panel.lse)));
      writeScalar(max, row, softmax.natural(emit.load(compute, laneOf(panel.maxima))));
      if (written == program.valueDim)
        return;
      // A row that saw no key is 0; its sums may be NaN times 0 (A5).
      Value factor = outputFactor(emit.load(compute, laneOf(panel.sums)));
      Value isEmpty = emit.cmp(Emitter::CmpF::OEQ, emit.load(compute, laneOf(panel.maxima)), emit.constFloat(compute, -INFINITY));
      Value target = emit.at(outBase, program.outType, emit.add(emit.mul(row, out.strides[2]), emit.mul(out.strides[3], written)));
      emit.loop(emit.index(written), emit.index(program.valueDim), emit.index(1),
                {emit.atBytes(laneOf(panel.output), written * rowBytes()), target}, [&](Value, ValueRange state) -> Values {
                  Value element = emit.mulF(emit.load(compute, state[0]), factor);
                  storeFloats(emit, emit.select(isEmpty, zero, element), state[1], program.outType);
                  return {emit.atBytes(state[0], rowBytes()), emit.at(state[1], program.outType, out.strides[3])};
                });
    });
  });
}

/// One value of a row output that the caller may not want.
/// What rows of O^T with these normalisers are multiplied with. What came of two passes is normalised.
Value FlashKernel::outputFactor(Value normalisers) {
  Value output = isa<VectorType>(normalisers.getType()) ? emit.splat(factors.output, shape.lanes) : factors.output;
  return program.isTwoPass ? output : emit.mulF(normalisers, output);
}

/// One value of a row output that the caller may not want.
void FlashKernel::writeScalar(const OperandAccess &operand, Value row, Value value) {
  Value wanted = emit.make<LLVM::ICmpOp>(LLVM::ICmpPredicate::ne, operand.pointer, emit.make<LLVM::ZeroOp>(emit.ptr()));
  emit.ifThen(wanted, [&] {
    Value target = emit.at(operandBase(operand, compute, tile.h), compute, emit.mul(row, operand.strides[2]));
    emit.store(value, target);
  });
}

} // namespace attnjit::tile
