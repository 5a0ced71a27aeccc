#include "attnjit-mlir/Conversion/AttnToTile/AttnToTile.h"

#include "Expr/Analysis.h"
#include "attnjit-mlir/Dialect/Tile/Tile.h"
#include "attnjit-mlir/Import/ExportFormula.h"
#include "attnjit-mlir/Import/ImportFormula.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/IRMapping.h"

#include <array>

using namespace mlir;

namespace attnjit::attn {

#define GEN_PASS_DECL_ATTNTOTILEPASS
#define GEN_PASS_DEF_ATTNTOTILEPASS
#include "attnjit-mlir/Conversion/AttnToTile/AttnToTile.h.inc"

namespace {

using tile::KernelOp;

class Lowering {
public:
  Lowering(ForwardOp op, func::FuncOp function, bool splitKeys)
      : op(op), function(function), splitKeys(splitKeys), builder(function), loc(op.getLoc()), compute(op.getComputeType()),
        index(op.getRegionIndexType()) {}

  FailureOr<KernelOp> run() {
    if (failed(checkFunction()) || failed(collectCaptured()))
      return failure();
    choosePasses();
    KernelOp kernel = createKernel();
    buildBody(kernel);
    function.erase();
    return kernel;
  }

private:
  LogicalResult checkFunction() {
    if (function.getBody().hasOneBlock() && llvm::hasSingleElement(function.getBody().front().without_terminator()) &&
        function.getFunctionType().getNumResults() == 0)
      return success();
    return op.emitError() << "expected the function to hold only this attn.forward and a return without values; outline it into a function "
                             "of its own first";
  }

  /// Sorts the function's arguments into roles, captures and scalars.
  LogicalResult collectCaptured() {
    SmallVector<Value> roles{op.getQ(), op.getK(), op.getV(), op.getOut(), op.getScale()};
    for (Value optional : {op.getPages(), op.getLse(), op.getMax(), op.getSinks()})
      if (optional)
        roles.push_back(optional);
    for (auto [position, operand] : llvm::enumerate(op->getOperands())) {
      auto argument = dyn_cast<BlockArgument>(operand);
      if (!argument || argument.getOwner() != &function.getBody().front())
        return op.emitError() << "operand " << position
                              << ": expected an argument of the function, which becomes an argument of the kernel";
    }
    for (ValueRange group : {ValueRange(op.getCaptures()), ValueRange(op.getScalars())})
      for (Value value : group)
        if (llvm::is_contained(roles, value))
          return op.emitError() << "a captured value is also an operand of attention; expected an argument of its own";
    for (BlockArgument argument : function.getArguments()) {
      if (llvm::is_contained(roles, argument))
        continue;
      Type type = argument.getType();
      if (isCaptured(type) && !isa<TensorType>(type))
        captures.push_back(argument);
      else if (type.isInteger(1) || type.isInteger(32) || type.isInteger(64) || type.isF32() || type.isF64())
        scalars.push_back(argument);
      else
        return op.emitError() << "argument " << argument.getArgNumber() << " of the function: expected a memref or a number, got " << type;
    }
    return success();
  }

  /// A prob_mod that is proportional to p may be applied to any multiple of p, so it stands in the one stream (A13). A foreign one that no
  /// formula can express is taken for one that is not.
  void choosePasses() {
    if (op.getProb().empty())
      return;
    FailureOr<expr::Formula> formula = exportQuietly();
    isTwoPass = failed(formula) || !expr::isHomogeneous(formula->prob);
  }

  /// The formula, or failure without a word: a foreign region may use operations that no formula has.
  FailureOr<expr::Formula> exportQuietly() {
    ScopedDiagnosticHandler quiet(op.getContext(), [](Diagnostic &) { return success(); });
    return exportFormula(op);
  }

  KernelOp createKernel() {
    builder.setInsertionPoint(function);
    auto kernel = KernelOp::create(builder, loc, builder.getStringAttr(function.getSymName()), op.getConfigAttr(), namesAttr(),
                                   /*schedule=*/Attribute());
    SmallVector<Type> types;
    bool contiguous = op.isContiguous();
    for (Value operand : {op.getQ(), op.getK(), op.getV(), op.getOut()}) {
      auto memref = cast<MemRefType>(operand.getType());
      // A12: the last stride of the output is 1; a foreign output with another one keeps its class.
      bool unit = operand == op.getOut() ? hasUnitStride(memref) : contiguous;
      bool paged = op.getPages() && (operand == op.getK() || operand == op.getV());
      types.push_back(tile::ViewType::get(builder.getContext(), memref.getDimSize(3), memref.getElementType(), unit, paged));
    }
    types.append(2, tile::ViewType::get(builder.getContext(), 0, compute, true));
    types.push_back(compute);
    if (op.getSinks())
      types.push_back(tile::ViewType::get(builder.getContext(), 0, op.getSinks().getType().getElementType(), true));
    for (Value capture : captures)
      types.push_back(tile::CaptureType::get(builder.getContext(), captureRank(capture.getType()), captureElementType(capture.getType())));
    for (Value scalar : scalars)
      types.push_back(scalarRegionType(scalar.getType(), compute, index));
    Block *body = builder.createBlock(&kernel.getBody(), {}, types, SmallVector<Location>(types.size(), loc));
    builder.setInsertionPointToStart(body);
    return kernel;
  }

  static bool hasUnitStride(MemRefType type) {
    SmallVector<int64_t> strides;
    int64_t offset;
    return succeeded(type.getStridesAndOffset(strides, offset)) && strides.back() == 1;
  }

  /// Names of captures and scalars; empty for what the formula does not use.
  ArrayAttr namesAttr() {
    if (!op.getNames())
      return {};
    SmallVector<Value> named(op.getCaptures());
    llvm::append_range(named, op.getScalars());
    SmallVector<Attribute> names;
    for (ArrayRef<Value> group : {ArrayRef<Value>(captures), ArrayRef<Value>(scalars)})
      for (Value value : group) {
        auto *it = llvm::find(named, value);
        names.push_back(it == named.end() ? Attribute(builder.getStringAttr("")) : (*op.getNames())[it - named.begin()]);
      }
    return builder.getArrayAttr(names);
  }

  /// The normal form (TileProgram.cpp reads it back): position, state, plan, the loop over keys, results.
  void buildBody(KernelOp kernel) {
    auto position = tile::PositionOp::create(builder, loc);
    Value b = position.getB(), h = position.getH(), q0 = position.getQ0();
    Value q = tile::LoadOp::create(builder, loc, tileOf(kernel, KernelOp::Q, tileRows()), kernel.getArgument(KernelOp::Q), b, h, q0);
    SmallVector<Value> initial = buildNothing();
    auto plan = tile::PlanOp::create(builder, loc, builder.getType<tile::PlanType>(), b, h, q0, kernel.getScalars());
    buildClosedForm(kernel, plan.getClosedForm());
    Results results = isTwoPass ? buildTwoPasses(kernel, position, q, plan, initial) : buildOnePass(kernel, position, q, plan, initial);
    Value out = results.out;
    if (tileOf(kernel, KernelOp::Out, tileRows()) != accType())
      out = tile::CastOp::create(builder, loc, tileOf(kernel, KernelOp::Out, tileRows()), out);
    tile::StoreOp::create(builder, loc, out, kernel.getArgument(KernelOp::Out), b, h, q0);
    tile::StoreRowOp::create(builder, loc, results.lse, kernel.getArgument(KernelOp::Lse), b, h, q0);
    tile::StoreRowOp::create(builder, loc, results.max, kernel.getArgument(KernelOp::Max), b, h, q0);
  }

  /// What softmax and the product with v leave, before it is stored.
  struct Results {
    Value out, lse, max;
  };

  Results buildOnePass(KernelOp kernel, tile::PositionOp position, Value q, Value plan, ValueRange initial) {
    auto stream = [&](Value keys, ValueRange from) {
      return buildLoop<tile::StreamOp>(keys, from, keyArguments(), [&](Block &body) -> SmallVector<Value> {
        Value scores = buildScores(kernel, position, q, body);
        tile::SoftmaxStepOp step = buildStep(body, scores);
        Value next = buildPv(kernel, position, body, scores, step.getProbs(), [&]() -> Value {
          return tile::RowScaleOp::create(builder, loc, accType(), body.getArgument(5), step.getAlpha());
        });
        return {step.getNewMax(), step.getNewSum(), next};
      });
    };
    auto merge = [&](ValueRange before, ValueRange part) { return mergeStates(before, part); };
    SmallVector<Value> state = buildWalk(plan, initial, [&] { return buildNothing(); }, stream, merge);
    auto finish = tile::SoftmaxFinishOp::create(builder, loc, accType(), rowType(), rowType(), state[0], state[1], state[2],
                                                buildSinks(kernel, position));
    return {finish.getOut(), finish.getLse(), finish.getRowMax()};
  }

  /// The state first, then the output from the p that it normalises.
  Results buildTwoPasses(KernelOp kernel, tile::PositionOp position, Value q, Value plan, ValueRange initial) {
    auto stateStream = [&](Value keys, ValueRange from) {
      return buildLoop<tile::StreamOp>(keys, from, keyArguments(), [&](Block &body) -> SmallVector<Value> {
        Value scores = buildScores(kernel, position, q, body);
        tile::SoftmaxStepOp step = buildStep(body, scores);
        return {step.getNewMax(), step.getNewSum()};
      });
    };
    auto merge = [&](ValueRange before, ValueRange part) { return mergeStates(before, part); };
    SmallVector<Value> state = buildWalk(plan, initial.take_front(2), [&] { return buildNoState(); }, stateStream, merge);
    auto norm = tile::SoftmaxNormOp::create(builder, loc, rowType(), rowType(), state[0], state[1], buildSinks(kernel, position));
    auto outputStream = [&](Value keys, ValueRange from) {
      return buildLoop<tile::StreamOp>(keys, from, keyArguments(), [&](Block &body) -> SmallVector<Value> {
        Value scores = buildScores(kernel, position, q, body);
        Value probs = tile::SoftmaxProbsOp::create(builder, loc, scoresType(), scores, state[0], norm.getFactor(), body.getArgument(1));
        return {buildPv(kernel, position, body, scores, probs, [&] { return body.getArgument(3); })};
      });
    };
    auto add = [&](ValueRange before, ValueRange part) -> SmallVector<Value> {
      return {tile::AddOp::create(builder, loc, accType(), before[0], part[0])};
    };
    SmallVector<Value> out =
        buildWalk(plan, initial.drop_front(2), [&]() -> SmallVector<Value> { return {buildZero()}; }, outputStream, add);
    return {out[0], norm.getLse(), state[0]};
  }

  /// The sinks of the tile's rows; null if there are none.
  Value buildSinks(KernelOp kernel, tile::PositionOp position) {
    if (!kernel.getSinks())
      return nullptr;
    return tile::LoadRowOp::create(builder, loc, rowType(), kernel.getSinks(), position.getB(), position.getH(), position.getQ0());
  }

  int64_t tileRows() { return op.getConfig().getTileRows(); }
  int64_t tileCols() { return op.getConfig().getTileCols(); }
  tile::TileType tileOf(KernelOp kernel, unsigned argument, int64_t height) {
    auto view = cast<tile::ViewType>(kernel.getArgument(argument).getType());
    return tile::TileType::get(builder.getContext(), height, view.getCols(), view.getElementType());
  }
  Type rowType() { return tile::RowType::get(builder.getContext(), tileRows(), compute); }
  Type accType() { return tile::TileType::get(builder.getContext(), tileRows(), op.getValueDim(), compute); }

  /// Before any key: maximum, sum, accumulator.
  SmallVector<Value> buildNothing() {
    SmallVector<Value> state = buildNoState();
    state.push_back(buildZero());
    return state;
  }
  SmallVector<Value> buildNoState() {
    auto init = tile::SoftmaxInitOp::create(builder, loc, rowType(), rowType());
    return {init.getMax(), init.getSum()};
  }
  Value buildZero() { return tile::FillOp::create(builder, loc, accType(), builder.getF64FloatAttr(0.0)); }

  /// A loop over `plan` that carries `initial` behind body arguments of its own; `build` fills the body and answers the next state.
  template <typename LoopOp>
  SmallVector<Value> buildLoop(Value plan, ValueRange initial, SmallVector<Type> types,
                               llvm::function_ref<SmallVector<Value>(Block &)> build) {
    auto loop = LoopOp::create(builder, loc, initial.getTypes(), plan, initial);
    OpBuilder::InsertionGuard guard(builder);
    llvm::append_range(types, initial.getTypes());
    Block *body = builder.createBlock(&loop.getBody(), {}, types, SmallVector<Location>(types.size(), loc));
    SmallVector<Value> next = build(*body);
    tile::YieldOp::create(builder, loc, next);
    return SmallVector<Value>(loop.getResults());
  }

  /// First key, number of keys, partial.
  SmallVector<Type> keyArguments() { return {builder.getI64Type(), builder.getI64Type(), builder.getI1Type()}; }

  /// A stream over the plan from `initial`; or parts of the keys, each from nothing, merged in order behind what came before.
  SmallVector<Value> buildWalk(Value plan, ValueRange initial, llvm::function_ref<SmallVector<Value>()> nothing,
                               llvm::function_ref<SmallVector<Value>(Value keys, ValueRange from)> stream,
                               llvm::function_ref<SmallVector<Value>(ValueRange before, ValueRange part)> merge) {
    if (!splitKeys)
      return stream(plan, initial);
    return buildLoop<tile::SplitOp>(plan, initial, {builder.getType<tile::PlanType>()}, [&](Block &body) -> SmallVector<Value> {
      SmallVector<Value> part = stream(body.getArgument(0), nothing());
      return merge(body.getArguments().drop_front(), part);
    });
  }

  /// Merges states with or without accumulators.
  SmallVector<Value> mergeStates(ValueRange before, ValueRange part) {
    bool hasAcc = part.size() == 3;
    auto acc = [&](ValueRange state) { return hasAcc ? state[2] : Value(); };
    auto merge = tile::SoftmaxMergeOp::create(builder, loc, rowType(), rowType(), hasAcc ? accType() : Type(), before[0], before[1],
                                              acc(before), part[0], part[1], acc(part));
    return SmallVector<Value>(merge->getResults());
  }

  Type scoresType() { return tile::TileType::get(builder.getContext(), tileRows(), tileCols(), compute); }

  /// The scores of a block of keys (A1 to A3).
  Value buildScores(KernelOp kernel, tile::PositionOp position, Value q, Block &body) {
    Value b = position.getB(), h = position.getH(), q0 = position.getQ0(), kv0 = body.getArgument(0), partial = body.getArgument(2);
    Value k = tile::LoadOp::create(builder, loc, tileOf(kernel, KernelOp::K, tileCols()), kernel.getArgument(KernelOp::K), b,
                                   position.getKvHead(), kv0);
    Value scores = tile::DotOp::create(builder, loc, scoresType(), tile::DotRole::QK, q, k, /*transposeB=*/true,
                                       kernel.getArgument(KernelOp::Scale), Value());
    if (!op.getScore().empty()) {
      auto map = tile::MapOp::create(builder, loc, scoresType(), scores, b, h, q0, kv0, kernel.getCaptures(), kernel.getScalars());
      cloneFormula(kernel, op.getScore(), map.getBody());
      scores = map.getResult();
    }
    if (!op.getMask().empty()) {
      auto mask =
          tile::MaskOp::create(builder, loc, scoresType(), scores, partial, b, h, q0, kv0, kernel.getCaptures(), kernel.getScalars());
      cloneFormula(kernel, op.getMask(), mask.getBody());
      scores = mask.getResult();
    }
    return scores;
  }

  tile::SoftmaxStepOp buildStep(Block &body, Value scores) {
    return tile::SoftmaxStepOp::create(builder, loc, rowType(), rowType(), scoresType(), rowType(), body.getArgument(3),
                                       body.getArgument(4), scores, body.getArgument(1));
  }

  /// prob_mod, and the product with v onto what `accumulator` makes of the accumulator so far.
  Value buildPv(KernelOp kernel, tile::PositionOp position, Block &body, Value scores, Value probs,
                llvm::function_ref<Value()> accumulator) {
    Value b = position.getB(), kv0 = body.getArgument(0);
    if (!op.getProb().empty()) {
      auto prob = tile::ProbOp::create(builder, loc, scoresType(), probs, scores, b, position.getH(), position.getQ0(), kv0,
                                       kernel.getCaptures(), kernel.getScalars());
      cloneFormula(kernel, op.getProb(), prob.getBody());
      probs = prob.getResult();
    }
    Value v = tile::LoadOp::create(builder, loc, tileOf(kernel, KernelOp::V, tileCols()), kernel.getArgument(KernelOp::V), b,
                                   position.getKvHead(), kv0);
    Value acc = accumulator();
    return tile::DotOp::create(builder, loc, accType(), tile::DotRole::PV, probs, v, /*transposeB=*/false, Value(), acc);
  }

  /// Copies a region of attn.forward; its captures and scalars become those of the kernel.
  void cloneFormula(KernelOp kernel, Region &from, Region &to) {
    OpBuilder::InsertionGuard guard(builder);
    unsigned fixed = op.getFixedArguments(from);
    SmallVector<Type> types(from.getArgumentTypes().begin(), from.getArgumentTypes().begin() + fixed);
    for (BlockArgument argument : kernel.getBody().getArguments().drop_front(kernel.getFirstCapture()))
      types.push_back(argument.getType());
    Block *block = builder.createBlock(&to, {}, types, SmallVector<Location>(types.size(), loc));
    IRMapping mapping;
    for (unsigned i = 0; i < fixed; ++i)
      mapping.map(from.getArgument(i), block->getArgument(i));
    SmallVector<Value> used(op.getCaptures());
    llvm::append_range(used, op.getScalars());
    for (auto [i, value] : llvm::enumerate(used))
      mapping.map(from.getArgument(fixed + i), block->getArgument(fixed + kernelPosition(value)));
    for (Operation &inner : from.front().without_terminator())
      builder.clone(inner, mapping);
    Value result = cast<YieldOp>(from.front().getTerminator()).getValue();
    tile::YieldOp::create(builder, loc, mapping.lookupOrDefault(result));
  }

  /// Place of a capture or scalar among the kernel's captures and scalars.
  unsigned kernelPosition(Value value) const {
    auto *capture = llvm::find(captures, value);
    if (capture != captures.end())
      return capture - captures.begin();
    return captures.size() + (llvm::find(scalars, value) - scalars.begin());
  }

  void buildClosedForm(KernelOp kernel, Region &region) {
    if (op.getMask().empty())
      return;
    bool reads = op.getMask().walk([](LoadOp) { return WalkResult::interrupt(); }).wasInterrupted();
    if (op.getConfig().getCheckedIndices() && reads)
      return;
    FailureOr<expr::Formula> formula = exportQuietly();
    if (failed(formula))
      return; // no closed form, which is no error
    expr::ClosedForm closed = expr::closedForm(*formula);
    if (!closed.useful)
      return;

    OpBuilder::InsertionGuard guard(builder);
    SmallVector<Type> types(6, index);
    SmallVector<Value> kernelScalars = kernel.getScalars();
    for (Value scalar : kernelScalars)
      types.push_back(scalar.getType());
    Block *block = builder.createBlock(&region, {}, types, SmallVector<Location>(types.size(), loc));
    // Bounds are evaluated once per block of keys: 64 bits cost nothing here, and nothing has to be proved.
    llvm::DenseMap<unsigned, Value> wide;
    auto leaf = [&](const expr::Node &node) -> Value {
      unsigned argument = node.op == expr::Op::Param ? node.imm.i : 6 + kernelPosition(op.getScalars()[node.imm.i]) - captures.size();
      Value value = block->getArgument(argument);
      if (!value.getType().isInteger(32))
        return value;
      Value &slot = wide[argument];
      if (!slot)
        slot = arith::ExtSIOp::create(builder, loc, builder.getI64Type(), value);
      return slot;
    };
    std::array<expr::ValueId, 2> roots{closed.mayBeTrue, closed.mayBeFalse};
    SmallVector<Value> results = emitNodes(builder, loc, closed.nodes, roots, {compute, leaf, {}, {}});
    tile::YieldOp::create(builder, loc, results);
  }

  ForwardOp op;
  func::FuncOp function;
  bool splitKeys, isTwoPass = false;
  OpBuilder builder;
  Location loc;
  Type compute, index;
  SmallVector<Value> captures, scalars; ///< of the function, in its order
};

struct AttnToTilePass : impl::AttnToTilePassBase<AttnToTilePass> {
  using AttnToTilePassBase::AttnToTilePassBase;

  void runOnOperation() override {
    SmallVector<ForwardOp> ops;
    getOperation().walk([&](ForwardOp op) { ops.push_back(op); });
    for (ForwardOp op : ops)
      if (failed(lowerToTile(op, splitKeys)))
        return signalPassFailure();
  }
};

} // namespace

FailureOr<KernelOp> lowerToTile(ForwardOp op, bool splitKeys) {
  auto function = dyn_cast<func::FuncOp>(op->getParentOp());
  if (!function)
    return op.emitError() << "expected attn.forward directly in a func.func, got '" << op->getParentOp()->getName() << "'";
  return Lowering(op, function, splitKeys).run();
}

void registerAttnToTilePass() {
  registerPass([] { return createAttnToTilePass(); });
}

} // namespace attnjit::attn
