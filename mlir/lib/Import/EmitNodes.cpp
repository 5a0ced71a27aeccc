// One expr node -> one scalar op. A row that lib/Expr/ExprOps.def gains without a case here does not compile.
#pragma GCC diagnostic error "-Wswitch"

#include "Expr/Loops.h"
#include "attnjit-mlir/Dialect/Attn/Attn.h"
#include "attnjit-mlir/Import/ImportFormula.h"

using namespace mlir;

namespace attnjit::attn {
namespace {

using expr::Kind;
using expr::Node;
using expr::Op;
using expr::ValueId;

class Emitter {
public:
  Emitter(OpBuilder &builder, Location loc, std::span<const Node> nodes, const NodeLeaves &leaves)
      : builder(builder), loc(loc), nodes(nodes), leaves(leaves), values(nodes.size()), open(expr::openLevels(nodes)),
        bodies(expr::loopBodies(nodes)) {}

  SmallVector<Value> run(std::span<const ValueId> roots) {
    std::vector<bool> live(nodes.size());
    for (ValueId root : roots)
      live[root] = true;
    for (ValueId id = nodes.size(); id-- > 0;)
      if (live[id])
        for (ValueId operand : nodes[id].operands)
          live[operand] = true;
    for (ValueId id = 0; id < nodes.size(); ++id)
      if (live[id] && !open[id] && nodes[id].op != Op::Const) // constants are made where they are used, in the width of their user
        values[id] = emit(id, nodes[id]);
    SmallVector<Value> results;
    for (ValueId root : roots)
      results.push_back(value(root, isNarrow(root)));
    return results;
  }

private:
  /// True if the Int value `id` is at hand in 32 bits.
  bool isNarrow(ValueId id) const {
    if (nodes[id].op == Op::Const)
      return llvm::isInt<32>(nodes[id].imm.i);
    return values[id].getType().isInteger(32);
  }
  bool fits32(ValueId id) const { return !leaves.fits32.empty() && leaves.fits32[id]; }
  bool operandsNarrow(const Node &node) const {
    return llvm::all_of(node.operands, [&](ValueId operand) { return nodes[operand].kind != Kind::Int || isNarrow(operand); });
  }

  /// Value of `id`; an Int in the asked width.
  Value value(ValueId id, bool narrow) {
    const Node &node = nodes[id];
    if (node.op == Op::Const)
      return constant(node, narrow);
    if (node.kind == Kind::Int && !narrow && values[id].getType().isInteger(32))
      return arith::ExtSIOp::create(builder, loc, builder.getI64Type(), values[id]);
    return values[id];
  }

  Value constant(const Node &node, bool narrow) {
    switch (node.kind) {
    case Kind::Bool:
      return arith::ConstantOp::create(builder, loc, builder.getBoolAttr(node.imm.i != 0));
    case Kind::Int:
      return integer(node.imm.i, narrow ? builder.getI32Type() : builder.getI64Type());
    case Kind::Float:
      return number(node.imm.f, leaves.computeType);
    }
    llvm_unreachable("kind");
  }
  Value integer(int64_t value, Type type) { return arith::ConstantOp::create(builder, loc, builder.getIntegerAttr(type, value)); }
  Value number(double value, Type type) { return arith::ConstantOp::create(builder, loc, builder.getFloatAttr(type, value)); }

  template <typename FloatOp, typename IntOp> Value arithmetic(Value a, Value b) {
    if (isa<FloatType>(a.getType()))
      return FloatOp::create(builder, loc, a, b);
    return IntOp::create(builder, loc, a, b);
  }
  template <typename OpT> Value binary(Value a, Value b) { return OpT::create(builder, loc, a, b); }
  template <typename OpT> Value unary(Value a) { return OpT::create(builder, loc, a); }

  Value pointwise(PointwiseKind kind, ValueRange inputs, Type result) {
    return PointwiseOp::create(builder, loc, result, PointwiseKindAttr::get(builder.getContext(), kind), inputs);
  }
  Value pointwise(PointwiseKind kind, ValueRange inputs) { return pointwise(kind, inputs, inputs.front().getType()); }

  Value compare(Value a, Value b, arith::CmpFPredicate floats, arith::CmpIPredicate ints) {
    if (isa<FloatType>(a.getType()))
      return arith::CmpFOp::create(builder, loc, floats, a, b);
    return arith::CmpIOp::create(builder, loc, ints, a, b);
  }

  Value load(ValueId id, const Node &node) {
    SmallVector<Value> indices;
    for (ValueId operand : node.operands)
      indices.push_back(value(operand, isNarrow(operand)));
    Value capture = leaves.captures[node.imm.i];
    Type intType = fits32(id) ? builder.getI32Type() : builder.getI64Type();
    Type type = loadedType(captureElementType(capture.getType()), leaves.computeType, intType);
    return LoadOp::create(builder, loc, type, capture, indices);
  }

  Value convert(ValueId id, const Node &node, Value a) {
    Kind from = nodes[node.operands[0]].kind;
    if (from == node.kind)
      return a;
    Type intType = fits32(id) ? builder.getI32Type() : builder.getI64Type();
    switch (node.kind) {
    case Kind::Float:
      if (from == Kind::Bool)
        return arith::UIToFPOp::create(builder, loc, leaves.computeType, a);
      return arith::SIToFPOp::create(builder, loc, leaves.computeType, a);
    case Kind::Int:
      if (from == Kind::Bool)
        return arith::ExtUIOp::create(builder, loc, intType, a);
      return pointwise(PointwiseKind::ToInt, a, intType);
    case Kind::Bool: // NaN is true, as in Python. Zero stands left: a formula's own `x != 0` has it right, and export tells them apart
      if (from == Kind::Float)
        return arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::UNE, number(0, a.getType()), a);
      return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ne, integer(0, a.getType()), a);
    }
    llvm_unreachable("kind");
  }

  static ReduceKind reduceKind(Op op) {
    return op == Op::ReduceSum ? ReduceKind::Sum : op == Op::ReduceMax ? ReduceKind::Max : ReduceKind::Min;
  }

  /// The steps of the loop in the region; values that several loops compute are emitted in each.
  Value reduce(ValueId id, const Node &node) {
    const ValueId iter = node.operands[0], body = node.operands[1], length = nodes[iter].operands[0];
    Value end = value(length, isNarrow(length));
    // The region comes before the op: only then the type of what it yields is known.
    const OpBuilder::InsertPoint here = builder.saveInsertionPoint();
    Region region;
    Block *block = builder.createBlock(&region, {}, end.getType(), loc);
    values[iter] = block->getArgument(0);
    for (const ValueId inner : bodies[id])
      if (nodes[inner].op != Op::Const)
        values[inner] = emit(inner, nodes[inner]);
    Value yielded = value(body, isNarrow(body) && (node.op != Op::ReduceSum || fits32(id)));
    YieldOp::create(builder, loc, yielded);
    builder.restoreInsertionPoint(here);
    auto op = ReduceOp::create(builder, loc, yielded.getType(), reduceKind(node.op), end);
    op.getBody().takeBody(region);
    return op;
  }

  Value emit(ValueId id, const Node &node) {
    if (node.op == Op::Param || node.op == Op::Scalar)
      return leaves.leaf(node);
    if (node.op == Op::Load)
      return load(id, node);
    if (expr::isReduction(node.op))
      return reduce(id, node);

    // An Int operation is narrow if its operands are at hand in 32 bits and its result fits; a comparison has no Int result.
    bool narrow = operandsNarrow(node) && (node.kind != Kind::Int || fits32(id));
    if (node.op == Op::ToFloat || node.op == Op::ToBool)
      narrow = operandsNarrow(node);
    if (node.op == Op::Rand || node.op == Op::RandInt) // seed and offset are 64 bits wide, whatever is known of them
      narrow = false;
    SmallVector<Value, 3> in;
    for (ValueId operand : node.operands)
      in.push_back(value(operand, narrow));
    bool isInt = node.kind == Kind::Int;

    switch (node.op) {
    case Op::Param:
    case Op::Scalar:
    case Op::Const:
    case Op::Load:
    case Op::Iter:
    case Op::ReduceSum:
    case Op::ReduceMax:
    case Op::ReduceMin:
      break; // handled above
    case Op::Add:
      return arithmetic<arith::AddFOp, arith::AddIOp>(in[0], in[1]);
    case Op::Sub:
      return arithmetic<arith::SubFOp, arith::SubIOp>(in[0], in[1]);
    case Op::Mul:
      return arithmetic<arith::MulFOp, arith::MulIOp>(in[0], in[1]);
    case Op::Div:
      return binary<arith::DivFOp>(in[0], in[1]);
    case Op::Min:
      return arithmetic<arith::MinimumFOp, arith::MinSIOp>(in[0], in[1]);
    case Op::Max:
      return arithmetic<arith::MaximumFOp, arith::MaxSIOp>(in[0], in[1]);
    case Op::Neg:
      return isInt ? binary<arith::SubIOp>(integer(0, in[0].getType()), in[0]) : unary<arith::NegFOp>(in[0]);
    case Op::Abs:
      return isInt ? unary<math::AbsIOp>(in[0]) : unary<math::AbsFOp>(in[0]);
    case Op::FloorDiv:
      return pointwise(PointwiseKind::FloorDiv, in);
    case Op::FloorMod:
      return pointwise(PointwiseKind::FloorMod, in);
    case Op::Rem:
      return pointwise(PointwiseKind::Rem, in);
    case Op::Pow:
      return pointwise(PointwiseKind::Pow, in);
    case Op::Sign:
      return pointwise(PointwiseKind::Sign, in);
    case Op::Shl:
      return pointwise(PointwiseKind::Shl, in);
    case Op::Shr:
      return pointwise(PointwiseKind::Shr, in);
    case Op::Hypot:
      return pointwise(PointwiseKind::Hypot, in);
    case Op::Rand:
      return pointwise(PointwiseKind::Rand, in, leaves.computeType);
    case Op::RandInt:
      return pointwise(PointwiseKind::RandInt, in, fits32(id) ? builder.getI32Type() : builder.getI64Type());
    case Op::BitAnd:
    case Op::LogicalAnd:
      return binary<arith::AndIOp>(in[0], in[1]);
    case Op::BitOr:
    case Op::LogicalOr:
      return binary<arith::OrIOp>(in[0], in[1]);
    case Op::BitXor:
    case Op::LogicalXor:
      return binary<arith::XOrIOp>(in[0], in[1]);
    case Op::BitNot: // the constant stands left, other than in a formula's own `x ^ -1`
      return binary<arith::XOrIOp>(integer(-1, in[0].getType()), in[0]);
    case Op::LogicalNot:
      return binary<arith::XOrIOp>(in[0], integer(-1, in[0].getType()));
    case Op::Eq:
      return compare(in[0], in[1], arith::CmpFPredicate::OEQ, arith::CmpIPredicate::eq);
    case Op::Ne:
      return compare(in[0], in[1], arith::CmpFPredicate::UNE, arith::CmpIPredicate::ne);
    case Op::Lt:
      return compare(in[0], in[1], arith::CmpFPredicate::OLT, arith::CmpIPredicate::slt);
    case Op::Le:
      return compare(in[0], in[1], arith::CmpFPredicate::OLE, arith::CmpIPredicate::sle);
    case Op::Select:
      return arith::SelectOp::create(builder, loc, in[0], in[1], in[2]);
    case Op::ToFloat:
    case Op::ToInt:
    case Op::ToBool:
      return convert(id, node, in[0]);
    case Op::IsNan:
      return math::IsNaNOp::create(builder, loc, in[0]);
    case Op::IsInf:
      return math::IsInfOp::create(builder, loc, in[0]);
    case Op::Floor:
      return unary<math::FloorOp>(in[0]);
    case Op::Ceil:
      return unary<math::CeilOp>(in[0]);
    case Op::Round:
      return unary<math::RoundEvenOp>(in[0]);
    case Op::Trunc:
      return unary<math::TruncOp>(in[0]);
    case Op::Sqrt:
      return unary<math::SqrtOp>(in[0]);
    case Op::Rsqrt:
      return unary<math::RsqrtOp>(in[0]);
    case Op::Exp:
      return unary<math::ExpOp>(in[0]);
    case Op::Exp2:
      return unary<math::Exp2Op>(in[0]);
    case Op::Expm1:
      return unary<math::ExpM1Op>(in[0]);
    case Op::Log:
      return unary<math::LogOp>(in[0]);
    case Op::Log2:
      return unary<math::Log2Op>(in[0]);
    case Op::Log10:
      return unary<math::Log10Op>(in[0]);
    case Op::Log1p:
      return unary<math::Log1pOp>(in[0]);
    case Op::Sin:
      return unary<math::SinOp>(in[0]);
    case Op::Cos:
      return unary<math::CosOp>(in[0]);
    case Op::Tan:
      return unary<math::TanOp>(in[0]);
    case Op::Asin:
      return unary<math::AsinOp>(in[0]);
    case Op::Acos:
      return unary<math::AcosOp>(in[0]);
    case Op::Atan:
      return unary<math::AtanOp>(in[0]);
    case Op::Atan2:
      return binary<math::Atan2Op>(in[0], in[1]);
    case Op::Sinh:
      return unary<math::SinhOp>(in[0]);
    case Op::Cosh:
      return unary<math::CoshOp>(in[0]);
    case Op::Tanh:
      return unary<math::TanhOp>(in[0]);
    case Op::Asinh:
      return unary<math::AsinhOp>(in[0]);
    case Op::Acosh:
      return unary<math::AcoshOp>(in[0]);
    case Op::Atanh:
      return unary<math::AtanhOp>(in[0]);
    case Op::Erf:
      return unary<math::ErfOp>(in[0]);
    case Op::Erfc:
      return unary<math::ErfcOp>(in[0]);
    }
    llvm_unreachable("every row of ExprOps.def has a case");
  }

  OpBuilder &builder;
  Location loc;
  std::span<const Node> nodes;
  const NodeLeaves &leaves;
  SmallVector<Value> values; ///< by node; null for constants and dead nodes
  std::vector<std::uint8_t> open;
  std::vector<std::vector<ValueId>> bodies;
};

} // namespace

SmallVector<Value> emitNodes(OpBuilder &builder, Location loc, std::span<const Node> nodes, std::span<const ValueId> roots,
                             const NodeLeaves &leaves) {
  return Emitter(builder, loc, nodes, leaves).run(roots);
}

} // namespace attnjit::attn
