// Further products of queries and keys in the flash schedule (ExtraDots.h). The query side of a tile is packed like Q^T, once; the key side
// of a block like K, once per tile and block; then the micro kernel of S^T takes both. Where score_mod is score + dot, the dot goes on in
// the accumulators of the scores and there is no map at all: decoupled rotary embeddings cost what a longer head would.
#include "FlashSchedule.h"

#include "llvm/Support/MathExtras.h"

#include <numbers>

using namespace mlir;

namespace attnjit::tile {

FlashDot::FlashDot(OpBuilder &builder, const TileProgram &program, AbiAccess &abi, const FlashShape &shape, ExtraDot extra)
    : dot(std::move(extra)), key(builder, program.kernel->getLoc(), program, *dot.keySide, abi, shape.lanes) {
  for (int64_t vector = 0; vector < shape.panelVectors; ++vector)
    query.emplace_back(builder, program.kernel->getLoc(), program, *dot.querySide, abi, shape.lanes);
}

/// How far the dots reach at this call; answers whether all fit the workspace.
Value FlashKernel::bindDotLengths() {
  auto alignedTo = [&](Value count, int64_t powerOfTwo) { return emit.bitAnd(emit.add(count, powerOfTwo - 1), emit.index(-powerOfTwo)); };
  Value fits = emit.truth(true);
  for (FlashDot &dot : dots) {
    MapExpander length(builder, emit.loc, program, *dot.dot.length, *abi, shape.lanes);
    length.bindHeads(emit.index(0), emit.index(0));
    dot.length = emit.maxS(emit.toInt(emit.i64(), length.expand(nullptr).value), emit.index(0));
    dot.depth = alignedTo(dot.length, shape.headUnroll);
    dot.stride = alignedTo(dot.length, shape.lanes);
    fits = emit.bitAnd(fits, emit.cmp(Emitter::CmpI::sle, dot.length, emit.index(kMostDotLength)));
  }
  return fits;
}

FlashProduct FlashKernel::productOf(const FlashDot &dot, const FlashPanel &panel) const {
  Value offset = emit.mul(emit.mul(panel.index, dot.depth), shape.panelWidth());
  return {region(dot.keys), dot.stride, emit.at(region(dot.queries), compute, offset), dot.depth, 0};
}

/// Row r holds f(q, r) of the panel's queries; rows that fill up the depth are 0.
void FlashKernel::packDotQueries(FlashDot &dot, const FlashPanel &panel) {
  Value target = productOf(dot, panel).queries, lastQuery = emit.splat(emit.toInt(program.indexType, panel.lastQuery), shape.lanes);
  Type indexVector = emit.vec(shape.lanes, program.indexType);
  for (int64_t vector = 0; vector < shape.panelVectors; ++vector) {
    Value first = emit.toInt(program.indexType, emit.add(panel.firstQuery, vector * shape.lanes));
    dot.query[vector].bindQuery(emit.minS(emit.add(emit.splat(first, shape.lanes), emit.iota(indexVector)), lastQuery));
  }
  auto rowAt = [&](Value r) { return emit.at(target, compute, emit.mul(r, shape.panelWidth())); };
  emit.loop(emit.index(0), dot.length, emit.index(1), [&](Value r) {
    Values row;
    for (MapExpander &side : dot.query) {
      side.bindKey(emit.toInt(program.indexType, r));
      Value value = side.splat(side.expand(nullptr).value);
      row.push_back(scoresAreLog2 ? emit.mulF(value, splatF(std::numbers::log2e)) : value);
    }
    storeRow(row, rowAt(r));
  });
  emit.loop(dot.length, dot.depth, emit.index(1), [&](Value r) { storeRow(Values(shape.panelVectors, splatF(0.0)), rowAt(r)); });
}

/// A row per key of the block, with g(kv, r) and then zeros up to whole vectors.
void FlashKernel::packDotKeys(FlashDot &dot, const FlashBlock &block) {
  Type indexVector = emit.vec(shape.lanes, program.indexType);
  Value length = emit.splat(emit.toInt(program.indexType, dot.length), shape.lanes);
  Value last = emit.sub(length, 1);
  emit.loop(emit.index(0), block.count, emit.index(1), [&](Value row) {
    dot.key.bindKey(emit.toInt(program.indexType, emit.add(block.begin, row)));
    Value target = emit.at(region(dot.keys), compute, emit.mul(row, dot.stride));
    emit.loop(emit.index(0), dot.stride, emit.index(shape.lanes), [&](Value r) {
      Value all = emit.add(emit.splat(emit.toInt(program.indexType, r), shape.lanes), emit.iota(indexVector));
      dot.key.bindQuery(emit.minS(all, last));
      Value value = dot.key.splat(dot.key.expand(nullptr).value);
      emit.store(emit.select(emit.cmp(Emitter::CmpI::slt, all, length), value, splatF(0.0)), emit.at(target, compute, r));
    });
  });
}

} // namespace attnjit::tile
