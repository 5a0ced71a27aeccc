#include "Expr/PyNumber.h"

#include "Expr/EvalOp.h"

#include <fmt/format.h>

namespace attnjit::expr {

namespace {

PyResult ofInt(std::int64_t value) { return {{Kind::Int, value, 0}, {}, {}}; }
PyResult ofFloat(double value) { return {{Kind::Float, 0, value}, {}, {}}; }
PyResult problem(std::string what, std::string help, std::string_view exception = {}) {
  return {{}, std::move(what), std::move(help), exception};
}

PyResult overflow(std::string_view spelling) {
  return problem(fmt::format("the result of '{}' does not fit into 64 bits", spelling), "use a float, e.g. 2.0 ** 70");
}

PyResult byZero(std::string_view spelling) {
  return problem(fmt::format("'{}' by zero", spelling), "for an infinity write float(\"inf\")", "ZeroDivisionError");
}

PyResult intPower(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) {
    if (base == 0)
      return byZero("**");
    return ofFloat(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  std::int64_t power = 1;
  while (exponent) {
    if ((exponent & 1) && __builtin_mul_overflow(power, base, &power))
      return overflow("**");
    exponent >>= 1;
    if (exponent && __builtin_mul_overflow(base, base, &base))
      return overflow("**");
  }
  return ofInt(power);
}

PyResult intBinary(std::string_view spelling, std::int64_t x, std::int64_t y) {
  std::int64_t result = 0;
  if (spelling == "+")
    return __builtin_add_overflow(x, y, &result) ? overflow(spelling) : ofInt(result);
  if (spelling == "-")
    return __builtin_sub_overflow(x, y, &result) ? overflow(spelling) : ofInt(result);
  if (spelling == "*")
    return __builtin_mul_overflow(x, y, &result) ? overflow(spelling) : ofInt(result);
  if (spelling == "**")
    return intPower(x, y);
  if (spelling == "&")
    return ofInt(x & y);
  if (spelling == "|")
    return ofInt(x | y);
  if (spelling == "^")
    return ofInt(x ^ y);
  if (spelling == "<<" || spelling == ">>") {
    if (y < 0)
      return problem("a negative shift count", "shift the other way", "ValueError");
    if (spelling == ">>")
      return ofInt(y > 63 ? (x < 0 ? -1 : 0) : x >> y);
    if (x != 0 && (y > 62 || eval::shiftRight(eval::shiftLeft(x, y), y) != x))
      return overflow(spelling);
    return ofInt(x == 0 ? 0 : eval::shiftLeft(x, y));
  }
  if (y == 0)
    return byZero(spelling);
  if (spelling == "/")
    return ofFloat(static_cast<double>(x) / static_cast<double>(y));
  if (x == INT64_MIN && y == -1)
    return spelling == "//" ? overflow(spelling) : ofInt(0);
  return ofInt(spelling == "//" ? eval::floorDiv(x, y) : eval::floorMod(x, y));
}

} // namespace

PyResult pyBinary(std::string_view spelling, const PyNumber &x, const PyNumber &y) {
  const bool isBits = spelling == "&" || spelling == "|" || spelling == "^" || spelling == "<<" || spelling == ">>";
  if (isBits && (x.kind == Kind::Float || y.kind == Kind::Float))
    return problem(fmt::format("'{}' on a float", spelling),
                   "bit operators take ints or bools; if you meant a comparison next to it, put it in brackets: "
                   "(a < b) & (c < d)");
  if (x.kind != Kind::Float && y.kind != Kind::Float) {
    PyResult result = intBinary(spelling, x.i, y.i);
    if (x.kind == Kind::Bool && y.kind == Kind::Bool && isBits && spelling.size() == 1)
      result.value.kind = Kind::Bool;
    return result;
  }
  const double a = x.asDouble(), b = y.asDouble();
  if (spelling == "+")
    return ofFloat(a + b);
  if (spelling == "-")
    return ofFloat(a - b);
  if (spelling == "*")
    return ofFloat(a * b);
  if (spelling == "**") {
    if (a == 0 && b < 0)
      return byZero(spelling);
    if (a < 0 && std::isfinite(a) && std::isfinite(b) && b != std::trunc(b))
      return problem("a negative number to a fractional power is complex", "take the power of abs(x)");
    return ofFloat(std::pow(a, b));
  }
  if (b == 0)
    return byZero(spelling);
  return ofFloat(spelling == "/" ? a / b : spelling == "//" ? std::floor(a / b) : eval::floorMod(a, b));
}

PyResult pyUnary(std::string_view spelling, const PyNumber &x) {
  if (spelling == "~") {
    if (x.kind == Kind::Bool)
      return problem("'~' on a Python bool", "~True is -2 in Python; write 'not x'");
    return x.kind == Kind::Float ? problem("'~' on a float", "'~' takes a bool or an int; write -x for a negative number") : ofInt(~x.i);
  }
  if (x.kind == Kind::Float)
    return ofFloat(spelling == "-" ? -x.f : x.f);
  return spelling == "-" ? intBinary("-", 0, x.i) : ofInt(x.i);
}

bool pyCompare(std::string_view spelling, const PyNumber &x, const PyNumber &y) {
  const auto compare = [&](auto a, auto b) {
    return spelling == "<"    ? a < b
           : spelling == "<=" ? a <= b
           : spelling == ">"  ? a > b
           : spelling == ">=" ? a >= b
           : spelling == "==" ? a == b
                              : a != b;
  };
  return x.kind == Kind::Float || y.kind == Kind::Float ? compare(x.asDouble(), y.asDouble()) : compare(x.i, y.i);
}

} // namespace attnjit::expr
