#include "attnjit-mlir/InitAll.h"

#include "attnjit-mlir/Conversion/AttnToKernel/AttnToKernel.h"
#include "attnjit-mlir/Conversion/AttnToTile/AttnToTile.h"
#include "attnjit-mlir/Conversion/LinalgToAttn/LinalgToAttn.h"
#include "attnjit-mlir/Conversion/TileToGPU/TileToGPU.h"
#include "attnjit-mlir/Conversion/TileToVector/TileToVector.h"
#include "attnjit-mlir/Conversion/TorchToAttn/TorchToAttn.h"
#include "attnjit-mlir/Dialect/Attn/Attn.h"
#include "attnjit-mlir/Dialect/Attn/InterfaceModels.h"
#include "attnjit-mlir/Dialect/Tile/Tile.h"
#include "attnjit-mlir/Transforms/TileVerify.h"

namespace attnjit {

void registerAllDialects(mlir::DialectRegistry &registry) {
  registry.insert<attn::AttnDialect, tile::TileDialect>();
  attn::registerBufferizableOpInterfaceExternalModels(registry);
  attn::registerTilingInterfaceExternalModels(registry);
}

void registerAllPasses() {
  attn::registerAttnToTilePass();
  attn::registerConvertAttnToCPUPass();
  attn::registerConvertAttnToGPUPass();
  attn::registerLowerToLlvmPipeline();
  attn::registerRaiseLinalgToAttnPass();
  attn::registerConvertTorchToAttnPass();
  tile::registerTileVerifyPass();
  tile::registerConvertTileToGPUPass();
  tile::registerConvertTileToVectorPass();
}

} // namespace attnjit
