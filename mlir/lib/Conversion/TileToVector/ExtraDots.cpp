#include "ExtraDots.h"

#include "Emitter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace attnjit::tile {
namespace {

/// Places of the arguments of score_mod.
enum Argument : unsigned { Score, B, H, Q, Kv };

/// A factor of a product, or a divisor.
struct Factor {
  Value value;
  bool divides = false;
};

class Finder {
public:
  explicit Finder(const TileProgram &program) : body(program.score->front()) {
    for (unsigned argument : {Score, Q, Kv})
      depends[body.getArgument(argument)] = 1u << argument;
    visit(body);
  }

  SmallVector<ExtraDot> run() {
    SmallVector<ExtraDot> dots;
    for (auto sum : body.getOps<attn::ReduceOp>()) {
      SmallVector<Factor> query, key;
      if (dots.size() == kMostDots || !split(sum, query, key))
        continue;
      ExtraDot dot;
      dot.sum = sum;
      bool isNegated = false;
      dot.isWholeMap = readAddedTo(sum, query, isNegated);
      dot.querySide = extract(sum, query, isNegated, /*isQuery=*/true);
      dot.keySide = extract(sum, key, false, /*isQuery=*/false);
      dot.length = extract(sum, {{sum.getLength()}}, false, /*isQuery=*/true);
      dots.push_back(std::move(dot));
    }
    return dots;
  }

private:
  static constexpr unsigned kScore = 1u << Score, kQ = 1u << Q, kKv = 1u << Kv;

  unsigned dependence(Value value) const { return depends.lookup(value); }

  /// What everything in a block moves with; answers that of all of it.
  unsigned visit(Block &block) {
    unsigned all = 0;
    for (Operation &op : block) {
      unsigned own = 0;
      for (Value operand : op.getOperands())
        own |= dependence(operand);
      for (Region &region : op.getRegions())
        own |= visit(region.front());
      for (Value result : op.getResults())
        depends[result] = own;
      all |= own;
    }
    return all;
  }

  static void flatten(Value value, SmallVectorImpl<Factor> &factors) {
    if (auto product = value.getDefiningOp<arith::MulFOp>()) {
      flatten(product.getLhs(), factors);
      flatten(product.getRhs(), factors);
      return;
    }
    if (auto quotient = value.getDefiningOp<arith::DivFOp>()) {
      flatten(quotient.getLhs(), factors);
      factors.push_back({quotient.getRhs(), true});
      return;
    }
    factors.push_back({value});
  }

  /// The factors of what is summed up, by side; false where one needs both sides, or the score, or where there is one side only.
  bool split(attn::ReduceOp sum, SmallVector<Factor> &query, SmallVector<Factor> &key) {
    if (sum.getKind() != attn::ReduceKind::Sum || !isa<FloatType>(sum.getResult().getType()))
      return false;
    SmallVector<Factor> factors;
    flatten(sum.getBody().front().getTerminator()->getOperand(0), factors);
    unsigned seen = 0;
    for (const Factor &factor : factors) {
      unsigned of = dependence(factor.value);
      if ((of & kScore) || (of & (kQ | kKv)) == (kQ | kKv))
        return false;
      (of & kKv ? key : query).push_back(factor);
      seen |= of;
    }
    return (seen & kQ) && (seen & kKv);
  }

  /// Whether score_mod yields score + sum * factors (or minus), the factors moving with the query at most: they join those of the query
  /// side.
  bool readAddedTo(attn::ReduceOp sum, SmallVector<Factor> &query, bool &isNegated) {
    Operation *last = body.getTerminator()->getOperand(0).getDefiningOp();
    Value score = body.getArgument(Score);
    if (!last || !isa<arith::AddFOp, arith::SubFOp>(last) || !score.hasOneUse() || !sum.getResult().hasOneUse())
      return false;
    bool scoreIsFirst = last->getOperand(0) == score;
    if (!scoreIsFirst && (isa<arith::SubFOp>(last) || last->getOperand(1) != score))
      return false;
    SmallVector<Factor> factors, others;
    flatten(last->getOperand(scoreIsFirst ? 1 : 0), factors);
    unsigned sums = 0;
    for (const Factor &factor : factors) {
      if (factor.value == sum.getResult() && !factor.divides)
        ++sums;
      else if (dependence(factor.value) & (kScore | kKv))
        return false;
      else
        others.push_back(factor);
    }
    if (sums != 1)
      return false;
    llvm::append_range(query, others);
    isNegated = isa<arith::SubFOp>(last);
    return true;
  }

  /// All operations that `factors` need.
  llvm::SmallSetVector<Operation *, 16> slice(ArrayRef<Factor> factors) {
    llvm::SmallSetVector<Operation *, 16> needed;
    SmallVector<Value> open;
    for (const Factor &factor : factors)
      open.push_back(factor.value);
    while (!open.empty()) {
      Operation *op = open.pop_back_val().getDefiningOp();
      if (!op || !needed.insert(op))
        continue;
      op->walk([&](Operation *inner) { llvm::append_range(open, inner->getOperands()); });
    }
    return needed;
  }

  /// The product of `factors` as a formula of its own.
  std::unique_ptr<Region> extract(attn::ReduceOp sum, ArrayRef<Factor> factors, bool isNegated, bool isQuery) {
    OpBuilder builder(sum.getContext());
    Location loc = sum.getLoc();
    auto region = std::make_unique<Region>();
    SmallVector<Type> types = llvm::to_vector(llvm::drop_begin(body.getArgumentTypes()));
    Block *block = builder.createBlock(region.get(), {}, types, SmallVector<Location>(types.size(), loc));
    IRMapping mapping;
    for (BlockArgument argument : body.getArguments().drop_front())
      mapping.map(argument, block->getArgument(argument.getArgNumber() - 1));
    Value index = block->getArgument((isQuery ? Kv : Q) - 1);
    Type type = sum.getLength().getType();
    if (type.isInteger(64) && index.getType().isInteger(32))
      index = arith::ExtSIOp::create(builder, loc, type, index);
    else if (type.isInteger(32) && index.getType().isInteger(64))
      index = arith::TruncIOp::create(builder, loc, type, index);
    mapping.map(sum.getBody().getArgument(0), index);

    llvm::SmallSetVector<Operation *, 16> needed = slice(factors);
    for (Block *from : {&body, &sum.getBody().front()})
      for (Operation &op : from->without_terminator())
        if (needed.contains(&op))
          builder.clone(op, mapping);
    Value product;
    for (const Factor &factor : factors) {
      Value value = mapping.lookup(factor.value);
      if (factor.divides)
        product = arith::DivFOp::create(builder, loc, product ? product : one(builder, loc, value.getType()), value);
      else
        product = product ? Value(arith::MulFOp::create(builder, loc, product, value)) : value;
    }
    if (isNegated)
      product = arith::NegFOp::create(builder, loc, product);
    attn::YieldOp::create(builder, loc, product);
    return region;
  }

  static Value one(OpBuilder &builder, Location loc, Type type) {
    return arith::ConstantOp::create(builder, loc, builder.getFloatAttr(type, 1.0));
  }

  Block &body;
  DenseMap<Value, unsigned> depends; ///< a bit per argument; 0 = on none of score, q, kv
};

} // namespace

SmallVector<ExtraDot> findExtraDots(const TileProgram &program) {
  if (!program.score || program.checkedIndices)
    return {};
  return Finder(program).run();
}

//===------------------------------------------------------------------------------------------------------------------===//
// Packing
//===------------------------------------------------------------------------------------------------------------------===//

PackedDot::PackedDot(OpBuilder &builder, const TileProgram &program, AbiAccess &abi, int64_t lanes, ExtraDot extra)
    : dot(std::move(extra)), key(builder, program.kernel->getLoc(), program, *dot.keySide, abi, lanes), builder(builder),
      loc(program.kernel->getLoc()), lanes(lanes), compute(program.computeType), index(program.indexType) {}

Value PackedDot::bindLength(const TileProgram &program, AbiAccess &abi) {
  Emitter emit(builder, loc);
  MapExpander expander(builder, loc, program, *dot.length, abi, lanes);
  expander.bindHeads(emit.index(0), emit.index(0));
  length = emit.maxS(emit.toInt(emit.i64(), expander.expand(nullptr).value), emit.index(0));
  stride = emit.alignedTo(length, lanes);
  return emit.cmp(Emitter::CmpI::sle, length, emit.index(kMostDotLength));
}

void PackedDot::packKeys(Value first, Value count, Value target) {
  Emitter emit(builder, loc);
  emit.loop(emit.index(0), count, emit.index(1), [&](Value row) {
    key.bindKey(emit.toInt(index, emit.add(first, row)));
    packRow(emit.at(target, compute, emit.mul(row, stride)), [&](Value r, MapExpander::Lanes inLanes) {
      key.bindQuery(r, inLanes);
      return key.splat(key.expand(nullptr).value);
    });
  });
}

void PackedDot::packRow(Value target, llvm::function_ref<Value(Value r, MapExpander::Lanes inLanes)> elements) {
  Emitter emit(builder, loc);
  auto lanesFrom = [&](Value column) { return emit.add(emit.splat(emit.toInt(index, column), lanes), emit.iota(emit.vec(lanes, index))); };
  Value whole = emit.bitAnd(length, emit.index(-lanes));
  emit.loop(emit.index(0), whole, emit.index(lanes),
            [&](Value column) { emit.store(elements(lanesFrom(column), MapExpander::Lanes::Counting), emit.at(target, compute, column)); });
  emit.ifThen(emit.cmp(Emitter::CmpI::ne, whole, length), [&] {
    Value all = lanesFrom(whole), end = emit.splat(emit.toInt(index, length), lanes);
    Value value = elements(emit.minS(all, emit.sub(end, 1)), MapExpander::Lanes::Any), zero = emit.constFloat(value.getType(), 0.0);
    emit.store(emit.select(emit.cmp(Emitter::CmpI::slt, all, end), value, zero), emit.at(target, compute, whole));
  });
}

} // namespace attnjit::tile
