#include "Passes.h"

#include "attnjit-mlir/Conversion/AttnToTile/AttnToTile.h"
#include "attnjit-mlir/Conversion/TileToGPU/TileToGPU.h"
#include "attnjit-mlir/Conversion/TileToVector/TileToVector.h"
#include "attnjit-mlir/Transforms/TileVerify.h"
#include "mlir/Transforms/Passes.h"

namespace attnjit {

void registerPasses() {
  attn::registerAttnToTilePass();
  tile::registerTileVerifyPass();
  tile::registerConvertTileToGPUPass();
  tile::registerConvertTileToVectorPass();

  mlir::registerCanonicalizerPass();
  mlir::registerCSEPass();
}

} // namespace attnjit
