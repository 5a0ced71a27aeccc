#include "Elements.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;

namespace attnjit::attn {

//===- Positions --------------------------------------------------------------------------------------------------------------===//

std::optional<std::pair<int64_t, int64_t>> Elements::rangeOf(AffineExpr expr) const {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return std::pair(constant.getValue(), constant.getValue());
  if (auto dim = dyn_cast<AffineDimExpr>(expr)) {
    const int64_t size = sizes[dim.getPosition()];
    if (ShapedType::isDynamic(size))
      return std::nullopt;
    return std::pair(int64_t(0), std::max<int64_t>(size - 1, 0));
  }
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return std::nullopt;
  auto a = rangeOf(binary.getLHS()), b = rangeOf(binary.getRHS());
  if (expr.getKind() == AffineExprKind::Mod && b && b->first > 0)
    return std::pair(int64_t(0), b->first - 1);
  if (!a || !b)
    return std::nullopt;
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return std::pair(a->first + b->first, a->second + b->second);
  case AffineExprKind::Mul:
    if (b->first != b->second || b->first < 0)
      return std::nullopt;
    return std::pair(a->first * b->first, a->second * b->first);
  case AffineExprKind::FloorDiv:
    if (b->first != b->second || b->first <= 0 || a->first < 0)
      return std::nullopt;
    return std::pair(a->first / b->first, a->second / b->first);
  default:
    return std::nullopt;
  }
}

static void collectTerms(AffineExpr expr, SmallVectorImpl<AffineExpr> &terms) {
  auto sum = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!sum || expr.getKind() != AffineExprKind::Add) {
    terms.push_back(expr);
    return;
  }
  collectTerms(sum.getLHS(), terms);
  collectTerms(sum.getRHS(), terms);
}

/// Uses what is known of sizes: (4 b + h) floordiv 4 is b where h < 4.
AffineExpr Elements::simplify(AffineExpr expr) const {
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return expr;
  AffineExpr a = simplify(binary.getLHS()), b = simplify(binary.getRHS());
  auto divisor = dyn_cast<AffineConstantExpr>(b);
  const bool isDiv = expr.getKind() == AffineExprKind::FloorDiv, isMod = expr.getKind() == AffineExprKind::Mod;
  if ((isDiv || isMod) && divisor && divisor.getValue() > 0) {
    SmallVector<AffineExpr> terms;
    collectTerms(a, terms);
    AffineExpr whole = getAffineConstantExpr(0, context), rest = whole;
    for (AffineExpr term : terms)
      (term.isMultipleOf(divisor.getValue()) ? whole : rest) = (term.isMultipleOf(divisor.getValue()) ? whole : rest) + term;
    auto range = rangeOf(rest);
    if (range && range->first >= 0 && range->second < divisor.getValue())
      return isDiv ? whole.floorDiv(divisor.getValue()) : rest;
  }
  if (expr.getKind() == AffineExprKind::Add) // (x floordiv c) c + x mod c is x
    for (auto [quotient, remainder] : {std::pair(a, b), std::pair(b, a)}) {
      auto product = dyn_cast<AffineBinaryOpExpr>(quotient), mod = dyn_cast<AffineBinaryOpExpr>(remainder);
      if (!product || !mod || quotient.getKind() != AffineExprKind::Mul || remainder.getKind() != AffineExprKind::Mod)
        continue;
      auto division = dyn_cast<AffineBinaryOpExpr>(product.getLHS());
      if (division && division.getKind() == AffineExprKind::FloorDiv && division.getRHS() == product.getRHS() &&
          division.getRHS() == mod.getRHS() && division.getLHS() == mod.getLHS())
        return mod.getLHS();
    }
  return getAffineBinaryOpExpr(expr.getKind(), a, b);
}

Place Elements::placeOf(Value tensor, AffineMap map, ArrayRef<AffineExpr> loops) const {
  Place place{tensor, {}};
  for (AffineExpr result : map.getResults())
    place.at.push_back(simplify(result.replaceDims(loops)));
  return place;
}

/// If the tensor was made by moving elements only, goes to where they lay before.
bool Elements::lookThrough(Place &place) const {
  Operation *op = place.tensor.getDefiningOp();
  if (auto cast = dyn_cast_or_null<tensor::CastOp>(op)) {
    if (!isa<RankedTensorType>(cast.getSource().getType()))
      return false;
    place.tensor = cast.getSource();
    return true;
  }
  if (auto expand = dyn_cast_or_null<tensor::ExpandShapeOp>(op)) {
    SmallVector<AffineExpr, 4> joined;
    for (const ReassociationIndices &group : expand.getReassociationIndices()) {
      AffineExpr sum = getAffineConstantExpr(0, context);
      for (int64_t dim : group) {
        const int64_t size = expand.getResultType().getDimSize(dim);
        if (dim != group.front() && ShapedType::isDynamic(size))
          return false;
        sum = (dim == group.front() ? sum : sum * size) + place.at[dim];
      }
      joined.push_back(simplify(sum));
    }
    place = {expand.getSrc(), joined};
    return true;
  }
  if (auto collapse = dyn_cast_or_null<tensor::CollapseShapeOp>(op)) {
    SmallVector<AffineExpr, 4> split(collapse.getSrcType().getRank());
    for (auto [group, expr] : llvm::zip(collapse.getReassociationIndices(), place.at)) {
      AffineExpr left = expr;
      for (int64_t dim : llvm::reverse(group)) {
        const int64_t size = collapse.getSrcType().getDimSize(dim);
        if (dim == group.front()) {
          split[dim] = left;
          continue;
        }
        if (ShapedType::isDynamic(size) || size == 0)
          return false;
        split[dim] = simplify(left % size);
        left = simplify(left.floorDiv(size));
      }
      for (int64_t dim : group)
        if (collapse.getSrcType().getDimSize(dim) == 1)
          split[dim] = getAffineConstantExpr(0, context);
    }
    place = {collapse.getSrc(), split};
    return true;
  }
  return false;
}

/// Loops of a linalg op without reductions, from the position of its one result.
static std::optional<SmallVector<AffineExpr>> loopsAt(linalg::LinalgOp op, ArrayRef<AffineExpr> at) {
  AffineMap map = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  SmallVector<AffineExpr> loops(op.getNumLoops());
  for (auto [result, expr] : llvm::zip(map.getResults(), at)) {
    if (isa<AffineConstantExpr>(result)) // of a dimension of size 1
      continue;
    auto dim = dyn_cast<AffineDimExpr>(result);
    if (!dim || loops[dim.getPosition()])
      return std::nullopt;
    loops[dim.getPosition()] = expr;
  }
  return loops;
}

Place Elements::source(Place place, bool widened) const {
  while (true) {
    if (lookThrough(place))
      continue;
    auto op = place.tensor.getDefiningOp<linalg::LinalgOp>();
    if (!op || op->getNumResults() != 1 || op.getNumParallelLoops() != op.getNumLoops())
      return place;
    std::optional<SmallVector<AffineExpr>> loops = loopsAt(op, place.at);
    Value yielded = op.getBlock()->getTerminator()->getOperand(0);
    if (auto extend = yielded.getDefiningOp<arith::ExtFOp>(); extend && widened)
      yielded = extend.getIn();
    auto argument = dyn_cast<BlockArgument>(yielded);
    if (!loops || !argument || argument.getOwner() != op.getBlock())
      return place;
    OpOperand *operand = op.getMatchingOpOperand(argument);
    if (!isa<RankedTensorType>(operand->get().getType()))
      return place;
    place = placeOf(operand->get(), op.getMatchingIndexingMap(operand), *loops);
  }
}

//===- Nodes ------------------------------------------------------------------------------------------------------------------===//

static void append(std::vector<uintptr_t> &key, const Place &place) {
  key.push_back(reinterpret_cast<uintptr_t>(place.tensor.getAsOpaquePointer()));
  for (AffineExpr expr : place.at)
    key.push_back(reinterpret_cast<uintptr_t>(expr.getImpl()));
}

NodeId Elements::add(Node node) {
  std::vector<uintptr_t> key{node.kind};
  for (const void *part : {node.type.getAsOpaquePointer(), node.name.getAsOpaquePointer(), node.attributes.getAsOpaquePointer(),
                           node.constant.getAsOpaquePointer(), static_cast<const void *>(node.index.getImpl())})
    key.push_back(reinterpret_cast<uintptr_t>(part));
  key.push_back(reinterpret_cast<uintptr_t>(node.scalar.getAsOpaquePointer()));
  llvm::append_range(key, node.operands);
  if (node.kind == Node::Element) // two tensors may hold the same reduction
    append(key, node.place);
  append(key, node.left);
  append(key, node.right);
  auto [entry, isNew] = known.try_emplace(std::move(key), nodes.size());
  if (isNew)
    nodes.push_back(std::move(node));
  return entry->second;
}

NodeId Elements::scalar(Value value) {
  TypedAttr constant;
  if (matchPattern(value, m_Constant(&constant)))
    return add({.kind = Node::Constant, .type = value.getType(), .constant = constant});
  return add({.kind = Node::Scalar, .type = value.getType(), .scalar = value});
}

NodeId Elements::element(const Place &place) {
  Type type = cast<ShapedType>(place.tensor.getType()).getElementType();
  SplatElementsAttr splat;
  if (matchPattern(place.tensor, m_Constant(&splat)))
    return add({.kind = Node::Constant, .type = type, .constant = splat.getSplatValue<TypedAttr>()});
  return add({.kind = Node::Element, .type = type, .place = place});
}

NodeId Elements::elementOf(const Place &place) {
  std::vector<uintptr_t> key;
  append(key, place);
  if (auto entry = places.find(key); entry != places.end())
    return entry->second;
  return places[std::move(key)] = makeElement(place);
}

NodeId Elements::makeElement(const Place &place) {
  Operation *op = place.tensor.getDefiningOp();
  std::optional<NodeId> made;
  if (auto linalgOp = dyn_cast_or_null<linalg::LinalgOp>(op))
    made = ofLinalg(linalgOp, place);
  else if (auto softmax = dyn_cast_or_null<linalg::SoftmaxOp>(op))
    made = ofSoftmax(softmax, place);
  if (made)
    return *made;
  Place before = place;
  return lookThrough(before) ? elementOf(before) : element(place);
}

std::optional<NodeId> Elements::ofLinalg(linalg::LinalgOp op, const Place &place) {
  if (op->getNumResults() != 1 || !op.hasPureTensorSemantics())
    return std::nullopt;
  std::optional<SmallVector<AffineExpr>> loops = loopsAt(op, place.at);
  if (!loops)
    return std::nullopt;
  SmallVector<unsigned> open;
  for (unsigned loop = 0; loop < loops->size(); ++loop)
    if (!(*loops)[loop])
      open.push_back(loop);
  if (open.empty()) {
    BodyNodes done;
    return ofBody(op, op.getBlock()->getTerminator()->getOperand(0), *loops, done);
  }
  if (open.size() != 1)
    return std::nullopt;
  // A value per row is joined over the keys; one per pair is a product of queries and keys.
  const bool isDot = llvm::any_of(place.at, [](AffineExpr expr) { return expr.isFunctionOfDim(Dim::Key); });
  (*loops)[open.front()] = dim(isDot ? Dim::Sum : Dim::Key);
  return ofReduction(op, place, *loops, isDot);
}

std::optional<std::pair<unsigned, unsigned>> matchMultiplyAdd(Block &body) {
  const unsigned last = body.getNumArguments() - 1;
  auto sum = body.getTerminator()->getOperand(0).getDefiningOp<arith::AddFOp>();
  if (!sum)
    return std::nullopt;
  Value product = sum.getLhs() == body.getArgument(last) ? sum.getRhs() : sum.getRhs() == body.getArgument(last) ? sum.getLhs() : Value();
  auto multiply = product ? product.getDefiningOp<arith::MulFOp>() : arith::MulFOp();
  if (!multiply)
    return std::nullopt;
  auto argumentOf = [&](Value factor) -> std::optional<unsigned> {
    if (auto extend = factor.getDefiningOp<arith::ExtFOp>())
      factor = extend.getIn();
    auto argument = dyn_cast<BlockArgument>(factor);
    if (!argument || argument.getOwner() != &body || argument.getArgNumber() == last)
      return std::nullopt;
    return argument.getArgNumber();
  };
  std::optional<unsigned> a = argumentOf(multiply.getLhs()), b = argumentOf(multiply.getRhs());
  if (!a || !b || *a == *b)
    return std::nullopt;
  return std::pair(*a, *b);
}

std::optional<NodeId> Elements::ofReduction(linalg::LinalgOp op, const Place &place, ArrayRef<AffineExpr> loops, bool isDot) {
  const Node init = nodes[elementOf({op.getDpsInitOperand(0)->get(), place.at})];
  if (init.kind != Node::Constant)
    return std::nullopt;
  Block &body = *op.getBlock();
  if (isDot) {
    std::optional<std::pair<unsigned, unsigned>> factors = matchMultiplyAdd(body);
    if (!factors || !matchPattern(init.constant, m_AnyZeroFloat()))
      return std::nullopt;
    auto factor = [&](unsigned argument) {
      OpOperand *operand = op.getMatchingOpOperand(body.getArgument(argument));
      return source(placeOf(operand->get(), op.getMatchingIndexingMap(operand), loops), /*widened=*/true);
    };
    return add({.kind = Node::Dot, .type = init.type, .place = place, .left = factor(factors->first), .right = factor(factors->second)});
  }
  Operation *join = body.getTerminator()->getOperand(0).getDefiningOp();
  Value accumulator = body.getArguments().back();
  if (!join || join->getNumOperands() != 2 || !accumulator.hasOneUse() || !llvm::is_contained(join->getOperands(), accumulator))
    return std::nullopt;
  BodyNodes done;
  std::optional<NodeId> joined = ofBody(op, join->getOperand(join->getOperand(0) == accumulator ? 1 : 0), loops, done);
  if (!joined)
    return std::nullopt;
  return add({.kind = Node::Reduce,
              .type = init.type,
              .name = join->getName().getIdentifier(),
              .operands = {*joined},
              .constant = init.constant,
              .place = place});
}

std::optional<NodeId> Elements::ofSoftmax(linalg::SoftmaxOp op, const Place &place) {
  for (auto [index, expr] : llvm::enumerate(place.at))
    if (index == op.getDimension() ? expr != dim(Dim::Key) : expr.isFunctionOfDim(Dim::Key))
      return std::nullopt;
  if (!isa<RankedTensorType>(op.getInput().getType()))
    return std::nullopt;
  const NodeId input = elementOf({op.getInput(), place.at});
  return add({.kind = Node::Op, .type = nodes[input].type, .name = op->getName().getIdentifier(), .operands = {input}});
}

/// A value in the body of a linalg op whose loops stand at `loops`.
std::optional<NodeId> Elements::ofBody(linalg::LinalgOp op, Value value, ArrayRef<AffineExpr> loops, BodyNodes &done) {
  if (auto entry = done.find(value); entry != done.end())
    return entry->second;
  std::optional<NodeId> node = makeOfBody(op, value, loops, done);
  if (node)
    done[value] = *node;
  return node;
}

std::optional<NodeId> Elements::makeOfBody(linalg::LinalgOp op, Value value, ArrayRef<AffineExpr> loops, BodyNodes &done) {
  Block *body = op.getBlock();
  if (auto argument = dyn_cast<BlockArgument>(value); argument && argument.getOwner() == body) {
    OpOperand *operand = op.getMatchingOpOperand(argument);
    if (!isa<RankedTensorType>(operand->get().getType()))
      return scalar(operand->get());
    return elementOf(placeOf(operand->get(), op.getMatchingIndexingMap(operand), loops));
  }
  Operation *inner = value.getDefiningOp();
  if (!inner || inner->getBlock() != body || inner->hasTrait<OpTrait::ConstantLike>())
    return scalar(value);
  if (auto index = dyn_cast<linalg::IndexOp>(inner))
    return add({.kind = Node::Index, .type = value.getType(), .index = loops[index.getDim()]});
  if (!isa<arith::ArithDialect, math::MathDialect>(inner->getDialect()) || inner->getNumResults() != 1)
    return std::nullopt;
  Node node{.kind = Node::Op, .type = value.getType(), .name = inner->getName().getIdentifier(), .attributes = inner->getAttrDictionary()};
  for (Value operand : inner->getOperands()) {
    std::optional<NodeId> id = ofBody(op, operand, loops, done);
    if (!id)
      return std::nullopt;
    node.operands.push_back(*id);
  }
  return add(std::move(node));
}

std::vector<NodeId> Elements::reachable(NodeId root) const {
  // Operands have smaller numbers than what is made of them.
  std::vector<bool> live(root + 1);
  live[root] = true;
  for (NodeId id = root + 1; id-- > 0;)
    if (live[id] && nodes[id].kind == Node::Op)
      for (NodeId operand : nodes[id].operands)
        live[operand] = true;
  std::vector<NodeId> ids;
  for (NodeId id = 0; id <= root; ++id)
    if (live[id])
      ids.push_back(id);
  return ids;
}

} // namespace attnjit::attn
