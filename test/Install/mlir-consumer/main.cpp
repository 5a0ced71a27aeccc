// What a compiler outside this repository does with the component mlir: a formula becomes attn, and attn becomes a tile program.
#include "Expr/Ir.h"
#include "attnjit-mlir/Conversion/AttnToTile/AttnToTile.h"
#include "attnjit-mlir/Dialect/Tile/Tile.h"
#include "attnjit-mlir/Import/ImportFormula.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Pass/PassManager.h"

int main() {
  using namespace attnjit;
  mlir::MLIRContext context;
  context.loadDialect<attn::AttnDialect, tile::TileDialect, mlir::arith::ArithDialect, mlir::func::FuncDialect, mlir::math::MathDialect,
                      mlir::memref::MemRefDialect>();
  auto formula = expr::parseCanonical(expr::print(expr::Formula::identity()));
  if (!formula)
    return 1;
  auto module = attn::importFormula(&context, *formula, {});
  mlir::PassManager passes(&context);
  passes.addPass(attn::createAttnToTilePass());
  if (!module || mlir::failed(passes.run(*module)))
    return 2;
  bool found = false;
  module->walk([&](tile::KernelOp) { found = true; });
  return found ? 0 : 3;
}
