// The generic lowering (MATH): every tile and row value is a buffer in the workspace, every tile op one nest of loops over it.
//
// It knows no algorithm, only ops, so it gives the tile dialect its executable meaning and is a second opinion for every schedule.
// Buffers hold the compute type; columns are padded to whole vectors, and the padding holds anything: no op lets it reach a valid element.
// Each buffer knows how many of its rows and columns are valid, so that short tiles cost little and nothing outside an operand is read (A6, A10).
#include "Elements.h"
#include "attnjit-mlir/Conversion/TileToVector/MapExpander.h"
#include "attnjit-mlir/Conversion/TileToVector/Schedules.h"
#include "attnjit-mlir/Conversion/TileToVector/VectorMath.h"
#include "attnjit-mlir/Dialect/Tile/Tile.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

#include <cmath>

using namespace mlir;

namespace attnjit::tile {

using CmpI = Emitter::CmpI;
using CmpF = Emitter::CmpF;

TileSizes chooseGenericTile(int64_t headDim, int64_t valueDim) {
  // A block of K and V and the accumulator stay within a common L2 up to D 512, and within L1 reach of the inner loops for small D.
  return std::max(headDim, valueDim) > 256 ? TileSizes{32, 64} : TileSizes{64, 64};
}

namespace {

/// A tile in the workspace. Element (r, c) stands at base[r * stride + c], transposed at base[c * stride + r].
struct Buffer {
  Value base;
  int64_t rows = 0, cols = 0, stride = 0;
  bool transposed = false;
  Value validRows, validCols; ///< i64; the rest is padding
};

class GenericLowering {
public:
  GenericLowering(const TileProgram &program, const CpuTarget &target)
      : program(program), builder(program.kernel->getContext()), loc(program.kernel->getLoc()), function(createKernelFunction(builder, program)),
        emit(builder, loc), abi(builder, loc, function.args), compute(program.computeType),
        lanes(target.vectorBits / compute.getIntOrFloatBitWidth()), vectorType(emit.vec(lanes, compute)) {}

  LogicalResult run() {
    auto kernel = cast<KernelOp>(program.kernel);
    scalars[kernel.getArgument(KernelOp::Scale)] = abi.scale(compute);
    forEachTile(builder, loc, abi, program.tileRows, function.begin, function.end, [&](const TileCoords &coords) {
      tile = coords;
      lowerBlock(kernel.getBody().front());
    });
    if (failed(status)) {
      function.function->erase();
      return failure();
    }
    function.function->setAttr("attnjit.workspace_bytes", builder.getI64IntegerAttr(workspaceBytes));
    program.kernel->erase();
    return success();
  }

private:
  //===----------------------------------------------------------------------------------------------------------------===//
  // Walking
  //===----------------------------------------------------------------------------------------------------------------===//

  void lowerBlock(Block &block) {
    for (Operation &op : block) {
      if (isa<YieldOp>(op))
        return; // read by whoever owns the block
      llvm::TypeSwitch<Operation *>(&op)
          .Case<PositionOp, PlanOp, SplitOp, StreamOp, LoadOp, StoreOp, StoreRowOp, FillOp, DotOp, MapOp, MaskOp, CastOp, RowScaleOp, SoftmaxInitOp,
                SoftmaxStepOp, SoftmaxMergeOp, SoftmaxFinishOp>([&](auto typed) { lower(typed); })
          .Default([&](Operation *other) { status = other->emitOpError("has no generic lowering for the CPU"); });
      if (failed(status))
        return;
    }
  }

  void lower(PositionOp op) {
    scalars[op.getB()] = tile.b;
    scalars[op.getH()] = tile.h;
    scalars[op.getKvHead()] = tile.kvHead;
    scalars[op.getQ0()] = tile.q0;
  }

  void lower(PlanOp) {} // the walk of the stream reads it from the program

  /// The parts one after the other: what the op means, on one processor.
  void lower(SplitOp op) {
    Block &body = op.getBody().front();
    SmallVector<Buffer> state = carryState(op.getInits(), body.getArguments().drop_front(1));
    Value keys = abi.splitKeys();
    emit.loop(emit.index(0), abi.splitParts(), emit.index(1), [&](Value part) {
      Value begin = emit.mul(part, keys);
      parts[body.getArgument(0)] = {begin, emit.minS(emit.add(begin, keys), abi.keys())};
      lowerBlock(body);
      storeState(body, state);
    });
    nameResults(op, state);
  }

  void lower(StreamOp op) {
    Block &body = op.getBody().front();
    SmallVector<Buffer> state = carryState(op.getInits(), body.getArguments().drop_front(3));
    KvScope scope = scopeOf(builder, loc, abi, tile);
    if (auto part = parts.find(op.getPlan()); part != parts.end())
      std::tie(scope.keyBegin, scope.keyEnd) = part->second;
    forEachKvBlock(builder, loc, program, abi, scope, program.tileCols, {}, [&](const KvBlock &block, ValueRange) -> SmallVector<Value> {
      scalars[body.getArgument(0)] = block.begin;
      scalars[body.getArgument(1)] = emit.sub(block.end, block.begin);
      scalars[body.getArgument(2)] = block.partial;
      lowerBlock(body);
      storeState(body, state);
      return {};
    });
    nameResults(op, state);
  }

  /// The state of a loop lives in buffers that every round reads and writes again.
  SmallVector<Buffer> carryState(ValueRange inits, ArrayRef<BlockArgument> arguments) {
    SmallVector<Buffer> state;
    for (auto [init, argument] : llvm::zip_equal(inits, arguments)) {
      state.push_back(reuseOrAllocate(init));
      copyIfDistinct(buffers.lookup(init), state.back());
      buffers[argument] = state.back();
    }
    return state;
  }

  void storeState(Block &body, ArrayRef<Buffer> state) {
    if (succeeded(status))
      for (auto [next, current] : llvm::zip_equal(body.getTerminator()->getOperands(), state))
        copyIfDistinct(buffers.lookup(next), current);
  }

  void nameResults(Operation *op, ArrayRef<Buffer> state) {
    for (auto [result, current] : llvm::zip_equal(op->getResults(), state))
      buffers[result] = current;
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // Buffers
  //===----------------------------------------------------------------------------------------------------------------===//

  Value takeWorkspace(int64_t elements) {
    OpBuilder::InsertionGuard guard(builder);
    auto entry = cast<func::FuncOp>(function.function);
    builder.setInsertionPointToStart(&entry.getBody().front());
    Value base = emit.atBytes(function.workspace, workspaceBytes);
    workspaceBytes += llvm::alignTo(elements * compute.getIntOrFloatBitWidth() / 8, 64);
    return base;
  }

  int64_t padded(int64_t count) const { return llvm::alignTo(count, lanes); }

  /// A new buffer for a tile or row type. Rows of a kernel's state and of its output are query rows.
  Buffer allocate(Type type, bool transposed = false) {
    Buffer buffer;
    buffer.transposed = transposed;
    buffer.validRows = tile.rows;
    if (auto row = dyn_cast<RowType>(type)) {
      buffer.rows = row.getRows();
      buffer.cols = buffer.stride = 1;
      buffer.base = takeWorkspace(padded(buffer.rows));
    } else {
      auto shape = cast<TileType>(type);
      buffer.rows = shape.getRows();
      buffer.cols = shape.getCols();
      buffer.stride = padded(transposed ? buffer.rows : buffer.cols);
      // dot() works on whole groups of rows.
      buffer.base = takeWorkspace(buffer.stride * (transposed ? buffer.cols : int64_t(llvm::alignTo(buffer.rows, kDotRows))));
    }
    buffer.validCols = emit.index(buffer.cols);
    return buffer;
  }

  /// The buffer of `input` if nobody else reads it, else a new one like it.
  Buffer reuseOrAllocate(Value input) {
    Buffer buffer = buffers.lookup(input);
    if (input.hasOneUse() && !buffer.transposed)
      return buffer;
    Buffer fresh = allocate(input.getType());
    fresh.validRows = buffer.validRows;
    fresh.validCols = buffer.validCols;
    return fresh;
  }

  void copyIfDistinct(const Buffer &from, const Buffer &to) {
    if (from.base == to.base)
      return;
    if (to.stride == 1) {
      emit.loop(emit.index(0), to.validRows, emit.index(1), [&](Value r) { storeRow(to, r, loadRow(from, r)); });
      return;
    }
    forEachVector(to, [&](Value r, Value c) { storeVector(to, r, c, loadVector(from, r, c)); });
  }

  Value element(const Buffer &buffer, Value r, Value c) {
    Value major = buffer.transposed ? c : r, minor = buffer.transposed ? r : c;
    return emit.at(buffer.base, compute, emit.add(emit.mul(major, buffer.stride), minor));
  }
  Value loadVector(const Buffer &buffer, Value r, Value c) { return emit.load(vectorType, element(buffer, r, c)); }
  void storeVector(const Buffer &buffer, Value r, Value c, Value value) { emit.store(value, element(buffer, r, c)); }
  Value loadRow(const Buffer &row, Value r) { return emit.load(compute, emit.at(row.base, compute, r)); }
  void storeRow(const Buffer &row, Value r, Value value) { emit.store(value, emit.at(row.base, compute, r)); }

  void forEachRow(const Buffer &buffer, llvm::function_ref<void(Value r)> body) {
    emit.loop(emit.index(0), buffer.validRows, emit.index(1), body);
  }
  /// Columns [0, validCols) in whole vectors.
  void forEachColumnVector(const Buffer &buffer, llvm::function_ref<void(Value c)> body) {
    emit.loop(emit.index(0), buffer.validCols, emit.index(lanes), body);
  }
  void forEachVector(const Buffer &buffer, llvm::function_ref<void(Value r, Value c)> body) {
    forEachRow(buffer, [&](Value r) { forEachColumnVector(buffer, [&](Value c) { body(r, c); }); });
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // Memory
  //===----------------------------------------------------------------------------------------------------------------===//

  /// Address of element (b, head, row, 0) of a view, with the operand's strides.
  Value rowAddress(const OperandAccess &access, Type memory, Value b, Value head, Value row) {
    Value offset = emit.add(emit.mul(b, access.strides[0]), emit.mul(head, access.strides[1]));
    return emit.at(access.pointer, memory, emit.add(offset, emit.mul(row, access.strides[2])));
  }

  OperandAccess accessOf(Value view) {
    static constexpr Operand kOperands[] = {Operand::Q, Operand::K, Operand::V, Operand::Out, Operand::Lse, Operand::Max};
    return abi.operand(kOperands[cast<BlockArgument>(view).getArgNumber()]);
  }

  /// Calls `vectorBody` on whole vectors of columns and `scalarBody` on the rest (on all, if columns are not contiguous in memory).
  void forEachOperandColumn(int64_t cols, bool contiguous, llvm::function_ref<void(Value c)> vectorBody,
                            llvm::function_ref<void(Value c)> scalarBody) {
    int64_t whole = contiguous ? cols / lanes * lanes : 0;
    if (whole)
      emit.loop(0, whole, lanes, vectorBody);
    if (whole < cols)
      emit.loop(whole, cols, 1, scalarBody);
  }

  void lower(LoadOp op) {
    ViewType view = op.getView().getType();
    Type memory = view.getElementType(), raw = rawType(emit, memory);
    // A tile that only serves as the transposed side of dots is transposed while it is read.
    bool transposed = llvm::all_of(op.getResult().getUses(), [&](OpOperand &use) {
      auto dot = dyn_cast<DotOp>(use.getOwner());
      return dot && dot.getTransposeB() && use.get() == dot.getB() && use.get() != dot.getA();
    });
    Buffer buffer = allocate(op.getResult().getType(), transposed);
    OperandAccess access = accessOf(op.getView());
    Value row = scalars.lookup(op.getRow());
    buffer.validRows = validRowsOf(op, row);
    forEachRow(buffer, [&](Value r) {
      Value from = rowAddress(access, raw, scalars.lookup(op.getB()), scalars.lookup(op.getHead()), emit.add(row, r));
      forEachOperandColumn(
          buffer.cols, view.getContiguous() && !transposed,
          [&](Value c) { storeVector(buffer, r, c, loadFloats(emit, emit.at(from, raw, c), memory, compute, lanes)); },
          [&](Value c) {
            Value offset = view.getContiguous() ? c : emit.mul(c, access.strides[3]);
            emit.store(loadFloats(emit, emit.at(from, raw, offset), memory, compute, 1), element(buffer, r, c));
          });
    });
    buffers[op.getResult()] = buffer;
  }

  /// How many rows of a load exist: those of the block of keys inside a stream, else what the operand has left.
  Value validRowsOf(LoadOp op, Value row) {
    if (auto stream = op->getParentOfType<StreamOp>())
      if (op.getRow() == stream.getBody().getArgument(0))
        return scalars.lookup(stream.getBody().getArgument(1));
    bool isQuery = cast<BlockArgument>(op.getView()).getArgNumber() == KernelOp::Q;
    Value extent = isQuery ? abi.queries() : abi.keys();
    return emit.minS(emit.index(op.getResult().getType().getRows()), emit.sub(extent, row));
  }

  void lower(StoreOp op) {
    ViewType view = op.getView().getType();
    Type memory = view.getElementType(), raw = rawType(emit, memory);
    Buffer buffer = buffers.lookup(op.getTile());
    OperandAccess access = accessOf(op.getView());
    forEachRow(buffer, [&](Value r) {
      Value to = rowAddress(access, raw, scalars.lookup(op.getB()), scalars.lookup(op.getHead()), emit.add(scalars.lookup(op.getRow()), r));
      forEachOperandColumn(
          buffer.cols, view.getContiguous(), [&](Value c) { storeFloats(emit, loadVector(buffer, r, c), emit.at(to, raw, c), memory); },
          [&](Value c) {
            Value offset = view.getContiguous() ? c : emit.mul(c, access.strides[3]);
            storeFloats(emit, emit.load(compute, element(buffer, r, c)), emit.at(to, raw, offset), memory);
          });
    });
  }

  void lower(StoreRowOp op) {
    Type memory = op.getView().getType().getElementType();
    Buffer values = buffers.lookup(op.getValues());
    OperandAccess access = accessOf(op.getView());
    Value isWanted = emit.make<LLVM::ICmpOp>(LLVM::ICmpPredicate::ne, access.pointer, emit.make<LLVM::ZeroOp>(emit.ptr()));
    emit.ifThen(isWanted, [&] {
      forEachRow(values, [&](Value r) {
        Value row = emit.add(scalars.lookup(op.getRow()), r);
        storeFloats(emit, loadRow(values, r), rowAddress(access, rawType(emit, memory), scalars.lookup(op.getB()), scalars.lookup(op.getHead()), row),
                    memory);
      });
    });
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // Arithmetic
  //===----------------------------------------------------------------------------------------------------------------===//

  void lower(FillOp op) {
    Buffer buffer = allocate(op.getResult().getType());
    Value value = emit.constFloat(vectorType, op.getValue().convertToDouble());
    forEachVector(buffer, [&](Value r, Value c) { storeVector(buffer, r, c, value); });
    buffers[op.getResult()] = buffer;
  }

  void lower(CastOp op) {
    Type memory = op.getResult().getType().getElementType();
    Buffer in = buffers.lookup(op.getInput()), out = reuseOrAllocate(op.getInput());
    forEachVector(out, [&](Value r, Value c) {
      Value rounded = narrowElements(emit, loadVector(in, r, c), memory);
      storeVector(out, r, c, widenElements(emit, rounded, memory, compute));
    });
    buffers[op.getResult()] = out;
  }

  void lower(RowScaleOp op) {
    Buffer in = buffers.lookup(op.getTile()), factors = buffers.lookup(op.getFactors()), out = reuseOrAllocate(op.getTile());
    forEachRow(out, [&](Value r) {
      Value factor = emit.splat(loadRow(factors, r), lanes);
      forEachColumnVector(out, [&](Value c) { storeVector(out, r, c, emit.mulF(loadVector(in, r, c), factor)); });
    });
    buffers[op.getResult()] = out;
  }

  /// Rows and vectors of columns of the register block of a dot: 8 accumulators, 2 of b and 1 of a fit 16 registers.
  static constexpr int64_t kDotRows = 4, kDotVectors = 2;

  void lower(DotOp op) {
    Buffer a = buffers.lookup(op.getA()), b = buffers.lookup(op.getB());
    Buffer acc = op.getAcc() ? buffers.lookup(op.getAcc()) : Buffer();
    if (op.getTransposeB() != b.transposed)
      b = transposedCopy(b, op.getB().getType());
    Buffer out = op.getAcc() ? reuseOrAllocate(op.getAcc()) : allocate(op.getResult().getType());
    out.validRows = a.validRows;
    out.validCols = op.getTransposeB() ? b.validRows : b.validCols;
    Value depth = op.getTransposeB() ? a.validCols : emit.minS(a.validCols, b.validRows);
    Value scale = op.getScale() ? emit.splat(scalars.lookup(op.getScale()), lanes) : Value();

    int64_t vectors = padded(out.cols) / lanes, wide = vectors / kDotVectors * kDotVectors;
    emit.loop(emit.index(0), out.validRows, emit.index(kDotRows), [&](Value r) {
      auto strips = [&](int64_t first, int64_t last, int64_t width) {
        Value end = emit.minS(emit.index(last * lanes), out.validCols);
        emit.loop(emit.index(first * lanes), end, emit.index(width * lanes), [&](Value c) { dotBlock({a, b, acc, out, depth, scale}, r, c, width); });
      };
      if (wide)
        strips(0, wide, kDotVectors);
      if (wide < vectors)
        strips(wide, vectors, 1);
    });
    buffers[op.getResult()] = out;
  }

  struct Dot {
    Buffer a, b, acc, out; ///< b reads as [depth][columns] whatever its layout is called; acc.base is null for none
    Value depth, scale;
  };

  /// out[r .. r+4, c .. c+width vectors] of a dot, in registers.
  void dotBlock(const Dot &dot, Value r, Value c, int64_t width) {
    auto outAt = [&](int64_t i, int64_t v) { return std::pair(emit.add(r, i), emit.add(c, v * lanes)); };
    // With a scale the accumulator joins at the end, else it is where the sum starts.
    bool startsAtAcc = dot.acc.base && !dot.scale;
    SmallVector<Value> sums, aRows;
    for (int64_t i = 0; i < kDotRows; ++i) {
      aRows.push_back(emit.at(dot.a.base, compute, emit.mul(emit.add(r, i), dot.a.stride)));
      for (int64_t v = 0; v < width; ++v) {
        auto [row, col] = outAt(i, v);
        sums.push_back(startsAtAcc ? loadVector(dot.acc, row, col) : emit.constFloat(vectorType, 0.0));
      }
    }
    Value bColumn = emit.at(dot.b.base, compute, c);
    sums = emit.loop(emit.index(0), dot.depth, emit.index(1), sums, [&](Value k, ValueRange carried) {
      Value bRow = emit.at(bColumn, compute, emit.mul(k, dot.b.stride));
      SmallVector<Value> next, bs;
      for (int64_t v = 0; v < width; ++v)
        bs.push_back(emit.load(vectorType, emit.atBytes(bRow, v * lanes * compute.getIntOrFloatBitWidth() / 8)));
      for (int64_t i = 0; i < kDotRows; ++i) {
        Value factor = emit.splat(emit.load(compute, emit.at(aRows[i], compute, k)), lanes);
        for (int64_t v = 0; v < width; ++v)
          next.push_back(emit.fma(factor, bs[v], carried[i * width + v]));
      }
      return next;
    });
    for (int64_t i = 0; i < kDotRows; ++i)
      for (int64_t v = 0; v < width; ++v) {
        auto [row, col] = outAt(i, v);
        Value sum = sums[i * width + v];
        if (dot.scale)
          sum = dot.acc.base ? emit.fma(sum, dot.scale, loadVector(dot.acc, row, col)) : emit.mulF(sum, dot.scale);
        storeVector(dot.out, row, col, sum);
      }
  }

  Buffer transposedCopy(const Buffer &from, Type type) {
    Buffer to = allocate(type, !from.transposed);
    to.validRows = from.validRows;
    to.validCols = from.validCols;
    forEachRow(from, [&](Value r) {
      emit.loop(emit.index(0), from.validCols, emit.index(1),
                [&](Value c) { emit.store(emit.load(compute, element(from, r, c)), element(to, r, c)); });
    });
    return to;
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // Formulas
  //===----------------------------------------------------------------------------------------------------------------===//

  /// Where a vector of elements lies.
  struct ElementPosition {
    Value r, c;    ///< in the tile, i64
    Value q, kv;   ///< scalar and vector of the index type; lanes past the end repeat the last key
    Value isInside; ///< vector of i1: not past the end
  };

  /// Binds a map to every vector of elements of a tile. Columns outside, so that what depends on the key alone is computed once per vector.
  template <typename MapOrMask>
  void forEachMapped(MapOrMask op, const Buffer &buffer, MapExpander &map, llvm::function_ref<void(const ElementPosition &)> body) {
    Value q0 = scalars.lookup(op.getQ0()), kv0 = scalars.lookup(op.getKv0());
    Type indexVector = emit.vec(lanes, program.indexType);
    map.bindHeads(scalars.lookup(op.getB()), scalars.lookup(op.getH()));
    Value last = emit.splat(emit.toInt(program.indexType, emit.sub(emit.add(kv0, buffer.validCols), 1)), lanes);
    forEachColumnVector(buffer, [&](Value c) {
      Value unclamped = emit.add(emit.splat(emit.toInt(program.indexType, emit.add(kv0, c)), lanes), emit.iota(indexVector));
      Value isInside = emit.cmp(CmpI::sle, unclamped, last), kv = emit.minS(unclamped, last);
      map.bindKey(kv);
      forEachRow(buffer, [&](Value r) {
        Value q = emit.toInt(program.indexType, emit.add(q0, r));
        map.bindQuery(q);
        body({r, c, q, kv, isInside});
      });
    });
  }

  void lower(MapOp op) {
    Buffer in = buffers.lookup(op.getInput()), out = reuseOrAllocate(op.getInput());
    MapExpander score(builder, loc, program, op.getBody(), abi, lanes);
    forEachMapped(op, out, score, [&](const ElementPosition &position) {
      MapResult result = score.expand(loadVector(in, position.r, position.c));
      reportScore(op, result.outOfRange, position);
      storeVector(out, position.r, position.c, score.splat(result.value));
    });
    buffers[op.getResult()] = out;
  }

  /// An index that a score_mod takes out of range is an error only where the mask is true (A10), so that the mask is asked there, in the rare case.
  void reportScore(MapOp op, Value outOfRange, const ElementPosition &position) {
    if (!outOfRange)
      return;
    Value flags = emit.bitAnd(emit.splat(outOfRange, lanes), position.isInside);
    emit.ifThen(emit.any(flags), [&] {
      Value b = scalars.lookup(op.getB()), h = scalars.lookup(op.getH()), visible;
      auto maskOp = op.getResult().hasOneUse() ? dyn_cast<MaskOp>(*op.getResult().user_begin()) : MaskOp();
      if (maskOp) {
        MapExpander mask(builder, loc, program, maskOp.getBody(), abi, lanes);
        mask.bindHeads(b, h);
        mask.bindKey(position.kv);
        mask.bindQuery(position.q);
        Value isFull = emit.logicalNot(scalars.lookup(maskOp.getPartial()));
        visible = emit.bitOr(mask.splat(mask.expand(nullptr).value), emit.splat(isFull, lanes));
      }
      emitReport(builder, loc, abi, flags, visible, b, h, position.q, position.kv, lanes);
    });
  }

  void lower(MaskOp op) {
    Buffer in = buffers.lookup(op.getInput()), out = reuseOrAllocate(op.getInput());
    Value minusInf = emit.constFloat(vectorType, -HUGE_VAL);
    copyIfDistinct(in, out);
    emit.ifThen(scalars.lookup(op.getPartial()), [&] {
      MapExpander mask(builder, loc, program, op.getBody(), abi, lanes);
      forEachMapped(op, out, mask, [&](const ElementPosition &position) {
        MapResult result = mask.expand(nullptr);
        emitReport(builder, loc, abi, result.outOfRange, position.isInside, scalars.lookup(op.getB()), scalars.lookup(op.getH()), position.q,
                   position.kv, lanes);
        Value score = loadVector(out, position.r, position.c);
        storeVector(out, position.r, position.c, emit.select(mask.splat(result.value), score, minusInf));
      });
    });
    buffers[op.getResult()] = out;
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // Softmax
  //===----------------------------------------------------------------------------------------------------------------===//

  void lower(SoftmaxInitOp op) {
    Buffer max = allocate(op.getMax().getType()), sum = allocate(op.getSum().getType());
    forEachRow(max, [&](Value r) {
      storeRow(max, r, emit.constFloat(compute, -HUGE_VAL));
      storeRow(sum, r, emit.constFloat(compute, 0.0));
    });
    buffers[op.getMax()] = max;
    buffers[op.getSum()] = sum;
  }

  Value maximum(Value a, Value b) { return emit.make<arith::MaximumFOp>(a, b); }

  /// Folds a vector by halves: a fixed order, and few steps.
  Value reduce(Value vector, llvm::function_ref<Value(Value, Value)> combine) {
    for (int64_t width = lanes / 2; width >= 1; width /= 2) {
      auto low = llvm::to_vector(llvm::seq<int64_t>(0, width)), high = llvm::to_vector(llvm::seq<int64_t>(width, 2 * width));
      Value lower = emit.make<vector::ShuffleOp>(vector, vector, low), upper = emit.make<vector::ShuffleOp>(vector, vector, high);
      vector = combine(lower, upper);
    }
    return emit.lane(vector, 0);
  }

  void lower(SoftmaxStepOp op) {
    Buffer oldMax = buffers.lookup(op.getMax()), oldSum = buffers.lookup(op.getSum()), scores = buffers.lookup(op.getScores());
    Buffer newMax = allocate(op.getNewMax().getType()), newSum = allocate(op.getNewSum().getType()), alpha = allocate(op.getAlpha().getType());
    Buffer probs = reuseOrAllocate(op.getScores());
    probs.validCols = scalars.lookup(op.getCols());

    Value minusInf = emit.constFloat(compute, -HUGE_VAL), minusInfs = emit.constFloat(vectorType, -HUGE_VAL);
    Type positions = emit.vec(lanes, emit.i64());
    Value count = emit.splat(probs.validCols, lanes);
    Value step = emit.index(lanes), zero = emit.index(0);
    /// Scores of a vector of columns; those past the block count for nothing.
    auto scoresAt = [&](Value r, Value c) {
      Value isInside = emit.cmp(CmpI::slt, emit.add(emit.splat(c, lanes), emit.iota(positions)), count);
      return emit.select(isInside, loadVector(scores, r, c), minusInfs);
    };
    forEachRow(probs, [&](Value r) {
      Value maxima = emit.loop(zero, probs.validCols, step, {minusInfs}, [&](Value c, ValueRange carried) -> Emitter::Values {
        return {maximum(carried[0], scoresAt(r, c))};
      })[0];
      Value before = loadRow(oldMax, r);
      Value max = maximum(before, reduce(maxima, [&](Value x, Value y) { return maximum(x, y); }));
      // Where no score is above -inf yet, the reference is 0: exp(-inf - 0) is 0, exp(-inf + inf) would be NaN.
      Value reference = emit.select(emit.cmp(CmpF::OEQ, max, minusInf), emit.constFloat(compute, 0.0), max);
      Value references = emit.splat(reference, lanes);
      Value sums = emit.loop(zero, probs.validCols, step, {emit.constFloat(vectorType, 0.0)}, [&](Value c, ValueRange carried) -> Emitter::Values {
        Value p = emitExp(builder, loc, emit.subF(scoresAt(r, c), references));
        storeVector(probs, r, c, p);
        return {emit.addF(carried[0], p)};
      })[0];
      Value factor = emitExp(builder, loc, emit.subF(before, reference));
      Value sum = reduce(sums, [&](Value x, Value y) { return emit.addF(x, y); });
      storeRow(newMax, r, max);
      storeRow(newSum, r, emit.fma(factor, loadRow(oldSum, r), sum));
      storeRow(alpha, r, factor);
    });
    buffers[op.getNewMax()] = newMax;
    buffers[op.getNewSum()] = newSum;
    buffers[op.getProbs()] = probs;
    buffers[op.getAlpha()] = alpha;
  }

  void lower(SoftmaxMergeOp op) {
    Buffer maxA = buffers.lookup(op.getMaxA()), sumA = buffers.lookup(op.getSumA()), accA = buffers.lookup(op.getAccA());
    Buffer maxB = buffers.lookup(op.getMaxB()), sumB = buffers.lookup(op.getSumB()), accB = buffers.lookup(op.getAccB());
    Buffer max = allocate(op.getMax().getType()), sum = allocate(op.getSum().getType()), acc = reuseOrAllocate(op.getAccA());
    forEachRow(acc, [&](Value r) {
      Value a = loadRow(maxA, r), b = loadRow(maxB, r), larger = maximum(a, b);
      // As in a step: while no score is above -inf the reference is 0, and both weights are exp(-inf) = 0.
      Value isEmpty = emit.cmp(CmpF::OEQ, larger, emit.constFloat(compute, -HUGE_VAL));
      Value reference = emit.select(isEmpty, emit.constFloat(compute, 0.0), larger);
      Value weightA = emitExp(builder, loc, emit.subF(a, reference)), weightB = emitExp(builder, loc, emit.subF(b, reference));
      storeRow(max, r, larger);
      storeRow(sum, r, emit.fma(weightB, loadRow(sumB, r), emit.mulF(weightA, loadRow(sumA, r))));
      Value factorA = emit.splat(weightA, lanes), factorB = emit.splat(weightB, lanes);
      forEachColumnVector(acc, [&](Value c) {
        storeVector(acc, r, c, emit.fma(factorB, loadVector(accB, r, c), emit.mulF(factorA, loadVector(accA, r, c))));
      });
    });
    buffers[op.getMax()] = max;
    buffers[op.getSum()] = sum;
    buffers[op.getAcc()] = acc;
  }

  void lower(SoftmaxFinishOp op) {
    Buffer max = buffers.lookup(op.getMax()), sum = buffers.lookup(op.getSum()), acc = buffers.lookup(op.getAcc());
    Buffer out = reuseOrAllocate(op.getAcc()), lse = allocate(op.getLse().getType());
    Value minusInf = emit.constFloat(compute, -HUGE_VAL);
    forEachRow(out, [&](Value r) {
      Value total = loadRow(sum, r), largest = loadRow(max, r);
      Value isEmpty = emit.splat(emit.cmp(CmpF::OEQ, largest, minusInf), lanes), divisor = emit.splat(total, lanes);
      forEachColumnVector(out, [&](Value c) {
        Value quotient = emit.divF(loadVector(acc, r, c), divisor);
        storeVector(out, r, c, emit.select(isEmpty, emit.constFloat(vectorType, 0.0), quotient));
      });
      storeRow(lse, r, emit.addF(largest, emitLog(builder, loc, abi, total)));
    });
    buffers[op.getOut()] = out;
    buffers[op.getLse()] = lse;
    buffers[op.getRowMax()] = max;
  }

  const TileProgram &program;
  OpBuilder builder;
  Location loc;
  KernelFunction function;
  Emitter emit;
  AbiAccess abi;
  Type compute;
  int64_t lanes;
  Type vectorType;
  TileCoords tile;
  DenseMap<Value, Buffer> buffers; ///< of tiles and rows
  DenseMap<Value, Value> scalars;  ///< everything else that ops exchange
  DenseMap<Value, std::pair<Value, Value>> parts; ///< of plans that are parts of another: first key, end
  int64_t workspaceBytes = 0;
  LogicalResult status = success();
};

} // namespace

LogicalResult lowerGeneric(const TileProgram &program, const CpuTarget &target) {
  if (failed(verifyFormulas(program)))
    return failure();
  return GenericLowering(program, target).run();
}

} // namespace attnjit::tile
