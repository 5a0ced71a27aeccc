// The frame that every CPU lowering of a tile program shares: reading KernelArgs, walking tiles and walking the plan.
//
// Emitted kernels have the signature of CpuKernelFn as  func.func @name(%args: !llvm.ptr, %begin: i64, %end: i64, %workspace: !llvm.ptr).
// Memory is reached through llvm.getelementptr / llvm.load / llvm.store on scalars and native-width vectors; arithmetic is arith / math /
// vector; control flow is scf. All addresses are i64.
#pragma once

#include "attnjit-mlir/Conversion/TileToVector/Schedules.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/STLFunctionalExtras.h"

#include <optional>

namespace attnjit::tile {

enum class Operand { Q, K, V, Out, Lse, Max, Sinks };

/// Pointer and element strides (batch, head, row, column) of an operand, as i64 values.
struct OperandAccess {
  mlir::Value pointer;
  mlir::Value strides[4];
};

/// What the descales of a kv head come to: the factor of its scores (with KernelArgs::scale) and that of its output.
struct HeadFactors {
  mlir::Value score, output;
};

/// Loads the fields of KernelArgs, each where it is asked for (LLVM's early-cse and the builder's caller keep them out of loops).
class AbiAccess {
public:
  /// Whether a kernel may call KernelArgs::functions: pointers of the host, which mean nothing to a GPU.
  enum class Functions { Called, Inline };
  static Functions functionsOf(const CpuTarget &target) { return target.callsFunctions ? Functions::Called : Functions::Inline; }
  AbiAccess(mlir::OpBuilder &builder, mlir::Location loc, mlir::Value args, Functions functions)
      : builder(builder), loc(loc), args(args), functions(functions) {}

  mlir::Value batch();                                                         ///< B, i64; likewise the next four
  mlir::Value queryHeads();                                                    ///< Hq
  mlir::Value kvHeads();                                                       ///< Hkv
  mlir::Value queries();                                                       ///< M
  mlir::Value keys();                                                          ///< N
  mlir::Value scale(mlir::Type type);                                          ///< KernelArgs::scale, f32 or f64; likewise the next one
  HeadFactors headFactors(mlir::Type type, mlir::Value b, mlir::Value kvHead); ///< the scale among them
  mlir::Value hasDescales();                                                   ///< i1; else factors are scale and 1
  OperandAccess operand(Operand which);
  mlir::Value capturePointer(unsigned index);
  mlir::Value captureSize(unsigned index, unsigned dim);   ///< i64
  mlir::Value captureStride(unsigned index, unsigned dim); ///< i64, elements
  mlir::Value scalar(unsigned index, mlir::Type type);     ///< truncated / rounded to `type`
  mlir::Value statusPointer();
  mlir::Value arguments() const { return args; } ///< the KernelArgs themselves
  bool hasFunctions() const { return functions == Functions::Called; }
  mlir::Value function(uint64_t offsetInTable); ///< a pointer of KernelArgs::functions
  mlir::Value splitKeys();                      ///< KernelArgs::split, i64
  mlir::Value splitParts();                     ///< i64
  mlir::Value splitStates();                    ///< pointer
  mlir::Value pageTable(mlir::Value b);         ///< pointer to the pages of batch b
  mlir::Value pageSize();                       ///< rows, i64
  mlir::Value planOffsets();                    ///< pointer, may be null at run time
  mlir::Value planRuns();
  mlir::Value planIndex(mlir::Value b, mlir::Value h, mlir::Value queryTile); ///< b*batchStride + h*headStride + tile

private:
  mlir::Value load(uint64_t offset, mlir::Type type);
  mlir::OpBuilder &builder;
  mlir::Location loc;
  mlir::Value args;
  Functions functions;
};

/// The rows of K or V of one batch and kv head, wherever they lie: at one distance behind each other, or in the pages of a table. Rows are
/// i64 numbers inside [0, N).
class KvRows {
public:
  KvRows() = default;
  KvRows(mlir::OpBuilder &builder, mlir::Location loc, const TileProgram &program, AbiAccess &abi, Operand which, mlir::Value b,
         mlir::Value kvHead);

  mlir::Value at(mlir::Value row) const;                    ///< pointer to the first element
  mlir::Value stride() const { return operand.strides[2]; } ///< elements between neighbours, of one page if paged
  mlir::Value columnStride() const { return operand.strides[3]; }
  bool inPages() const { return bool(pageSize); }
  /// True if rows [begin, begin + count), count > 0, are stride() apart (i1).
  mlir::Value areEvenlySpaced(mlir::Value begin, mlir::Value count) const;
  /// Cuts rows [begin, begin + count) into stretches of evenly spaced rows: pointer to the first, its distance from `begin`, how many.
  void forEachStretch(mlir::Value begin, mlir::Value count,
                      llvm::function_ref<void(mlir::Value address, mlir::Value first, mlir::Value rows)> body) const;

private:
  struct Place {
    mlir::Value page, row; ///< place in the table, row of that page
  };
  Place placeOf(mlir::Value row) const;
  mlir::Value addressOf(const Place &place) const;

  mlir::OpBuilder *builder = nullptr;
  std::optional<mlir::Location> loc;
  mlir::Type element;
  OperandAccess operand;
  mlir::Value base;            ///< of row 0; of the pool, if paged
  mlir::Value table, pageSize; ///< null: no pages
};

/// Coordinates of one tile, all i64: rows [q0, q0 + rows) of batch b, query head h, kv head kvHead.
struct TileCoords {
  mlir::Value b, h, kvHead, queryTile, q0, rows;
};

/// Emits the loop over [begin, end) of linear tile numbers (order: KernelAbi.h).
void forEachTile(mlir::OpBuilder &builder, mlir::Location loc, AbiAccess &abi, int64_t tileRows, mlir::Value begin, mlir::Value end,
                 llvm::function_ref<void(const TileCoords &)> body);

/// One kv block: keys [begin, end) (i64, end - begin <= tileCols, both inside [0, N)), and whether the mask must be evaluated (i1).
struct KvBlock {
  mlir::Value begin, end, partial;
};

/// Which rows and keys a walk is about, all i64. Null headLast: one head. Null keyEnd: all keys.
struct KvScope {
  mlir::Value b, headFirst, headLast; ///< heads, inclusive
  mlir::Value qFirst, qLast;          ///< queries, inclusive
  mlir::Value planIndex;              ///< of KernelArgs::plan
  mlir::Value keyBegin, keyEnd;
};

/// The rows of a tile and all keys.
KvScope scopeOf(mlir::OpBuilder &builder, mlir::Location loc, AbiAccess &abi, const TileCoords &tile);

/// Emits the walk over a plan: runs of the table (or the one run [0, N)), cut into blocks of `cols` keys, each narrowed by the closed form
/// if there is one: empty blocks are skipped, full ones have partial = false. `iterArgs` are carried through; body returns their next
/// values.
llvm::SmallVector<mlir::Value> forEachKvBlock(mlir::OpBuilder &builder, mlir::Location loc, const TileProgram &program, AbiAccess &abi,
                                              const KvScope &scope, int64_t cols, mlir::ValueRange iterArgs,
                                              llvm::function_ref<llvm::SmallVector<mlir::Value>(const KvBlock &, mlir::ValueRange)> body);

/// Emits the closed form on a box (inclusive bounds, i64): (mayBeTrue, mayBeFalse) as i1. Without one: the constants (true, has a mask).
std::pair<mlir::Value, mlir::Value> emitClassify(mlir::OpBuilder &builder, mlir::Location loc, const TileProgram &program, AbiAccess &abi,
                                                 mlir::Value b, mlir::Value h, mlir::Value qLo, mlir::Value qHi, mlir::Value kvLo,
                                                 mlir::Value kvHi);

/// Creates the empty kernel function next to program.kernel; the builder is left at its entry, before func.return.
struct KernelFunction {
  mlir::Operation *function;
  mlir::Value args, begin, end, workspace;
};
KernelFunction createKernelFunction(mlir::OpBuilder &builder, const TileProgram &program);

} // namespace attnjit::tile
