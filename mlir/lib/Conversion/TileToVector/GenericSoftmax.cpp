// The softmax state of the generic lowering: one maximum, sum and row of the accumulator per query.
#include "GenericLowering.h"

#include "attnjit-mlir/Conversion/TileToVector/SoftmaxEnd.h"
#include "attnjit-mlir/Conversion/TileToVector/VectorMath.h"

#include <cmath>

using namespace mlir;

namespace attnjit::tile {

using CmpI = Emitter::CmpI;
using CmpF = Emitter::CmpF;

void GenericLowering::lower(SoftmaxInitOp op) {
  TileBuffer max = allocate(op.getMax().getType()), sum = allocate(op.getSum().getType());
  forEachRow(max, [&](Value r) {
    storeRow(max, r, emit.constFloat(compute, -HUGE_VAL));
    storeRow(sum, r, emit.constFloat(compute, 0.0));
  });
  buffers[op.getMax()] = max;
  buffers[op.getSum()] = sum;
}

/// Folds a vector by halves: a fixed order, and few steps.
Value GenericLowering::reduce(Value vector, llvm::function_ref<Value(Value, Value)> combine) {
  for (int64_t width = lanes / 2; width >= 1; width /= 2) {
    auto low = llvm::to_vector(llvm::seq<int64_t>(0, width)), high = llvm::to_vector(llvm::seq<int64_t>(width, 2 * width));
    Value lower = emit.make<vector::ShuffleOp>(vector, vector, low), upper = emit.make<vector::ShuffleOp>(vector, vector, high);
    vector = combine(lower, upper);
  }
  return emit.lane(vector, 0);
}

void GenericLowering::lower(SoftmaxStepOp op) {
  TileBuffer oldMax = buffers.lookup(op.getMax()), oldSum = buffers.lookup(op.getSum()), scores = buffers.lookup(op.getScores());
  TileBuffer newMax = allocate(op.getNewMax().getType()), newSum = allocate(op.getNewSum().getType()),
             alpha = allocate(op.getAlpha().getType());
  TileBuffer probs = reuseOrAllocate(op.getScores());
  probs.validCols = scalars.lookup(op.getCols());

  Value minusInf = emit.constFloat(compute, -HUGE_VAL), minusInfs = emit.constFloat(vectorType, -HUGE_VAL);
  Type positions = emit.vec(lanes, emit.i64());
  Value count = emit.splat(probs.validCols, lanes);
  Value step = emit.index(lanes), zero = emit.index(0);
  /// Scores of a vector of columns; those past the block count for nothing.
  auto scoresAt = [&](Value r, Value c) {
    Value isInside = emit.cmp(CmpI::slt, emit.add(emit.splat(c, lanes), emit.iota(positions)), count);
    return emit.select(isInside, loadVector(scores, r, c), minusInfs);
  };
  forEachRow(probs, [&](Value r) {
    Value maxima = emit.loop(zero, probs.validCols, step, {minusInfs},
                             [&](Value c, ValueRange carried) -> Emitter::Values { return {maximum(carried[0], scoresAt(r, c))}; })[0];
    Value before = loadRow(oldMax, r);
    Value max = maximum(before, reduce(maxima, [&](Value x, Value y) { return maximum(x, y); }));
    // Where no score is above -inf yet, the reference is 0: exp(-inf - 0) is 0, exp(-inf + inf) would be NaN.
    Value reference = emit.select(emit.cmp(CmpF::OEQ, max, minusInf), emit.constFloat(compute, 0.0), max);
    Value references = emit.splat(reference, lanes);
    Value sums =
        emit.loop(zero, probs.validCols, step, {emit.constFloat(vectorType, 0.0)}, [&](Value c, ValueRange carried) -> Emitter::Values {
          Value p = emitExp(builder, loc, emit.subF(scoresAt(r, c), references));
          storeVector(probs, r, c, p);
          return {emit.addF(carried[0], p)};
        })[0];
    Value factor = emitExp(builder, loc, emit.subF(before, reference));
    Value sum = reduce(sums, [&](Value x, Value y) { return emit.addF(x, y); });
    storeRow(newMax, r, max);
    storeRow(newSum, r, emit.fma(factor, loadRow(oldSum, r), sum));
    storeRow(alpha, r, factor);
  });
  buffers[op.getNewMax()] = newMax;
  buffers[op.getNewSum()] = newSum;
  buffers[op.getProbs()] = probs;
  buffers[op.getAlpha()] = alpha;
}

void GenericLowering::lower(SoftmaxMergeOp op) {
  TileBuffer maxA = buffers.lookup(op.getMaxA()), sumA = buffers.lookup(op.getSumA());
  TileBuffer maxB = buffers.lookup(op.getMaxB()), sumB = buffers.lookup(op.getSumB());
  TileBuffer max = allocate(op.getMax().getType()), sum = allocate(op.getSum().getType());
  TileBuffer accA, accB, acc;
  if (op.getAcc()) {
    accA = buffers.lookup(op.getAccA());
    accB = buffers.lookup(op.getAccB());
    acc = buffers[op.getAcc()] = reuseOrAllocate(op.getAccA());
  }
  forEachRow(max, [&](Value r) {
    Value a = loadRow(maxA, r), b = loadRow(maxB, r), larger = maximum(a, b);
    // As in a step: while no score is above -inf the reference is 0, and both weights are exp(-inf) = 0.
    Value isEmpty = emit.cmp(CmpF::OEQ, larger, emit.constFloat(compute, -HUGE_VAL));
    Value reference = emit.select(isEmpty, emit.constFloat(compute, 0.0), larger);
    Value weightA = emitExp(builder, loc, emit.subF(a, reference)), weightB = emitExp(builder, loc, emit.subF(b, reference));
    storeRow(max, r, larger);
    storeRow(sum, r, emit.fma(weightB, loadRow(sumB, r), emit.mulF(weightA, loadRow(sumA, r))));
    if (!op.getAcc())
      return;
    Value factorA = emit.splat(weightA, lanes), factorB = emit.splat(weightB, lanes);
    forEachColumnVector(acc, [&](Value c) {
      storeVector(acc, r, c, emit.fma(factorB, loadVector(accB, r, c), emit.mulF(factorA, loadVector(accA, r, c))));
    });
  });
  buffers[op.getMax()] = max;
  buffers[op.getSum()] = sum;
}

/// The sink of a row; null if there is none.
Value GenericLowering::sinkOf(Value sink, Value r) { return sink ? loadRow(buffers.lookup(sink), r) : Value(); }

void GenericLowering::lower(SoftmaxFinishOp op) {
  TileBuffer max = buffers.lookup(op.getMax()), sum = buffers.lookup(op.getSum()), acc = buffers.lookup(op.getAcc());
  TileBuffer out = reuseOrAllocate(op.getAcc()), lse = allocate(op.getLse().getType());
  forEachRow(out, [&](Value r) {
    SoftmaxEnd end = emitSoftmaxEnd(builder, loc, abi, loadRow(max, r), loadRow(sum, r), sinkOf(op.getSink(), r),
                                    [&](Value x) { return emitExp(builder, loc, x); });
    Value isEmpty = emit.splat(end.isEmpty, lanes), divisor = emit.splat(end.total, lanes);
    Value weight = end.weight ? emit.splat(end.weight, lanes) : Value();
    forEachColumnVector(out, [&](Value c) {
      Value sum = loadVector(acc, r, c), quotient = emit.divF(weight ? emit.mulF(sum, weight) : sum, divisor);
      storeVector(out, r, c, emit.select(isEmpty, emit.constFloat(vectorType, 0.0), quotient));
    });
    storeRow(lse, r, end.lse);
  });
  buffers[op.getOut()] = out;
  buffers[op.getLse()] = lse;
  buffers[op.getRowMax()] = max;
}

void GenericLowering::lower(SoftmaxNormOp op) {
  TileBuffer max = buffers.lookup(op.getMax()), sum = buffers.lookup(op.getSum());
  TileBuffer lse = allocate(op.getLse().getType()), factor = allocate(op.getFactor().getType());
  forEachRow(lse, [&](Value r) {
    SoftmaxEnd end = emitSoftmaxEnd(builder, loc, abi, loadRow(max, r), loadRow(sum, r), sinkOf(op.getSink(), r),
                                    [&](Value x) { return emitExp(builder, loc, x); });
    storeRow(lse, r, end.lse);
    storeRow(factor, r, end.factor(builder, loc));
  });
  buffers[op.getLse()] = lse;
  buffers[op.getFactor()] = factor;
}

void GenericLowering::lower(SoftmaxProbsOp op) {
  TileBuffer scores = buffers.lookup(op.getScores()), max = buffers.lookup(op.getMax()), factor = buffers.lookup(op.getFactor());
  TileBuffer probs = reuseOrAllocate(op.getScores());
  probs.validCols = scalars.lookup(op.getCols());
  Value minusInf = emit.constFloat(compute, -HUGE_VAL), minusInfs = emit.constFloat(vectorType, -HUGE_VAL);
  Type positions = emit.vec(lanes, emit.i64());
  Value count = emit.splat(probs.validCols, lanes);
  forEachRow(probs, [&](Value r) {
    // As in a step: the reference of a row without a score above -inf is 0.
    Value maximum = loadRow(max, r);
    Value reference = emit.select(emit.cmp(CmpF::OEQ, maximum, minusInf), emit.constFloat(compute, 0.0), maximum);
    Value references = emit.splat(reference, lanes), factors = emit.splat(loadRow(factor, r), lanes);
    forEachColumnVector(probs, [&](Value c) {
      Value isInside = emit.cmp(CmpI::slt, emit.add(emit.splat(c, lanes), emit.iota(positions)), count);
      Value score = emit.select(isInside, loadVector(scores, r, c), minusInfs);
      storeVector(probs, r, c, emit.mulF(emitExp(builder, loc, emit.subF(score, references)), factors));
    });
  });
  buffers[op.getProbs()] = probs;
}

} // namespace attnjit::tile
