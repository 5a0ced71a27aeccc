#include "Expr/Builtins.h"

#include "Expr/Ops.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numbers>
#include <unordered_map>

namespace attnjit::expr {

namespace {

using Call = BuiltinCall;
constexpr double kInf = std::numeric_limits<double>::infinity();

// --- composites; x is a float already unless said otherwise ---

ValueId sigmoid(Lower &l, ValueId x) {
  return l.op(Op::Div, {l.number(1), l.op(Op::Add, {l.op(Op::Exp, {l.op(Op::Neg, {x})}), l.number(1)})});
}

ValueId silu(Lower &l, ValueId x) { return l.op(Op::Div, {x, l.op(Op::Add, {l.op(Op::Exp, {l.op(Op::Neg, {x})}), l.number(1)})}); }

ValueId softplus(Lower &l, ValueId x, ValueId beta, ValueId threshold) {
  const ValueId scaled = l.op(Op::Mul, {x, beta});
  const ValueId soft = l.op(Op::Div, {l.op(Op::Log1p, {l.op(Op::Exp, {scaled})}), beta});
  return l.select(l.op(Op::Lt, {threshold, scaled}), x, soft);
}

ValueId logSigmoid(Lower &l, ValueId x) {
  const ValueId tail = l.op(Op::Log1p, {l.op(Op::Exp, {l.op(Op::Neg, {l.op(Op::Abs, {x})})})});
  return l.op(Op::Sub, {l.op(Op::Min, {x, l.number(0)}), tail});
}

/// c0 x^n + c1 x^(n-1) + ...
ValueId polynomial(Lower &l, ValueId x, std::initializer_list<double> coefficients) {
  ValueId sum = l.number(*coefficients.begin());
  for (const double *next = coefficients.begin() + 1; next != coefficients.end(); ++next)
    sum = l.op(Op::Add, {l.op(Op::Mul, {sum, x}), l.number(*next)});
  return sum;
}

/// M. Giles's approximation ("Approximating the erfinv function", 2010), and of what only an f64 can hold the first term of the
/// asymptotic series; then two steps of Halley's iteration, by erf and, where that is near 1, by erfc, which give the digits of an f64.
ValueId erfInverse(Lower &l, ValueId x) {
  const auto add = [&](ValueId a, ValueId b) { return l.op(Op::Add, {a, b}); };
  const auto sub = [&](ValueId a, ValueId b) { return l.op(Op::Sub, {a, b}); };
  const auto mul = [&](ValueId a, ValueId b) { return l.op(Op::Mul, {a, b}); };
  const ValueId one = l.number(1), size = l.op(Op::Abs, {x}), rest = sub(one, size);
  const ValueId w = l.op(Op::Neg, {l.op(Op::Log, {mul(rest, add(one, size))})});
  const ValueId center = polynomial(l, sub(w, l.number(2.5)),
                                    {2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
                                     -0.00417768164, 0.246640727, 1.50140941});
  const ValueId root = l.op(Op::Sqrt, {l.op(Op::Min, {l.op(Op::Max, {w, l.number(5)}), l.number(16)})});
  const ValueId tail = polynomial(l, sub(root, l.number(3)),
                                  {-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
                                   0.00943887047, 1.00167406, 2.83297682});
  const ValueId far = l.op(Op::Max, {w, l.number(16)});
  const ValueId farthest = l.op(Op::Sqrt, {sub(far, mul(l.number(0.5), l.op(Op::Log, {mul(far, l.number(std::numbers::pi / 4))})))});
  ValueId y = mul(size, l.select(l.op(Op::Lt, {w, l.number(5)}), center, tail));
  y = l.select(l.op(Op::Lt, {l.number(16), w}), farthest, y);
  for (int step = 0; step < 2; ++step) {
    const ValueId away = l.select(l.op(Op::Lt, {size, l.number(0.75)}), sub(l.op(Op::Erf, {y}), size), sub(rest, l.op(Op::Erfc, {y})));
    const ValueId change = mul(mul(away, l.number(0.5 * std::sqrt(std::numbers::pi))), l.op(Op::Exp, {mul(y, y)}));
    y = sub(y, l.op(Op::Div, {change, add(one, mul(y, change))}));
  }
  const ValueId isEnd = l.op(Op::Eq, {size, one});
  y = l.select(isEnd, l.number(kInf), y);
  return l.select(l.op(Op::Lt, {x, l.number(0)}), l.op(Op::Neg, {y}), l.select(l.op(Op::Eq, {x, l.number(0)}), x, y));
}

ValueId gelu(Lower &l, const Call &c) {
  const ValueId x = l.toFloat(c[0]);
  const ValueId half = l.op(Op::Mul, {x, l.number(0.5)});
  const Argument &approximate = c.arguments[1];
  if (approximate.tag == Argument::Tag::Missing || approximate.text == "none")
    return l.op(Op::Mul, {half, l.op(Op::Add, {l.op(Op::Erf, {l.op(Op::Mul, {x, l.number(std::numbers::sqrt2 / 2)})}), l.number(1)})});
  if (approximate.text != "tanh")
    return l.fail("gelu knows approximate=\"none\" and approximate=\"tanh\"", "");
  const ValueId cube = l.op(Op::Mul, {l.op(Op::Mul, {x, x}), x});
  const ValueId inner = l.op(Op::Add, {x, l.op(Op::Mul, {cube, l.number(0.044715)})});
  // (1 + tanh u) / 2 is 1 / (1 + exp(-2u)), which loses nothing where tanh is close to -1.
  const ValueId twice = l.op(Op::Mul, {inner, l.number(-2 * std::sqrt(2 / std::numbers::pi))});
  return l.op(Op::Div, {x, l.op(Op::Add, {l.op(Op::Exp, {twice}), l.number(1)})});
}

/// Ints stay ints: they are whole already. math.floor and its like yield ints.
ValueId roundTo(Lower &l, Op op, const Call &c) {
  if (l.kind(c[0]) != Kind::Float)
    return l.toInt(c[0]);
  const ValueId rounded = l.op(op, {c[0]});
  // Python's own round() of a number that is known gives an int too.
  const bool isPython = c.space == Namespace::Math || (c.space == Namespace::None && op == Op::Round && l.builder.isConst(c[0]));
  return isPython ? l.toInt(rounded) : rounded;
}

/// To `decimals` places: of a number that is known, as Python does it, of others as torch does.
ValueId roundDecimals(Lower &l, const Call &c) {
  if (!l.builder.isConst(c[1]) || l.kind(c[1]) == Kind::Float)
    return l.fail("the decimals of round must be an int that is known when the formula is read", "e.g. x.round(decimals=2)");
  const std::int64_t places = l.builder[c[1]].imm.i;
  if (l.kind(c[0]) != Kind::Float || places < -300 || places > 300)
    return l.kind(c[0]) != Kind::Float && places < 0 ? l.fail("an int is rounded to decimals", "write x.float()") : c[0];
  if (c.space == Namespace::None && l.builder.isConst(c[0]) && places >= 0) {
    const double x = l.builder[c[0]].imm.f;
    return std::isfinite(x) ? l.number(std::strtod(fmt::format("{:.{}f}", x, places).c_str(), nullptr)) : c[0];
  }
  const ValueId scale = l.number(std::pow(10.0, static_cast<double>(std::abs(places))));
  const Op there = places < 0 ? Op::Div : Op::Mul, back = places < 0 ? Op::Mul : Op::Div;
  return l.op(back, {l.op(Op::Round, {l.op(there, {c[0], scale})}), scale});
}

/// torch's two formulas: each is exact at its own end.
ValueId lerp(Lower &l, ValueId x, ValueId end, ValueId weight) {
  const ValueId way = l.op(Op::Sub, {end, x});
  const ValueId fromStart = l.op(Op::Add, {x, l.op(Op::Mul, {weight, way})});
  const ValueId fromEnd = l.op(Op::Sub, {end, l.op(Op::Mul, {way, l.op(Op::Sub, {l.number(1), weight})})});
  return l.select(l.op(Op::Lt, {l.op(Op::Abs, {weight}), l.number(0.5)}), fromStart, fromEnd);
}

ValueId isClose(Lower &l, const Call &c) {
  const ValueId x = l.toFloat(c[0]), y = l.toFloat(c[1]);
  const ValueId relative = c.has(2) ? l.toFloat(c[2]) : l.number(1e-5), absolute = c.has(3) ? l.toFloat(c[3]) : l.number(1e-8);
  const ValueId distance = l.op(Op::Abs, {l.op(Op::Sub, {x, y})});
  const ValueId allowed = l.op(Op::Add, {absolute, l.op(Op::Abs, {l.op(Op::Mul, {relative, y})})});
  const ValueId near = l.op(Op::LogicalAnd, {l.op(Op::Lt, {distance, l.number(kInf)}), l.op(Op::Le, {distance, allowed})});
  const ValueId close = l.op(Op::LogicalOr, {l.op(Op::Eq, {x, y}), near});
  if (!c.has(4))
    return close;
  const ValueId bothNan = l.op(Op::LogicalAnd, {l.op(Op::IsNan, {x}), l.op(Op::IsNan, {y})});
  return l.op(Op::LogicalOr, {close, l.op(Op::LogicalAnd, {l.toBool(c[4]), bothNan})});
}

ValueId clamp(Lower &l, ValueId x, const Call &c, std::size_t low, std::size_t high) {
  if (!c.has(low) && !c.has(high))
    return l.fail("clamp needs a bound", "give min=, max= or both");
  if (c.has(low))
    x = l.arith(Op::Max, x, c[low]);
  return c.has(high) ? l.arith(Op::Min, x, c[high]) : x;
}

ValueId logical(Lower &l, Op op, const Call &c) {
  const ValueId x = l.toBool(c[0]), y = l.toBool(c[1]);
  return l.op(op, {x, y});
}

ValueId where(Lower &l, ValueId condition, ValueId x, ValueId y) {
  return l.isCondition(condition, "'where'") ? l.select(condition, x, y) : x;
}

/// `test` of an int or bool is never true.
ValueId floatTest(Lower &l, Op test, ValueId x) { return l.kind(x) == Kind::Float ? l.op(test, {x}) : l.boolean(false); }

ValueId division(Lower &l, const Call &c) {
  const Argument &mode = c.arguments[2];
  if (mode.tag == Argument::Tag::Missing || mode.tag == Argument::Tag::None)
    return l.binary("/", c[0], c[1]);
  if (mode.text == "floor")
    return l.binary("//", c[0], c[1]);
  if (mode.text != "trunc")
    return l.fail("div knows rounding_mode=None, \"floor\" and \"trunc\"", "");
  ValueId x = c[0], y = c[1];
  l.promote(x, y, Kind::Int);
  if (l.kind(x) == Kind::Float)
    return l.op(Op::Trunc, {l.op(Op::Div, {x, y})});
  // Exact in ints: (x - x rem y) is a multiple of y.
  return l.op(Op::FloorDiv, {l.op(Op::Sub, {x, l.op(Op::Rem, {x, y})}), y});
}

ValueId logAddExp(Lower &l, const Call &c, Op exp, double base) {
  const ValueId x = l.toFloat(c[0]), y = l.toFloat(c[1]);
  const ValueId distance = l.op(Op::Neg, {l.op(Op::Abs, {l.op(Op::Sub, {x, y})})});
  ValueId tail = l.op(Op::Log1p, {l.op(exp, {distance})});
  if (base != 1)
    tail = l.op(Op::Mul, {tail, l.number(base)});
  const ValueId sum = l.op(Op::Add, {l.op(Op::Max, {x, y}), tail});
  // Equal infinities have no distance.
  const ValueId equalInfinities = l.op(Op::LogicalAnd, {l.op(Op::Eq, {x, y}), l.op(Op::IsInf, {x})});
  return l.select(equalInfinities, x, sum);
}

ValueId nanToNum(Lower &l, const Call &c) {
  if (l.kind(c[0]) != Kind::Float)
    return c[0];
  const double largest = std::numeric_limits<float>::max();
  const ValueId nan = c.has(1) ? l.toFloat(c[1]) : l.number(0);
  const ValueId positive = c.has(2) ? l.toFloat(c[2]) : l.number(largest);
  const ValueId negative = c.has(3) ? l.toFloat(c[3]) : l.number(-largest);
  ValueId x = l.select(l.op(Op::IsNan, {c[0]}), nan, c[0]);
  x = l.select(l.op(Op::Eq, {c[0], l.number(kInf)}), positive, x);
  return l.select(l.op(Op::Eq, {c[0], l.number(-kInf)}), negative, x);
}

/// fmax and fmin prefer a number over NaN.
ValueId ignoringNan(Lower &l, Op op, const Call &c) {
  ValueId x = c[0], y = c[1];
  l.promote(x, y, Kind::Int);
  const ValueId both = l.op(op, {x, y});
  if (l.kind(x) != Kind::Float)
    return both;
  return l.select(l.op(Op::IsNan, {x}), y, l.select(l.op(Op::IsNan, {y}), x, both));
}

ValueId logarithm(Lower &l, const Call &c) {
  const ValueId log = l.floats(Op::Log, c[0]);
  return c.has(1) ? l.op(Op::Div, {log, l.floats(Op::Log, c[1])}) : log;
}

ValueId fold(Lower &l, Op op, const Call &c) {
  ValueId value = c[0];
  for (std::size_t i = 1; i < c.arguments.size(); ++i)
    value = l.arith(op, value, c[i]);
  return value;
}

ValueId floatOf(Lower &l, const Call &c) {
  const Argument &argument = c.arguments[0];
  if (argument.tag != Argument::Tag::String)
    return l.toFloat(c[0]);
  std::string_view text = argument.text;
  if (text.starts_with('+'))
    text.remove_prefix(1);
  double value = 0; // from_chars knows inf, infinity and nan in any case
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || text.empty())
    return l.fail(fmt::format("float(\"{}\") is not a number", argument.text), "write float(\"inf\"), float(\"-inf\") or float(\"nan\")");
  return l.number(value);
}

ValueId castTo(Lower &l, const Call &c, std::size_t dtype) {
  ValueId x = c[0];
  for (std::size_t i = dtype; i < c.arguments.size(); ++i) { // x.to(device, dtype): a device means nothing
    const Argument &argument = c.arguments[i];
    if (argument.tag == Argument::Tag::Value && !l.builder.isConst(argument.value))
      x = l.convert(x, l.kind(argument.value)); // x.to(other)
    else if (argument.tag == Argument::Tag::Value)
      return l.fail("expected a dtype", "dtypes are torch.float32, float64, int8, uint8, int16, int32, int64 and bool");
    else if (argument.tag == Argument::Tag::Dtype)
      x = l.cast(x, argument.dtype);
  }
  return x;
}

constexpr double kSeluAlpha = 1.6732632423543772848170429916717, kSeluScale = 1.0507009873554804934193349852946;

ValueId selu(Lower &l, ValueId x) {
  const ValueId negative = l.op(Op::Mul, {l.op(Op::Expm1, {x}), l.number(kSeluAlpha * kSeluScale)});
  return l.select(l.op(Op::Lt, {l.number(0), x}), l.op(Op::Mul, {x, l.number(kSeluScale)}), negative);
}

/// -0.0 and NaN aside, x < 0; 1 / x tells -0.0 from 0.0. A NaN has no sign here.
ValueId signbit(Lower &l, ValueId x) {
  if (l.kind(x) == Kind::Bool)
    return l.boolean(false);
  if (l.kind(x) == Kind::Int)
    return l.op(Op::Lt, {x, l.integer(0)});
  const ValueId negativeZero =
      l.op(Op::LogicalAnd, {l.op(Op::Eq, {x, l.number(0)}), l.op(Op::Lt, {l.op(Op::Div, {l.number(1), x}), l.number(0)})});
  return l.op(Op::LogicalOr, {l.op(Op::Lt, {x, l.number(0)}), negativeZero});
}

ValueId addProduct(Lower &l, const Call &c, Op op) {
  const ValueId product = op == Op::Mul ? l.binary("*", c[1], c[2]) : l.binary("/", c[1], c[2]);
  return l.binary("+", c[0], c.has(3) ? l.binary("*", product, c[3]) : product);
}

/// log(x / (1 - x)), x kept within [eps, 1 - eps] if asked for.
ValueId logit(Lower &l, const Call &c) {
  ValueId x = l.toFloat(c[0]);
  if (c.has(1)) {
    const ValueId eps = l.toFloat(c[1]);
    x = l.op(Op::Min, {l.op(Op::Max, {x, eps}), l.op(Op::Sub, {l.number(1), eps})});
  }
  return l.op(Op::Log, {l.op(Op::Div, {x, l.op(Op::Sub, {l.number(1), x})})});
}

ValueId sinc(Lower &l, ValueId x) {
  const ValueId angle = l.op(Op::Mul, {x, l.number(std::numbers::pi)});
  return l.select(l.op(Op::Eq, {x, l.number(0)}), l.number(1), l.op(Op::Div, {l.op(Op::Sin, {angle}), angle}));
}

/// x log y, 0 where x is 0 whatever y is (NaN aside).
ValueId xTimesLog(Lower &l, const Call &c, Op log) {
  const ValueId x = l.toFloat(c[0]), y = l.toFloat(c[1]);
  const ValueId product = l.op(Op::Mul, {x, l.op(log, {y})});
  const ValueId zero = l.select(l.op(Op::Eq, {x, l.number(0)}), l.number(0), product);
  return l.select(l.op(Op::IsNan, {y}), y, zero);
}

/// -x log x; 0 at 0 and -inf below.
ValueId entropy(Lower &l, ValueId x) {
  const ValueId inside = l.op(Op::Neg, {l.op(Op::Mul, {x, l.op(Op::Log, {x})})});
  const ValueId rest =
      l.select(l.op(Op::Eq, {x, l.number(0)}), l.number(0), l.select(l.op(Op::Lt, {x, l.number(0)}), l.number(-kInf), inside));
  return rest;
}

/// `value` as the dtype in the argument `dtype`, or if there is none with the kind of `like`.
ValueId valueLike(Lower &l, const Call &c, ValueId value, std::size_t dtype, Kind like) {
  return c.arguments[dtype].tag == Argument::Tag::Dtype ? l.cast(value, c.arguments[dtype].dtype) : l.convert(value, like);
}

/// torch.rand draws from a state, which a formula has none of; these are Triton's, functions of a seed and a place.
ValueId randomNumber(Lower &l, const Call &c, Op op) {
  const std::string name(spelling(op));
  const std::string cure = fmt::format("write {}(seed, offset) with ints, one offset for each pair, as for Triton's tl.{}", name, name);
  if (c.space != Namespace::None)
    return l.fail(fmt::format("torch's {} draws from a generator, which a formula has none of", name), cure);
  for (std::size_t i : {0, 1})
    if (l.kind(c[i]) == Kind::Float)
      return l.fail(fmt::format("the {} of {} is a float", i == 0 ? "seed" : "offset", name), cure);
  const ValueId seed = l.toInt(c[0]), offset = l.toInt(c[1]);
  return l.op(op, {seed, offset});
}

// One row per function. FLOAT: an FFF op after conversion.
// clang-format off: a table
#define FLOAT(NAMES, OP) {NAMES, "input", [](Lower &l, const Call &c) { return l.floats(Op::OP, c[0]); }}
#define FLOAT2(NAMES, OP) {NAMES, "input other", [](Lower &l, const Call &c) { return l.floats(Op::OP, c[0], c[1]); }}
#define ROW(NAMES, SIGNATURE, ...) {NAMES, SIGNATURE, [](Lower &l, const Call &c) -> ValueId { __VA_ARGS__ }}
#define BINARY(NAMES, SPELLING) ROW(NAMES, "input other", return l.binary(SPELLING, c[0], c[1]);)
#define COMPARE(NAMES, SPELLING) ROW(NAMES, "input other", return l.compare(SPELLING, c[0], c[1]);)

constexpr Builtin kBuiltins[] = {
    // arithmetic
    ROW("add", "input other alpha=", return l.binary("+", c[0], c.has(2) ? l.binary("*", c[1], c[2]) : c[1]);),
    ROW("sub subtract", "input other alpha=", return l.binary("-", c[0], c.has(2) ? l.binary("*", c[1], c[2]) : c[1]);),
    BINARY("mul multiply", "*"),
    BINARY("true_divide", "/"),
    ROW("div divide", "input other rounding_mode=", return division(l, c);),
    BINARY("floor_divide", "//"),
    BINARY("remainder", "%"),
    ROW("fmod", "input other", return l.arith(Op::Rem, c[0], c[1]);),
    ROW("pow float_power", "input exponent", return l.pow(c.space == Namespace::Math ? l.toFloat(c[0]) : c[0], c[1]);),
    ROW("neg negative", "input", return l.negate(c[0]);),
    ROW("positive", "input", return c[0];),
    ROW("abs absolute fabs", "input", return l.kind(c[0]) == Kind::Bool ? c[0] : l.op(Op::Abs, {c[0]});),
    ROW("sign sgn", "input", return l.kind(c[0]) == Kind::Bool ? c[0] : l.op(Op::Sign, {c[0]});),
    ROW("signbit", "input", return signbit(l, c[0]);),
    ROW("copysign", "input other", const ValueId magnitude = l.op(Op::Abs, {l.toFloat(c[0])});
        return l.select(signbit(l, c[1]), l.op(Op::Neg, {magnitude}), magnitude);),
    ROW("heaviside", "input values", ValueId x = c[0], at0 = c[1]; l.promote(x, at0, Kind::Int);
        const ValueId step = l.convert(l.op(Op::Lt, {l.convert(l.integer(0), l.kind(x)), x}), l.kind(x));
        return l.select(l.op(Op::Eq, {x, l.convert(l.integer(0), l.kind(x))}), at0, step);),
    ROW("rsub", "input other", return l.binary("-", c[1], c[0]);),
    ROW("addcmul", "input tensor1 tensor2 value=", return addProduct(l, c, Op::Mul);),
    ROW("addcdiv", "input tensor1 tensor2 value=", return addProduct(l, c, Op::Div);),
    ROW("square", "input", return l.binary("*", c[0], c[0]);),
    ROW("reciprocal", "input", return l.op(Op::Div, {l.number(1), l.toFloat(c[0])});),
    ROW("maximum max", "input other ...", return fold(l, Op::Max, c);),
    ROW("minimum min", "input other ...", return fold(l, Op::Min, c);),
    ROW("fmax", "input other", return ignoringNan(l, Op::Max, c);),
    ROW("fmin", "input other", return ignoringNan(l, Op::Min, c);),
    ROW("clamp clip", "input min= max=", return clamp(l, c[0], c, 1, 2);),
    ROW("clamp_min", "input min", return clamp(l, c[0], c, 1, 2);),
    ROW("clamp_max", "input max", return clamp(l, c[0], c, 2, 1);),
    ROW("lerp", "input end weight", return lerp(l, l.toFloat(c[0]), l.toFloat(c[1]), l.toFloat(c[2]));),
    ROW("ldexp", "input other", return l.op(Op::Mul, {l.toFloat(c[0]), l.op(Op::Exp2, {l.toFloat(c[1])})});),
    // rounding
    ROW("floor", "input", return roundTo(l, Op::Floor, c);),
    ROW("ceil", "input", return roundTo(l, Op::Ceil, c);),
    ROW("trunc fix", "input", return roundTo(l, Op::Trunc, c);),
    ROW("round", "input decimals=", return c.has(1) ? roundDecimals(l, c) : roundTo(l, Op::Round, c);),
    ROW("frac", "input", const ValueId x = l.toFloat(c[0]); return l.op(Op::Sub, {x, l.op(Op::Trunc, {x})});),
    // exponentials and logarithms
    FLOAT("exp", Exp),
    FLOAT("exp2", Exp2),
    FLOAT("expm1", Expm1),
    ROW("log", "input base=", return logarithm(l, c);),
    FLOAT("log2", Log2),
    FLOAT("log10", Log10),
    FLOAT("log1p", Log1p),
    FLOAT("sqrt", Sqrt),
    FLOAT("rsqrt", Rsqrt),
    ROW("logaddexp", "input other", return logAddExp(l, c, Op::Exp, 1);),
    ROW("logaddexp2", "input other", return logAddExp(l, c, Op::Exp2, std::numbers::log2e);),
    // trigonometry
    FLOAT("sin", Sin),
    FLOAT("cos", Cos),
    FLOAT("tan", Tan),
    FLOAT("asin arcsin", Asin),
    FLOAT("acos arccos", Acos),
    FLOAT("atan arctan", Atan),
    FLOAT2("atan2 arctan2", Atan2),
    FLOAT("sinh", Sinh),
    FLOAT("cosh", Cosh),
    FLOAT("tanh", Tanh),
    FLOAT("asinh arcsinh", Asinh),
    FLOAT("acosh arccosh", Acosh),
    FLOAT("atanh arctanh", Atanh),
    FLOAT2("hypot", Hypot),
    ROW("deg2rad radians", "input", return l.op(Op::Mul, {l.toFloat(c[0]), l.number(std::numbers::pi / 180)});),
    ROW("rad2deg degrees", "input", return l.op(Op::Mul, {l.toFloat(c[0]), l.number(180 / std::numbers::pi)});),
    FLOAT("erf", Erf),
    ROW("logit", "input eps=", return logit(l, c);),
    ROW("sinc", "input", return sinc(l, l.toFloat(c[0]));),
    ROW("xlogy", "input other", return xTimesLog(l, c, Op::Log);),
    ROW("xlog1py", "input other", return xTimesLog(l, c, Op::Log1p);),
    ROW("entr", "input", return entropy(l, l.toFloat(c[0]));),
    FLOAT("erfc", Erfc),
    ROW("erfinv", "input", return erfInverse(l, l.toFloat(c[0]));),
    // random numbers
    ROW("rand", "seed offset", return randomNumber(l, c, Op::Rand);),
    ROW("randint", "seed offset", return randomNumber(l, c, Op::RandInt);),
    // activations
    ROW("sigmoid expit", "input", return sigmoid(l, l.toFloat(c[0]));),
    ROW("relu", "input", return l.arith(Op::Max, c[0], l.integer(0));),
    ROW("relu6", "input", return l.arith(Op::Min, l.arith(Op::Max, c[0], l.integer(0)), l.integer(6));),
    ROW("gelu", "input approximate=", return gelu(l, c);),
    ROW("silu swish", "input", return silu(l, l.toFloat(c[0]));),
    ROW("mish", "input", const ValueId x = l.toFloat(c[0]); return l.op(Op::Mul, {x, l.op(Op::Tanh, {softplus(l, x, l.number(1), l.number(20))})});),
    ROW("softplus", "input beta= threshold=", const ValueId x = l.toFloat(c[0]);
        return softplus(l, x, c.has(1) ? l.toFloat(c[1]) : l.number(1), c.has(2) ? l.toFloat(c[2]) : l.number(20));),
    ROW("logsigmoid", "input", return logSigmoid(l, l.toFloat(c[0]));),
    ROW("softsign", "input", const ValueId x = l.toFloat(c[0]); return l.op(Op::Div, {x, l.op(Op::Add, {l.op(Op::Abs, {x}), l.number(1)})});),
    ROW("tanhshrink", "input", const ValueId x = l.toFloat(c[0]); return l.op(Op::Sub, {x, l.op(Op::Tanh, {x})});),
    ROW("elu", "input alpha=", const ValueId x = l.toFloat(c[0]);
        return l.select(l.op(Op::Lt, {l.number(0), x}), x, l.op(Op::Mul, {l.op(Op::Expm1, {x}), c.has(1) ? l.toFloat(c[1]) : l.number(1)}));),
    ROW("leaky_relu", "input negative_slope=", const ValueId x = l.toFloat(c[0]);
        return l.select(l.op(Op::Lt, {l.number(0), x}), x, l.op(Op::Mul, {x, c.has(1) ? l.toFloat(c[1]) : l.number(0.01)}));),
    ROW("hardtanh", "input min_val= max_val=", const ValueId low = c.has(1) ? c[1] : l.integer(-1), high = c.has(2) ? c[2] : l.integer(1);
        return l.arith(Op::Min, l.arith(Op::Max, c[0], low), high);),
    ROW("selu", "input", const ValueId x = l.toFloat(c[0]); return selu(l, x);),
    ROW("celu", "input alpha=", const ValueId x = l.toFloat(c[0]), alpha = c.has(1) ? l.toFloat(c[1]) : l.number(1);
        return l.select(l.op(Op::Lt, {l.number(0), x}), x, l.op(Op::Mul, {l.op(Op::Expm1, {l.op(Op::Div, {x, alpha})}), alpha}));),
    ROW("prelu", "input weight", const ValueId x = l.toFloat(c[0]);
        return l.select(l.op(Op::Lt, {l.number(0), x}), x, l.op(Op::Mul, {x, l.toFloat(c[1])}));),
    ROW("rrelu", "input lower= upper=", const ValueId x = l.toFloat(c[0]); // as outside of training: the mean slope
        const ValueId low = c.has(1) ? l.toFloat(c[1]) : l.number(1.0 / 8), high = c.has(2) ? l.toFloat(c[2]) : l.number(1.0 / 3);
        return l.select(l.op(Op::Lt, {l.number(0), x}), x, l.op(Op::Mul, {x, l.op(Op::Mul, {l.op(Op::Add, {low, high}), l.number(0.5)})}));),
    ROW("hardswish", "input", const ValueId x = l.toFloat(c[0]);
        return l.op(Op::Div, {l.op(Op::Mul, {x, l.op(Op::Min, {l.op(Op::Max, {l.op(Op::Add, {x, l.number(3)}), l.number(0)}), l.number(6)})}), l.number(6)});),
    ROW("hardshrink", "input lambd=", const ValueId x = l.toFloat(c[0]), edge = c.has(1) ? l.toFloat(c[1]) : l.number(0.5);
        const ValueId inside = l.op(Op::LogicalAnd, {l.op(Op::Le, {l.op(Op::Neg, {edge}), x}), l.op(Op::Le, {x, edge})});
        return l.select(inside, l.number(0), x);),
    ROW("softshrink", "input lambd=", const ValueId x = l.toFloat(c[0]), edge = c.has(1) ? l.toFloat(c[1]) : l.number(0.5);
        const ValueId below = l.select(l.op(Op::Lt, {x, l.op(Op::Neg, {edge})}), l.op(Op::Add, {x, edge}), l.op(Op::Mul, {x, l.number(0)}));
        return l.select(l.op(Op::Lt, {edge, x}), l.op(Op::Sub, {x, edge}), below);),
    ROW("threshold", "input threshold value", const ValueId x = l.toFloat(c[0]);
        return l.select(l.op(Op::Le, {x, l.toFloat(c[1])}), l.toFloat(c[2]), x);),
    ROW("hardsigmoid", "input", const ValueId x = l.op(Op::Add, {l.toFloat(c[0]), l.number(3)});
        return l.op(Op::Div, {l.op(Op::Min, {l.op(Op::Max, {x, l.number(0)}), l.number(6)}), l.number(6)});),
    // comparisons, logic, bits
    COMPARE("eq", "=="),
    COMPARE("ne not_equal", "!="),
    COMPARE("lt less", "<"),
    COMPARE("le less_equal", "<="),
    COMPARE("gt greater", ">"),
    COMPARE("ge greater_equal", ">="),
    ROW("logical_and", "input other", return logical(l, Op::LogicalAnd, c);),
    ROW("logical_or", "input other", return logical(l, Op::LogicalOr, c);),
    ROW("logical_xor", "input other", return logical(l, Op::LogicalXor, c);),
    ROW("logical_not", "input", return l.op(Op::LogicalNot, {l.toBool(c[0])});),
    BINARY("bitwise_and", "&"),
    BINARY("bitwise_or", "|"),
    BINARY("bitwise_xor", "^"),
    ROW("bitwise_not", "input", return l.invert(c[0]);),
    BINARY("bitwise_left_shift", "<<"),
    BINARY("bitwise_right_shift", ">>"),
    ROW("isclose", "input other rtol= atol= equal_nan=", return isClose(l, c);),
    ROW("isnan", "input", return floatTest(l, Op::IsNan, c[0]);),
    ROW("isinf", "input", return floatTest(l, Op::IsInf, c[0]);),
    ROW("isposinf", "input", return l.kind(c[0]) == Kind::Float ? l.op(Op::Eq, {c[0], l.number(kInf)}) : l.boolean(false);),
    ROW("isneginf", "input", return l.kind(c[0]) == Kind::Float ? l.op(Op::Eq, {c[0], l.number(-kInf)}) : l.boolean(false);),
    ROW("isfinite", "input",
        return l.op(Op::LogicalNot, {l.op(Op::LogicalOr, {floatTest(l, Op::IsNan, c[0]), floatTest(l, Op::IsInf, c[0])})});),
    ROW("nan_to_num", "input nan= posinf= neginf=", return nanToNum(l, c);),
    // choosing and casting
    ROW("where", "condition input other", return where(l, c[0], c[1], c[2]);),
    ROW(".where", "input condition other", return where(l, c[1], c[0], c[2]);),
    ROW("masked_fill", "input mask value", return where(l, c[1], c[2], c[0]);),
    ROW("float", "input", return floatOf(l, c);),
    ROW(".double", "input", return l.toFloat(c[0]);),
    ROW("int .long", "input", return l.toInt(c[0]);),
    ROW("bool", "input", return l.toBool(c[0]);),
    ROW(".half .bfloat16", "input", return l.cast(c[0], DType::F16);),
    ROW(".char", "input", return l.cast(c[0], DType::I8);),
    ROW(".byte", "input", return l.cast(c[0], DType::U8);),
    ROW(".short", "input", return l.cast(c[0], DType::I16);),
    ROW(".to .type", "input dtype dtype=", return castTo(l, c, 1);),
    ROW(".type_as", "input other", return l.convert(c[0], l.kind(c[1]));),
    ROW("scalar_tensor", "data dtype=", return castTo(l, c, 1);),
    ROW(".new_tensor", "input data dtype=",
        return valueLike(l, c, c[1], 2, l.kind(c[1]));),
    ROW("zeros_like empty_like", "input dtype=", return valueLike(l, c, l.number(0), 1, l.kind(c[0]));),
    ROW("ones_like", "input dtype=", return valueLike(l, c, l.number(1), 1, l.kind(c[0]));),
    ROW("full_like", "input fill_value dtype=",
        return valueLike(l, c, c[1], 2, l.kind(c[0]));),
    ROW(".clone .detach .contiguous .item .tolist .cuda .cpu", "input", return c[0];),
};
// clang-format on

} // namespace

std::span<const Builtin> builtins() { return kBuiltins; }

const Builtin *findBuiltin(std::string_view name, bool asMethod) {
  using Index = std::unordered_map<std::string_view, const Builtin *>;
  // A method-only row overrides the free function of the same name.
  static const std::pair<Index, Index> kIndex = [] {
    std::pair<Index, Index> made;
    for (const Builtin &builtin : kBuiltins)
      forEachName(builtin.names, [&](std::string_view synonym, bool methodOnly) {
        if (methodOnly)
          made.second.insert_or_assign(synonym, &builtin);
        else if (made.first.emplace(synonym, &builtin).second)
          made.second.emplace(synonym, &builtin);
      });
    return made;
  }();
  const Index &index = asMethod ? kIndex.second : kIndex.first;
  const auto found = index.find(name);
  return found == index.end() ? nullptr : found->second;
}

const std::vector<SignatureName> &signatureOf(const Builtin &builtin) {
  static const std::vector<std::vector<SignatureName>> kSignatures = [] {
    std::vector<std::vector<SignatureName>> made;
    for (const Builtin &row : kBuiltins)
      made.push_back(parseSignature(row.signature));
    return made;
  }();
  return kSignatures[static_cast<std::size_t>(&builtin - kBuiltins)];
}

std::optional<double> findConstant(std::string_view name) {
  if (name == "inf" || name == "infty")
    return kInf;
  if (name == "nan")
    return std::numeric_limits<double>::quiet_NaN();
  if (name == "pi")
    return std::numbers::pi;
  if (name == "tau")
    return 2 * std::numbers::pi;
  if (name == "e")
    return std::numbers::e;
  return std::nullopt;
}

} // namespace attnjit::expr
