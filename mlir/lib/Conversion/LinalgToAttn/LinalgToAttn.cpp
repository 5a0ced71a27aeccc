#include "attnjit-mlir/Conversion/LinalgToAttn/LinalgToAttn.h"

#include "Formulas.h"
#include "Operands.h"
#include "attnjit-mlir/Dialect/Attn/Attn.h"
#include "attnjit-mlir/Import/ExportFormula.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"

#include <cmath>

using namespace mlir;

namespace attnjit::attn {

#define GEN_PASS_DECL_RAISELINALGTOATTNPASS
#define GEN_PASS_DEF_RAISELINALGTOATTNPASS
#include "attnjit-mlir/Conversion/LinalgToAttn/LinalgToAttn.h.inc"

namespace {

using Role = OperandPlan::Role;

/// The product of probabilities and values, with a name for each of its loops.
struct ValueProduct {
  linalg::LinalgOp op;
  OpOperand *probs, *values;
  SmallVector<AffineExpr> loops; ///< where they stand, in terms of Dim
  SmallVector<Role> result;      ///< of each dimension of the result
};

/// One linalg op that may be the last of attention.
class Raising {
public:
  Raising(linalg::LinalgOp op, bool assumeFinite) : op(op), assumeFinite(assumeFinite) {}

  bool run() {
    if (op->getNumResults() != 1 || !op.hasPureTensorSemantics() || op.getNumReductionLoops() != 1 || op.getNumDpsInputs() != 2)
      return false;
    std::optional<std::pair<unsigned, unsigned>> factors = matchMultiplyAdd(*op.getBlock());
    if (!factors)
      return false;
    auto operand = [&](unsigned argument) { return op.getMatchingOpOperand(op.getBlock()->getArgument(argument)); };
    return raise(operand(factors->first), operand(factors->second)) || raise(operand(factors->second), operand(factors->first));
  }

private:
  bool raise(OpOperand *probs, OpOperand *values) {
    if (!probs->get().hasOneUse()) // somebody else wants the probabilities
      return false;
    Elements elements(op.getContext());
    std::optional<ValueProduct> product = nameLoops(elements, probs, values);
    if (!product || !beginsWithZero(elements))
      return false;
    const NodeId p = elements.elementOf(elements.placeOf(probs->get(), op.getMatchingIndexingMap(probs), product->loops));
    const Place v = elements.source(elements.placeOf(values->get(), op.getMatchingIndexingMap(values), product->loops), /*widened=*/true);
    std::optional<NodeId> scores = matchSoftmax(elements, p);
    if (!scores)
      return false;
    std::optional<ScoreFormula> formula = matchScores(elements, *scores, assumeFinite);
    return formula && write(elements, *product, *formula, v);
  }

  //===- Loops ----------------------------------------------------------------------------------------------------------------===//

  /// Loops by the operands that they move: keys, columns, queries; what is left are batch and head.
  std::optional<ValueProduct> nameLoops(Elements &elements, OpOperand *probs, OpOperand *values) {
    AffineMap p = op.getMatchingIndexingMap(probs), v = op.getMatchingIndexingMap(values);
    AffineMap out = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
    if (!out.isProjectedPermutation())
      return std::nullopt;
    SmallVector<int64_t> ranges = op.getStaticLoopRanges();
    ValueProduct product{op, probs, values, SmallVector<AffineExpr>(op.getNumLoops()), {}};
    SmallVector<unsigned> leading, rows, columns;
    for (AffineExpr result : out.getResults()) {
      const unsigned loop = cast<AffineDimExpr>(result).getPosition();
      const bool inP = p.isFunctionOfDim(loop), inV = v.isFunctionOfDim(loop);
      (inP && inV ? leading : inP ? rows : columns).push_back(loop);
    }
    // Heads that share values move rows only.
    while (rows.size() > 1) {
      leading.push_back(rows.front());
      rows.erase(rows.begin());
    }
    if (rows.size() != 1 || columns.size() != 1 || leading.size() > 2)
      return std::nullopt;
    auto set = [&](unsigned loop, Dim dim) {
      product.loops[loop] = elements.dim(dim);
      elements.setSize(dim, ranges[loop]);
    };
    set(rows.front(), Dim::Query);
    set(columns.front(), Dim::Column);
    SmallVector<unsigned> reductions;
    op.getReductionDims(reductions);
    set(reductions.front(), Dim::Key);
    elements.setSize(Dim::Batch, 1);
    elements.setSize(Dim::Head, 1);
    if (leading.size() == 1)
      nameJoined(elements, product, leading.front(), ranges[leading.front()]);
    if (leading.size() == 2) {
      set(leading[0], Dim::Batch);
      set(leading[1], Dim::Head);
    }
    for (AffineExpr result : out.getResults()) {
      const unsigned loop = cast<AffineDimExpr>(result).getPosition();
      const bool isJoined = leading.size() == 1 && loop == leading.front() && elements.sizeOf(Dim::Head) != 1;
      product.result.push_back(loop == rows.front()      ? OperandPlan::IsRow
                               : loop == columns.front() ? OperandPlan::IsColumn
                               : isJoined                ? OperandPlan::IsBoth
                               : loop == leading.front() ? OperandPlan::IsBatch
                                                         : OperandPlan::IsHead);
    }
    return product;
  }

  /// One loop over batches and heads, or over one of them: how many heads there are is seen by where the probabilities come from.
  void nameJoined(Elements &elements, ValueProduct &product, unsigned loop, int64_t range) {
    int64_t heads = 1;
    Value from = product.probs->get();
    while (auto cast = from.getDefiningOp<tensor::CastOp>())
      from = cast.getSource();
    if (auto collapse = from.getDefiningOp<tensor::CollapseShapeOp>()) {
      auto leadingDims = collapse.getReassociationIndices().front();
      if (leadingDims.size() == 2 && !ShapedType::isDynamic(collapse.getSrcType().getDimSize(leadingDims[1])))
        heads = std::max<int64_t>(collapse.getSrcType().getDimSize(leadingDims[1]), 1);
    }
    elements.setSize(Dim::Head, heads);
    elements.setSize(Dim::Batch, ShapedType::isDynamic(range) ? range : range / heads);
    product.loops[loop] = heads == 1 ? elements.dim(Dim::Batch) : elements.dim(Dim::Batch) * heads + elements.dim(Dim::Head);
  }

  bool beginsWithZero(Elements &elements) {
    Value init = op.getDpsInitOperand(0)->get();
    SmallVector<AffineExpr, 4> anywhere(cast<RankedTensorType>(init.getType()).getRank(), elements.dim(Dim::Column));
    const Node &node = elements[elements.elementOf({init, anywhere})];
    return node.kind == Node::Constant && matchPattern(node.constant, m_AnyZeroFloat());
  }

  //===- Softmax --------------------------------------------------------------------------------------------------------------===//

  static bool isConstant(const Node &node, llvm::function_ref<bool(double)> holds) {
    auto number = node.kind == Node::Constant ? dyn_cast<FloatAttr>(node.constant) : FloatAttr();
    return number && holds(number.getValueAsDouble());
  }

  /// What softmax over the keys is taken of, if that is what `p` is.
  static std::optional<NodeId> matchSoftmax(const Elements &elements, NodeId p) {
    // Rounding p to the type of v is the schedule's business.
    while (elements[p].isOp("arith.truncf") || elements[p].isOp("arith.extf"))
      p = elements[p].operands[0];
    const Node &node = elements[p];
    if (node.isOp("linalg.softmax"))
      return node.operands[0];
    if (node.isOp("arith.divf"))
      return matchQuotient(elements, node.operands[0], node.operands[1]);
    if (!node.isOp("arith.mulf"))
      return std::nullopt;
    for (unsigned side : {0u, 1u}) {
      const Node &factor = elements[node.operands[side]];
      if (factor.isOp("arith.divf") && isConstant(elements[factor.operands[0]], [](double x) { return x == 1; }))
        if (std::optional<NodeId> scores = matchQuotient(elements, node.operands[1 - side], factor.operands[1]))
          return scores;
    }
    return std::nullopt;
  }

  /// exp(u - max u) / sum exp(u - max u): u.
  static std::optional<NodeId> matchQuotient(const Elements &elements, NodeId exponential, NodeId total) {
    const Node &sum = elements[total], &exp = elements[exponential];
    const bool sums = sum.kind == Node::Reduce && sum.name == "arith.addf" && sum.operands[0] == exponential &&
                      matchPattern(sum.constant, m_AnyZeroFloat());
    if (!sums || !exp.isOp("math.exp"))
      return std::nullopt;
    const Node &difference = elements[exp.operands[0]];
    if (!difference.isOp("arith.subf"))
      return std::nullopt;
    const NodeId scores = difference.operands[0];
    const Node &max = elements[difference.operands[1]];
    const bool isMaximum = max.kind == Node::Reduce && (max.name == "arith.maximumf" || max.name == "arith.maxnumf");
    if (!isMaximum || max.operands[0] != scores)
      return std::nullopt;
    // It begins with -inf or with the least number, which no sum of products reaches.
    auto first = dyn_cast<FloatAttr>(max.constant);
    const APFloat least = first ? APFloat::getLargest(first.getValue().getSemantics(), /*Negative=*/true) : APFloat(0.0);
    if (!first || !first.getValue().isNegative() || !(first.getValue().isInfinity() || first.getValue() == least))
      return std::nullopt;
    return scores;
  }

  //===- Writing --------------------------------------------------------------------------------------------------------------===//

  struct Operands {
    OperandPlan q, k, v;
  };

  std::optional<Operands> planOperands(const Elements &elements, const Node &dot, const Place &values) {
    const bool leftIsQ = llvm::is_contained(dot.left.at, elements.dim(Dim::Query));
    const Place &queries = leftIsQ ? dot.left : dot.right, &keys = leftIsQ ? dot.right : dot.left;
    std::optional<OperandPlan> q = planOperand(elements, queries, Dim::Query, Dim::Sum),
                               k = planOperand(elements, keys, Dim::Key, Dim::Sum),
                               v = planOperand(elements, values, Dim::Key, Dim::Column);
    if (!q || !k || !v)
      return std::nullopt;
    const bool qIsWhole =
        q->group == 1 && (q->hasBatch() || elements.sizeOf(Dim::Batch) == 1) && (q->hasHeads() || elements.sizeOf(Dim::Head) == 1);
    if (!qIsWhole || k->group != v->group || k->hasHeads() != v->hasHeads())
      return std::nullopt;
    return Operands{*q, *k, *v};
  }

  static Type elementOf(const OperandPlan &plan) { return cast<RankedTensorType>(plan.tensor.getType()).getElementType(); }

  /// Element types and head sizes are those of the op.
  bool typesFit(const Operands &operands, const Node &dot) {
    Type compute = computeTypeOf(elementOf(operands.q)), out = cast<RankedTensorType>(op->getResult(0).getType()).getElementType();
    auto columns = [](const OperandPlan &plan) {
      const auto *at = llvm::find(plan.roles, OperandPlan::IsColumn);
      return cast<RankedTensorType>(plan.tensor.getType()).getDimSize(at - plan.roles.begin());
    };
    auto isHeadDim = [](int64_t size) { return !ShapedType::isDynamic(size) && size >= 1 && size <= 512; };
    return isMemoryFloat(elementOf(operands.q)) && isMemoryFloat(elementOf(operands.k)) && elementOf(operands.k) == elementOf(operands.v) &&
           dot.type == compute && out == compute && isHeadDim(columns(operands.q)) && isHeadDim(columns(operands.v));
  }

  bool write(const Elements &elements, const ValueProduct &product, const ScoreFormula &formula, const Place &values) {
    const Node &dot = elements[dotOf(elements, formula)];
    std::optional<Operands> operands = planOperands(elements, dot, values);
    if (!operands || !typesFit(*operands, dot) || elements[formula.score].type != dot.type)
      return false;
    FormulaWriter writer(elements, formula, dot.type);
    if (!writer.collect())
      return false;
    OpBuilder builder(op);
    Operation *before = op->getPrevNode();
    AttentionOp attention = build(builder, *operands, formula, writer);
    if (!isFormula(attention)) {
      // Nothing stays of what has no formula.
      while (op->getPrevNode() != before)
        op->getPrevNode()->erase();
      return false;
    }
    Value result = buildResult(builder, op.getLoc(), attention.getResult(0), product.result);
    if (result.getType() != op->getResult(0).getType())
      result = tensor::CastOp::create(builder, op.getLoc(), op->getResult(0).getType(), result);
    op->getResult(0).replaceAllUsesWith(result);
    op->erase();
    return true;
  }

  AttentionOp build(OpBuilder &builder, const Operands &operands, const ScoreFormula &formula, FormulaWriter &writer) {
    Location loc = op.getLoc();
    Value q = buildOperand(builder, loc, operands.q), k = buildOperand(builder, loc, operands.k),
          v = buildOperand(builder, loc, operands.v);
    Type compute = computeTypeOf(elementOf(operands.q));
    SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(builder, loc, q);
    sizes[3] = builder.getIndexAttr(cast<RankedTensorType>(v.getType()).getDimSize(3));
    Value out = tensor::EmptyOp::create(builder, loc, sizes, compute);
    Value scale = arith::ConstantOp::create(builder, loc, builder.getFloatAttr(compute, formula.scale));
    auto attention = AttentionOp::create(builder, loc, TypeRange{out.getType()}, q, k, v, ValueRange{out}, scale, /*sinks=*/Value(),
                                         writer.captures, writer.scalars, /*offsets=*/ValueRange(), /*names=*/ArrayAttr());
    if (formula.score != formula.scaled)
      writer.write(builder, loc, attention.getScore(), attention.getRegionArgumentTypes(attention.getScore()), formula.score, false);
    if (formula.mask)
      writer.write(builder, loc, attention.getMask(), attention.getRegionArgumentTypes(attention.getMask()), *formula.mask,
                   formula.maskIsInverted);
    return attention;
  }

  static bool isFormula(AttentionOp attention) {
    ScopedDiagnosticHandler quiet(attention.getContext(), [](Diagnostic &) { return success(); });
    return succeeded(attention.verifyInvariants()) && succeeded(attention.verifyRegions()) && succeeded(exportFormula(attention));
  }

  linalg::LinalgOp op;
  bool assumeFinite;
};

struct RaiseLinalgToAttnPass : impl::RaiseLinalgToAttnPassBase<RaiseLinalgToAttnPass> {
  using RaiseLinalgToAttnPassBase::RaiseLinalgToAttnPassBase;

  void runOnOperation() override {
    SmallVector<linalg::LinalgOp> ops;
    getOperation()->walk([&](linalg::LinalgOp op) { ops.push_back(op); });
    for (linalg::LinalgOp op : ops)
      Raising(op, assumeFinite).run();
  }
};

} // namespace

void registerRaiseLinalgToAttnPass() {
  registerPass([] { return createRaiseLinalgToAttnPass(); });
}

} // namespace attnjit::attn
