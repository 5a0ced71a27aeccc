// Captured tensors that a formula reads at places which move evenly with q and kv: a thread's elements stand at constant distances from
// each other (FragmentRows.h), so they are read at constant distances from one address for each row. Private to this room.
//
//   EvenLoad     in a block with all of its keys, of tensors whose last stride is 1; two neighbouring keys at once, if they lie in one
//                aligned piece of memory
//   StagedLoad   the same by way of shared memory, a block ahead and in whole rows, where a schedule has room for that
//   ClampedLoad  in any block, of any strides
#pragma once

#include "../TileToVector/ScoreTables.h"
#include "Fragments.h"
#include "attnjit-mlir/Conversion/TileToVector/MapExpander.h"

#include <map>
#include <memory>

namespace attnjit::tile {

/// An element of a thread: in its first or second row, in this 16x8 tile, in its first or second column there.
struct Place {
  int64_t row, tile, column;
  int64_t distance() const { return 8 * tile + column; } ///< in keys, from the thread's first one
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

/// Either of two i1, where there are two.
mlir::Value either(const Emitter &emit, mlir::Value a, mlir::Value b);
/// The key of a place.
mlir::Value keyAt(const Emitter &emit, mlir::Value firstKey, Place place);

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

  struct Index {
    DiagonalValues::Slope slope;
    std::unique_ptr<MapExpander> expander;
    bool mayWrap; ///< may be negative (Python's wrap)
  };
  mlir::Value lastStride(); ///< in elements
  mlir::Value read(mlir::Type type, mlir::Value address, int64_t alignment) const;
  mlir::Value widen(mlir::Value raw);

  mlir::Type memory, raw;
  llvm::SmallVector<Index> indices;
  bool sharesRows;                  ///< moves with kv alone
  bool isDense = true;              ///< the last stride is taken for 1
  std::array<mlir::Value, 2> first; ///< address of each row at the thread's first key

private:
  mlir::Value indexAt(Index &index, mlir::Value query, mlir::Value key);
  mlir::Value addressAt(mlir::Value query, mlir::Value key);
  mlir::Value lowestOf(Index &index, const KvBlock &block);
  bool readsPairs() const { return alignment > elementBytes; }
  std::array<mlir::Value, 2> readPair(Place place);
  mlir::Value addressOf(int64_t row, int64_t distance) const;
  virtual mlir::Value elementAddress(Place place) const;

  mlir::Value tileIsMisaligned; ///< i1
};

/// Such a load in blocks that may have fewer keys than their tile, and of tensors with any last stride: elements without a key read that of
/// the last one.
class ClampedLoad : public EvenLoad {
public:
  /// Null: it is not of that kind, or may be asked for an index below 0.
  static std::unique_ptr<ClampedLoad> create(const FormulaFrame &frame, attn::LoadOp load, const DiagonalValues &values);

  /// bindBlock where `keysLeft` keys, i32, are there from the thread's first one on, perhaps none.
  void bindKeys(const FragmentOrigin &origin, mlir::Value keysLeft);

private:
  ClampedLoad(const FormulaFrame &frame, attn::LoadOp load, const DiagonalValues &values);
  mlir::Value elementAddress(Place place) const override;

  mlir::Value lastDistance, stepBytes; ///< i32; i64
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

} // namespace attnjit::tile
