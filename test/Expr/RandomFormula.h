// Random IR over the captures of ExprTestUtil.h: every op, every kind, reductions two deep, constants that hurt.
#pragma once

#include "Expr/Builder.h"
#include "Expr/Ops.h"
#include "ExprTestUtil.h"

#include <iterator>
#include <limits>
#include <optional>

namespace attnjit::expr::test {

/// Nodes as drawn, nothing folded, result of kind `kind`.
class RandomFormula {
public:
  RandomFormula(Random &random, bool withScore) : random(random), builder(false), withScore(withScore) {}

  Function draw(Kind kind, int nodes) {
    for (Param param : {Param::B, Param::H, Param::Q, Param::Kv})
      pool.push_back(builder.param(param));
    if (withScore)
      pool.push_back(builder.param(Param::Score));
    for (int i = 0; i < nodes; ++i)
      pool.push_back(random.oneIn(4) ? leaf() : random.oneIn(12) ? reduction(static_cast<int>(random.between(0, 1))) : operation());
    return builder.finish(pickOf(kind));
  }

private:
  /// A loop of that level, those in it of lower ones. What is drawn for its steps is not seen outside.
  ValueId reduction(int level) {
    static constexpr std::int64_t kLengths[] = {-1, 0, 1, 2, 3, 5};
    const ValueId length = random.oneIn(3) ? builder.scalar(0, Kind::Int) : builder.constantInt(random.pick(kLengths));
    const ValueId iter = builder.iter(level, length);
    const std::size_t outside = pool.size();
    for (int i = 0; i < 3; ++i)
      pool.push_back(iter); // so that it is used
    for (std::int64_t i = random.between(1, 6); i > 0; --i)
      pool.push_back(level > 0 && random.oneIn(3) ? reduction(level - 1) : random.oneIn(4) ? leaf() : operation());
    static constexpr Op kReductions[] = {Op::ReduceSum, Op::ReduceMax, Op::ReduceMin};
    const Op op = random.pick(kReductions);
    const Kind kind = static_cast<Kind>(random.between(op == Op::ReduceSum ? 1 : 0, 2));
    const ValueId result = builder.op(op, {iter, pickOf(kind)});
    pool.resize(outside);
    return result;
  }

  ValueId leaf() {
    static constexpr std::int64_t kInts[] = {
        0, 1, -1, 2, 3, 4, -3, 7, 63, 64, 1000, std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()};
    static constexpr double kFloats[] = {0.0,
                                         -0.0,
                                         1.0,
                                         -1.0,
                                         0.5,
                                         2.0,
                                         -2.0,
                                         3.5,
                                         64.0,
                                         1e30,
                                         1e-30,
                                         std::numeric_limits<double>::infinity(),
                                         -std::numeric_limits<double>::infinity(),
                                         std::numeric_limits<double>::quiet_NaN()};
    switch (random.between(0, 6)) {
    case 0:
    case 1:
      return builder.constantInt(random.pick(kInts));
    case 2:
    case 3:
      return builder.constantFloat(random.pick(kFloats));
    case 4:
      return builder.constantBool(random.oneIn(2));
    case 5: {
      static constexpr Kind kScalars[] = {Kind::Int, Kind::Int, Kind::Float, Kind::Bool};
      const int index = static_cast<int>(random.between(0, 3));
      return builder.scalar(index, kScalars[index]);
    }
    default:
      return load();
    }
  }

  ValueId load() {
    const int capture = static_cast<int>(random.between(0, 5));
    const CaptureInfo &info = Captures::infos()[capture];
    std::vector<ValueId> indices;
    for (int dim = 0; dim < info.rank; ++dim)
      indices.push_back(pickOf(Kind::Int));
    return builder.load(capture, CaptureDecl{info.name, info.dtype, info.rank}.elementKind(), indices);
  }

  ValueId operation() {
    static constexpr Op kOps[] = {
#define EXPR_OP(Name, spelling, arity, Types, lowering) Op::Name,
#include "Expr/ExprOps.def"
    };
    const Op op = random.pick(kOps);
    std::vector<ValueId> operands;
    switch (info(op).types) {
    case OpTypes::NNN:
    case OpTypes::CMP: {
      const Kind kind = random.oneIn(2) ? Kind::Int : Kind::Float;
      for (int i = 0; i < arity(op); ++i)
        operands.push_back(pickOf(kind));
      break;
    }
    case OpTypes::FFF:
    case OpTypes::FB:
      for (int i = 0; i < arity(op); ++i)
        operands.push_back(pickOf(Kind::Float));
      break;
    case OpTypes::III:
    case OpTypes::IIF:
      for (int i = 0; i < arity(op); ++i)
        operands.push_back(pickOf(Kind::Int));
      break;
    case OpTypes::BBB:
      for (int i = 0; i < arity(op); ++i)
        operands.push_back(pickOf(Kind::Bool));
      break;
    case OpTypes::SEL: {
      const Kind kind = static_cast<Kind>(random.between(0, 2));
      operands = {pickOf(Kind::Bool), pickOf(kind), pickOf(kind)};
      break;
    }
    case OpTypes::CAST: {
      const Kind target = op == Op::ToFloat ? Kind::Float : op == Op::ToInt ? Kind::Int : Kind::Bool;
      operands = {pickOf(static_cast<Kind>((static_cast<int>(target) + random.between(1, 2)) % 3))};
      break;
    }
    case OpTypes::Leaf:
    case OpTypes::Iter:
    case OpTypes::Reduce:
      break;
    }
    return builder.op(op, operands);
  }

  /// A recent value of that kind, or a cast, so that formulas grow deep as well as wide.
  ValueId pickOf(Kind kind) {
    for (int attempt = 0; attempt < 12; ++attempt) {
      const auto size = static_cast<std::int64_t>(pool.size());
      const ValueId candidate = pool[random.between(random.oneIn(2) ? 0 : std::max<std::int64_t>(0, size - 6), size - 1)];
      if (builder.kind(candidate) == kind)
        return candidate;
    }
    switch (kind) {
    case Kind::Bool:
      return builder.op(Op::Lt, {pickOf(Kind::Int), pickOf(Kind::Int)});
    case Kind::Int:
      return pool[random.between(0, 3)];
    case Kind::Float:
      break;
    }
    return builder.op(Op::ToFloat, {pickOf(Kind::Int)});
  }

  Random &random;
  Builder builder;
  const bool withScore;
  std::vector<ValueId> pool;
};

/// Score and mask drawn at random over the test's captures.
inline Formula randomFormula(Random &random, int nodes) {
  Formula formula = score("score"); // brings the capture tables
  formula.score = RandomFormula(random, true).draw(Kind::Float, nodes);
  formula.mask = RandomFormula(random, false).draw(Kind::Bool, nodes);
  return formula;
}

} // namespace attnjit::expr::test
