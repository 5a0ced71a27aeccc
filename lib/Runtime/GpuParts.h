// Into how many parts a GPU cuts the keys of a call (KernelAbi.h).
#pragma once

#include <cstdint>

namespace attnjit::runtime {

/// Keys per part, for `tiles` tiles that walk `keys` keys in blocks of `tileCols`: as few parts as keep the memory of a GPU with so many
/// multiprocessors busy. Unlike the CPU's (keysPerPart) they depend on the batch, through the tiles: a GPU that is not filled by the parts
/// of one sequence would stand still, and one that is overfilled would move states instead of keys.
std::int64_t gpuKeysPerPart(std::int64_t keys, std::int64_t tiles, std::int64_t tileCols, std::int64_t multiprocessors);

} // namespace attnjit::runtime
