// Typed building: Python's and torch's operators on values of mixed kinds become ops of the table, with promotion made explicit.
#pragma once

#include "Expr/Builder.h"

#include <string>

namespace attnjit::expr {

/// The kind that an element of `dtype` has in a formula.
inline Kind kindOf(DType dtype) { return isFloat(dtype) ? Kind::Float : dtype == DType::Bool ? Kind::Bool : Kind::Int; }
/// What values computed by a formula are to Python: float32, int64 or bool.
inline DType dtypeOf(Kind kind) { return kind == Kind::Float ? DType::F32 : kind == Kind::Int ? DType::I64 : DType::Bool; }

/// A thin layer over Builder that knows bool < int < float. What cannot be typed is reported through fail(); the caller looks at
/// `problem` and points at the user's text.
class Lower {
public:
  Builder builder;
  TextRange range;           ///< where the user wrote what is built now
  std::string problem, help; ///< set by the first fail()

  Kind kind(ValueId x) const { return builder.kind(x); }
  /// Remembers the first problem; returns some value so that callers can go on to their end.
  ValueId fail(std::string message, std::string cure);

  ValueId number(double value) { return builder.constantFloat(value, range); }
  ValueId integer(std::int64_t value) { return builder.constantInt(value, range); }
  ValueId boolean(bool value) { return builder.constantBool(value, range); }
  ValueId op(Op op, std::initializer_list<ValueId> operands) { return builder.op(op, operands, range); }

  ValueId toFloat(ValueId x);
  ValueId toInt(ValueId x);
  ValueId toBool(ValueId x);
  ValueId convert(ValueId x, Kind kind);
  /// x.to(dtype): ints of 8 and 16 bits wrap; the others have 64 bits here, and floats those of the problem.
  ValueId cast(ValueId x, DType dtype);
  /// Both operands as the larger of their kinds, at least `atLeast`.
  void promote(ValueId &x, ValueId &y, Kind atLeast);

  /// + - * / // % ** & | ^ << >> by their spelling.
  ValueId binary(std::string_view spelling, ValueId x, ValueId y);
  /// < <= > >= == !=
  ValueId compare(std::string_view spelling, ValueId x, ValueId y);
  ValueId negate(ValueId x);
  ValueId invert(ValueId x);
  ValueId pow(ValueId x, ValueId y);
  /// An NNN op after promotion; bools count as ints.
  ValueId arith(Op op, ValueId x, ValueId y);
  /// An FFF op after conversion to float.
  ValueId floats(Op op, ValueId x);
  ValueId floats(Op op, ValueId x, ValueId y);
  ValueId select(ValueId condition, ValueId x, ValueId y);
  /// A condition must be a bool already, as in a torch.where.
  bool isCondition(ValueId x, std::string_view where);

private:
  ValueId bitwise(std::string_view spelling, ValueId x, ValueId y);
};

} // namespace attnjit::expr
