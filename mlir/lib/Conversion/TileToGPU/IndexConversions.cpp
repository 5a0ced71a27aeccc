#include "GpuKernelFunction.h"

#include "mlir/IR/Matchers.h"

using namespace mlir;

namespace attnjit::tile {

namespace {

/// An integer as base + constant.
struct IndexForm {
  Value base;
  int64_t offset;
};

/// Takes the constants out of sums and differences; new sums of bases are emitted as they are needed, alike for all elements, and merged
/// later.
IndexForm formOf(const Emitter &emit, Value index, unsigned depth = 0) {
  constexpr unsigned kMaxDepth = 6;
  IntegerAttr constant;
  Operation *op = index.getDefiningOp();
  if (depth == kMaxDepth || !op || !isa<arith::AddIOp, arith::SubIOp>(op))
    return {index, 0};
  bool isSum = isa<arith::AddIOp>(op);
  IndexForm left = formOf(emit, op->getOperand(0), depth + 1);
  if (matchPattern(op->getOperand(1), m_Constant(&constant)))
    return {left.base, left.offset + (isSum ? constant.getInt() : -constant.getInt())};
  IndexForm right = formOf(emit, op->getOperand(1), depth + 1);
  if (left.offset == 0 && right.offset == 0)
    return {index, 0};
  return {isSum ? emit.add(left.base, right.base) : emit.sub(left.base, right.base), left.offset + (isSum ? right.offset : -right.offset)};
}

} // namespace

void hoistIndexConversions(Operation *function) {
  constexpr int64_t kExactFloat = 1 << 24;
  SmallVector<arith::SIToFPOp> conversions;
  function->walk([&](arith::SIToFPOp op) {
    if (op.getType().isF32() && op.getIn().getType().isInteger(32))
      conversions.push_back(op);
  });
  for (arith::SIToFPOp op : conversions) {
    OpBuilder builder(op);
    Emitter emit(builder, op.getLoc());
    IndexForm form = formOf(emit, op.getIn());
    if (form.offset == 0 || std::abs(form.offset) > kExactFloat)
      continue;
    Value base = emit.make<arith::SIToFPOp>(op.getType(), form.base);
    op.replaceAllUsesWith(emit.addF(base, emit.constFloat(op.getType(), double(form.offset))));
    op.erase();
  }
}

} // namespace attnjit::tile
