// score_mod on a block of keys with nothing special about it, where much need not be done for each element alone. Private to this room.
//
// A thread's elements stand at constant distances from each other (FragmentRows.h), so
//
//   a load whose indices move evenly with q and kv   reads at a constant distance from one address for each row, and two neighbouring keys
//                                                    at once, if they lie in one aligned piece of memory; or it comes to shared memory a
//                                                    block ahead, in whole rows, where a schedule has room for that
//   a value that moves with q - kv alone             is the same 8 rows and 8 keys further on: a thread computes it for its second row in
//                                                    its first tile only
//
// Whether that can be done is one question for all threads and all of the block, since they must take the same way.
#pragma once

#include "FormulaMath.h"
#include "FragmentLoads.h"

namespace attnjit::tile {

/// A map for each of a thread's two rows, for what of score_mod `root` stands on.
class RowMaps {
public:
  RowMaps(const FormulaFrame &frame, mlir::Region &score, mlir::Value root);

  bool needs(mlir::Operation *op) const { return rows[0]->needs(op); }
  /// Its result comes with expand().
  void takeGiven(mlir::Operation *op);
  void bindTile(const TileCoords &tile);
  void bindBlock(const FragmentOrigin &origin, MapExpander::Refinement refinement = MapExpander::Refinement::Choice);
  mlir::Value expand(Place place, mlir::Value scaled, mlir::ValueRange given);

private:
  Emitter emit;
  std::unique_ptr<MapExpander> rows[2];
  mlir::Value firstKey;
};

/// A value of score_mod that moves with q - kv alone.
class DiagonalValue : public BlockValue {
public:
  DiagonalValue(const FormulaFrame &frame, mlir::Operation *op, const DiagonalValues &values);

  void bindTile(const TileCoords &tile) override;
  mlir::Value isUnfit(const KvBlock &block) override;
  void bindBlock(const FragmentOrigin &origin) override;
  mlir::Value at(Place place) override;

private:
  Emitter emit;
  RowMaps rows;
  llvm::SmallVector<std::unique_ptr<EvenLoad>> loads;
  std::map<Place, mlir::Value> known;
};

class BlockScore {
public:
  /// Whether room in shared memory would be used.
  static bool hasLoadToStage(const TileProgram &program);
  /// `ends`: factors of score_mod that the caller multiplies by.
  BlockScore(const FormulaFrame &frame, const ScoreFactors &ends, const std::optional<StageRoom> &room);
  /// Whether score_mod has anything of that kind.
  bool isUseful() const { return !values.empty(); }

  void bindTile(const TileCoords &tile);
  /// i1, the same for all threads: this block asks for the general way. Null: none does.
  mlir::Value isUnfit(const KvBlock &block);
  /// With room: brings what a block that is not unfit needs, which is the next one to be bound.
  void stage(const KvBlock &block);
  void bindBlock(const FragmentOrigin &origin, MapExpander::Refinement refinement);
  mlir::Value expand(Place place, mlir::Value scaled);

private:
  Emitter emit;
  bool hasFirstProduct;
  RowMaps rows;
  llvm::SmallVector<std::unique_ptr<BlockValue>> values;
};

} // namespace attnjit::tile
