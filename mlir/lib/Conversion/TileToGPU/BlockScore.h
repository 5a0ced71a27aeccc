// score_mod on a block of keys with nothing special about it, where much need not be done for each element alone. Private to this room.
//
// A thread's elements stand at constant distances from each other (FragmentRows.h), so
//
//   a load whose indices move evenly with q and kv   reads at a constant distance from one address for each row, and two neighbouring keys
//                                                    at once, if they lie in one aligned piece of memory
//   a value that moves with q - kv alone             is the same 8 rows and 8 keys further on: a thread computes it for its second row in
//                                                    its first tile only
//
// Whether that can be done is one question for all threads and all of the block, since they must take the same way.
#pragma once

#include "../TileToVector/ScoreTables.h"
#include "FormulaMath.h"
#include "Fragments.h"
#include "attnjit-mlir/Conversion/TileToVector/MapExpander.h"

#include <map>
#include <memory>

namespace attnjit::tile {

/// An element of a thread: in its first or second row, in this 16x8 tile, in its first or second column there.
struct Place {
  int64_t row, tile, column;
  bool operator<(const Place &other) const { return std::tie(row, tile, column) < std::tie(other.row, other.tile, other.column); }
};

/// What all of the room's formulas are made with.
struct FormulaFrame {
  mlir::OpBuilder &builder;
  mlir::Location loc;
  const TileProgram &program;
  AbiAccess &abi;
};

/// Where the elements of a thread stand in a block: a query for each row and the first key, of the index type, all of pairs that exist.
struct FragmentOrigin {
  std::array<mlir::Value, 2> queries;
  mlir::Value key;
};

/// A load of score_mod along the keys, whose indices move evenly with q and kv.
class EvenLoad {
public:
  static bool fits(attn::LoadOp load, const DiagonalValues &values);
  EvenLoad(const FormulaFrame &frame, attn::LoadOp load, const DiagonalValues &values);

  void bindTile(const TileCoords &tile);
  /// i1: it cannot be read so in this block, whose last stride is 1.
  mlir::Value isUnfit(const KvBlock &block);
  void bindBlock(const FragmentOrigin &origin);
  mlir::Value at(Place place);
  attn::LoadOp load() const { return op; }

private:
  struct Index {
    DiagonalValues::Slope slope;
    std::unique_ptr<MapExpander> expander;
    bool mayWrap; ///< may be negative (Python's wrap)
  };
  mlir::Value indexAt(Index &index, mlir::Value query, mlir::Value key);
  mlir::Value addressAt(mlir::Value query, mlir::Value key);
  mlir::Value lowestOf(Index &index, const KvBlock &block);
  bool readsPairs() const;
  std::array<mlir::Value, 2> readPair(Place place);
  mlir::Value read(mlir::Type type, int64_t row, int64_t distance, int64_t alignment) const;
  mlir::Value widen(mlir::Value raw);
  int64_t keyStep() const { return indices.back().slope.kv; }

  FormulaFrame frame;
  Emitter emit;
  attn::LoadOp op;
  mlir::Type memory, raw;
  int64_t elementBytes;
  llvm::SmallVector<Index> indices;
  bool sharesRows; ///< moves with kv alone
  TileCoords tile;
  mlir::Value isMisaligned;         ///< pairs of this tile, wherever a block begins; i1
  std::array<mlir::Value, 2> first; ///< address of each row at the thread's first key
  std::map<Place, mlir::Value> known;
};

/// A value of score_mod that moves with q - kv alone.
class DiagonalValue {
public:
  DiagonalValue(const FormulaFrame &frame, mlir::Operation *op, const DiagonalValues &values);

  void bindTile(const TileCoords &tile);
  mlir::Value isUnfit(const KvBlock &block);
  void bindBlock(const FragmentOrigin &origin);
  mlir::Value at(Place place);

private:
  FormulaFrame frame;
  mlir::Operation *op;
  llvm::SmallVector<std::unique_ptr<EvenLoad>> loads;
  std::unique_ptr<MapExpander> rows[2];
  mlir::Value firstKey;
  std::map<Place, mlir::Value> known;
};

class BlockScore {
public:
  /// `ends`: factors of score_mod that the caller multiplies by.
  BlockScore(const FormulaFrame &frame, const ScoreFactors &ends);
  /// Whether score_mod has anything of that kind.
  bool isUseful() const { return !diagonals.empty() || !loads.empty(); }

  void bindTile(const TileCoords &tile);
  /// i1, the same for all threads: this block asks for the general way. Null: none does.
  mlir::Value isUnfit(const KvBlock &block);
  void bindBlock(const FragmentOrigin &origin);
  mlir::Value expand(Place place, mlir::Value scaled);

private:
  FormulaFrame frame;
  bool hasFirstProduct;
  llvm::SmallVector<std::unique_ptr<DiagonalValue>> diagonals;
  llvm::SmallVector<std::unique_ptr<EvenLoad>> loads;
  std::unique_ptr<MapExpander> rows[2];
  mlir::Value firstKey;
};

} // namespace attnjit::tile
