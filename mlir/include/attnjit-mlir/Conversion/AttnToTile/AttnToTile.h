// attn -> tile: the attention algorithm. Pass documentation: AttnToTile.td.
#pragma once

#include "mlir/Pass/Pass.h"

namespace attnjit::tile {
class KernelOp;
} // namespace attnjit::tile

namespace attnjit::attn {
class ForwardOp;

/// Replaces the function around `op` by a tile.kernel of its name. Fails with a diagnostic if the function holds more than `op` and a
/// return, or if an operand is not an argument of the function. `splitKeys`: the keys are cut into parts that are merged in index order
/// (tile.split).
mlir::FailureOr<tile::KernelOp> lowerToTile(ForwardOp op, bool splitKeys = false);

std::unique_ptr<mlir::Pass> createAttnToTilePass();
void registerAttnToTilePass();

} // namespace attnjit::attn
