// Words of the flash schedule: two bf16 that lie side by side along what a product sums over, as vdpbf16ps and AMX take them. In registers
// they go by the type of the compute elements, f32, and only move; no arithmetic but that of emitDot sees them.
#include "FlashSchedule.h"

#include "Elements.h"
#include "Transpose.h"

#include <cmath>
#include <limits>

using namespace mlir;

namespace attnjit::tile {

//===------------------------------------------------------------------------------------------------------------------===//
// Words in registers
//===------------------------------------------------------------------------------------------------------------------===//

/// `lanes` elements as bf16, raw. K and V may be of a type that bf16 holds exactly.
Value FlashKernel::loadBf16(Value address, Type memory, int64_t lanes) const {
  Type bf16 = builder.getBF16Type();
  if (memory == bf16)
    return emit.load(lanes == 1 ? emit.i16() : emit.vec(lanes, emit.i16()), address);
  return narrowElements(emit, loadFloats(emit, address, memory, compute, lanes), bf16);
}

/// Raw bf16 to words; `high` may be null for 0.
Value FlashKernel::joinWords(Value low, Value high) const {
  auto widened = [&](Value raw) { return Value(emit.make<arith::ExtUIOp>(likeShape(raw.getType(), emit.i32()), raw)); };
  Value bits = widened(low);
  if (high)
    bits = emit.bitOr(bits, emit.shl(widened(high), 16));
  return emit.bitcast(compute, bits);
}

/// Two vectors of f32, rounded, to one of words.
Value FlashKernel::roundToWords(Value low, Value high) const {
  Type pairs = emit.vec(2 * shape.lanes, builder.getBF16Type());
  Value halves = emit.intrinsic("llvm.x86.avx512bf16.cvtne2ps2bf16.512", pairs, {high, low});
  SmallVector<int64_t> interleaved;
  for (int64_t lane = 0; lane < shape.lanes; ++lane)
    interleaved.append({lane, shape.lanes + lane});
  Value words = emit.make<vector::ShuffleOp>(halves, halves, interleaved);
  return emit.make<LLVM::BitcastOp>(vectorType(), words);
}

//===------------------------------------------------------------------------------------------------------------------===//
// Q
//===------------------------------------------------------------------------------------------------------------------===//

/// Maxima of raw scores are those of scores if the factor is positive: its sign moves to Q, and 0, which would make NaN of the -inf of a
/// masked pair, becomes the smallest number.
void FlashKernel::bindPositiveFactor() {
  Value isNegative = emit.cmp(Emitter::CmpF::OLT, scoreFactor, emit.constFloat(compute, 0.0));
  querySigns = emit.select(isNegative, emit.constInt(emit.i32(), 0x80008000), emit.constInt(emit.i32(), 0));
  Value magnitude = emit.select(isNegative, emit.negF(scoreFactor), scoreFactor);
  Value isZero = emit.cmp(Emitter::CmpF::OEQ, magnitude, emit.constFloat(compute, 0.0));
  scoreFactor = emit.select(isZero, emit.constFloat(compute, std::numeric_limits<float>::denorm_min()), magnitude);
}

Value FlashKernel::withQuerySigns(Value words) const {
  if (!scoresAreRaw)
    return words;
  Value signs = isVector(words) ? emit.splat(querySigns, shape.lanes) : querySigns;
  return emit.bitcast(compute, emit.bitXor(emit.bitcast(emit.i32(), words), signs));
}

/// Q^T of a panel, [word][query]; lanes past the last query are duplicates of it.
void FlashKernel::packQueryWords(const FlashPanel &panel, const OperandAccess &q, Value base) {
  int64_t lanes = shape.lanes, whole = program.contiguous ? program.headDim / 2 / lanes * lanes : 0;
  auto pointerOf = [&](Value lane) {
    Value row = emit.minS(emit.add(panel.firstQuery, lane), panel.lastQuery);
    return emit.at(base, program.qType, emit.mul(row, q.strides[2]));
  };
  if (whole > 0) // a loop, not two copies: transpositions are most of what there is to compile
    emit.loop(0, shape.panelWidth(), lanes, [&](Value firstLane) {
      Values pointers;
      for (int64_t lane = 0; lane < lanes; ++lane)
        pointers.push_back(pointerOf(emit.add(firstLane, lane)));
      Value target = emit.at(panel.queries, compute, firstLane);
      emit.loop(emit.index(0), emit.index(whole), emit.index(lanes), {target}, [&](Value word, ValueRange state) -> Values {
        Values rows;
        for (Value pointer : pointers)
          rows.push_back(emit.loadUnaligned(vectorType(), emit.at(pointer, compute, word), 2));
        for (auto [index, words] : llvm::enumerate(transpose(emit, rows)))
          emit.store(withQuerySigns(words), emit.atBytes(state[0], index * rowBytes()));
        return {emit.atBytes(state[0], lanes * rowBytes())};
      });
    });
  if (whole == steps)
    return;
  emit.loop(0, shape.panelWidth(), 1, [&](Value lane) {
    Value source = pointerOf(lane);
    auto element = [&](Value dim) { return loadBf16(emit.at(source, program.qType, emit.mul(dim, q.strides[3])), program.qType, 1); };
    auto place = [&](Value word) { return emit.at(emit.at(panel.queries, compute, lane), compute, emit.mul(word, shape.panelWidth())); };
    emit.loop(whole, program.headDim / 2, 1, [&](Value word) {
      Value dim = emit.shl(word, 1);
      emit.store(withQuerySigns(joinWords(element(dim), element(emit.add(dim, 1)))), place(word));
    });
    if (program.headDim % 2)
      emit.store(withQuerySigns(joinWords(element(emit.index(program.headDim - 1)), nullptr)), place(emit.index(steps - 1)));
  });
}

//===------------------------------------------------------------------------------------------------------------------===//
// K and V
//===------------------------------------------------------------------------------------------------------------------===//

/// Where rows [begin, begin + count) of K lie as dense rows of words: in place if they are that. AMX reads 32 rows at a time.
Value FlashKernel::loadKeyWords(const KvRows &rows, Value begin, Value count) {
  Value copy = region(layout.keys);
  if (!program.contiguous || !program.kvType.isBF16() || program.headDim % 2) {
    copyKeyWords(rows, begin, count, copy);
    return copy;
  }
  Value inPlace = emit.cmp(Emitter::CmpI::eq, rows.stride(), emit.index(program.headDim));
  if (rows.inPages())
    inPlace = emit.bitAnd(inPlace, rows.areEvenlySpaced(begin, count));
  if (shape.unit == Bf16Unit::Tile)
    inPlace = emit.bitAnd(inPlace, emit.cmp(Emitter::CmpI::eq, emit.bitAnd(count, emit.index(kTileKeys - 1)), emit.index(0)));
  emit.ifThen(emit.logicalNot(inPlace), [&] { copyKeyWords(rows, begin, count, copy); });
  return emit.select(inPlace, rows.at(begin), copy);
}

void FlashKernel::copyKeyWords(const KvRows &rows, Value begin, Value count, Value target) {
  Type type = program.kvType;
  int64_t whole = program.contiguous ? program.headDim / shape.lanes * shape.lanes : 0;
  auto copyRow = [&](Value from, Value to) {
    auto copy = [&](int64_t first, int64_t last, int64_t lanes) {
      if (first < last)
        emit.loop(first, last, lanes, [&](Value column) {
          Value place = program.contiguous ? column : emit.mul(column, rows.columnStride());
          emit.store(loadBf16(emit.at(from, type, place), type, lanes), emit.at(to, emit.i16(), column));
        });
    };
    copy(0, whole, shape.lanes);
    copy(whole, program.headDim, 1);
    if (program.headDim % 2) // the other half of the last word
      emit.store(emit.constInt(emit.i16(), 0), emit.atBytes(to, program.headDim * 2));
  };
  rows.forEachStretch(begin, count, [&](Value source, Value first, Value length) {
    emit.loop(emit.index(0), length, emit.index(1), [&](Value row) {
      copyRow(emit.at(source, type, emit.mul(row, rows.stride())), emit.at(target, compute, emit.mul(emit.add(first, row), steps)));
    });
  });
}

/// Rows [begin, begin + count) of V as words of two keys: rows of columns or, for AMX, columns of words in tiles. What stands for keys past
/// the last one is 0.
Value FlashKernel::packValueWords(const KvRows &rows, Value begin, Value count) {
  Type type = program.kvType;
  Value target = region(layout.values), lastKey = emit.sub(count, 1);
  auto wordsOf = [&](Value first, Value second, Value column, int64_t lanes, Value isFirst, Value isSecond) {
    Value place = program.contiguous ? column : emit.mul(column, rows.columnStride());
    auto half = [&](Value row, Value exists) {
      Value raw = loadBf16(emit.at(row, type, place), type, lanes);
      return exists ? emit.select(exists, raw, emit.constInt(raw.getType(), 0)) : raw;
    };
    return joinWords(half(first, isFirst), half(second, isSecond));
  };
  auto isKey = [&](Value key) { return emit.cmp(Emitter::CmpI::slt, key, count); };
  auto rowAt = [&](Value key) { return rows.at(emit.add(begin, emit.minS(key, lastKey))); };

  if (shape.unit == Bf16Unit::Tile) {
    int64_t columnWords = program.tileCols / kTileKeys * kTileWords * kTileWords; // of 16 columns, all keys of the block
    emit.loop(emit.index(0), count, emit.index(kTileKeys), [&](Value firstKey) {
      Values pointers, exist;
      for (int64_t i = 0; i < kTileKeys; ++i) {
        Value key = emit.add(firstKey, i);
        pointers.push_back(rowAt(key));
        exist.push_back(isKey(key));
      }
      Value tile = emit.at(target, compute, emit.mul(firstKey, kTileWords * kTileWords / kTileKeys));
      emit.loop(emit.index(0), emit.index(program.valueDim), emit.index(kTileWords), {tile}, [&](Value column, ValueRange state) -> Values {
        Values words;
        for (int64_t i = 0; i < kTileKeys; i += 2)
          words.push_back(wordsOf(pointers[i], pointers[i + 1], column, kTileWords, exist[i], exist[i + 1]));
        for (auto [index, row] : llvm::enumerate(transpose(emit, words)))
          emit.store(row, emit.atBytes(state[0], index * kTileWords * elementBytes()));
        return {emit.atBytes(state[0], columnWords * elementBytes())};
      });
    });
    return target;
  }

  int64_t whole = program.contiguous ? program.valueDim / shape.lanes * shape.lanes : 0;
  emit.loop(emit.index(0), count, emit.index(2), [&](Value key) {
    Value second = emit.add(key, 1), first = rowAt(key), next = rowAt(second), exists = isKey(second);
    Value to = emit.at(target, compute, emit.mul(emit.shrU(key, 1), program.valueDim));
    auto pack = [&](int64_t begin, int64_t end, int64_t lanes) {
      if (begin < end)
        emit.loop(begin, end, lanes,
                  [&](Value column) { emit.store(wordsOf(first, next, column, lanes, nullptr, exists), emit.at(to, compute, column)); });
    };
    pack(0, whole, shape.lanes);
    pack(whole, program.valueDim, 1);
  });
  return target;
}

//===------------------------------------------------------------------------------------------------------------------===//
// Results
//===------------------------------------------------------------------------------------------------------------------===//

/// The whole vectors of columns of a panel's rows. Lanes past the last query hold what it has, and are written to its place.
void FlashKernel::writeOutputRows(const FlashPanel &panel, const OperandAccess &out, Value base) {
  int64_t lanes = shape.lanes, whole = program.valueDim / lanes * lanes;
  Value rowCount = emit.add(emit.sub(panel.lastQuery, panel.firstQuery), 1);
  emit.loop(emit.index(0), rowCount, emit.index(lanes), [&](Value firstLane) {
    auto laneVector = [&](Value row) { return emit.load(vectorType(), emit.at(row, compute, firstLane)); };
    // A row that saw no key is 0; its sums may be NaN times 0 (A5).
    Value isEmpty = emit.cmp(Emitter::CmpF::OEQ, laneVector(panel.maxima), splatF(-INFINITY));
    Value factor = outputFactor(laneVector(panel.sums));
    Values targets;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      Value row = emit.minS(emit.add(emit.add(panel.firstQuery, firstLane), lane), panel.lastQuery);
      targets.push_back(emit.at(base, program.outType, emit.mul(row, out.strides[2])));
    }
    Value output = emit.at(panel.output, compute, firstLane);
    emit.loop(emit.index(0), emit.index(whole), emit.index(lanes), {output}, [&](Value column, ValueRange state) -> Values {
      Values rows;
      for (int64_t i = 0; i < lanes; ++i) {
        Value element = emit.mulF(emit.load(vectorType(), emit.atBytes(state[0], i * rowBytes())), factor);
        rows.push_back(emit.select(isEmpty, splatF(0.0), element));
      }
      // From the last lane down: those past the last query go to its place, and then it does.
      rows = transpose(emit, rows);
      for (int64_t lane = lanes; lane-- > 0;)
        storeFloats(emit, rows[lane], emit.at(targets[lane], program.outType, column), program.outType);
      return {emit.atBytes(state[0], lanes * rowBytes())};
    });
  });
}

} // namespace attnjit::tile
