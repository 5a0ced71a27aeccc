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

/// Room in shared memory that a warp has for what it reads, and where the warp stands in its tile.
struct StageRoom {
  mlir::Value address;        ///< a multiple of 1024, i32
  mlir::Value lane, firstRow; ///< i32
  int64_t cols;
};

/// A value of score_mod that is computed, or read, for the fragments of a block together.
class BlockValue {
public:
  virtual ~BlockValue() = default;
  virtual void bindTile(const TileCoords &tile) = 0;
  /// i1, the same for all threads: it cannot be had so in this block, where last strides are 1. Null: it always can.
  virtual mlir::Value isUnfit(const KvBlock &block) = 0;
  virtual void bindBlock(const FragmentOrigin &origin) = 0;
  virtual mlir::Value at(Place place) = 0;
  /// Starts to bring a block that is not unfit to shared memory, if that is what it does.
  virtual void stage(const KvBlock &) {}
};

/// A load of score_mod along the keys, whose indices move evenly with q and kv.
class EvenLoad : public BlockValue {
public:
  static bool fits(attn::LoadOp load, const DiagonalValues &values);
  EvenLoad(const FormulaFrame &frame, attn::LoadOp load, const DiagonalValues &values);

  void bindTile(const TileCoords &tile) override;
  mlir::Value isUnfit(const KvBlock &block) override;
  void bindBlock(const FragmentOrigin &origin) override;
  mlir::Value at(Place place) override;

protected:
  /// Whether the block lies at a multiple of so many bytes in every row; and so does what the tile says of it.
  mlir::Value isMisaligned(const KvBlock &block);
  /// The pair of columns of a place in one word.
  std::array<mlir::Value, 2> halvesOf(mlir::Value both);
  int64_t keyStep() const { return indices.back().slope.kv; }

  FormulaFrame frame;
  Emitter emit;
  attn::LoadOp op;
  int64_t elementBytes;
  int64_t alignment; ///< that is asked for, in bytes
  TileCoords tile;
  mlir::Value tileAddress, rowBytes; ///< of key 0 in the first row, a pointer to global memory; from row to row, i64
  std::map<Place, mlir::Value> known;

private:
  struct Index {
    DiagonalValues::Slope slope;
    std::unique_ptr<MapExpander> expander;
    bool mayWrap; ///< may be negative (Python's wrap)
  };
  mlir::Value indexAt(Index &index, mlir::Value query, mlir::Value key);
  mlir::Value addressAt(mlir::Value query, mlir::Value key);
  mlir::Value lowestOf(Index &index, const KvBlock &block);
  bool readsPairs() const { return alignment > elementBytes; }
  std::array<mlir::Value, 2> readPair(Place place);
  mlir::Value read(mlir::Type type, int64_t row, int64_t distance, int64_t alignment) const;
  mlir::Value widen(mlir::Value raw);

  mlir::Type memory, raw;
  llvm::SmallVector<Index> indices;
  bool sharesRows;                  ///< moves with kv alone
  mlir::Value tileIsMisaligned;     ///< i1
  std::array<mlir::Value, 2> first; ///< address of each row at the thread's first key
};

/// A load of 16-bit elements with a row of memory for each query, which comes to shared memory by 16 bytes at a time and leaves it as
/// fragments. A chunk of 16 bytes lies where its number with that of its row in the lowest three bits says, so that no two of a matrix
/// share a bank.
class StagedLoad : public EvenLoad {
public:
  static constexpr int64_t kRows = 16, kChunkBytes = 16;
  static bool fits(attn::LoadOp load, const DiagonalValues &values, int64_t cols);
  static int64_t roomBytes(int64_t cols) { return kRows * rowPitch(cols); }
  StagedLoad(const FormulaFrame &frame, attn::LoadOp load, const DiagonalValues &values, const StageRoom &room);

  void bindBlock(const FragmentOrigin &origin) override;
  mlir::Value at(Place place) override;
  void stage(const KvBlock &block) override;

private:
  static int64_t rowPitch(int64_t cols) { return 2 * cols; }
  mlir::Value sharedPointer(mlir::Value address) const;

  StageRoom room;
};

/// A map for each of a thread's two rows, for what of score_mod `root` stands on.
class RowMaps {
public:
  RowMaps(const FormulaFrame &frame, mlir::Region &score, mlir::Value root);

  bool needs(mlir::Operation *op) const { return rows[0]->needs(op); }
  /// Its result comes with expand().
  void takeGiven(mlir::Operation *op);
  void bindTile(const TileCoords &tile);
  void bindBlock(const FragmentOrigin &origin);
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
  void bindBlock(const FragmentOrigin &origin);
  mlir::Value expand(Place place, mlir::Value scaled);

private:
  Emitter emit;
  bool hasFirstProduct;
  RowMaps rows;
  llvm::SmallVector<std::unique_ptr<BlockValue>> values;
};

} // namespace attnjit::tile
