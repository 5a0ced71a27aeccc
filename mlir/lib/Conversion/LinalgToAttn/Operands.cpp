#include "Operands.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace attnjit::attn {

using Role = OperandPlan::Role;

//===- Reading ----------------------------------------------------------------------------------------------------------------===//

/// `h` or `h floordiv G`: G.
static std::optional<int64_t> headGroup(const Elements &elements, AffineExpr expr) {
  if (expr == elements.dim(Dim::Head))
    return 1;
  auto division = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!division || expr.getKind() != AffineExprKind::FloorDiv || division.getLHS() != elements.dim(Dim::Head))
    return std::nullopt;
  auto divisor = dyn_cast<AffineConstantExpr>(division.getRHS());
  return divisor && divisor.getValue() > 0 ? std::optional(divisor.getValue()) : std::nullopt;
}

/// `b H + head`: H, and the group of the head.
static std::optional<std::pair<int64_t, int64_t>> joined(const Elements &elements, AffineExpr expr) {
  auto sum = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!sum || expr.getKind() != AffineExprKind::Add)
    return std::nullopt;
  for (auto [batch, head] : {std::pair(sum.getLHS(), sum.getRHS()), std::pair(sum.getRHS(), sum.getLHS())}) {
    std::optional<int64_t> group = headGroup(elements, head);
    auto product = dyn_cast<AffineBinaryOpExpr>(batch);
    if (!group || !product || batch.getKind() != AffineExprKind::Mul || product.getLHS() != elements.dim(Dim::Batch))
      continue;
    if (auto heads = dyn_cast<AffineConstantExpr>(product.getRHS()))
      return std::pair(heads.getValue(), *group);
  }
  return std::nullopt;
}

/// Sizes of the head dimension fit the number of query heads.
static bool headsFit(const Elements &elements, const OperandPlan &plan) {
  const int64_t heads = elements.sizeOf(Dim::Head);
  if (!plan.hasHeads())
    return true;
  if (plan.group == 1 && plan.has(OperandPlan::IsHead))
    return true;
  if (ShapedType::isDynamic(heads) || heads % plan.group != 0)
    return false;
  if (plan.has(OperandPlan::IsBoth))
    return plan.joinedHeads == heads / plan.group;
  const auto *at = llvm::find(plan.roles, OperandPlan::IsHead);
  return cast<RankedTensorType>(plan.tensor.getType()).getDimSize(at - plan.roles.begin()) == heads / plan.group;
}

std::optional<OperandPlan> planOperand(const Elements &elements, const Place &place, Dim row, Dim column) {
  OperandPlan plan{place.tensor, {}};
  auto type = cast<RankedTensorType>(place.tensor.getType());
  for (auto [index, expr] : llvm::enumerate(place.at)) {
    Role role;
    if (expr == elements.dim(row)) {
      role = OperandPlan::IsRow;
    } else if (expr == elements.dim(column)) {
      role = OperandPlan::IsColumn;
    } else if (expr == elements.dim(Dim::Batch)) {
      role = OperandPlan::IsBatch;
    } else if (std::optional<int64_t> group = headGroup(elements, expr)) {
      role = OperandPlan::IsHead;
      plan.group = *group;
    } else if (std::optional<std::pair<int64_t, int64_t>> both = joined(elements, expr)) {
      role = OperandPlan::IsBoth;
      std::tie(plan.joinedHeads, plan.group) = *both;
    } else if (isa<AffineConstantExpr>(expr) && type.getDimSize(index) == 1) {
      role = OperandPlan::IsUnit;
    } else {
      return std::nullopt;
    }
    if (role != OperandPlan::IsUnit && plan.has(role))
      return std::nullopt;
    plan.roles.push_back(role);
  }
  const bool isWhole = plan.has(OperandPlan::IsRow) && plan.has(OperandPlan::IsColumn);
  const bool isTwice = plan.has(OperandPlan::IsBoth) && (plan.has(OperandPlan::IsBatch) || plan.has(OperandPlan::IsHead));
  return isWhole && !isTwice && headsFit(elements, plan) ? std::optional(plan) : std::nullopt;
}

//===- Writing ----------------------------------------------------------------------------------------------------------------===//

/// Gives each dimension the sizes listed for it, whose product it is; at most one of a list may be dynamic.
static Value expand(OpBuilder &builder, Location loc, Value value, ArrayRef<SmallVector<OpFoldResult, 2>> sizes) {
  SmallVector<ReassociationIndices> groups;
  SmallVector<OpFoldResult> shape;
  for (const auto &group : sizes) {
    ReassociationIndices &indices = groups.emplace_back();
    for (OpFoldResult size : group) {
      indices.push_back(shape.size());
      shape.push_back(size);
    }
  }
  SmallVector<int64_t> types = std::get<0>(decomposeMixedValues(shape));
  auto type = RankedTensorType::get(types, cast<RankedTensorType>(value.getType()).getElementType());
  return tensor::ExpandShapeOp::create(builder, loc, type, value, groups, shape);
}

static Value transpose(OpBuilder &builder, Location loc, Value value, ArrayRef<int64_t> order) {
  if (llvm::equal(order, llvm::seq<int64_t>(order.size())))
    return value;
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(builder, loc, value), moved;
  for (int64_t dim : order)
    moved.push_back(sizes[dim]);
  Value empty = tensor::EmptyOp::create(builder, loc, moved, cast<RankedTensorType>(value.getType()).getElementType());
  return linalg::TransposeOp::create(builder, loc, value, empty, order).getResult()[0];
}

/// Splits a dimension of batches and heads.
static Value splitJoined(OpBuilder &builder, Location loc, const OperandPlan &plan, SmallVector<Role, 4> &roles) {
  auto *at = llvm::find(roles, OperandPlan::IsBoth);
  if (at == roles.end())
    return plan.tensor;
  SmallVector<SmallVector<OpFoldResult, 2>> sizes;
  for (auto [index, size] : llvm::enumerate(tensor::getMixedSizes(builder, loc, plan.tensor))) {
    if (roles[index] != OperandPlan::IsBoth) {
      sizes.push_back({size});
      continue;
    }
    AffineExpr whole = builder.getAffineSymbolExpr(0);
    OpFoldResult batch = affine::makeComposedFoldedAffineApply(builder, loc, whole.floorDiv(plan.joinedHeads), {size});
    sizes.push_back({batch, builder.getIndexAttr(plan.joinedHeads)});
  }
  *at = OperandPlan::IsBatch;
  roles.insert(at + 1, OperandPlan::IsHead);
  return expand(builder, loc, plan.tensor, sizes);
}

Value buildOperand(OpBuilder &builder, Location loc, const OperandPlan &plan) {
  SmallVector<Role, 4> roles = plan.roles;
  Value value = splitJoined(builder, loc, plan, roles);
  // Dimensions of size 1 stand in for a missing batch or head.
  const bool unitsAreHeads = llvm::is_contained(roles, OperandPlan::IsBatch) && !llvm::is_contained(roles, OperandPlan::IsHead);
  SmallVector<int64_t> batch, head, row, column;
  for (auto [index, role] : llvm::enumerate(roles)) {
    const bool isHead = role == OperandPlan::IsHead || (role == OperandPlan::IsUnit && unitsAreHeads);
    (role == OperandPlan::IsRow ? row : role == OperandPlan::IsColumn ? column : isHead ? head : batch).push_back(index);
  }
  SmallVector<int64_t> order;
  for (const auto &group : {batch, head, row, column})
    llvm::append_range(order, group);
  value = transpose(builder, loc, value, order);
  if (batch.size() > 1 || head.size() > 1) {
    SmallVector<ReassociationIndices> groups;
    int64_t next = 0;
    for (const auto &group : {batch, head, row, column})
      if (!group.empty()) {
        ReassociationIndices &indices = groups.emplace_back();
        for (size_t i = 0; i < group.size(); ++i)
          indices.push_back(next++);
      }
    value = tensor::CollapseShapeOp::create(builder, loc, value, groups);
  }
  if (!batch.empty() && !head.empty())
    return value;
  SmallVector<SmallVector<OpFoldResult, 2>> sizes;
  for (OpFoldResult size : tensor::getMixedSizes(builder, loc, value))
    sizes.push_back({size});
  OpFoldResult one = builder.getIndexAttr(1);
  if (head.empty())
    sizes.front().insert(batch.empty() ? sizes.front().begin() : sizes.front().end(), one);
  if (batch.empty())
    sizes.front().insert(sizes.front().begin(), one);
  return expand(builder, loc, value, sizes);
}

Value buildResult(OpBuilder &builder, Location loc, Value value, ArrayRef<Role> roles) {
  const bool hasBatch = llvm::is_contained(roles, OperandPlan::IsBatch), hasHead = llvm::is_contained(roles, OperandPlan::IsHead);
  const bool hasBoth = llvm::is_contained(roles, OperandPlan::IsBoth);
  SmallVector<int64_t> order;
  SmallVector<ReassociationIndices> groups;
  for (Role role : roles) {
    ReassociationIndices &group = groups.emplace_back();
    auto take = [&](int64_t dim) {
      group.push_back(order.size());
      order.push_back(dim);
    };
    // What no role asks for has size 1 and joins the first dimension.
    const bool takesRest = groups.size() == 1 && !hasBoth;
    if (role == OperandPlan::IsBatch || role == OperandPlan::IsBoth || (takesRest && !hasBatch))
      take(0);
    if (role == OperandPlan::IsHead || role == OperandPlan::IsBoth || (takesRest && !hasHead))
      take(1);
    if (role == OperandPlan::IsRow)
      take(2);
    if (role == OperandPlan::IsColumn)
      take(3);
  }
  value = transpose(builder, loc, value, order);
  return groups.size() == 4 ? value : Value(tensor::CollapseShapeOp::create(builder, loc, value, groups));
}

} // namespace attnjit::attn
