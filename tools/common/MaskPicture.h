// What a mask_mod looks like: a grid of how much of each patch of M x N is visible, drawn in a terminal, as SVG or as PNG.
#pragma once

#include "Expr/Interp.h"
#include "attnjit/BlockMask.h"

#include <string>
#include <vector>

namespace attnjit::tools {

/// Query rows downwards, keys to the right.
struct MaskGrid {
  int rows = 0, cols = 0;
  std::vector<float> visible; ///< share of the patch, 0 .. 1
  float at(int row, int col) const { return visible[static_cast<std::size_t>(row) * cols + col]; }
};

/// Samples mask_mod for one batch and head on at most maxRows x maxCols patches (each of at least one pair).
MaskGrid sampleMask(const expr::Formula &formula, const expr::Bindings &bindings, std::int64_t M, std::int64_t N, std::int64_t b,
                    std::int64_t h, int maxRows, int maxCols);

/// The blocks of one batch and head, or patches of blocks if there are more: 1 for a full block, 0.5 for a partial one.
MaskGrid gridOf(const BlockMask &mask, std::int64_t b, std::int64_t h, int maxRows, int maxCols);

/// Two patches per character, one above the other; partly visible ones in shades.
std::string drawTerminal(const MaskGrid &grid);
std::string drawSvg(const MaskGrid &grid);
/// An 8-bit grey PNG of `scale` pixels per patch: dark is visible.
std::string drawPng(const MaskGrid &grid, int scale);

} // namespace attnjit::tools
