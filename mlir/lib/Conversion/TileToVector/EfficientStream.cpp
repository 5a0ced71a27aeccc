// K and V on their way to the products of the efficient schedule. While some rows of either are worked on, those that come soon are asked
// for, line by line in the order in which they lie in memory, which is what the processor's own prefetchers follow, and spread over the
// work. Into which cache makes a difference (docs/performance.md): asking for a line in the first level costs nothing while there is enough
// to compute, in the second level some cycles; but where memory is what everything waits for, the second level has room for more requests.
#include "EfficientSchedule.h"

#include "Elements.h"

#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir;

namespace attnjit::tile {

/// Pointer to a row of the block, or of the next.
Value EfficientKernel::rowAt(const EfficientRows &rows, Value index) const {
  if (rows.pointers)
    return emit.load(emit.ptr(), emit.at(rows.pointers, emit.ptr(), index));
  return emit.at(rows.base, rows.type, emit.mul(index, rows.stride));
}

/// The rows from `first` on.
EfficientRows EfficientKernel::rowsFrom(EfficientRows rows, Value first) const {
  if (rows.pointers)
    rows.pointers = emit.at(rows.pointers, emit.ptr(), first);
  else
    rows.base = rowAt(rows, first);
  return rows;
}

/// Columns [column, column + lanes) of a row as floats. In the tail of a row that is used in place the lanes that the vector before it
/// holds are zeroed.
Value EfficientKernel::loadColumns(const EfficientRows &rows, Value rowPointer, Value column, bool isTail) {
  Value vector = loadFloats(emit, emit.at(rowPointer, rows.type, column), rows.type, compute, shape.lanes);
  if (!isTail)
    return vector;
  return emit.select(isNewInTail(rows.columns), vector, splatF(0.0));
}

Value EfficientKernel::isNewInTail(const EfficientColumns &columns) const {
  SmallVector<bool> isNew;
  for (int64_t lane = 0; lane < shape.lanes; ++lane)
    isNew.push_back(lane >= columns.overlap());
  auto type = VectorType::get({shape.lanes}, emit.i1());
  return emit.make<arith::ConstantOp>(DenseElementsAttr::get(type, ArrayRef<bool>(isNew)));
}

/// The first `count` rows in the compute type, for who reads them more than once. The tail overlaps the vector before it, to the same bits.
EfficientRows EfficientKernel::widenRows(const EfficientRows &rows, Value count, Value target) {
  const EfficientColumns &columns = rows.columns;
  emit.loop(emit.index(0), count, emit.index(1), [&](Value row) {
    Value from = rowAt(rows, row), to = emit.at(target, compute, emit.mul(row, columns.padded()));
    auto widen = [&](Value column) { emit.store(loadColumns(rows, from, column, false), emit.at(to, compute, column)); };
    emit.loop(0, columns.full() * shape.lanes, shape.lanes, widen);
    if (columns.hasTail())
      widen(emit.index(columns.columnOf(columns.full())));
  });
  return {target, emit.index(columns.padded()), nullptr, compute, columns};
}

//===------------------------------------------------------------------------------------------------------------------===//
// Asking ahead
//===------------------------------------------------------------------------------------------------------------------===//

/// `count` rows of this kind, spread over `steps` of the work; which rows is still to say. A single row is so little work that up to 4
/// lines share what it takes to find them; elsewhere one at a time keeps memory busy more evenly.
EfficientAhead EfficientKernel::planAhead(const EfficientRows &rows, int64_t count, Value steps, RowCount rowCount) {
  int64_t rowLines = llvm::divideCeil(rows.columns.count * rows.type.getIntOrFloatBitWidth() / 8, kCacheLineBytes);
  int64_t pieceLines = rowCount == RowCount::One ? std::gcd(rowLines, 4) : 1, rowPieces = rowLines / pieceLines, pieces = count * rowPieces;
  bool boundByMemory = rowCount == RowCount::One || (rowCount == RowCount::Few && !isNarrow());
  return {rows, pieceLines, rowPieces, pieces, boundByMemory, emit.make<arith::DivUIOp>(emit.add(steps, pieces - 1), steps)};
}

/// Asks for what falls to one step, from piece `cursor` on; returns where the next one goes on. The rows may lie behind the last key; a
/// prefetch is a wish, not a read.
Value EfficientKernel::askAhead(const EfficientAhead &ahead, Value cursor) {
  if (!ahead.rows.columns.inPlace)
    return cursor; // the copy reads ahead by itself
  int64_t pieceBytes = ahead.pieceLines * kCacheLineBytes;
  Value end = emit.minS(emit.add(cursor, ahead.perStep), emit.index(ahead.pieces));
  emit.loop(cursor, end, emit.index(1), [&](Value piece) {
    Value row = emit.make<arith::DivUIOp>(piece, emit.index(ahead.rowPieces));
    Value offset = emit.mul(emit.sub(piece, emit.mul(row, ahead.rowPieces)), pieceBytes);
    Value address = emit.at(rowAt(ahead.rows, row), emit.i8(), offset);
    for (int64_t byte = 0; byte < pieceBytes; byte += kCacheLineBytes)
      emit.make<LLVM::Prefetch>(emit.atBytes(address, byte), /*rw=*/0, /*hint=*/ahead.boundByMemory ? 2 : 3, /*cache=*/1);
  });
  return end;
}

} // namespace attnjit::tile
