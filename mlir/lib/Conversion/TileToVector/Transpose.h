// Rows and lanes exchanged, in registers. Private to this room.
#pragma once

#include "Emitter.h"

namespace attnjit::tile {

/// As many vectors as each has lanes, a power of two: lane r of result c is lane c of row r.
Emitter::Values transpose(const Emitter &emit, mlir::ValueRange rows);

} // namespace attnjit::tile
