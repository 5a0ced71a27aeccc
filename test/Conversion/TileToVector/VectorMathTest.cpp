// Accuracy of the inline recipes against f64, over every exponent, on scalars and vectors of each target.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include "JitHarness.h"
#include "attnjit-mlir/Conversion/TileToVector/VectorMath.h"
#include "attnjit-mlir/Dialect/Tile/Tile.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <random>

using namespace attnjit;
using namespace attnjit::testing;
using mlir::Value;

namespace {

using Emit = std::function<Value(mlir::OpBuilder &, mlir::Location, tile::AbiAccess &, Value)>;

/// A kernel that applies `emit` in place to all vectors of workspace[0 .. end) (elements; a multiple of `lanes`). lanes 1: scalars.
std::unique_ptr<JitKernel> makeMapKernel(mlir::MLIRContext &context, const TargetDesc &target, bool isDouble, std::int64_t lanes, const Emit &emit,
                                         std::string &message) {
  mlir::OpBuilder builder(&context);
  mlir::Location loc = builder.getUnknownLoc();
  mlir::OwningOpRef<mlir::ModuleOp> module = mlir::ModuleOp::create(loc);
  builder.setInsertionPointToEnd(module->getBody());
  mlir::Type ptr = mlir::LLVM::LLVMPointerType::get(&context), i64 = builder.getI64Type();
  auto function = mlir::func::FuncOp::create(builder, loc, "map", builder.getFunctionType({ptr, i64, i64, ptr}, {}));
  function->setAttr("attnjit.workspace_bytes", builder.getI64IntegerAttr(0));
  mlir::Block *entry = function.addEntryBlock();
  builder.setInsertionPointToEnd(entry);
  builder.setInsertionPoint(mlir::func::ReturnOp::create(builder, loc));
  mlir::Type element = isDouble ? mlir::Type(builder.getF64Type()) : builder.getF32Type();
  mlir::Type type = lanes == 1 ? element : mlir::VectorType::get({lanes}, element);
  Value step = mlir::arith::ConstantOp::create(builder, loc, builder.getI64IntegerAttr(lanes));
  auto loop = mlir::scf::ForOp::create(builder, loc, entry->getArgument(1), entry->getArgument(2), step);
  builder.setInsertionPoint(loop.getBody()->getTerminator());
  Value at = mlir::LLVM::GEPOp::create(builder, loc, ptr, element, entry->getArgument(3),
                                       llvm::ArrayRef<mlir::LLVM::GEPArg>{loop.getInductionVar()});
  tile::AbiAccess abi(builder, loc, entry->getArgument(0));
  Value x = mlir::LLVM::LoadOp::create(builder, loc, type, at, 4);
  mlir::LLVM::StoreOp::create(builder, loc, emit(builder, loc, abi, x), at, 4);
  return compileVectorStage(*module, target, message);
}

Value emitByName(llvm::StringRef name, mlir::OpBuilder &builder, mlir::Location loc, tile::AbiAccess &abi, Value x) {
  mlir::OperationState state(loc, name);
  state.addOperands(x);
  state.addTypes(x.getType());
  mlir::Operation *op = builder.create(state);
  Value result = tile::emitMathOp(builder, abi, op, {x});
  op->erase();
  return result;
}

template <typename T> void applyTo(const JitKernel &kernel, std::vector<T> &values) {
  KernelArgs args{};
  args.functions = &libmTable();
  kernel.entry()(&args, 0, static_cast<std::int64_t>(values.size()), values.data());
}

/// Distance in units of the last place of the correctly rounded result; subnormal results may flush to 0.
template <typename T> double ulpError(T got, long double exact) {
  if (std::isnan(exact))
    return std::isnan(got) ? 0 : HUGE_VAL;
  T rounded = static_cast<T>(exact);
  if (std::isinf(rounded) || std::isinf(got))
    return rounded == got ? 0 : HUGE_VAL;
  if (std::fabs(exact) < std::numeric_limits<T>::min())
    return got == 0 || std::fabs(got - rounded) <= std::numeric_limits<T>::denorm_min() ? 0 : std::fabs(got) <= std::numeric_limits<T>::min() ? 1 : HUGE_VAL;
  int exponent;
  std::frexp(rounded, &exponent);
  return std::fabs(static_cast<double>((got - exact) / std::ldexp(1.0L, exponent - std::numeric_limits<T>::digits)));
}

/// Specials, then values that are uniform in their bits (so over all exponents), then values that are uniform in [-limit, limit].
template <typename T> std::vector<T> inputs(double limit) {
  using Limits = std::numeric_limits<T>;
  std::vector<T> values = {0, T(-0.0), 1, -1, Limits::infinity(), -Limits::infinity(), Limits::quiet_NaN(), Limits::min(), Limits::denorm_min(),
                           Limits::max(), Limits::lowest(), -Limits::min(), T(-126), T(-127), T(127.5), T(128), T(-1022), T(1024), T(88.7228317), T(-87.33654)};
  // NaN with a payload in the low bits, which integer tricks may mistake for an exponent.
  values.push_back(std::bit_cast<T>(std::bit_cast<std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>(Limits::quiet_NaN()) | 0x1ff));
  std::mt19937_64 random(1);
  while (values.size() < 200000) {
    auto bits = random();
    values.push_back(std::bit_cast<T>(static_cast<std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>(bits)));
    values.push_back(static_cast<T>((static_cast<double>(random() >> 11) * 0x1p-53 * 2 - 1) * limit));
  }
  values.resize(values.size() / 16 * 16);
  return values;
}

template <typename T>
void checkAccuracy(std::string name, const Emit &emit, long double (*exact)(long double), double limit, double ulps,
                   bool (*domain)(double) = [](double) { return true; }) {
  std::string message;
  auto context = makeContext(message);
  const std::vector<T> values = inputs<T>(limit);
  for (const TargetDesc &target : runnableTargets())
    for (std::int64_t lanes : {std::int64_t(1), std::int64_t(target.vectorBits / 8 / sizeof(T))}) {
      CAPTURE(name);
      CAPTURE(target.cpu);
      CAPTURE(lanes);
      auto kernel = makeMapKernel(*context, target, sizeof(T) == 8, lanes, emit, message);
      CAPTURE(message);
      REQUIRE(kernel);
      std::vector<T> results = values;
      applyTo(*kernel, results);
      double worst = 0;
      T worstInput = 0;
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (!domain(values[i]))
          continue;
        double error = ulpError(results[i], exact(values[i]));
        if (!(error <= worst)) {
          worst = error;
          worstInput = values[i];
        }
      }
      CAPTURE(worstInput);
      CHECK(worst <= ulps);
    }
}

Emit mathOp(llvm::StringRef name) {
  return [name](mlir::OpBuilder &builder, mlir::Location loc, tile::AbiAccess &abi, Value x) { return emitByName(name, builder, loc, abi, x); };
}

const Emit kExp2NonPositive = [](mlir::OpBuilder &builder, mlir::Location loc, tile::AbiAccess &, Value x) {
  return tile::emitExp2NonPositive(builder, loc, x);
};

} // namespace

TEST_CASE("exponentials in f32") {
  checkAccuracy<float>("exp2", mathOp("math.exp2"), exp2l, 130, 1.0);
  checkAccuracy<float>("exp2 of x <= 0", kExp2NonPositive, exp2l, 130, 1.0, [](double x) { return !(x > 0); });
  checkAccuracy<float>("exp", mathOp("math.exp"), expl, 90, 1.5);
}

TEST_CASE("exponentials in f64") {
  checkAccuracy<double>("exp2", mathOp("math.exp2"), exp2l, 1030, 1.0);
  checkAccuracy<double>("exp2 of x <= 0", kExp2NonPositive, exp2l, 1030, 1.0, [](double x) { return !(x > 0); });
  checkAccuracy<double>("exp", mathOp("math.exp"), expl, 710, 1.0);
}

TEST_CASE("tanh and logarithms in f32") {
  checkAccuracy<float>("tanh", mathOp("math.tanh"), tanhl, 12, 3.0);
  checkAccuracy<float>("log", mathOp("math.log"), logl, 1000, 1.5);
  checkAccuracy<float>("log2", mathOp("math.log2"), log2l, 1000, 2.0);
}

TEST_CASE("instructions") {
  auto rsqrt = [](long double x) { return 1 / sqrtl(x); };
  checkAccuracy<float>("sqrt", mathOp("math.sqrt"), sqrtl, 1000, 0.5);
  checkAccuracy<float>("rsqrt", mathOp("math.rsqrt"), rsqrt, 1000, 1.5);
  checkAccuracy<float>("roundeven", mathOp("math.roundeven"), rintl, 1000, 0);
  checkAccuracy<double>("floor", mathOp("math.floor"), floorl, 1000, 0);
}

TEST_CASE("calls through the function table") {
  checkAccuracy<float>("sin", mathOp("math.sin"), sinl, 100, 1.0, [](double x) { return std::fabs(x) < 1000; });
  checkAccuracy<float>("erf", mathOp("math.erf"), erfl, 5, 1.5);
  checkAccuracy<double>("tanh", mathOp("math.tanh"), tanhl, 12, 2.0);
}
