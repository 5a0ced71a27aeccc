// tile -> vector as a pass, for attnjit-opt; pipelines call the schedules of Schedules.h themselves. Pass documentation: TileToVector.td.
#pragma once

#include "mlir/Pass/Pass.h"

namespace attnjit::tile {

std::unique_ptr<mlir::Pass> createConvertTileToVectorPass();
void registerConvertTileToVectorPass();

} // namespace attnjit::tile
