// Warp-wide operations on matrix fragments: what one thread holds of an operand or a result of mma.sync. Private to this room.
//
// A warp multiplies 16x16 by 16x8 tiles (m16n8k16). With `lane` = 0..31, group = lane / 4 and pair = lane % 4 * 2, a thread holds of
//
//   the result C, 16x8 f32     c0 c1: row group,     columns pair, pair + 1          c2 c3: row group + 8, the same columns
//   the left factor A, 16x16   a0: row group, columns pair ..   a1: row group + 8    a2, a3: the same rows, columns + 8 (two elements each)
//   the right factor B, 16x8   b0: rows pair .. of column group                      b1: rows + 8
//
// so the results of two neighbouring C tiles, rounded, are one A tile without any exchange between threads.
#pragma once

#include "../TileToVector/Emitter.h"

#include <array>

namespace attnjit::tile {

/// Columns of tiles of a head of `columns`: whole fragments, of which what the head does not have is zero.
constexpr int64_t paddedColumns(int64_t columns) { return (columns + 15) / 16 * 16; }

/// Where a thread stands in its block; all i32.
struct ThreadPosition {
  mlir::Value thread, warp, lane;
  mlir::Value group; ///< lane / 4: row of C in this thread
  mlir::Value pair;  ///< lane % 4 * 2: first column of C in this thread

  static ThreadPosition emit(const Emitter &emit);
};

using Fragment4 = std::array<mlir::Value, 4>;

/// Row of this thread (0 or 1) and column offset from `pair` of part `part` of a C fragment.
constexpr int64_t rowOf(int64_t part) { return part / 2; }
constexpr int64_t columnOf(int64_t part) { return part % 2; }

/// base + bytes, in the address space of base.
mlir::Value emitByteOffset(const Emitter &emit, mlir::Value base, mlir::Value bytes);
mlir::Value emitByteOffset(const Emitter &emit, mlir::Value base, int64_t bytes);

/// Four 8x8 matrices of 16-bit elements from shared memory; lanes 8i .. 8i + 7 give the addresses of the rows of matrix i.
/// `transposed` hands each matrix out transposed.
Fragment4 emitLoadMatrices(const Emitter &emit, mlir::Value address, bool transposed);

/// c + a . b for A of 16x16 and B of 16x8 (b0, b1), elements of `type` (bf16 or f16), sums in f32.
Fragment4 emitMma(const Emitter &emit, mlir::Type type, const Fragment4 &a, mlir::Value b0, mlir::Value b1, const Fragment4 &c);

/// Two f32 rounded to nearest even and packed, `low` in the low half, as i32.
mlir::Value emitPack(const Emitter &emit, mlir::Type type, mlir::Value low, mlir::Value high);

/// The A tile whose rows are those of two neighbouring C tiles, rounded to `type`.
Fragment4 emitLeftFactor(const Emitter &emit, mlir::Type type, const Fragment4 &left, const Fragment4 &right);

/// Combines the f32 or f64 of `lanes` neighbouring threads, a power of two; all of them get the result.
mlir::Value emitLaneReduce(const Emitter &emit, mlir::Value value, int64_t lanes,
                           llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> combine);

/// Combines the f32 of the four threads which share a row; all four get the result.
mlir::Value emitRowReduce(const Emitter &emit, mlir::Value value, llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> combine);

/// condition ? a : b, f32, in one instruction: of a condition that is a conjunction LLVM would make a select of selects.
mlir::Value emitSelectAtOnce(const Emitter &emit, mlir::Value condition, mlir::Value a, mlir::Value b);

/// 2^x by the special function unit: ex2.approx, at most 2 ulp, subnormal results flushed to 0, -inf gives exactly 0, NaN stays.
mlir::Value emitFastExp2(const Emitter &emit, mlir::Value x);
/// 1 / x by the special function unit, at most 1 ulp.
mlir::Value emitFastReciprocal(const Emitter &emit, mlir::Value x);

} // namespace attnjit::tile
