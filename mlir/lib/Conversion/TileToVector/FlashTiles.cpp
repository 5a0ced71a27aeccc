// The two products of the flash schedule on AMX tiles. There are eight tile registers of 16 rows x 64 bytes, and the kernel names them
// itself: four hold sums, two what varies with the rows of the sums, two what varies with their columns (queries). tdpbf16ps adds to a tile
// of sums the product of 16 rows x 16 words with 16 words x 16 queries.
#include "FlashSchedule.h"

using namespace mlir;

namespace attnjit::tile {

namespace {

/// Names of the tile registers.
enum Tmm : int64_t { kSums = 0, kRows = 4, kColumns = 6 };

constexpr int64_t kTileRows = 16, kTileRowBytes = 64, kTileBytes = kTileRows * kTileRowBytes;

struct TileEmitter {
  const Emitter &emit;

  Value name(int64_t tmm) const { return emit.constInt(emit.i8(), tmm); }
  void zero(int64_t tmm) const { emit.intrinsic("llvm.x86.tilezero", {name(tmm)}); }
  void load(int64_t tmm, Value address, Value rowBytes) const { emit.intrinsic("llvm.x86.tileloadd64", {name(tmm), address, rowBytes}); }
  void store(int64_t tmm, Value address, Value rowBytes) const { emit.intrinsic("llvm.x86.tilestored64", {name(tmm), address, rowBytes}); }

  /// sums[r][c] += rows[r] * columns[c] for `rowTiles` x 2 tiles.
  void multiply(int64_t rowTiles) const {
    for (int64_t r = 0; r < rowTiles; ++r)
      for (int64_t c = 0; c < 2; ++c)
        emit.intrinsic("llvm.x86.tdpbf16ps", {name(kSums + 2 * r + c), name(kRows + r), name(kColumns + c)});
  }
};

} // namespace

/// Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18, "Programming with Intel AMX": the 64 bytes are the
/// palette, a row to restart from, then bytes per row and rows of each register.
void FlashKernel::configureTiles() {
  constexpr int64_t kPalette = 1, kFourTimes64 = 0x0040004000400040, kEightTimes16 = 0x1010101010101010;
  const int64_t words[] = {kPalette, 0, kFourTimes64, kFourTimes64, 0, 0, kEightTimes16, 0};
  Value config = region(layout.tileConfig);
  for (auto [index, word] : llvm::enumerate(words))
    emit.store(emit.index(word), emit.atBytes(config, index * sizeof(int64_t)));
  emit.intrinsic("llvm.x86.ldtilecfg", {config});
}

void FlashKernel::releaseTiles() { emit.intrinsic("llvm.x86.tilerelease", {}); }

//===------------------------------------------------------------------------------------------------------------------===//
// S^T = K Q^T
//===------------------------------------------------------------------------------------------------------------------===//

/// S^T into the scores region. Returns the maxima per lane or, where a score map is to come, nothing.
Emitter::Values FlashKernel::emitScoreTiles(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys) {
  const TileEmitter tiles{emit};
  int64_t keyBytes = steps * elementBytes();
  Value keyPitch = emit.index(keyBytes), panelPitch = emit.index(rowBytes());

  auto product = [&](Value firstKey, Value scores) {
    for (int64_t sum = 0; sum < 4; ++sum)
      tiles.zero(kSums + sum);
    Value keyRow = emit.at(block.keys, emit.i8(), emit.mul(firstKey, keyBytes));
    emit.loop(emit.index(0), emit.index(steps), emit.index(kTileWords), {keyRow, panel.queries}, [&](Value, ValueRange state) -> Values {
      for (int64_t r = 0; r < 2; ++r)
        tiles.load(kRows + r, emit.atBytes(state[0], r * kTileRows * keyBytes), keyPitch);
      for (int64_t c = 0; c < 2; ++c)
        tiles.load(kColumns + c, emit.atBytes(state[1], c * kTileRowBytes), panelPitch);
      tiles.multiply(2);
      return {emit.atBytes(state[0], kTileRowBytes), emit.atBytes(state[1], kTileWords * rowBytes())};
    });
    for (int64_t r = 0; r < 2; ++r)
      for (int64_t c = 0; c < 2; ++c)
        tiles.store(kSums + 2 * r + c, emit.atBytes(scores, r * kTileRows * rowBytes() + c * kTileRowBytes), panelPitch);
  };

  Values initial{region(layout.scores)};
  initial.append(firstPrefetch(block, panel));
  emit.loop(keys.begin, keys.end, emit.index(kTileKeys), initial, [&](Value firstKey, ValueRange state) {
    product(firstKey, state[0]);
    Values next{emit.atBytes(state[0], kTileKeys * rowBytes())};
    next.append(emitPrefetch(state.drop_front(), kTileKeys));
    return next;
  });
  Value count = emit.sub(keys.end, keys.begin);
  padScores(count);
  if (hasScoreMap)
    return {}; // it will read them
  if (scoresAreRaw)
    return maximaOfTiles(count);
  // Scaled and added to in a pass of its own, which leaves out what stands behind the last key.
  const FlashDot *dot = addedDot();
  Values carried(shape.panelVectors, splatF(-INFINITY));
  carried.push_back(region(layout.scores));
  if (dot)
    carried.push_back(region(dot->scores));
  carried = emit.loop(keys.begin, keys.end, emit.index(1), carried, [&](Value key, ValueRange state) {
    Value address = state[shape.panelVectors];
    Values row = loadScores(address), next;
    if (!bias.empty())
      for (auto [score, more] : llvm::zip(row, emitBias(block, keys, key)))
        score = emit.addF(score, more);
    if (dot)
      for (auto [score, more] : llvm::zip(row, loadRow(state.back())))
        score = emit.addF(score, more);
    storeRow(row, address);
    for (auto [score, max] : llvm::zip(row, state.take_front(shape.panelVectors)))
      next.push_back(softmax.maximum(score, max));
    for (Value pointer : state.drop_front(shape.panelVectors))
      next.push_back(emit.atBytes(pointer, rowBytes()));
    return next;
  });
  carried.truncate(shape.panelVectors);
  return carried;
}

/// A row of scores as the first product left them. AMX sums up what Q and K are; the factor is still to come.
Emitter::Values FlashKernel::loadScores(Value address) const {
  Values row = loadRow(address);
  if (shape.unit == Bf16Unit::Tile)
    for (Value &score : row)
      score = emit.mulF(score, emit.splat(scoreFactor, shape.lanes));
  return row;
}

/// Fills up the scores for the last tile of words of P: no key, no weight.
void FlashKernel::padScores(Value count) {
  Values nothing(shape.panelVectors, splatF(-INFINITY));
  emit.loop(count, emit.alignedTo(count, kTileKeys), emit.index(1),
            [&](Value row) { storeRow(nothing, emit.at(region(layout.scores), compute, emit.mul(row, shape.panelWidth()))); });
}

/// The maxima of raw scores. Several rows at a time, each with maxima of its own: a maximum waits for the one before it.
Emitter::Values FlashKernel::maximaOfTiles(Value count) {
  constexpr int64_t kRows = 4;
  size_t vectors = shape.panelVectors;
  Values carried(kRows * vectors, splatF(-INFINITY));
  carried.push_back(region(layout.scores));
  carried = emit.loop(emit.index(0), emit.alignedTo(count, kTileKeys), emit.index(kRows), carried, [&](Value, ValueRange state) {
    Values next;
    for (int64_t row = 0; row < kRows; ++row)
      for (auto [vector, score] : llvm::enumerate(loadRow(emit.atBytes(state.back(), row * rowBytes()))))
        next.push_back(softmax.maximum(score, state[row * vectors + vector]));
    next.push_back(emit.atBytes(state.back(), kRows * rowBytes()));
    return next;
  });
  for (size_t index = vectors; index < kRows * vectors; ++index)
    carried[index % vectors] = softmax.maximum(carried[index], carried[index % vectors]);
  carried.truncate(vectors);
  return carried;
}

//===------------------------------------------------------------------------------------------------------------------===//
// O^T = rescale * O^T + V^T P^T
//===------------------------------------------------------------------------------------------------------------------===//

/// Most blocks do not raise any maximum.
void FlashKernel::rescaleOutput(const FlashPanel &panel, ValueRange rescale) {
  Value changes = emit.truth(false);
  for (Value factor : rescale)
    changes = emit.bitOr(changes, emit.any(emit.cmp(Emitter::CmpF::UNE, factor, splatF(1.0))));
  emit.ifThen(changes, [&] {
    emit.loop(emit.index(0), emit.index(program.valueDim), emit.index(1), {panel.output}, [&](Value, ValueRange state) -> Values {
      Values row = loadRow(state[0]);
      for (auto [o, factor] : llvm::zip(row, rescale))
        o = emit.mulF(o, factor);
      storeRow(row, state[0]);
      return {emit.atBytes(state[0], rowBytes())};
    });
  });
}

void FlashKernel::emitValueTiles(const FlashBlock &block, const FlashPanel &panel, const FlashKeys &keys, Value count, ValueRange rescale) {
  const TileEmitter tiles{emit};
  rescaleOutput(panel, rescale);
  int64_t columnBytes = program.tileCols / kTileKeys * kTileBytes; // of 16 columns of V, all keys of the block
  Value panelPitch = emit.index(rowBytes()), valuePitch = emit.index(kTileRowBytes);
  Value firstTile = emit.shrU(keys.begin, 5), tileCount = emit.shrU(emit.add(count, kTileKeys - 1), 5);
  Value values = emit.at(block.values, emit.i8(), emit.mul(firstTile, kTileBytes));

  auto columns = [&](int64_t rowTiles, Value tileValues, Value output) {
    auto eachSum = [&](llvm::function_ref<void(int64_t tmm, Value address)> body) {
      for (int64_t r = 0; r < rowTiles; ++r)
        for (int64_t c = 0; c < 2; ++c)
          body(kSums + 2 * r + c, emit.atBytes(output, r * kTileRows * rowBytes() + c * kTileRowBytes));
    };
    eachSum([&](int64_t tmm, Value address) { tiles.load(tmm, address, panelPitch); });
    emit.loop(emit.index(0), tileCount, emit.index(1), {tileValues, region(layout.scores)}, [&](Value, ValueRange state) -> Values {
      for (int64_t r = 0; r < rowTiles; ++r)
        tiles.load(kRows + r, emit.atBytes(state[0], r * columnBytes), valuePitch);
      for (int64_t c = 0; c < 2; ++c)
        tiles.load(kColumns + c, emit.atBytes(state[1], c * kTileRowBytes), panelPitch);
      tiles.multiply(rowTiles);
      return {emit.atBytes(state[0], kTileBytes), emit.atBytes(state[1], kTileWords * rowBytes())};
    });
    eachSum([&](int64_t tmm, Value address) { tiles.store(tmm, address, panelPitch); });
  };

  int64_t paired = program.valueDim / (2 * kTileRows) * (2 * kTileRows);
  if (paired > 0)
    emit.loop(emit.index(0), emit.index(paired), emit.index(2 * kTileRows), {values, panel.output}, [&](Value, ValueRange state) -> Values {
      columns(2, state[0], state[1]);
      return {emit.atBytes(state[0], 2 * columnBytes), emit.atBytes(state[1], 2 * kTileRows * rowBytes())};
    });
  if (paired < program.valueDim)
    columns(1, emit.atBytes(values, paired / kTileRows * columnBytes), emit.atBytes(panel.output, paired * rowBytes()));
}

} // namespace attnjit::tile
