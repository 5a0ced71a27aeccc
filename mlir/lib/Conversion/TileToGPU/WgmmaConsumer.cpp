// A consumer of the wgmma schedule: a warpgroup with 64 rows of the tile. Two products are kept on their way where that pays (`overlap`):
// the scores of block n are issued, then the sum over the probabilities of block n - 1, and the softmax of n runs while the second one
// does.
#include "WgmmaOutput.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;

namespace attnjit::tile {

namespace {

using CmpI = Emitter::CmpI;
using Values = Emitter::Values;

/// What a thread carries from block to block.
struct State {
  RowState row;
  Fragments out, probs; ///< probs: of the block before, as left factors, which `out` lacks; with overlap only
};

class WgmmaConsumer {
public:
  WgmmaConsumer(OpBuilder &builder, Location loc, const WgmmaKernel &kernel)
      : emit(builder, loc), kernel(kernel), program(kernel.program), shape(kernel.shape),
        abi(builder, loc, kernel.args, AbiAccess::Functions::Inline), warp(emit.sub(kernel.position.warp, 4)),
        group(uniform(emit.shrU(warp, 2))),
        rows(builder, loc, program, abi, kernel.position, emit.shl(warp, 4), shape.cols, /*joinsFactors=*/true) {}

  void run() {
    Value zero = emit.constInt(emit.i32(), 0);
    bindTurns();
    if (shape.choices.getStagesLoads())
      rows.useRoom(emit.add(emit.add(kernel.shared, shape.loads), emit.mul(warp, StagedLoad::roomBytes(shape.cols))));
    Values initial = {zero, zero};
    initial.append(receiveTile(zero));
    emit.loopWhile(
        initial, [&](ValueRange state) { return emit.cmp(CmpI::sge, state[2 + TileSlot::B], zero); },
        [&](ValueRange state) {
          Value blocks = computeTile(state[0], state[1], state.drop_front(2));
          Value n = emit.add(state[0], 1);
          Values next = {n, blocks};
          next.append(receiveTile(n));
          return next;
        });
  }

private:
  //===----------------------------------------------------------------------------------------------------------------===//
  // Turns
  //===----------------------------------------------------------------------------------------------------------------===//

  /// Warpgroups issue their products in turn, so that one multiplies while another computes exponentials. Named barrier 1 + i is the turn
  /// of warpgroup i, waited for by it and called out by the one before it.
  void bindTurns() {
    if (!hasTurns())
      return;
    Value lastGroup = emit.constInt(emit.i32(), shape.consumers() - 1), isLast = emit.cmp(CmpI::eq, group, lastGroup);
    Value next = emit.select(isLast, emit.constInt(emit.i32(), 0), emit.add(group, 1));
    ownTurn = emit.add(group, 1);
    nextTurn = emit.add(next, 1);
    emit.ifThen(isLast, [&] { emitNamedArrive(emit, nextTurn, kTurnThreads); });
  }
  bool hasTurns() const { return shape.choices.getTurns() && shape.consumers() > 1; }
  void awaitTurn() {
    if (hasTurns())
      emitNamedSync(emit, ownTurn, kTurnThreads);
  }
  void passTurn() {
    if (hasTurns())
      emitNamedArrive(emit, nextTurn, kTurnThreads);
  }
  static constexpr int64_t kTurnThreads = 2 * WgmmaShape::kWarpgroupThreads;

  //===----------------------------------------------------------------------------------------------------------------===//
  // Rings
  //===----------------------------------------------------------------------------------------------------------------===//

  RingUse whenFull(const BufferRing &ring, Value n) {
    RingUse use(emit, kernel, ring, n);
    awaitFull(use);
    return use;
  }
  void awaitFull(const RingUse &use) {
    emitBarrierWait(emit, use.full, use.parity);
    if (shape.choices.getThreadCopies())
      emitProxyFence(emit); // wgmma reads what threads have written
  }
  /// Each thread says for itself that it needs a buffer no more: it has read the slot too.
  void release(const RingUse &use) { emitBarrierArrive(emit, use.empty); }

  Values receiveTile(Value n) { return emitReadSlot(emit, whenFull(shape.qRing, n).slot); }

  /// What the slot of a block says of the time after it.
  struct Word {
    Value flags;    ///< of the block itself
    SentBlock next; ///< means nothing where there is none
  };
  SentBlock readFirstBlock(const RingUse &k) {
    Values fields = emitReadSlot(emit, k.slot);
    return {fields[BlockSlot::Begin], fields[BlockSlot::Keys]};
  }
  Word readWord(const RingUse &k) {
    Values fields = emitReadSlot(emit, k.slot);
    return {fields[BlockSlot::Keys], {fields[BlockSlot::NextBegin], fields[BlockSlot::NextKeys]}};
  }
  KvBlock blockOf(const SentBlock &sent) {
    Value begin = widen(sent.begin), count = widen(emit.shrU(sent.keys, llvm::Log2_64(BlockSlot::kKey)));
    return {begin, emit.add(begin, count), hasOwnFlag(sent.keys, BlockSlot::kPartial)};
  }
  Value ownFlag(int64_t flag) { return emit.make<arith::ShLIOp>(emit.constInt(emit.i32(), flag), group); }
  Value isSet(Value bits) { return emit.cmp(CmpI::ne, bits, emit.constInt(emit.i32(), 0)); }
  Value hasOwnFlag(Value keys, int64_t flag) { return isSet(emit.bitAnd(keys, ownFlag(flag))); }
  Value isLast(const Word &word) { return isSet(lastOf(word)); }
  Value lastOf(const Word &word) { return emit.bitAnd(word.flags, emit.constInt(emit.i32(), BlockSlot::kLast)); }

  //===----------------------------------------------------------------------------------------------------------------===//
  // A tile
  //===----------------------------------------------------------------------------------------------------------------===//

  /// Returns the number of the next block.
  Value computeTile(Value n, Value firstBlock, ValueRange slot) {
    TileCoords tile;
    tile.b = widen(slot[TileSlot::B]), tile.h = widen(slot[TileSlot::H]), tile.kvHead = widen(slot[TileSlot::KvHead]);
    tile.q0 = widen(slot[TileSlot::Q0]);
    tile.rows = emit.minS(emit.index(shape.rows), emit.sub(abi.queries(), tile.q0));
    rows.bindTile(tile);
    RingUse q(emit, kernel, shape.qRing, n);
    qAddress = emit.add(q.buffer, emit.mul(group, WgmmaShape::kWarpgroupRows * SwizzledTile::kBoxRowBytes));
    plainKeys = emit.constInt(emit.i32(), shape.cols * BlockSlot::kKey);
    if (Value isSpecialTile = rows.isSpecialTile())
      plainKeys = emit.select(isSpecialTile, emit.constInt(emit.i32(), -1), plainKeys);
    auto [end, state, ends] = walkBlocks(firstBlock);
    rows.finish(state.row, ends, state.out);
    WgmmaOutput(emit, kernel, abi, rows, group, warp, qAddress).store(state.out, [&] { release(q); });
    return end;
  }

  Fragments noOutput() {
    Value zero = emit.constFloat(emit.f32(), 0.0);
    return Fragments(shape.valueDim / 8, {zero, zero, zero, zero});
  }

  /// Of no block. Nobody multiplies them, but poison in their place has ptxas spill.
  Fragments noProbs() {
    Value zero = emit.constInt(emit.i32(), 0);
    return Fragments(shape.cols / 16, {zero, zero, zero, zero});
  }

  /// Where a consumer is on its way through a tile: the number of the block that comes, and what the one before has said of it.
  struct Place {
    Value n;
    Word word;
  };
  struct Walked {
    Place place;
    State state;
    FragmentRows::RowEnds ends; ///< of the state as it is
  };
  struct WalkedTile {
    Value end; ///< number of the next block
    State state;
    FragmentRows::RowEnds ends;
  };

  /// Blocks of which the rows of this warpgroup see something come in stretches, between which the others are passed over.
  WalkedTile walkBlocks(Value firstBlock) {
    SentBlock first = readFirstBlock(whenFull(shape.kRing, firstBlock));
    Place start = passOverEmpty({firstBlock, {emit.constInt(emit.i32(), 0), first}});
    Value zero = emit.constFloat(emit.f32(), 0.0);
    Values initial = flatten(start, {rows.initialState(), noOutput(), {}});
    initial.append({zero, zero, zero, zero});
    Values last = emit.loopWhile(
        initial, [&](ValueRange values) { return emit.logicalNot(isLast(placeOf(values).word)); },
        [&](ValueRange values) {
          State before = stateOf(values.drop_back(kEnds));
          auto [place, state, ends] =
              shape.choices.getOverlap() ? walkOverlapping(placeOf(values), before) : walkPlainly(placeOf(values), before);
          Values next = flatten(passOverEmpty(place), state);
          next.append({ends.sum[0], ends.sum[1], ends.factor[0], ends.factor[1]});
          return next;
        });
    ValueRange ends = ValueRange(last).take_back(kEnds);
    return {placeOf(last).n, stateOf(ValueRange(last).drop_back(kEnds)), {{ends[0], ends[1]}, {ends[2], ends[3]}}};
  }
  static constexpr size_t kEnds = 2 * kRowsPerThread;

  /// 0 where another block of this stretch follows.
  Value endOfStretch(const Word &word) { return emit.bitOr(lastOf(word), emit.bitAnd(word.next.keys, ownFlag(BlockSlot::kEmpty))); }
  Value goesOn(const Word &word) { return emit.logicalNot(isSet(endOfStretch(word))); }
  Value isEmpty(const SentBlock &sent) { return hasOwnFlag(sent.keys, BlockSlot::kEmpty); }

  /// Whether a block is more than products, scale and softmax for these rows.
  Value isSpecial(const SentBlock &sent) {
    Value counts = emit.constInt(emit.i32(), -BlockSlot::kKey);
    Value bits = emit.bitAnd(sent.keys, program.mask ? emit.bitOr(counts, ownFlag(BlockSlot::kPartial)) : counts);
    Value special = emit.cmp(CmpI::ne, bits, plainKeys), isUnfit = rows.isUnfit(blockOf(sent));
    return isUnfit ? emit.bitOr(special, isUnfit) : special;
  }

  /// Warpgroups keep their order: each takes its turn at a block that it has nothing to do with.
  Place passOverEmpty(const Place &start) {
    auto flat = [](const Place &place) { return Values{place.n, place.word.flags, place.word.next.begin, place.word.next.keys}; };
    Values last = emit.loopWhile(
        flat(start),
        [&](ValueRange values) {
          Word word = placeOf(values).word;
          return emit.bitAnd(emit.logicalNot(isLast(word)), isEmpty(word.next));
        },
        [&](ValueRange values) {
          Value n = values[0];
          if (shape.choices.getOverlap()) {
            awaitTurn();
            passTurn();
          }
          RingUse k = whenFull(shape.kRing, n);
          Word word = readWord(k);
          release(k);
          release(whenFull(shape.vRing, n));
          return flat({emit.add(n, 1), word});
        });
    return placeOf(last);
  }

  /// One product after the other.
  Walked walkPlainly(const Place &start, const State &initial) {
    Values last = emit.loopWhile(
        flatten(start, initial), [&](ValueRange values) { return goesOn(placeOf(values).word); },
        [&](ValueRange values) {
          auto [n, before] = placeOf(values);
          KvBlock keys = blockOf(before.next);
          State state = stateOf(values);
          RingUse k = whenFull(shape.kRing, n);
          Word word = readWord(k);
          Fragments scores = issueScores(k);
          emitWarpgroupWait(emit, 0, {&scores});
          release(k);
          rows.applyFormulas(scores, keys);
          RowValues alpha = rows.takeIntoState(state.row, scores, keys);
          rows.scaleRows(state.out, alpha);
          addProbs(n, state.out, leftFactors(scores));
          return flatten({emit.add(n, 1), word}, state);
        });
    State state = stateOf(last);
    return {placeOf(last), state, rows.endRows(state.row)};
  }

  /// The first block goes through as special, which is always legal: so the code of a step is there twice, not three times. No product is
  /// on its way where a step begins or ends: ptxas would wait for it at once.
  Walked walkOverlapping(const Place &start, const State &before) {
    State initial{before.row, before.out, noProbs()};
    rows.stageLoads(blockOf(start.word.next));
    Values last = emit.loopWhile(
        flatten(start, initial), [&](ValueRange values) { return goesOn(placeOf(values).word); },
        [&](ValueRange values) {
          Value n = placeOf(values).n;
          KvBlock keys = blockOf(placeOf(values).word.next);
          RingUse k = whenFull(shape.kRing, n);
          Word word = readWord(k);
          Value isFirst = emit.cmp(CmpI::eq, n, start.n);
          auto step = [&](bool special) {
            State state = stateOf(values);
            stepOverlapping(special ? isFirst : Value(), emit.sub(n, 1), k, keys, state);
            return flatten({emit.add(n, 1), word}, state);
          };
          Value special = emit.bitOr(isFirst, isSpecial(placeOf(values).word.next));
          Values next = emit.ifElse(TypeRange(values), special, [&] { return step(true); }, [&] { return step(false); });
          stageAfter(word);
          return next;
        });
    Walked walked{placeOf(last), stateOf(last), {}};
    State &state = walked.state;
    addProbs(emit.sub(walked.place.n, 1), state.out, state.probs, [&] { walked.ends = rows.endRows(state.row); });
    state.probs.clear();
    return walked;
  }

  /// What the formulas of the block after one read is on its way while that one's products are issued.
  void stageAfter(const Word &word) {
    if (shape.choices.getStagesLoads())
      emit.ifThen(goesOn(word), [&] { rows.stageLoads(blockOf(word.next)); });
  }

  /// The scores of a block, whose keys have come, and the output of the block before. `isFirst`: whether there is none before; null: the
  /// block is not special.
  void stepOverlapping(Value isFirst, Value before, const RingUse &k, const KvBlock &keys, State &state) {
    const bool special(isFirst);
    awaitTurn();
    Fragments scores = issueScores(k);
    RingUse v(emit, kernel, shape.vRing, before);
    issueOutput(isFirst, v, state);
    passTurn();
    rows.beginFormulas(special, keys);
    emitWarpgroupWait(emit, 1, {&scores});
    release(k);
    rows.endFormulas(special, scores, keys);
    RowValues alpha = rows.takeIntoState(state.row, scores, keys);
    emitWarpgroupWait(emit, 0, {&state.out, &scores}); // scores: probabilities are not to be computed later than this
    if (isFirst)
      emit.ifThen(emit.logicalNot(isFirst), [&] { release(v); });
    else
      release(v);
    state.probs = leftFactors(scores);
    rows.scaleRows(state.out, alpha);
  }

  void issueOutput(Value isFirst, const RingUse &v, State &state) {
    auto issue = [&] {
      awaitFull(v);
      return emitWarpgroupSum(emit, program.qType, state.out, state.probs, shape.v, v.buffer);
    };
    if (!isFirst) {
      state.out = issue();
      return;
    }
    auto skip = [&] {
      emitWarpgroupNothing(emit); // so that there is one group after the scores in either case
      return valuesOf(state.out);
    };
    SmallVector<Type> types(shape.valueDim / 2, emit.f32());
    state.out = fragmentsOf(emit.ifElse(types, isFirst, skip, [&] { return valuesOf(issue()); }));
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // The two products
  //===----------------------------------------------------------------------------------------------------------------===//

  Fragments issueScores(const RingUse &k) { return emitWarpgroupProduct(emit, program.qType, shape.q, qAddress, shape.k, k.buffer); }

  /// out += probs . V(n), to its end. `beside`: what goes on while the tensor cores multiply.
  void addProbs(Value n, Fragments &out, const Fragments &probs, llvm::function_ref<void()> beside = [] {}) {
    RingUse v = whenFull(shape.vRing, n);
    out = emitWarpgroupSum(emit, program.qType, out, probs, shape.v, v.buffer);
    beside();
    emitWarpgroupWait(emit, 0, {&out});
    release(v);
  }

  /// Probabilities as rounded here enter the sum of the output, as computed the sum of the state.
  Fragments leftFactors(const Fragments &probs) {
    Fragments factors;
    for (size_t i = 0; i < probs.size(); i += 2)
      factors.push_back(emitLeftFactor(emit, program.qType, probs[i], probs[i + 1]));
    return factors;
  }

  //===----------------------------------------------------------------------------------------------------------------===//
  // Carried values
  //===----------------------------------------------------------------------------------------------------------------===//

  static Values valuesOf(const Fragments &fragments) {
    Values values;
    for (const Fragment4 &fragment : fragments)
      values.append(fragment.begin(), fragment.end());
    return values;
  }
  static Fragments fragmentsOf(ValueRange values) {
    Fragments fragments(values.size() / 4);
    for (size_t i = 0; i < values.size(); ++i)
      fragments[i / 4][i % 4] = values[i];
    return fragments;
  }

  Values flatten(const Place &place, const State &state) {
    Values values = {place.n,          place.word.flags, place.word.next.begin, place.word.next.keys,
                     state.row.max[0], state.row.max[1], state.row.sum[0],      state.row.sum[1]};
    values.append(valuesOf(state.out));
    values.append(valuesOf(state.probs));
    return values;
  }
  static Place placeOf(ValueRange values) { return {values[0], {values[1], {values[2], values[3]}}}; }
  State stateOf(ValueRange values) {
    ValueRange fragments = values.drop_front(8);
    return {{{values[4], values[5]}, {values[6], values[7]}},
            fragmentsOf(fragments.take_front(shape.valueDim / 2)),
            fragmentsOf(fragments.drop_front(shape.valueDim / 2))};
  }

  Value widen(Value a) { return emit.make<arith::ExtSIOp>(emit.i64(), a); }
  /// The value of lane 0, which all lanes have anyway; so the compiler knows it too.
  Value uniform(Value a) {
    return emit.make<NVVM::ShflOp>(emit.i32(), emit.constInt(emit.i32(), -1), a, emit.constInt(emit.i32(), 0),
                                   emit.constInt(emit.i32(), 31), NVVM::ShflKind::idx, UnitAttr());
  }

  Emitter emit;
  const WgmmaKernel &kernel;
  const TileProgram &program;
  const WgmmaShape &shape;
  AbiAccess abi;
  Value warp, group; ///< among all consumers' warps; which warpgroup
  FragmentRows rows;
  Value ownTurn, nextTurn;
  Value qAddress;  ///< of this warpgroup's rows
  Value plainKeys; ///< BlockSlot::Keys of a block that is not special, without what says nothing of that; -1: all are; i32
};

} // namespace

void emitWgmmaConsumer(OpBuilder &builder, Location loc, const WgmmaKernel &kernel) {
  emitSetRegisters(Emitter(builder, loc), kernel.shape.choices.getConsumerRegisters(), /*more=*/true);
  WgmmaConsumer(builder, loc, kernel).run();
}

} // namespace attnjit::tile
