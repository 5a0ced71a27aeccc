#include "WgmmaOutput.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace attnjit::tile {

using CmpI = Emitter::CmpI;

void WgmmaOutput::store(const Fragments &out) {
  if (program.outType != program.qType || program.valueDim % kPieceElements)
    return rows.storeElements(out);
  OperandAccess access = abi.operand(Operand::Out);
  emit.ifElse(isDense(access), [&] { storePieces(access, out); }, [&] { rows.storeElements(out); });
}

/// Whether rows are contiguous and aligned to pieces.
Value WgmmaOutput::isDense(const OperandAccess &access) {
  Value bits = emit.make<LLVM::PtrToIntOp>(emit.i64(), access.pointer);
  for (int64_t dim = 0; dim < 3; ++dim)
    bits = emit.bitOr(bits, emit.shl(access.strides[dim], 1));
  Value isAligned = emit.cmp(CmpI::eq, emit.bitAnd(bits, emit.index(kPieceBytes - 1)), emit.index(0));
  return emit.bitAnd(isAligned, emit.cmp(CmpI::eq, access.strides[3], emit.index(1)));
}

void WgmmaOutput::storePieces(const OperandAccess &access, const Fragments &out) {
  const TileCoords &tile = rows.coords();
  Value first =
      emit.add(emit.add(emit.mul(tile.b, access.strides[0]), emit.mul(tile.h, access.strides[1])), emit.mul(tile.q0, access.strides[2]));
  Value pointer = emit.at(access.pointer, program.outType, first), rowStrideBytes = emit.shl(access.strides[2], 1);
  Value warpRow = emit.shl(emit.bitAnd(warp, emit.constInt(emit.i32(), 3)), 4);
  Value warpAddress = emit.add(qAddress, emit.mul(warpRow, SwizzledTile::kBoxRowBytes));
  // All four warps are through with Q.
  constexpr int64_t kFirstBarrier = 8;
  emitNamedSync(emit, emit.add(group, kFirstBarrier), WgmmaShape::kWarpgroupThreads);
  for (int64_t box = 0; box < shape.v.boxes(); box += shape.q.boxes()) {
    int64_t boxes = std::min(shape.q.boxes(), shape.v.boxes() - box);
    stage(out, box, boxes, warpAddress);
    emit.make<NVVM::SyncWarpOp>(emit.constInt(emit.i32(), -1));
    unstage(box, boxes, warpAddress, pointer, rowStrideBytes);
    emit.make<NVVM::SyncWarpOp>(emit.constInt(emit.i32(), -1));
  }
  emitProxyFence(emit);
}

/// Writes columns to shared memory, 16 at a time: lanes 8i .. 8i + 7 give the addresses of the rows of 8x8 matrix i. The 16-byte units of a
/// row are permuted by its number, so that neither side of the exchange meets itself in a bank.
void WgmmaOutput::stage(const Fragments &out, int64_t firstBox, int64_t boxes, Value warpAddress) {
  Value lane = kernel.position.lane, inner = emit.bitAnd(lane, emit.constInt(emit.i32(), 7));
  Value row = emit.bitAnd(lane, emit.constInt(emit.i32(), 15)), unit = emit.bitXor(emit.shrU(lane, 4), inner);
  Value rowAddress = emit.add(warpAddress, emit.mul(row, SwizzledTile::kBoxRowBytes)), unitOffset = emit.shl(unit, 4);
  MLIRContext *context = emit.builder.getContext();
  for (int64_t column = firstBox * 64; column < std::min((firstBox + boxes) * 64, shape.valueDim); column += 16) {
    int64_t box = column / 64 - firstBox, units = column % 64 / kPieceElements;
    Value offset = emit.bitXor(unitOffset, emit.constInt(emit.i32(), units * kPieceBytes));
    Value address = emit.add(emit.add(rowAddress, box * shape.q.boxBytes()), offset);
    Fragment4 matrices = emitLeftFactor(emit, program.outType, out[column / 8], out[column / 8 + 1]);
    emit.make<NVVM::StMatrixOp>(emitSharedPointer(emit, address), ValueRange(matrices), NVVM::MMALayout::row,
                                NVVM::LdStMatrixShapeAttr::get(context, 8, 8), NVVM::LdStMatrixEltType::B16);
  }
}

/// Reads rows back, four at a time, and stores those that exist.
void WgmmaOutput::unstage(int64_t firstBox, int64_t boxes, Value warpAddress, Value pointer, Value rowStrideBytes) {
  Value lane = kernel.position.lane, piece = emit.bitAnd(lane, emit.constInt(emit.i32(), kPiecesPerRow - 1)),
        rowInStep = emit.shrU(lane, 3);
  Value pieceBytes = emit.make<arith::ExtUIOp>(emit.i64(), emit.shl(piece, 4));
  Type words = emit.vec(4, emit.i32());
  constexpr int64_t kStepRows = 32 / kPiecesPerRow;
  for (int64_t step = 0; step < kWarpRows; step += kStepRows) {
    Value row = emit.add(rowInStep, step), unit = emit.bitXor(piece, emit.bitAnd(row, emit.constInt(emit.i32(), 7)));
    Value address = emit.add(emit.add(warpAddress, emit.mul(row, SwizzledTile::kBoxRowBytes)), emit.shl(unit, 4));
    Value tileRow = emit.make<arith::ExtUIOp>(emit.i64(), emit.add(emit.shl(warp, 4), row));
    Value target = emit.at(emit.at(pointer, emit.i8(), emit.mul(tileRow, rowStrideBytes)), emit.i8(), pieceBytes);
    emit.ifThen(emit.cmp(CmpI::slt, tileRow, rows.coords().rows), [&] {
      for (int64_t box = 0; box < boxes; ++box) {
        auto move = [&] {
          Value data = emit.make<LLVM::LoadOp>(words, emitSharedPointer(emit, emit.add(address, box * shape.q.boxBytes())), kPieceBytes);
          emit.make<LLVM::StoreOp>(data, emit.atBytes(target, (firstBox + box) * SwizzledTile::kBoxRowBytes), kPieceBytes);
        };
        int64_t pieces = (program.valueDim - (firstBox + box) * 64) / kPieceElements;
        if (pieces >= kPiecesPerRow)
          move();
        else
          emit.ifThen(emit.cmp(CmpI::ult, piece, emit.constInt(emit.i32(), pieces)), move);
      }
    });
  }
}

} // namespace attnjit::tile
