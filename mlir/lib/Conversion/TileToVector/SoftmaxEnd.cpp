#include "attnjit-mlir/Conversion/TileToVector/SoftmaxEnd.h"

#include "Elements.h"
#include "attnjit-mlir/Conversion/TileToVector/VectorMath.h"

#include <cmath>

using namespace mlir;

namespace attnjit::tile {

Value SoftmaxEnd::factor(OpBuilder &builder, Location loc) const {
  Emitter emit(builder, loc);
  Value quotient = emit.divF(weight ? weight : emit.constFloat(total.getType(), 1.0), total);
  return emit.select(isEmpty, emit.constFloat(total.getType(), 0.0), quotient);
}

SoftmaxEnd emitSoftmaxEnd(OpBuilder &builder, Location loc, AbiAccess &abi, Value max, Value sum, Value sink,
                          llvm::function_ref<Value(Value)> exp) {
  Emitter emit(builder, loc);
  Value minusInf = emit.constFloat(max.getType(), -HUGE_VAL);
  SoftmaxEnd end;
  end.isEmpty = emit.cmp(Emitter::CmpF::OEQ, max, minusInf);
  if (!sink) {
    end.total = sum;
    end.lse = emit.select(end.isEmpty, minusInf, emit.addF(max, emitLog(builder, loc, abi, sum)));
    return end;
  }
  // The larger of the two is the reference point; a NaN on either side ends up in the total. Where both are -inf it is 0, as in a step.
  Value reference = emit.select(emit.cmp(Emitter::CmpF::OGT, sink, max), sink, max);
  reference = emit.select(emit.cmp(Emitter::CmpF::OEQ, reference, minusInf), emit.constFloat(max.getType(), 0.0), reference);
  end.weight = exp(emit.subF(max, reference));
  end.total = emit.fma(sum, end.weight, exp(emit.subF(sink, reference)));
  end.lse = emit.select(end.isEmpty, sink, emit.addF(reference, emitLog(builder, loc, abi, end.total)));
  return end;
}

Value emitSink(OpBuilder &builder, Location loc, const TileProgram &program, AbiAccess &abi, Value b, Value h) {
  if (!program.sinkType)
    return nullptr;
  Emitter emit(builder, loc);
  OperandAccess sinks = abi.operand(Operand::Sinks);
  Value offset = emit.add(emit.mul(b, sinks.strides[0]), emit.mul(h, sinks.strides[1]));
  Value address = emit.at(sinks.pointer, rawType(emit, program.sinkType), offset);
  return loadFloats(emit, address, program.sinkType, program.computeType, 1);
}

} // namespace attnjit::tile
