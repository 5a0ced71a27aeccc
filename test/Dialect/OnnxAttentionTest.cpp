// ONNX's Attention, built into a function, lowered, run, and compared with what ONNX's page on the operator says, in double.
#include "attnjit-mlir/Import/OnnxAttention.h"
#include "attnjit-mlir/Conversion/AttnToKernel/AttnToKernel.h"
#include "attnjit-mlir/InitAll.h"

#include "mlir/AsmParser/AsmParser.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/ExecutionEngine/CRunnerUtils.h"
#include "mlir/ExecutionEngine/ExecutionEngine.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/Support/TargetSelect.h"

#include <cmath>
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <functional>
#include <numeric>

using namespace attnjit;
using namespace mlir;

namespace {

/// A tensor of a test: f32, or truth values of a byte, or i64.
template <typename T> struct Tensor {
  std::vector<int64_t> sizes;
  std::vector<T> values;

  explicit Tensor(std::vector<int64_t> sizes, double seed = 0) : sizes(std::move(sizes)), values(static_cast<size_t>(count())) {
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<T>(seed == 0 ? 0 : std::sin(seed * static_cast<double>(i + 1)));
  }
  int64_t count() const { return std::accumulate(sizes.begin(), sizes.end(), int64_t{1}, std::multiplies<>()); }
  T at(std::initializer_list<int64_t> indices) const {
    int64_t place = 0;
    size_t dim = 0;
    for (int64_t index : indices)
      place = place * sizes[dim++] + index;
    return values[static_cast<size_t>(place)];
  }
};

/// What MLIR calls a memref: a base, an aligned pointer, an offset, sizes, strides.
template <typename T> std::vector<int64_t> descriptorOf(const Tensor<T> &tensor) {
  const auto data = reinterpret_cast<int64_t>(tensor.values.data());
  std::vector<int64_t> words{data, data, 0}, strides(tensor.sizes.size(), 1);
  for (size_t dim = tensor.sizes.size(); dim-- > 1;)
    strides[dim - 1] = strides[dim] * tensor.sizes[dim];
  words.insert(words.end(), tensor.sizes.begin(), tensor.sizes.end());
  words.insert(words.end(), strides.begin(), strides.end());
  return words;
}

struct Case {
  int64_t B = 2, Hq = 4, Hkv = 2, M = 5, N = 37, P = 0, D = 8, Dv = 16;
  bool is3D = false, isStatic = false;
  std::vector<int64_t> maskSizes{}; ///< empty: no mask
  bool maskAdds = false;
  std::vector<int64_t> used{};
  bool isCausal = false;
  int64_t left = -1, right = -1;
  double softcap = 0;
  std::optional<double> scale{};
  std::optional<attn::OnnxScores> scores{};

  int64_t keys() const { return P + N; }
};

/// The inputs of a case, and the outputs that a built function writes.
struct Tensors {
  Tensor<float> q, k, v, pastKey, pastValue, added, y, scores, presentKey, presentValue;
  Tensor<std::uint8_t> truth;
  Tensor<int64_t> used;

  explicit Tensors(const Case &c)
      : q(shape(c, c.Hq, c.M, c.D), 0.3), k(shape(c, c.Hkv, c.N, c.D), 0.7), v(shape(c, c.Hkv, c.N, c.Dv), 1.1),
        pastKey({c.B, c.Hkv, c.P, c.D}, 0.9), pastValue({c.B, c.Hkv, c.P, c.Dv}, 1.3), added(c.maskSizes, 2.1),
        y(shape(c, c.Hq, c.M, c.Dv)), scores({c.B, c.Hq, c.M, c.keys()}), presentKey({c.B, c.Hkv, c.keys(), c.D}),
        presentValue({c.B, c.Hkv, c.keys(), c.Dv}), truth(c.maskSizes), used({c.B}) {
    for (size_t i = 0; i < truth.values.size(); ++i)
      truth.values[i] = std::sin(2.1 * static_cast<double>(i)) > -0.3;
    used.values = c.used;
  }
  static std::vector<int64_t> shape(const Case &c, int64_t heads, int64_t rows, int64_t columns) {
    return c.is3D ? std::vector<int64_t>{c.B, rows, heads * columns} : std::vector<int64_t>{c.B, heads, rows, columns};
  }
};

//===- The definition -------------------------------------------------------------------------------------------------------===//

class Definition {
public:
  Definition(const Case &c, const Tensors &t) : c(c), t(t) {}

  /// Calls `check` with the scores of each row, as the fourth output has them, and with the row of the output.
  void
  rows(const std::function<void(int64_t b, int64_t h, int64_t m, const std::vector<double> &scores, const std::vector<double> &y)> &check) {
    for (int64_t b = 0; b < c.B; ++b)
      for (int64_t h = 0; h < c.Hq; ++h)
        for (int64_t m = 0; m < c.M; ++m)
          row(b, h, m, check);
  }

private:
  double element(const Tensor<float> &tensor, int64_t b, int64_t h, int64_t row, int64_t column, int64_t columns) const {
    return c.is3D ? tensor.at({b, row, h * columns + column}) : tensor.at({b, h, row, column});
  }
  double keyOrValue(const Tensor<float> &past, const Tensor<float> &now, int64_t b, int64_t h, int64_t n, int64_t column,
                    int64_t columns) const {
    return n < c.P ? past.at({b, h, n, column}) : element(now, b, h, n - c.P, column, columns);
  }
  template <typename T> T maskAt(const Tensor<T> &mask, int64_t b, int64_t h, int64_t m, int64_t n) const {
    const int64_t indices[] = {b, h, m, n};
    int64_t place = 0;
    const size_t rank = mask.sizes.size();
    for (size_t dim = 0; dim < rank; ++dim)
      place = place * mask.sizes[dim] + (mask.sizes[dim] == 1 && dim + 1 < rank ? 0 : indices[4 - rank + dim]);
    return mask.values[static_cast<size_t>(place)];
  }

  /// What is added to a score.
  double bias(int64_t b, int64_t h, int64_t m, int64_t n) const {
    const int64_t offset = c.P > 0 ? c.P : c.used.empty() ? 0 : c.used[static_cast<size_t>(b)] - c.M, position = m + offset;
    bool visible = (!c.isCausal || n <= position) && (c.left < 0 || position - n <= c.left) && (c.right < 0 || n - position <= c.right);
    visible = visible && (c.used.empty() || n < c.used[static_cast<size_t>(b)]);
    if (!c.maskSizes.empty()) {
      visible = visible && n < c.maskSizes.back() && (c.maskAdds || maskAt(t.truth, b, h, m, n));
      if (visible && c.maskAdds)
        return maskAt(t.added, b, h, m, n);
    }
    return visible ? 0 : -HUGE_VAL;
  }

  void row(int64_t b, int64_t h, int64_t m,
           const std::function<void(int64_t, int64_t, int64_t, const std::vector<double> &, const std::vector<double> &)> &check) const {
    const int64_t g = h / (c.Hq / c.Hkv);
    std::vector<double> raw, capped, masked, p, y(static_cast<size_t>(c.Dv));
    double sum = 0;
    for (int64_t n = 0; n < c.keys(); ++n) {
      double dot = 0;
      for (int64_t d = 0; d < c.D; ++d)
        dot += element(t.q, b, h, m, d, c.D) * keyOrValue(t.pastKey, t.k, b, g, n, d, c.D);
      raw.push_back(dot * c.scale.value_or(1 / std::sqrt(static_cast<double>(c.D))));
      capped.push_back(c.softcap == 0 ? raw.back() : c.softcap * std::tanh(raw.back() / c.softcap));
      masked.push_back(capped.back() + bias(b, h, m, n));
      p.push_back(std::exp(masked.back()));
      sum += p.back();
    }
    for (int64_t n = 0; n < c.keys(); ++n) {
      double &each = p[static_cast<size_t>(n)];
      each = sum == 0 ? 0 : each / sum;
      for (int64_t d = 0; d < c.Dv; ++d)
        y[static_cast<size_t>(d)] += each * keyOrValue(t.pastValue, t.v, b, g, n, d, c.Dv);
    }
    const std::vector<double> *scores[] = {&raw, &capped, &masked, &p};
    check(b, h, m, *scores[c.scores ? static_cast<int>(*c.scores) : 0], y);
  }

  const Case &c;
  const Tensors &t;
};

//===- The function that is built -------------------------------------------------------------------------------------------===//

class Built {
public:
  explicit Built(const Case &c) : c(c), registry(makeRegistry()), context(registry), builder(&context) {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
    context.loadAllAvailableDialects();
  }

  void run(Tensors &t) {
    Location loc = builder.getUnknownLoc();
    module = ModuleOp::create(loc);
    builder.setInsertionPointToEnd(module->getBody());
    addArgument(t.q, "f32"), addArgument(t.k, "f32"), addArgument(t.v, "f32");
    const int mask = c.maskSizes.empty() ? -1 : c.maskAdds ? addArgument(t.added, "f32") : addArgument(t.truth, "i1");
    const int past = c.P == 0 ? -1 : addArgument(t.pastKey, "f32");
    const int pastValue = c.P == 0 ? -1 : addArgument(t.pastValue, "f32");
    const int used = c.used.empty() ? -1 : addArgument(t.used, "i64");
    const int y = addArgument(t.y, "f32");
    const int scores = c.scores ? addArgument(t.scores, "f32") : -1;
    const int presentKey = c.P == 0 ? -1 : addArgument(t.presentKey, "f32");
    const int presentValue = c.P == 0 ? -1 : addArgument(t.presentValue, "f32");

    auto function = func::FuncOp::create(builder, loc, "f", builder.getFunctionType(types, {}));
    function->setAttr(LLVM::LLVMDialect::getEmitCWrapperAttrName(), builder.getUnitAttr());
    entry = function.addEntryBlock();
    builder.setInsertionPointToStart(entry);
    attn::OnnxAttention onnx{input(0), input(1), input(2)};
    if (c.is3D)
      onnx.qHeads = c.Hq, onnx.kvHeads = c.Hkv;
    onnx.mask = input(mask), onnx.pastKey = input(past), onnx.pastValue = input(pastValue), onnx.keysUsed = input(used);
    onnx.isCausal = c.isCausal, onnx.leftWindow = c.left, onnx.rightWindow = c.right;
    onnx.softcap = c.softcap, onnx.scale = c.scale, onnx.scores = c.scores;
    FailureOr<attn::OnnxResults> results = attn::buildOnnxAttention(builder, loc, onnx);
    REQUIRE(succeeded(results));
    output(results->y, y);
    output(results->scores, scores);
    output(results->presentKey, presentKey);
    output(results->presentValue, presentValue);
    func::ReturnOp::create(builder, loc);
    REQUIRE(succeeded(verify(*module)));
    execute();
  }

private:
  static DialectRegistry makeRegistry() {
    DialectRegistry registry;
    registerAllDialects(registry);
    attn::registerLowerToLlvmDialects(registry);
    return registry;
  }

  template <typename T> int addArgument(const Tensor<T> &tensor, const char *element) {
    std::string type = "memref<";
    for (size_t dim = 0; dim < tensor.sizes.size(); ++dim) {
      const bool isKnown =
          c.isStatic || dim + 1 == tensor.sizes.size() || tensor.sizes[dim] == 1 || (!c.is3D && dim == 1 && tensor.sizes.size() == 4);
      type += (isKnown ? std::to_string(tensor.sizes[dim]) : "?") + "x";
    }
    types.push_back(parseType(type + element + ">", &context));
    descriptors.push_back(descriptorOf(tensor));
    return static_cast<int>(types.size()) - 1;
  }

  Value input(int argument) {
    if (argument < 0)
      return {};
    Value memref = entry->getArgument(static_cast<unsigned>(argument));
    const auto type = cast<MemRefType>(memref.getType());
    return bufferization::ToTensorOp::create(builder, builder.getUnknownLoc(),
                                             RankedTensorType::get(type.getShape(), type.getElementType()), memref,
                                             /*restrict=*/true);
  }
  void output(Value value, int argument) {
    CHECK((argument < 0) == !value);
    if (!value || argument < 0)
      return;
    auto store = bufferization::MaterializeInDestinationOp::create(builder, builder.getUnknownLoc(), Type(), value,
                                                                   entry->getArgument(static_cast<unsigned>(argument)));
    store.setRestrict(true);
    store.setWritable(true);
  }

  void execute() {
    PassManager passes(&context);
    attn::buildLowerToLlvm(passes);
    REQUIRE(succeeded(passes.run(*module)));
    const llvm::StringRef libraries[] = {ATTNJIT_RUNNER_UTILS};
    ExecutionEngineOptions options;
    options.sharedLibPaths = libraries; // copies of memrefs
    auto engine = ExecutionEngine::create(*module, options);
    REQUIRE(static_cast<bool>(engine));
    std::vector<void *> views, arguments;
    for (std::vector<int64_t> &descriptor : descriptors)
      views.push_back(descriptor.data());
    for (void *&view : views)
      arguments.push_back(&view);
    REQUIRE(!static_cast<bool>((*engine)->invokePacked("_mlir_ciface_f", arguments)));
  }

  const Case &c;
  DialectRegistry registry;
  MLIRContext context;
  OpBuilder builder;
  OwningOpRef<ModuleOp> module;
  std::vector<Type> types;
  std::vector<std::vector<int64_t>> descriptors;
  Block *entry = nullptr;
};

void check(const Case &c) {
  Tensors t(c);
  Built(c).run(t);
  double worst = 0, worstScore = 0;
  const auto differ = [](double &worst, double got, double expected) {
    const double difference = got == expected ? 0 : std::abs(got - expected);
    worst = difference <= worst ? worst : difference;
  };
  Definition(c, t).rows([&](int64_t b, int64_t h, int64_t m, const std::vector<double> &scores, const std::vector<double> &y) {
    for (int64_t d = 0; d < c.Dv; ++d)
      differ(worst, c.is3D ? t.y.at({b, m, h * c.Dv + d}) : t.y.at({b, h, m, d}), y[static_cast<size_t>(d)]);
    for (int64_t n = 0; n < c.keys() && c.scores; ++n)
      differ(worstScore, t.scores.at({b, h, m, n}), scores[static_cast<size_t>(n)]);
  });
  CHECK(worst < 2e-6);
  CHECK(worstScore < 2e-6);
  for (int64_t n = 0; n < c.keys() && c.P > 0; ++n)
    CHECK(t.presentKey.at({1, 1, n, 3}) == (n < c.P  ? t.pastKey.at({1, 1, n, 3})
                                            : c.is3D ? t.k.at({1, n - c.P, c.D + 3})
                                                     : t.k.at({1, 1, n - c.P, 3})));
}

} // namespace

TEST_CASE("q, k and v of rank 4 and of rank 3, of sizes that are known and that are not") {
  for (const bool isStatic : {false, true})
    for (const bool is3D : {false, true})
      check({.is3D = is3D, .isStatic = isStatic, .isCausal = true, .softcap = 3, .scale = 0.9});
}

TEST_CASE("masks of every rank, which repeat where a size is 1 and hide the keys behind their end") {
  const std::vector<int64_t> shapes[] = {{37},          {5, 37},       {4, 5, 37},    {4, 1, 37}, {2, 1, 5, 37},
                                         {2, 4, 5, 37}, {1, 1, 1, 37}, {2, 1, 1, 30}, {5, 30},    {5, 1}};
  for (const std::vector<int64_t> &sizes : shapes)
    for (const bool adds : {false, true})
      check({.isStatic = sizes.size() % 2 == 0, .maskSizes = sizes, .maskAdds = adds, .softcap = adds ? 2.0 : 0});
  check({.isStatic = true, .maskSizes = {4, 5, 30}});
  check({.isStatic = false, .maskSizes = {5, 30}});
}

TEST_CASE("a past in front") {
  for (const bool is3D : {false, true})
    for (const bool adds : {false, true})
      check({.N = 5, .P = 40, .is3D = is3D, .maskSizes = {5, 45}, .maskAdds = adds, .isCausal = true});
  check({.N = 5, .P = 40, .left = 7, .right = 1});
  check({.N = 5, .P = 40});
}

TEST_CASE("keys in use: the queries are the last of them; rows before the first key are empty") {
  for (const bool isCausal : {false, true})
    check({.used = {37, 3}, .isCausal = isCausal});
  check({.maskSizes = {2, 1, 5, 37}, .used = {20, 11}, .isCausal = true});
  check({.maskSizes = {5, 30}, .maskAdds = true, .used = {30, 11}, .left = 4, .right = 2});
}

TEST_CASE("windows, with and without causal") {
  for (const bool isCausal : {false, true})
    for (auto [left, right] : {std::pair<int64_t, int64_t>{2, 1}, {0, 0}, {3, -1}, {-1, 2}})
      check({.M = 37, .isCausal = isCausal, .left = left, .right = right});
}

TEST_CASE("scores as an output, of every mode") {
  using attn::OnnxScores;
  for (const OnnxScores scores : {OnnxScores::Raw, OnnxScores::Capped, OnnxScores::Masked, OnnxScores::Probabilities}) {
    check({.used = {37, 3}, .isCausal = true, .softcap = 1.5, .scale = 0.8, .scores = scores});
    check({.N = 5, .P = 9, .is3D = true, .maskSizes = {4, 5, 11}, .softcap = 1.5, .scores = scores});
    check({.isStatic = true, .maskSizes = {2, 1, 5, 30}, .maskAdds = true, .left = 4, .scores = scores});
  }
}

TEST_CASE("operands that do not belong together") {
  MLIRContext context;
  context.loadDialect<attn::AttnDialect, func::FuncDialect>();
  OpBuilder builder(&context);
  struct Row {
    std::vector<llvm::StringRef> types;
    std::function<void(attn::OnnxAttention &, const std::vector<Value> &)> set;
    const char *message;
  };
  const llvm::StringRef four = "tensor<?x8x?x64xf32>", three = "tensor<?x?x512xf32>";
  const auto nothing = [](attn::OnnxAttention &, const std::vector<Value> &) {};
  const Row rows[] = {
      {{four, four, three}, nothing, "v: expected q, k and v of rank 3 or all of rank 4, got 'tensor<?x?x512xf32>'"},
      {{three, three, three},
       nothing,
       "q: numbers of heads belong to operands of rank 3, which need both; got 0 and 'tensor<?x?x512xf32>'"},
      {{three, three, three},
       [](auto &onnx, const auto &) { onnx.qHeads = 8, onnx.kvHeads = 3; },
       "k: expected a static number of columns, a multiple of the heads, got 'tensor<?x?x512xf32>'"},
      {{four, four, four, "tensor<?x?xi32>"},
       [](auto &onnx, const auto &in) { onnx.mask = in[3]; },
       "attn_mask: expected rank 1 to 4 and elements of i1 or floats, got 'tensor<?x?xi32>'"},
      {{four, four, four, four}, [](auto &onnx, const auto &in) { onnx.pastKey = in[3]; }, "past_key and past_value belong together"},
      {{four, four, four, four, "tensor<?xi64>"},
       [](auto &onnx, const auto &in) { onnx.pastKey = onnx.pastValue = in[3], onnx.keysUsed = in[4]; },
       "nonpad_kv_seqlen: a cache that grows within the op has no padding; leave out past_key and past_value"},
      {{four, four, four, "tensor<?xi32>"},
       [](auto &onnx, const auto &in) { onnx.keysUsed = in[3]; },
       "nonpad_kv_seqlen: expected rank 1 and elements of i64, got 'tensor<?xi32>'"},
      {{"tensor<?x?x?x64xf32>", four, four},
       [](auto &onnx, const auto &) { onnx.scores = attn::OnnxScores::Raw; },
       "qk_matmul_output: expected a static number of heads, got 'tensor<?x?x?x64xf32>' and 'tensor<?x8x?x64xf32>'"}};
  for (const Row &row : rows) {
    OwningOpRef<ModuleOp> module = ModuleOp::create(builder.getUnknownLoc());
    std::vector<Type> types;
    for (llvm::StringRef type : row.types)
      types.push_back(parseType(type, &context));
    builder.setInsertionPointToEnd(module->getBody());
    auto function = func::FuncOp::create(builder, builder.getUnknownLoc(), "f", builder.getFunctionType(types, {}));
    Block *entry = function.addEntryBlock();
    builder.setInsertionPointToStart(entry);
    const std::vector<Value> in(entry->args_begin(), entry->args_end());
    attn::OnnxAttention onnx{in[0], in[1], in[2]};
    row.set(onnx, in);
    std::string message;
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) { return message = diagnostic.str(), success(); });
    CHECK(failed(attn::buildOnnxAttention(builder, builder.getUnknownLoc(), onnx)));
    CHECK(message == row.message);
  }
}
