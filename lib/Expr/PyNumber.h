// Python's arithmetic on numbers that are known when a formula is read: ints are exact or refused (Python's have no bound, these have 64
// bits), dividing by zero is an error. At run time nothing may trap, so there the rules are those of ExprOps.def.
#pragma once

#include "Expr/Ir.h"

#include <string>

namespace attnjit::expr {

struct PyNumber {
  Kind kind = Kind::Int;
  std::int64_t i = 0; ///< Bool and Int
  double f = 0;       ///< Float
  double asDouble() const { return kind == Kind::Float ? f : static_cast<double>(i); }
  bool truth() const { return kind == Kind::Float ? f != 0 : i != 0; }
};

/// A value, or what is wrong.
struct PyResult {
  PyNumber value;
  std::string problem, help;
  std::string_view exception{}; ///< that Python raises; empty where it computes on
};

/// + - * / // % ** & | ^ << >>
PyResult pyBinary(std::string_view spelling, const PyNumber &x, const PyNumber &y);
/// - + ~
PyResult pyUnary(std::string_view spelling, const PyNumber &x);
/// < <= > >= == !=
bool pyCompare(std::string_view spelling, const PyNumber &x, const PyNumber &y);

} // namespace attnjit::expr
