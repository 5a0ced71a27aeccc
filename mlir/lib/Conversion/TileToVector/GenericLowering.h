// The generic lowering (MATH): every tile and row value is a buffer in the workspace, every tile op one nest of loops over it. Private to
// this room.
//
// It knows no algorithm, only ops, so it gives the tile dialect its executable meaning and is a second opinion for every schedule.
// Buffers hold the compute type; columns are padded to whole vectors, and the padding holds anything: no op lets it reach a valid element.
// Each buffer knows how many of its rows and columns are valid, so that short tiles cost little and nothing outside an operand is read (A6,
// A10).
#pragma once

#include "Emitter.h"
#include "attnjit-mlir/Conversion/TileToVector/KernelFrame.h"
#include "attnjit-mlir/Conversion/TileToVector/MapExpander.h"
#include "attnjit-mlir/Conversion/TileToVector/Schedules.h"
#include "attnjit-mlir/Dialect/Tile/Tile.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/Support/MathExtras.h"

namespace attnjit::tile {

/// A tile in the workspace. Element (r, c) stands at base[r * stride + c], transposed at base[c * stride + r]. A row is one column.
struct TileBuffer {
  mlir::Value base;
  int64_t rows = 0, cols = 0, stride = 0;
  bool transposed = false;
  mlir::Value validRows, validCols; ///< i64; the rest is padding
};

/// Emits one kernel. The ops stand in three files: GenericLowering.cpp (walk, memory, arithmetic), GenericMaps.cpp (formulas) and
/// GenericSoftmax.cpp.
class GenericLowering {
public:
  GenericLowering(const TileProgram &program, const CpuTarget &target);
  llvm::LogicalResult run();

private:
  using Value = mlir::Value;
  using Type = mlir::Type;

  // GenericLowering.cpp: walking.
  void lowerBlock(mlir::Block &block);
  void lower(PositionOp op);
  void lower(PlanOp) {} // the walk of the stream reads it from the program
  void lower(SplitOp op);
  void lower(StreamOp op);
  llvm::SmallVector<TileBuffer> carryState(mlir::ValueRange inits, llvm::ArrayRef<mlir::BlockArgument> arguments);
  void storeState(mlir::Block &body, llvm::ArrayRef<TileBuffer> state);
  void nameResults(mlir::Operation *op, llvm::ArrayRef<TileBuffer> state);

  // Buffers.
  Value takeWorkspace(int64_t elements);
  TileBuffer allocate(Type type, bool transposed = false);
  TileBuffer reuseOrAllocate(Value input);
  void copyIfDistinct(const TileBuffer &from, const TileBuffer &to);
  TileBuffer transposedCopy(const TileBuffer &from, Type type);
  int64_t padded(int64_t count) const { return llvm::alignTo(count, lanes); }
  Value element(const TileBuffer &buffer, Value r, Value c);
  Value loadVector(const TileBuffer &buffer, Value r, Value c) { return emit.load(vectorType, element(buffer, r, c)); }
  void storeVector(const TileBuffer &buffer, Value r, Value c, Value value) { emit.store(value, element(buffer, r, c)); }
  Value loadRow(const TileBuffer &row, Value r) { return emit.load(compute, emit.at(row.base, compute, r)); }
  void storeRow(const TileBuffer &row, Value r, Value value) { emit.store(value, emit.at(row.base, compute, r)); }
  void forEachRow(const TileBuffer &buffer, llvm::function_ref<void(Value r)> body);
  /// Columns [0, validCols) in whole vectors.
  void forEachColumnVector(const TileBuffer &buffer, llvm::function_ref<void(Value c)> body);
  void forEachVector(const TileBuffer &buffer, llvm::function_ref<void(Value r, Value c)> body);

  // Memory.
  Value rowAddress(const OperandAccess &access, Type memory, Value b, Value head, Value row);
  OperandAccess accessOf(Value view);
  void forEachOperandColumn(int64_t cols, bool contiguous, llvm::function_ref<void(Value c)> vectorBody,
                            llvm::function_ref<void(Value c)> scalarBody);
  void lower(LoadOp op);
  Value validRowsOf(LoadOp op, Value row);
  void lower(StoreOp op);
  void lower(LoadRowOp op);
  void lower(StoreRowOp op);

  // Arithmetic.
  /// Rows and vectors of columns of the register block of a dot: 8 accumulators, 2 of b and 1 of a fit 16 registers.
  static constexpr int64_t kDotRows = 4, kDotVectors = 2;
  struct Dot {
    TileBuffer a, b, acc, out; ///< b reads as [depth][columns] whatever its layout is called; acc.base is null for none
    Value depth, scale;
  };
  void lower(FillOp op);
  void lower(CastOp op);
  void lower(RowScaleOp op);
  void lower(AddOp op);
  void lower(DotOp op);
  void dotBlock(const Dot &dot, Value r, Value c, int64_t width);

  // GenericMaps.cpp
  /// Where a vector of elements lies.
  struct ElementPosition {
    Value r, c;     ///< in the tile, i64
    Value q, kv;    ///< scalar and vector of the index type; lanes past the end repeat the last key
    Value isInside; ///< vector of i1: not past the end
  };
  /// Binds a map to every vector of elements of a tile. Columns outside, so that what depends on the key alone is computed once per vector.
  template <typename MapOrMask>
  void forEachMapped(MapOrMask op, const TileBuffer &buffer, MapExpander &map, llvm::function_ref<void(const ElementPosition &)> body);
  void lower(MapOp op);
  void reportScore(MapOp op, Value outOfRange, const ElementPosition &position);
  void lower(MaskOp op);
  void lower(ProbOp op);

  // GenericSoftmax.cpp
  void lower(SoftmaxInitOp op);
  void lower(SoftmaxStepOp op);
  void lower(SoftmaxMergeOp op);
  void lower(SoftmaxFinishOp op);
  void lower(SoftmaxNormOp op);
  void lower(SoftmaxProbsOp op);
  Value sinkOf(Value sink, Value r);
  Value maximum(Value a, Value b) { return emit.make<mlir::arith::MaximumFOp>(a, b); }
  Value reduce(Value vector, llvm::function_ref<Value(Value, Value)> combine);

  const TileProgram &program;
  mlir::OpBuilder builder;
  mlir::Location loc;
  KernelFunction function;
  Emitter emit;
  AbiAccess abi;
  Type compute;
  int64_t lanes;
  Type vectorType;
  TileCoords tile;
  Value valueFactor;                                    ///< of the elements of V (HeadFactors::output)
  llvm::DenseMap<Value, TileBuffer> buffers;            ///< of tiles and rows
  llvm::DenseMap<Value, Value> scalars;                 ///< everything else that ops exchange
  llvm::DenseMap<Value, std::pair<Value, Value>> parts; ///< of plans that are parts of another: first key, end
  int64_t workspaceBytes = 0;
  llvm::LogicalResult status = mlir::success();
};

} // namespace attnjit::tile
