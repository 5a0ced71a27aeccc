// The walk over a tile program, its memory and its arithmetic; GenericLowering.h says what the generic lowering is.
#include "GenericLowering.h"

#include "Elements.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace attnjit::tile {

TileSizes chooseGenericTile(int64_t headDim, int64_t valueDim) {
  // A block of K and V and the accumulator stay within a common L2 up to D 512, and within L1 reach of the inner loops for small D.
  return std::max(headDim, valueDim) > 256 ? TileSizes{32, 64} : TileSizes{64, 64};
}

LogicalResult lowerGeneric(const TileProgram &program, const CpuTarget &target) {
  if (failed(verifyFormulas(program)))
    return failure();
  return GenericLowering(program, target).run();
}

GenericLowering::GenericLowering(const TileProgram &program, const CpuTarget &target)
    : program(program), builder(program.kernel->getContext()), loc(program.kernel->getLoc()),
      function(createKernelFunction(builder, program)), emit(builder, loc),
      abi(builder, loc, function.args, AbiAccess::functionsOf(target)), compute(program.computeType),
      lanes(target.vectorBits / compute.getIntOrFloatBitWidth()), vectorType(emit.vec(lanes, compute)) {}

LogicalResult GenericLowering::run() {
  auto kernel = cast<KernelOp>(program.kernel);
  forEachTile(builder, loc, abi, program.tileRows, function.begin, function.end, [&](const TileCoords &coords) {
    tile = coords;
    HeadFactors factors = abi.headFactors(compute, tile.b, tile.kvHead);
    scalars[kernel.getArgument(KernelOp::Scale)] = factors.score;
    valueFactor = factors.output;
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

//===------------------------------------------------------------------------------------------------------------------===//
// Walking
//===------------------------------------------------------------------------------------------------------------------===//

void GenericLowering::lowerBlock(Block &block) {
  for (Operation &op : block) {
    if (isa<YieldOp>(op))
      return; // read by whoever owns the block
    llvm::TypeSwitch<Operation *>(&op)
        .Case<PositionOp, PlanOp, SplitOp, StreamOp, LoadOp, StoreOp, LoadRowOp, StoreRowOp, FillOp, DotOp, MapOp, MaskOp, ProbOp, CastOp,
              RowScaleOp, AddOp, SoftmaxInitOp, SoftmaxStepOp, SoftmaxMergeOp, SoftmaxFinishOp, SoftmaxNormOp, SoftmaxProbsOp>(
            [&](auto typed) { lower(typed); })
        .Default([&](Operation *other) { status = other->emitOpError("has no generic lowering for the CPU"); });
    if (failed(status))
      return;
  }
}

void GenericLowering::lower(PositionOp op) {
  scalars[op.getB()] = tile.b;
  scalars[op.getH()] = tile.h;
  scalars[op.getKvHead()] = tile.kvHead;
  scalars[op.getQ0()] = tile.q0;
}

/// The parts one after the other: what the op means, on one processor.
void GenericLowering::lower(SplitOp op) {
  Block &body = op.getBody().front();
  SmallVector<TileBuffer> state = carryState(op.getInits(), body.getArguments().drop_front(1));
  Value keys = abi.splitKeys();
  emit.loop(emit.index(0), abi.splitParts(), emit.index(1), [&](Value part) {
    Value begin = emit.mul(part, keys);
    parts[body.getArgument(0)] = {begin, emit.minS(emit.add(begin, keys), abi.keys())};
    lowerBlock(body);
    storeState(body, state);
  });
  nameResults(op, state);
}

void GenericLowering::lower(StreamOp op) {
  Block &body = op.getBody().front();
  SmallVector<TileBuffer> state = carryState(op.getInits(), body.getArguments().drop_front(3));
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
SmallVector<TileBuffer> GenericLowering::carryState(ValueRange inits, ArrayRef<BlockArgument> arguments) {
  SmallVector<TileBuffer> state;
  for (auto [init, argument] : llvm::zip_equal(inits, arguments)) {
    state.push_back(reuseOrAllocate(init));
    copyIfDistinct(buffers.lookup(init), state.back());
    buffers[argument] = state.back();
  }
  return state;
}

void GenericLowering::storeState(Block &body, ArrayRef<TileBuffer> state) {
  if (succeeded(status))
    for (auto [next, current] : llvm::zip_equal(body.getTerminator()->getOperands(), state))
      copyIfDistinct(buffers.lookup(next), current);
}

void GenericLowering::nameResults(Operation *op, ArrayRef<TileBuffer> state) {
  for (auto [result, current] : llvm::zip_equal(op->getResults(), state))
    buffers[result] = current;
}

//===------------------------------------------------------------------------------------------------------------------===//
// Buffers
//===------------------------------------------------------------------------------------------------------------------===//

Value GenericLowering::takeWorkspace(int64_t elements) {
  OpBuilder::InsertionGuard guard(builder);
  auto entry = cast<func::FuncOp>(function.function);
  builder.setInsertionPointToStart(&entry.getBody().front());
  Value base = emit.atBytes(function.workspace, workspaceBytes);
  workspaceBytes += llvm::alignTo(elements * compute.getIntOrFloatBitWidth() / 8, 64);
  return base;
}

/// A new buffer for a tile or row type. Rows of a kernel's state and of its output are query rows.
TileBuffer GenericLowering::allocate(Type type, bool transposed) {
  TileBuffer buffer;
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
TileBuffer GenericLowering::reuseOrAllocate(Value input) {
  TileBuffer buffer = buffers.lookup(input);
  if (input.hasOneUse() && !buffer.transposed)
    return buffer;
  TileBuffer fresh = allocate(input.getType());
  fresh.validRows = buffer.validRows;
  fresh.validCols = buffer.validCols;
  return fresh;
}

void GenericLowering::copyIfDistinct(const TileBuffer &from, const TileBuffer &to) {
  if (from.base == to.base)
    return;
  if (to.stride == 1) {
    emit.loop(emit.index(0), to.validRows, emit.index(1), [&](Value r) { storeRow(to, r, loadRow(from, r)); });
    return;
  }
  forEachVector(to, [&](Value r, Value c) { storeVector(to, r, c, loadVector(from, r, c)); });
}

Value GenericLowering::element(const TileBuffer &buffer, Value r, Value c) {
  Value major = buffer.transposed ? c : r, minor = buffer.transposed ? r : c;
  return emit.at(buffer.base, compute, emit.add(emit.mul(major, buffer.stride), minor));
}

void GenericLowering::forEachRow(const TileBuffer &buffer, llvm::function_ref<void(Value r)> body) {
  emit.loop(emit.index(0), buffer.validRows, emit.index(1), body);
}

void GenericLowering::forEachColumnVector(const TileBuffer &buffer, llvm::function_ref<void(Value c)> body) {
  emit.loop(emit.index(0), buffer.validCols, emit.index(lanes), body);
}

void GenericLowering::forEachVector(const TileBuffer &buffer, llvm::function_ref<void(Value r, Value c)> body) {
  forEachRow(buffer, [&](Value r) { forEachColumnVector(buffer, [&](Value c) { body(r, c); }); });
}

//===------------------------------------------------------------------------------------------------------------------===//
// Memory
//===------------------------------------------------------------------------------------------------------------------===//

/// Address of element (b, head, row, 0) of a view, with the operand's strides.
Value GenericLowering::rowAddress(const OperandAccess &access, Type memory, Value b, Value head, Value row) {
  Value offset = emit.add(emit.mul(b, access.strides[0]), emit.mul(head, access.strides[1]));
  return emit.at(access.pointer, memory, emit.add(offset, emit.mul(row, access.strides[2])));
}

static Operand operandOf(Value view) {
  static constexpr Operand kOperands[] = {Operand::Q, Operand::K, Operand::V, Operand::Out, Operand::Lse, Operand::Max};
  unsigned argument = cast<BlockArgument>(view).getArgNumber();
  return argument == KernelOp::Sinks ? Operand::Sinks : kOperands[argument];
}

OperandAccess GenericLowering::accessOf(Value view) { return abi.operand(operandOf(view)); }

/// Calls `vectorBody` on whole vectors of columns and `scalarBody` on the rest (on all, if columns are not contiguous in memory).
void GenericLowering::forEachOperandColumn(int64_t cols, bool contiguous, llvm::function_ref<void(Value c)> vectorBody,
                                           llvm::function_ref<void(Value c)> scalarBody) {
  int64_t whole = contiguous ? cols / lanes * lanes : 0;
  if (whole)
    emit.loop(0, whole, lanes, vectorBody);
  if (whole < cols)
    emit.loop(whole, cols, 1, scalarBody);
}

void GenericLowering::lower(LoadOp op) {
  ViewType view = op.getView().getType();
  Type memory = view.getElementType(), raw = rawType(emit, memory);
  // A tile that only serves as the transposed side of dots is transposed while it is read.
  bool transposed = llvm::all_of(op.getResult().getUses(), [&](OpOperand &use) {
    auto dot = dyn_cast<DotOp>(use.getOwner());
    return dot && dot.getTransposeB() && use.get() == dot.getB() && use.get() != dot.getA();
  });
  TileBuffer buffer = allocate(op.getResult().getType(), transposed);
  OperandAccess access = accessOf(op.getView());
  Value b = scalars.lookup(op.getB()), head = scalars.lookup(op.getHead()), row = scalars.lookup(op.getRow());
  std::optional<KvRows> pages;
  if (view.getPaged())
    pages.emplace(builder, loc, program, abi, operandOf(op.getView()), b, head);
  buffer.validRows = validRowsOf(op, row);
  bool isValue = cast<BlockArgument>(op.getView()).getArgNumber() == KernelOp::V;
  auto load = [&](Value address, int64_t count) {
    Value elements = loadFloats(emit, address, memory, compute, count);
    return isValue ? emit.mulF(elements, count == 1 ? valueFactor : emit.splat(valueFactor, count)) : elements;
  };
  forEachRow(buffer, [&](Value r) {
    Value from = pages ? pages->at(emit.add(row, r)) : rowAddress(access, raw, b, head, emit.add(row, r));
    forEachOperandColumn(
        buffer.cols, view.getContiguous() && !transposed, [&](Value c) { storeVector(buffer, r, c, load(emit.at(from, raw, c), lanes)); },
        [&](Value c) {
          Value offset = view.getContiguous() ? c : emit.mul(c, access.strides[3]);
          emit.store(load(emit.at(from, raw, offset), 1), element(buffer, r, c));
        });
  });
  buffers[op.getResult()] = buffer;
}

/// How many rows of a load exist: those of the block of keys inside a stream, else what the operand has left.
Value GenericLowering::validRowsOf(LoadOp op, Value row) {
  if (auto stream = op->getParentOfType<StreamOp>())
    if (op.getRow() == stream.getBody().getArgument(0))
      return scalars.lookup(stream.getBody().getArgument(1));
  bool isQuery = cast<BlockArgument>(op.getView()).getArgNumber() == KernelOp::Q;
  Value extent = isQuery ? abi.queries() : abi.keys();
  return emit.minS(emit.index(op.getResult().getType().getRows()), emit.sub(extent, row));
}

void GenericLowering::lower(StoreOp op) {
  ViewType view = op.getView().getType();
  Type memory = view.getElementType(), raw = rawType(emit, memory);
  TileBuffer buffer = buffers.lookup(op.getTile());
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

void GenericLowering::lower(LoadRowOp op) {
  Type memory = op.getView().getType().getElementType();
  TileBuffer values = allocate(op.getResult().getType());
  OperandAccess access = accessOf(op.getView());
  forEachRow(values, [&](Value r) {
    Value row = emit.add(scalars.lookup(op.getRow()), r);
    Value address = rowAddress(access, rawType(emit, memory), scalars.lookup(op.getB()), scalars.lookup(op.getHead()), row);
    storeRow(values, r, loadFloats(emit, address, memory, compute, 1));
  });
  buffers[op.getResult()] = values;
}

void GenericLowering::lower(StoreRowOp op) {
  Type memory = op.getView().getType().getElementType();
  TileBuffer values = buffers.lookup(op.getValues());
  OperandAccess access = accessOf(op.getView());
  Value isWanted = emit.make<LLVM::ICmpOp>(LLVM::ICmpPredicate::ne, access.pointer, emit.make<LLVM::ZeroOp>(emit.ptr()));
  emit.ifThen(isWanted, [&] {
    forEachRow(values, [&](Value r) {
      Value row = emit.add(scalars.lookup(op.getRow()), r);
      storeFloats(emit, loadRow(values, r),
                  rowAddress(access, rawType(emit, memory), scalars.lookup(op.getB()), scalars.lookup(op.getHead()), row), memory);
    });
  });
}

//===------------------------------------------------------------------------------------------------------------------===//
// Arithmetic
//===------------------------------------------------------------------------------------------------------------------===//

void GenericLowering::lower(FillOp op) {
  TileBuffer buffer = allocate(op.getResult().getType());
  Value value = emit.constFloat(vectorType, op.getValue().convertToDouble());
  forEachVector(buffer, [&](Value r, Value c) { storeVector(buffer, r, c, value); });
  buffers[op.getResult()] = buffer;
}

void GenericLowering::lower(CastOp op) {
  Type memory = op.getResult().getType().getElementType();
  TileBuffer in = buffers.lookup(op.getInput()), out = reuseOrAllocate(op.getInput());
  forEachVector(out, [&](Value r, Value c) {
    Value rounded = narrowElements(emit, loadVector(in, r, c), memory);
    storeVector(out, r, c, widenElements(emit, rounded, memory, compute));
  });
  buffers[op.getResult()] = out;
}

void GenericLowering::lower(RowScaleOp op) {
  TileBuffer in = buffers.lookup(op.getTile()), factors = buffers.lookup(op.getFactors()), out = reuseOrAllocate(op.getTile());
  forEachRow(out, [&](Value r) {
    Value factor = emit.splat(loadRow(factors, r), lanes);
    forEachColumnVector(out, [&](Value c) { storeVector(out, r, c, emit.mulF(loadVector(in, r, c), factor)); });
  });
  buffers[op.getResult()] = out;
}

void GenericLowering::lower(AddOp op) {
  TileBuffer a = buffers.lookup(op.getA()), b = buffers.lookup(op.getB()), out = reuseOrAllocate(op.getA());
  forEachVector(out, [&](Value r, Value c) { storeVector(out, r, c, emit.addF(loadVector(a, r, c), loadVector(b, r, c))); });
  buffers[op.getResult()] = out;
}

void GenericLowering::lower(DotOp op) {
  TileBuffer a = buffers.lookup(op.getA()), b = buffers.lookup(op.getB());
  TileBuffer acc = op.getAcc() ? buffers.lookup(op.getAcc()) : TileBuffer();
  if (op.getTransposeB() != b.transposed)
    b = transposedCopy(b, op.getB().getType());
  TileBuffer out = op.getAcc() ? reuseOrAllocate(op.getAcc()) : allocate(op.getResult().getType());
  out.validRows = a.validRows;
  out.validCols = op.getTransposeB() ? b.validRows : b.validCols;
  Value depth = op.getTransposeB() ? a.validCols : emit.minS(a.validCols, b.validRows);
  Value scale = op.getScale() ? emit.splat(scalars.lookup(op.getScale()), lanes) : Value();

  int64_t vectors = padded(out.cols) / lanes, wide = vectors / kDotVectors * kDotVectors;
  emit.loop(emit.index(0), out.validRows, emit.index(kDotRows), [&](Value r) {
    auto strips = [&](int64_t first, int64_t last, int64_t width) {
      Value end = emit.minS(emit.index(last * lanes), out.validCols);
      emit.loop(emit.index(first * lanes), end, emit.index(width * lanes),
                [&](Value c) { dotBlock({a, b, acc, out, depth, scale}, r, c, width); });
    };
    if (wide)
      strips(0, wide, kDotVectors);
    if (wide < vectors)
      strips(wide, vectors, 1);
  });
  buffers[op.getResult()] = out;
}

/// out[r .. r+4, c .. c+width vectors] of a dot, in registers.
void GenericLowering::dotBlock(const Dot &dot, Value r, Value c, int64_t width) {
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

TileBuffer GenericLowering::transposedCopy(const TileBuffer &from, Type type) {
  TileBuffer to = allocate(type, !from.transposed);
  to.validRows = from.validRows;
  to.validCols = from.validCols;
  forEachRow(from, [&](Value r) {
    emit.loop(emit.index(0), from.validCols, emit.index(1),
              [&](Value c) { emit.store(emit.load(compute, element(from, r, c)), element(to, r, c)); });
  });
  return to;
}

} // namespace attnjit::tile
