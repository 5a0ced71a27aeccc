// Masks that block masks make of a mod's mask.
#pragma once

#include "Engine/ModImpl.h"

namespace attnjit::engine {

/// Which arguments a slice moves, and the names of the captured numbers that they are moved by.
struct Moves {
  bool b = false, h = false, q = false;
};
/// `mask` seen from a slice: b, h and q count from offsets that are captured numbers. Their names, in the order b, h, q of those that move,
/// go to `names`.
Mod movedMask(const Mod &mask, const Moves &moves, std::vector<std::string> &names);

/// `mod` with a mask that asks a table first: state[b, h, q_idx // blockQ, kv_idx // blockKv] is 0 hidden, 1 as mod's mask says, 2 visible.
/// The names of the table and of the two numbers go to `names`.
Mod withStateTable(const Mod &mod, std::vector<std::string> &names);

} // namespace attnjit::engine
