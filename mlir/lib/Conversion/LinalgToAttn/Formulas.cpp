#include "Formulas.h"

#include "attnjit-mlir/Dialect/Attn/Attn.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"

#include <cmath>

using namespace mlir;

namespace attnjit::attn {

//===- Taking scores apart ----------------------------------------------------------------------------------------------------===//

static std::optional<double> numberOf(const Node &node) {
  auto number = node.kind == Node::Constant ? dyn_cast<FloatAttr>(node.constant) : FloatAttr();
  return number ? std::optional(number.getValueAsDouble()) : std::nullopt;
}

static bool isNumber(const Node &node, double number) { return numberOf(node) == number; }

/// score times a constant, if that is all that becomes of the product.
static void peelScale(const Elements &elements, ScoreFormula &formula, NodeId dot) {
  NodeId user = dot;
  unsigned uses = 0;
  for (NodeId id : elements.reachable(formula.score))
    if (elements[id].kind == Node::Op && llvm::is_contained(elements[id].operands, dot)) {
      user = id;
      ++uses;
    }
  const Node &node = elements[user];
  if (uses != 1 || node.operands.size() != 2 || node.operands[0] == node.operands[1])
    return;
  const bool isFirst = node.operands[0] == dot;
  std::optional<double> factor = numberOf(elements[node.operands[isFirst ? 1 : 0]]);
  if (!factor || !std::isfinite(*factor))
    return;
  int exponent = 0;
  if (node.isOp("arith.divf") && isFirst && std::frexp(*factor, &exponent) == 0.5) // dividing by a power of two is multiplying
    factor = 1 / *factor;
  else if (!node.isOp("arith.mulf"))
    return;
  formula.scaled = user;
  formula.scale = *factor;
}

/// A last step that hides scores.
static void peelMask(const Elements &elements, ScoreFormula &formula, bool assumeFinite) {
  const Node &last = elements[formula.score];
  auto hide = [&](NodeId score, NodeId condition, bool inverted) {
    formula.score = score;
    formula.mask = condition;
    formula.maskIsInverted = inverted;
  };
  if (last.isOp("arith.select")) {
    if (isNumber(elements[last.operands[2]], -INFINITY))
      hide(last.operands[1], last.operands[0], false);
    else if (isNumber(elements[last.operands[1]], -INFINITY))
      hide(last.operands[2], last.operands[0], true);
  } else if (last.isOp("arith.addf") && assumeFinite) {
    for (unsigned side : {0u, 1u}) {
      const Node &added = elements[last.operands[side]];
      if (!added.isOp("arith.select"))
        continue;
      const Node &then = elements[added.operands[1]], &otherwise = elements[added.operands[2]];
      if (isNumber(then, 0) && isNumber(otherwise, -INFINITY))
        return hide(last.operands[1 - side], added.operands[0], false);
      if (isNumber(then, -INFINITY) && isNumber(otherwise, 0))
        return hide(last.operands[1 - side], added.operands[0], true);
    }
  }
}

std::optional<ScoreFormula> matchScores(const Elements &elements, NodeId scores, bool assumeFinite) {
  std::optional<NodeId> dot;
  for (NodeId id : elements.reachable(scores))
    if (elements[id].kind == Node::Dot) {
      if (dot)
        return std::nullopt;
      dot = id;
    }
  if (!dot)
    return std::nullopt;
  ScoreFormula formula{.scaled = *dot, .score = scores};
  peelMask(elements, formula, assumeFinite);
  peelScale(elements, formula, *dot);
  // A mask that looks at the score is no mask.
  if (formula.mask && llvm::is_contained(elements.reachable(*formula.mask), *dot))
    formula = {.scaled = *dot, .score = scores};
  return formula;
}

NodeId dotOf(const Elements &elements, const ScoreFormula &formula) {
  const Node &scaled = elements[formula.scaled];
  if (scaled.kind == Node::Dot)
    return formula.scaled;
  return elements[scaled.operands[0]].kind == Node::Dot ? scaled.operands[0] : scaled.operands[1];
}

//===- What a region can say --------------------------------------------------------------------------------------------------===//

/// Integers of a region are i64, floats of the type of scores: conversions between widths are none.
bool FormulaWriter::isCast(const Node &node) const {
  if (node.isOp("arith.index_cast") || node.isOp("arith.extf"))
    return true;
  return node.isOp("arith.extsi") && !elements[node.operands[0]].type.isInteger(1);
}

/// b, h, q or kv, perhaps as another integer, or a constant below 2^30.
bool FormulaWriter::isPosition(NodeId id) const {
  const Node &node = elements[id];
  if (node.kind == Node::Op && isCast(node))
    return isPosition(node.operands[0]);
  if (node.kind == Node::Constant)
    if (auto integer = dyn_cast<IntegerAttr>(node.constant))
      return std::abs(integer.getInt()) < (int64_t(1) << 30);
  return node.kind == Node::Index && isa<AffineDimExpr>(node.index);
}

bool FormulaWriter::acceptsOp(const Node &node) const {
  auto has = [&](Type type) { return llvm::any_of(node.operands, [&](NodeId id) { return elements[id].type == type; }); };
  if (node.isOp("arith.extf")) // of what attn.load widens, too
    return node.type == compute && elements[node.operands[0]].kind == Node::Element;
  if (node.isOp("arith.truncf") || node.isOp("arith.trunci") || node.isOp("linalg.softmax"))
    return false;
  if ((node.isOp("arith.extui") || node.isOp("arith.uitofp")) && !has(IntegerType::get(compute.getContext(), 1)))
    return false;
  if (isa<FloatType>(node.type) && node.type != compute)
    return false;
  for (NodeId operand : node.operands)
    if (isa<FloatType>(elements[operand].type) && elements[operand].type != compute)
      return false;
  // Arithmetic of less than 64 bits wraps where that of a region does not.
  if (auto integer = dyn_cast<IntegerType>(node.type); integer && integer.getWidth() > 1 && integer.getWidth() < 64 && !isCast(node)) {
    const bool isSum = node.isOp("arith.addi") || node.isOp("arith.subi");
    return node.isOp("arith.select") ||
           (isSum && integer.getWidth() == 32 && llvm::all_of(node.operands, [&](NodeId id) { return isPosition(id); }));
  }
  return true;
}

/// Of b, h, q and kv alone, with divisions by positive constants.
static bool isPlain(AffineExpr expr) {
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return dim.getPosition() <= Dim::Key;
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return isa<AffineConstantExpr>(expr);
  auto divisor = dyn_cast<AffineConstantExpr>(binary.getRHS());
  const bool divides = expr.getKind() == AffineExprKind::FloorDiv || expr.getKind() == AffineExprKind::Mod;
  if (expr.getKind() == AffineExprKind::CeilDiv || (divides && (!divisor || divisor.getValue() <= 0)))
    return false;
  return isPlain(binary.getLHS()) && isPlain(binary.getRHS());
}

bool FormulaWriter::accepts(NodeId id) {
  const Node &node = elements[id];
  switch (node.kind) {
  case Node::Op:
    return acceptsOp(node);
  case Node::Index:
    return isPlain(node.index);
  case Node::Constant:
    return isa<FloatType>(node.type) ? node.type == compute : isa<IntegerAttr>(node.constant);
  case Node::Scalar: {
    const bool fits = node.type.isInteger(1) || node.type.isInteger(32) || node.type.isInteger(64) || node.type == compute;
    if (fits && !llvm::is_contained(scalars, node.scalar))
      scalars.push_back(node.scalar);
    return fits;
  }
  case Node::Element:
  case Node::Reduce:
  case Node::Dot: {
    if (!isCaptured(node.place.tensor.getType()) || !llvm::all_of(node.place.at, isPlain))
      return false;
    if (!llvm::is_contained(captures, node.place.tensor))
      captures.push_back(node.place.tensor);
    return true;
  }
  }
  llvm_unreachable("kind");
}

bool FormulaWriter::collect() {
  SmallVector<NodeId> roots{formula.score};
  if (formula.mask)
    roots.push_back(*formula.mask);
  for (NodeId root : roots) {
    // What the argument stands for is not looked into.
    std::vector<bool> live(root + 1);
    live[root] = true;
    for (NodeId id = root + 1; id-- > 0;) {
      if (!live[id] || id == formula.scaled)
        continue;
      if (!accepts(id))
        return false;
      if (elements[id].kind == Node::Op)
        for (NodeId operand : elements[id].operands)
          live[operand] = true;
    }
  }
  return true;
}

//===- Writing ----------------------------------------------------------------------------------------------------------------===//

void FormulaWriter::write(OpBuilder &builder, Location loc, Region &region, TypeRange arguments, NodeId root, bool inverted) {
  OpBuilder::InsertionGuard guard(builder);
  block = builder.createBlock(&region, {}, arguments, SmallVector<Location>(arguments.size(), loc));
  values.clear();
  if (isa<FloatType>(block->getArgument(0).getType()))
    values[formula.scaled] = block->getArgument(0);
  Value result = emit(builder, loc, root);
  if (inverted) {
    Value yes = arith::ConstantOp::create(builder, loc, builder.getBoolAttr(true));
    result = arith::XOrIOp::create(builder, loc, result, yes);
  }
  YieldOp::create(builder, loc, result);
}

Value FormulaWriter::emit(OpBuilder &builder, Location loc, NodeId id) {
  if (Value known = values.lookup(id))
    return known;
  const Node &node = elements[id];
  const unsigned fixed = isa<FloatType>(block->getArgument(0).getType()) ? 5 : 4;
  Value value;
  switch (node.kind) {
  case Node::Op:
    value = isCast(node) ? emit(builder, loc, node.operands[0]) : emitOp(builder, loc, node);
    break;
  case Node::Index:
    value = emitIndex(builder, loc, node.index);
    break;
  case Node::Constant: {
    TypedAttr constant = cast<TypedAttr>(node.constant);
    if (auto integer = dyn_cast<IntegerAttr>(node.constant); integer && !node.type.isInteger(1))
      constant = builder.getI64IntegerAttr(integer.getInt());
    value = arith::ConstantOp::create(builder, loc, constant);
    break;
  }
  case Node::Scalar:
    value = block->getArgument(fixed + captures.size() + (llvm::find(scalars, node.scalar) - scalars.begin()));
    break;
  case Node::Element:
  case Node::Reduce:
  case Node::Dot: {
    SmallVector<Value> indices;
    for (AffineExpr expr : node.place.at)
      indices.push_back(emitIndex(builder, loc, expr));
    Value capture = block->getArgument(fixed + (llvm::find(captures, node.place.tensor) - captures.begin()));
    value =
        LoadOp::create(builder, loc, loadedType(captureElementType(capture.getType()), compute, builder.getI64Type()), capture, indices);
    break;
  }
  }
  return values[id] = value;
}

Value FormulaWriter::emitOp(OpBuilder &builder, Location loc, const Node &node) {
  OperationState state(loc, node.name);
  for (NodeId operand : node.operands)
    state.operands.push_back(emit(builder, loc, operand));
  state.attributes.append(node.attributes.begin(), node.attributes.end());
  const bool isWide = isa<FloatType>(node.type) || node.type.isInteger(1);
  state.addTypes(isWide ? node.type : builder.getI64Type());
  return builder.create(state)->getResult(0);
}

Value FormulaWriter::emitIndex(OpBuilder &builder, Location loc, AffineExpr expr) {
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return block->getArgument(dim.getPosition() + (isa<FloatType>(block->getArgument(0).getType()) ? 1 : 0));
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return arith::ConstantOp::create(builder, loc, builder.getI64IntegerAttr(constant.getValue()));
  auto binary = cast<AffineBinaryOpExpr>(expr);
  Value a = emitIndex(builder, loc, binary.getLHS()), b = emitIndex(builder, loc, binary.getRHS());
  auto pointwise = [&](PointwiseKind kind) -> Value {
    return PointwiseOp::create(builder, loc, a.getType(), PointwiseKindAttr::get(builder.getContext(), kind), ValueRange{a, b});
  };
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return arith::AddIOp::create(builder, loc, a, b);
  case AffineExprKind::Mul:
    return arith::MulIOp::create(builder, loc, a, b);
  case AffineExprKind::FloorDiv:
    return pointwise(PointwiseKind::FloorDiv);
  case AffineExprKind::Mod:
    return pointwise(PointwiseKind::FloorMod);
  default:
    llvm_unreachable("positions have no other expressions");
  }
}

} // namespace attnjit::attn
