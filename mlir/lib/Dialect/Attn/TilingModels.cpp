#include "AttentionLike.h"

#include "attnjit-mlir/Dialect/Attn/InterfaceModels.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Interfaces/LoopLikeInterface.h"
#include "mlir/Interfaces/TilingInterface.h"

using namespace mlir;

namespace attnjit::attn {
namespace {

/// Of a tile of one dimension.
struct Span {
  OpFoldResult offset, size;
};

OpFoldResult sizeOf(OpBuilder &builder, Location loc, Value value, int64_t dim) {
  return isa<TensorType>(value.getType()) ? tensor::getMixedSize(builder, loc, value, dim) : memref::getMixedSize(builder, loc, value, dim);
}

/// Whether a size is all of dimension `dim` of `value`, which is dynamic.
bool isSizeOf(OpFoldResult size, Value value, int64_t dim) {
  auto made = dyn_cast<Value>(size);
  if (!made)
    return false;
  auto isDim = [&](auto op) { return op && op.getSource() == value && op.getConstantIndex() == dim; };
  return isDim(made.getDefiningOp<tensor::DimOp>()) || isDim(made.getDefiningOp<memref::DimOp>());
}

/// Whether an offset is a multiple of `factor` in every iteration of the loop it comes from.
bool isMultipleOf(OpFoldResult offset, int64_t factor) {
  if (factor == 1)
    return true;
  if (std::optional<int64_t> constant = getConstantIntValue(offset))
    return *constant % factor == 0;
  auto value = dyn_cast<Value>(offset);
  if (auto apply = value.getDefiningOp<affine::AffineApplyOp>())
    return apply.getAffineMap().getResult(0).isMultipleOf(factor);
  auto argument = dyn_cast<BlockArgument>(value);
  auto loop = argument ? dyn_cast<LoopLikeOpInterface>(argument.getOwner()->getParentOp()) : LoopLikeOpInterface();
  std::optional<SmallVector<Value>> variables = loop ? loop.getLoopInductionVars() : std::nullopt;
  std::optional<SmallVector<OpFoldResult>> from = loop ? loop.getLoopLowerBounds() : std::nullopt,
                                           steps = loop ? loop.getLoopSteps() : std::nullopt;
  if (!variables || !from || !steps)
    return false;
  auto *found = llvm::find(*variables, value);
  if (found == variables->end())
    return false;
  auto divides = [&](OpFoldResult bound) {
    std::optional<int64_t> constant = getConstantIntValue(bound);
    return constant && *constant % factor == 0;
  };
  const size_t at = found - variables->begin();
  return divides((*from)[at]) && divides((*steps)[at]);
}

/// The kv heads of a tile of query heads; failure if their groups are not whole numbers for all tiles alike.
FailureOr<Span> kvHeadsOf(AttentionOp op, OpBuilder &builder, Span heads) {
  Location loc = op.getLoc();
  OpFoldResult allHeads = sizeOf(builder, loc, op.getQ(), 1), allKvHeads = sizeOf(builder, loc, op.getK(), 1);
  const std::optional<int64_t> total = getConstantIntValue(allHeads), kvTotal = getConstantIntValue(allKvHeads);
  const std::optional<int64_t> count = getConstantIntValue(heads.size);
  if (isZeroInteger(heads.offset) && ((total && total == count) || isSizeOf(heads.size, op.getQ(), 1)))
    return Span{heads.offset, allKvHeads};

  AffineExpr head, q, kv;
  bindDims(builder.getContext(), head);
  bindSymbols(builder.getContext(), q, kv);
  auto group = [&](OpFoldResult size) {
    auto first = affine::makeComposedFoldedAffineApply(builder, loc, head.floorDiv(q.floorDiv(kv)), {heads.offset, allHeads, allKvHeads});
    return Span{first, size};
  };
  if (count == 1)
    return group(builder.getIndexAttr(1));
  if (!total || !kvTotal || !count || *kvTotal == 0 || *count == 0)
    return failure();
  const int64_t perKvHead = *total / *kvTotal;
  if (perKvHead % *count == 0 && isMultipleOf(heads.offset, *count))
    return group(builder.getIndexAttr(1));
  if (*count % perKvHead == 0 && isMultipleOf(heads.offset, perKvHead))
    return group(builder.getIndexAttr(*count / perKvHead));
  return failure();
}

Operation *slice(OpBuilder &builder, Location loc, Value value, ArrayRef<Span> spans) {
  SmallVector<OpFoldResult> offsets, sizes, strides(spans.size(), builder.getIndexAttr(1));
  for (const Span &span : spans) {
    offsets.push_back(span.offset);
    sizes.push_back(span.size);
  }
  if (isa<TensorType>(value.getType()))
    return tensor::ExtractSliceOp::create(builder, loc, value, offsets, sizes, strides);
  return memref::SubViewOp::create(builder, loc, value, offsets, sizes, strides);
}

struct AttentionModel : TilingInterface::ExternalModel<AttentionModel, AttentionOp> {
  SmallVector<utils::IteratorType> getLoopIteratorTypes(Operation *) const {
    return SmallVector<utils::IteratorType>(3, utils::IteratorType::parallel);
  }

  SmallVector<Range> getIterationDomain(Operation *op, OpBuilder &builder) const {
    SmallVector<Range> domain;
    for (int64_t dim = 0; dim < 3; ++dim)
      domain.push_back(
          {builder.getIndexAttr(0), sizeOf(builder, op->getLoc(), cast<AttentionOp>(op).getQ(), dim), builder.getIndexAttr(1)});
    return domain;
  }

  FailureOr<TilingResult> getTiledImplementation(Operation *untyped, OpBuilder &builder, ArrayRef<OpFoldResult> offsets,
                                                 ArrayRef<OpFoldResult> sizes) const {
    auto op = cast<AttentionOp>(untyped);
    Location loc = op.getLoc();
    const Span batch{offsets[0], sizes[0]}, heads{offsets[1], sizes[1]}, queries{offsets[2], sizes[2]};
    FailureOr<Span> kvHeads = kvHeadsOf(op, builder, heads);
    if (failed(kvHeads))
      return op.emitOpError() << "cannot be tiled so: the heads of a tile have to be one, a multiple of Hq / Hkv, or a divisor of it";
    auto all = [&](Value value, int64_t dim) { return Span{builder.getIndexAttr(0), sizeOf(builder, loc, value, dim)}; };
    auto shared = [&](Value value) { return cast<ShapedType>(value.getType()).getDimSize(0) == 1 ? all(value, 0) : batch; };

    SmallVector<Value> operands(op->getOperands());
    TilingResult result;
    auto take = [&](OpOperand &operand, ArrayRef<Span> spans) {
      Operation *part = slice(builder, loc, operand.get(), spans);
      operands[operand.getOperandNumber()] = part->getResult(0);
      result.generatedSlices.push_back(part);
    };
    take(op.getQMutable(), {batch, heads, queries, all(op.getQ(), 3)});
    take(op.getKMutable(), {shared(op.getK()), *kvHeads, all(op.getK(), 2), all(op.getK(), 3)});
    take(op.getVMutable(), {shared(op.getV()), *kvHeads, all(op.getV(), 2), all(op.getV(), 3)});
    SmallVector<Type> types;
    for (OpOperand &out : op.getOutsMutable()) {
      SmallVector<Span> spans{batch, heads, queries};
      if (out.getOperandNumber() == op.getOuts().getBeginOperandIndex())
        spans.push_back(all(out.get(), 3));
      take(out, spans);
      if (op.hasTensors())
        types.push_back(operands[out.getOperandNumber()].getType());
    }
    if (op.getSinks())
      take(*op.getSinksMutable().begin(), {heads});

    const SmallVector<Value> place = placeOf(op, builder, offsets);
    AttentionOp tile = cloneWith(builder, op, types, operands);
    tile.getOffsetsMutable().assign(place);
    result.tiledOps.push_back(tile);
    result.tiledValues.assign(tile->result_begin(), tile->result_end());
    return result;
  }

  LogicalResult getResultTilePosition(Operation *untyped, OpBuilder &builder, unsigned number, ArrayRef<OpFoldResult> offsets,
                                      ArrayRef<OpFoldResult> sizes, SmallVector<OpFoldResult> &resultOffsets,
                                      SmallVector<OpFoldResult> &resultSizes) const {
    resultOffsets.assign(offsets.begin(), offsets.end());
    resultSizes.assign(sizes.begin(), sizes.end());
    if (number == 0) {
      resultOffsets.push_back(builder.getIndexAttr(0));
      resultSizes.push_back(sizeOf(builder, untyped->getLoc(), cast<AttentionOp>(untyped).getOut(), 3));
    }
    return success();
  }

  LogicalResult getIterationDomainTileFromResultTile(Operation *untyped, OpBuilder &, unsigned number, ArrayRef<OpFoldResult> offsets,
                                                     ArrayRef<OpFoldResult> sizes, SmallVectorImpl<OpFoldResult> &domainOffsets,
                                                     SmallVectorImpl<OpFoldResult> &domainSizes) const {
    // A row of the output is computed whole.
    if (number == 0) {
      auto out = cast<ShapedType>(cast<AttentionOp>(untyped).getOut().getType());
      if (!isZeroInteger(offsets[3]) || getConstantIntValue(sizes[3]) != out.getDimSize(3))
        return failure();
    }
    domainOffsets.assign(offsets.begin(), offsets.begin() + 3);
    domainSizes.assign(sizes.begin(), sizes.begin() + 3);
    return success();
  }

  FailureOr<TilingResult> generateResultTileValue(Operation *op, OpBuilder &builder, unsigned number, ArrayRef<OpFoldResult> offsets,
                                                  ArrayRef<OpFoldResult> sizes) const {
    SmallVector<OpFoldResult> domainOffsets, domainSizes;
    if (failed(getIterationDomainTileFromResultTile(op, builder, number, offsets, sizes, domainOffsets, domainSizes)))
      return failure();
    FailureOr<TilingResult> tile = getTiledImplementation(op, builder, domainOffsets, domainSizes);
    if (failed(tile))
      return failure();
    tile->tiledValues = {tile->tiledValues[number]};
    return tile;
  }

private:
  /// What the regions of a tile call its first position.
  static SmallVector<Value> placeOf(AttentionOp op, OpBuilder &builder, ArrayRef<OpFoldResult> offsets) {
    AffineExpr whole, part;
    bindDims(builder.getContext(), whole, part);
    SmallVector<Value> place;
    for (auto [index, offset] : llvm::enumerate(offsets)) {
      OpFoldResult sum = offset;
      if (!op.getOffsets().empty())
        sum = affine::makeComposedFoldedAffineApply(builder, op.getLoc(), whole + part, {op.getOffsets()[index], offset});
      place.push_back(getValueOrCreateConstantIndexOp(builder, op.getLoc(), sum));
    }
    return place;
  }
};

} // namespace

void registerTilingInterfaceExternalModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, AttnDialect *) {
    AttentionOp::attachInterface<AttentionModel>(*context);
    context->loadDialect<affine::AffineDialect, memref::MemRefDialect, tensor::TensorDialect>();
  });
}

} // namespace attnjit::attn
