// Accuracy of every function of the formula language as the CPU computes it: f32 against f64, f64 against long double; dense samples over
// the usual range and over all exponents, special values, on scalars and vectors of each target. The bounds are those of docs/functions.md
// (a test compares the two).
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "MathKernel.h"
#include "attnjit-mlir/Conversion/TileToVector/VectorMath.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <limits>
#include <random>
#include <regex>
#include <sstream>

using namespace attnjit;
using namespace attnjit::testing;
using mlir::Value;

namespace {

const Emit kExp2OfSoftmax = [](mlir::OpBuilder &builder, mlir::Location loc, tile::AbiAccess &, llvm::ArrayRef<Value> operands) {
  return tile::emitExp2OfSoftmax(builder, loc, operands[0]);
};

const Emit kExp2ForBf16 = [](mlir::OpBuilder &builder, mlir::Location loc, tile::AbiAccess &, llvm::ArrayRef<Value> operands) {
  return tile::emitExp2ForBf16(builder, loc, operands[0]);
};

const Emit kExp2Short = [](mlir::OpBuilder &builder, mlir::Location loc, tile::AbiAccess &, llvm::ArrayRef<Value> operands) {
  return tile::emitExp2Short(builder, loc, operands[0]);
};

//===------------------------------------------------------------------------------------------------------------------===//
// Samples and errors
//===------------------------------------------------------------------------------------------------------------------===//

template <typename T> using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

template <typename T> std::vector<T> specials() {
  using Limits = std::numeric_limits<T>;
  // NaN with a payload in the low bits, which integer tricks may mistake for an exponent.
  return {0,
          T(-0.0),
          1,
          -1,
          Limits::infinity(),
          -Limits::infinity(),
          Limits::quiet_NaN(),
          std::bit_cast<T>(std::bit_cast<Bits<T>>(Limits::quiet_NaN()) | 0x1ff),
          Limits::min(),
          -Limits::min(),
          Limits::denorm_min(),
          -Limits::denorm_min(),
          Limits::max(),
          Limits::lowest(),
          2,
          -2,
          3,
          -3,
          T(0.5),
          T(-0.5),
          T(2.5),
          T(-126),
          T(-127),
          T(127.5),
          T(128),
          T(-149.5),
          T(-1022),
          T(1024),
          T(88.7228317),
          T(-87.33654),
          T(-103.9),
          T(1 - Limits::epsilon() / 2),
          T(1 + Limits::epsilon())};
}

struct Range {
  double low, high;
};

constexpr std::size_t kSamples = 1 << 20;

/// Specials, then by turns values that are uniform in their bits (so over all exponents), uniform in `range`, and near powers of two.
template <typename T> std::vector<T> inputs(Range range, std::size_t count = kSamples) {
  std::vector<T> values = specials<T>();
  std::mt19937_64 random(1);
  auto unit = [&] { return static_cast<double>(random() >> 11) * 0x1p-53; };
  while (values.size() < count) {
    values.push_back(std::bit_cast<T>(static_cast<Bits<T>>(random())));
    for (int i = 0; i < 2; ++i)
      values.push_back(static_cast<T>(range.low + unit() * (range.high - range.low)));
    values.push_back(static_cast<T>(std::ldexp(unit() - 0.5, static_cast<int>(unit() * 40) - 30)));
  }
  values.resize(count);
  return values;
}

/// Distance in units of the last place of the correctly rounded result; the smallest unit is that of subnormal numbers. The sign of zero
/// counts.
template <typename T, typename E> double ulpError(T got, E exact) {
  if (std::isnan(exact))
    return std::isnan(got) ? 0 : HUGE_VAL;
  const T rounded = static_cast<T>(exact);
  if (std::isinf(rounded) || std::isinf(got))
    return rounded == got || (std::isinf(got) && std::nextafter(rounded, got) == got) ||
                   (std::isinf(rounded) && std::nextafter(got, rounded) == rounded)
               ? rounded != got
               : HUGE_VAL;
  if (got == 0 && rounded == 0)
    return std::signbit(got) == std::signbit(rounded) ? 0 : HUGE_VAL;
  int exponent;
  std::frexp(rounded, &exponent);
  exponent = std::max(exponent, std::numeric_limits<T>::min_exponent);
  return std::fabs(static_cast<double>((got - exact) / std::ldexp(E(1), exponent - std::numeric_limits<T>::digits)));
}

/// Largest error of `kernel` over memory = x's, then y's if there are two operands.
template <typename T, typename E> struct Worst {
  double ulps = 0;
  T x = 0, y = 0, got = 0;
  void look(T result, E exact, T atX, T atY) {
    double error = ulpError(result, exact);
    if (error <= ulps)
      return;
    ulps = error;
    x = atX;
    y = atY;
    got = result;
  }
};

/// Checks `emit` on the inputs in `memory` against `exact`, which has a value for each, on all targets, scalars and vectors.
template <typename T, typename E>
double checkAgainst(const std::string &name, const Emit &emit, const std::vector<T> &memory, const std::vector<E> &exact, double ulps,
                    bool flushes = false) {
  std::string message;
  auto context = makeContext(message);
  const int arity = static_cast<int>(memory.size() / exact.size());
  double largest = 0;
  for (const TargetDesc &target : runnableTargets())
    for (std::int64_t lanes : {std::int64_t(1), std::int64_t(target.vectorBits / 8 / sizeof(T))}) {
      CAPTURE(name);
      CAPTURE(target.cpu);
      CAPTURE(lanes);
      auto kernel = makeMapKernel<T>(*context, target, lanes, arity, emit, message);
      CAPTURE(message);
      REQUIRE(kernel);
      std::vector<T> results = memory;
      applyTo(*kernel, results, arity);
      Worst<T, E> worst;
      for (std::size_t i = 0; i < exact.size(); ++i) {
        E expected = exact[i];
        if (flushes && std::fabs(expected) < std::numeric_limits<T>::min() && std::fabs(results[i]) <= std::numeric_limits<T>::min())
          continue;
        worst.look(results[i], expected, memory[i], memory[(arity - 1) * exact.size() + i]);
      }
      CAPTURE(worst.x);
      CAPTURE(worst.y);
      CAPTURE(worst.got);
      CHECK(worst.ulps <= ulps);
      largest = std::max(largest, worst.ulps);
    }
  return largest;
}

template <typename T, typename E> double checkUnary(const std::string &name, const Emit &emit, E (*exact)(E), Range range, double ulps) {
  const std::vector<T> values = inputs<T>(range, sizeof(T) == 4 ? kSamples : kSamples / 8);
  std::vector<E> expected(values.size());
  std::transform(values.begin(), values.end(), expected.begin(), [&](T x) { return exact(static_cast<E>(x)); });
  return checkAgainst<T, E>(name, emit, values, expected, ulps);
}

/// All pairs of specials, then pairs out of `inputs`, shuffled.
template <typename T, typename E>
double checkBinary(const std::string &name, const Emit &emit, E (*exact)(E, E), Range xRange, Range yRange, double ulps) {
  std::vector<T> xs = inputs<T>(xRange), ys = inputs<T>(yRange);
  std::shuffle(ys.begin(), ys.end(), std::mt19937_64(2));
  const std::vector<T> special = specials<T>();
  for (std::size_t i = 0; i < special.size() * special.size(); ++i) {
    xs[i] = special[i / special.size()];
    ys[i] = special[i % special.size()];
  }
  std::vector<E> expected(xs.size());
  for (std::size_t i = 0; i < xs.size(); ++i)
    expected[i] = exact(static_cast<E>(xs[i]), static_cast<E>(ys[i]));
  std::vector<T> memory = xs;
  memory.insert(memory.end(), ys.begin(), ys.end());
  return checkAgainst<T, E>(name, emit, memory, expected, ulps);
}

double rsqrt(double x) { return 1 / std::sqrt(x); }
double floorMod(double x, double y) {
  const double rest = std::fmod(x, y);
  return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
}
/// Exact in long double only as far as quotients fit; f32 ones that do not are rounded anyway.
double floorDiv(double x, double y) {
  if (std::isinf(x) && y != 0)
    return std::numeric_limits<double>::quiet_NaN();
  if (std::isinf(y) && x != 0 && !std::isnan(x))
    return (x < 0) != (y < 0) ? -1.0 : 0.0;
  const double quotient = std::floor(x / y), rest = std::fma(-quotient, y, x);
  return (rest < 0 && y > 0) || (rest > 0 && y < 0) ? quotient - 1 : quotient;
}

struct Unary {
  const char *name, *op;
  double (*exact)(double);
  Range range;
  double ulps;
};

const Unary kUnary[] = {
    {"exp", "math.exp", std::exp, {-104, 89}, 1.5},
    {"exp2", "math.exp2", std::exp2, {-150, 129}, 1},
    {"expm1", "math.expm1", std::expm1, {-20, 20}, 2},
    {"log", "math.log", std::log, {0, 1000}, 1},
    {"log2", "math.log2", std::log2, {0, 1000}, 1.5},
    {"log10", "math.log10", std::log10, {0, 1000}, 1.5},
    {"log1p", "math.log1p", std::log1p, {-1, 10}, 1.5},
    {"sqrt", "math.sqrt", std::sqrt, {0, 1000}, 0.5},
    {"rsqrt", "math.rsqrt", rsqrt, {0, 1000}, 1.5},
    {"sin", "math.sin", std::sin, {-131072, 131072}, 2.5},
    {"cos", "math.cos", std::cos, {-131072, 131072}, 2.5},
    {"tan", "math.tan", std::tan, {-131072, 131072}, 4},
    {"asin", "math.asin", std::asin, {-1, 1}, 2.5},
    {"acos", "math.acos", std::acos, {-1, 1}, 1.5},
    {"atan", "math.atan", std::atan, {-4, 4}, 1.5},
    {"sinh", "math.sinh", std::sinh, {-20, 20}, 2},
    {"cosh", "math.cosh", std::cosh, {-90, 90}, 1.5},
    {"tanh", "math.tanh", std::tanh, {-10, 10}, 3.5},
    {"asinh", "math.asinh", std::asinh, {-10, 10}, 2},
    {"acosh", "math.acosh", std::acosh, {1, 10}, 2},
    {"atanh", "math.atanh", std::atanh, {-1, 1}, 2.5},
    {"erf", "math.erf", std::erf, {-4, 4}, 1.5},
    {"erfc", "math.erfc", std::erfc, {-4, 10}, 4},
    {"floor", "math.floor", std::floor, {-1000, 1000}, 0},
    {"ceil", "math.ceil", std::ceil, {-1000, 1000}, 0},
    {"trunc", "math.trunc", std::trunc, {-1000, 1000}, 0},
    {"round", "math.roundeven", std::nearbyint, {-1000, 1000}, 0},
};

struct Binary {
  const char *name;
  Emit emit;
  double (*exact)(double, double);
  Range x, y;
  double ulps;
};

const Binary kBinary[] = {
    {"pow", pointwise(attn::PointwiseKind::Pow), std::pow, {0, 10}, {-40, 40}, 4},
    {"atan2", mathOp("math.atan2"), std::atan2, {-4, 4}, {-4, 4}, 2},
    {"hypot", pointwise(attn::PointwiseKind::Hypot), std::hypot, {-4, 4}, {-4, 4}, 2},
    {"fmod", pointwise(attn::PointwiseKind::Rem), std::fmod, {-1000, 1000}, {-10, 10}, 0},
    {"remainder", pointwise(attn::PointwiseKind::FloorMod), floorMod, {-1000, 1000}, {-10, 10}, 0.5},
    {"floor_divide", pointwise(attn::PointwiseKind::FloorDiv), floorDiv, {-1000, 1000}, {-10, 10}, 1},
};

} // namespace

TEST_CASE("functions of one float in f32") {
  for (const Unary &row : kUnary)
    checkUnary<float, double>(row.name, mathOp(row.op), row.exact, row.range, row.ulps);
  checkUnary<float, double>("sign", pointwise(attn::PointwiseKind::Sign), [](double x) { return double((x > 0) - (x < 0)); }, {-2, 2}, 0);
}

TEST_CASE("functions of two floats in f32") {
  for (const Binary &row : kBinary)
    checkBinary<float, double>(row.name, row.emit, row.exact, row.x, row.y, row.ulps);
}

namespace {

/// As a kernel without function table has it.
Emit inlineForm(const Emit &emit) {
  return [emit](mlir::OpBuilder &builder, mlir::Location loc, tile::AbiAccess &abi, llvm::ArrayRef<Value> operands) {
    tile::AbiAccess withoutTable(builder, loc, abi.arguments(), tile::AbiAccess::Functions::Inline);
    return emit(builder, loc, withoutTable, operands);
  };
}

struct UnaryDouble {
  const char *name, *op;
  long double (*exact)(long double);
  Range range;
  double ulps;
};

const UnaryDouble kUnaryDouble[] = {
    {"exp", "math.exp", expl, {-750, 711}, 1},         {"exp2", "math.exp2", exp2l, {-1080, 1030}, 1},
    {"expm1", "math.expm1", expm1l, {-40, 40}, 2},     {"log", "math.log", logl, {0, 1000}, 1},
    {"log2", "math.log2", log2l, {0, 1000}, 2},        {"log10", "math.log10", log10l, {0, 1000}, 1.5},
    {"log1p", "math.log1p", log1pl, {-1, 10}, 1.5},    {"sin", "math.sin", sinl, {-131072, 131072}, 2.5},
    {"cos", "math.cos", cosl, {-131072, 131072}, 2.5}, {"tan", "math.tan", tanl, {-131072, 131072}, 4},
    {"asin", "math.asin", asinl, {-1, 1}, 2.5},        {"acos", "math.acos", acosl, {-1, 1}, 1.5},
    {"atan", "math.atan", atanl, {-4, 4}, 1.5},        {"sinh", "math.sinh", sinhl, {-20, 20}, 2},
    {"cosh", "math.cosh", coshl, {-700, 700}, 1.5},    {"tanh", "math.tanh", tanhl, {-20, 20}, 3.5},
    {"asinh", "math.asinh", asinhl, {-10, 10}, 2},     {"acosh", "math.acosh", acoshl, {1, 10}, 2},
    {"atanh", "math.atanh", atanhl, {-1, 1}, 2.5},     {"erf", "math.erf", erfl, {-6, 6}, 1.5},
    {"erfc", "math.erfc", erfcl, {-6, 27}, 5},
};

struct BinaryDouble {
  const char *name;
  Emit emit;
  long double (*exact)(long double, long double);
  Range x, y;
  double ulps;
};

const BinaryDouble kBinaryDouble[] = {
    {"pow", pointwise(attn::PointwiseKind::Pow), powl, {0, 10}, {-300, 300}, 4},
    {"atan2", mathOp("math.atan2"), atan2l, {-4, 4}, {-4, 4}, 2},
    {"hypot", pointwise(attn::PointwiseKind::Hypot), hypotl, {-4, 4}, {-4, 4}, 2},
    {"fmod", pointwise(attn::PointwiseKind::Rem), fmodl, {-1000, 1000}, {-10, 10}, 0},
};

} // namespace

TEST_CASE("functions in f64 without function table, as GPUs have them") {
  for (const UnaryDouble &row : kUnaryDouble)
    checkUnary<double, long double>(row.name, inlineForm(mathOp(row.op)), row.exact, row.range, row.ulps);
  for (const BinaryDouble &row : kBinaryDouble)
    checkBinary<double, long double>(row.name, inlineForm(row.emit), row.exact, row.x, row.y, row.ulps);
}

TEST_CASE("docs/functions.md states these bounds") {
  std::stringstream doc;
  doc << std::ifstream(ATTNJIT_FUNCTIONS_DOC).rdbuf();
  const std::string text = doc.str();
  const std::size_t half = text.find("## In f64 on GPUs");
  REQUIRE(half != std::string::npos);
  std::string part = text.substr(0, half);
  auto check = [&](const std::string &name, double ulps) {
    CAPTURE(name);
    std::smatch row;
    REQUIRE(std::regex_search(part, row, std::regex("\\| `" + name + "` \\| ([0-9.]+) \\| ([0-9.]+) \\|")));
    CHECK(std::stod(row[1]) == ulps);
    CHECK(std::stod(row[2]) <= ulps);
  };
  for (const Unary &row : kUnary)
    check(row.name, row.ulps);
  for (const Binary &row : kBinary)
    check(row.name, row.ulps);
  part = text.substr(half);
  for (const UnaryDouble &row : kUnaryDouble)
    check(row.name, row.ulps);
  for (const BinaryDouble &row : kBinaryDouble)
    check(row.name, row.ulps);
}

/// Nanoseconds per element of the widest vectors that this machine has, on values from the usual range; the best of some rounds in cache.
template <typename T> double nanoseconds(const Emit &emit, Range x, Range y, int arity) {
  std::string message;
  auto context = makeContext(message);
  const TargetDesc target = runnableTargets().back();
  auto kernel = makeMapKernel<T>(*context, target, target.vectorBits / 8 / sizeof(T), arity, emit, message);
  REQUIRE(kernel);
  constexpr std::size_t kCount = 4096;
  std::vector<T> memory;
  std::mt19937 random(1);
  for (Range range : {x, y})
    for (std::size_t i = 0; i < kCount; ++i)
      memory.push_back(static_cast<T>(std::uniform_real_distribution<double>(range.low, range.high)(random)));
  memory.resize(kCount * static_cast<std::size_t>(arity));
  double best = HUGE_VAL;
  for (int round = 0; round < 2000; ++round) {
    std::vector<T> copy = memory;
    const auto start = std::chrono::steady_clock::now();
    applyTo(*kernel, copy, arity);
    const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - start;
    best = std::min(best, taken.count());
  }
  return best / kCount;
}

void printRow(const char *name, double bound, double worst, double ns) {
  std::cout << "| `" << name << "` | " << bound << " | " << std::ceil(worst * 100) / 100 << " | " << std::setprecision(2) << ns
            << std::setprecision(6) << " |" << std::endl;
}

TEST_CASE("the rows of docs/functions.md, with --no-skip" * doctest::skip()) {
  for (const Unary &row : kUnary) {
    const double worst = checkUnary<float, double>(row.name, mathOp(row.op), row.exact, row.range, row.ulps);
    printRow(row.name, row.ulps, worst, nanoseconds<float>(mathOp(row.op), row.range, row.range, 1));
  }
  for (const Binary &row : kBinary) {
    const double worst = checkBinary<float, double>(row.name, row.emit, row.exact, row.x, row.y, row.ulps);
    printRow(row.name, row.ulps, worst, nanoseconds<float>(row.emit, row.x, row.y, 2));
  }
  auto printDouble = [](const char *name, double bound, double worst) {
    std::cout << "| `" << name << "` | " << bound << " | " << std::ceil(worst * 100) / 100 << " |" << std::endl;
  };
  for (const UnaryDouble &row : kUnaryDouble)
    printDouble(row.name, row.ulps, checkUnary<double, long double>(row.name, inlineForm(mathOp(row.op)), row.exact, row.range, row.ulps));
  for (const BinaryDouble &row : kBinaryDouble)
    printDouble(row.name, row.ulps, checkBinary<double, long double>(row.name, inlineForm(row.emit), row.exact, row.x, row.y, row.ulps));
}

TEST_CASE("exponentials of the softmax") {
  constexpr float kSlack = 12; // 8 (FlashShape::referenceSlack), in units of ln 2
  std::vector<float> values = inputs<float>({-130, kSlack});
  for (float &value : values)
    value = value > kSlack ? -value : value;
  std::vector<double> expected(values.begin(), values.end());
  for (double &value : expected)
    value = std::exp2(value);
  checkAgainst<float, double>("exp2 of x <= 12", kExp2OfSoftmax, values, expected, 1, /*flushes=*/true);
  checkAgainst<float, double>("the same for bf16", kExp2ForBf16, values, expected, 3, /*flushes=*/true);
  checkAgainst<float, double>("the same for 16 bits, on GPUs", kExp2Short, values, expected, 50, /*flushes=*/true); // 3e-6
}

TEST_CASE("functions in f64: exp and exp2 inline, the others through the function table") {
  checkUnary<double, long double>("exp2", mathOp("math.exp2"), exp2l, {-1080, 1030}, 1);
  checkUnary<double, long double>("exp", mathOp("math.exp"), expl, {-750, 711}, 1);
  checkUnary<double, long double>("tanh", mathOp("math.tanh"), tanhl, {-12, 12}, 3);
  checkUnary<double, long double>("erf", mathOp("math.erf"), erfl, {-5, 5}, 2);
  checkUnary<double, long double>("floor", mathOp("math.floor"), floorl, {-1000, 1000}, 0);
  checkBinary<double, long double>("pow", pointwise(attn::PointwiseKind::Pow), powl, {0, 10}, {-40, 40}, 1);
  checkBinary<double, long double>("fmod", pointwise(attn::PointwiseKind::Rem), fmodl, {-1000, 1000}, {-10, 10}, 0);
}
