// Further products of queries and keys in the flash schedule (ExtraDots.h). The query side of a tile is packed like Q^T, once; the key side
// of a block like K, once per tile and block; then the micro kernel of S^T takes both. Where score_mod is score + dot, the dot goes on in
// the accumulators of the scores and there is no map at all: decoupled rotary embeddings cost what a longer head would.
#include "FlashSchedule.h"

#include <numbers>

using namespace mlir;

namespace attnjit::tile {

FlashDot::FlashDot(OpBuilder &builder, const TileProgram &program, AbiAccess &abi, const FlashShape &shape, ExtraDot extra)
    : PackedDot(builder, program, abi, shape.lanes, std::move(extra)) {
  for (int64_t vector = 0; vector < shape.panelVectors; ++vector)
    query.emplace_back(builder, program.kernel->getLoc(), program, *dot.querySide, abi, shape.lanes);
}

/// Answers whether all dots fit the workspace.
Value FlashKernel::bindDotLengths() {
  Value fits = emit.truth(true);
  for (FlashDot &dot : dots) {
    fits = emit.bitAnd(fits, dot.bindLength(program, *abi));
    dot.depth = emit.alignedTo(dot.length, shape.headUnroll);
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
      row.push_back(softmax.scoresAreLog2 ? emit.mulF(value, splatF(std::numbers::log2e)) : value);
    }
    storeRow(row, rowAt(r));
  });
  emit.loop(dot.length, dot.depth, emit.index(1), [&](Value r) { storeRow(Values(shape.panelVectors, splatF(0.0)), rowAt(r)); });
}

} // namespace attnjit::tile
