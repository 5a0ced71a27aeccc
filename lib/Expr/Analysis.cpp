#include "Expr/Analysis.h"

#include "Expr/NumericDomain.h"

#include <cmath>

namespace attnjit::expr {

std::vector<std::uint8_t> dependences(const Function &function) {
  std::vector<std::uint8_t> depends(function.nodes.size(), DependsNone);
  for (ValueId id = 0; id < function.nodes.size(); ++id) {
    const Node &node = function.nodes[id];
    if (node.op == Op::Param) {
      static constexpr std::uint8_t kBits[] = {DependsScore, DependsB, DependsH, DependsQ, DependsKv};
      depends[id] = kBits[node.imm.i];
    }
    for (ValueId operand : node.operands)
      depends[id] |= depends[operand];
  }
  return depends;
}

bool indicesProvedInBounds(const Formula &formula, const Function &function, const Box &box, const Bindings &bindings) {
  if (box.bHi < box.bLo || box.hHi < box.hLo || box.qHi < box.qLo || box.kvHi < box.kvLo)
    return true; // no position, no load
  const std::vector<Range> known = ranges(formula, function, box, bindings.scalars, false, nullptr);
  for (const Node &node : function.nodes) {
    if (node.op != Op::Load)
      continue;
    const TensorRef &tensor = bindings.captures[node.imm.i];
    for (std::size_t dim = 0; dim < node.operands.size(); ++dim) {
      const Range &index = known[node.operands[dim]];
      if (index.lo < -tensor.sizes[dim] || index.hi >= tensor.sizes[dim])
        return false;
    }
  }
  return true;
}

bool mayHaveEmptyRow(const Formula &formula) {
  // Key 0 exists whenever any does. If it is visible from every row, with a finite score, no row is empty.
  NumericLeaves leaves;
  leaves.box.bHi = leaves.box.hHi = std::int64_t{1} << 30;
  leaves.box.qHi = std::int64_t{1} << 40;
  leaves.scoreLimit = 1e30;
  const Range mask = numericRanges(formula, formula.mask, leaves)[formula.mask.result];
  if (mask.lo != 1)
    return true;
  if (formula.scoreIsIdentity())
    return false;
  const Range score = numericRanges(formula, formula.score, leaves)[formula.score.result];
  return score.maybeNan || !std::isfinite(score.flo);
}

} // namespace attnjit::expr
