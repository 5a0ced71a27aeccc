// What score_mod adds to scores in the flash schedule (ScoreTables.h). Where it is score + values that come from tables, or others that are
// as cheap, they are added to each register tile of scores and there is no map at all.
#include "FlashSchedule.h"
#include "ScoreTables.h"

using namespace mlir;

namespace attnjit::tile {

void FlashKernel::findTablesAndBias() {
  // Where indices are checked, a value that no visible pair has must not be reported (A10).
  if (!program.score || program.checkedIndices)
    return;
  const DiagonalValues diagonals(*program.score);
  SmallVector<attn::LoadOp> keyLoads = findKeyLoads(*program.score);
  llvm::erase_if(keyLoads, [&](attn::LoadOp load) { // transposed like scores
    return load.getResult().getType().getIntOrFloatBitWidth() != compute.getIntOrFloatBitWidth();
  });
  auto isKeyLoad = [&](Value value) { return llvm::is_contained(keyLoads, value.getDefiningOp<attn::LoadOp>()); };
  auto isLoaded = [&](Value value) { return diagonals.contains(value) || isKeyLoad(value); };
  auto wantsTable = [&](Value source) {
    return tables.size() < kMostTables && llvm::none_of(tables, [&](const FlashTable &table) { return table.source == source; });
  };

  // A term that is of a diagonal is loaded however cheap it is: there is a table, or else a pass over the scores.
  for (const BiasTerm &term : dots.empty() ? readBias(*program.score, isLoaded) : SmallVector<BiasTerm>()) {
    if (diagonals.contains(term.value) && wantsTable(term.value))
      addTable(FlashTable::Kind::Diagonals, term.value);
    FlashBiasTerm &made = bias.emplace_back();
    made.isNegated = term.isNegated;
    for (int64_t vector = 0; vector < shape.panelVectors; ++vector)
      made.values.emplace_back(builder, emit.loc, program, *program.score, *abi, shape.lanes, term.value);
  }
  for (Operation *op : diagonals.worthTables())
    if (wantsTable(op->getResult(0)))
      addTable(FlashTable::Kind::Diagonals, op->getResult(0));
  for (attn::LoadOp load : keyLoads)
    if (wantsTable(load.getResult()))
      addTable(FlashTable::Kind::Pairs, load.getResult());
  for (FlashBiasTerm &term : bias)
    for (MapExpander &value : term.values)
      term.tables = giveTables(value);
}

/// Has `expander` take from tables what it needs of them; returns which.
SmallVector<const FlashTable *> FlashKernel::giveTables(MapExpander &expander) const {
  SmallVector<const FlashTable *> given;
  for (const FlashTable &table : tables)
    if (expander.needs(table.source.getDefiningOp())) {
      expander.takeGiven(table.source.getDefiningOp());
      given.push_back(&table);
    }
  return given;
}

void FlashKernel::bindBiasHeads(Value b, Value h) {
  for (FlashTable &table : tables)
    table.value.bindHeads(b, h);
  for (FlashBiasTerm &term : bias)
    for (MapExpander &value : term.values)
      value.bindHeads(b, h);
}

void FlashKernel::bindBiasQueries(const FlashPanel &panel) {
  if (bias.empty())
    return;
  Values queries = queriesOf(panel);
  for (FlashBiasTerm &term : bias)
    for (auto [value, query] : llvm::zip(term.values, queries))
      value.bindQuery(query);
}

/// What is added to the scores of `key`, which is relative to the block.
Emitter::Values FlashKernel::emitBias(const FlashBlock &block, const FlashKeys &keys, Value key) {
  Values sums(shape.panelVectors);
  Value position = emit.toInt(program.indexType, emit.add(block.begin, key));
  for (int64_t vector = 0; vector < shape.panelVectors; ++vector)
    for (FlashBiasTerm &term : bias) {
      MapExpander &expander = term.values[vector];
      expander.bindKey(position);
      Values given;
      for (const FlashTable *table : term.tables)
        given.push_back(loadTable(*table, keys, key, vector));
      Value value = expander.splat(expander.expand(nullptr, given).value);
      Value &sum = sums[vector];
      if (term.isNegated)
        sum = sum ? emit.subF(sum, value) : emit.negF(value);
      else
        sum = sum ? emit.addF(sum, value) : value;
    }
  return sums;
}

} // namespace attnjit::tile
