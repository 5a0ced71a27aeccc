// Which keys of a partial block a panel visits. The closed form of the mask, if it has one, says so granule by granule; what it leaves open
// is looked at, every pair once: the bits are kept for when the scores are there, and keys at either end that no query of the panel sees
// cost no product. A whole panel may see nothing: most blocks at the edges of documents, or of a neighbourhood in two dimensions, are
// empty.
//
//     visible [blockKeys][panelVectors]      one bit per query
#include "FlashSchedule.h"

using namespace mlir;

namespace attnjit::tile {

FlashKeys FlashKernel::narrowKeys(const FlashBlock &block, const FlashPanel &panel) {
  FlashKeys all{emit.index(0), block.count, block.partial};
  if (!program.mask)
    return all;
  auto ifPartial = [&](const FlashKeys &keys, llvm::function_ref<Values()> narrow) {
    Values narrowed =
        emit.ifElse({emit.i64(), emit.i64(), emit.i1()}, keys.partial, narrow, [&] { return Values{keys.begin, keys.end, keys.partial}; });
    return FlashKeys{narrowed[0], narrowed[1], narrowed[2]};
  };
  FlashKeys open = program.closedForm ? ifPartial(all, [&] { return askClosedForm(block, panel); }) : all;
  return ifPartial(open, [&] { return lookAtMask(block, panel, open); });
}

/// First key, end, partial, in granules. What lies between two visible granules is visited; begin >= end means that nothing is.
Emitter::Values FlashKernel::askClosedForm(const FlashBlock &block, const FlashPanel &panel) {
  Value no = emit.truth(false);
  Values found = emit.loop(emit.index(0), block.count, emit.index(shape.keyGranule), {block.count, emit.index(0), no, no},
                           [&](Value granule, ValueRange carried) -> Values {
                             Value begin = carried[0], end = carried[1], partial = carried[2], sawGap = carried[3];
                             Value granuleEnd = emit.minS(emit.add(granule, shape.keyGranule), block.count);
                             auto [mayBeTrue, mayBeFalse] =
                                 emitClassify(builder, emit.loc, program, *abi, tile.b, tile.h, panel.firstQuery, panel.lastQuery,
                                              emit.add(block.begin, granule), emit.sub(emit.add(block.begin, granuleEnd), 1));
                             // A gap counts only if a visible granule stands on either side of it.
                             Value isOpen = emit.cmp(Emitter::CmpI::ne, end, emit.index(0));
                             Value needsMask = emit.bitOr(mayBeFalse, emit.bitAnd(isOpen, sawGap));
                             return {emit.select(mayBeTrue, emit.minS(begin, granule), begin), emit.select(mayBeTrue, granuleEnd, end),
                                     emit.bitOr(partial, emit.bitAnd(mayBeTrue, needsMask)), emit.logicalNot(mayBeTrue)};
                           });
  return {found[0], found[1], found[2]};
}

/// The queries of a vector are the bits of one integer, of at least a byte.
Type FlashKernel::visibleType() const { return builder.getIntegerType(std::max<int64_t>(shape.lanes, 8)); }
int64_t FlashKernel::visibleRowBytes() const { return shape.panelVectors * visibleType().getIntOrFloatBitWidth() / 8; }
Value FlashKernel::visibleAt(Value key, int64_t vector) const {
  return emit.at(emit.atBytes(region(visibleRows), vector * (visibleRowBytes() / shape.panelVectors)), emit.i8(),
                 emit.mul(key, visibleRowBytes()));
}

/// Of one vector of queries, which its expander is bound to; captured indices that leave their tensors are reported.
Value FlashKernel::evaluateMask(int64_t vector, Value queries, Value key) {
  mask[vector].bindKey(key);
  MapResult mapped = mask[vector].expand(nullptr);
  Value b = emit.toInt(program.indexType, tile.b), h = emit.toInt(program.indexType, tile.h);
  emitReport(builder, emit.loc, *abi, mapped.outOfRange, nullptr, b, h, queries, key, shape.lanes);
  return mask[vector].splat(mapped.value);
}

/// Of `keys`: first key, end, partial.
Emitter::Values FlashKernel::lookAtMask(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys) {
  Type bitsType = builder.getIntegerType(shape.lanes);
  Values queries = queriesOf(panel);
  for (auto [expander, query] : llvm::zip(mask, queries))
    expander.bindQuery(query);
  Values initial{keys.end, keys.begin, emit.truth(true)};
  Values found = emit.loop(keys.begin, keys.end, emit.index(1), initial, [&](Value row, ValueRange carried) -> Values {
    Value key = emit.toInt(program.indexType, emit.add(block.begin, row)), isSeen = emit.truth(false), isFull = carried[2];
    for (int64_t vector = 0; vector < shape.panelVectors; ++vector) {
      Value bits = emit.make<LLVM::BitcastOp>(bitsType, evaluateMask(vector, queries[vector], key));
      emit.store(bitsType == visibleType() ? bits : emit.make<arith::ExtUIOp>(visibleType(), bits), visibleAt(row, vector));
      isSeen = emit.bitOr(isSeen, emit.cmp(Emitter::CmpI::ne, bits, emit.constInt(bitsType, 0)));
      isFull = emit.bitAnd(isFull, emit.cmp(Emitter::CmpI::eq, bits, emit.constInt(bitsType, -1)));
    }
    return {emit.select(isSeen, emit.minS(carried[0], row), carried[0]), emit.select(isSeen, emit.add(row, 1), carried[1]), isFull};
  });
  Value begin = emit.bitAnd(found[0], emit.index(-shape.keyGranule)), end = emit.minS(emit.alignedTo(found[1], shape.keyGranule), keys.end);
  return {begin, end, emit.logicalNot(found[2])};
}

/// What lookAtMask found of one key, row `key` of the block.
Value FlashKernel::loadVisible(Value key, int64_t vector) const {
  Value bits = emit.toInt(builder.getIntegerType(shape.lanes), emit.load(visibleType(), visibleAt(key, vector)));
  return emit.make<LLVM::BitcastOp>(emit.vec(shape.lanes, emit.i1()), bits);
}

} // namespace attnjit::tile
