// What attn.forward and attn.attention share: the rules of their operands and regions, and what canonicalization drops.
#pragma once

#include "attnjit-mlir/Dialect/Attn/Attn.h"

#include "mlir/IR/Matchers.h"
#include "llvm/ADT/BitVector.h"

namespace attnjit::attn {

/// A row of statistics: lse or max.
struct NamedType {
  llvm::StringRef name;
  mlir::ShapedType type;
};

/// Types of the operands of attention, tensors or memrefs.
struct OperandTypes {
  mlir::ShapedType q, k, v, out;
  llvm::SmallVector<NamedType, 2> rows{};
  mlir::ShapedType sinks{}; ///< null: there are none
  mlir::Type scale{};       ///< null: there is none
};

/// Shapes, layouts and element types, as the tables of Attn.td say.
mlir::LogicalResult verifyOperands(mlir::Operation *op, const OperandTypes &types);
/// The sizes `type[dim]` and `likeType[likeDim]` agree as far as both are known.
mlir::LogicalResult verifyDim(mlir::Operation *op, llvm::StringRef what, mlir::ShapedType type, unsigned dim, llvm::StringRef like,
                              mlir::ShapedType likeType, unsigned likeDim);

/// A copy on other operands, in number and segments like those of `op`, and with other results.
AttentionOp cloneWith(mlir::OpBuilder &builder, AttentionOp op, mlir::TypeRange results, mlir::ValueRange operands);

/// Types of captures, and the number of names.
template <typename OpT> mlir::LogicalResult verifyCaptured(OpT op) {
  for (auto [index, capture] : llvm::enumerate(op.getCaptures()))
    if (!isCaptured(capture.getType()))
      return op.emitOpError()
             << "capture " << index
             << ": expected rank 0 to 6 and elements of f64, f32, bf16, f16, f8E4M3FN, f8E5M2, i1, i8, ui8, i16, i32 or i64, got "
             << capture.getType();
  if (op.getNames() && op.getNames()->size() != op.getCaptures().size() + op.getScalars().size())
    return op.emitOpError() << "names: expected " << op.getCaptures().size() + op.getScalars().size() << " (captures, then scalars), got "
                            << op.getNames()->size();
  return mlir::success();
}

template <typename OpT> llvm::SmallVector<mlir::Type> regionArgumentTypes(OpT op, mlir::Region &region) {
  llvm::SmallVector<mlir::Type> types;
  if (op.getFixedArguments(region) == 5)
    types.push_back(op.getComputeType());
  types.append(4, op.getRegionIndexType());
  llvm::append_range(types, op.getCaptures().getTypes());
  for (mlir::Value scalar : op.getScalars())
    types.push_back(scalarRegionType(scalar.getType(), op.getComputeType(), op.getRegionIndexType()));
  return types;
}

template <typename OpT> void nameRegionArguments(OpT op, mlir::Region &region, mlir::OpAsmSetValueNameFn setName) {
  llvm::StringRef names[] = {&region == &op.getProb() ? "p" : "score", "b", "h", "q", "kv"};
  for (mlir::BlockArgument argument : region.getArguments()) {
    unsigned index = argument.getArgNumber() + (5 - op.getFixedArguments(region));
    setName(argument, index < 5 ? names[index] : "c");
  }
}

template <typename OpT> mlir::LogicalResult verifyFormulas(OpT op) {
  mlir::Type i1 = mlir::IntegerType::get(op.getContext(), 1), number = op.getComputeType();
  struct Named {
    llvm::StringRef name;
    mlir::Region &region;
    mlir::Type result;
  };
  for (const Named &row : {Named{"score", op.getScore(), number}, {"mask", op.getMask(), i1}, {"prob", op.getProb(), number}})
    if (!row.region.empty() && failed(verifyFormulaRegion(op, row.region, row.name, op.getRegionArgumentTypes(row.region), row.result,
                                                          YieldOp::getOperationName())))
      return mlir::failure();
  return mlir::success();
}

/// Removes captures and scalars which no region uses.
template <typename OpT> bool dropDeadArguments(OpT op, mlir::PatternRewriter &rewriter) {
  unsigned captures = op.getCaptures().size(), total = captures + op.getScalars().size();
  auto used = [&](unsigned index) {
    return llvm::any_of(op->getRegions(), [&](mlir::Region &region) {
      return !region.empty() && !region.getArgument(op.getFixedArguments(region) + index).use_empty();
    });
  };
  llvm::BitVector dead(total);
  for (unsigned index = 0; index < total; ++index)
    dead[index] = !used(index);
  if (dead.none())
    return false;
  rewriter.modifyOpInPlace(op, [&] {
    llvm::SmallVector<mlir::Attribute> names;
    for (unsigned index = 0; index < total; ++index)
      if (!dead[index] && op.getNames())
        names.push_back((*op.getNames())[index]);
    for (unsigned index = total; index-- > 0;)
      if (dead[index]) {
        for (mlir::Region &region : op->getRegions())
          if (!region.empty())
            region.front().eraseArgument(op.getFixedArguments(region) + index);
        if (index >= captures)
          op.getScalarsMutable().erase(index - captures);
        else
          op.getCapturesMutable().erase(index);
      }
    if (op.getNames())
      op.setNamesAttr(names.empty() ? mlir::ArrayAttr() : rewriter.getArrayAttr(names));
  });
  return true;
}

/// An identity score or prob and a mask that is always true are no regions at all; what no region uses is no operand.
template <typename OpT> mlir::LogicalResult canonicalizeFormulas(OpT op, mlir::PatternRewriter &rewriter) {
  auto yielded = [](mlir::Region &region) { return mlir::cast<YieldOp>(region.front().getTerminator()).getValue(); };
  auto drop = [&](mlir::Region &region) {
    rewriter.modifyOpInPlace(op, [&] { rewriter.eraseBlock(&region.front()); });
    return mlir::success();
  };
  for (mlir::Region *map : {&op.getScore(), &op.getProb()})
    if (!map->empty() && yielded(*map) == map->getArgument(0))
      return drop(*map);
  if (!op.getMask().empty() && matchPattern(yielded(op.getMask()), mlir::m_One()))
    return drop(op.getMask());
  return mlir::success(dropDeadArguments(op, rewriter));
}

} // namespace attnjit::attn
