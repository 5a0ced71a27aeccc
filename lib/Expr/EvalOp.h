// The executable meaning of every op on numbers, generated from the op table: of one value, or of many at once. Shared by the evaluators
// and by constant folding, so that a folded formula cannot differ from an evaluated one.
#pragma once

#include "Expr/Ops.h"
#include "Expr/Steps.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <type_traits>

namespace attnjit::expr {

namespace eval {

using I = std::int64_t;
using U = std::uint64_t;

inline I addWrap(I x, I y) { return static_cast<I>(static_cast<U>(x) + static_cast<U>(y)); }
inline I subWrap(I x, I y) { return static_cast<I>(static_cast<U>(x) - static_cast<U>(y)); }
inline I mulWrap(I x, I y) { return static_cast<I>(static_cast<U>(x) * static_cast<U>(y)); }

inline I floorDiv(I x, I y) {
  if (y == 0)
    return 0;
  if (y == -1) // x / -1 traps for the smallest int
    return subWrap(0, x);
  const I quotient = x / y;
  return quotient - (x % y != 0 && (x < 0) != (y < 0));
}
inline I floorMod(I x, I y) {
  if (y == 0 || y == -1)
    return 0;
  const I rest = x % y;
  return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
}
inline double floorDiv(double x, double y) {
  if (std::isinf(x) && y != 0) // it leaves no remainder
    return x - x;
  // x / y may round up to an integer, or to zero; then the remainder is of the wrong sign.
  const double quotient = std::floor(x / y), rest = quotient == 0 ? x : std::fma(-quotient, y, x);
  return (rest < 0 && y > 0) || (rest > 0 && y < 0) ? quotient - 1 : quotient;
}
inline double floorMod(double x, double y) {
  const double rest = std::fmod(x, y);
  return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
}
inline I truncMod(I x, I y) { return y == 0 || y == -1 ? 0 : x % y; }

inline I intPow(I base, I exponent) {
  if (exponent < 0)
    return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
  I power = 1;
  for (; exponent; exponent >>= 1, base = mulWrap(base, base))
    if (exponent & 1)
      power = mulWrap(power, base);
  return power;
}
inline I shiftLeft(I x, I count) { return count < 0 || count > 63 ? 0 : static_cast<I>(static_cast<U>(x) << count); }
inline I shiftRight(I x, I count) { return count < 0 || count > 63 ? (x < 0 ? -1 : 0) : x >> count; }

/// Philox4x32-10: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
inline std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  const auto low = [](U x) { return static_cast<std::uint32_t>(x); };
  const auto high = [](U x) { return static_cast<std::uint32_t>(x >> 32); };
  for (int round = 0; round < 10; ++round) {
    const U first = U{0xD2511F53} * counter[0], second = U{0xCD9E8D57} * counter[2];
    counter = {high(second) ^ counter[1] ^ key[0], low(second), high(first) ^ counter[3] ^ key[1], low(first)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}
/// Its first word for the counter (low, high word of `offset`, 0, 0) and the key (low, high word of `seed`), as a signed number.
inline I philoxWord(I seed, I offset) {
  const auto word = [](I x, int shift) { return static_cast<std::uint32_t>(static_cast<U>(x) >> shift); };
  return static_cast<std::int32_t>(philox({word(offset, 0), word(offset, 32), 0, 0}, {word(seed, 0), word(seed, 32)})[0]);
}
/// That word in [0, 1), an f32: the same bits in the arithmetic of every kernel.
inline double philoxUniform(I seed, I offset) {
  const auto word = static_cast<std::int32_t>(philoxWord(seed, offset));
  return static_cast<float>(word < 0 ? -word - 1 : word) * 0x1.fffffep-32f;
}

inline double minimum(double x, double y) {
  if (std::isnan(x) || std::isnan(y))
    return std::numeric_limits<double>::quiet_NaN();
  return x < y || (x == y && std::signbit(x)) ? x : y;
}
inline double maximum(double x, double y) {
  if (std::isnan(x) || std::isnan(y))
    return std::numeric_limits<double>::quiet_NaN();
  return x > y || (x == y && !std::signbit(x)) ? x : y;
}
inline I truncSaturate(double x) {
  if (std::isnan(x))
    return 0;
  constexpr double kLimit = 9223372036854775808.0; // 2^63
  return x >= kLimit ? std::numeric_limits<I>::max() : x < -kLimit ? std::numeric_limits<I>::min() : static_cast<I>(x);
}

} // namespace eval

namespace eval {

/// What a reduction of nothing gives.
inline Value identity(Op op, Kind kind) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  const bool isMax = op == Op::ReduceMax;
  if (op == Op::ReduceSum)
    return {0, 0};
  if (kind == Kind::Bool)
    return {!isMax, 0};
  return {isMax ? std::numeric_limits<I>::min() : std::numeric_limits<I>::max(), isMax ? -kInf : kInf};
}

/// A reduction's value after one more step.
inline void accumulate(Op op, Kind kind, Value &total, const Value &step) {
  const bool isMax = op == Op::ReduceMax;
  if (kind == Kind::Float)
    total.f = op == Op::ReduceSum ? total.f + step.f : isMax ? maximum(total.f, step.f) : minimum(total.f, step.f);
  else
    total.i = op == Op::ReduceSum ? addWrap(total.i, step.i) : isMax ? std::max(total.i, step.i) : std::min(total.i, step.i);
}

} // namespace eval

/// The values of a node, one for each lane: Bool and Int at i, Float at f.
struct Operand {
  const std::int64_t *i;
  const double *f;
};
struct Destination {
  std::int64_t *i;
  double *f;
};

/// Applies `op` (no leaf, no reduction) to up to three operands, lane by lane; `b` and `c` may be anything where `op` has fewer.
/// `operandKind`: kind of the first operand, of the second for Select. `Count`: int, or the constant of a single lane, whose value stays in
/// a register only if this is part of its caller.
template <typename Count>
[[gnu::always_inline]] inline void evalLanes(Op op, Kind operandKind, Operand a, Operand b, Operand c, Destination out, Count count) {
  using namespace eval;
  const bool isFloat = operandKind == Kind::Float;
  switch (op) {
  case Op::Param:
  case Op::Scalar:
  case Op::Const:
  case Op::Load:
  case Op::Iter:
  case Op::ReduceSum:
  case Op::ReduceMax:
  case Op::ReduceMin:
    break;
#define EVAL_INT(result, expression)                                                                                                       \
  for (int lane = 0; lane < count; ++lane) {                                                                                               \
    [[maybe_unused]] const I x = a.i[lane], y = b.i[lane];                                                                                 \
    out.result[lane] = expression;                                                                                                         \
  }
#define EVAL_FLOAT(result, expression)                                                                                                     \
  for (int lane = 0; lane < count; ++lane) {                                                                                               \
    [[maybe_unused]] const double x = a.f[lane], y = b.f[lane];                                                                            \
    out.result[lane] = expression;                                                                                                         \
  }
#define EVAL_NNN(name, intEval, floatEval)                                                                                                 \
  if (isFloat)                                                                                                                             \
    EVAL_FLOAT(f, floatEval)                                                                                                               \
  else                                                                                                                                     \
    EVAL_INT(i, intEval)
#define EVAL_FFF(name, intEval, floatEval) EVAL_FLOAT(f, floatEval)
#define EVAL_III(name, intEval, floatEval) EVAL_INT(i, intEval)
#define EVAL_BBB(name, intEval, floatEval) EVAL_INT(i, intEval)
#define EVAL_CMP(name, intEval, floatEval)                                                                                                 \
  if (isFloat)                                                                                                                             \
    EVAL_FLOAT(i, floatEval)                                                                                                               \
  else                                                                                                                                     \
    EVAL_INT(i, intEval)
#define EVAL_FB(name, intEval, floatEval) EVAL_FLOAT(i, floatEval)
#define EVAL_IIF(name, intEval, floatEval) EVAL_INT(f, intEval)
#define EVAL_SEL(name, intEval, floatEval)                                                                                                 \
  if (isFloat)                                                                                                                             \
    for (int lane = 0; lane < count; ++lane)                                                                                               \
      out.f[lane] = a.i[lane] ? b.f[lane] : c.f[lane];                                                                                     \
  else                                                                                                                                     \
    for (int lane = 0; lane < count; ++lane)                                                                                               \
      out.i[lane] = a.i[lane] ? b.i[lane] : c.i[lane];
#define EVAL_CAST(name, intEval, floatEval)                                                                                                \
  for (int lane = 0; lane < count; ++lane)                                                                                                 \
    if (Op::name == Op::ToFloat)                                                                                                           \
      out.f[lane] = static_cast<double>(a.i[lane]);                                                                                        \
    else if (Op::name == Op::ToInt)                                                                                                        \
      out.i[lane] = isFloat ? truncSaturate(a.f[lane]) : a.i[lane];                                                                        \
    else                                                                                                                                   \
      out.i[lane] = isFloat ? a.f[lane] != 0 : a.i[lane] != 0;
#define EXPR_ROW(Name, spelling, arity, Types, lowering, interval, intEval, floatEval)                                                     \
  case Op::Name:                                                                                                                           \
    EVAL_##Types(Name, intEval, floatEval) break;
#include "Expr/ExprOps.def"
#undef EVAL_INT
#undef EVAL_FLOAT
#undef EVAL_NNN
#undef EVAL_FFF
#undef EVAL_III
#undef EVAL_BBB
#undef EVAL_CMP
#undef EVAL_FB
#undef EVAL_IIF
#undef EVAL_SEL
#undef EVAL_CAST
  }
}

/// The same of one value each.
inline Value evalOp(Op op, Kind operandKind, const Value &a, const Value &b, const Value &c) {
  Value result;
  const auto of = [](const Value &x) { return Operand{&x.i, &x.f}; };
  evalLanes(op, operandKind, of(a), of(b), of(c), {&result.i, &result.f}, std::integral_constant<int, 1>());
  return result;
}

} // namespace attnjit::expr
