// scaled_dot_product_attention against the definition: masks of every broadcastable shape, ranks from 2 to 6, layouts, heads, biases.
#include "Attention/Oracle.h"

using namespace attnjit;
using namespace attnjit::test;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

/// bias(index of [batch..., h, q, kv]) is added to the score.
using BiasFn = std::function<double(const std::vector<std::int64_t> &)>;

/// Runs the call and compares out and lse with the definition.
void check(SdpaCall call, Tensor &out, Tensor &lse, const BiasFn &bias, std::int64_t groups = 1) {
  call.out = out.ref;
  call.lse = lse.ref;
  std::fill(out.memory.begin(), out.memory.end(), 77.0f);
  const Result<ForwardReport> report = scaledDotProductAttention(realEngine(), call);
  REQUIRE_MESSAGE(report, report.error().message);
  const std::vector<std::int64_t> rows(lse.ref.sizes.begin(), lse.ref.sizes.begin() + lse.ref.rank);
  const std::int64_t S = call.key.sizes[call.key.rank - 2], E = call.query.sizes[call.query.rank - 1], Ev = out.ref.sizes[out.ref.rank - 1];
  const double scale = call.scale.value_or(1 / std::sqrt(double(E)));
  double worst = 0, worstLse = 0;
  forEachIndex(rows, [&](const std::vector<std::int64_t> &row) {
    auto at = [&](std::int64_t position, std::int64_t column) {
      std::vector<std::int64_t> index = row;
      index.back() = position;
      index.push_back(column);
      return index;
    };
    auto keyAt = [&](std::int64_t position, std::int64_t column) {
      std::vector<std::int64_t> index = at(position, column);
      if (index.size() > 2)
        index[index.size() - 3] /= groups;
      return index;
    };
    const Row expected = softmaxRow(
        S, Ev,
        [&](std::int64_t kv) {
          double dot = 0;
          for (std::int64_t e = 0; e < E; ++e)
            dot += double(element(call.query, at(row.back(), e))) * element(call.key, keyAt(kv, e));
          return dot * scale + (bias ? bias(at(row.back(), kv)) : 0);
        },
        [&](std::int64_t kv, std::int64_t c) { return element(call.value, keyAt(kv, c)); });
    for (std::int64_t c = 0; c < Ev; ++c)
      worst = std::max(worst, std::abs(expected.out[c] - element(out.ref, at(row.back(), c))));
    const double got = element(lse.ref, row);
    if (std::isinf(expected.lse))
      CHECK(got == expected.lse);
    else
      worstLse = std::max(worstLse, std::abs(expected.lse - got));
  });
  CHECK(worst < 5e-6);
  CHECK(worstLse < 1e-5);
}

double boolBias(const TensorRef &mask, const std::vector<std::int64_t> &index) {
  return static_cast<const std::uint8_t *>(mask.data)[offsetOf(mask, index)] ? 0 : -kInf;
}

} // namespace

TEST_CASE("every rank from 2 to 6, with and without a causal mask") {
  const std::vector<std::vector<std::int64_t>> batches = {{}, {3}, {2, 3}, {2, 1, 3}, {2, 3, 1, 2}};
  for (const std::vector<std::int64_t> &batch : batches)
    for (bool isCausal : {false, true}) {
      CAPTURE(batch.size());
      auto sizes = [&](std::initializer_list<std::int64_t> last) {
        std::vector<std::int64_t> all = batch;
        all.insert(all.end(), last);
        return all;
      };
      Tensor q(sizes({5, 16}), 0.37), k(sizes({9, 16}), 0.73), v(sizes({9, 24}), 1.1), out(sizes({5, 24}), 0), lse(sizes({5}), 0);
      SdpaCall call{.query = q.ref, .key = k.ref, .value = v.ref};
      call.isCausal = isCausal;
      check(call, out, lse,
            [&](const std::vector<std::int64_t> &at) { return isCausal && at[at.size() - 1] > at[at.size() - 2] ? -kInf : 0; });
      CHECK(toForwardCalls({.query = q.ref, .key = k.ref, .value = v.ref, .out = out.ref})->size() == 1);
    }
}

TEST_CASE("a mask of any broadcastable shape, bool and additive") {
  const std::int64_t B = 2, H = 3, L = 6, S = 10;
  Tensor q({B, H, L, 16}, 0.37), k({B, H, S, 16}, 0.73), v({B, H, S, 16}, 1.1), out({B, H, L, 16}, 0), lse({B, H, L}, 0);
  const std::vector<std::vector<std::int64_t>> shapes = {{L, S},       {S},          {1, S},       {L, 1},       {1, 1},
                                                         {},           {H, L, S},    {B, 1, 1, S}, {B, H, L, S}, {B, H, 1, 1},
                                                         {1, H, 1, S}, {B, 1, L, S}, {1, 1, L, 1}};
  for (const std::vector<std::int64_t> &shape : shapes) {
    std::string text;
    for (std::int64_t size : shape)
      text += std::to_string(size) + " ";
    CAPTURE(text);
    SdpaCall call{.query = q.ref, .key = k.ref, .value = v.ref};

    Tensor added(shape, 0.9);
    call.attnMask = added.ref;
    check(call, out, lse, [&](const std::vector<std::int64_t> &at) { return element(added.ref, at); });

    std::vector<std::uint8_t> visible(added.memory.size());
    for (std::size_t i = 0; i < visible.size(); ++i)
      visible[i] = i * 7 % 5 < 3;
    TensorRef mask = added.ref;
    mask.data = visible.data();
    mask.dtype = DType::Bool;
    call.attnMask = mask;
    check(call, out, lse, [&](const std::vector<std::int64_t> &at) { return boolBias(mask, at); });
  }
}

TEST_CASE("an additive mask of -inf hides, and a row of nothing else is 0") {
  Tensor q({1, 1, 4, 16}, 0.37), k({1, 1, 7, 16}, 0.73), v({1, 1, 7, 16}, 1.1), out({1, 1, 4, 16}, 0), lse({1, 1, 4}, 0), mask({4, 7}, 0.9);
  for (int kv = 0; kv < 7; ++kv)
    mask.memory[static_cast<std::size_t>(2 * 7 + kv)] = -std::numeric_limits<float>::infinity();
  mask.memory[3] = -std::numeric_limits<float>::infinity();
  SdpaCall call{.query = q.ref, .key = k.ref, .value = v.ref, .attnMask = mask.ref};
  check(call, out, lse, [&](const std::vector<std::int64_t> &at) { return element(mask.ref, at); });
  CHECK(out.memory[2 * 16] == 0);
  CHECK(std::isinf(lse.memory[2]));
}

TEST_CASE("leading dimensions broadcast, whatever the layout") {
  const std::vector<int> shuffled = {2, 0, 3, 1, 4}; // batch and head dimensions interleaved with the length in memory
  Tensor q({2, 3, 4, 5, 16}, shuffled, 0.37), k({3, 1, 9, 16}, 0.73), v({2, 1, 4, 9, 16}, 1.1), out({2, 3, 4, 5, 16}, shuffled, 0),
      lse({2, 3, 4, 5}, 0), mask({2, 1, 1, 5, 9}, 0.9);
  SdpaCall call{.query = q.ref, .key = k.ref, .value = v.ref, .attnMask = mask.ref};
  check(call, out, lse, [&](const std::vector<std::int64_t> &at) { return element(mask.ref, at); });
  call.out = out.ref;
  CHECK(toForwardCalls(call)->size() == 2); // k repeats over the first batch dimension, v over the second: the wider one is the batch

  // The query may be what is repeated.
  Tensor one({1, 5, 16}, 0.5), many({2, 3, 9, 16}, 0.6), outMany({2, 3, 5, 16}, 0), lseMany({2, 3, 5}, 0);
  check({.query = one.ref, .key = many.ref, .value = many.ref}, outMany, lseMany, {});
}

TEST_CASE("grouped heads") {
  Tensor q({2, 6, 5, 16}, 0.37), k({2, 2, 9, 16}, 0.73), v({2, 2, 9, 16}, 1.1), out({2, 6, 5, 16}, 0), lse({2, 6, 5}, 0),
      mask({6, 5, 9}, 0.9);
  SdpaCall call{.query = q.ref, .key = k.ref, .value = v.ref, .attnMask = mask.ref, .enableGqa = true};
  call.scale = -0.7; // negative scales are scales
  check(call, out, lse, [&](const std::vector<std::int64_t> &at) { return element(mask.ref, at); }, 3);
}

TEST_CASE("causal biases: corners, and new lengths without new kernels") {
  for (auto [L, S] : {std::pair<std::int64_t, std::int64_t>{5, 9}, {9, 5}, {7, 7}, {1, 8}}) {
    CAPTURE(L);
    CAPTURE(S);
    Tensor q({1, 2, L, 16}, 0.37), k({1, 2, S, 16}, 0.73), v({1, 2, S, 16}, 1.1), out({1, 2, L, 16}, 0), lse({1, 2, L}, 0);
    for (const CausalBias bias : {causalUpperLeft(L, S), causalLowerRight(L, S)}) {
      const std::int64_t shift = bias.variant == CausalVariant::LowerRight ? S - L : 0;
      SdpaCall call{.query = q.ref, .key = k.ref, .value = v.ref, .attnMask = bias};
      check(call, out, lse, [&](const std::vector<std::int64_t> &at) { return at[3] <= at[2] + shift ? 0 : -kInf; });
      CHECK(bias.isVisible(L - 1, L - 1 + shift));
      CHECK(!bias.isVisible(L - 1, L + shift));
    }
  }
  const std::uint64_t before = realEngine().counters().compiles;
  Tensor q({1, 2, 11, 16}, 0.37), k({1, 2, 13, 16}, 0.73), out({1, 2, 11, 16}, 0);
  REQUIRE(scaledDotProductAttention(realEngine(),
                                    {.query = q.ref, .key = k.ref, .value = k.ref, .out = out.ref, .attnMask = causalLowerRight(11, 13)}));
  CHECK(realEngine().counters().compiles == before);
}

TEST_CASE("lengths of 0") {
  for (auto [B, L, S] : {std::tuple<std::int64_t, std::int64_t, std::int64_t>{0, 3, 4}, {2, 0, 4}, {2, 3, 0}}) {
    Tensor q({B, 2, L, 16}, 0.37), k({B, 2, S, 16}, 0.73), out({B, 2, L, 16}, 0), lse({B, 2, L}, 0), mask({L, S}, 0.9);
    check({.query = q.ref, .key = k.ref, .value = k.ref, .attnMask = mask.ref}, out, lse, {});
  }
}

TEST_CASE("dropout of a batch of several dimensions, sinks and softcap") {
  const Tensor q({2, 3, 2, 10, 8}, 0.3), k({2, 3, 2, 12, 8}, 0.7), v({2, 3, 2, 12, 8}, 1.1);
  Tensor out({2, 3, 2, 10, 8}, 0), flat({6, 2, 10, 8}, 0);
  std::vector<float> sinks = {0.5f, -0.5f};
  SdpaCall call{.query = q.ref, .key = k.ref, .value = v.ref, .out = out.ref, .dropoutP = 0.4};
  call.seed = 5;
  call.offset = 1 << 20;
  call.softcap = 2;
  call.sinks = TensorRef::dense(sinks.data(), DType::F32, {2});
  REQUIRE(scaledDotProductAttention(realEngine(), call));
  // The same as one batch of 6, in the engine's terms.
  const auto folded = [](const Tensor &tensor) {
    return TensorRef::dense(tensor.ref.data, DType::F32, {6, 2, tensor.ref.sizes[3], tensor.ref.sizes[4]});
  };
  ForwardCall forward{.mod = Mod(), .q = folded(q), .k = folded(k), .v = folded(v), .out = flat.ref};
  forward.softcap = 2;
  forward.sinks = call.sinks;
  forward.dropout = Dropout{0.4, 5, 1 << 20};
  REQUIRE(realEngine().forward(forward));
  CHECK(out.memory == flat.memory);
}
