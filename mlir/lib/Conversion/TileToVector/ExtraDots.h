// Sums in score_mod that are one more product of queries and keys:
//
//     sum_r f(b, h, q, r) * g(b, h, kv, r)        torch.dot(qr[b, h, q_idx], kr[b, kv_idx])
//
// As a loop for every pair, each step gathers its elements anew. As a product of two tiles each side is evaluated once per row, and what is
// left are multiply-adds. Which factor belongs to which side follows from what it depends on. Private to this room.
#pragma once

#include "attnjit-mlir/Conversion/TileToVector/MapExpander.h"
#include "attnjit-mlir/Dialect/Attn/Attn.h"
#include "attnjit-mlir/Dialect/Tile/TileProgram.h"

#include <memory>

namespace attnjit::tile {

/// One such sum. Its parts are formulas of their own, detached from the program, in the shape of a mask: the arguments are (b, h, q, kv),
/// captures and scalars, the result is what is yielded.
struct ExtraDot {
  attn::ReduceOp sum;
  std::unique_ptr<mlir::Region> querySide; ///< f: its kv stands for r
  std::unique_ptr<mlir::Region> keySide;   ///< g: its q stands for r
  std::unique_ptr<mlir::Region> length;    ///< the number of r; moves with nothing
  /// score_mod is score + this and nothing else (what it multiplies the sum by is a factor of the query side): the product may go on in the
  /// accumulators of the scores.
  bool isWholeMap = false;
};

/// Dots that are longer at run time stay loops within the map; more dots than these do anyway.
inline constexpr int64_t kMostDotLength = 512;
inline constexpr unsigned kMostDots = 2;

/// An extra dot as a schedule computes it: of sides that are packed, a row per query and a row per key, filled up with zeros.
struct PackedDot {
  using Value = mlir::Value;
  PackedDot(mlir::OpBuilder &builder, const TileProgram &program, AbiAccess &abi, int64_t lanes, ExtraDot extra);

  /// How far the dot reaches at this call: sets length and stride; answers whether that fits (i1).
  Value bindLength(const TileProgram &program, AbiAccess &abi);
  /// Rows of the key side, `stride` apart, for `count` keys from `first` on.
  void packKeys(Value first, Value count, Value target);
  /// One row of either side: `elements` answers those at a vector of r.
  void packRow(Value target, llvm::function_ref<Value(Value r, MapExpander::Lanes inLanes)> elements);

  ExtraDot dot;
  MapExpander key;
  Value length, stride; ///< stride: the length in whole vectors

private:
  mlir::OpBuilder &builder;
  mlir::Location loc;
  int64_t lanes;
  mlir::Type compute, index;
};

/// The extra dots of score_mod, at most kMostDots; other sums stay loops. None where indices are checked: a side is evaluated for rows that
/// no visible pair reads, and those must not be reported (A10).
llvm::SmallVector<ExtraDot> findExtraDots(const TileProgram &program);

} // namespace attnjit::tile
