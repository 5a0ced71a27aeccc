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
    for (Value optional : {op.getPages(), op.getLse(), op.getMax()})
      if (optional)
        roles.push_back(optional);
    for (auto [position, operand] : llvm::enumerate(op->getOperands())) {
      auto argument = dyn_cast<BlockArgument>(operand);
      if (!argument || argument.getOwner() != &function.getBody().front())
        return op.emitError() << "operand " << position << ": expected an argument of the function, which becomes an argument of the kernel";
    }
    for (ValueRange group : {ValueRange(op.getCaptures()), ValueRange(op.getScalars())})
      for (Value value : group)
        if (llvm::is_contained(roles, value))
          return op.emitError() << "a captured value is also an operand of attention; expected an argument of its own";
    for (BlockArgument argument : function.getArguments()) {
      if (llvm::is_contained(roles, argument))
        continue;
      Type type = argument.getType();
      if (isCaptured(type))
        captures.push_back(argument);
      else if (type.isInteger(1) || type.isInteger(32) || type.isInteger(64) || type.isF32() || type.isF64())
        scalars.push_back(argument);
      else
        return op.emitError() << "argument " << argument.getArgNumber() << " of the function: expected a memref or a number, got " << type;
    }
    return success();
  }

  KernelOp createKernel() {
    builder.setInsertionPoint(function);
    auto kernel = KernelOp::create(builder, loc, builder.getStringAttr(function.getSymName()), op.getConfigAttr(), namesAttr());
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
    for (Value capture : captures)
      types.push_back(
          tile::CaptureType::get(builder.getContext(), captureRank(capture.getType()), captureElementType(capture.getType())));
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
    SmallVector<Value> initial = buildInitialState();
    auto plan = tile::PlanOp::create(builder, loc, builder.getType<tile::PlanType>(), b, h, q0, kernel.getScalars());
    buildClosedForm(kernel, plan.getClosedForm());
    SmallVector<Value> state = splitKeys ? buildSplit(kernel, position, q, plan, initial) : buildStream(kernel, position, q, plan, initial);

    auto finish = tile::SoftmaxFinishOp::create(builder, loc, accType(), rowType(), rowType(), state[0], state[1], state[2]);
    Value out = finish.getOut();
    if (tileOf(kernel, KernelOp::Out, tileRows()) != accType())
      out = tile::CastOp::create(builder, loc, tileOf(kernel, KernelOp::Out, tileRows()), out);
    tile::StoreOp::create(builder, loc, out, kernel.getArgument(KernelOp::Out), b, h, q0);
    tile::StoreRowOp::create(builder, loc, finish.getLse(), kernel.getArgument(KernelOp::Lse), b, h, q0);
    tile::StoreRowOp::create(builder, loc, finish.getRowMax(), kernel.getArgument(KernelOp::Max), b, h, q0);
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
  SmallVector<Value> buildInitialState() {
    auto init = tile::SoftmaxInitOp::create(builder, loc, rowType(), rowType());
    Value zero = tile::FillOp::create(builder, loc, accType(), builder.getF64FloatAttr(0.0));
    return {init.getMax(), init.getSum(), zero};
  }

  /// Opens the body of a loop that carries `initial` behind arguments of its own.
  Block *openBody(Region &region, SmallVector<Type> types, ValueRange initial) {
    llvm::append_range(types, initial.getTypes());
    return builder.createBlock(&region, {}, types, SmallVector<Location>(types.size(), loc));
  }

  /// Parts of the keys, each from the neutral state, merged in order.
  SmallVector<Value> buildSplit(KernelOp kernel, tile::PositionOp position, Value q, Value plan, ValueRange initial) {
    auto split = tile::SplitOp::create(builder, loc, initial.getTypes(), plan, initial);
    OpBuilder::InsertionGuard guard(builder);
    Block *body = openBody(split.getBody(), {builder.getType<tile::PlanType>()}, initial);
    SmallVector<Value> part = buildStream(kernel, position, q, body->getArgument(0), buildInitialState());
    ValueRange before = body->getArguments().drop_front();
    auto merge = tile::SoftmaxMergeOp::create(builder, loc, rowType(), rowType(), accType(), before[0], before[1], before[2], part[0], part[1],
                                              part[2]);
    tile::YieldOp::create(builder, loc, merge.getResults());
    return SmallVector<Value>(split.getResults());
  }

  /// Online softmax over the blocks of keys of a plan.
  SmallVector<Value> buildStream(KernelOp kernel, tile::PositionOp position, Value q, Value plan, ValueRange initial) {
    Value b = position.getB(), h = position.getH(), kvHead = position.getKvHead(), q0 = position.getQ0();
    Type scoresType = tile::TileType::get(builder.getContext(), tileRows(), tileCols(), compute);
    auto stream = tile::StreamOp::create(builder, loc, initial.getTypes(), plan, initial);
    OpBuilder::InsertionGuard guard(builder);
    Block *body = openBody(stream.getBody(), {builder.getI64Type(), builder.getI64Type(), builder.getI1Type()}, initial);
    Value kv0 = body->getArgument(0), count = body->getArgument(1), partial = body->getArgument(2);
    Value max = body->getArgument(3), sum = body->getArgument(4), acc = body->getArgument(5);
    Value k = tile::LoadOp::create(builder, loc, tileOf(kernel, KernelOp::K, tileCols()), kernel.getArgument(KernelOp::K), b, kvHead, kv0);
    Value scores = tile::DotOp::create(builder, loc, scoresType, tile::DotRole::QK, q, k, /*transposeB=*/true,
                                       kernel.getArgument(KernelOp::Scale), Value());
    if (!op.getScore().empty()) {
      auto map = tile::MapOp::create(builder, loc, scoresType, scores, b, h, q0, kv0, kernel.getCaptures(), kernel.getScalars());
      cloneFormula(kernel, op.getScore(), map.getBody(), /*score=*/true);
      scores = map.getResult();
    }
    if (!op.getMask().empty()) {
      auto mask = tile::MaskOp::create(builder, loc, scoresType, scores, partial, b, h, q0, kv0, kernel.getCaptures(), kernel.getScalars());
      cloneFormula(kernel, op.getMask(), mask.getBody(), /*score=*/false);
      scores = mask.getResult();
    }
    auto step = tile::SoftmaxStepOp::create(builder, loc, rowType(), rowType(), scoresType, rowType(), max, sum, scores, count);
    Value v = tile::LoadOp::create(builder, loc, tileOf(kernel, KernelOp::V, tileCols()), kernel.getArgument(KernelOp::V), b, kvHead, kv0);
    Value scaled = tile::RowScaleOp::create(builder, loc, accType(), acc, step.getAlpha());
    Value next = tile::DotOp::create(builder, loc, accType(), tile::DotRole::PV, step.getProbs(), v, /*transposeB=*/false, Value(), scaled);
    tile::YieldOp::create(builder, loc, ValueRange{step.getNewMax(), step.getNewSum(), next});
    return SmallVector<Value>(stream.getResults());
  }

  /// Copies a region of attn.forward; its captures and scalars become those of the kernel.
  void cloneFormula(KernelOp kernel, Region &from, Region &to, bool score) {
    OpBuilder::InsertionGuard guard(builder);
    SmallVector<Type> types;
    if (score)
      types.push_back(compute);
    types.append(4, index);
    for (BlockArgument argument : kernel.getBody().getArguments().drop_front(KernelOp::FirstCapture))
      types.push_back(argument.getType());
    Block *block = builder.createBlock(&to, {}, types, SmallVector<Location>(types.size(), loc));
    IRMapping mapping;
    unsigned fixed = score ? 5 : 4;
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
    bool reads = llvm::any_of(op.getMask().front(), [](Operation &inner) { return isa<LoadOp>(inner); });
    if (op.getConfig().getCheckedIndices() && reads)
      return;
    // A foreign mask may use operations that no formula has: then it has no closed form, which is no error.
    ScopedDiagnosticHandler quiet(op.getContext(), [](Diagnostic &) { return success(); });
    FailureOr<expr::Formula> formula = exportFormula(op);
    if (failed(formula))
      return;
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
  bool splitKeys;
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
