// score_mod, mask_mod and prob_mod on elements that a thread holds one by one, whichever schedule: it says where they stand. Private to
// this room.
#pragma once

#include "../TileToVector/Emitter.h"
#include "attnjit-mlir/Conversion/TileToVector/MapExpander.h"

namespace attnjit::tile {

/// Whether a captured tensor is read at an index that moves with q, and with kv.
bool readsAtQuery(const TileProgram &program);
bool readsAtKey(const TileProgram &program);

/// Elements are listed row after row, each with the same columns.
class ElementMaps {
public:
  using Value = mlir::Value;
  /// `columns`: where the elements of a row stand, from the thread's first column. `blockCols`: keys per block.
  ElementMaps(mlir::OpBuilder &builder, mlir::Location loc, const TileProgram &program, AbiAccess &abi, llvm::SmallVector<int64_t> columns,
              int64_t blockCols);

  /// What stays the same for a whole tile: `rows` of this thread in it, i64, and its first column in every block, i32.
  void bindTile(const TileCoords &coords, llvm::ArrayRef<Value> rows, Value firstColumn);
  /// From scaled products to scores: score_mod, mask_mod; -inf where there is no key.
  void applyScores(llvm::MutableArrayRef<Value> elements, const KvBlock &block);
  /// prob_mod; 0 where `visible` is false, whatever it says (A13).
  void applyProb(llvm::MutableArrayRef<Value> probs, llvm::ArrayRef<Value> visible, const KvBlock &block);
  bool hasProb() const { return prob.has_value(); }

  Value rowExists(int64_t row) const { return exists[row]; } ///< i1
  Value query(int64_t row) const { return queries[row]; }    ///< q_idx, i64; may lie past M

private:
  /// Where a captured index left its tensor, one flag per element; null where none can (A10).
  using Flags = llvm::SmallVector<Value>;
  Value insideOf(bool needed, Value index, Value end);
  void forEachElement(MapExpander &expander, const KvBlock &block, llvm::function_ref<void(size_t element)> body);
  Flags applyScore(llvm::MutableArrayRef<Value> elements, const KvBlock &block);
  void dropHidden(llvm::MutableArrayRef<Value> elements, const KvBlock &block, llvm::ArrayRef<Value> outOfRange);
  Value isSpecial(const KvBlock &block);
  void report(Value outOfRange, Value counts, const KvBlock &block, size_t element);

  Emitter emit;
  const TileProgram &program;
  AbiAccess &abi;
  llvm::SmallVector<int64_t> columns;
  int64_t blockCols;
  bool clampsQueries, clampsKeys;

  TileCoords tile;
  llvm::SmallVector<Value> queries, exists;
  Value firstColumn; ///< i32
  std::optional<MapExpander> score, mask, prob;
};

} // namespace attnjit::tile
