// The functions of a formula as the regions of attn.forward or attn.attention.
#pragma once

#include "attnjit-mlir/Dialect/Attn/Attn.h"
#include "attnjit-mlir/Import/ImportFormula.h"

#include <array>

namespace attnjit::attn {

/// Fills in what is not the default. `fits32` answers for a function which of its Int nodes provably fit 32 bits.
template <typename OpT>
void buildRegions(mlir::OpBuilder &builder, OpT op, const expr::Formula &formula,
                  llvm::function_ref<std::vector<std::uint8_t>(const expr::Function &)> fits32) {
  auto build = [&](mlir::Region &region, const expr::Function &function) {
    mlir::OpBuilder::InsertionGuard guard(builder);
    llvm::SmallVector<mlir::Type> types = op.getRegionArgumentTypes(region);
    mlir::Block *block = builder.createBlock(&region, {}, types, llvm::SmallVector<mlir::Location>(types.size(), op.getLoc()));
    mlir::ValueRange arguments = block->getArguments();
    unsigned fixed = op.getFixedArguments(region), shift = 5 - fixed; // a mask has no score
    unsigned scalarsAt = fixed + formula.captures.size();
    std::vector<std::uint8_t> fits = fits32(function);
    auto leaf = [&](const expr::Node &node) -> mlir::Value {
      return node.op == expr::Op::Param ? arguments[node.imm.i - shift] : arguments[scalarsAt + node.imm.i];
    };
    NodeLeaves leaves{op.getComputeType(), leaf, arguments.slice(fixed, formula.captures.size()), fits};
    std::array<expr::ValueId, 1> roots{function.result};
    YieldOp::create(builder, op.getLoc(), emitNodes(builder, op.getLoc(), function.nodes, roots, leaves)[0]);
  };
  if (!formula.scoreIsIdentity())
    build(op.getScore(), formula.score);
  if (!formula.maskIsTrue())
    build(op.getMask(), formula.mask);
  if (!formula.probIsIdentity())
    build(op.getProb(), formula.prob);
}

} // namespace attnjit::attn
