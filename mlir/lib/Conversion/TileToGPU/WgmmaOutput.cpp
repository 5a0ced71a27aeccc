#include "WgmmaOutput.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace attnjit::tile {

using CmpI = Emitter::CmpI;

void WgmmaOutput::store(const Fragments &out, llvm::function_ref<void()> release) {
  if (program.outType != program.qType) {
    release();
    return rows.storeElements(out);
  }
  OperandAccess access = abi.operand(Operand::Out);
  Value dense = program.valueDim % kPieceElements == 0 ? isDense(access) : Value(),
        warpRow = emit.shl(emit.bitAnd(warp, emit.constInt(emit.i32(), 3)), 4);
  Value warpAddress = emit.add(qAddress, emit.mul(warpRow, SwizzledTile::kBoxRowBytes));
  // All four warps are through with Q.
  constexpr int64_t kFirstBarrier = 8;
  emitNamedSync(emit, emit.add(group, kFirstBarrier), WgmmaShape::kWarpgroupThreads);
  for (int64_t box = 0; box < shape.v.boxes(); box += shape.q.boxes()) {
    int64_t boxes = std::min(shape.q.boxes(), shape.v.boxes() - box);
    stage(out, box, boxes, warpAddress);
    emit.make<NVVM::SyncWarpOp>(emit.constInt(emit.i32(), -1));
    auto afterReading = [&] {
      emit.make<NVVM::SyncWarpOp>(emit.constInt(emit.i32(), -1));
      if (box + boxes < shape.v.boxes())
        return;
      emitProxyFence(emit);
      release();
    };
    auto elements = [&] {
      unstageElements(access, box, boxes, warpAddress);
      afterReading();
    };
    if (dense)
      emit.ifElse(dense, [&] { unstagePieces(access, box, boxes, warpAddress, afterReading); }, elements);
    else
      elements();
  }
}

/// Whether rows are contiguous and aligned to pieces.
Value WgmmaOutput::isDense(const OperandAccess &access) {
  Value bits = emit.make<LLVM::PtrToIntOp>(emit.i64(), access.pointer);
  for (int64_t dim = 0; dim < 3; ++dim)
    bits = emit.bitOr(bits, emit.shl(access.strides[dim], 1));
  Value isAligned = emit.cmp(CmpI::eq, emit.bitAnd(bits, emit.index(kPieceBytes - 1)), emit.index(0));
  return emit.bitAnd(isAligned, emit.cmp(CmpI::eq, access.strides[3], emit.index(1)));
}

/// Element (b, h, q0, 0).
Value WgmmaOutput::tilePointer(const OperandAccess &access) {
  const TileCoords &tile = rows.coords();
  return rows.rowPointer(access, program.outType, tile.h, tile.q0);
}

/// The units of a row are permuted by its number, so that neither side of the exchange meets itself in a bank.
Value WgmmaOutput::sharedUnit(Value warpAddress, Value row, Value unit) {
  Value place = emit.bitXor(unit, emit.bitAnd(row, emit.constInt(emit.i32(), kPiecesPerRow - 1)));
  return emit.add(emit.add(warpAddress, emit.mul(row, SwizzledTile::kBoxRowBytes)), emit.shl(place, 4));
}

/// Writes columns to shared memory, 16 at a time: lanes 8i .. 8i + 7 give the addresses of the rows of 8x8 matrix i.
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

/// Reads rows back, four at a time, then stores those that exist. What comes after reading comes before the stores: a fence waits for them
/// too.
void WgmmaOutput::unstagePieces(const OperandAccess &access, int64_t firstBox, int64_t boxes, Value warpAddress,
                                llvm::function_ref<void()> afterReading) {
  constexpr int64_t kStepRows = 32 / kPiecesPerRow, kSteps = kWarpRows / kStepRows;
  Value lane = kernel.position.lane, piece = emit.bitAnd(lane, emit.constInt(emit.i32(), kPiecesPerRow - 1)),
        rowInStep = emit.shrU(lane, 3);
  Type words = emit.vec(4, emit.i32());
  SmallVector<Value> pieces;
  for (int64_t step = 0; step < kSteps; ++step) {
    Value address = sharedUnit(warpAddress, emit.add(rowInStep, step * kStepRows), piece);
    for (int64_t box = 0; box < boxes; ++box)
      pieces.push_back(emit.make<LLVM::LoadOp>(words, emitSharedPointer(emit, emit.add(address, box * shape.q.boxBytes())), kPieceBytes));
  }
  afterReading();
  auto widen = [&](Value a) -> Value { return emit.make<arith::ExtUIOp>(emit.i64(), a); };
  Value rowStrideBytes = emit.shl(access.strides[2], 1), firstRow = widen(emit.add(emit.shl(warp, 4), rowInStep));
  Value target = emit.at(emit.at(tilePointer(access), emit.i8(), emit.mul(firstRow, rowStrideBytes)), emit.i8(), widen(emit.shl(piece, 4)));
  for (int64_t step = 0; step < kSteps; ++step) {
    Value row = emit.at(target, emit.i8(), emit.mul(rowStrideBytes, step * kStepRows));
    Value exists = emit.cmp(CmpI::slt, emit.add(firstRow, step * kStepRows), rows.coords().rows);
    for (int64_t box = 0; box < boxes; ++box) {
      int64_t left = (program.valueDim - (firstBox + box) * 64) / kPieceElements;
      Value inRow = left < kPiecesPerRow ? emit.cmp(CmpI::ult, piece, emit.constInt(emit.i32(), left)) : Value();
      emit.ifThen(inRow ? emit.bitAnd(exists, inRow) : exists, [&] {
        Value data = pieces[step * boxes + box];
        emit.make<LLVM::StoreOp>(data, emit.atBytes(row, (firstBox + box) * SwizzledTile::kBoxRowBytes), kPieceBytes);
      });
    }
  }
}

/// A lane stores elements lane, lane + 32 .. of the warp's, of which each box has 16 rows of 64.
void WgmmaOutput::unstageElements(const OperandAccess &access, int64_t firstBox, int64_t boxes, Value warpAddress) {
  constexpr int64_t kWarp = 32, kBoxElements = kWarpRows * SwizzledTile::kBoxColumns;
  auto number = [&](int64_t value) { return emit.constInt(emit.i32(), value); };
  auto widen = [&](Value a) -> Value { return emit.make<arith::ExtUIOp>(emit.i64(), a); };
  Value pointer = tilePointer(access), firstTileRow = emit.shl(warp, 4);
  emit.loop(kernel.position.lane, number(boxes * kBoxElements), number(kWarp), [&](Value element) {
    Value box = emit.shrU(element, llvm::Log2_64(kBoxElements)), row = emit.bitAnd(emit.shrU(element, 6), number(kWarpRows - 1));
    Value boxColumn = emit.bitAnd(element, number(SwizzledTile::kBoxColumns - 1));
    Value column = emit.add(emit.add(emit.shl(box, 6), boxColumn), firstBox * SwizzledTile::kBoxColumns);
    Value tileRow = widen(emit.add(firstTileRow, row));
    Value exists = emit.bitAnd(emit.cmp(CmpI::slt, tileRow, rows.coords().rows), emit.cmp(CmpI::ult, column, number(program.valueDim)));
    emit.ifThen(exists, [&] {
      Value unit = sharedUnit(emit.add(warpAddress, emit.mul(box, shape.q.boxBytes())), row, emit.shrU(boxColumn, 3));
      Value inUnit = emit.shl(emit.bitAnd(boxColumn, number(kPieceElements - 1)), 1);
      Value data = emit.make<LLVM::LoadOp>(program.outType, emitSharedPointer(emit, emit.add(unit, inUnit)), 2);
      Value offset = emit.add(emit.mul(tileRow, access.strides[2]), emit.mul(widen(column), access.strides[3]));
      emit.store(data, emit.at(pointer, program.outType, offset));
    });
  });
}

} // namespace attnjit::tile
