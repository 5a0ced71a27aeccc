// attn.attention: what a compiler writes in a module of its own.
#include "AttentionLike.h"

#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace attnjit::attn {

static ShapedType shaped(Value value) { return cast<ShapedType>(value.getType()); }

Type AttentionOp::getComputeType() { return computeTypeOf(shaped(getQ()).getElementType()); }

SmallVector<Type> AttentionOp::getRegionArgumentTypes(Region &region) { return regionArgumentTypes(*this, region); }

void AttentionOp::getAsmBlockArgumentNames(Region &region, OpAsmSetValueNameFn setName) { nameRegionArguments(*this, region, setName); }

void AttentionOp::getEffects(SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>> &effects) {
  for (OpOperand &operand : (*this)->getOpOperands()) {
    if (!isa<MemRefType>(operand.get().getType()))
      continue;
    if (isDpsInit(&operand))
      effects.emplace_back(MemoryEffects::Write::get(), &operand, SideEffects::DefaultResource::get());
    else
      effects.emplace_back(MemoryEffects::Read::get(), &operand, SideEffects::DefaultResource::get());
  }
}

/// A batch of size 1 is that of every query.
static LogicalResult verifyBatch(AttentionOp op, StringRef what, ShapedType type) {
  return type.getDimSize(0) == 1 ? success() : verifyDim(op, what, type, 0, "q", shaped(op.getQ()), 0);
}

LogicalResult AttentionOp::verify() {
  if (getOuts().empty() || getOuts().size() > 3)
    return emitOpError() << "outs: expected out, then lse and max if they are wanted, got " << getOuts().size() << " operands";
  auto unlike = llvm::find_if(getOperandTypes(), [&](Type type) { return isa<ShapedType>(type) && isa<TensorType>(type) != hasTensors(); });
  if (unlike != getOperandTypes().end())
    return emitOpError() << "expected " << (hasTensors() ? "tensors" : "memrefs") << " only, as q is one, got " << *unlike;
  OperandTypes types{shaped(getQ()), shaped(getK()), shaped(getV()), shaped(getOut())};
  for (auto [index, value] : llvm::enumerate(getOuts().drop_front())) {
    StringRef name = index == 0 ? "lse" : "max";
    if (shaped(value).getRank() != 3)
      return emitOpError() << "operand " << name << ": expected rank 3, got " << value.getType();
    types.rows.push_back({name, shaped(value)});
  }
  if (shaped(getOut()).getRank() != 4 || !isMemoryFloat(shaped(getOut()).getElementType()))
    return emitOpError() << "operand out: expected rank 4 and elements of f64, f32, bf16, f16, f8E4M3FN or f8E5M2, got "
                         << getOut().getType();
  if (getSinks())
    types.sinks = shaped(getSinks());
  if (getScale())
    types.scale = getScale().getType();
  if (failed(verifyOperands(*this, types)) || failed(verifyCaptured(*this)) || failed(verifyBatch(*this, "k", types.k)) ||
      failed(verifyBatch(*this, "v", types.v)))
    return failure();
  int64_t heads = types.q.getDimSize(1), kvHeads = types.k.getDimSize(1);
  if (!ShapedType::isDynamic(heads) && !ShapedType::isDynamic(kvHeads) && (kvHeads == 0 ? heads != 0 : heads % kvHeads != 0))
    return emitOpError() << "operand q, dimension 1: expected a multiple of the " << kvHeads << " heads of k, got " << heads;
  if (!getOffsets().empty() && getOffsets().size() != 3)
    return emitOpError() << "offsets: expected none or three (batch, head, query), got " << getOffsets().size();
  return success();
}

AttentionOp cloneWith(OpBuilder &builder, AttentionOp op, TypeRange results, ValueRange operands) {
  OperationState state(op.getLoc(), op->getName());
  state.addOperands(operands);
  state.addTypes(results);
  state.addAttributes(llvm::to_vector(op->getDiscardableAttrs()));
  state.getOrAddProperties<AttentionOp::Properties>() = op.getProperties();
  for (Region &region : op->getRegions()) {
    IRMapping mapping;
    region.cloneInto(state.addRegion(), mapping);
  }
  return cast<AttentionOp>(builder.create(state));
}

LogicalResult AttentionOp::verifyRegions() { return verifyFormulas(*this); }

LogicalResult AttentionOp::canonicalize(AttentionOp op, PatternRewriter &rewriter) { return canonicalizeFormulas(op, rewriter); }

} // namespace attnjit::attn
