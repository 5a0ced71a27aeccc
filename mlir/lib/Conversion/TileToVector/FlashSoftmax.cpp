// What happens to scores between the two products of the flash schedule: maps, mask, the online softmax; and its end.
#include "FlashSchedule.h"

#include "attnjit-mlir/Conversion/TileToVector/VectorMath.h"

#include <cmath>
#include <numbers>

using namespace mlir;

namespace attnjit::tile {

static constexpr double kLog2E = std::numbers::log2e;
static constexpr double kLn2 = std::numbers::ln2;

/// The larger one; a NaN candidate changes nothing (it reaches the output through its exponential). One instruction on x86.
Value FlashKernel::maximum(Value candidate, Value current) const {
  return emit.select(emit.cmp(Emitter::CmpF::OGT, candidate, current), candidate, current);
}

//===------------------------------------------------------------------------------------------------------------------===//
// Maps
//===------------------------------------------------------------------------------------------------------------------===//

void FlashKernel::bindHeads() {
  Value b = emit.toInt(program.indexType, tile.b), h = emit.toInt(program.indexType, tile.h);
  for (MapExpander &expander : score)
    expander.bindHeads(b, h);
  for (MapExpander &expander : mask)
    expander.bindHeads(b, h);
}

Emitter::Values FlashKernel::emitMaps(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count, Value partial) {
  int64_t vectors = shape.panelVectors;
  Type indexVector = emit.vec(shape.lanes, program.indexType);
  Value b = emit.toInt(program.indexType, tile.b), h = emit.toInt(program.indexType, tile.h);

  // Lanes past the last query stand for it once more: their indices are in bounds and their reports name a real position.
  Values queries;
  Value lastQuery = emit.splat(emit.toInt(program.indexType, panel.lastQuery), shape.lanes);
  for (int64_t vector = 0; vector < vectors; ++vector) {
    Value first = emit.toInt(program.indexType, emit.add(panel.firstQuery, vector * shape.lanes));
    queries.push_back(emit.minS(emit.add(emit.splat(first, shape.lanes), emit.iota(indexVector)), lastQuery));
    if (program.score)
      score[vector].bindQuery(queries[vector]);
    if (program.mask)
      mask[vector].bindQuery(queries[vector]);
  }

  Value key0 = emit.add(block.begin, keys.begin);
  Values initial(vectors, splatF(-INFINITY));
  initial.push_back(region(layout.scores));
  Values result = emit.loop(emit.index(0), count, emit.index(1), initial, [&](Value row, ValueRange state) {
    Value address = state.back(), key = emit.toInt(program.indexType, emit.add(key0, row));
    Values scores = loadRow(address), outOfRange(vectors);
    if (program.score)
      for (int64_t vector = 0; vector < vectors; ++vector) {
        score[vector].bindKey(key);
        MapResult mapped = score[vector].expand(scores[vector]);
        scores[vector] = score[vector].splat(mapped.value);
        outOfRange[vector] = mapped.outOfRange;
      }
    auto reportScores = [&](ArrayRef<Value> visible) {
      for (int64_t vector = 0; vector < vectors; ++vector)
        emitReport(builder, emit.loc, *abi, outOfRange[vector], visible[vector], b, h, queries[vector], key, shape.lanes);
    };
    auto masked = [&] {
      Values maskedScores, visible;
      for (int64_t vector = 0; vector < vectors; ++vector) {
        mask[vector].bindKey(key);
        MapResult mapped = mask[vector].expand(nullptr);
        visible.push_back(mask[vector].splat(mapped.value));
        emitReport(builder, emit.loc, *abi, mapped.outOfRange, nullptr, b, h, queries[vector], key, shape.lanes);
        maskedScores.push_back(emit.select(visible[vector], scores[vector], splatF(-INFINITY)));
      }
      reportScores(visible);
      return maskedScores;
    };
    auto unmasked = [&] {
      reportScores(Values(vectors));
      return scores;
    };
    if (!program.mask)
      scores = unmasked();
    else if (!partial)
      scores = masked();
    else
      scores = emit.ifElse(SmallVector<Type>(vectors, vectorType()), partial, masked, unmasked);

    storeRow(scores, address);
    Values next;
    for (int64_t vector = 0; vector < vectors; ++vector)
      next.push_back(maximum(scores[vector], state[vector]));
    next.push_back(emit.atBytes(address, rowBytes()));
    return next;
  });
  result.pop_back();
  return result;
}

//===------------------------------------------------------------------------------------------------------------------===//
// Online softmax
//===------------------------------------------------------------------------------------------------------------------===//

/// A difference of scores as an exponent of 2.
Value FlashKernel::exponent(Value difference) const { return scoresAreLog2 ? difference : emit.mulF(difference, splatF(kLog2E)); }

Emitter::Values FlashKernel::emitSoftmax(const FlashPanel &panel, Value count, ValueRange blockMax) {
  int64_t vectors = shape.panelVectors, rows = shape.softmaxRows;
  Value minusInf = splatF(-INFINITY), zero = splatF(0.0);
  Values oldMax = loadRow(panel.maxima), newMax, reference, rescale;
  for (int64_t vector = 0; vector < vectors; ++vector) {
    newMax.push_back(maximum(blockMax[vector], oldMax[vector]));
    // While every score is -inf the reference is 0: -inf - 0 is -inf, and its exponential 0 (A5).
    Value isEmpty = emit.cmp(Emitter::CmpF::OEQ, newMax[vector], minusInf);
    reference.push_back(emit.select(isEmpty, zero, newMax[vector]));
    rescale.push_back(emitExp2NonPositive(builder, emit.loc, exponent(emit.subF(oldMax[vector], reference[vector]))));
  }
  storeRow(newMax, panel.maxima);

  // Rows are taken `rows` at a time; those that pad the last group count for nothing.
  Value scores = region(layout.scores), end = emit.at(scores, emit.f32(), emit.mul(count, shape.panelWidth()));
  for (int64_t row = 0; row < rows - 1; ++row)
    storeRow(Values(vectors, minusInf), emit.atBytes(end, row * rowBytes()));
  Values initial(vectors, zero);
  initial.push_back(scores);
  Values sums = emit.loop(emit.index(0), count, emit.index(rows), initial, [&](Value, ValueRange state) {
    Values next(state);
    for (int64_t row = 0; row < rows; ++row) {
      Value address = emit.atBytes(state.back(), row * rowBytes());
      Values probabilities;
      for (auto [score, max] : llvm::zip(loadRow(address), reference))
        probabilities.push_back(emitExp2NonPositive(builder, emit.loc, exponent(emit.subF(score, max))));
      for (int64_t vector = 0; vector < vectors; ++vector)
        next[vector] = emit.addF(next[vector], probabilities[vector]);
      storeRow(probabilities, address);
    }
    next.back() = emit.atBytes(state.back(), rows * rowBytes());
    return next;
  });
  Values newSums;
  for (auto [sum, old, factor] : llvm::zip(ArrayRef(sums).drop_back(), loadRow(panel.sums), rescale))
    newSums.push_back(emit.fma(old, factor, sum));
  storeRow(newSums, panel.sums);
  return rescale;
}

void FlashKernel::emitFinish(const FlashPanel &panel) {
  Values maxima, lse, reciprocals;
  Value zero = splatF(0.0), one = splatF(1.0), inf = splatF(INFINITY), minusInf = splatF(-INFINITY);
  for (auto [max, sum] : llvm::zip(loadRow(panel.maxima), loadRow(panel.sums))) {
    // A row that saw a key has a sum of at least 1, or NaN.
    Value isEmpty = emit.cmp(Emitter::CmpF::OEQ, sum, zero);
    reciprocals.push_back(emit.select(isEmpty, zero, emit.divF(one, sum)));
    // The running maximum passes over NaN; the sum does not. (Its NaN may also come from inf - inf, but then the maximum is known.)
    Value sawNan = emit.bitAnd(emit.cmp(Emitter::CmpF::UNO, sum, sum), emit.cmp(Emitter::CmpF::OLT, max, inf));
    Value natural = scoresAreLog2 ? emit.mulF(max, splatF(kLn2)) : max;
    maxima.push_back(emit.select(sawNan, sum, natural));
    lse.push_back(emit.select(isEmpty, minusInf, emit.addF(maxima.back(), emitLog(builder, emit.loc, *abi, sum))));
  }
  storeRow(maxima, panel.maxima);
  storeRow(lse, panel.lse);
  storeRow(reciprocals, panel.sums);
}

} // namespace attnjit::tile
