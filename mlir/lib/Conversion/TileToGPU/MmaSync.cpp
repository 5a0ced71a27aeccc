// The mma.sync schedule: one thread block per tile of query rows, one warp per 16 of them.
//
//   Q -> shared
//   for each block of keys of the plan:
//     K, V -> shared (V arrives while scores are computed; 8-bit floats become the type of Q here)
//     S = Q K^T            fragments of 16x8 in registers
//     score_mod, mask_mod  element by element: thread and register say which (row, column) an element is
//     online softmax       a row lives in four threads
//     prob_mod             as score_mod; the sums are of p before it
//     O += P V             the fragments of P are the left factor of the second product as they are
//   O / sum -> out
//
// Plain on purpose: no software pipeline over blocks, no swizzle, no specialised warps.
#include "MmaSync.h"

#include "FormulaMath.h"
#include "attnjit-mlir/Conversion/TileToVector/MapExpander.h"
#include "attnjit-mlir/Conversion/TileToVector/SoftmaxEnd.h"
#include "attnjit-mlir/Conversion/TileToVector/VectorMath.h"
#include "attnjit/KernelAbi.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Transforms/RegionUtils.h"

#include <cmath>

using namespace mlir;

namespace attnjit::tile {

namespace {

using CmpI = Emitter::CmpI;
using CmpF = Emitter::CmpF;
using Values = Emitter::Values;

/// Each thread holds two rows of its warp's 16: group and group + 8.
constexpr int64_t kRowsPerThread = 2;

/// The softmax state and the accumulator of one thread, carried through the loops as one flat list. `sum` is partial: of this thread's
/// columns.
struct State {
  Value max[kRowsPerThread], sum[kRowsPerThread];
  SmallVector<Fragment4> out;

  Values flatten() const {
    Values values = {max[0], max[1], sum[0], sum[1]};
    for (const Fragment4 &fragment : out)
      values.append(fragment.begin(), fragment.end());
    return values;
  }
  static State unflatten(ValueRange values) {
    State state{{values[0], values[1]}, {values[2], values[3]}, {}};
    for (size_t i = 4; i < values.size(); i += 4)
      state.out.push_back({values[i], values[i + 1], values[i + 2], values[i + 3]});
    return state;
  }
};

/// Row of this thread (0 or 1) and column offset from `pair` of part `part` of a C fragment.
constexpr int64_t rowOf(int64_t part) { return part / 2; }
constexpr int64_t columnOf(int64_t part) { return part % 2; }

class MmaSync {
public:
  MmaSync(OpBuilder &builder, Location loc, const TileProgram &program, Value args, Value shared)
      : emit(builder, loc), program(program), shape(MmaSyncShape::of(program)), abi(builder, loc, args), shared(shared),
        position(ThreadPosition::emit(emit)) {}

  void run() {
    Value tile = emit.make<arith::ExtUIOp>(emit.i64(), Value(emit.make<NVVM::BlockIdXOp>(emit.i32())));
    forEachTile(emit.builder, emit.loc, abi, shape.rows, tile, emit.add(tile, 1), [&](const TileCoords &coords) { emitTile(coords); });
  }

private:
  //===----------------------------------------------------------------------------------------------------------------===//
  // The tile
  //===----------------------------------------------------------------------------------------------------------------===//

  void emitTile(const TileCoords &tile) {
    bindTile(tile);
    OperandAccess q = abi.operand(Operand::Q), k = abi.operand(Operand::K), v = abi.operand(Operand::V);
    copy(shape.q, {q, tile.b, tile.h, tile.q0, emit.add(tile.q0, tile.rows), program.contiguous, program.qType});

    Values last = forEachKvBlock(emit.builder, emit.loc, program, abi, scopeOf(emit.builder, emit.loc, abi, tile), shape.cols,
                                 initialState().flatten(), [&](const KvBlock &block, ValueRange carried) {
                                   copy(shape.k, {k, tile.b, tile.kvHead, block.begin, block.end, program.contiguous, program.kvType});
                                   copy(shape.v, {v, tile.b, tile.kvHead, block.begin, block.end, program.contiguous, program.kvType});
                                   waitForCopies(/*inFlight=*/1); // V may still be on its way
                                   SmallVector<Fragment4> scores = multiplyQK();
                                   applyFormulas(scores, block);
                                   State state = State::unflatten(carried);
                                   SmallVector<Value> visible = visibleAmong(scores);
                                   takeIntoState(state, scores);
                                   if (program.prob)
                                     applyProb(scores, visible, block);
                                   waitForCopies(/*inFlight=*/0);
                                   multiplyPV(state, scores);
                                   barrier(); // K and V may be overwritten now
                                   return state.flatten();
                                 });
    finish(State::unflatten(last));
  }

  /// What stays the same for the whole tile.
  void bindTile(const TileCoords &coords) {
    tile = coords;
    Value warpRow = emit.shl(position.warp, 4);
    scoreFactor = abi.headFactors(emit.f32(), tile.b, tile.kvHead).score;
    for (int64_t row = 0; row < kRowsPerThread; ++row) {
      rows[row] = widen(emit.add(emit.add(warpRow, position.group), 8 * row));
      queries[row] = emit.add(tile.q0, rows[row]);
      rowExists[row] = emit.cmp(CmpI::slt, rows[row], tile.rows);
    }
    pair = widen(position.pair);

    // Row and column (in elements) that each lane addresses in a 16x16 tile for ldmatrix. Matrices 0 .. 3 of Q and of V are its quarters
    // (top, left), (bottom, left), (top, right), (bottom, right); those of K, whose rows are columns of B, (top, left), (top, right),
    // (bottom, left), (bottom, right).
    Value low = emit.bitAnd(position.lane, emit.constInt(emit.i32(), 15)), high = emit.shl(emit.shrU(position.lane, 4), 3);
    Value inner = emit.bitAnd(position.lane, emit.constInt(emit.i32(), 7)),
          middle = emit.bitAnd(position.lane, emit.constInt(emit.i32(), 8));
    qLane = laneAddress(shape.q, emit.add(warpRow, low), high);
    kLane = laneAddress(shape.k, emit.add(inner, high), middle);
    vLane = laneAddress(shape.v, low, high);

    if (program.score)
      score.emplace(emit.builder, emit.loc, program, *program.score, abi, /*lanes=*/1).bindHeads(tile.b, tile.h);
    if (program.mask)
      mask.emplace(emit.builder, emit.loc, program, *program.mask, abi, /*lanes=*/1).bindHeads(tile.b, tile.h);
    if (program.prob)
      prob.emplace(emit.builder, emit.loc, program, *program.prob, abi, /*lanes=*/1).bindHeads(tile.b, tile.h);
  }

  Value laneAddress(const SharedTile &tile, Value row, Value column) {
    return emitByteOffset(emit, shared, emit.add(emit.add(emit.mul(row, tile.pitchBytes()), emit.shl(column, 1)), tile.offsetBytes));
  }

  State initialState() {
    Value zero = emit.constFloat(emit.f32(), 0.0), lowest = minusInfinity();
    return {{lowest, lowest}, {zero, zero}, SmallVector<Fragment4>(shape.outTiles(), {zero, zero, zero, zero})};
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // Memory
  //===----------------------------------------------------------------------------------------------------------------===//

  void copy(const SharedTile &to, const TileSource &from) {
    emitCopyToShared(emit, position, shape.threads(), shared, to, program.qType, from);
    emit.make<NVVM::CpAsyncCommitGroupOp>();
  }
  void barrier() { emit.make<NVVM::Barrier0Op>(); }
  void waitForCopies(int32_t inFlight) {
    emit.make<NVVM::CpAsyncWaitGroupOp>(emit.builder.getI32IntegerAttr(inFlight));
    barrier();
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // The two products
  //===----------------------------------------------------------------------------------------------------------------===//

  SmallVector<Fragment4> multiplyQK() {
    Value zero = emit.constFloat(emit.f32(), 0.0);
    SmallVector<Fragment4> scores(shape.scoreTiles(), {zero, zero, zero, zero});
    for (int64_t d = 0; d < shape.headDim; d += 16) {
      Fragment4 q = emitLoadMatrices(emit, emitByteOffset(emit, qLane, d * 2), /*transposed=*/false);
      for (int64_t key = 0; key < shape.cols; key += 16) {
        Fragment4 k = emitLoadMatrices(emit, emitByteOffset(emit, kLane, key * shape.k.pitchBytes() + d * 2), /*transposed=*/false);
        for (int64_t half = 0; half < 2; ++half) {
          Fragment4 &sum = scores[key / 8 + half];
          sum = emitMma(emit, program.qType, q, k[2 * half], k[2 * half + 1], sum);
        }
      }
    }
    for (Fragment4 &fragment : scores)
      for (Value &element : fragment)
        element = emit.mulF(element, scoreFactor);
    return scores;
  }

  /// `probs` as rounded here enter the sum of the output, as computed the sum of the state: the usual choice of flash kernels.
  void multiplyPV(State &state, ArrayRef<Fragment4> probs) {
    for (int64_t key = 0; key < shape.cols; key += 16) {
      const Fragment4 &left = probs[key / 8], &right = probs[key / 8 + 1];
      Fragment4 p = {pack(left[0], left[1]), pack(left[2], left[3]), pack(right[0], right[1]), pack(right[2], right[3])};
      for (int64_t d = 0; d < shape.valueDim; d += 16) {
        Fragment4 v = emitLoadMatrices(emit, emitByteOffset(emit, vLane, key * shape.v.pitchBytes() + d * 2), /*transposed=*/true);
        for (int64_t half = 0; half < 2; ++half) {
          Fragment4 &sum = state.out[d / 8 + half];
          sum = emitMma(emit, program.qType, p, v[2 * half], v[2 * half + 1], sum);
        }
      }
    }
  }
  Value pack(Value low, Value high) { return emitPack(emit, program.qType, low, high); }

  //===----------------------------------------------------------------------------------------------------------------===//
  // Formulas
  //===----------------------------------------------------------------------------------------------------------------===//

  void applyFormulas(SmallVector<Fragment4> &scores, const KvBlock &block) {
    SmallVector<Value> outOfRange(shape.scoreTiles() * 4); // of score_mod's captured indices; null: never (A10)
    if (program.score)
      forEachElement(*score, block, [&](int64_t tile, int64_t part, Value) {
        MapResult result = score->expand(scores[tile][part]);
        scores[tile][part] = result.value;
        outOfRange[tile * 4 + part] = result.outOfRange;
      });
    if (program.mask)
      applyMask(scores, block, outOfRange);
    else
      reportScores(outOfRange, block);
    dropMissingKeys(scores, block);
  }

  /// A select after score_mod: it wins even over NaN (A3). Where the plan knows the mask to be true it is not evaluated.
  void applyMask(SmallVector<Fragment4> &scores, const KvBlock &block, ArrayRef<Value> scoreOutOfRange) {
    replaceScores(
        scores, block.partial,
        [&](SmallVector<Fragment4> &masked) {
          forEachElement(*mask, block, [&](int64_t tile, int64_t part, Value key) {
            MapResult visible = mask->expand(Value());
            masked[tile][part] = emit.select(visible.value, masked[tile][part], minusInfinity());
            report(visible.outOfRange, Value(), block, part, key);
            report(scoreOutOfRange[tile * 4 + part], visible.value, block, part, key);
          });
        },
        [&] { reportScores(scoreOutOfRange, block); });
  }

  /// Which scores are above -inf, or NaN: where prob_mod counts.
  SmallVector<Value> visibleAmong(ArrayRef<Fragment4> scores) {
    SmallVector<Value> visible;
    if (program.prob)
      for (const Fragment4 &fragment : scores)
        for (Value score : fragment)
          visible.push_back(emit.cmp(CmpF::UNE, score, minusInfinity()));
    return visible;
  }

  /// prob_mod on p as it stands before the row is normalised. Where the score is -inf, 0 whatever it says (A13).
  void applyProb(SmallVector<Fragment4> &probs, ArrayRef<Value> visible, const KvBlock &block) {
    Value zero = emit.constFloat(emit.f32(), 0.0);
    forEachElement(*prob, block, [&](int64_t tile, int64_t part, Value key) {
      Value counts = visible[tile * 4 + part], &element = probs[tile][part];
      MapResult mapped = prob->expand(element);
      report(mapped.outOfRange, counts, block, part, key);
      element = emit.select(counts, mapped.value, zero);
    });
  }

  void reportScores(ArrayRef<Value> outOfRange, const KvBlock &block) {
    for (int64_t tile = 0; tile < shape.scoreTiles(); ++tile)
      for (int64_t part = 0; part < 4; ++part)
        if (Value flag = outOfRange[tile * 4 + part])
          report(flag, Value(), block, part, keyAt(block, tile, columnOf(part)));
  }

  /// The last block of a run may be narrower than the tile.
  void dropMissingKeys(SmallVector<Fragment4> &scores, const KvBlock &block) {
    Value count = emit.sub(block.end, block.begin);
    Value isRagged = emit.cmp(CmpI::slt, count, emit.index(shape.cols));
    replaceScores(
        scores, isRagged,
        [&](SmallVector<Fragment4> &kept) {
          for (int64_t tile = 0; tile < shape.scoreTiles(); ++tile)
            for (int64_t part = 0; part < 4; ++part) {
              Value exists = emit.cmp(CmpI::slt, emit.add(pair, 8 * tile + columnOf(part)), count);
              kept[tile][part] = emit.select(exists, kept[tile][part], minusInfinity());
            }
        },
        [] {});
  }

  /// scores = condition ? change(scores) : scores, as a branch, which all threads of a block take alike.
  void replaceScores(SmallVector<Fragment4> &scores, Value condition, llvm::function_ref<void(SmallVector<Fragment4> &)> change,
                     llvm::function_ref<void()> otherwise) {
    auto flatten = [](ArrayRef<Fragment4> fragments) {
      Values values;
      for (const Fragment4 &fragment : fragments)
        values.append(fragment.begin(), fragment.end());
      return values;
    };
    SmallVector<Type> types(scores.size() * 4, emit.f32());
    Values changed = emit.ifElse(
        types, condition,
        [&] {
          SmallVector<Fragment4> copy = scores;
          change(copy);
          return flatten(copy);
        },
        [&] {
          otherwise();
          return flatten(scores);
        });
    for (size_t i = 0; i < changed.size(); ++i)
      scores[i / 4][i % 4] = changed[i];
  }

  /// Visits (tile, part, key) of every element in this thread, with the expander bound to it.
  void forEachElement(MapExpander &expander, const KvBlock &block, llvm::function_ref<void(int64_t, int64_t, Value)> body) {
    for (int64_t row = 0; row < kRowsPerThread; ++row) {
      expander.bindQuery(index(insideOf(queries[row], abi.queries())));
      for (int64_t tile = 0; tile < shape.scoreTiles(); ++tile)
        for (int64_t column = 0; column < 2; ++column) {
          Value key = keyAt(block, tile, column);
          expander.bindKey(index(insideOf(key, block.end)));
          body(tile, row * 2 + column, key);
        }
    }
  }

  Value keyAt(const KvBlock &block, int64_t tile, int64_t column) { return emit.add(emit.add(block.begin, pair), 8 * tile + column); }
  Value index(Value position) { return emit.toInt(program.indexType, position); }
  /// Padding positions only have to be harmless where a captured tensor is read at them (A10).
  Value insideOf(Value position, Value end) { return program.captures.empty() ? position : emit.minS(position, emit.sub(end, 1)); }

  /// Notes the positions at which a captured index left its tensor; padding never counts.
  void report(Value outOfRange, Value visible, const KvBlock &block, int64_t part, Value key) {
    if (!outOfRange)
      return;
    Value counts = emit.bitAnd(rowExists[rowOf(part)], emit.cmp(CmpI::slt, key, block.end));
    if (visible)
      counts = emit.bitAnd(counts, visible);
    emitReport(emit.builder, emit.loc, abi, outOfRange, counts, tile.b, tile.h, queries[rowOf(part)], key, /*lanes=*/1);
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // Softmax
  //===----------------------------------------------------------------------------------------------------------------===//

  /// tile.softmax_step and tile.row_scale; scores become probabilities.
  void takeIntoState(State &state, SmallVector<Fragment4> &scores) {
    Value zero = emit.constFloat(emit.f32(), 0.0);
    for (int64_t row = 0; row < kRowsPerThread; ++row) {
      auto forRow = [&](SmallVector<Fragment4> &fragments, llvm::function_ref<void(Value &)> body) {
        for (Fragment4 &fragment : fragments)
          for (int64_t part = 0; part < 4; ++part)
            if (rowOf(part) == row)
              body(fragment[part]);
      };
      Value blockMax;
      forRow(scores, [&](Value &element) { blockMax = blockMax ? maximum(blockMax, element) : element; });
      blockMax = emitRowReduce(emit, blockMax, [&](Value a, Value b) { return maximum(a, b); });
      Value newMax = maximum(state.max[row], blockMax);
      // A row that has seen nothing keeps -inf as its maximum, and 0 as the reference, so that no -inf + inf arises (A5).
      Value reference = emit.select(emit.cmp(CmpF::OEQ, newMax, minusInfinity()), zero, newMax);
      Value alpha = exponential(emit.subF(state.max[row], reference));
      Value sum = emit.mulF(state.sum[row], alpha);
      forRow(scores, [&](Value &element) {
        element = exponential(emit.subF(element, reference));
        sum = emit.addF(sum, element);
      });
      forRow(state.out, [&](Value &element) { element = emit.mulF(element, alpha); });
      state.max[row] = newMax;
      state.sum[row] = sum;
    }
  }

  /// e^x. The difference to the reference is formed first: folding log2(e) into one fma would lose a score of -1e30 to rounding (A5).
  Value exponential(Value x) { return emitFastExp2(emit, emit.mulF(x, emit.constFloat(emit.f32(), M_LOG2E))); }
  /// NaN propagates (A6).
  Value maximum(Value a, Value b) { return emit.make<arith::MaximumFOp>(a, b); }

  /// tile.softmax_finish and the stores.
  void finish(const State &state) {
    Value sink = emitSink(emit.builder, emit.loc, program, abi, tile.b, tile.h);
    SmallVector<SoftmaxEnd> ends;
    for (int64_t row = 0; row < kRowsPerThread; ++row) {
      Value sum = emitRowReduce(emit, state.sum[row], [&](Value a, Value b) { return emit.addF(a, b); });
      ends.push_back(emitSoftmaxEnd(emit.builder, emit.loc, abi, state.max[row], sum, sink, [&](Value x) { return exponential(x); }));
    }
    storeOut(state, ends);
    // One of the four threads of a row has the word.
    Value speaks = emit.cmp(CmpI::eq, position.pair, emit.constInt(emit.i32(), 0));
    storeRows(Operand::Lse, speaks, [&](int64_t row) { return ends[row].lse; });
    storeRows(Operand::Max, speaks, [&](int64_t row) { return state.max[row]; });
  }

  void storeOut(const State &state, ArrayRef<SoftmaxEnd> ends) {
    OperandAccess out = abi.operand(Operand::Out);
    Type memory = program.outType;
    Value zero = emit.constFloat(emit.f32(), 0.0);
    Value outputFactor = abi.headFactors(emit.f32(), tile.b, tile.kvHead).output; // not kept through the loop, whose registers are all taken
    for (int64_t row = 0; row < kRowsPerThread; ++row) {
      Value factor = emit.mulF(ends[row].factor(emit.builder, emit.loc), outputFactor);
      emit.ifThen(rowExists[row], [&] {
        Value first = emit.at(rowPointer(out, memory, row), memory, emit.mul(pair, out.strides[3]));
        for (auto [tile, fragment] : llvm::enumerate(state.out))
          for (int64_t column = 0; column < 2; ++column) {
            // Not 0 times the accumulator, which a NaN in a masked row of V may have reached (A5).
            Value element = emit.select(ends[row].isEmpty, zero, emit.mulF(fragment[row * 2 + column], factor));
            Value rounded = memory.isF32() ? element : Value(emit.make<arith::TruncFOp>(memory, element));
            emit.store(rounded, emit.at(first, memory, emit.mul(out.strides[3], 8 * int64_t(tile) + column)));
          }
      });
    }
  }

  void storeRows(Operand which, Value speaks, llvm::function_ref<Value(int64_t)> valueOf) {
    OperandAccess operand = abi.operand(which);
    Value isWanted = emit.make<LLVM::ICmpOp>(LLVM::ICmpPredicate::ne, operand.pointer, emit.make<LLVM::ZeroOp>(emit.ptr()));
    emit.ifThen(emit.bitAnd(isWanted, speaks), [&] {
      for (int64_t row = 0; row < kRowsPerThread; ++row)
        emit.ifThen(rowExists[row], [&] { emit.store(valueOf(row), rowPointer(operand, emit.f32(), row)); });
    });
  }

  /// Element (b, h, row, 0) of an operand.
  Value rowPointer(const OperandAccess &operand, Type memory, int64_t row) {
    Value offset = emit.add(emit.mul(tile.b, operand.strides[0]), emit.mul(tile.h, operand.strides[1]));
    return emit.at(operand.pointer, memory, emit.add(offset, emit.mul(queries[row], operand.strides[2])));
  }

  Value minusInfinity() { return emit.constFloat(emit.f32(), -HUGE_VAL); }
  Value widen(Value a) { return emit.make<arith::ExtUIOp>(emit.i64(), a); }

  Emitter emit;
  const TileProgram &program;
  MmaSyncShape shape;
  AbiAccess abi;
  Value shared; ///< the block's shared memory
  ThreadPosition position;

  // Of the tile; see bindTile.
  TileCoords tile;
  Value scoreFactor;
  Value rows[kRowsPerThread];      ///< in the tile, i64
  Value queries[kRowsPerThread];   ///< q_idx, i64; may lie past M
  Value rowExists[kRowsPerThread]; ///< i1
  Value pair;                      ///< i64
  Value qLane, kLane, vLane;       ///< where this lane points ldmatrix
  std::optional<MapExpander> score, mask, prob;
};

/// Dynamic shared memory: its size is the launch's.
LLVM::GlobalOp createSharedMemory(const Emitter &emit, StringRef kernelName) {
  Type bytes = LLVM::LLVMArrayType::get(emit.i8(), 0);
  return emit.make<LLVM::GlobalOp>(bytes, /*isConstant=*/false, LLVM::Linkage::External, (kernelName + "_shared").str(), Attribute(),
                                   /*alignment=*/16, unsigned(NVVM::NVVMMemorySpace::Shared));
}

/// The empty kernel: KernelArgs by value, the launch's sizes as attributes.
LLVM::LLVMFuncOp createKernel(const Emitter &emit, const TileProgram &program, const MmaSyncShape &shape) {
  OpBuilder &builder = emit.builder;
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(builder.getContext()), {emit.ptr()});
  auto function = emit.make<LLVM::LLVMFuncOp>(program.name, type);
  Type bytes = LLVM::LLVMArrayType::get(emit.i8(), sizeof(KernelArgs));
  function.setArgAttr(0, LLVM::LLVMDialect::getByValAttrName(), TypeAttr::get(bytes));
  function.setArgAttr(0, LLVM::LLVMDialect::getAlignAttrName(), builder.getI64IntegerAttr(alignof(KernelArgs)));
  function->setAttr(NVVM::NVVMDialect::getKernelFuncAttrName(), builder.getUnitAttr());
  function->setAttr(NVVM::NVVMDialect::getMaxntidAttrName(), builder.getDenseI32ArrayAttr({int32_t(shape.threads())}));
  function->setAttr("attnjit.threads_per_block", builder.getI64IntegerAttr(shape.threads()));
  function->setAttr("attnjit.shared_bytes", builder.getI64IntegerAttr(shape.sharedBytes()));
  return function;
}

} // namespace

LogicalResult lowerMmaSync(const TileProgram &program, const GpuTarget &target) {
  if (std::optional<std::string> refusal = mmaSyncRefusal(program, target))
    return program.kernel->emitOpError("cannot be scheduled for mma.sync: ") << *refusal;
  for (Region *formula : {program.score, program.mask, program.prob, program.closedForm})
    specializeMath(formula);

  Location loc = program.kernel->getLoc();
  OpBuilder builder(program.kernel);
  Emitter emit(builder, loc);
  LLVM::GlobalOp memory = createSharedMemory(emit, program.name);
  LLVM::LLVMFuncOp function = createKernel(emit, program, MmaSyncShape::of(program));
  Block *entry = function.addEntryBlock(builder);
  builder.setInsertionPointToEnd(entry);
  builder.setInsertionPoint(emit.make<LLVM::ReturnOp>(ValueRange()));
  Value shared = emit.make<LLVM::AddressOfOp>(memory);
  MmaSync(builder, loc, program, entry->getArgument(0), shared).run();
  // The expander offers vector forms of what it binds; scalars never take them up.
  IRRewriter rewriter(builder.getContext());
  (void)runRegionDCE(rewriter, function->getRegions());
  program.kernel->erase();
  return success();
}

} // namespace attnjit::tile
