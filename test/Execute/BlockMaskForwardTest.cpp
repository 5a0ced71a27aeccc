// Block masks through the engine and real kernels: lists of every granularity, with and without a mask_mod, on both pipelines.
#include "EngineTestUtil.h"
#include "Expr/Frontend.h"
#include "Reference/Reference.h"

#include <doctest/doctest.h>
#include <random>

using namespace attnjit;
using namespace attnjit::test;

namespace {

const Engine &engineOf() {
  static const Engine engine = [] {
    EngineOptions options;
    options.cacheDirectory = "";
    Result<Engine> made = Engine::create(options);
    if (!made)
      std::abort();
    return *made;
  }();
  return engine;
}

template <typename T> T need(Result<T> result) {
  REQUIRE_MESSAGE(result, (result ? "" : result.error().message));
  return std::move(*result);
}

/// Attention over the visible pairs of `dense` [B, H, M, N].
void checkAgainst(const DenseMask &dense, Operands &operands, double tolerance = 2e-5) {
  operands.call.lse = operands.rows(operands.lse);
  std::fill(operands.out.begin(), operands.out.end(), -7.0f);
  const Result<ForwardReport> report = engineOf().forward(operands.call);
  REQUIRE_MESSAGE(report, (report ? "" : report.error().message));
  const expr::CaptureInfo info{"keep", DType::Bool, 4};
  const expr::Formula formula = need(expr::parseFormula({"", "keep[b, h, q_idx, kv_idx]"}, std::span(&info, 1)));
  const TensorRef keep = TensorRef::dense(const_cast<std::uint8_t *>(dense.data.data()), DType::Bool,
                                          {dense.sizes[0], dense.sizes[1], dense.sizes[2], dense.sizes[3]});
  reference::Call call;
  call.formula = &formula;
  call.bindings = {{&keep, 1}, {}};
  call.q = operands.call.q;
  call.k = operands.call.k;
  call.v = operands.call.v;
  const reference::Output expected = reference::forwardF64(call);
  double worst = 0;
  for (std::size_t i = 0; i < operands.out.size(); ++i)
    worst = std::max(worst, std::abs(expected.out[i] - operands.out[i]));
  CHECK(worst < tolerance);
  for (std::size_t i = 0; i < operands.lse.size(); ++i)
    if (std::isinf(expected.lse[i]))
      CHECK(operands.lse[i] == expected.lse[i]);
    else
      CHECK(std::abs(operands.lse[i] - expected.lse[i]) < 1e-4);
}

/// Random lists, their memory, and what they and a mask_mod show.
struct Lists {
  Lists(std::int64_t B, std::int64_t H, std::int64_t M, std::int64_t N, std::int64_t blockQ, std::int64_t blockKv, const Mod &mod,
        int seed) {
    const std::int64_t rows = (M + blockQ - 1) / blockQ, cols = (N + blockKv - 1) / blockKv;
    std::mt19937 random(seed);
    const auto fill = [&](std::vector<std::int32_t> &counts, std::vector<std::int32_t> &indices, int state) {
      for (std::int64_t row = 0; row < B * H * rows; ++row) {
        std::int32_t count = 0;
        for (std::int64_t col = cols; col-- > 0;) // descending: any order will do
          if (states[row * cols + col] == state)
            indices[row * cols + count++] = static_cast<std::int32_t>(col);
        counts[row] = count;
      }
    };
    for (std::int64_t i = 0; i < B * H * rows * cols; ++i)
      states.push_back(static_cast<int>(random() % 3));
    counts.resize(B * H * rows), fullCounts = counts;
    indices.resize(B * H * rows * cols), fullIndices = indices;
    fill(counts, indices, 1);
    fill(fullCounts, fullIndices, 2);
    KvBlocks blocks;
    blocks.kvNumBlocks = TensorRef::dense(counts.data(), DType::I32, {B, H, rows});
    blocks.kvIndices = TensorRef::dense(indices.data(), DType::I32, {B, H, rows, cols});
    blocks.fullKvNumBlocks = TensorRef::dense(fullCounts.data(), DType::I32, {B, H, rows});
    blocks.fullKvIndices = TensorRef::dense(fullIndices.data(), DType::I32, {B, H, rows, cols});
    FromKvBlocksOptions options;
    options.blockQ = blockQ;
    options.blockKv = blockKv;
    options.qLength = M;
    options.kvLength = N;
    options.maskMod = mod;
    mask.emplace(need(BlockMask::fromKvBlocks(blocks, options)));
    dense = need(createMask(mod, {}, B, H, M, N));
    for (std::int64_t head = 0; head < B * H; ++head)
      for (std::int64_t q = 0; q < M; ++q)
        for (std::int64_t kv = 0; kv < N; ++kv) {
          const int state = states[(head * rows + q / blockQ) * cols + kv / blockKv];
          std::uint8_t &visible = dense.data[(head * M + q) * N + kv];
          visible = state == 2 || (state == 1 && visible);
        }
  }

  std::vector<int> states;
  std::vector<std::int32_t> counts, indices, fullCounts, fullIndices;
  std::optional<BlockMask> mask;
  DenseMask dense;
};

constexpr SDPBackend kBoth[] = {SDPBackend::Math, SDPBackend::FlashAttention};

} // namespace

TEST_CASE("lists decide, whatever their granularity and whatever the mask_mod says") {
  const Mod none, causal = parseMod("", "q_idx >= kv_idx"), hashed = parseMod("", "(q_idx * 7 + kv_idx * 3) % 5 < 3");
  int seed = 0;
  for (const SDPBackend backend : kBoth)
    for (const Mod *mod : {&none, &causal, &hashed})
      for (const auto &[blockQ, blockKv] :
           {std::pair<std::int64_t, std::int64_t>{128, 128}, {192, 64}, {50, 30}, {7, 100}, {400, 16}, {96, 1}}) {
        CAPTURE(blockQ);
        CAPTURE(blockKv);
        CAPTURE(mod->canonicalText());
        Operands operands(1, 2, 1, 333, 290);
        const Lists lists(1, 2, 333, 290, blockQ, blockKv, *mod, ++seed);
        operands.call.blockMask = lists.mask;
        operands.call.backends = BackendSet{backend};
        checkAgainst(lists.dense, operands);
      }
}

TEST_CASE("derived masks skip and change nothing") {
  std::vector<std::int32_t> docs(500);
  for (int i = 0; i < 500; ++i)
    docs[i] = i * i / 3001;
  const TensorRef tensor = TensorRef::dense(docs.data(), DType::I32, {500});
  const Mod document = parseMod("", "(docs[q_idx] == docs[kv_idx]) & (q_idx >= kv_idx)", {{"docs", DType::I32, 1}});
  const std::vector<CaptureArgument> captures{{"docs", tensor}};
  for (const SDPBackend backend : kBoth)
    for (const auto &[blockQ, blockKv] : {std::pair<std::int64_t, std::int64_t>{128, 128}, {50, 30}, {600, 8}}) {
      BlockMaskOptions options;
      options.blockQ = blockQ;
      options.blockKv = blockKv;
      const BlockMask mask = need(createBlockMask(document, captures, 1, 1, 500, 500, options));
      const DenseMask dense = need(createMask(document, captures, 2, 3, 500, 500));
      Operands operands(2, 3, 3, 500, 500);
      operands.call.backends = BackendSet{backend};
      operands.call.blockMask = mask;
      checkAgainst(dense, operands); // the mask_mod and its captures come with the mask
      operands.call.mod = document;
      operands.call.captures = captures;
      checkAgainst(dense, operands); // or with the call

      // A slice of rows against the whole: q counts anew, the formula knows.
      const BlockMask slice = need(mask.slice({}, {}, {mask.rows() - 1, mask.rows()}));
      const std::int64_t first = 500 - slice.qLength();
      Operands part(2, 3, 3, slice.qLength(), 500);
      DenseMask tail = need(createMask(slice.maskMod(), slice.captures(), 2, 3, slice.qLength(), 500));
      for (std::int64_t q = 0; q < slice.qLength(); ++q)
        CHECK(std::equal(tail.data.begin() + q * 500, tail.data.begin() + (q + 1) * 500, dense.data.begin() + (first + q) * 500));
      part.call.backends = BackendSet{backend};
      part.call.blockMask = slice;
      checkAgainst(tail, part);
    }
}

TEST_CASE("a score_mod with captures of its own goes with any block mask, and one kernel serves all masks of a formula") {
  std::vector<float> slope{0.5f, 0.25f};
  EngineOptions options;
  options.cacheDirectory = "";
  const Engine engine = need(Engine::create(options));
  Operands operands(1, 2, 2, 300, 300);
  operands.call.mod = parseMod("score + slope[h] * (kv_idx - q_idx)", "", {{"slope", DType::F32, 1}});
  operands.call.captures = {{"", TensorRef::dense(slope.data(), DType::F32, {2})}}; // by position
  const Mod window = parseMod("", "(q_idx >= kv_idx) & (q_idx - kv_idx < w)", {{"w", DType::I64}});
  Operands plain(1, 2, 2, 300, 300);
  plain.call.mod = parseMod("score + slope[h] * (kv_idx - q_idx)", "(q_idx >= kv_idx) & (q_idx - kv_idx < w)",
                            {{"slope", DType::F32, 1}, {"w", DType::I64}});
  for (const std::int64_t w : {10, 100, 250}) {
    operands.call.blockMask = need(createBlockMask(window, {{"w", w}}, 1, 1, 300, 300));
    const ForwardReport report = need(engine.forward(operands.call));
    CHECK(report.plan.hostPlan);
    CHECK(report.plan.visibleBlocks > 0);
    plain.call.captures = {{"slope", TensorRef::dense(slope.data(), DType::F32, {2})}, {"w", w}};
    need(engine.forward(plain.call));
    double worst = 0;
    for (std::size_t i = 0; i < operands.out.size(); ++i)
      worst = std::max<double>(worst, std::abs(operands.out[i] - plain.out[i]));
    CHECK(worst < 1e-5);
  }
  CHECK(engine.counters().compiles == 1); // the same formula with and without a block mask
}

TEST_CASE("prepared kernels take block masks of their formula") {
  const Mod causal = parseMod("", "q_idx >= kv_idx");
  Operands operands(1, 1, 1, 400, 400);
  operands.call.blockMask = need(createBlockMask(causal, {}, 1, 1, 400, 400));
  const Kernel kernel = need(engineOf().prepare(operands.call));
  need(kernel.forward(operands.call));
  const std::vector<float> masked = operands.out;
  operands.call.blockMask.reset();
  need(kernel.forward(operands.call));
  double worst = 0;
  for (std::size_t i = 0; i < masked.size(); ++i)
    worst = std::max<double>(worst, std::abs(masked[i] - operands.out[i]));
  CHECK(worst < 1e-5);
  operands.call.blockMask = need(createBlockMask(parseMod("", "q_idx > kv_idx"), {}, 1, 1, 400, 400));
  const Result<ForwardReport> other = kernel.forward(operands.call);
  REQUIRE_FALSE(other);
  CHECK(contains(other.error().message, "compiled for another mask_mod"));
  const Lists lists(1, 1, 400, 400, 13, 40, Mod(), 5);
  operands.call.blockMask = lists.mask;
  const Result<ForwardReport> cut = need(engineOf().prepare(operands.call)).forward(operands.call);
  REQUIRE_FALSE(cut);
  CHECK(contains(cut.error().message, "rows of blocks of 13 queries, which come from lists, cut the tiles"));
}

TEST_CASE("no keys, and rows that see no block") {
  for (const SDPBackend backend : kBoth) {
    Operands none(1, 2, 2, 5, 0);
    none.call.backends = BackendSet{backend};
    none.call.blockMask = need(createBlockMask(Mod(), {}, 1, 1, 5, 0));
    need(engineOf().forward(none.call));
    CHECK(none.out == std::vector<float>(none.out.size(), 0.0f));
    Operands hidden(1, 2, 2, 50, 60);
    hidden.call.backends = BackendSet{backend};
    hidden.call.blockMask = need(createBlockMask(parseMod("", "False"), {}, 1, 1, 50, 60));
    checkAgainst(need(createMask(parseMod("", "False"), {}, 1, 2, 50, 60)), hidden);
  }
}
