#include "OnlineSoftmax.h"

#include "attnjit-mlir/Conversion/TileToVector/VectorMath.h"

#include <cmath>
#include <numbers>

using namespace mlir;

namespace attnjit::tile {

Value OnlineSoftmax::maximum(Value candidate, Value current) const {
  return emit.select(emit.cmp(Emitter::CmpF::OGT, candidate, current), candidate, current);
}

Value OnlineSoftmax::reference(Value max) const {
  Value isEmpty = emit.cmp(Emitter::CmpF::OEQ, max, emit.constFloat(max.getType(), -INFINITY));
  return emit.select(isEmpty, emit.constFloat(max.getType(), 0.0), max);
}

Value OnlineSoftmax::raised(Value old, Value max, double slack) const {
  if (slack == 0)
    return max;
  Value isFar = emit.cmp(Emitter::CmpF::OGT, max, emit.addF(old, emit.constFloat(old.getType(), slack)));
  return emit.select(isFar, max, old);
}

Value OnlineSoftmax::exponent(Value score, Value reference) const {
  Value difference = emit.subF(score, reference);
  return scoresAreLog2 ? difference : times(difference, std::numbers::log2e);
}

Value OnlineSoftmax::exponential(Value score, Value reference) const {
  return emitExp2OfSoftmax(emit.builder, emit.loc, exponent(score, reference));
}

/// The running maximum passes over NaN; the sum does not. (Its NaN may also come from inf - inf, but then the maximum is known.)
Value OnlineSoftmax::finishedMax(Value max, Value sum) const {
  Value isFinite = emit.cmp(Emitter::CmpF::OLT, max, emit.constFloat(max.getType(), INFINITY));
  Value sawNan = emit.bitAnd(emit.cmp(Emitter::CmpF::UNO, sum, sum), isFinite);
  return emit.select(sawNan, sum, max);
}

Value OnlineSoftmax::natural(Value max) const { return scoresAreLog2 ? times(max, std::numbers::ln2) : max; }

SoftmaxEnd OnlineSoftmax::finish(AbiAccess &abi, Value finishedMax, Value sum, Value sink) const {
  return emitSoftmaxEnd(emit.builder, emit.loc, abi, natural(finishedMax), sum, sink,
                        [&](Value x) { return emitExp2OfSoftmax(emit.builder, emit.loc, times(x, std::numbers::log2e)); });
}

} // namespace attnjit::tile
