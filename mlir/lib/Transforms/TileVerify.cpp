#include "attnjit-mlir/Transforms/TileVerify.h"

#include "attnjit-mlir/Dialect/Tile/Tile.h"
#include "attnjit-mlir/Dialect/Tile/TileProgram.h"
#include "mlir/IR/BuiltinOps.h"

using namespace mlir;

namespace attnjit::tile {

#define GEN_PASS_DEF_TILEVERIFYPASS
#include "attnjit-mlir/Transforms/TileVerify.h.inc"

namespace {

struct TileVerifyPass : impl::TileVerifyPassBase<TileVerifyPass> {
  void runOnOperation() override {
    bool ok = true;
    getOperation().walk([&](Operation *op) {
      if (isa<KernelOp>(op)) {
        ok &= succeeded(TileProgram::match(op));
      } else if (isa<attn::ForwardOp>(op)) {
        op->emitError() << "attn.forward is left; expected attn-to-tile to have run";
        ok = false;
      }
    });
    if (!ok)
      signalPassFailure();
    markAllAnalysesPreserved();
  }
};

} // namespace

void registerTileVerifyPass() {
  registerPass([] { return createTileVerifyPass(); });
}

} // namespace attnjit::tile
