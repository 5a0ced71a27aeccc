// What score_mod adds to scores in the flash schedule (DiagonalValues.h). Values that move with q_idx - kv_idx alone are computed per panel
// and block, one per diagonal, into a table that is read a vector at a time. Where score_mod is score + such values, or others that are as
// cheap, they are added to each register tile of scores and there is no map at all.
#include "DiagonalValues.h"
#include "FlashSchedule.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace attnjit::tile {

FlashDiagonal::FlashDiagonal(OpBuilder &builder, const TileProgram &program, AbiAccess &abi, const FlashShape &shape, Value source)
    : source(source), value(builder, program.kernel->getLoc(), program, *program.score, abi, shape.lanes, source) {}

void FlashKernel::findBias() {
  // Where indices are checked a diagonal of which every pair is masked must not be reported (A10).
  if (!program.score || program.checkedIndices)
    return;
  auto addTable = [&](Value source) {
    int64_t bytes = llvm::divideCeil(source.getType().getIntOrFloatBitWidth(), 8) * (program.tileCols + shape.panelWidth() + shape.lanes);
    FlashDiagonal &made = diagonals.emplace_back(builder, program, *abi, shape, source);
    made.table = std::exchange(layout.bytes, layout.bytes + llvm::alignTo(bytes, kCacheLineBytes));
    return &made;
  };
  const DiagonalValues values(*program.score);
  for (const BiasTerm &term : dots.empty() ? readBias(*program.score, values) : SmallVector<BiasTerm>()) {
    FlashBiasTerm &made = bias.emplace_back();
    made.isNegated = term.isNegated;
    if (values.contains(term.value))
      made.diagonal = addTable(term.value);
    else
      for (int64_t vector = 0; vector < shape.panelVectors; ++vector)
        made.values.emplace_back(builder, emit.loc, program, *program.score, *abi, shape.lanes, term.value);
  }
  if (bias.empty())
    for (Operation *op : values.worthTables(kMostDiagonals))
      addTable(op->getResult(0));
}

void FlashKernel::bindBiasHeads(Value b, Value h) {
  for (FlashDiagonal &diagonal : diagonals)
    diagonal.value.bindHeads(b, h);
  for (FlashBiasTerm &term : bias)
    for (MapExpander &value : term.values)
      value.bindHeads(b, h);
}

void FlashKernel::bindBiasQueries(const FlashPanel &panel) {
  if (llvm::all_of(bias, [](const FlashBiasTerm &term) { return term.values.empty(); }))
    return;
  Values queries = queriesOf(panel);
  for (FlashBiasTerm &term : bias)
    for (auto [value, query] : llvm::zip(term.values, queries))
      value.bindQuery(query);
}

/// Element i is of the diagonal i places above that of the panel's first query and the last of `count` keys.
void FlashKernel::fillDiagonals(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count) {
  if (diagonals.empty())
    return;
  Type index = program.indexType, indexVector = emit.vec(shape.lanes, index);
  Value firstKey = emit.add(block.begin, keys.begin), lastKey = emit.sub(emit.add(firstKey, count), 1);
  auto splatIndex = [&](Value value) { return emit.splat(emit.toInt(index, value), shape.lanes); };
  Value first = splatIndex(emit.sub(panel.firstQuery, lastKey)), last = splatIndex(emit.sub(panel.lastQuery, firstKey));
  Value zero = emit.constInt(indexVector, 0), end = emit.add(count, shape.panelWidth() - 1);
  emit.loop(emit.index(0), end, emit.index(shape.lanes), [&](Value i) {
    // Any pair of the diagonal will do; the first one is a pair of the problem. Diagonals past the last one repeat it: their lanes are not
    // written.
    Value distance = emit.minS(emit.add(emit.add(first, splatIndex(i)), emit.iota(indexVector)), last);
    Value query = emit.maxS(distance, zero), key = emit.sub(query, distance);
    for (FlashDiagonal &diagonal : diagonals) {
      diagonal.value.bindQuery(query);
      diagonal.value.bindKey(key);
      Value value = diagonal.value.splat(diagonal.value.expand(nullptr).value);
      emit.store(value, emit.at(region(diagonal.table), elementTypeOf(value.getType()), i));
    }
  });
}

/// The value for a vector of the panel's queries and `key`, which is relative to the block.
Value FlashKernel::loadDiagonal(const FlashDiagonal &diagonal, const FlashKeys &keys, Value key, int64_t vector) const {
  Type type = diagonal.source.getType();
  Value address = emit.at(region(diagonal.table), type, emit.sub(emit.sub(keys.end, 1), key));
  return emit.load(emit.vec(shape.lanes, type), emit.atBytes(address, vector * shape.lanes * type.getIntOrFloatBitWidth() / 8));
}

Emitter::Values FlashKernel::emitBias(const FlashBlock &block, const FlashKeys &keys, Value key) {
  Values sums(shape.panelVectors);
  Value position = emit.toInt(program.indexType, emit.add(block.begin, key));
  for (int64_t vector = 0; vector < shape.panelVectors; ++vector)
    for (FlashBiasTerm &term : bias) {
      Value value;
      if (term.diagonal) {
        value = loadDiagonal(*term.diagonal, keys, key, vector);
      } else {
        MapExpander &expander = term.values[vector];
        expander.bindKey(position);
        value = expander.splat(expander.expand(nullptr).value);
      }
      Value &sum = sums[vector];
      if (term.isNegated)
        sum = sum ? emit.subF(sum, value) : emit.negF(value);
      else
        sum = sum ? emit.addF(sum, value) : value;
    }
  return sums;
}

} // namespace attnjit::tile
