#include "RowMask.h"

using namespace mlir;

namespace attnjit::tile {

using CmpI = Emitter::CmpI;

/// The tighter of two bounds, where there are two.
template <typename Op> static Value tighter(const Emitter &emit, Value a, Value b) {
  return a && b ? Value(emit.make<Op>(a, b)) : a ? a : b;
}
static Value laterBegin(const Emitter &emit, Value a, Value b) { return tighter<arith::MaxSIOp>(emit, a, b); }
static Value earlierEnd(const Emitter &emit, Value a, Value b) { return tighter<arith::MinSIOp>(emit, a, b); }

//===------------------------------------------------------------------------------------------------------------------===//
// Limits
//===------------------------------------------------------------------------------------------------------------------===//

/// By how much left - right grows with each key; nothing where that is not known.
static std::optional<int64_t> stepOf(arith::CmpIOp op, const DiagonalValues &values) {
  std::optional<DiagonalValues::Slope> left = values.slopeOf(op.getLhs()), right = values.slopeOf(op.getRhs());
  return left && right ? std::optional(left->kv - right->kv) : std::nullopt;
}

static bool isOrder(arith::CmpIPredicate predicate) {
  return predicate == CmpI::slt || predicate == CmpI::sle || predicate == CmpI::sgt || predicate == CmpI::sge;
}

static bool isLimit(arith::CmpIOp op, const DiagonalValues &values) {
  std::optional<int64_t> step = op && isOrder(op.getPredicate()) ? stepOf(op, values) : std::nullopt;
  return step && std::abs(*step) == 1;
}

/// What is used in other places too may be false in spite of the mask.
KeyLimit::Terms KeyLimit::termsOf(Region &mask, const DiagonalValues &values) {
  Terms terms;
  SmallVector<Value> open{mask.front().getTerminator()->getOperand(0)};
  while (!open.empty()) {
    Value term = open.pop_back_val();
    auto both = term.getDefiningOp<arith::AndIOp>();
    auto comparison = term.getDefiningOp<arith::CmpIOp>();
    if (both && term.hasOneUse())
      open.append({both.getRhs(), both.getLhs()});
    else if (term.hasOneUse() && isLimit(comparison, values))
      terms.limits.push_back(comparison);
    else
      terms.areLimits = false;
  }
  return terms;
}

KeyLimit::KeyLimit(const FormulaFrame &frame, arith::CmpIOp op, const DiagonalValues &values)
    : emit(frame.builder, frame.loc), predicate(op.getPredicate()), rises(*stepOf(op, values) == 1) {
  auto expander = [&](Value side) {
    return std::make_unique<MapExpander>(frame.builder, frame.loc, frame.program, *op->getParentRegion(), frame.abi, /*lanes=*/1, side);
  };
  for (Row &row : rows)
    row = {expander(op.getLhs()), expander(op.getRhs())};
}

void KeyLimit::bindHeads(int64_t row, Value b, Value h) {
  rows[row].left->bindHeads(b, h);
  rows[row].right->bindHeads(b, h);
}

void KeyLimit::bindQuery(int64_t row, Value query) {
  rows[row].left->bindQuery(query);
  rows[row].right->bindQuery(query);
}

/// left - right is `difference` at the first key and one more, or less, at each that follows, so it is 0 at the key whose number is
/// -difference, or difference. Numbers that no block reaches are all alike, so that an i32 will do.
KeyLimit::Interval KeyLimit::of(int64_t row, Value key) {
  auto valueOf = [&](MapExpander &side) {
    side.bindKey(key);
    return emit.toInt(emit.i64(), side.expand(Value()).value);
  };
  Value left = valueOf(*rows[row].left), right = valueOf(*rows[row].right);
  Value difference = emit.make<LLVM::SSubSat>(emit.i64(), rises ? right : left, rises ? left : right);
  constexpr int64_t kFar = 1 << 30;
  Value near = emit.minS(emit.maxS(difference, emit.index(-kFar)), emit.index(kFar)), turn = emit.toInt(emit.i32(), near);
  switch (predicate) {
  case CmpI::slt:
    return rises ? Interval{{}, turn} : Interval{emit.add(turn, 1), {}};
  case CmpI::sle:
    return rises ? Interval{{}, emit.add(turn, 1)} : Interval{turn, {}};
  case CmpI::sgt:
    return rises ? Interval{emit.add(turn, 1), {}} : Interval{{}, turn};
  default:
    return rises ? Interval{turn, {}} : Interval{{}, emit.add(turn, 1)};
  }
}

//===------------------------------------------------------------------------------------------------------------------===//
// The mask
//===------------------------------------------------------------------------------------------------------------------===//

/// An index that may leave its tensor has to be seen by the map of each element.
RowMask::RowMask(const FormulaFrame &frame, bool isPacked) : frame(frame), emit(frame.builder, frame.loc), isPacked(isPacked) {
  if (!frame.program.mask)
    return;
  Region &mask = *frame.program.mask;
  for (std::unique_ptr<MapExpander> &row : rest)
    row = std::make_unique<MapExpander>(frame.builder, frame.loc, frame.program, mask, frame.abi, /*lanes=*/1);
  auto takeGiven = [&](Operation *op) {
    for (std::unique_ptr<MapExpander> &row : rest)
      row->takeGiven(op);
  };
  hasRest = clampsKeys = true;
  if (frame.program.checkedIndices)
    return;
  const DiagonalValues values(mask);
  KeyLimit::Terms terms = KeyLimit::termsOf(mask, values);
  for (arith::CmpIOp comparison : terms.limits) {
    limits.push_back(std::make_unique<KeyLimit>(frame, comparison, values));
    takeGiven(comparison);
  }
  hasRest = !terms.areLimits;
  for (auto load : mask.front().getOps<attn::LoadOp>())
    if (!isPacked && rest[0]->needs(load))
      if (std::unique_ptr<ClampedLoad> clamped = ClampedLoad::create(frame, load, values)) {
        loads.push_back(std::move(clamped));
        takeGiven(load);
      }
  clampsKeys =
      mask.walk([&](attn::LoadOp load) { return rest[0]->needs(load) ? WalkResult::interrupt() : WalkResult::advance(); }).wasInterrupted();
}

void RowMask::bindTile(const TileCoords &tile, ArrayRef<Value> heads, ArrayRef<Value> queries) {
  for (int64_t row = 0; row < 2; ++row) {
    if (hasRest)
      rest[row]->bindHeads(tile.b, heads[row]);
    for (std::unique_ptr<KeyLimit> &limit : limits)
      limit->bindHeads(row, tile.b, heads[row]);
  }
  for (std::unique_ptr<ClampedLoad> &load : loads)
    load->bindTile(tile);
  if (isPacked)
    bindQueries(queries);
}

void RowMask::bindQueries(ArrayRef<Value> queries) {
  for (int64_t row = 0; row < 2; ++row) {
    if (hasRest)
      rest[row]->bindQuery(queries[row]);
    for (std::unique_ptr<KeyLimit> &limit : limits)
      limit->bindQuery(row, queries[row]);
  }
}

void RowMask::bindBlock(const KvBlock &block, const FragmentOrigin &origin, Value pair, int64_t cols) {
  if (!isPacked)
    bindQueries(origin.queries);
  isKnown = emit.logicalNot(block.partial);
  firstKey = origin.key;
  lastKey = emit.toInt(frame.program.indexType, emit.sub(block.end, 1));
  Value keysLeft = emit.sub(emit.toInt(emit.i32(), emit.sub(block.end, block.begin)), pair);
  for (std::unique_ptr<ClampedLoad> &load : loads) {
    load->bindKeys(origin, keysLeft);
    for (int64_t tile = 0; tile < cols / 8; ++tile)
      for (int64_t part = 0; part < 4; ++part)
        load->at({rowOf(part), tile, columnOf(part)});
  }
  for (int64_t row = 0; row < 2; ++row) {
    seen[row] = {{}, keysLeft};
    for (std::unique_ptr<KeyLimit> &limit : limits) {
      KeyLimit::Interval more = limit->of(row, firstKey);
      seen[row] = {laterBegin(emit, seen[row].begin, more.begin), earlierEnd(emit, seen[row].end, more.end)};
    }
    seen[row].end = emit.select(isKnown, keysLeft, seen[row].end);
    if (seen[row].begin)
      seen[row].begin = emit.select(isKnown, emit.constInt(emit.i32(), 0), seen[row].begin);
  }
}

MapResult RowMask::at(Place place) {
  Value number = emit.constInt(emit.i32(), place.distance());
  const KeyLimit::Interval &interval = seen[place.row];
  MapResult result{emit.cmp(CmpI::sgt, interval.end, number), {}};
  if (interval.begin)
    result.value = emit.bitAnd(result.value, emit.cmp(CmpI::sle, interval.begin, number));
  if (!hasRest)
    return result;
  Emitter::Values given(limits.size(), emit.truth(true));
  for (std::unique_ptr<ClampedLoad> &load : loads)
    given.push_back(load->at(place));
  Value key = keyAt(emit, firstKey, place);
  rest[place.row]->bindKey(clampsKeys ? emit.minS(key, lastKey) : key); // padding only has to be harmless (A10)
  MapResult asked = rest[place.row]->expand(Value(), given);
  result.value = emit.bitAnd(result.value, emit.bitOr(isKnown, asked.value));
  result.outOfRange = asked.outOfRange;
  return result;
}

} // namespace attnjit::tile
