#include "Passes.h"

#include "attnjit-mlir/Conversion/AttnToTile/AttnToTile.h"
#include "attnjit-mlir/Transforms/TileVerify.h"
#include "mlir/Transforms/Passes.h"

namespace attnjit {

void registerPasses() {
  attn::registerAttnToTilePass();
  tile::registerTileVerifyPass();
  // convert-tile-to-vector and convert-tile-to-gpu register here.

  mlir::registerCanonicalizerPass();
  mlir::registerCSEPass();
}

} // namespace attnjit
