// mask_mod on the elements of a thread in a block where it must be asked, taken apart. Private to this room.
//
//   a comparison that has to hold, whose sides       says from which key on, or up to which, a row sees (q_idx >= kv_idx, kv_idx <
//   come nearer by one with each key                 lengths[b]): together one interval for each row, one comparison with a constant
//                                                    for each element
//   a load whose indices move evenly with kv         reads at constant distances from one address for each row
//   the rest                                         is evaluated for each element
#pragma once

#include "FragmentLoads.h"

namespace attnjit::tile {

/// A comparison of mask_mod that bounds the keys of a row.
class KeyLimit {
public:
  using Value = mlir::Value;
  /// Of the terms that mask_mod is the conjunction of, those that are limits, and whether all are.
  struct Terms {
    llvm::SmallVector<mlir::arith::CmpIOp> limits;
    bool areLimits = true;
  };
  static Terms termsOf(mlir::Region &mask, const DiagonalValues &values);
  KeyLimit(const FormulaFrame &frame, mlir::arith::CmpIOp op, const DiagonalValues &values);

  void bindHeads(int64_t row, Value b, Value h);
  void bindQuery(int64_t row, Value query);
  /// Keys of the row, counted from `key`: the first that is seen and the first that is not; i32, null where nothing is said.
  struct Interval {
    Value begin, end;
  };
  Interval of(int64_t row, Value key);

private:
  struct Row {
    std::unique_ptr<MapExpander> left, right;
  };
  Emitter emit;
  mlir::arith::CmpIPredicate predicate; ///< of `distance` and a key's number
  bool rises;                           ///< left - right does, with the key
  Row rows[2];
};

class RowMask {
public:
  using Value = mlir::Value;
  /// Rows of a packed tile may be of several heads.
  RowMask(const FormulaFrame &frame, bool isPacked);

  /// For each row. What depends on the queries of packed rows alone is computed here, once.
  void bindTile(const TileCoords &tile, llvm::ArrayRef<Value> heads, llvm::ArrayRef<Value> queries);
  /// A block of at most `cols` keys: reads what can be read for all elements. The thread's first key lies `pair` keys into it.
  void bindBlock(const KvBlock &block, const FragmentOrigin &origin, Value pair, int64_t cols);
  /// Whether an element has a key, which its query sees. Flags an index that left its tensor, whether or not that is asked.
  MapResult at(Place place);

private:
  void bindQueries(llvm::ArrayRef<Value> queries);

  FormulaFrame frame;
  Emitter emit;
  bool isPacked;
  llvm::SmallVector<std::unique_ptr<KeyLimit>> limits;
  llvm::SmallVector<std::unique_ptr<ClampedLoad>> loads;
  bool hasRest = false, clampsKeys = false; ///< there are other terms; they read captured tensors by key
  std::unique_ptr<MapExpander> rest[2];     ///< of each row; null without mask_mod
  Value isKnown;                            ///< mask_mod is true in all of the block; i1
  Value firstKey, lastKey;                  ///< of the thread, of the block
  KeyLimit::Interval seen[2];               ///< of each row; `begin` may be null
};

} // namespace attnjit::tile
