// The normal form of forward attention, read into the view that schedules work with.
#include "attnjit-mlir/Dialect/Tile/TileProgram.h"

#include "attnjit-mlir/Dialect/Tile/Tile.h"

#include <array>
#include <optional>

using namespace mlir;

namespace attnjit::tile {
namespace {

/// Walks the ops of a block in order, each of which has to be the next one of the normal form.
class Reader {
public:
  explicit Reader(Operation *owner, Block &block) : owner(owner), next(block.begin()), end(block.end()) {}

  /// The next op, which must be an `OpT`; null, with a diagnostic, if it is not.
  template <typename OpT> OpT take() {
    if (next == end)
      return fail<OpT>(owner, "the end");
    auto op = dyn_cast<OpT>(*next);
    if (!op)
      return fail<OpT>(&*next, ("'" + next->getName().getStringRef() + "'").str());
    ++next;
    return op;
  }
  /// The next op if it is an `OpT`, else null, without a diagnostic.
  template <typename OpT> OpT takeOptional() { return next != end && isa<OpT>(*next) ? cast<OpT>(*next++) : OpT(); }
  bool atEnd() {
    if (next == end)
      return true;
    next->emitOpError("is not part of the normal form of a tile program here; expected nothing more in this block");
    return false;
  }

private:
  template <typename OpT> OpT fail(Operation *at, StringRef got) {
    at->emitError() << "not the normal form of a tile program: expected '" << OpT::getOperationName() << "' here, got " << got;
    return OpT();
  }
  Operation *owner;
  Block::iterator next, end;
};

/// Checks that operands are the values that the normal form connects.
class Wiring {
public:
  Wiring(Operation *op) : op(op) {}
  Wiring &is(StringRef what, Value got, Value expected) {
    if (ok && got != expected) {
      ok = false;
      InFlightDiagnostic diag = op->emitError() << "not the normal form of a tile program: " << what << " of '" << op->getName()
                                                << "' is another value than expected";
      diag.attachNote(expected.getLoc()) << "expected this value";
    }
    return *this;
  }
  Wiring &are(StringRef what, ValueRange got, ValueRange expected) {
    if (ok && got.size() != expected.size()) {
      ok = false;
      op->emitError() << "not the normal form of a tile program: expected " << expected.size() << " " << what << " of '" << op->getName()
                      << "', got " << got.size();
    }
    for (size_t i = 0; ok && i < expected.size(); ++i)
      is(what, got[i], expected[i]);
    return *this;
  }
  Wiring &that(bool condition, const Twine &message) {
    if (ok && !condition) {
      ok = false;
      op->emitError() << "not the normal form of a tile program: " << message;
    }
    return *this;
  }
  explicit operator bool() const { return ok; }

private:
  Operation *op;
  bool ok = true;
};

/// The ops of one kernel in normal form.
struct Ops {
  PositionOp position;
  PlanOp plan;
  SplitOp split; ///< null: the stream walks the plan itself
  StreamOp stream;
  MapOp map;          ///< null: identity
  MaskOp mask;        ///< null: True
  ProbOp prob;        ///< null: identity
  LoadRowOp sinks;    ///< null: none
  SoftmaxNormOp norm; ///< null: one pass
};

/// The scores of a block, and the ops that made them.
struct Scores {
  MapOp map;
  MaskOp mask;
  Value value;
};

/// Whether two optional ops compute the same of corresponding operands, which the caller has checked.
bool sameFormula(Operation *a, Operation *b) {
  if (!a || !b)
    return a == b;
  return OperationEquivalence::isRegionEquivalentTo(&a->getRegion(0), &b->getRegion(0), OperationEquivalence::IgnoreLocations);
}

class Matcher {
public:
  explicit Matcher(KernelOp kernel) : kernel(kernel), captures(kernel.getCaptures()), scalars(kernel.getScalars()) {}

  FailureOr<Ops> match() {
    auto isPaged = [&](unsigned argument) { return cast<ViewType>(kernel.getArgument(argument).getType()).getPaged(); };
    if (!Wiring(kernel).that(!isPaged(KernelOp::Q) && !isPaged(KernelOp::Out) && isPaged(KernelOp::K) == isPaged(KernelOp::V),
                             "expected k and v, or none, to be paged"))
      return failure();
    Reader reader(kernel, kernel.getBody().front());
    if (!matchBegin(reader) || !matchLoops(reader) || !matchEnd(reader))
      return failure();
    return ops;
  }

private:
  /// Everything up to the loop; takes the loop too.
  bool matchBegin(Reader &reader) {
    if (!(ops.position = reader.take<PositionOp>()) || !(loadQ = reader.take<LoadOp>()) || !(init = reader.take<SoftmaxInitOp>()) ||
        !(fill = reader.take<FillOp>()) || !(ops.plan = reader.take<PlanOp>()))
      return false;
    if (!(ops.split = reader.takeOptional<SplitOp>()) && !(ops.stream = reader.take<StreamOp>()))
      return false;
    if (!checkLoad(loadQ, KernelOp::Q, ops.position.getH(), ops.position.getQ0()))
      return false;
    if (loadQ.getResult().getType().getRows() != kernel.getConfig().getTileRows()) {
      loadQ.emitError() << "not the normal form of a tile program: expected " << kernel.getConfig().getTileRows()
                        << " rows (config.tile_rows), got " << loadQ.getResult().getType();
      return false;
    }
    return Wiring(ops.plan)
               .is("b", ops.plan.getB(), ops.position.getB())
               .is("h", ops.plan.getH(), ops.position.getH())
               .is("q0", ops.plan.getQ0(), ops.position.getQ0())
               .are("scalars", ops.plan.getScalars(), scalars) &&
           checkZero(fill);
  }

  bool checkZero(FillOp fill) {
    return bool(Wiring(fill).that(fill.getValue().isZero() && !fill.getValue().isNegative(), "the accumulator starts at 0.0"));
  }

  template <typename OpT> bool checkLoop(OpT loop, Value plan, ValueRange initial) {
    return bool(Wiring(loop).is("plan", loop.getPlan(), plan).are("initial states", loop.getInits(), initial));
  }

  /// One loop over the plan for everything, or one for the state and a second one for the output.
  bool matchLoops(Reader &reader) {
    ValueRange inits = ops.split ? ops.split.getInits() : ops.stream.getInits();
    if (inits.size() == 3)
      return matchLoop(ops.split, ops.stream, {init.getMax(), init.getSum(), fill.getResult()}) && matchBody();
    if (!matchLoop(ops.split, ops.stream, {init.getMax(), init.getSum()}) || !matchStateBody() || !matchSinks(reader) ||
        !(ops.norm = reader.take<SoftmaxNormOp>()))
      return false;
    if (!Wiring(ops.norm)
             .are("states", {ops.norm.getMax(), ops.norm.getSum()}, statesOf(ops.split, ops.stream))
             .that(ops.norm.getSink() == sinkRow(), "the sink is the row loaded before"))
      return false;
    if (ops.split ? !(outputSplit = reader.take<SplitOp>()) : !(outputStream = reader.take<StreamOp>()))
      return false;
    return matchLoop(outputSplit, outputStream, fill.getResult()) && matchOutputBody();
  }

  static ResultRange statesOf(SplitOp split, StreamOp stream) { return split ? split.getResults() : stream.getResults(); }

  /// A stream over the plan from `initial`. With a split, which `stream` is then taken from: one over each part, from nothing, taken in
  /// behind what came before.
  bool matchLoop(SplitOp split, StreamOp &stream, ValueRange initial) {
    if (!split)
      return checkLoop(stream, ops.plan.getPlan(), initial);
    if (!checkLoop(split, ops.plan.getPlan(), initial))
      return false;
    Block &body = split.getBody().front();
    Reader reader(split, body);
    // Where common subexpressions were eliminated, the neutral state is the one outside.
    reader.takeOptional<SoftmaxInitOp>();
    reader.takeOptional<FillOp>();
    Operation *merge = nullptr;
    YieldOp yield;
    if (!(stream = reader.take<StreamOp>()) ||
        !(merge = initial.size() == 1 ? reader.take<AddOp>().getOperation() : reader.take<SoftmaxMergeOp>().getOperation()) ||
        !(yield = reader.take<YieldOp>()) || !reader.atEnd() || !startsFromNothing(stream, initial.size()))
      return false;
    SmallVector<Value> merged(body.getArguments().drop_front());
    llvm::append_range(merged, stream.getResults());
    return Wiring(stream).is("plan", stream.getPlan(), body.getArgument(0)) && Wiring(merge).are("states", merge->getOperands(), merged) &&
           Wiring(yield).are("states", yield.getValues(), merge->getResults());
  }

  /// Whether a stream over a part begins with the neutral one of `states`: maximum and sum, accumulator, or all three.
  bool startsFromNothing(StreamOp stream, size_t states) {
    OperandRange inits = stream.getInits();
    if (!Wiring(stream).that(inits.size() == states, "a part carries the states of its split"))
      return false;
    bool hasState = states >= 2, hasAcc = states != 2;
    auto neutral = hasState ? inits[0].getDefiningOp<SoftmaxInitOp>() : SoftmaxInitOp();
    auto zero = hasAcc ? inits.back().getDefiningOp<FillOp>() : FillOp();
    bool isNeutral = !hasState || (neutral && inits[0] == neutral.getMax() && inits[1] == neutral.getSum());
    return Wiring(stream).that(isNeutral && (!hasAcc || zero), "a part starts from tile.softmax_init and tile.fill") &&
           (!hasAcc || checkZero(zero));
  }

  bool checkLoad(LoadOp load, unsigned argument, Value head, Value row) {
    return bool(Wiring(load)
                    .is("view", load.getView(), kernel.getArgument(argument))
                    .is("batch", load.getB(), ops.position.getB())
                    .is("head", load.getHead(), head)
                    .is("row", load.getRow(), row));
  }

  template <typename OpT> bool checkMap(OpT op, Value kv0) {
    return bool(Wiring(op)
                    .is("b", op.getB(), ops.position.getB())
                    .is("h", op.getH(), ops.position.getH())
                    .is("q0", op.getQ0(), ops.position.getQ0())
                    .is("kv0", op.getKv0(), kv0)
                    .are("captures", op.getCaptures(), captures)
                    .are("scalars", op.getScalars(), scalars));
  }

  /// tile.load of k, tile.dot qk, then the maps of the scores.
  std::optional<Scores> matchScores(Reader &reader, Value kv0, Value partial) {
    auto loadK = reader.take<LoadOp>();
    if (!loadK || !checkLoad(loadK, KernelOp::K, ops.position.getKvHead(), kv0))
      return std::nullopt;
    if (!Wiring(loadK).that(loadK.getResult().getType().getRows() == kernel.getConfig().getTileCols(),
                            "expected config.tile_cols rows of k"))
      return std::nullopt;
    auto qk = reader.take<DotOp>();
    if (!qk || !Wiring(qk)
                    .that(qk.getRole() == DotRole::QK && qk.getTransposeB() && qk.getScale() && !qk.getAcc(),
                          "expected a dot of role qk with a transposed k and a scale, and without accumulator")
                    .is("a", qk.getA(), loadQ.getResult())
                    .is("b", qk.getB(), loadK.getResult())
                    .is("scale", qk.getScale(), kernel.getArgument(KernelOp::Scale)))
      return std::nullopt;
    Scores scores{nullptr, nullptr, qk.getResult()};
    if ((scores.map = reader.takeOptional<MapOp>())) {
      if (!checkMap(scores.map, kv0) || !Wiring(scores.map).is("operand", scores.map.getInput(), scores.value))
        return std::nullopt;
      scores.value = scores.map.getResult();
    }
    if ((scores.mask = reader.takeOptional<MaskOp>())) {
      if (!checkMap(scores.mask, kv0) ||
          !Wiring(scores.mask).is("operand", scores.mask.getInput(), scores.value).is("partial", scores.mask.getPartial(), partial))
        return std::nullopt;
      scores.value = scores.mask.getResult();
    }
    return scores;
  }

  SoftmaxStepOp matchStep(Reader &reader, Block &body, const Scores &scores) {
    auto step = reader.take<SoftmaxStepOp>();
    return step && Wiring(step)
                       .is("max", step.getMax(), body.getArgument(3))
                       .is("sum", step.getSum(), body.getArgument(4))
                       .is("scores", step.getScores(), scores.value)
                       .is("cols", step.getCols(), body.getArgument(1))
               ? step
               : SoftmaxStepOp();
  }

  /// tile.prob, if there is one; `probs` becomes its result.
  bool matchProb(Reader &reader, Value &probs, Value scores, Value kv0) {
    if (!(ops.prob = reader.takeOptional<ProbOp>()))
      return true;
    if (!checkMap(ops.prob, kv0) || !Wiring(ops.prob).is("operand", ops.prob.getProbs(), probs).is("scores", ops.prob.getScores(), scores))
      return false;
    probs = ops.prob.getResult();
    return true;
  }

  LoadOp matchLoadV(Reader &reader, Value kv0) {
    auto loadV = reader.take<LoadOp>();
    return loadV && checkLoad(loadV, KernelOp::V, ops.position.getKvHead(), kv0) ? loadV : LoadOp();
  }

  /// tile.dot pv onto `acc`, yielded behind `state`.
  bool matchPv(Reader &reader, Value probs, Value v, Value acc, SmallVector<Value> state) {
    auto pv = reader.take<DotOp>();
    if (!pv || !Wiring(pv)
                    .that(pv.getRole() == DotRole::PV && !pv.getTransposeB() && !pv.getScale() && pv.getAcc(),
                          "expected a dot of role pv with an accumulator, without scale or transposition")
                    .is("a", pv.getA(), probs)
                    .is("b", pv.getB(), v)
                    .is("acc", pv.getAcc(), acc))
      return false;
    auto yield = reader.take<YieldOp>();
    state.push_back(pv.getResult());
    return yield && reader.atEnd() && Wiring(yield).are("states", yield.getValues(), state);
  }

  /// The body of a stream that does everything.
  bool matchBody() {
    Block &body = ops.stream.getBody().front();
    Value kv0 = body.getArgument(0);
    Reader reader(ops.stream, body);
    std::optional<Scores> scores = matchScores(reader, kv0, body.getArgument(2));
    SoftmaxStepOp step = scores ? matchStep(reader, body, *scores) : SoftmaxStepOp();
    if (!step)
      return false;
    ops.map = scores->map;
    ops.mask = scores->mask;
    Value probs = step.getProbs();
    LoadOp loadV;
    if (!matchProb(reader, probs, scores->value, kv0) || !(loadV = matchLoadV(reader, kv0)))
      return false;
    auto scaled = reader.take<RowScaleOp>();
    return scaled && Wiring(scaled).is("tile", scaled.getTile(), body.getArgument(5)).is("factors", scaled.getFactors(), step.getAlpha()) &&
           matchPv(reader, probs, loadV.getResult(), scaled.getResult(), {step.getNewMax(), step.getNewSum()});
  }

  /// The body of a stream for maximum and sum.
  bool matchStateBody() {
    Block &body = ops.stream.getBody().front();
    Reader reader(ops.stream, body);
    std::optional<Scores> scores = matchScores(reader, body.getArgument(0), body.getArgument(2));
    SoftmaxStepOp step = scores ? matchStep(reader, body, *scores) : SoftmaxStepOp();
    if (!step)
      return false;
    ops.map = scores->map;
    ops.mask = scores->mask;
    auto yield = reader.take<YieldOp>();
    return yield && reader.atEnd() && Wiring(yield).are("states", yield.getValues(), {step.getNewMax(), step.getNewSum()});
  }

  /// The body of a stream for the output, by the same scores.
  bool matchOutputBody() {
    Block &body = outputStream.getBody().front();
    Value kv0 = body.getArgument(0);
    Reader reader(outputStream, body);
    std::optional<Scores> scores = matchScores(reader, kv0, body.getArgument(2));
    if (!scores || !Wiring(outputStream)
                        .that(sameFormula(ops.map, scores->map) && sameFormula(ops.mask, scores->mask),
                              "both streams compute the scores by the same map and mask"))
      return false;
    auto recompute = reader.take<SoftmaxProbsOp>();
    if (!recompute || !Wiring(recompute)
                           .is("scores", recompute.getScores(), scores->value)
                           .is("max", recompute.getMax(), ops.norm.getMax())
                           .is("factor", recompute.getFactor(), ops.norm.getFactor())
                           .is("cols", recompute.getCols(), body.getArgument(1)))
      return false;
    Value probs = recompute.getProbs();
    LoadOp loadV;
    return matchProb(reader, probs, scores->value, kv0) && (loadV = matchLoadV(reader, kv0)) &&
           matchPv(reader, probs, loadV.getResult(), body.getArgument(3), {});
  }

  /// tile.load_row of the sinks, which is there if the kernel has any.
  bool matchSinks(Reader &reader) {
    if (!kernel.getSinks())
      return true;
    ops.sinks = reader.take<LoadRowOp>();
    return ops.sinks && Wiring(ops.sinks)
                            .is("view", ops.sinks.getView(), kernel.getSinks())
                            .are("position", {ops.sinks.getB(), ops.sinks.getHead(), ops.sinks.getRow()}, tilePosition());
  }
  Value sinkRow() { return ops.sinks ? ops.sinks.getResult() : Value(); }

  /// The results of the softmax: the output before it is rounded, lse, maximum.
  std::optional<std::array<Value, 3>> matchFinish(Reader &reader) {
    if (ops.norm)
      return std::array<Value, 3>{statesOf(outputSplit, outputStream)[0], ops.norm.getLse(), statesOf(ops.split, ops.stream)[0]};
    if (!matchSinks(reader))
      return std::nullopt;
    auto finish = reader.take<SoftmaxFinishOp>();
    if (!finish || !Wiring(finish)
                        .are("states", {finish.getMax(), finish.getSum(), finish.getAcc()}, statesOf(ops.split, ops.stream))
                        .that(finish.getSink() == sinkRow(), "the sink is the row loaded before"))
      return std::nullopt;
    return std::array<Value, 3>{finish.getOut(), finish.getLse(), finish.getRowMax()};
  }

  bool matchEnd(Reader &reader) {
    std::optional<std::array<Value, 3>> results = matchFinish(reader);
    if (!results)
      return false;
    auto [out, lse, max] = *results;
    if (auto cast = reader.takeOptional<CastOp>()) {
      if (!Wiring(cast).is("operand", cast.getInput(), out))
        return false;
      out = cast.getResult();
    }
    auto store = reader.take<StoreOp>();
    if (!store || !Wiring(store)
                       .is("tile", store.getTile(), out)
                       .is("view", store.getView(), kernel.getArgument(KernelOp::Out))
                       .are("position", {store.getB(), store.getHead(), store.getRow()}, tilePosition()))
      return false;
    for (auto [value, argument] : {std::pair<Value, unsigned>{lse, KernelOp::Lse}, {max, KernelOp::Max}}) {
      auto row = reader.take<StoreRowOp>();
      if (!row || !Wiring(row)
                       .is("values", row.getValues(), value)
                       .is("view", row.getView(), kernel.getArgument(argument))
                       .are("position", {row.getB(), row.getHead(), row.getRow()}, tilePosition()))
        return false;
    }
    return reader.atEnd();
  }

  SmallVector<Value> tilePosition() { return {ops.position.getB(), ops.position.getH(), ops.position.getQ0()}; }

  KernelOp kernel;
  SmallVector<Value> captures, scalars;
  LoadOp loadQ;
  SoftmaxInitOp init;
  FillOp fill;
  SplitOp outputSplit;   ///< of a split program with two passes
  StreamOp outputStream; ///< of a program with two passes
  Ops ops;
};

} // namespace

SmallVector<Region *> TileProgram::maps() const {
  SmallVector<Region *> present;
  llvm::copy_if(ArrayRef<Region *>{score, mask, prob}, std::back_inserter(present), [](Region *region) { return region != nullptr; });
  return present;
}

FailureOr<TileProgram> TileProgram::match(Operation *op) {
  auto kernel = dyn_cast<KernelOp>(op);
  if (!kernel)
    return op->emitError() << "not the normal form of a tile program: expected 'tile.kernel', got '" << op->getName() << "'";
  FailureOr<Ops> ops = Matcher(kernel).match();
  if (failed(ops))
    return failure();
  auto view = [&](unsigned argument) { return cast<ViewType>(kernel.getArgument(argument).getType()); };
  TileProgram program;
  program.kernel = kernel;
  program.name = kernel.getSymName().str();
  program.tileRows = kernel.getConfig().getTileRows();
  program.tileCols = kernel.getConfig().getTileCols();
  program.headDim = view(KernelOp::Q).getCols();
  program.valueDim = view(KernelOp::V).getCols();
  program.qType = view(KernelOp::Q).getElementType();
  program.kvType = view(KernelOp::K).getElementType();
  program.outType = view(KernelOp::Out).getElementType();
  program.computeType = kernel.getComputeType();
  program.indexType = kernel.getIndexType();
  program.contiguous = view(KernelOp::Q).getContiguous() && view(KernelOp::K).getContiguous() && view(KernelOp::V).getContiguous();
  program.paged = view(KernelOp::K).getPaged();
  program.outIsContiguous = view(KernelOp::Out).getContiguous();
  program.checkedIndices = kernel.getConfig().getCheckedIndices();
  program.isSplit = bool(ops->split);
  program.isTwoPass = bool(ops->norm);
  program.sinkType = kernel.getSinks() ? cast<ViewType>(kernel.getSinks().getType()).getElementType() : Type();
  program.score = ops->map ? &ops->map.getBody() : nullptr;
  program.mask = ops->mask ? &ops->mask.getBody() : nullptr;
  program.prob = ops->prob ? &ops->prob.getBody() : nullptr;
  program.closedForm = ops->plan.getClosedForm().empty() ? nullptr : &ops->plan.getClosedForm();
  for (auto [index, capture] : llvm::enumerate(kernel.getCaptures())) {
    auto type = cast<CaptureType>(capture.getType());
    program.captures.push_back({static_cast<unsigned>(index), type.getElementType(), type.getRank()});
  }
  for (auto [index, scalar] : llvm::enumerate(kernel.getScalars()))
    program.scalars.push_back({static_cast<unsigned>(index), scalar.getType()});
  return program;
}

} // namespace attnjit::tile
