#include "CpuLauncher.h"

#include "../TileToVector/Emitter.h"
#include "attnjit/KernelAbi.h"

#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/LLVMIR/FunctionCallUtils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

#include <cmath>

using namespace mlir;

namespace attnjit::attn {
namespace {

/// Ranges of tiles that the parallel loop hands out: enough for many cores, few enough that their scratch memory costs nothing.
constexpr int64_t kMostPieces = 128;
constexpr int64_t kScratchAlignment = 64;
/// Positions and integer scalars lie below it, which 32-bit formulas count on (AttnProblem::narrowIndices).
constexpr int64_t kNarrowLimit = int64_t(1) << 30;

class LauncherBuilder {
public:
  LauncherBuilder(AttentionOp op, const CpuKernel &kernel, func::FuncOp launcher)
      : op(op), kernel(kernel), launcher(launcher), builder(launcher.getContext()), emit(builder, op.getLoc()) {}

  void run() {
    builder.setInsertionPointToEnd(launcher.addEntryBlock());
    readSizes();
    checkSizes();
    args = allocate(sizeof(KernelArgs));
    emit.make<LLVM::MemsetOp>(args, emit.constInt(emit.i8(), 0), emit.index(sizeof(KernelArgs)), /*isVolatile=*/false);
    storeSizes();
    storeOperands();
    storeCaptured();
    Value status = allocate(sizeof(int64_t));
    emit.make<LLVM::StoreOp>(emit.index(kStatusOk), status);
    store(offsetof(KernelArgs, status), status);
    launch();
    if (kernel.checksIndices) {
      Value ok = emit.cmp(Emitter::CmpI::eq, emit.make<LLVM::LoadOp>(emit.i64(), status), emit.index(kStatusOk));
      emit.make<cf::AssertOp>(ok, "attn.attention: a captured tensor is indexed out of range");
    }
    emit.make<func::ReturnOp>();
  }

private:
  Value argument(OpOperand &operand) { return launcher.getArgument(operand.getOperandNumber()); }
  static MemRefType typeOf(Value value) { return cast<MemRefType>(value.getType()); }
  Value toInt(Value index) { return emit.make<arith::IndexCastOp>(emit.i64(), index); }
  Value toIndex(Value integer) { return emit.make<arith::IndexCastOp>(builder.getIndexType(), integer); }

  Value sizeOf(Value memref, int64_t dim) {
    const int64_t size = typeOf(memref).getDimSize(dim);
    return ShapedType::isDynamic(size) ? toInt(emit.make<memref::DimOp>(memref, dim)) : emit.index(size);
  }

  void readSizes() {
    q = argument(op.getQMutable());
    k = argument(op.getKMutable());
    v = argument(op.getVMutable());
    for (OpOperand &operand : op.getOutsMutable())
      outs.push_back(argument(operand));
    batch = sizeOf(q, 0);
    heads = sizeOf(q, 1);
    queries = sizeOf(q, 2);
    kvHeads = sizeOf(k, 1);
    keys = sizeOf(k, 2);
    group = emit.make<arith::DivSIOp>(heads, emit.maxS(kvHeads, emit.index(1)));
  }

  //===- What types do not say ------------------------------------------------------------------------------------------------===//

  void checkSizes() {
    Value agree = emit.cmp(Emitter::CmpI::eq, emit.make<arith::MulIOp>(group, kvHeads), heads);
    auto same = [&](Value a, int64_t dimA, Value b, int64_t dimB) {
      if (typeOf(a).isDynamicDim(dimA) || typeOf(b).isDynamicDim(dimB))
        agree = emit.bitAnd(agree, emit.cmp(Emitter::CmpI::eq, sizeOf(a, dimA), sizeOf(b, dimB)));
    };
    for (Value shared : {k, v})
      if (typeOf(shared).getDimSize(0) != 1)
        same(shared, 0, q, 0);
    same(v, 1, k, 1);
    same(v, 2, k, 2);
    for (Value out : outs)
      for (int64_t dim = 0; dim < 3; ++dim)
        same(out, dim, q, dim);
    if (op.getSinks())
      same(argument(*op.getSinksMutable().begin()), 0, q, 1);
    emit.make<cf::AssertOp>(agree, "attn.attention: the sizes of the operands do not agree");

    Value narrow = emit.truth(true);
    for (Value size : {batch, heads, queries, keys})
      narrow = emit.bitAnd(narrow, isNarrow(size));
    for (OperandRange numbers : {op.getScalars(), op.getOffsets()})
      for (auto [index, number] : llvm::enumerate(numbers))
        if (!isa<FloatType>(number.getType()) && !number.getType().isInteger(1))
          narrow = emit.bitAnd(narrow, isNarrow(widened(launcher.getArgument(numbers.getBeginOperandIndex() + index))));
    emit.make<cf::AssertOp>(narrow, "attn.attention: sizes, offsets and integer scalars have to lie between -2^30 and 2^30");

    if (ShapedType::isDynamic(typeOf(outs[0]).getStridesAndOffset().first.back())) {
      auto metadata = emit.make<memref::ExtractStridedMetadataOp>(outs[0]);
      Value ok = emit.cmp(Emitter::CmpI::eq, toInt(metadata.getStrides()[3]), emit.index(1));
      emit.make<cf::AssertOp>(ok, "attn.attention: the last stride of the output has to be 1");
    }
  }

  Value isNarrow(Value number) {
    return emit.bitAnd(emit.cmp(Emitter::CmpI::sgt, number, emit.index(-kNarrowLimit)),
                       emit.cmp(Emitter::CmpI::slt, number, emit.index(kNarrowLimit)));
  }

  //===- KernelArgs -----------------------------------------------------------------------------------------------------------===//

  Value allocate(size_t bytes) {
    return emit.make<LLVM::AllocaOp>(emit.ptr(), emit.i8(), emit.index(static_cast<int64_t>(bytes)), /*alignment=*/8);
  }
  void storeAt(Value base, size_t offset, Value value) {
    Value address = emit.make<LLVM::GEPOp>(emit.ptr(), emit.i8(), base, ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(offset)});
    emit.make<LLVM::StoreOp>(value, address);
  }
  void store(size_t offset, Value value) { storeAt(args, offset, value); }

  void storeSizes() {
    store(offsetof(KernelArgs, B), batch);
    store(offsetof(KernelArgs, Hq), heads);
    store(offsetof(KernelArgs, Hkv), kvHeads);
    store(offsetof(KernelArgs, M), queries);
    store(offsetof(KernelArgs, N), keys);
    Value scale = op.getScale() ? asDouble(argument(*op.getScaleMutable().begin()))
                                : emit.constFloat(emit.f64(), 1 / std::sqrt(static_cast<double>(typeOf(q).getDimSize(3))));
    store(offsetof(KernelArgs, scale), scale);
    if (kernel.hasParts) {
      // All keys are one part, so there is nothing to be merged.
      store(offsetof(KernelArgs, split) + offsetof(SplitArg, keys), roundedUp(emit.maxS(keys, emit.index(1)), kernel.tile.cols));
      store(offsetof(KernelArgs, split) + offsetof(SplitArg, parts), emit.index(1));
    }
  }

  /// A first dimension of size 1 in the type stands for every batch.
  void storeOperand(size_t offset, Value memref) {
    auto metadata = emit.make<memref::ExtractStridedMetadataOp>(memref);
    storeAt(args, offset + offsetof(OperandArg, data), firstElement(memref, metadata));
    for (auto [dim, stride] : llvm::enumerate(metadata.getStrides()))
      if (dim > 0 || typeOf(memref).getDimSize(0) != 1)
        storeAt(args, offset + offsetof(OperandArg, strides) + dim * sizeof(int64_t), toInt(stride));
  }

  void storeOperands() {
    storeOperand(offsetof(KernelArgs, q), q);
    storeOperand(offsetof(KernelArgs, k), k);
    storeOperand(offsetof(KernelArgs, v), v);
    constexpr size_t places[] = {offsetof(KernelArgs, out), offsetof(KernelArgs, lse), offsetof(KernelArgs, max)};
    for (auto [index, out] : llvm::enumerate(outs))
      storeOperand(places[index], out);
    if (!op.getSinks())
      return;
    Value sinks = argument(*op.getSinksMutable().begin());
    auto metadata = emit.make<memref::ExtractStridedMetadataOp>(sinks);
    store(offsetof(KernelArgs, sinks) + offsetof(OperandArg, data), firstElement(sinks, metadata));
    store(offsetof(KernelArgs, sinks) + offsetof(OperandArg, strides) + sizeof(int64_t), toInt(metadata.getStrides()[0])); // of heads
  }

  void storeCaptured() {
    const OperandRange captures = op.getCaptures(), scalars = op.getScalars(), offsets = op.getOffsets();
    if (!captures.empty()) {
      Value table = allocate(captures.size() * sizeof(CaptureArg));
      store(offsetof(KernelArgs, captures), table);
      for (unsigned index = 0; index < captures.size(); ++index)
        storeCapture(table, index * sizeof(CaptureArg), launcher.getArgument(captures.getBeginOperandIndex() + index));
    }
    SmallVector<Value> numbers;
    for (OperandRange range : {scalars, offsets})
      for (unsigned index = 0; index < range.size(); ++index)
        numbers.push_back(launcher.getArgument(range.getBeginOperandIndex() + index));
    if (numbers.empty())
      return;
    Value table = allocate(numbers.size() * sizeof(ScalarArg));
    store(offsetof(KernelArgs, scalars), table);
    for (auto [index, number] : llvm::enumerate(numbers))
      storeAt(table, index * sizeof(ScalarArg), isa<FloatType>(number.getType()) ? asDouble(number) : widened(number));
  }

  void storeCapture(Value table, size_t offset, Value memref) {
    auto metadata = emit.make<memref::ExtractStridedMetadataOp>(memref);
    storeAt(table, offset + offsetof(CaptureArg, data), firstElement(memref, metadata));
    for (auto [dim, stride] : llvm::enumerate(metadata.getStrides())) {
      storeAt(table, offset + offsetof(CaptureArg, sizes) + dim * sizeof(int64_t), sizeOf(memref, static_cast<int64_t>(dim)));
      storeAt(table, offset + offsetof(CaptureArg, strides) + dim * sizeof(int64_t), toInt(stride));
    }
  }

  Value firstElement(Value memref, memref::ExtractStridedMetadataOp metadata) {
    const int64_t bytes = llvm::divideCeil(typeOf(memref).getElementTypeBitWidth(), 8);
    Value start = toInt(emit.make<memref::ExtractAlignedPointerAsIndexOp>(memref));
    return emit.make<LLVM::IntToPtrOp>(emit.ptr(), emit.add(start, emit.mul(toInt(metadata.getOffset()), bytes)));
  }

  Value asDouble(Value number) { return number.getType().isF64() ? number : Value(emit.make<arith::ExtFOp>(emit.f64(), number)); }
  /// An integer, an index or a truth value as the i64 of a ScalarArg.
  Value widened(Value number) {
    if (number.getType().isIndex())
      return toInt(number);
    if (number.getType().isInteger(64))
      return number;
    return number.getType().isInteger(1) ? Value(emit.make<arith::ExtUIOp>(emit.i64(), number))
                                         : Value(emit.make<arith::ExtSIOp>(emit.i64(), number));
  }

  //===- Tiles ----------------------------------------------------------------------------------------------------------------===//

  /// Of numbers of at least 0.
  Value dividedUp(Value number, Value by) { return emit.make<arith::DivSIOp>(emit.add(number, emit.sub(by, 1)), by); }
  Value roundedUp(Value number, int64_t to) { return emit.mul(dividedUp(number, emit.index(to)), to); }

  Value countUnits() {
    Value tileRows = emit.index(kernel.tile.rows);
    if (kernel.hasParts)
      return emit.make<arith::MulIOp>(emit.make<arith::MulIOp>(batch, kvHeads),
                                      dividedUp(emit.make<arith::MulIOp>(queries, group), tileRows));
    return emit.make<arith::MulIOp>(emit.make<arith::MulIOp>(batch, heads), dividedUp(queries, tileRows));
  }

  void launch() {
    Value units = countUnits();
    Value perPiece = emit.maxS(dividedUp(units, emit.index(kMostPieces)), emit.index(1));
    auto module = launcher->getParentOfType<ModuleOp>();
    LLVM::LLVMFuncOp allocate = *LLVM::lookupOrCreateAlignedAllocFn(builder, module, emit.i64()),
                     free = *LLVM::lookupOrCreateFreeFn(builder, module);
    Value zero = emit.make<arith::ConstantIndexOp>(0), one = emit.make<arith::ConstantIndexOp>(1);
    auto body = [&](OpBuilder &, Location, ValueRange piece) {
      Value begin = emit.make<arith::MulIOp>(toInt(piece[0]), perPiece), end = emit.minS(emit.add(begin, perPiece), units);
      Value bytes = emit.index(llvm::alignTo(std::max<int64_t>(kernel.workspaceBytes, 1), kScratchAlignment));
      Value scratch = emit.make<LLVM::CallOp>(allocate, ValueRange{emit.index(kScratchAlignment), bytes}).getResult();
      emit.make<LLVM::CallOp>(kernel.function, ValueRange{args, begin, end, scratch});
      emit.make<LLVM::CallOp>(free, ValueRange{scratch});
    };
    emit.make<scf::ParallelOp>(ValueRange{zero}, ValueRange{toIndex(dividedUp(units, perPiece))}, ValueRange{one}, body);
  }

  AttentionOp op;
  const CpuKernel &kernel;
  func::FuncOp launcher;
  OpBuilder builder;
  tile::Emitter emit;
  Value q, k, v, batch, heads, queries, kvHeads, keys, group, args;
  SmallVector<Value> outs;
  using Emitter = tile::Emitter;
};

} // namespace

void buildCpuLauncher(AttentionOp op, const CpuKernel &kernel, func::FuncOp launcher) { LauncherBuilder(op, kernel, launcher).run(); }

} // namespace attnjit::attn
