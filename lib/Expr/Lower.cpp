#include "Expr/Lower.h"

#include "Expr/Ops.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace attnjit::expr {

ValueId Lower::fail(std::string message, std::string cure) {
  if (problem.empty()) {
    problem = std::move(message);
    help = std::move(cure);
  }
  return integer(0);
}

ValueId Lower::toFloat(ValueId x) { return convert(x, Kind::Float); }
ValueId Lower::toInt(ValueId x) { return convert(x, Kind::Int); }
ValueId Lower::toBool(ValueId x) { return convert(x, Kind::Bool); }

ValueId Lower::convert(ValueId x, Kind target) {
  if (kind(x) == target)
    return x;
  return op(target == Kind::Float ? Op::ToFloat : target == Kind::Int ? Op::ToInt : Op::ToBool, {x});
}

ValueId Lower::cast(ValueId x, DType dtype) {
  if (isFloat(dtype) && dtype != DType::F32 && dtype != DType::F64)
    return fail("formulas compute floats in f32 (f64 for f64 problems), never in half precision",
                "write torch.float32; captured half-precision tensors are widened exactly");
  x = convert(x, kindOf(dtype));
  if (dtype == DType::U8)
    return op(Op::BitAnd, {x, integer(0xFF)});
  if (dtype != DType::I8 && dtype != DType::I16)
    return x;
  const std::int64_t half = dtype == DType::I8 ? 0x80 : 0x8000;
  const ValueId wrapped = op(Op::BitAnd, {op(Op::Add, {x, integer(half)}), integer(2 * half - 1)});
  return op(Op::Sub, {wrapped, integer(half)});
}

void Lower::promote(ValueId &x, ValueId &y, Kind atLeast) {
  const Kind common = std::max({kind(x), kind(y), atLeast});
  x = convert(x, common);
  y = convert(y, common);
}

ValueId Lower::arith(Op op, ValueId x, ValueId y) {
  promote(x, y, Kind::Int);
  return this->op(op, {x, y});
}

ValueId Lower::floats(Op op, ValueId x) { return this->op(op, {toFloat(x)}); }

ValueId Lower::floats(Op op, ValueId x, ValueId y) {
  const ValueId left = toFloat(x), right = toFloat(y);
  return this->op(op, {left, right});
}

ValueId Lower::binary(std::string_view spelling, ValueId x, ValueId y) {
  const bool bools = kind(x) == Kind::Bool && kind(y) == Kind::Bool;
  // torch's bool arithmetic: + is or, * is and, - is refused.
  if (spelling == "+")
    return bools ? op(Op::LogicalOr, {x, y}) : arith(Op::Add, x, y);
  if (spelling == "*")
    return bools ? op(Op::LogicalAnd, {x, y}) : arith(Op::Mul, x, y);
  if (spelling == "-")
    return bools ? fail("'-' on two bools", "write a ^ b for 'one but not both', a & ~b for 'a without b'") : arith(Op::Sub, x, y);
  if (spelling == "/")
    return floats(Op::Div, x, y);
  if (spelling == "//")
    return arith(Op::FloorDiv, x, y);
  if (spelling == "%")
    return arith(Op::FloorMod, x, y);
  if (spelling == "**")
    return pow(x, y);
  return bitwise(spelling, x, y);
}

ValueId Lower::bitwise(std::string_view spelling, ValueId x, ValueId y) {
  if (kind(x) == Kind::Float || kind(y) == Kind::Float)
    return fail(fmt::format("'{}' on a float", spelling),
                "bit operators take ints or bools; if you meant a comparison next to it, put it in brackets: "
                "(a < b) & (c < d)");
  const bool bools = kind(x) == Kind::Bool && kind(y) == Kind::Bool;
  const bool isShift = spelling == "<<" || spelling == ">>";
  if (bools && !isShift)
    return op(spelling == "&" ? Op::LogicalAnd : spelling == "|" ? Op::LogicalOr : Op::LogicalXor, {x, y});
  const ValueId left = toInt(x), right = toInt(y);
  const Op bits = spelling == "&"    ? Op::BitAnd
                  : spelling == "|"  ? Op::BitOr
                  : spelling == "^"  ? Op::BitXor
                  : spelling == "<<" ? Op::Shl
                                     : Op::Shr;
  return op(bits, {left, right});
}

ValueId Lower::compare(std::string_view spelling, ValueId x, ValueId y) {
  const bool equality = spelling == "==" || spelling == "!=";
  if (equality && kind(x) == Kind::Bool && kind(y) == Kind::Bool) {
    const ValueId differ = op(Op::LogicalXor, {x, y});
    return spelling == "!=" ? differ : op(Op::LogicalNot, {differ});
  }
  promote(x, y, Kind::Int);
  if (spelling == ">" || spelling == ">=")
    std::swap(x, y);
  const Op compare = spelling == "==" ? Op::Eq : spelling == "!=" ? Op::Ne : spelling == "<" || spelling == ">" ? Op::Lt : Op::Le;
  return op(compare, {x, y});
}

ValueId Lower::negate(ValueId x) {
  if (kind(x) == Kind::Bool)
    return fail("'-' on a bool", "write ~x or 'not x' for a negation");
  return op(Op::Neg, {x});
}

ValueId Lower::invert(ValueId x) {
  if (kind(x) == Kind::Float)
    return fail("'~' on a float", "'~' takes a bool or an int; write -x for a negative number");
  return op(kind(x) == Kind::Bool ? Op::LogicalNot : Op::BitNot, {x});
}

ValueId Lower::pow(ValueId x, ValueId y) {
  promote(x, y, Kind::Int);
  const Node exponent = builder[y];
  if (exponent.op != Op::Const)
    return op(Op::Pow, {x, y});
  if (kind(x) == Kind::Int) {
    if (exponent.imm.i < 0)
      return fail("an int to a negative power", "make the base a float: x.float() ** -2");
    return exponent.imm.i == 2 ? op(Op::Mul, {x, x}) : op(Op::Pow, {x, y});
  }
  // The powers that torch computes by multiplication too.
  const double e = exponent.imm.f;
  if (e == 0)
    return number(1);
  if (e == 1)
    return x;
  if (e == 2)
    return op(Op::Mul, {x, x});
  if (e == 3)
    return op(Op::Mul, {op(Op::Mul, {x, x}), x});
  if (e == 0.5)
    return op(Op::Sqrt, {x});
  if (e == -0.5)
    return op(Op::Rsqrt, {x});
  if (e == -1)
    return op(Op::Div, {number(1), x});
  if (e == -2)
    return op(Op::Div, {number(1), op(Op::Mul, {x, x})});
  return op(Op::Pow, {x, y});
}

bool Lower::isCondition(ValueId x, std::string_view where) {
  if (kind(x) == Kind::Bool)
    return true;
  fail(fmt::format("{} needs a bool, found {} {}", where, kind(x) == Kind::Int ? "an" : "a", name(kind(x))),
       "the truth of a number is ambiguous here; use a comparison, e.g. x != 0");
  return false;
}

ValueId Lower::select(ValueId condition, ValueId x, ValueId y) {
  promote(x, y, Kind::Bool);
  return op(Op::Select, {condition, x, y});
}

} // namespace attnjit::expr
