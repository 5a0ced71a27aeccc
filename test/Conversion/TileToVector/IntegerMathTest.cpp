// Integer division, remainders and powers of the formula language as the CPU computes them: exact, zero divisors and wrapping included.
#include "MathKernel.h"

#include <doctest/doctest.h>
#include <limits>
#include <random>

using namespace attnjit;
using namespace attnjit::testing;
using mlir::Value;

namespace {

template <typename T> T wrap(std::make_unsigned_t<T> x) { return static_cast<T>(x); }

template <typename T> T floorDivide(T a, T b) {
  if (b == 0)
    return 0;
  if (b == -1)
    return wrap<T>(0 - static_cast<std::make_unsigned_t<T>>(a));
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}
template <typename T> T floorModulo(T a, T b) {
  if (b == 0 || b == -1)
    return 0;
  T rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}
template <typename T> T truncatedModulo(T a, T b) { return b == 0 || b == -1 ? 0 : a % b; }
template <typename T> T power(T a, T b) {
  if (b < 0)
    return a == 1 ? 1 : a == -1 ? (b % 2 ? -1 : 1) : 0;
  std::make_unsigned_t<T> result = 1, base = static_cast<std::make_unsigned_t<T>>(a);
  for (; b; b >>= 1, base *= base)
    if (b & 1)
      result *= base;
  return wrap<T>(result);
}

/// Numbers of every size, and those at which divisions are delicate. `size` bits at most.
template <typename T> std::vector<T> integers(std::size_t count, int size, std::uint64_t seed) {
  using Limits = std::numeric_limits<T>;
  std::vector<T> values = {0, 1, -1, 2, -2, 3, 7, Limits::max(), Limits::min(), T(Limits::max() - 1), T(Limits::min() + 1), T(1 << 30)};
  std::mt19937_64 random(seed);
  while (values.size() < count)
    values.push_back(static_cast<T>(static_cast<std::int64_t>(random()) >> (64 - 1 - random() % static_cast<unsigned>(size))));
  return values;
}

template <typename T> void checkIntegers(const std::string &name, attn::PointwiseKind kind, T (*exact)(T, T), int size) {
  std::string message;
  auto context = makeContext(message);
  constexpr std::size_t kCount = 1 << 16, kFew = 12;
  std::vector<T> memory = integers<T>(kCount, size, 1), divisors = integers<T>(kCount, size, 2);
  for (std::size_t i = 0; i < kFew * kFew; ++i) {
    divisors[i] = divisors[i % kFew];
    memory[kFew * kFew - 1 - i] = memory[(kFew * kFew - 1 - i) / kFew];
  }
  // Exact multiples, and their neighbours.
  for (std::size_t i = kCount / 2; i < kCount; ++i) {
    using U = std::make_unsigned_t<T>;
    memory[i] = static_cast<T>(
        static_cast<U>(memory[i] / (divisors[i] == 0 || divisors[i] == -1 ? 1 : divisors[i])) * static_cast<U>(divisors[i]) + i % 3 - 1);
  }
  memory.insert(memory.end(), divisors.begin(), divisors.end());
  for (const TargetDesc &target : runnableTargets())
    for (std::int64_t lanes : {std::int64_t(1), std::int64_t(target.vectorBits / 8 / sizeof(T))}) {
      CAPTURE(name);
      CAPTURE(target.cpu);
      CAPTURE(lanes);
      auto kernel = makeMapKernel<T>(*context, target, lanes, 2, pointwise(kind), message);
      CAPTURE(message);
      REQUIRE(kernel);
      std::vector<T> results = memory;
      applyTo(*kernel, results, 2);
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < kCount; ++i) {
        const T expected = exact(memory[i], memory[kCount + i]);
        if (results[i] == expected)
          continue;
        ++wrong;
        INFO("f(" << memory[i] << ", " << memory[kCount + i] << ") = " << results[i] << ", expected " << expected);
        if (wrong < 4)
          CHECK(results[i] == expected);
      }
      CHECK(wrong == 0);
    }
}

/// Division by a constant, which has forms of its own.
template <typename T> void checkConstantDivisor(T divisor) {
  for (auto [kind, exact] :
       {std::pair{attn::PointwiseKind::FloorDiv, &floorDivide<T>}, std::pair{attn::PointwiseKind::FloorMod, &floorModulo<T>},
        std::pair{attn::PointwiseKind::Rem, &truncatedModulo<T>}}) {
    Emit emit = [divisor, kind](mlir::OpBuilder &builder, mlir::Location loc, tile::AbiAccess &abi, llvm::ArrayRef<Value> operands) {
      mlir::Type type = operands[0].getType();
      auto vector = mlir::dyn_cast<mlir::VectorType>(type);
      mlir::TypedAttr value = builder.getIntegerAttr(typeOf<T>(builder), divisor);
      if (vector)
        value = mlir::DenseElementsAttr::get(vector, mlir::Attribute(value));
      Value constant = mlir::arith::ConstantOp::create(builder, loc, value);
      return pointwise(kind)(builder, loc, abi, {operands[0], constant});
    };
    std::string message;
    auto context = makeContext(message);
    const std::vector<T> values = integers<T>(1 << 12, 8 * sizeof(T), 3);
    for (const TargetDesc &target : runnableTargets()) {
      CAPTURE(target.cpu);
      CAPTURE(divisor);
      auto kernel = makeMapKernel<T>(*context, target, target.vectorBits / 8 / sizeof(T), 1, emit, message);
      CAPTURE(message);
      REQUIRE(kernel);
      std::vector<T> results = values;
      applyTo(*kernel, results, 1);
      bool allEqual = true;
      for (std::size_t i = 0; i < values.size(); ++i)
        allEqual &= results[i] == exact(values[i], divisor);
      CHECK(allEqual);
    }
  }
}

template <typename T> void checkAllIntegers(int size) {
  checkIntegers<T>("floor_div", attn::PointwiseKind::FloorDiv, floorDivide<T>, size);
  checkIntegers<T>("floor_mod", attn::PointwiseKind::FloorMod, floorModulo<T>, size);
  checkIntegers<T>("rem", attn::PointwiseKind::Rem, truncatedModulo<T>, size);
  checkIntegers<T>("pow", attn::PointwiseKind::Pow, power<T>, size);
}

} // namespace

TEST_CASE("integer division and powers are exact") {
  checkAllIntegers<std::int32_t>(32);
  checkAllIntegers<std::int64_t>(64);
  checkAllIntegers<std::int64_t>(20); // fits i32: the fast way
}

TEST_CASE("integer division by constants is exact") {
  for (int divisor : {1, 2, 3, 7, 64, 100, 128, 1 << 30, -1, -2, -3, -128, 0}) {
    checkConstantDivisor<std::int32_t>(divisor);
    checkConstantDivisor<std::int64_t>(divisor);
  }
}
