// Into how many parts a GPU cuts the keys of a call (KernelAbi.h).
#pragma once

#include <cstdint>

namespace attnjit::runtime {

/// Keys per part, for `tiles` tiles that walk `keys` keys in blocks of `tileCols`, on a GPU that runs `blocksAtOnce` thread blocks: parts
/// that end together, few of them. Unlike the CPU's (keysPerPart) they depend on the batch, through the tiles: a GPU that is not filled by
/// parts of one sequence would stand still, and one that is overfilled would move states instead of keys.
std::int64_t gpuKeysPerPart(std::int64_t keys, std::int64_t tiles, std::int64_t tileCols, std::int64_t blocksAtOnce);

} // namespace attnjit::runtime
