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
#include "FragmentRows.h"
#include "GpuKernelFunction.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace attnjit::tile {

namespace {

using Values = Emitter::Values;

/// What a thread carries through the loops, as one flat list.
struct State {
  RowState row;
  Fragments out;

  Values flatten() const {
    Values values = {row.max[0], row.max[1], row.sum[0], row.sum[1]};
    for (const Fragment4 &fragment : out)
      values.append(fragment.begin(), fragment.end());
    return values;
  }
  static State unflatten(ValueRange values) {
    State state{{{values[0], values[1]}, {values[2], values[3]}}, {}};
    for (size_t i = 4; i < values.size(); i += 4)
      state.out.push_back({values[i], values[i + 1], values[i + 2], values[i + 3]});
    return state;
  }
};

class MmaSync {
public:
  MmaSync(OpBuilder &builder, Location loc, const TileProgram &program, Value args, Value shared)
      : emit(builder, loc), program(program), shape(MmaSyncShape::of(program)), abi(builder, loc, args, AbiAccess::Functions::Inline),
        shared(shared), position(ThreadPosition::emit(emit)), warpRow(emit.shl(position.warp, 4)),
        rows(builder, loc, program, abi, position, warpRow, shape.cols) {}

  void run() {
    Value tile = emit.make<arith::ExtUIOp>(emit.i64(), Value(emit.make<NVVM::BlockIdXOp>(emit.i32())));
    forEachTile(emit.builder, emit.loc, abi, shape.rows, tile, emit.add(tile, 1), [&](const TileCoords &coords) { emitTile(coords); });
  }

private:
  //===----------------------------------------------------------------------------------------------------------------===//
  // The tile
  //===----------------------------------------------------------------------------------------------------------------===//

  void emitTile(const TileCoords &tile) {
    rows.bindTile(tile);
    bindLanes();
    OperandAccess q = abi.operand(Operand::Q), k = abi.operand(Operand::K), v = abi.operand(Operand::V);
    copy(shape.q, {q, tile.b, tile.h, tile.q0, emit.add(tile.q0, tile.rows), program.contiguous, program.qType});

    Values last = forEachKvBlock(emit.builder, emit.loc, program, abi, scopeOf(emit.builder, emit.loc, abi, tile), shape.cols,
                                 initialState().flatten(), [&](const KvBlock &block, ValueRange carried) {
                                   copy(shape.k, {k, tile.b, tile.kvHead, block.begin, block.end, program.contiguous, program.kvType});
                                   copy(shape.v, {v, tile.b, tile.kvHead, block.begin, block.end, program.contiguous, program.kvType});
                                   waitForCopies(/*inFlight=*/1); // V may still be on its way
                                   Fragments scores = multiplyQK();
                                   rows.applyFormulas(scores, block);
                                   State state = State::unflatten(carried);
                                   RowValues alpha = rows.takeIntoState(state.row, scores, block);
                                   rows.scaleRows(state.out, alpha);
                                   waitForCopies(/*inFlight=*/0);
                                   multiplyPV(state.out, scores);
                                   barrier(); // K and V may be overwritten now
                                   return state.flatten();
                                 });
    State state = State::unflatten(last);
    rows.finish(state.row, state.out);
    rows.storeElements(state.out);
  }

  /// Row and column (in elements) that each lane addresses in a 16x16 tile for ldmatrix. Matrices 0 .. 3 of Q and of V are its quarters
  /// (top, left), (bottom, left), (top, right), (bottom, right); those of K, whose rows are columns of B, (top, left), (top, right),
  /// (bottom, left), (bottom, right).
  void bindLanes() {
    Value low = emit.bitAnd(position.lane, emit.constInt(emit.i32(), 15)), high = emit.shl(emit.shrU(position.lane, 4), 3);
    Value inner = emit.bitAnd(position.lane, emit.constInt(emit.i32(), 7)),
          middle = emit.bitAnd(position.lane, emit.constInt(emit.i32(), 8));
    qLane = laneAddress(shape.q, emit.add(warpRow, low), high);
    kLane = laneAddress(shape.k, emit.add(inner, high), middle);
    vLane = laneAddress(shape.v, low, high);
  }

  Value laneAddress(const SharedTile &tile, Value row, Value column) {
    return emitByteOffset(emit, shared, emit.add(emit.add(emit.mul(row, tile.pitchBytes()), emit.shl(column, 1)), tile.offsetBytes));
  }

  State initialState() {
    Value zero = emit.constFloat(emit.f32(), 0.0);
    return {rows.initialState(), Fragments(shape.outTiles(), {zero, zero, zero, zero})};
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

  Fragments multiplyQK() {
    Value zero = emit.constFloat(emit.f32(), 0.0);
    Fragments scores(shape.scoreTiles(), {zero, zero, zero, zero});
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
    return scores;
  }

  /// `probs` as rounded here enter the sum of the output, as computed the sum of the state: the usual choice of flash kernels.
  void multiplyPV(Fragments &out, ArrayRef<Fragment4> probs) {
    for (int64_t key = 0; key < shape.cols; key += 16) {
      Fragment4 p = emitLeftFactor(emit, program.qType, probs[key / 8], probs[key / 8 + 1]);
      for (int64_t d = 0; d < shape.valueDim; d += 16) {
        Fragment4 v = emitLoadMatrices(emit, emitByteOffset(emit, vLane, key * shape.v.pitchBytes() + d * 2), /*transposed=*/true);
        for (int64_t half = 0; half < 2; ++half) {
          Fragment4 &sum = out[d / 8 + half];
          sum = emitMma(emit, program.qType, p, v[2 * half], v[2 * half + 1], sum);
        }
      }
    }
  }

  Emitter emit;
  const TileProgram &program;
  MmaSyncShape shape;
  AbiAccess abi;
  Value shared; ///< the block's shared memory
  ThreadPosition position;
  Value warpRow; ///< first row of the warp in its tile
  FragmentRows rows;
  Value qLane, kLane, vLane; ///< where this lane points ldmatrix
};

} // namespace

LogicalResult lowerMmaSync(const TileProgram &program, const GpuTarget &target) {
  if (std::optional<std::string> refusal = mmaSyncRefusal(program, target))
    return program.kernel->emitOpError("cannot be scheduled for mma.sync: ") << *refusal;
  for (Region *formula : {program.score, program.mask, program.prob, program.closedForm})
    specializeMath(formula);
  for (Region *formula : {program.score, program.prob})
    divideOnce(formula);

  OpBuilder builder(program.kernel);
  MmaSyncShape shape = MmaSyncShape::of(program);
  GpuKernelFunction kernel = createGpuKernel(builder, program, {shape.threads(), shape.sharedBytes()});
  MmaSync(builder, program.kernel->getLoc(), program, kernel.args, kernel.shared).run();
  finishGpuKernel(kernel, program);
  return success();
}

} // namespace attnjit::tile
