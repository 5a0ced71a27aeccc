// What a BlockMask holds.
#pragma once

#include "BlockMask/BlockRows.h"
#include "Engine/MaskRewrite.h"
#include "Support/ForkMutex.h"
#include "attnjit/BlockMask.h"

#include <memory>
#include <mutex>

namespace attnjit::inline v0 {

/// What a mask is besides its blocks.
struct BlockMaskProperties {
  std::int64_t B = 1, H = 1, qLength = 0, kvLength = 0, blockQ = 128, blockKv = 128;
  bool derived = false;      ///< the blocks follow from the mask_mod
  bool separatesFull = true; ///< index tensors list full blocks on their own
  Mod baseMod;               ///< the mask_mod, positions counted as in the mask that was sliced first
  std::vector<CaptureArgument> baseCaptures;
  engine::Moves moves; ///< what slices moved since
  std::int64_t bOffset = 0, hOffset = 0, qOffset = 0;
  Mod mod; ///< baseMod, moved
  std::vector<CaptureArgument> captures;
  BlockMaskReport report;
};

struct BlockMaskImpl : BlockMaskProperties {
  plan::BlockRows rows;

  /// A mask of other blocks, and else the same. Its maker sets what does not fit them.
  std::shared_ptr<BlockMaskImpl> withRows(plan::BlockRows others) const;
  /// Sets mod and captures from baseMod, baseCaptures and the offsets.
  void moveMod();

  /// `mod` as a call with this mask computes it: with this mask's mask_mod if it has none, and with the state table in front of it if
  /// `withTable`. Composed once per mod. `tableNames`: of the table and its two numbers, if `withTable`. Error as for chainMods.
  struct Composed {
    Mod mod;
    std::vector<std::string> tableNames;
  };
  Result<Composed> compose(const Mod &mod, bool withTable) const;
  /// [distinct batches, distinct heads, rows, cols]: 0 empty, 1 partial, 2 full. Made once. Error: Unsupported past 2^31 blocks.
  Result<TensorRef> stateTable() const;

private:
  struct Entry {
    Mod from;
    bool withTable;
    Composed composed;
  };
  mutable ForkMutex mutex;
  mutable std::vector<Entry> known;
  mutable std::vector<std::int8_t> states;
};

} // namespace attnjit::inline v0
