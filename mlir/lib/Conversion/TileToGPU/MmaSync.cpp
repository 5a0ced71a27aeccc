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
#include "MmaProducts.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace attnjit::tile {

namespace {

using Values = Emitter::Values;

class MmaSync {
public:
  MmaSync(OpBuilder &builder, Location loc, const TileProgram &program, Value args, Value shared)
      : emit(builder, loc), program(program), shape(MmaSyncShape::of(program)), abi(builder, loc, args, AbiAccess::Functions::Inline),
        shared(shared), position(ThreadPosition::emit(emit)), warpRow(emit.shl(position.warp, 4)),
        rows(builder, loc, program, abi, position, warpRow, shape.cols) {}

  void run() { emitTile(tileOfBlock()); }

private:
  //===----------------------------------------------------------------------------------------------------------------===//
  // The tile
  //===----------------------------------------------------------------------------------------------------------------===//

  /// Of the number of this block. Its parts are numbers of 32 bits too, which take half the registers.
  TileCoords tileOfBlock() {
    auto narrow = [&](Value a) { return emit.toInt(emit.i32(), a); };
    auto widen = [&](Value a) -> Value { return emit.make<arith::ExtUIOp>(emit.i64(), a); };
    auto split = [&](Value index, Value by) -> std::pair<Value, Value> {
      Value quotient = emit.make<arith::DivUIOp>(index, by);
      return {quotient, emit.sub(index, emit.mul(quotient, by))};
    };
    Value queryHeads = narrow(abi.queryHeads());
    Value perHead = narrow(emit.make<arith::DivUIOp>(emit.add(abi.queries(), shape.rows - 1), emit.index(shape.rows)));
    auto [head, queryTile] = split(emit.make<NVVM::BlockIdXOp>(emit.i32()), perHead);
    auto [b, h] = split(head, queryHeads);
    Value kvHead = split(h, split(queryHeads, narrow(abi.kvHeads())).first).first, q0 = emit.mul(widen(queryTile), shape.rows);
    return {widen(b), widen(h), widen(kvHead), widen(queryTile), q0, emit.minS(emit.index(shape.rows), emit.sub(abi.queries(), q0))};
  }

  void emitTile(const TileCoords &tile) {
    rows.bindTile(tile);
    bindLanes();
    OperandAccess q = abi.operand(Operand::Q), k = abi.operand(Operand::K), v = abi.operand(Operand::V);
    KvRows kRows(emit.builder, emit.loc, program, abi, Operand::K, tile.b, tile.kvHead);
    KvRows vRows(emit.builder, emit.loc, program, abi, Operand::V, tile.b, tile.kvHead);
    auto source = [&](const OperandAccess &operand, int64_t columns, const KvRows &rows, const KvBlock &block) {
      return TileSource{operand, columns, tile.b, tile.kvHead, block.begin, block.end, program.contiguous, program.kvType, &rows};
    };
    copy(shape.q, {q, program.headDim, tile.b, tile.h, tile.q0, emit.add(tile.q0, tile.rows), program.contiguous, program.qType});

    Values last =
        forEachKvBlock(emit.builder, emit.loc, program, abi, scopeOf(emit.builder, emit.loc, abi, tile), shape.cols,
                       MmaState::initial(emit, rows, shape.valueDim).flatten(), [&](const KvBlock &block, ValueRange carried) {
                         copy(shape.k, source(k, program.headDim, kRows, block));
                         copy(shape.v, source(v, program.valueDim, vRows, block));
                         waitForCopies(/*inFlight=*/1); // V may still be on its way
                         Fragments scores = emitScores(
                             emit, program.qType, [&](int64_t column) { return loadQueries(column); }, shape.k, kLane, shape.cols);
                         rows.applyFormulas(scores, block);
                         MmaState state = MmaState::unflatten(carried);
                         RowValues alpha = rows.takeIntoState(state.row, scores, block);
                         rows.scaleRows(state.out, alpha);
                         waitForCopies(/*inFlight=*/0);
                         emitOutputSums(emit, program.qType, scores, shape.v, vLane, state.out);
                         barrier(); // K and V may be overwritten now
                         return state.flatten();
                       });
    MmaState state = MmaState::unflatten(last);
    rows.finish(state.row, rows.endRows(state.row), state.out);
    rows.storeElements(state.out);
  }

  void bindLanes() {
    auto lane = [&](const SharedTile &tile, SharedFactor factor) {
      return emitByteOffset(emit, shared, emit.add(emitLaneOffset(emit, position, tile, factor), tile.offsetBytes));
    };
    qLane = emitByteOffset(emit, lane(shape.q, SharedFactor::Left), emit.mul(warpRow, shape.q.pitchBytes()));
    kLane = lane(shape.k, SharedFactor::RightByRow);
    vLane = lane(shape.v, SharedFactor::Right);
  }

  Fragment4 loadQueries(int64_t column) { return emitLoadMatrices(emit, emitByteOffset(emit, qLane, column * 2), /*transposed=*/false); }

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
  specializeFormulas(program);

  OpBuilder builder(program.kernel);
  MmaSyncShape shape = MmaSyncShape::of(program);
  GpuKernelFunction kernel = createGpuKernel(builder, program, {shape.threads(), shape.sharedBytes()});
  MmaSync(builder, program.kernel->getLoc(), program, kernel.args, kernel.shared).run();
  finishGpuKernel(kernel, program);
  return success();
}

} // namespace attnjit::tile
