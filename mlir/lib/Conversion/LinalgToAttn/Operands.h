// Tensors of any rank and order as the operands of attn.attention, which are [batch, head, row, column].
#pragma once

#include "Elements.h"

#include "mlir/IR/Builders.h"

namespace attnjit::attn {

/// How a tensor becomes an operand.
struct OperandPlan {
  mlir::Value tensor;
  /// Of each dimension of the tensor.
  enum Role { IsBatch, IsHead, IsBoth, IsUnit, IsRow, IsColumn };
  llvm::SmallVector<Role, 4> roles;
  int64_t group = 1;       ///< query heads that share a head of the tensor
  int64_t joinedHeads = 0; ///< heads in a dimension that IsBoth

  bool has(Role role) const { return llvm::is_contained(roles, role); }
  bool hasHeads() const { return has(IsHead) || has(IsBoth); }
  bool hasBatch() const { return has(IsBatch) || has(IsBoth); }
};

/// Fails if the place is no row and column of a head of a batch.
std::optional<OperandPlan> planOperand(const Elements &elements, const Place &place, Dim row, Dim column);
/// Reshapes and transposes as planned; missing batches and heads get size 1.
mlir::Value buildOperand(mlir::OpBuilder &builder, mlir::Location loc, const OperandPlan &plan);
/// The way back: `value` is [batch, head, row, column]; the result has a dimension for each role, in this order.
mlir::Value buildResult(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value value, llvm::ArrayRef<OperandPlan::Role> roles);

} // namespace attnjit::attn
