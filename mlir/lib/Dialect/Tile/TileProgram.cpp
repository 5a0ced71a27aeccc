// The normal form of forward attention, read into the view that schedules work with.
#include "attnjit-mlir/Dialect/Tile/TileProgram.h"

#include "attnjit-mlir/Dialect/Tile/Tile.h"

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
  MapOp map;   ///< null: identity
  MaskOp mask; ///< null: True
};

class Matcher {
public:
  explicit Matcher(KernelOp kernel) : kernel(kernel), captures(kernel.getCaptures()), scalars(kernel.getScalars()) {}

  FailureOr<Ops> match() {
    auto isPaged = [&](unsigned argument) { return cast<ViewType>(kernel.getArgument(argument).getType()).getPaged(); };
    if (!Wiring(kernel).that(!isPaged(KernelOp::Q) && !isPaged(KernelOp::Out) && isPaged(KernelOp::K) == isPaged(KernelOp::V),
                             "expected k and v, or none, to be paged"))
      return failure();
    Reader reader(kernel, kernel.getBody().front());
    LoadOp loadQ;
    SoftmaxInitOp init;
    FillOp fill;
    if (!(ops.position = reader.take<PositionOp>()) || !(loadQ = reader.take<LoadOp>()) || !(init = reader.take<SoftmaxInitOp>()) ||
        !(fill = reader.take<FillOp>()) || !(ops.plan = reader.take<PlanOp>()))
      return failure();
    if (!(ops.split = reader.takeOptional<SplitOp>()) && !(ops.stream = reader.take<StreamOp>()))
      return failure();
    if (!checkLoad(loadQ, KernelOp::Q, ops.position.getH(), ops.position.getQ0()))
      return failure();
    if (loadQ.getResult().getType().getRows() != kernel.getConfig().getTileRows())
      return loadQ.emitError() << "not the normal form of a tile program: expected " << kernel.getConfig().getTileRows()
                               << " rows (config.tile_rows), got " << loadQ.getResult().getType();
    if (!Wiring(ops.plan).is("b", ops.plan.getB(), ops.position.getB()).is("h", ops.plan.getH(), ops.position.getH())
             .is("q0", ops.plan.getQ0(), ops.position.getQ0()).are("scalars", ops.plan.getScalars(), scalars))
      return failure();
    if (!checkZero(fill))
      return failure();
    Value initial[] = {init.getMax(), init.getSum(), fill.getResult()};
    if (ops.split ? !matchSplit(initial) : !checkLoop(ops.stream, ops.plan.getPlan(), initial))
      return failure();
    if (!matchBody(loadQ) || !matchEnd(reader))
      return failure();
    return ops;
  }

private:
  bool checkZero(FillOp fill) {
    return bool(Wiring(fill).that(fill.getValue().isZero() && !fill.getValue().isNegative(), "the accumulator starts at 0.0"));
  }

  template <typename OpT> bool checkLoop(OpT loop, Value plan, ValueRange initial) {
    return bool(Wiring(loop).is("plan", loop.getPlan(), plan).are("initial states", loop.getInits(), initial));
  }

  /// Each part from the neutral state, merged behind what came before.
  bool matchSplit(ValueRange initial) {
    if (!checkLoop(ops.split, ops.plan.getPlan(), initial))
      return false;
    Block &body = ops.split.getBody().front();
    Reader reader(ops.split, body);
    // Where common subexpressions were eliminated, the neutral state is the one outside.
    reader.takeOptional<SoftmaxInitOp>();
    reader.takeOptional<FillOp>();
    SoftmaxMergeOp merge;
    YieldOp yield;
    if (!(ops.stream = reader.take<StreamOp>()) || !(merge = reader.take<SoftmaxMergeOp>()) || !(yield = reader.take<YieldOp>()) ||
        !reader.atEnd())
      return false;
    OperandRange inits = ops.stream.getInits();
    auto neutral = inits.size() == 3 ? inits[0].getDefiningOp<SoftmaxInitOp>() : SoftmaxInitOp();
    auto zero = neutral ? inits[2].getDefiningOp<FillOp>() : FillOp();
    if (!Wiring(ops.stream).that(neutral && zero, "a part starts from tile.softmax_init and tile.fill"))
      return false;
    SmallVector<Value> merged(body.getArguments().drop_front());
    llvm::append_range(merged, ops.stream.getResults());
    return checkZero(zero) && checkLoop(ops.stream, body.getArgument(0), {neutral.getMax(), neutral.getSum(), zero.getResult()}) &&
           Wiring(merge).are("states", merge.getOperands(), merged) && Wiring(yield).are("states", yield.getValues(), merge.getResults());
  }

  bool checkLoad(LoadOp load, unsigned argument, Value head, Value row) {
    return bool(Wiring(load).is("view", load.getView(), kernel.getArgument(argument)).is("batch", load.getB(), ops.position.getB())
                    .is("head", load.getHead(), head).is("row", load.getRow(), row));
  }

  template <typename OpT> bool checkMap(OpT op, Value input, Value kv0) {
    return bool(Wiring(op).is("operand", op.getInput(), input).is("b", op.getB(), ops.position.getB()).is("h", op.getH(), ops.position.getH())
                    .is("q0", op.getQ0(), ops.position.getQ0()).is("kv0", op.getKv0(), kv0).are("captures", op.getCaptures(), captures)
                    .are("scalars", op.getScalars(), scalars));
  }

  bool matchBody(LoadOp loadQ) {
    Block &body = ops.stream.getBody().front();
    Value kv0 = body.getArgument(0), cols = body.getArgument(1), partial = body.getArgument(2);
    Value max = body.getArgument(3), sum = body.getArgument(4), acc = body.getArgument(5);
    Reader reader(ops.stream, body);
    auto loadK = reader.take<LoadOp>();
    if (!loadK || !checkLoad(loadK, KernelOp::K, ops.position.getKvHead(), kv0))
      return false;
    if (!Wiring(loadK).that(loadK.getResult().getType().getRows() == kernel.getConfig().getTileCols(), "expected config.tile_cols rows of k"))
      return false;
    auto qk = reader.take<DotOp>();
    if (!qk || !Wiring(qk).that(qk.getRole() == DotRole::QK && qk.getTransposeB() && qk.getScale() && !qk.getAcc(),
                                "expected a dot of role qk with a transposed k and a scale, and without accumulator")
                    .is("a", qk.getA(), loadQ.getResult()).is("b", qk.getB(), loadK.getResult())
                    .is("scale", qk.getScale(), kernel.getArgument(KernelOp::Scale)))
      return false;
    Value scores = qk.getResult();
    if ((ops.map = reader.takeOptional<MapOp>())) {
      if (!checkMap(ops.map, scores, kv0))
        return false;
      scores = ops.map.getResult();
    }
    if ((ops.mask = reader.takeOptional<MaskOp>())) {
      if (!checkMap(ops.mask, scores, kv0) || !Wiring(ops.mask).is("partial", ops.mask.getPartial(), partial))
        return false;
      scores = ops.mask.getResult();
    }
    auto step = reader.take<SoftmaxStepOp>();
    if (!step || !Wiring(step).is("max", step.getMax(), max).is("sum", step.getSum(), sum).is("scores", step.getScores(), scores)
                      .is("cols", step.getCols(), cols))
      return false;
    auto loadV = reader.take<LoadOp>();
    if (!loadV || !checkLoad(loadV, KernelOp::V, ops.position.getKvHead(), kv0))
      return false;
    auto scaled = reader.take<RowScaleOp>();
    if (!scaled || !Wiring(scaled).is("tile", scaled.getTile(), acc).is("factors", scaled.getFactors(), step.getAlpha()))
      return false;
    auto pv = reader.take<DotOp>();
    if (!pv || !Wiring(pv).that(pv.getRole() == DotRole::PV && !pv.getTransposeB() && !pv.getScale() && pv.getAcc(),
                                "expected a dot of role pv with an accumulator, without scale or transposition")
                    .is("a", pv.getA(), step.getProbs()).is("b", pv.getB(), loadV.getResult()).is("acc", pv.getAcc(), scaled.getResult()))
      return false;
    auto yield = reader.take<YieldOp>();
    return yield && reader.atEnd() &&
           Wiring(yield).are("states", yield.getValues(), {step.getNewMax(), step.getNewSum(), pv.getResult()});
  }

  bool matchEnd(Reader &reader) {
    auto finish = reader.take<SoftmaxFinishOp>();
    ResultRange states = ops.split ? ops.split.getResults() : ops.stream.getResults();
    if (!finish || !Wiring(finish).are("states", finish.getOperands(), states))
      return false;
    Value out = finish.getOut();
    if (auto cast = reader.takeOptional<CastOp>()) {
      if (!Wiring(cast).is("operand", cast.getInput(), out))
        return false;
      out = cast.getResult();
    }
    auto store = reader.take<StoreOp>();
    if (!store || !Wiring(store).is("tile", store.getTile(), out).is("view", store.getView(), kernel.getArgument(KernelOp::Out))
                       .are("position", {store.getB(), store.getHead(), store.getRow()}, tilePosition()))
      return false;
    for (auto [value, argument] : {std::pair<Value, unsigned>{finish.getLse(), KernelOp::Lse}, {finish.getRowMax(), KernelOp::Max}}) {
      auto row = reader.take<StoreRowOp>();
      if (!row || !Wiring(row).is("values", row.getValues(), value).is("view", row.getView(), kernel.getArgument(argument))
                       .are("position", {row.getB(), row.getHead(), row.getRow()}, tilePosition()))
        return false;
    }
    return reader.atEnd();
  }

  SmallVector<Value> tilePosition() { return {ops.position.getB(), ops.position.getH(), ops.position.getQ0()}; }

  KernelOp kernel;
  SmallVector<Value> captures, scalars;
  Ops ops;
};

} // namespace

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
  program.score = ops->map ? &ops->map.getBody() : nullptr;
  program.mask = ops->mask ? &ops->mask.getBody() : nullptr;
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
