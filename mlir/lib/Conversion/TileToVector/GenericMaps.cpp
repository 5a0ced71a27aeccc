// score_mod, mask_mod and prob_mod over the buffers of the generic lowering.
#include "GenericLowering.h"

#include <cmath>

using namespace mlir;

namespace attnjit::tile {

using CmpI = Emitter::CmpI;

template <typename MapOrMask>
void GenericLowering::forEachMapped(MapOrMask op, const TileBuffer &buffer, MapExpander &map,
                                    llvm::function_ref<void(const ElementPosition &)> body) {
  Value q0 = scalars.lookup(op.getQ0()), kv0 = scalars.lookup(op.getKv0());
  Type indexVector = emit.vec(lanes, program.indexType);
  map.bindHeads(scalars.lookup(op.getB()), scalars.lookup(op.getH()));
  Value last = emit.splat(emit.toInt(program.indexType, emit.sub(emit.add(kv0, buffer.validCols), 1)), lanes);
  forEachColumnVector(buffer, [&](Value c) {
    Value unclamped = emit.add(emit.splat(emit.toInt(program.indexType, emit.add(kv0, c)), lanes), emit.iota(indexVector));
    Value isInside = emit.cmp(CmpI::sle, unclamped, last), kv = emit.minS(unclamped, last);
    map.bindKey(kv);
    forEachRow(buffer, [&](Value r) {
      Value q = emit.toInt(program.indexType, emit.add(q0, r));
      map.bindQuery(q);
      body({r, c, q, kv, isInside});
    });
  });
}

void GenericLowering::lower(MapOp op) {
  TileBuffer in = buffers.lookup(op.getInput()), out = reuseOrAllocate(op.getInput());
  MapExpander score(builder, loc, program, op.getBody(), abi, lanes);
  forEachMapped(op, out, score, [&](const ElementPosition &position) {
    MapResult result = score.expand(loadVector(in, position.r, position.c));
    reportScore(op, result.outOfRange, position);
    storeVector(out, position.r, position.c, score.splat(result.value));
  });
  buffers[op.getResult()] = out;
}

/// An index that a score_mod takes out of range is an error only where the mask is true (A10), so that the mask is asked there, in the rare
/// case.
void GenericLowering::reportScore(MapOp op, Value outOfRange, const ElementPosition &position) {
  if (!outOfRange)
    return;
  Value flags = emit.bitAnd(emit.splat(outOfRange, lanes), position.isInside);
  emit.ifThen(emit.any(flags), [&] {
    Value b = scalars.lookup(op.getB()), h = scalars.lookup(op.getH()), visible;
    auto maskOp = op.getResult().hasOneUse() ? dyn_cast<MaskOp>(*op.getResult().user_begin()) : MaskOp();
    if (maskOp) {
      MapExpander mask(builder, loc, program, maskOp.getBody(), abi, lanes);
      mask.bindHeads(b, h);
      mask.bindKey(position.kv);
      mask.bindQuery(position.q);
      Value isFull = emit.logicalNot(scalars.lookup(maskOp.getPartial()));
      visible = emit.bitOr(mask.splat(mask.expand(nullptr).value), emit.splat(isFull, lanes));
    }
    emitReport(builder, loc, abi, flags, visible, b, h, position.q, position.kv, lanes);
  });
}

void GenericLowering::lower(MaskOp op) {
  TileBuffer in = buffers.lookup(op.getInput()), out = reuseOrAllocate(op.getInput());
  Value minusInf = emit.constFloat(vectorType, -HUGE_VAL);
  copyIfDistinct(in, out);
  emit.ifThen(scalars.lookup(op.getPartial()), [&] {
    MapExpander mask(builder, loc, program, op.getBody(), abi, lanes);
    forEachMapped(op, out, mask, [&](const ElementPosition &position) {
      MapResult result = mask.expand(nullptr);
      emitReport(builder, loc, abi, result.outOfRange, position.isInside, scalars.lookup(op.getB()), scalars.lookup(op.getH()), position.q,
                 position.kv, lanes);
      Value score = loadVector(out, position.r, position.c);
      storeVector(out, position.r, position.c, emit.select(mask.splat(result.value), score, minusInf));
    });
  });
  buffers[op.getResult()] = out;
}

/// A pair whose score is -inf contributes exactly 0 and reports nothing, whatever prob_mod makes of its p (A13).
void GenericLowering::lower(ProbOp op) {
  TileBuffer in = buffers.lookup(op.getProbs()), scores = buffers.lookup(op.getScores()), out = reuseOrAllocate(op.getProbs());
  Value minusInf = emit.constFloat(vectorType, -HUGE_VAL), zero = emit.constFloat(vectorType, 0.0);
  MapExpander prob(builder, loc, program, op.getBody(), abi, lanes);
  forEachMapped(op, out, prob, [&](const ElementPosition &position) {
    Value visible = emit.cmp(Emitter::CmpF::UNE, loadVector(scores, position.r, position.c), minusInf);
    MapResult result = prob.expand(loadVector(in, position.r, position.c));
    emitReport(builder, loc, abi, result.outOfRange, emit.bitAnd(visible, position.isInside), scalars.lookup(op.getB()),
               scalars.lookup(op.getH()), position.q, position.kv, lanes);
    storeVector(out, position.r, position.c, emit.select(visible, prob.splat(result.value), zero));
  });
  buffers[op.getResult()] = out;
}

} // namespace attnjit::tile
