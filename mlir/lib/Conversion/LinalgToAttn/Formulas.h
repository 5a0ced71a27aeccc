// Nodes -> regions of attn.attention.
#pragma once

#include "Elements.h"

#include "mlir/IR/Builders.h"

namespace attnjit::attn {

/// score and mask as nodes.
struct ScoreFormula {
  NodeId scaled; ///< what the score region's argument stands for: the product of queries and keys, or that times `scale`
  double scale = 1;
  NodeId score;                 ///< of the numbers above
  std::optional<NodeId> mask{}; ///< of i1; none: every key is visible
  bool maskIsInverted = false;  ///< visible where it is false
};

/// Takes what softmax sees apart. Fails if `scores` does not depend on exactly one product.
std::optional<ScoreFormula> matchScores(const Elements &elements, NodeId scores, bool assumeFinite);

/// The product that a formula begins with.
NodeId dotOf(const Elements &elements, const ScoreFormula &formula);

/// Collects captures and scalars of formulas, then writes regions.
class FormulaWriter {
public:
  FormulaWriter(const Elements &elements, const ScoreFormula &formula, mlir::Type compute)
      : elements(elements), formula(formula), compute(compute) {}

  /// What the formula reads besides its arguments; false if it holds what no region can say.
  bool collect();
  llvm::SmallVector<mlir::Value> captures, scalars;

  /// Fills in a region, whose types of arguments are given.
  void write(mlir::OpBuilder &builder, mlir::Location loc, mlir::Region &region, mlir::TypeRange arguments, NodeId root, bool inverted);

private:
  bool accepts(NodeId id);
  bool acceptsOp(const Node &node) const;
  mlir::Value emit(mlir::OpBuilder &builder, mlir::Location loc, NodeId id);
  mlir::Value emitOp(mlir::OpBuilder &builder, mlir::Location loc, const Node &node);
  mlir::Value emitIndex(mlir::OpBuilder &builder, mlir::Location loc, mlir::AffineExpr expr);
  bool isPosition(NodeId id) const;
  bool isCast(const Node &node) const;

  const Elements &elements;
  const ScoreFormula &formula;
  mlir::Type compute;
  mlir::Block *block = nullptr;
  llvm::DenseMap<NodeId, mlir::Value> values;
};

} // namespace attnjit::attn
