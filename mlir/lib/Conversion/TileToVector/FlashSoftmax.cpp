// What happens to scores between the two products of the flash schedule: maps, mask, the online softmax; and its end.
#include "FlashSchedule.h"

#include "attnjit-mlir/Conversion/TileToVector/VectorMath.h"

#include <cmath>

using namespace mlir;

namespace attnjit::tile {

//===------------------------------------------------------------------------------------------------------------------===//
// Maps
//===------------------------------------------------------------------------------------------------------------------===//

void FlashKernel::bindHeads() {
  Value b = emit.toInt(program.indexType, tile.b), h = emit.toInt(program.indexType, tile.h);
  for (std::deque<MapExpander> *expanders : {&score, &mask, &prob})
    for (MapExpander &expander : *expanders)
      expander.bindHeads(b, h);
  bindBiasHeads(b, h);
  if (usesDots)
    for (FlashDot &dot : dots) {
      dot.key.bindHeads(b, h);
      for (MapExpander &expander : dot.query)
        expander.bindHeads(b, h);
    }
}

/// Lanes past the last query stand for it once more: their indices are in bounds and their reports name a real position.
Emitter::Values FlashKernel::queriesOf(const FlashPanel &panel) {
  Type indexVector = emit.vec(shape.lanes, program.indexType);
  Value lastQuery = emit.splat(emit.toInt(program.indexType, panel.lastQuery), shape.lanes);
  Values queries;
  for (int64_t vector = 0; vector < shape.panelVectors; ++vector) {
    Value first = emit.toInt(program.indexType, emit.add(panel.firstQuery, vector * shape.lanes));
    queries.push_back(emit.minS(emit.add(emit.splat(first, shape.lanes), emit.iota(indexVector)), lastQuery));
  }
  return queries;
}

Emitter::Values FlashKernel::emitMaps(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count, Value partial) {
  int64_t vectors = shape.panelVectors;
  Value b = emit.toInt(program.indexType, tile.b), h = emit.toInt(program.indexType, tile.h);
  Values queries = queriesOf(panel);
  for (int64_t vector = 0; vector < vectors; ++vector) {
    if (hasScoreMap)
      score[vector].bindQuery(queries[vector]);
  }

  Value key0 = emit.add(block.begin, keys.begin);
  Values initial(vectors, splatF(-INFINITY));
  initial.push_back(region(layout.scores));
  Values result = emit.loop(emit.index(0), count, emit.index(1), initial, [&](Value row, ValueRange state) {
    Value address = state.back(), key = emit.toInt(program.indexType, emit.add(key0, row));
    Values scores = hasScoreMap ? loadScores(address) : loadRow(address), outOfRange(vectors);
    SmallVector<Values> dotScores;
    for (const FlashDot &dot : dots)
      if (hasScoreMap && usesDots)
        dotScores.push_back(loadRow(emit.at(region(dot.scores), compute, emit.mul(row, shape.panelWidth()))));
    if (hasScoreMap)
      for (int64_t vector = 0; vector < vectors; ++vector) {
        score[vector].bindKey(key);
        Values given;
        for (const Values &ofDot : dotScores)
          given.push_back(ofDot[vector]);
        for (const FlashTable *table : scoreTables)
          given.push_back(loadTable(*table, keys, emit.add(keys.begin, row), vector));
        MapResult mapped = score[vector].expand(scores[vector], given);
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
        visible.push_back(loadVisible(emit.add(keys.begin, row), vector));
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
      next.push_back(softmax.maximum(scores[vector], state[vector]));
    next.push_back(emit.atBytes(address, rowBytes()));
    return next;
  });
  result.pop_back();
  return result;
}

//===------------------------------------------------------------------------------------------------------------------===//
// Online softmax
//===------------------------------------------------------------------------------------------------------------------===//

Emitter::Values FlashKernel::emitSoftmax(Pass pass, const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count,
                                         ValueRange blockMax) {
  Values newMax, newReference, reference, rescale;
  for (auto [ofBlock, oldMax, old] : llvm::zip(blockMax, loadRow(panel.maxima), loadRow(panel.references))) {
    Value max = scoresAreRaw ? emit.mulF(ofBlock, emit.splat(scoreFactor, shape.lanes)) : ofBlock;
    newMax.push_back(softmax.maximum(max, oldMax));
    newReference.push_back(softmax.raised(old, newMax.back(), shape.referenceSlack));
    reference.push_back(softmax.reference(newReference.back()));
    rescale.push_back(softmax.exponential(old, reference.back()));
  }
  storeRow(newMax, panel.maxima);
  storeRow(newReference, panel.references);

  Values sums = emitExponentials(pass, block, panel, keys, count, reference), newSums;
  for (auto [sum, old, factor] : llvm::zip(sums, loadRow(panel.sums), rescale))
    newSums.push_back(emit.fma(old, factor, sum));
  storeRow(newSums, panel.sums);
  return rescale;
}

/// p over `reference`, before prob_mod.
Value FlashKernel::probability(Value score, Value reference) const {
  Value exponent =
      scoresAreRaw ? emit.fma(score, emit.splat(scoreFactor, shape.lanes), emit.negF(reference)) : softmax.exponent(score, reference);
  bool becomesBf16 = shape.takesWords() && !program.prob;
  return becomesBf16 ? emitExp2ForBf16(builder, emit.loc, exponent) : emitExp2OfSoftmax(builder, emit.loc, exponent);
}

void FlashKernel::storeProbabilities(ArrayRef<Value> probabilities, Value address) const {
  size_t vectors = shape.panelVectors;
  if (!shape.takesWords()) {
    for (size_t first = 0; first < probabilities.size(); first += vectors)
      storeRow(probabilities.slice(first, vectors), emit.atBytes(address, first / vectors * rowBytes()));
    return;
  }
  for (size_t first = 0; first < probabilities.size(); first += 2 * vectors) {
    Values words;
    for (size_t vector = 0; vector < vectors; ++vector)
      words.push_back(roundToWords(probabilities[first + vector], probabilities[first + vectors + vector]));
    storeRow(words, emit.atBytes(address, first / (2 * vectors) * rowBytes()));
  }
}

void FlashKernel::emitNormalised(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count) {
  Values reference;
  for (Value max : loadRow(panel.references))
    reference.push_back(softmax.reference(max));
  emitExponentials(Pass::Output, block, panel, keys, count, reference);
}

Emitter::Values FlashKernel::emitExponentials(Pass pass, const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys,
                                              Value count, ArrayRef<Value> reference) {
  int64_t vectors = shape.panelVectors, rows = shape.softmaxRows;
  bool mapsProb = program.prob && pass != Pass::State;
  Values queries, normalisers = pass == Pass::Output ? loadRow(panel.sums) : Values();
  Value firstKey, lastKey;
  if (mapsProb) {
    queries = queriesOf(panel);
    for (auto [expander, query] : llvm::zip(prob, queries))
      expander.bindQuery(query);
    firstKey = emit.add(block.begin, keys.begin);
    lastKey = emit.sub(emit.add(firstKey, count), 1);
  }
  // Rows are taken `rows` at a time; those that pad the last group count for nothing. Words of P take the place of scores that were read.
  if (shape.unit == Bf16Unit::Tile) // padScores
    count = emit.alignedTo(count, kTileKeys);
  Value scores = region(layout.scores), end = emit.at(scores, compute, emit.mul(count, shape.panelWidth()));
  for (int64_t row = 0; row < rows - 1; ++row)
    storeRow(Values(vectors, splatF(-INFINITY)), emit.atBytes(end, row * rowBytes()));
  Values initial(vectors, splatF(0.0));
  initial.push_back(scores);
  initial.push_back(scores);
  int64_t storedRows = rows / shape.stepElems();
  Values sums = emit.loop(emit.index(0), count, emit.index(rows), initial, [&](Value firstRow, ValueRange state) {
    Values next(state), probabilities;
    Value target = next.pop_back_val(), source = next.pop_back_val();
    for (int64_t row = 0; row < rows; ++row) {
      Values rowScores = loadRow(emit.atBytes(source, row * rowBytes())), ofRow;
      for (auto [score, max] : llvm::zip(rowScores, reference))
        ofRow.push_back(probability(score, max));
      for (int64_t vector = 0; vector < vectors; ++vector)
        next[vector] = emit.addF(next[vector], ofRow[vector]);
      for (auto [p, normaliser] : llvm::zip(ofRow, normalisers))
        p = emit.mulF(p, normaliser);
      if (mapsProb)
        applyProb(ofRow, rowScores, queries, emit.minS(emit.add(firstKey, emit.add(firstRow, row)), lastKey));
      probabilities.append(ofRow);
    }
    if (pass != Pass::State)
      storeProbabilities(probabilities, target);
    next.push_back(emit.atBytes(source, rows * rowBytes()));
    next.push_back(emit.atBytes(target, storedRows * rowBytes()));
    return next;
  });
  sums.truncate(vectors);
  return sums;
}

/// prob_mod on one row of the panel. Where the score is -inf, 0 whatever it says (A13).
void FlashKernel::applyProb(MutableArrayRef<Value> probabilities, ArrayRef<Value> scores, ArrayRef<Value> queries, Value key) {
  Value b = emit.toInt(program.indexType, tile.b), h = emit.toInt(program.indexType, tile.h), kv = emit.toInt(program.indexType, key);
  for (int64_t vector = 0; vector < shape.panelVectors; ++vector) {
    Value visible = emit.cmp(Emitter::CmpF::UNE, scores[vector], splatF(-INFINITY));
    prob[vector].bindKey(kv);
    MapResult mapped = prob[vector].expand(probabilities[vector]);
    emitReport(builder, emit.loc, *abi, mapped.outOfRange, visible, b, h, queries[vector], kv, shape.lanes);
    probabilities[vector] = emit.select(visible, prob[vector].splat(mapped.value), splatF(0.0));
  }
}

void FlashKernel::emitFinish(const FlashPanel &panel) {
  Value sink = emitSink(builder, emit.loc, program, *abi, tile.b, tile.h);
  if (sink)
    sink = emit.splat(sink, shape.lanes);
  Values maxima, references, lse, normalisers;
  for (auto [max, reference, sum] : llvm::zip(loadRow(panel.maxima), loadRow(panel.references), loadRow(panel.sums))) {
    maxima.push_back(softmax.finishedMax(max, sum));
    references.push_back(softmax.finishedMax(reference, sum));
    SoftmaxEnd end = softmax.finish(*abi, references.back(), sum, sink);
    lse.push_back(end.lse);
    normalisers.push_back(end.factor(builder, emit.loc));
  }
  storeRow(maxima, panel.maxima);
  storeRow(references, panel.references);
  storeRow(lse, panel.lse);
  storeRow(normalisers, panel.sums);
}

} // namespace attnjit::tile
