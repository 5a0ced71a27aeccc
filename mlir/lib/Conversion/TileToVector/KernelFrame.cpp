#include "attnjit-mlir/Conversion/TileToVector/KernelFrame.h"

#include "Emitter.h"
#include "attnjit-mlir/Conversion/TileToVector/FormulaOps.h"
#include "attnjit/KernelAbi.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"

#include <cstddef>

using namespace mlir;

namespace attnjit::tile {

//===------------------------------------------------------------------------------------------------------------------===//
// KernelArgs
//===------------------------------------------------------------------------------------------------------------------===//

/// Loads a field of the ABI. Nothing that a kernel reads this way changes while it runs, so the code generator may move the loads.
static Value loadInvariant(const Emitter &emit, Value address, Type type) {
  return emit.make<LLVM::LoadOp>(type, address, /*alignment=*/8, /*isVolatile=*/false, /*isNonTemporal=*/false, /*isInvariant=*/true);
}

Value AbiAccess::load(uint64_t offset, Type type) {
  Emitter emit(builder, loc);
  return loadInvariant(emit, emit.atBytes(args, offset), type);
}

Value AbiAccess::batch() { return load(offsetof(KernelArgs, B), builder.getI64Type()); }
Value AbiAccess::queryHeads() { return load(offsetof(KernelArgs, Hq), builder.getI64Type()); }
Value AbiAccess::kvHeads() { return load(offsetof(KernelArgs, Hkv), builder.getI64Type()); }
Value AbiAccess::queries() { return load(offsetof(KernelArgs, M), builder.getI64Type()); }
Value AbiAccess::keys() { return load(offsetof(KernelArgs, N), builder.getI64Type()); }

static Value roundedTo(const Emitter &emit, Type type, Value wide) {
  return type.isF64() ? wide : Value(emit.make<arith::TruncFOp>(type, wide));
}

Value AbiAccess::scale(Type type) {
  Emitter emit(builder, loc);
  return roundedTo(emit, type, load(offsetof(KernelArgs, scale), emit.f64()));
}

Value AbiAccess::hasDescales() {
  Emitter emit(builder, loc);
  Value pointer = load(offsetof(KernelArgs, qDescale) + offsetof(DescaleArg, data), emit.ptr());
  return emit.make<LLVM::ICmpOp>(LLVM::ICmpPredicate::ne, pointer, emit.make<LLVM::ZeroOp>(emit.ptr()));
}

/// In f64 up to the end: one rounding for all factors together.
HeadFactors AbiAccess::headFactors(Type type, Value b, Value kvHead) {
  Emitter emit(builder, loc);
  auto factorOf = [&](uint64_t offset) {
    Value pointer = load(offset + offsetof(DescaleArg, data), emit.ptr());
    Value batchStride = load(offset + offsetof(DescaleArg, strides), emit.i64());
    Value headStride = load(offset + offsetof(DescaleArg, strides) + sizeof(int64_t), emit.i64());
    Value element = emit.at(pointer, emit.f32(), emit.add(emit.mul(b, batchStride), emit.mul(kvHead, headStride)));
    return Value(emit.make<arith::ExtFOp>(emit.f64(), emit.load(emit.f32(), element)));
  };
  auto described = [&]() -> Emitter::Values {
    Value ofScores = emit.mulF(factorOf(offsetof(KernelArgs, qDescale)), factorOf(offsetof(KernelArgs, kDescale)));
    return {roundedTo(emit, type, emit.mulF(scale(emit.f64()), ofScores)), roundedTo(emit, type, factorOf(offsetof(KernelArgs, vDescale)))};
  };
  auto plain = [&]() -> Emitter::Values { return {scale(type), emit.constFloat(type, 1.0)}; };
  Emitter::Values factors = emit.ifElse({type, type}, hasDescales(), described, plain);
  return {factors[0], factors[1]};
}

static uint64_t offsetOf(Operand which) {
  switch (which) {
  case Operand::Q:
    return offsetof(KernelArgs, q);
  case Operand::K:
    return offsetof(KernelArgs, k);
  case Operand::V:
    return offsetof(KernelArgs, v);
  case Operand::Out:
    return offsetof(KernelArgs, out);
  case Operand::Lse:
    return offsetof(KernelArgs, lse);
  case Operand::Max:
    return offsetof(KernelArgs, max);
  case Operand::Sinks:
    return offsetof(KernelArgs, sinks);
  }
  llvm_unreachable("all operands are listed");
}

OperandAccess AbiAccess::operand(Operand which) {
  uint64_t base = offsetOf(which);
  OperandAccess access;
  access.pointer = load(base + offsetof(OperandArg, data), Emitter(builder, loc).ptr());
  for (unsigned dim = 0; dim < 4; ++dim)
    access.strides[dim] = load(base + offsetof(OperandArg, strides) + dim * sizeof(int64_t), builder.getI64Type());
  return access;
}

/// A field of captures[index].
static Value loadCapture(const Emitter &emit, Value captures, unsigned index, uint64_t offset, Type type) {
  return loadInvariant(emit, emit.atBytes(captures, index * sizeof(CaptureArg) + offset), type);
}

Value AbiAccess::capturePointer(unsigned index) {
  Emitter emit(builder, loc);
  return loadCapture(emit, load(offsetof(KernelArgs, captures), emit.ptr()), index, offsetof(CaptureArg, data), emit.ptr());
}

Value AbiAccess::captureSize(unsigned index, unsigned dim) {
  Emitter emit(builder, loc);
  uint64_t offset = offsetof(CaptureArg, sizes) + dim * sizeof(int64_t);
  return loadCapture(emit, load(offsetof(KernelArgs, captures), emit.ptr()), index, offset, emit.i64());
}

Value AbiAccess::captureStride(unsigned index, unsigned dim) {
  Emitter emit(builder, loc);
  uint64_t offset = offsetof(CaptureArg, strides) + dim * sizeof(int64_t);
  return loadCapture(emit, load(offsetof(KernelArgs, captures), emit.ptr()), index, offset, emit.i64());
}

Value AbiAccess::scalar(unsigned index, Type type) {
  Emitter emit(builder, loc);
  Value slot = emit.atBytes(load(offsetof(KernelArgs, scalars), emit.ptr()), index * sizeof(ScalarArg));
  if (isa<FloatType>(type)) {
    Value number = loadInvariant(emit, slot, emit.f64());
    return type.isF64() ? number : Value(emit.make<arith::TruncFOp>(type, number));
  }
  Value number = loadInvariant(emit, slot, emit.i64());
  if (type.isInteger(1))
    return emit.cmp(Emitter::CmpI::ne, number, emit.index(0));
  return emit.toInt(type, number);
}

Value AbiAccess::statusPointer() { return load(offsetof(KernelArgs, status), Emitter(builder, loc).ptr()); }

Value AbiAccess::function(uint64_t offsetInTable) {
  Emitter emit(builder, loc);
  Value table = load(offsetof(KernelArgs, functions), emit.ptr());
  return loadInvariant(emit, emit.atBytes(table, offsetInTable), emit.ptr());
}

Value AbiAccess::splitKeys() { return load(offsetof(KernelArgs, split) + offsetof(SplitArg, keys), builder.getI64Type()); }
Value AbiAccess::splitParts() { return load(offsetof(KernelArgs, split) + offsetof(SplitArg, parts), builder.getI64Type()); }
Value AbiAccess::splitStates() { return load(offsetof(KernelArgs, split) + offsetof(SplitArg, states), Emitter(builder, loc).ptr()); }

Value AbiAccess::pageTable(Value b) {
  Emitter emit(builder, loc);
  Value stride = load(offsetof(KernelArgs, pages) + offsetof(PagesArg, batchStride), emit.i64());
  return emit.at(load(offsetof(KernelArgs, pages) + offsetof(PagesArg, table), emit.ptr()), emit.i64(), emit.mul(b, stride));
}
Value AbiAccess::pageSize() { return load(offsetof(KernelArgs, pages) + offsetof(PagesArg, size), builder.getI64Type()); }

Value AbiAccess::planOffsets() { return load(offsetof(KernelArgs, plan) + offsetof(PlanArg, offsets), Emitter(builder, loc).ptr()); }
Value AbiAccess::planRuns() { return load(offsetof(KernelArgs, plan) + offsetof(PlanArg, runs), Emitter(builder, loc).ptr()); }

Value AbiAccess::planIndex(Value b, Value h, Value queryTile) {
  Emitter emit(builder, loc);
  Value batchStride = load(offsetof(KernelArgs, plan) + offsetof(PlanArg, batchStride), emit.i64());
  Value headStride = load(offsetof(KernelArgs, plan) + offsetof(PlanArg, headStride), emit.i64());
  return emit.add(emit.add(emit.mul(b, batchStride), emit.mul(h, headStride)), queryTile);
}

//===------------------------------------------------------------------------------------------------------------------===//
// Rows of K and V
//===------------------------------------------------------------------------------------------------------------------===//

KvRows::KvRows(OpBuilder &builder, Location loc, const TileProgram &program, AbiAccess &abi, Operand which, Value b, Value kvHead)
    : builder(&builder), loc(loc), element(program.kvType), operand(abi.operand(which)) {
  Emitter emit(builder, loc);
  Value offset = emit.mul(kvHead, operand.strides[1]);
  if (program.paged) {
    table = abi.pageTable(b);
    pageSize = abi.pageSize();
  } else {
    offset = emit.add(emit.mul(b, operand.strides[0]), offset);
  }
  base = emit.at(operand.pointer, element, offset);
}

KvRows::Place KvRows::placeOf(Value row) const {
  Emitter emit(*builder, *loc);
  Value page = emit.make<arith::DivUIOp>(row, pageSize);
  return {page, emit.sub(row, emit.mul(page, pageSize))};
}

Value KvRows::addressOf(const Place &place) const {
  Emitter emit(*builder, *loc);
  Value page = loadInvariant(emit, emit.at(table, emit.i64(), place.page), emit.i64());
  return emit.at(base, element, emit.add(emit.mul(page, operand.strides[0]), emit.mul(place.row, stride())));
}

Value KvRows::at(Value row) const {
  if (inPages())
    return addressOf(placeOf(row));
  Emitter emit(*builder, *loc);
  return emit.at(base, element, emit.mul(row, stride()));
}

Value KvRows::areEvenlySpaced(Value begin, Value count) const {
  Emitter emit(*builder, *loc);
  if (!inPages())
    return emit.truth(true);
  return emit.cmp(Emitter::CmpI::sle, emit.add(placeOf(begin).row, count), pageSize);
}

void KvRows::forEachStretch(Value begin, Value count, llvm::function_ref<void(Value address, Value first, Value rows)> body) const {
  Emitter emit(*builder, *loc);
  if (!inPages())
    return body(at(begin), emit.index(0), count);
  // Every stretch but the first begins a page.
  Place start = placeOf(begin);
  emit.loopWhile(
      {emit.index(0), start.page, start.row}, [&](ValueRange state) { return emit.cmp(Emitter::CmpI::slt, state[0], count); },
      [&](ValueRange state) {
        Value first = state[0], page = state[1], row = state[2];
        Value rows = emit.minS(emit.sub(pageSize, row), emit.sub(count, first));
        body(addressOf({page, row}), first, rows);
        return Emitter::Values{emit.add(first, rows), emit.add(page, 1), emit.index(0)};
      });
}

//===------------------------------------------------------------------------------------------------------------------===//
// Tiles
//===------------------------------------------------------------------------------------------------------------------===//

void forEachTile(OpBuilder &builder, Location loc, AbiAccess &abi, int64_t tileRows, Value begin, Value end,
                 llvm::function_ref<void(const TileCoords &)> body) {
  Emitter emit(builder, loc);
  emit.loop(begin, end, emit.index(1), [&](Value tile) {
    // Divisions stand inside the loop: where M, Hq or Hkv is 0 there is no tile, and nothing may divide by it.
    Value m = abi.queries(), hq = abi.queryHeads(), hkv = abi.kvHeads();
    Value rowsPerTile = emit.index(tileRows);
    Value tilesPerHead = emit.make<arith::DivUIOp>(emit.add(m, tileRows - 1), rowsPerTile);
    Value head = emit.make<arith::DivUIOp>(tile, tilesPerHead);
    TileCoords coords;
    coords.queryTile = emit.sub(tile, emit.mul(head, tilesPerHead));
    coords.b = emit.make<arith::DivUIOp>(head, hq);
    coords.h = emit.sub(head, emit.mul(coords.b, hq));
    coords.kvHead = emit.make<arith::DivUIOp>(coords.h, emit.make<arith::DivUIOp>(hq, hkv));
    coords.q0 = emit.mul(coords.queryTile, rowsPerTile);
    coords.rows = emit.minS(rowsPerTile, emit.sub(m, coords.q0));
    body(coords);
  });
}

//===------------------------------------------------------------------------------------------------------------------===//
// The plan
//===------------------------------------------------------------------------------------------------------------------===//

std::pair<Value, Value> emitClassify(OpBuilder &builder, Location loc, const TileProgram &program, AbiAccess &abi, Value b, Value h,
                                     Value qLo, Value qHi, Value kvLo, Value kvHi) {
  Emitter emit(builder, loc);
  if (!program.closedForm)
    return {emit.truth(true), emit.truth(program.mask != nullptr)};

  Block &block = program.closedForm->front();
  IRMapping mapping;
  unsigned position = 0;
  for (Value bound : {b, h, qLo, qHi, kvLo, kvHi})
    mapping.map(block.getArgument(position++), emit.toInt(program.indexType, bound));
  for (const ScalarView &scalar : program.scalars)
    mapping.map(block.getArgument(position++), abi.scalar(scalar.index, scalar.type));
  for (Operation &op : block.without_terminator()) {
    SmallVector<Value> operands = llvm::map_to_vector(op.getOperands(), [&](Value operand) { return mapping.lookup(operand); });
    mapping.map(op.getResults(), emitFormulaOp(builder, emit.loc, abi, op, operands));
  }
  Operation *yield = block.getTerminator();
  return {mapping.lookup(yield->getOperand(0)), mapping.lookup(yield->getOperand(1))};
}

KvScope scopeOf(OpBuilder &builder, Location loc, AbiAccess &abi, const TileCoords &tile) {
  Emitter emit(builder, loc);
  return {tile.b, tile.h, {}, tile.q0, emit.sub(emit.add(tile.q0, tile.rows), 1), abi.planIndex(tile.b, tile.h, tile.queryTile), {}, {}};
}

namespace {

/// Emits the walk over the runs of one scope.
struct PlanWalk {
  /// Blocks per group that the closed form is asked about at once.
  static constexpr int64_t kGroupBlocks = 32;

  Emitter emit;
  const TileProgram &program;
  AbiAccess &abi;
  const KvScope &scope;
  int64_t cols;
  llvm::function_ref<Emitter::Values(const KvBlock &, ValueRange)> body;

  Emitter::Values overRuns(ValueRange iterArgs) {
    Value offsets = abi.planOffsets();
    Value noTable = emit.make<LLVM::ICmpOp>(LLVM::ICmpPredicate::eq, offsets, emit.make<LLVM::ZeroOp>(emit.ptr()));
    Type i64 = emit.i64();
    Emitter::Values range = emit.ifElse(
        {i64, i64}, noTable, [&] { return Emitter::Values{emit.index(0), emit.index(1)}; },
        [&] {
          Value first = emit.at(offsets, i64, scope.planIndex);
          return Emitter::Values{loadInvariant(emit, first, i64), loadInvariant(emit, emit.atBytes(first, sizeof(int64_t)), i64)};
        });
    return emit.loop(range[0], range[1], emit.index(1), iterArgs, [&](Value index, ValueRange carried) {
      Emitter::Values run = emit.ifElse(
          {i64, i64, emit.i1()}, noTable, [&] { return Emitter::Values{firstKey(), endKey(), emit.truth(program.mask == nullptr)}; },
          [&] { return readRun(index); });
      return overBlocks(run[0], run[1], run[2], carried);
    });
  }

  Emitter::Values readRun(Value index) {
    Value run = emit.at(abi.planRuns(), emit.i8(), emit.mul(index, sizeof(RunArg)));
    auto field = [&](uint64_t offset) { return loadInvariant(emit, emit.atBytes(run, offset), emit.i64()); };
    // A table that comes from elsewhere must not lead outside K and V (A10).
    Value kvBegin = emit.maxS(field(offsetof(RunArg, kvBegin)), firstKey()), kvEnd = emit.minS(field(offsetof(RunArg, kvEnd)), endKey());
    return {kvBegin, kvEnd, emit.cmp(Emitter::CmpI::ne, field(offsetof(RunArg, full)), emit.index(0))};
  }

  Value firstKey() { return scope.keyEnd ? scope.keyBegin : emit.index(0); }
  Value endKey() { return scope.keyEnd ? scope.keyEnd : abi.keys(); }

  /// A run, cut into blocks. With a closed form, groups of blocks are asked about first: a narrow window in a long sequence must not cost
  /// one question per block.
  Emitter::Values overBlocks(Value kvBegin, Value kvEnd, Value full, ValueRange iterArgs) {
    if (!program.closedForm)
      return overGroup(kvBegin, kvEnd, full, iterArgs);
    int64_t groupCols = kGroupBlocks * cols;
    return emit.loop(kvBegin, kvEnd, emit.index(groupCols), iterArgs, [&](Value begin, ValueRange carried) {
      Value end = emit.minS(emit.add(begin, groupCols), kvEnd);
      Value visit = emit.bitOr(full, classify(begin, end).first);
      return visitIf(visit, carried, [&] { return overGroup(begin, end, full, carried); });
    });
  }

  Emitter::Values overGroup(Value kvBegin, Value kvEnd, Value full, ValueRange iterArgs) {
    return emit.loop(kvBegin, kvEnd, emit.index(cols), iterArgs, [&](Value begin, ValueRange carried) -> Emitter::Values {
      KvBlock block{begin, emit.minS(emit.add(begin, cols), kvEnd), emit.truth(false)};
      if (!program.mask)
        return body(block, carried);
      Value isOpen = emit.logicalNot(full); // the mask is not known to be true
      if (!program.closedForm) {
        block.partial = isOpen;
        return body(block, carried);
      }
      auto [mayBeTrue, mayBeFalse] = classify(begin, block.end);
      block.partial = emit.bitAnd(isOpen, mayBeFalse);
      return visitIf(emit.bitOr(full, mayBeTrue), carried, [&] { return body(block, carried); });
    });
  }

  /// True or false somewhere in the scope: for several heads, for any of them.
  std::pair<Value, Value> classify(Value kvBegin, Value kvEnd) {
    Value lastKey = emit.sub(kvEnd, 1);
    auto ofHead = [&](Value h) {
      return emitClassify(emit.builder, emit.loc, program, abi, scope.b, h, scope.qFirst, scope.qLast, kvBegin, lastKey);
    };
    constexpr unsigned kHeadArgument = 1;
    if (!scope.headLast || program.closedForm->getArgument(kHeadArgument).use_empty())
      return ofHead(scope.headFirst);
    Value no = emit.truth(false);
    Emitter::Values any =
        emit.loop(scope.headFirst, emit.add(scope.headLast, 1), emit.index(1), {no, no}, [&](Value h, ValueRange carried) {
          auto [mayBeTrue, mayBeFalse] = ofHead(h);
          return Emitter::Values{emit.bitOr(carried[0], mayBeTrue), emit.bitOr(carried[1], mayBeFalse)};
        });
    return {any[0], any[1]};
  }

  Emitter::Values visitIf(Value condition, ValueRange carried, llvm::function_ref<Emitter::Values()> visit) {
    if (!carried.empty())
      return emit.ifElse(carried.getTypes(), condition, visit, [&] { return Emitter::Values(carried); });
    emit.ifThen(condition, [&] { visit(); });
    return {};
  }
};

} // namespace

SmallVector<Value> forEachKvBlock(OpBuilder &builder, Location loc, const TileProgram &program, AbiAccess &abi, const KvScope &scope,
                                  int64_t cols, ValueRange iterArgs,
                                  llvm::function_ref<SmallVector<Value>(const KvBlock &, ValueRange)> body) {
  return PlanWalk{Emitter(builder, loc), program, abi, scope, cols, body}.overRuns(iterArgs);
}

//===------------------------------------------------------------------------------------------------------------------===//
// The function
//===------------------------------------------------------------------------------------------------------------------===//

KernelFunction createKernelFunction(OpBuilder &builder, const TileProgram &program) {
  Location loc = program.kernel->getLoc();
  builder.setInsertionPointAfter(program.kernel);
  Type ptr = LLVM::LLVMPointerType::get(builder.getContext()), i64 = builder.getI64Type();
  auto function = func::FuncOp::create(builder, loc, program.name, builder.getFunctionType({ptr, i64, i64, ptr}, {}));
  // Each call has a workspace of its own (KernelAbi.h).
  function.setArgAttr(3, LLVM::LLVMDialect::getNoAliasAttrName(), builder.getUnitAttr());
  Block *entry = function.addEntryBlock();
  builder.setInsertionPointToEnd(entry);
  builder.setInsertionPoint(func::ReturnOp::create(builder, loc));
  return {function, entry->getArgument(0), entry->getArgument(1), entry->getArgument(2), entry->getArgument(3)};
}

} // namespace attnjit::tile
