// One scalar op -> one or a few expr nodes.
#include "attnjit-mlir/Import/ExportFormula.h"

#include "attnjit-mlir/Import/ImportFormula.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/TypeSwitch.h"

#include <charconv>
#include <cmath>
#include <optional>

using namespace mlir;

namespace attnjit::attn {
namespace {

using expr::Kind;
using expr::Node;
using expr::Op;
using expr::ValueId;

Kind kindOf(Type type) { return isa<FloatType>(type) ? Kind::Float : type.isInteger(1) ? Kind::Bool : Kind::Int; }

/// Ops that are one node with the same operands, whatever their type.
std::optional<Op> directOp(Operation *op) {
  return llvm::TypeSwitch<Operation *, std::optional<Op>>(op)
      .Case<arith::AddFOp, arith::AddIOp>([](auto) { return Op::Add; })
      .Case<arith::SubFOp>([](auto) { return Op::Sub; })
      .Case<arith::MulFOp, arith::MulIOp>([](auto) { return Op::Mul; })
      .Case<arith::DivFOp>([](auto) { return Op::Div; })
      .Case<arith::MinimumFOp, arith::MinSIOp>([](auto) { return Op::Min; })
      .Case<arith::MaximumFOp, arith::MaxSIOp>([](auto) { return Op::Max; })
      .Case<arith::RemFOp>([](auto) { return Op::Rem; })
      .Case<arith::FloorDivSIOp>([](auto) { return Op::FloorDiv; })
      .Case<arith::NegFOp>([](auto) { return Op::Neg; })
      .Case<math::AbsFOp, math::AbsIOp>([](auto) { return Op::Abs; })
      .Case<arith::ShLIOp>([](auto) { return Op::Shl; })
      .Case<arith::ShRSIOp>([](auto) { return Op::Shr; })
      .Case<arith::SelectOp>([](auto) { return Op::Select; })
      .Case<arith::SIToFPOp>([](auto) { return Op::ToFloat; })
      .Case<arith::FPToSIOp>([](auto) { return Op::ToInt; })
      .Case<math::IsNaNOp>([](auto) { return Op::IsNan; })
      .Case<math::IsInfOp>([](auto) { return Op::IsInf; })
      .Case<math::FloorOp>([](auto) { return Op::Floor; })
      .Case<math::CeilOp>([](auto) { return Op::Ceil; })
      .Case<math::RoundEvenOp>([](auto) { return Op::Round; })
      .Case<math::TruncOp>([](auto) { return Op::Trunc; })
      .Case<math::SqrtOp>([](auto) { return Op::Sqrt; })
      .Case<math::RsqrtOp>([](auto) { return Op::Rsqrt; })
      .Case<math::ExpOp>([](auto) { return Op::Exp; })
      .Case<math::Exp2Op>([](auto) { return Op::Exp2; })
      .Case<math::ExpM1Op>([](auto) { return Op::Expm1; })
      .Case<math::LogOp>([](auto) { return Op::Log; })
      .Case<math::Log2Op>([](auto) { return Op::Log2; })
      .Case<math::Log10Op>([](auto) { return Op::Log10; })
      .Case<math::Log1pOp>([](auto) { return Op::Log1p; })
      .Case<math::SinOp>([](auto) { return Op::Sin; })
      .Case<math::CosOp>([](auto) { return Op::Cos; })
      .Case<math::TanOp>([](auto) { return Op::Tan; })
      .Case<math::AsinOp>([](auto) { return Op::Asin; })
      .Case<math::AcosOp>([](auto) { return Op::Acos; })
      .Case<math::AtanOp>([](auto) { return Op::Atan; })
      .Case<math::Atan2Op>([](auto) { return Op::Atan2; })
      .Case<math::SinhOp>([](auto) { return Op::Sinh; })
      .Case<math::CoshOp>([](auto) { return Op::Cosh; })
      .Case<math::TanhOp>([](auto) { return Op::Tanh; })
      .Case<math::AsinhOp>([](auto) { return Op::Asinh; })
      .Case<math::AcoshOp>([](auto) { return Op::Acosh; })
      .Case<math::AtanhOp>([](auto) { return Op::Atanh; })
      .Case<math::ErfOp>([](auto) { return Op::Erf; })
      .Case<math::ErfcOp>([](auto) { return Op::Erfc; })
      .Case<math::PowFOp>([](auto) { return Op::Pow; })
      .Default([](auto) { return std::nullopt; });
}

Op pointwiseOp(PointwiseKind kind) {
  switch (kind) {
  case PointwiseKind::FloorDiv:
    return Op::FloorDiv;
  case PointwiseKind::FloorMod:
    return Op::FloorMod;
  case PointwiseKind::Rem:
    return Op::Rem;
  case PointwiseKind::Pow:
    return Op::Pow;
  case PointwiseKind::Sign:
    return Op::Sign;
  case PointwiseKind::Shl:
    return Op::Shl;
  case PointwiseKind::Shr:
    return Op::Shr;
  case PointwiseKind::Hypot:
    return Op::Hypot;
  case PointwiseKind::ToInt:
    return Op::ToInt;
  case PointwiseKind::Rand:
    return Op::Rand;
  case PointwiseKind::RandInt:
    return Op::RandInt;
  }
  llvm_unreachable("kind");
}

/// The number that was written for a constant. An f32 stands for the shortest decimal that rounds to it: 0.1 comes back as 0.1 and not as
/// 0.10000000149011612, so that a formula hashes alike before and after; as an f32 both are the same.
double literal(FloatAttr attribute) {
  double value = attribute.getValueAsDouble();
  if (!attribute.getType().isF32() || !std::isfinite(value))
    return value;
  char buffer[32];
  char *end = std::to_chars(buffer, buffer + sizeof buffer, static_cast<float>(value)).ptr;
  std::from_chars(buffer, end, value);
  return value;
}

Op reduceOp(ReduceKind kind) {
  switch (kind) {
  case ReduceKind::Sum:
    return Op::ReduceSum;
  case ReduceKind::Max:
    return Op::ReduceMax;
  case ReduceKind::Min:
    return Op::ReduceMin;
  }
  llvm_unreachable("kind");
}

/// Loops inside of a reduction: its level, counted from the inside.
int levelOf(ReduceOp reduce) {
  int level = 0;
  for (auto inner : reduce.getBody().getOps<ReduceOp>())
    level = std::max(level, levelOf(inner) + 1);
  return level;
}

/// Exports one region.
class Exporter {
public:
  explicit Exporter(expr::Function &function) : function(function) {}

  /// `fixed` arguments stand before those of `captures` captures and of the scalars.
  LogicalResult run(Region &region, unsigned fixed, unsigned captures) {
    unsigned shift = 5 - fixed;
    for (BlockArgument argument : region.getArguments()) {
      unsigned index = argument.getArgNumber() + shift;
      if (index < 5)
        values[argument] = add(Op::Param, kindOf(argument.getType()), {}, index);
      else if (index < 5 + captures)
        captureIndex[argument] = index - 5;
      else
        values[argument] = add(Op::Scalar, kindOf(argument.getType()), {}, index - 5 - captures);
    }
    FailureOr<ValueId> result = visitBlock(region.front());
    if (failed(result))
      return failure();
    function.result = *result;
    return success();
  }

private:
  /// The operations of a block; answers what it yields.
  FailureOr<ValueId> visitBlock(Block &block) {
    for (Operation &inner : block.without_terminator()) {
      if (auto reduce = dyn_cast<ReduceOp>(inner)) {
        FailureOr<ValueId> result = visitReduce(reduce);
        if (failed(result))
          return failure();
        values[reduce.getResult()] = *result;
        continue;
      }
      std::optional<ValueId> id = visit(&inner);
      if (!id)
        return inner.emitError() << "'" << inner.getName() << "' has no counterpart among the operations of a formula";
      values[inner.getResult(0)] = *id;
    }
    return values.lookup(cast<YieldOp>(block.getTerminator()).getValue());
  }

  FailureOr<ValueId> visitReduce(ReduceOp reduce) {
    int level = levelOf(reduce);
    if (level >= expr::kMaxLevels)
      return reduce.emitError() << "more than " << expr::kMaxLevels << " reductions, one inside of the other";
    ValueId iter = add(Op::Iter, Kind::Int, {values.lookup(reduce.getLength())}, level);
    values[reduce.getBody().getArgument(0)] = iter;
    FailureOr<ValueId> body = visitBlock(reduce.getBody().front());
    if (failed(body))
      return failure();
    return add(reduceOp(reduce.getKind()), kindOf(reduce.getResult().getType()), {iter, *body});
  }

  ValueId add(Op code, Kind kind, ArrayRef<ValueId> operands, int64_t imm = 0) {
    Node node;
    node.op = code;
    node.kind = kind;
    node.operands.assign(operands.begin(), operands.end());
    node.imm.i = imm;
    function.nodes.push_back(std::move(node));
    return function.nodes.size() - 1;
  }
  ValueId addNot(ValueId a) { return add(Op::LogicalNot, Kind::Bool, {a}); }

  ValueId constant(Attribute attribute, Kind kind) {
    ValueId id = add(Op::Const, kind, {});
    Node &node = function.nodes[id];
    if (kind == Kind::Float)
      node.imm.f = literal(cast<FloatAttr>(attribute));
    else if (kind == Kind::Bool)
      node.imm.i = cast<IntegerAttr>(attribute).getValue().isOne();
    else
      node.imm.i = cast<IntegerAttr>(attribute).getInt();
    return id;
  }

  std::optional<ValueId> visit(Operation *inner) {
    if (inner->getNumResults() != 1)
      return {};
    Kind kind = kindOf(inner->getResult(0).getType());
    auto in = [&](unsigned index) { return values.lookup(inner->getOperand(index)); };

    if (auto load = dyn_cast<LoadOp>(inner)) {
      SmallVector<ValueId> indices;
      for (Value index : load.getIndices())
        indices.push_back(values.lookup(index));
      return add(Op::Load, kind, indices, captureIndex.lookup(load.getCapture()));
    }
    SmallVector<ValueId> operands;
    for (Value operand : inner->getOperands())
      operands.push_back(values.lookup(operand));
    if (auto pointwise = dyn_cast<PointwiseOp>(inner))
      return add(pointwiseOp(pointwise.getKind()), kind, operands);
    // Arithmetic on i1 is not Python's arithmetic on bools; only the logic below, selects and comparisons are.
    if (std::optional<Op> direct = directOp(inner))
      if (kind != Kind::Bool || isa<arith::SelectOp, math::IsNaNOp, math::IsInfOp>(inner))
        return add(*direct, kind, operands);

    return llvm::TypeSwitch<Operation *, std::optional<ValueId>>(inner)
        .Case([&](arith::ConstantOp constantOp) -> std::optional<ValueId> { return constant(constantOp.getValue(), kind); })
        .Case([&](arith::SubIOp) -> std::optional<ValueId> {
          if (kind == Kind::Bool)
            return {};
          if (matchPattern(inner->getOperand(0), m_Zero()))
            return add(Op::Neg, kind, {in(1)});
          return add(Op::Sub, kind, operands);
        })
        .Case(
            [&](arith::AndIOp) -> std::optional<ValueId> { return add(kind == Kind::Bool ? Op::LogicalAnd : Op::BitAnd, kind, operands); })
        .Case([&](arith::OrIOp) -> std::optional<ValueId> { return add(kind == Kind::Bool ? Op::LogicalOr : Op::BitOr, kind, operands); })
        .Case([&](arith::XOrIOp) -> std::optional<ValueId> {
          APInt mask;
          if (kind == Kind::Int && matchPattern(inner->getOperand(0), m_ConstantInt(&mask)) && mask.isAllOnes())
            return add(Op::BitNot, kind, {in(1)});
          return add(kind == Kind::Bool ? Op::LogicalXor : Op::BitXor, kind, operands);
        })
        .Case([&](arith::CmpFOp compare) { return compareFloats(compare); })
        .Case([&](arith::CmpIOp compare) { return compareInts(compare); })
        .Case([&](arith::UIToFPOp) -> std::optional<ValueId> {
          if (!inner->getOperand(0).getType().isInteger(1))
            return {};
          return add(Op::ToFloat, kind, operands);
        })
        .Case([&](arith::ExtUIOp) -> std::optional<ValueId> {
          if (!inner->getOperand(0).getType().isInteger(1))
            return {};
          return add(Op::ToInt, kind, operands);
        })
        .Case([&](arith::ExtSIOp) -> std::optional<ValueId> { // the IR's Int has one width
          if (inner->getOperand(0).getType().isInteger(1))
            return {};
          return in(0);
        })
        .Default([](Operation *) { return std::nullopt; });
  }

  std::optional<ValueId> compareFloats(arith::CmpFOp compare) {
    ValueId a = values.lookup(compare.getLhs()), b = values.lookup(compare.getRhs());
    auto make = [&](Op code, ValueId x, ValueId y) { return add(code, Kind::Bool, {x, y}); };
    using P = arith::CmpFPredicate;
    switch (compare.getPredicate()) {
    case P::OEQ:
      return make(Op::Eq, a, b);
    case P::UNE:
      if (matchPattern(compare.getLhs(), m_PosZeroFloat()))
        return add(Op::ToBool, Kind::Bool, {b});
      return make(Op::Ne, a, b);
    case P::OLT:
      return make(Op::Lt, a, b);
    case P::OLE:
      return make(Op::Le, a, b);
    case P::OGT:
      return make(Op::Lt, b, a);
    case P::OGE:
      return make(Op::Le, b, a);
    case P::UGE:
      return addNot(make(Op::Lt, a, b));
    case P::UGT:
      return addNot(make(Op::Le, a, b));
    case P::ULE:
      return addNot(make(Op::Lt, b, a));
    case P::ULT:
      return addNot(make(Op::Le, b, a));
    default:
      return {};
    }
  }

  std::optional<ValueId> compareInts(arith::CmpIOp compare) {
    ValueId a = values.lookup(compare.getLhs()), b = values.lookup(compare.getRhs());
    auto make = [&](Op code, ValueId x, ValueId y) { return add(code, Kind::Bool, {x, y}); };
    using P = arith::CmpIPredicate;
    if (compare.getLhs().getType().isInteger(1)) {
      switch (compare.getPredicate()) { // comparing truth values is logic
      case P::eq:
        return addNot(make(Op::LogicalXor, a, b));
      case P::ne:
        return make(Op::LogicalXor, a, b);
      case P::ult:
      case P::sgt: // as a signed number, true is -1
        return make(Op::LogicalAnd, addNot(a), b);
      case P::ule:
      case P::sge:
        return make(Op::LogicalOr, addNot(a), b);
      case P::ugt:
      case P::slt:
        return make(Op::LogicalAnd, a, addNot(b));
      case P::uge:
      case P::sle:
        return make(Op::LogicalOr, a, addNot(b));
      }
    }
    switch (compare.getPredicate()) {
    case P::eq:
      return make(Op::Eq, a, b);
    case P::ne:
      if (matchPattern(compare.getLhs(), m_Zero()))
        return add(Op::ToBool, Kind::Bool, {b});
      return make(Op::Ne, a, b);
    case P::slt:
      return make(Op::Lt, a, b);
    case P::sle:
      return make(Op::Le, a, b);
    case P::sgt:
      return make(Op::Lt, b, a);
    case P::sge:
      return make(Op::Le, b, a);
    default: // unsigned: a formula's integers are signed
      return {};
    }
  }

  expr::Function &function;
  llvm::DenseMap<Value, ValueId> values;
  llvm::DenseMap<Value, unsigned> captureIndex;
};

/// Of attn.forward or attn.attention.
template <typename OpT> FailureOr<expr::Formula> exportFrom(OpT op) {
  expr::Formula formula = expr::Formula::identity();
  auto name = [&](unsigned index, StringRef prefix, unsigned number) {
    if (op.getNames())
      return cast<StringAttr>((*op.getNames())[index]).str();
    return (prefix + Twine(number)).str();
  };
  unsigned captures = op.getCaptures().size();
  for (auto [index, capture] : llvm::enumerate(op.getCaptures())) {
    std::optional<DType> dtype = dtypeOf(captureElementType(capture.getType()));
    if (!dtype)
      return op.emitError() << "capture " << index << ": no element type of a formula: " << capture.getType();
    formula.captures.push_back({name(index, "c", index), *dtype, static_cast<int>(captureRank(capture.getType()))});
  }
  for (auto [index, scalar] : llvm::enumerate(op.getScalars())) {
    std::string called = name(captures + index, "s", index);
    Kind kind = kindOf(scalar.getType());
    std::optional<expr::ScalarDecl> decl =
        expr::ScalarDecl::named(called, kind, formula.captures); // sizes and literals tell by their names
    formula.scalars.push_back(decl ? std::move(*decl) : expr::ScalarDecl{.name = called, .kind = kind});
  }
  for (auto [region, function] :
       {std::pair(&op.getScore(), &formula.score), {&op.getMask(), &formula.mask}, {&op.getProb(), &formula.prob}}) {
    if (region->empty())
      continue;
    *function = {};
    if (failed(Exporter(*function).run(*region, op.getFixedArguments(*region), captures)))
      return failure();
  }
  if (Result<void> ok = expr::verify(formula); !ok)
    return op.emitError() << "the exported formula is not well formed: " << ok.error().message;
  expr::simplify(formula);
  return formula;
}

} // namespace

FailureOr<expr::Formula> exportFormula(ForwardOp op) { return exportFrom(op); }
FailureOr<expr::Formula> exportFormula(AttentionOp op) { return exportFrom(op); }

} // namespace attnjit::attn
