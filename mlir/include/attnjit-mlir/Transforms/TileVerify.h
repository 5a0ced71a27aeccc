// The check that closes the tile stage. Pass documentation: TileVerify.td.
#pragma once

#include "mlir/Pass/Pass.h"

namespace attnjit::tile {

std::unique_ptr<mlir::Pass> createTileVerifyPass();
void registerTileVerifyPass();

} // namespace attnjit::tile
