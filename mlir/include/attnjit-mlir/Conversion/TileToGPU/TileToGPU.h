// The pass convert-tile-to-gpu, for attnjit-opt. Pipelines call lowerMmaSync (Schedules.h) themselves.
#pragma once

#include "mlir/Pass/Pass.h"

namespace attnjit::tile {

/// Makes the pass known by its name to whoever parses pipelines.
void registerConvertTileToGPUPass();

} // namespace attnjit::tile
