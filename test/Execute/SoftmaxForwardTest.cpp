// Sinks, prob_mod, softcap and dropout through the engine with its real compiler: against definitions written out here, and what may not
// compile anew.
#include "EngineTestUtil.h"

#include <algorithm>
#include <doctest/doctest.h>

using namespace attnjit;
using namespace attnjit::test;

namespace {

Engine realEngine(int threads = 0) {
  EngineOptions options;
  options.cacheDirectory = "";
  options.threads = threads;
  Result<Engine> engine = Engine::create(std::move(options));
  if (!engine)
    std::abort();
  return *engine;
}

/// Attention with the identity as v, so that out is the matrix of weights: [H, M, N], N = D.
struct Weights : Operands {
  explicit Weights(std::int64_t H = 2, std::int64_t M = 40, std::int64_t N = 48) : Operands(1, H, H, M, N, N) {
    std::fill(v.begin(), v.end(), 0.0f);
    for (std::int64_t h = 0; h < H; ++h)
      for (std::int64_t n = 0; n < N; ++n)
        v[static_cast<std::size_t>((h * N + n) * N + n)] = 1;
    call.scale = 0.25;
  }

  std::vector<float> compute(const Engine &engine) {
    const Result<ForwardReport> report = engine.forward(call);
    REQUIRE_MESSAGE(report, report.error().message);
    return out;
  }
};

constexpr SDPBackend kPipelines[] = {SDPBackend::FlashAttention, SDPBackend::EfficientAttention, SDPBackend::Math};

/// softmax(cat([scores, sink])) without its last column, in f64: what people write in eager PyTorch.
double withSinkColumn(const Operands &operands, std::int64_t h, std::int64_t q, std::int64_t kv, double sink, double &lse) {
  const std::int64_t M = operands.call.q.sizes[2], N = operands.call.k.sizes[2], D = operands.call.q.sizes[3];
  std::vector<double> row;
  for (std::int64_t n = 0; n < N; ++n) {
    double dot = 0;
    for (std::int64_t d = 0; d < D; ++d)
      dot += double(operands.q[static_cast<std::size_t>((h * M + q) * D + d)]) * operands.k[static_cast<std::size_t>((h * N + n) * D + d)];
    row.push_back(dot * *operands.call.scale);
  }
  row.push_back(sink);
  const double most = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const double logit : row)
    sum += std::exp(logit - most);
  lse = most + std::log(sum);
  return std::exp(row[static_cast<std::size_t>(kv)] - most) / sum;
}

} // namespace

TEST_CASE("sinks are one more column of the softmax") {
  const Engine engine = realEngine();
  for (const SDPBackend backend : kPipelines) {
    CAPTURE(name(backend));
    Weights weights;
    std::vector<float> sinks = {0.7f, -30.0f, 5.0f, 80.0f}; // every other one is read
    weights.call.backends = BackendSet{backend};
    weights.call.sinks = TensorRef::dense(sinks.data(), DType::F32, {2});
    for (const std::int64_t stride : {2, -2}) {
      weights.call.sinks->strides[0] = stride;
      weights.call.sinks->data = sinks.data() + (stride < 0 ? 3 : 0);
      weights.call.lse = weights.rows(weights.lse);
      weights.compute(engine);
      for (std::int64_t h = 0; h < 2; ++h)
        for (std::int64_t q = 0; q < 40; ++q)
          for (std::int64_t kv = 0; kv < 48; ++kv) {
            double lse = 0;
            const double expected =
                withSinkColumn(weights, h, q, kv, sinks[static_cast<std::size_t>((stride < 0 ? 3 : 0) + h * stride)], lse);
            CHECK(std::abs(weights.out[static_cast<std::size_t>((h * 40 + q) * 48 + kv)] - expected) < 1e-6);
            CHECK(std::abs(weights.lse[static_cast<std::size_t>(h * 40 + q)] - lse) < 1e-5);
          }
    }
  }
}

TEST_CASE("of pieces that are merged one counts the sinks") {
  const Engine engine = realEngine();
  std::vector<float> sinks = {0.7f, -1.0f};
  Operands whole(1, 2, 2, 8, 60, 16);
  whole.call.sinks = TensorRef::dense(sinks.data(), DType::F32, {2});
  REQUIRE(engine.forward(whole.call));
  std::vector<PartialState> parts;
  std::vector<std::unique_ptr<Operands>> pieces;
  for (const std::int64_t begin : {0, 25}) {
    pieces.push_back(std::make_unique<Operands>(1, 2, 2, 8, 60, 16));
    ForwardCall &call = pieces.back()->call;
    for (TensorRef *tensor : {&call.k, &call.v}) {
      tensor->data = static_cast<float *>(tensor->data) + begin * 16;
      tensor->sizes[2] = begin == 0 ? 25 : 35;
    }
    call.lse = pieces.back()->rows(pieces.back()->lse);
    if (begin == 0)
      call.sinks = whole.call.sinks;
    REQUIRE(engine.forward(call));
    parts.push_back({call.out, *call.lse});
  }
  std::vector<float> merged(whole.out.size());
  REQUIRE(mergeStates(parts, TensorRef::dense(merged.data(), DType::F32, {1, 2, 8, 16})));
  for (std::size_t i = 0; i < merged.size(); ++i)
    CHECK(std::abs(merged[i] - whole.out[i]) < 2e-6);
}

TEST_CASE("sinks of another dtype are another kernel, other values are not") {
  const Engine engine = realEngine();
  Operands operands;
  std::vector<float> sinks = {0.7f, -1.0f};
  std::vector<double> wide = {0.7, -1.0};
  REQUIRE(engine.forward(operands.call));
  operands.call.sinks = TensorRef::dense(sinks.data(), DType::F32, {2});
  REQUIRE(engine.forward(operands.call));
  CHECK(engine.counters().compiles == 2);
  sinks = {5, 6};
  REQUIRE(engine.forward(operands.call));
  CHECK(engine.counters().compiles == 2);
  const Result<Kernel> kernel = engine.prepare(operands.call);
  REQUIRE(kernel);
  REQUIRE(kernel->forward(operands.call));
  operands.call.sinks = TensorRef::dense(wide.data(), DType::F64, {2});
  REQUIRE(engine.forward(operands.call));
  CHECK(engine.counters().compiles == 3);
  Result<ForwardReport> refused = kernel->forward(operands.call);
  REQUIRE(!refused);
  CHECK_MESSAGE(contains(refused.error().message, "compiled for sinks of dtype f32, the call has sinks of dtype f64"),
                refused.error().message);
  operands.call.sinks.reset();
  refused = kernel->forward(operands.call);
  REQUIRE(!refused);
  CHECK_MESSAGE(contains(refused.error().message, "the call has no sinks"), refused.error().message);
}

TEST_CASE("dropout drops the same pairs everywhere, and the right share of them") {
  const Engine engine = realEngine(), single = realEngine(1);
  Weights plain;
  const std::vector<float> undropped = plain.compute(engine);
  std::vector<float> first;
  for (const SDPBackend backend : kPipelines)
    for (const std::int64_t tileCols : {0, 16})
      for (const Engine *one : {&engine, &single}) {
        CAPTURE(name(backend));
        Weights weights;
        weights.call.backends = BackendSet{backend};
        weights.call.tiles.cols = tileCols;
        weights.call.dropout = Dropout{0.3, 1234567890123, 77};
        const std::vector<float> dropped = weights.compute(*one);
        if (first.empty())
          first = dropped;
        std::int64_t zeros = 0;
        for (std::size_t i = 0; i < dropped.size(); ++i) {
          CHECK((dropped[i] == 0) == (first[i] == 0));
          CHECK((dropped[i] == 0 || std::abs(dropped[i] - undropped[i] / 0.7f) < 1e-6f));
          zeros += dropped[i] == 0;
        }
        const double pairs = static_cast<double>(dropped.size());
        CHECK(std::abs(static_cast<double>(zeros) / pairs - 0.3) < 4 * std::sqrt(0.3 * 0.7 / pairs));
      }
}

TEST_CASE("dropout at its ends") {
  const Engine engine = realEngine();
  Weights weights;
  const std::vector<float> plain = weights.compute(engine);
  const std::uint64_t compiles = engine.counters().compiles;
  weights.call.dropout = Dropout{0, 1, 2};
  CHECK(weights.compute(engine) == plain);
  CHECK(engine.counters().compiles == compiles); // none is the kernel without
  for (const SDPBackend backend : kPipelines) {
    weights.call.backends = BackendSet{backend};
    weights.call.dropout = Dropout{1, 1, 2};
    CHECK(weights.compute(engine) == std::vector<float>(plain.size(), 0.0f));
  }
}

TEST_CASE("new numbers of softcap and dropout compile nothing, seeds of 64 bits neither") {
  const Engine engine = realEngine();
  Weights weights;
  weights.call.mod = parseMod("score + 0.1 * kv_idx", "q_idx + 9 >= kv_idx");
  weights.call.softcap = 5;
  weights.call.dropout = Dropout{0.3, 1, 2};
  const std::vector<float> one = weights.compute(engine);
  const std::uint64_t compiles = engine.counters().compiles;
  weights.call.softcap = 0.5;
  const std::vector<float> two = weights.compute(engine);
  weights.call.dropout = Dropout{0.9, ~std::uint64_t{0}, std::uint64_t{1} << 63};
  const std::vector<float> three = weights.compute(engine);
  CHECK(one != two);
  CHECK(two != three);
  CHECK(engine.counters().compiles == compiles);
}

TEST_CASE("a kernel carries its softcap and dropout, and the call their numbers") {
  const Engine engine = realEngine();
  Weights weights;
  const Result<Kernel> without = engine.prepare(weights.call);
  weights.call.softcap = 5;
  weights.call.dropout = Dropout{0.3, 1, 2};
  const Result<Kernel> kernel = engine.prepare(weights.call);
  REQUIRE(without);
  REQUIRE(kernel);
  for (const double softcap : {5.0, 0.5}) {
    weights.call.softcap = softcap;
    const std::vector<float> expected = weights.compute(engine);
    REQUIRE(kernel->forward(weights.call));
    CHECK(weights.out == expected);
  }
  Result<ForwardReport> refused = without->forward(weights.call);
  REQUIRE(!refused);
  CHECK_MESSAGE(contains(refused.error().message, "softcap: the kernel was compiled without it, the call has it"), refused.error().message);
  weights.call.dropout.reset();
  refused = kernel->forward(weights.call);
  REQUIRE(!refused);
  CHECK_MESSAGE(contains(refused.error().message, "dropout: the kernel was compiled with it, the call has none"), refused.error().message);
}

TEST_CASE("options stand behind captures that come by position, and beside a block mask") {
  const Engine engine = realEngine();
  std::vector<float> slopes = {0.5f, 0.25f};
  Weights weights;
  weights.call.mod = parseMod("score + slopes[h] * (kv_idx - q_idx)", "", {{"slopes", DType::F32, 1}});
  weights.call.softcap = 3;
  weights.call.captures = {{"slopes", TensorRef::dense(slopes.data(), DType::F32, {2})}};
  const std::vector<float> named = weights.compute(engine);
  weights.call.captures[0].name.clear();
  CHECK(weights.compute(engine) == named);
  weights.call.captures.clear();
  CHECK(!engine.forward(weights.call));

  weights.call.captures = {{"slopes", TensorRef::dense(slopes.data(), DType::F32, {2})}};
  weights.call.mod = parseMod("score + slopes[h] * (kv_idx - q_idx)", "q_idx >= kv_idx", {{"slopes", DType::F32, 1}});
  const std::vector<float> masked = weights.compute(engine);
  const Result<BlockMask> blocks = createBlockMask(weights.call.mod.maskOnly(), {}, 1, 2, 40, 48);
  REQUIRE(blocks);
  weights.call.mod = weights.call.mod.scoreOnly();
  weights.call.blockMask = *blocks;
  CHECK(weights.compute(engine) == masked);
}

TEST_CASE("explain says how a prob_mod is computed") {
  const Engine engine = realEngine();
  Weights weights;
  weights.call.mod = *Mod::parse({.probMod = "p * (1 + kv_idx)"});
  CHECK(weights.call.mod.probIsHomogeneous());
  CHECK(contains(engine.explain(weights.call)->text(), "prob_mod in one pass"));
  weights.call.mod = *Mod::parse({.probMod = "p + 0.1"});
  CHECK_FALSE(weights.call.mod.probIsHomogeneous());
  CHECK(contains(engine.explain(weights.call)->text(), "prob_mod in two passes"));
}

TEST_CASE("mods are chained p by p") {
  const Engine engine = realEngine();
  Weights weights;
  const Mod doubled = *Mod::parse({.probMod = "2 * p"}), shifted = *Mod::parse({.probMod = "p + 1"});
  const std::vector<float> plain = weights.compute(engine);
  for (const auto &[mods, factor, shift] :
       {std::tuple{std::vector{doubled, shifted}, 2.0f, 1.0f}, {std::vector{shifted, doubled}, 2.0f, 2.0f}}) {
    weights.call.mod = *chainMods(mods);
    const std::vector<float> mapped = weights.compute(engine);
    for (std::size_t i = 0; i < plain.size(); ++i)
      CHECK(std::abs(mapped[i] - (factor * plain[i] + shift)) < 1e-5f);
  }
  CHECK(shifted.probOnly().canonicalText() == shifted.canonicalText());
  CHECK(shifted.maskOnly().probIsIdentity());
  const Result<Mod> lost = andMasks({doubled});
  REQUIRE(!lost);
  CHECK(contains(lost.error().message, "has a prob_mod as well"));
}
