// The split schedule: few queries, whose keys many thread blocks share. One block per part (KernelAbi.h).
//
//   Q -> registers
//   for each block of keys of this part that the plan shows:
//     start K, V -> the stage that has been computed on last
//     on the block that has arrived, each warp 16 keys at a time:
//       S = Q K^T, formulas, online softmax, O += P V     as mma.sync (MmaSync.cpp), into a state of the warp's own
//   the states of the warps -> shared memory -> one state per row
//   the only part: the end of the row.   Several: the state -> device memory; the last part of a tile to come merges all
//
// Whoever comes last, parts are merged in the order of their numbers. Nobody waits for anybody, so blocks may run in any order.
#include "FormulaMath.h"
#include "GpuKernelFunction.h"
#include "SplitStates.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace attnjit::tile {

namespace {

using CmpI = Emitter::CmpI;
using Values = Emitter::Values;

/// What a thread carries through the loops over keys.
struct Pipeline {
  MmaState state;
  SmallVector<KvBlock> arriving; ///< oldest first; none: begin = end
  Value stage;                   ///< the next one to be filled, i32

  Values flatten() const {
    Values values;
    for (const KvBlock &block : arriving)
      values.append({block.begin, block.end, block.partial});
    values.push_back(stage);
    values.append(state.flatten());
    return values;
  }
  static Pipeline unflatten(ValueRange values, int64_t blocks) {
    Pipeline pipeline;
    for (int64_t i = 0; i < blocks; ++i)
      pipeline.arriving.push_back({values[3 * i], values[3 * i + 1], values[3 * i + 2]});
    pipeline.stage = values[3 * blocks];
    pipeline.state = MmaState::unflatten(values.drop_front(3 * blocks + 1));
    return pipeline;
  }
};

class MmaSplit {
public:
  MmaSplit(OpBuilder &builder, Location loc, const TileProgram &program, int64_t stages, Value args, Value shared)
      : emit(builder, loc), program(program), shape(MmaSplitShape::of(program, stages)),
        abi(builder, loc, args, AbiAccess::Functions::Inline), shared(shared), position(ThreadPosition::emit(emit)) {}

  void run() {
    bindUnit();
    dealWarps();
    FragmentRows fragmentRows(emit.builder, emit.loc, program, abi, position, warpRow, MmaSplitShape::kStepKeys);
    rows = &fragmentRows;
    SplitStates splitStates(emit, program, shape, abi, position, fragmentRows);
    states = &splitStates;
    rows->bindTile(tile, group);
    loadQueries();
    bindLanes();
    leave(walkKeys());
  }

private:
  //===----------------------------------------------------------------------------------------------------------------===//
  // The unit
  //===----------------------------------------------------------------------------------------------------------------===//

  /// In 32 bits, as many as number blocks: divisions of 64 take long, and their results twice the registers.
  void bindUnit() {
    auto narrow = [&](Value a) { return emit.toInt(emit.i32(), a); };
    auto divide = [&](Value a, Value by) -> Value { return emit.make<arith::DivUIOp>(a, by); };
    auto split = [&](Value index, Value by) {
      Value quotient = divide(index, by);
      return std::pair(quotient, emit.sub(index, emit.mul(quotient, by)));
    };
    Value tileRows = emit.constInt(emit.i32(), program.tileRows), kvHeads = narrow(abi.kvHeads());
    Value unit = emit.make<NVVM::BlockIdXOp>(emit.i32()), group = divide(narrow(abi.queryHeads()), kvHeads);
    Value rows = emit.mul(narrow(abi.queries()), group), parts = narrow(abi.splitParts());
    Value rowTiles = divide(emit.add(rows, program.tileRows - 1), tileRows);
    auto [headPart, rowTile] = split(unit, rowTiles);
    auto [head, part] = split(headPart, parts);
    auto [b, kvHead] = split(head, kvHeads);
    Value q0 = emit.mul(rowTile, program.tileRows), rowsLeft = emit.sub(rows, q0);
    tile = {widen(b),      widen(emit.mul(kvHead, group)),
            widen(kvHead), widen(rowTile),
            widen(q0),     widen(emit.make<arith::MinUIOp>(tileRows, rowsLeft))};
    this->unit = widen(unit), this->head = widen(head), this->part = widen(part), this->parts = widen(parts);
    this->rowTiles = widen(rowTiles), this->group = widen(group);
    rowsPerState = widen(emit.make<arith::MinUIOp>(tileRows, rows));
  }

  /// Warps per group of rows: 4, 2 or 1.
  void dealWarps() {
    auto number = [&](int64_t value) { return emit.constInt(emit.i32(), value); };
    auto fit = [&](int64_t groups) { return emit.cmp(CmpI::sle, tile.rows, emit.index(groups * MmaSplitShape::kWarpRows)); };
    Value sharers = emit.select(fit(1), number(4), emit.select(fit(2), number(2), number(1)));
    groupWarps = sharers;
    keyWarp = emit.bitAnd(position.warp, emit.sub(sharers, 1));
    Value rowGroup = emit.make<arith::DivUIOp>(position.warp, sharers);
    warpRow = emit.mul(rowGroup, MmaSplitShape::kWarpRows);
  }

  KvScope scope() {
    KvScope scope;
    scope.b = tile.b;
    scope.headFirst = tile.h;
    scope.headLast = emit.sub(emit.add(tile.h, group), 1);
    scope.qFirst = rows->placeOf(emit.index(0)).second;
    scope.qLast = rows->placeOf(emit.sub(tile.rows, 1)).second;
    // All queries of the launch are one tile of the plan.
    scope.planIndex = abi.planIndex(tile.b, tile.h, emit.index(0));
    scope.keyBegin = emit.mul(part, abi.splitKeys());
    scope.keyEnd = emit.minS(emit.add(scope.keyBegin, abi.splitKeys()), abi.keys());
    return scope;
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // Queries
  //===----------------------------------------------------------------------------------------------------------------===//

  /// Straight to where mma.sync wants them: they are read once, and shared memory is for K and V. Rows past the tile's are its last once
  /// more, of which nothing comes out.
  void loadQueries() {
    OperandAccess access = abi.operand(Operand::Q);
    Value rowPointers[kRowsPerThread];
    for (int64_t i = 0; i < kRowsPerThread; ++i) {
      Value row = emit.minS(widen(emit.add(emit.add(warpRow, position.group), 8 * i)), emit.sub(tile.rows, 1));
      auto [h, query] = rows->placeOf(row);
      rowPointers[i] = rows->rowPointer(access, program.qType, h, query);
    }
    SmallVector<Type> words(shape.k.cols / 16 * 4, emit.i32());
    auto load = [&](bool inPairs) {
      Values loaded;
      for (int64_t column = 0; column < shape.k.cols; column += 16)
        for (int64_t right = 0; right < 2; ++right)
          for (Value row : rowPointers)
            loaded.push_back(loadPair(access, row, column + 8 * right, inPairs));
      return loaded;
    };
    if (!program.contiguous) {
      queries = load(false);
      return;
    }
    Value bits = emit.index(0);
    for (Value row : rowPointers)
      bits = emit.bitOr(bits, emit.make<LLVM::PtrToIntOp>(emit.i64(), row));
    Value isEven = emit.cmp(CmpI::eq, emit.bitAnd(bits, emit.index(3)), emit.index(0));
    queries = emit.ifElse(words, isEven, [&] { return load(true); }, [&] { return load(false); });
  }

  /// Elements `column` + pair and the next of a row, as one word. Those that the head does not have are zero, and not read.
  Value loadPair(const OperandAccess &access, Value row, int64_t column, bool inPairs) {
    Value first = emit.add(widen(position.pair), column);
    bool isWhole = column + 8 <= program.headDim;
    auto existing = [&](Value at, int64_t count, llvm::function_ref<Value(Value)> load) {
      if (isWhole)
        return load(at);
      Value last = emit.index(program.headDim - count), loaded = load(emit.minS(at, last));
      return emit.select(emit.cmp(CmpI::sle, at, last), loaded, emit.constInt(loaded.getType(), 0));
    };
    if (inPairs && (isWhole || program.headDim % 2 == 0))
      return existing(first, 2, [&](Value at) { return emit.load(emit.i32(), emit.at(row, program.qType, at)); });
    auto element = [&](Value at) -> Value {
      return emit.make<arith::ExtUIOp>(emit.i32(), emit.load(emit.i16(), emit.at(row, program.qType, emit.mul(at, access.strides[3]))));
    };
    return emit.bitOr(existing(first, 1, element), emit.shl(existing(emit.add(first, 1), 1, element), 16));
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // Keys
  //===----------------------------------------------------------------------------------------------------------------===//

  void bindLanes() {
    kRows = KvRows(emit.builder, emit.loc, program, abi, Operand::K, tile.b, tile.kvHead);
    vRows = KvRows(emit.builder, emit.loc, program, abi, Operand::V, tile.b, tile.kvHead);
    kLane = emit.add(emitLaneOffset(emit, position, shape.k, SharedFactor::RightByRow), shape.k.offsetBytes);
    vLane = emit.add(emitLaneOffset(emit, position, shape.v, SharedFactor::Right), shape.v.offsetBytes);
  }

  MmaState walkKeys() {
    Value zero = emit.index(0), no = emit.truth(false);
    Pipeline start{MmaState::initial(emit, *rows, shape.valueDim), SmallVector<KvBlock>(shape.stages - 1, {zero, zero, no}),
                   emit.constInt(emit.i32(), 0)};
    auto goOn = [&](ValueRange carried, const KvBlock *next) {
      return advance(Pipeline::unflatten(carried, shape.stages - 1), next).flatten();
    };
    Values walked = forEachKvBlock(emit.builder, emit.loc, program, abi, scope(), shape.cols, start.flatten(),
                                   [&](const KvBlock &block, ValueRange carried) { return goOn(carried, &block); });
    Values through = emit.loop(zero, emit.index(shape.stages - 1), emit.index(1), walked,
                               [&](Value, ValueRange carried) { return goOn(carried, nullptr); });
    return Pipeline::unflatten(through, shape.stages - 1).state;
  }

  /// Starts the copies of `next`, if there is one, and computes on the block that has waited longest.
  Pipeline advance(Pipeline now, const KvBlock *next) {
    emit.make<NVVM::CpAsyncWaitGroupOp>(emit.builder.getI32IntegerAttr(int32_t(shape.stages - 2)));
    barrier(); // the oldest block is there for all, and all are through with the one before it
    if (next) {
      Value stage = stageAt(now.stage);
      copy(stage, shape.kStage, Operand::K, program.headDim, kRows, *next);
      copy(stage, shape.vStage, Operand::V, program.valueDim, vRows, *next);
    }
    emit.make<NVVM::CpAsyncCommitGroupOp>();
    Value after = emit.add(now.stage, 1), zero = emit.constInt(emit.i32(), 0);
    after = emit.select(emit.cmp(CmpI::eq, after, emit.constInt(emit.i32(), shape.stages)), zero, after);
    KvBlock oldest = now.arriving.front();
    now.arriving.erase(now.arriving.begin());
    now.arriving.push_back(next ? *next : KvBlock{oldest.end, oldest.end, oldest.partial});
    now.stage = after;
    if (shape.widens)
      emit.ifThen(emit.cmp(CmpI::slt, oldest.begin, oldest.end), [&] { widen8(stageAt(after)); });
    now.state = compute(now.state, oldest, shape.widens ? shared : stageAt(after));
    return now;
  }

  void copy(Value stage, const SharedTile &to, Operand which, int64_t columns, const KvRows &from, const KvBlock &block) {
    OperandAccess operand = abi.operand(which);
    emitCopyToShared(emit, position, shape.threads(), stage, to, program.kvType,
                     {operand, columns, tile.b, tile.kvHead, block.begin, block.end, program.contiguous, program.kvType, &from});
  }

  /// 8-bit floats become the type of Q once they are there: on their way they would have to come through registers, and be waited for.
  void widen8(Value stage) {
    emitWidenShared(emit, position, shape.threads(), {stage, shared, shape.kStage, shape.k, program.kvType, program.qType});
    emitWidenShared(emit, position, shape.threads(), {stage, shared, shape.vStage, shape.v, program.kvType, program.qType});
    barrier();
  }

  /// This warp's keys of a block, of which there may be none. `tiles`: where the offsets of shape.k and shape.v begin.
  MmaState compute(const MmaState &before, const KvBlock &block, Value tiles) {
    constexpr int64_t kKeys = MmaSplitShape::kStepKeys;
    Value first = emit.add(block.begin, widen(emit.mul(keyWarp, kKeys))), stride = widen(emit.mul(groupWarps, kKeys));
    Values after = emit.loop(first, block.end, stride, before.flatten(), [&](Value begin, ValueRange carried) {
      KvBlock step{begin, emit.minS(emit.add(begin, kKeys), block.end), block.partial};
      Value row = emit.toInt(emit.i32(), emit.sub(begin, block.begin));
      Value k = emitByteOffset(emit, tiles, emit.add(kLane, emit.mul(row, shape.k.pitchBytes())));
      Value v = emitByteOffset(emit, tiles, emit.add(vLane, emit.mul(row, shape.v.pitchBytes())));
      MmaState state = MmaState::unflatten(carried);
      Fragments scores = emitScores(emit, program.qType, [&](int64_t column) { return queriesAt(column); }, shape.k, k, kKeys);
      rows->applyFormulas(scores, step);
      RowValues alpha = rows->takeIntoState(state.row, scores, step);
      rows->scaleRows(state.out, alpha);
      emitOutputSums(emit, program.qType, scores, shape.v, v, state.out);
      return state.flatten();
    });
    return MmaState::unflatten(after);
  }

  Fragment4 queriesAt(int64_t column) const {
    size_t first = column / 16 * 4;
    return {queries[first], queries[first + 1], queries[first + 2], queries[first + 3]};
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // The end
  //===----------------------------------------------------------------------------------------------------------------===//

  void leave(const MmaState &state) {
    int64_t rowBytes = shape.stateRowBytes();
    barrier(); // all are through with K and V
    states->storeWarp(state, emitByteOffset(emit, shared, emit.mul(position.warp, MmaSplitShape::kWarpRows * rowBytes)));
    barrier();
    Value isAlone = emit.cmp(CmpI::eq, parts, emit.index(1));
    emit.ifElse(
        isAlone, [&] { forEachRow([&](Value row) { states->finish(mergeWarps(row), row); }); },
        [&] {
          forEachRow([&](Value row) { states->store(mergeWarps(row), partRow(unit, row)); });
          emit.ifThen(emitIsLast(), [&] { forEachRow([&](Value row) { states->finish(mergeParts(row), row); }); });
        });
  }

  /// The rows of the tile, by one warp each.
  void forEachRow(llvm::function_ref<void(Value row)> body) {
    emit.loop(widen(position.warp), tile.rows, emit.index(MmaSplitShape::kWarps), body);
  }

  /// Of the warps that shared the keys of a row.
  SplitStates::Merged mergeWarps(Value row) {
    Value narrow = emit.toInt(emit.i32(), row), rowGroup = emit.shrU(narrow, 4),
          inWarp = emit.bitAnd(narrow, emit.constInt(emit.i32(), 15));
    Value slot = emit.add(emit.mul(emit.mul(rowGroup, groupWarps), MmaSplitShape::kWarpRows), inWarp);
    Value first = emitByteOffset(emit, shared, emit.mul(slot, shape.stateRowBytes()));
    return states->merge({first, emit.index(MmaSplitShape::kWarpRows * shape.stateRowBytes()), widen(groupWarps)});
  }

  SplitStates::Merged mergeParts(Value row) {
    Value firstUnit = emit.add(emit.mul(emit.mul(head, parts), rowTiles), tile.queryTile);
    Value stride = emit.mul(emit.mul(rowTiles, rowsPerState), shape.stateRowBytes());
    return states->merge({partRow(firstUnit, row), stride, parts});
  }

  Value deviceStates() {
    Type type = LLVM::LLVMPointerType::get(emit.builder.getContext(), unsigned(NVVM::NVVMMemorySpace::Global));
    return emit.make<LLVM::AddrSpaceCastOp>(type, abi.splitStates());
  }
  Value partRow(Value ofUnit, Value row) {
    Value number = emit.add(emit.mul(ofUnit, rowsPerState), row);
    return emitByteOffset(emit, deviceStates(), emit.mul(number, shape.stateRowBytes()));
  }

  /// Counts this part in, and says whether all parts of the tile are: then their states can be seen from here (i1, the same for all
  /// threads). The counters, one i32 for each tile, lie behind the states of all units and are 0 at first.
  Value emitIsLast() {
    Value flag = emitByteOffset(emit, shared, shape.flagOffset);
    barrier(); // the state is written
    emit.ifThen(emit.cmp(CmpI::eq, position.thread, emit.constInt(emit.i32(), 0)), [&] {
      Value units = widen(emit.make<NVVM::GridDimXOp>(emit.i32())), number = emit.add(emit.mul(head, rowTiles), tile.queryTile);
      Value counter = emitByteOffset(emit, partRow(units, emit.index(0)), emit.mul(number, 4));
      // The atomic operation alone would order nothing: LLVM makes it relaxed whatever it is told.
      auto fence = [&] { emit.make<LLVM::FenceOp>(LLVM::AtomicOrdering::acq_rel, StringRef("device")); };
      fence();
      Value before =
          emit.make<LLVM::AtomicRMWOp>(LLVM::AtomicBinOp::add, counter, emit.constInt(emit.i32(), 1), LLVM::AtomicOrdering::monotonic);
      fence();
      emit.store(emit.add(before, 1), flag);
    });
    barrier();
    return emit.cmp(CmpI::eq, widen(emit.load(emit.i32(), flag)), parts);
  }

  void barrier() { emit.make<NVVM::Barrier0Op>(); }
  Value widen(Value a) { return emit.make<arith::ExtUIOp>(emit.i64(), a); }
  Value stageAt(Value number) { return emitByteOffset(emit, shared, emit.mul(number, shape.stageBytes)); }

  Emitter emit;
  const TileProgram &program;
  MmaSplitShape shape;
  AbiAccess abi;
  Value shared; ///< the block's shared memory
  ThreadPosition position;

  Value unit, head, part, parts, rowTiles, group, rowsPerState; ///< i64; head: counted through all batches
  TileCoords tile;                                              ///< of packed rows
  Value groupWarps, keyWarp, warpRow; ///< warps that share the keys of 16 rows, which of them this is, first row of the warp; i32
  FragmentRows *rows = nullptr;
  SplitStates *states = nullptr;
  Values queries; ///< left factors, by columns
  KvRows kRows, vRows;
  Value kLane, vLane; ///< where this lane points ldmatrix, from `tiles` of compute() on, i32
};

} // namespace

LogicalResult lowerMmaSplit(const TileProgram &program, const GpuTarget &target, MmaSplitAttr choices) {
  if (std::optional<std::string> refusal = mmaSplitRefusal(program, target, choices))
    return program.kernel->emitOpError("cannot be scheduled for mma.sync by parts: ") << *refusal;
  specializeFormulas(program);

  OpBuilder builder(program.kernel);
  MmaSplitShape shape = MmaSplitShape::of(program, choices.getKvStages());
  GpuLaunch launch{shape.threads(), shape.sharedBytes()};
  launch.stateRowBytes = shape.stateRowBytes();
  GpuKernelFunction kernel = createGpuKernel(builder, program, launch);
  MmaSplit(builder, program.kernel->getLoc(), program, choices.getKvStages(), kernel.args, kernel.shared).run();
  finishGpuKernel(kernel, program);
  return success();
}

} // namespace attnjit::tile
