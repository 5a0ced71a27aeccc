#include "BlockScore.h"

using namespace mlir;

namespace attnjit::tile {

//===------------------------------------------------------------------------------------------------------------------===//
// Maps of rows
//===------------------------------------------------------------------------------------------------------------------===//

RowMaps::RowMaps(const FormulaFrame &frame, Region &score, Value root) : emit(frame.builder, frame.loc) {
  for (std::unique_ptr<MapExpander> &row : rows)
    row = std::make_unique<MapExpander>(frame.builder, frame.loc, frame.program, score, frame.abi, /*lanes=*/1, root);
}

void RowMaps::takeGiven(Operation *op) {
  for (std::unique_ptr<MapExpander> &row : rows)
    row->takeGiven(op);
}

void RowMaps::bindTile(const TileCoords &tile) {
  for (std::unique_ptr<MapExpander> &row : rows)
    row->bindHeads(tile.b, tile.h);
}

void RowMaps::bindBlock(const FragmentOrigin &origin, MapExpander::Refinement refinement) {
  firstKey = origin.key;
  for (int64_t row = 0; row < 2; ++row) {
    rows[row]->assumeUnitStrides(true);
    rows[row]->takeOfRefinements(refinement);
    rows[row]->bindQuery(origin.queries[row]);
  }
}

Value RowMaps::expand(Place place, Value scaled, ValueRange given) {
  MapExpander &row = *rows[place.row];
  row.bindKey(keyAt(emit, firstKey, place));
  return row.expand(scaled, given).value;
}

//===------------------------------------------------------------------------------------------------------------------===//
// Diagonals
//===------------------------------------------------------------------------------------------------------------------===//

DiagonalValue::DiagonalValue(const FormulaFrame &frame, Operation *op, const DiagonalValues &values)
    : emit(frame.builder, frame.loc), rows(frame, *op->getParentRegion(), op->getResult(0)) {
  for (auto load : op->getBlock()->getOps<attn::LoadOp>())
    if (rows.needs(load) && EvenLoad::fits(load, values)) {
      loads.push_back(std::make_unique<EvenLoad>(frame, load, values));
      rows.takeGiven(load);
    }
}

void DiagonalValue::bindTile(const TileCoords &tile) {
  rows.bindTile(tile);
  for (std::unique_ptr<EvenLoad> &load : loads)
    load->bindTile(tile);
}

Value DiagonalValue::isUnfit(const KvBlock &block) {
  Value unfit;
  for (std::unique_ptr<EvenLoad> &load : loads)
    unfit = either(emit, unfit, load->isUnfit(block));
  return unfit;
}

void DiagonalValue::bindBlock(const FragmentOrigin &origin) {
  known.clear();
  rows.bindBlock(origin);
  for (std::unique_ptr<EvenLoad> &load : loads)
    load->bindBlock(origin);
}

/// Where the second row does not exist its values do not count, so that it does no harm to take them from the first.
Value DiagonalValue::at(Place place) {
  if (place.row == 1 && place.tile > 0)
    place = {0, place.tile - 1, place.column};
  Value &value = known[place];
  if (value)
    return value;
  Emitter::Values given;
  for (std::unique_ptr<EvenLoad> &load : loads)
    given.push_back(load->at(place));
  return value = rows.expand(place, Value(), given);
}

//===------------------------------------------------------------------------------------------------------------------===//
// The formula
//===------------------------------------------------------------------------------------------------------------------===//

bool BlockScore::hasLoadToStage(const TileProgram &program) {
  if (!program.score || program.checkedIndices)
    return false;
  const DiagonalValues values(*program.score);
  return llvm::any_of(program.score->front().getOps<attn::LoadOp>(),
                      [&](attn::LoadOp load) { return StagedLoad::fits(load, values, program.tileCols); });
}

/// There is room for one load, the first that can use it.
BlockScore::BlockScore(const FormulaFrame &frame, const ScoreFactors &ends, const std::optional<StageRoom> &room)
    : emit(frame.builder, frame.loc), hasFirstProduct(ends.firstProduct), rows(frame, *frame.program.score, ends.root) {
  if (hasFirstProduct)
    rows.takeGiven(ends.firstProduct);
  // An index that may leave its tensor has to be seen by the map of each element.
  if (frame.program.checkedIndices)
    return;
  Region &score = *frame.program.score;
  const DiagonalValues classes(score);
  for (Operation *op : classes.numbers())
    if (rows.needs(op)) {
      values.push_back(std::make_unique<DiagonalValue>(frame, op, classes));
      rows.takeGiven(op);
    }
  bool isFree = room.has_value();
  for (auto load : score.front().getOps<attn::LoadOp>())
    if (rows.needs(load) && EvenLoad::fits(load, classes)) {
      bool staged = isFree && StagedLoad::fits(load, classes, room->cols);
      isFree &= !staged;
      values.push_back(staged ? std::make_unique<StagedLoad>(frame, load, classes, *room)
                              : std::make_unique<EvenLoad>(frame, load, classes));
      rows.takeGiven(load);
    }
}

void BlockScore::bindTile(const TileCoords &tile) {
  rows.bindTile(tile);
  for (std::unique_ptr<BlockValue> &value : values)
    value->bindTile(tile);
}

Value BlockScore::isUnfit(const KvBlock &block) {
  Value unfit;
  for (std::unique_ptr<BlockValue> &value : values)
    unfit = either(emit, unfit, value->isUnfit(block));
  return unfit;
}

void BlockScore::stage(const KvBlock &block) {
  for (std::unique_ptr<BlockValue> &value : values)
    value->stage(block);
}

void BlockScore::bindBlock(const FragmentOrigin &origin, MapExpander::Refinement refinement) {
  rows.bindBlock(origin, refinement);
  for (std::unique_ptr<BlockValue> &value : values)
    value->bindBlock(origin);
}

Value BlockScore::expand(Place place, Value scaled) {
  Emitter::Values given;
  if (hasFirstProduct)
    given.push_back(scaled);
  for (std::unique_ptr<BlockValue> &value : values)
    given.push_back(value->at(place));
  return rows.expand(place, hasFirstProduct ? Value() : scaled, given);
}

} // namespace attnjit::tile
