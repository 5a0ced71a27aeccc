// The public BlockMask against looking at every pair, and against tables worked out by hand.
#include "attnjit/attnjit.h"

#include <doctest/doctest.h>

#include <random>
#include <string>

using namespace attnjit;

namespace {

Mod parse(std::string_view mask, std::vector<CaptureInfo> captures = {}, std::string_view score = "") {
  Result<Mod> mod = Mod::parse(score, mask, std::move(captures));
  REQUIRE_MESSAGE(mod, (mod ? "" : mod.error().message));
  return *mod;
}

template <typename T> T need(Result<T> result) {
  REQUIRE_MESSAGE(result, (result ? "" : result.error().message));
  return std::move(*result);
}
template <typename T> std::string errorOf(const Result<T> &result) {
  REQUIRE_FALSE(result);
  CHECK(result.error().code == ErrorCode::InvalidArgument);
  return result.error().message;
}
bool contains(const std::string &text, std::string_view part) { return text.find(part) != std::string::npos; }

struct Options : BlockMaskOptions {
  Options(std::int64_t q, std::int64_t kv) {
    blockQ = q;
    blockKv = kv;
  }
};

/// 0 empty, 1 partial, 2 full, [b][h][row][col], by PyTorch's rule: padded with hidden positions to whole blocks.
std::vector<int> statesOf(const DenseMask &dense, std::int64_t blockQ, std::int64_t blockKv) {
  const auto [B, H, M, N] = dense.sizes;
  const std::int64_t rows = (M + blockQ - 1) / blockQ, cols = (N + blockKv - 1) / blockKv;
  std::vector<int> states;
  for (std::int64_t head = 0; head < B * H; ++head)
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t col = 0; col < cols; ++col) {
        std::int64_t visible = 0;
        for (std::int64_t q = row * blockQ; q < std::min(M, (row + 1) * blockQ); ++q)
          for (std::int64_t kv = col * blockKv; kv < std::min(N, (col + 1) * blockKv); ++kv)
            visible += dense.data[(head * M + q) * N + kv];
        states.push_back(visible == 0 ? 0 : visible == blockQ * blockKv ? 2 : 1);
      }
  return states;
}

std::vector<int> statesOf(const BlockMask &mask) {
  const BlockTensors tensors = need(mask.tensors());
  const std::int64_t rows = mask.rows(), cols = mask.cols(), heads = mask.batches() * mask.heads();
  std::vector<int> states(static_cast<std::size_t>(heads * rows * cols), 0);
  const auto paint = [&](const IndexTensor &counts, const IndexTensor &indices, int state) {
    CHECK(counts.sizes == std::vector<std::int64_t>{mask.batches(), mask.heads(), rows});
    CHECK(indices.sizes == std::vector<std::int64_t>{mask.batches(), mask.heads(), rows, cols});
    for (std::int64_t row = 0; row < heads * rows; ++row)
      for (std::int64_t i = 0; i < counts.data[row]; ++i)
        states[row * cols + indices.data[row * cols + i]] = state;
  };
  paint(tensors.kvNumBlocks, tensors.kvIndices, 1);
  if (tensors.fullKvNumBlocks)
    paint(*tensors.fullKvNumBlocks, *tensors.fullKvIndices, 2);
  // The transpose tells the same.
  std::vector<int> transposed(states.size(), 0);
  const auto paintQ = [&](const IndexTensor &counts, const IndexTensor &indices, int state) {
    for (std::int64_t list = 0; list < heads * cols; ++list)
      for (std::int64_t i = 0; i < counts.data[list]; ++i)
        transposed[(list / cols * rows + indices.data[list * rows + i]) * cols + list % cols] = state;
  };
  paintQ(*tensors.qNumBlocks, *tensors.qIndices, 1);
  if (tensors.fullQNumBlocks)
    paintQ(*tensors.fullQNumBlocks, *tensors.fullQIndices, 2);
  CHECK(transposed == states);
  const IndexTensor dense = need(mask.toDense());
  for (std::size_t i = 0; i < states.size(); ++i)
    CHECK(dense.data[i] == (states[i] != 0));
  return states;
}

std::vector<std::int32_t> ids(std::int64_t n) {
  std::vector<std::int32_t> docs(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i)
    docs[i] = static_cast<std::int32_t>(i * i / 997);
  return docs;
}

} // namespace

TEST_CASE("created masks are what the dense mask says, with blocks that stick out partial") {
  std::vector<std::int32_t> docs = ids(230), width{4, 100};
  const std::vector<CaptureInfo> infos{{"docs", DType::I32, 1}, {"width", DType::I32, 1}, {"w", DType::I64}};
  const std::vector<CaptureArgument> captures{{"docs", TensorRef::dense(docs.data(), DType::I32, {230})},
                                              {"width", TensorRef::dense(width.data(), DType::I32, {2})},
                                              {"w", std::int64_t{70}}};
  for (const char *text :
       {"True", "False", "q_idx >= kv_idx", "docs[q_idx] == docs[kv_idx]", "(q_idx >= kv_idx) & (q_idx - kv_idx < width[h])",
        "abs(q_idx - kv_idx) < w", "(q_idx + 3 * kv_idx) % 7 < 2 + b"})
    for (const auto &[M, N] : {std::pair<std::int64_t, std::int64_t>{128, 128}, {230, 200}, {77, 230}, {1, 230}, {230, 1}})
      for (const auto &[blockQ, blockKv] : {std::pair<std::int64_t, std::int64_t>{32, 32}, {16, 64}, {50, 7}, {300, 300}}) {
        CAPTURE(std::string(text));
        CAPTURE(M);
        CAPTURE(N);
        CAPTURE(blockQ);
        const Mod mod = parse(text, infos);
        const BlockMask mask = need(createBlockMask(mod, captures, 2, 2, M, N, Options(blockQ, blockKv)));
        const DenseMask dense = need(createMask(mod, captures, 2, 2, M, N));
        const std::vector<int> expected = statesOf(dense, blockQ, blockKv);
        CHECK(statesOf(mask) == expected);
        CHECK(mask.shape() == dense.sizes);
        const double hidden = static_cast<double>(std::count(expected.begin(), expected.end(), 0)) / static_cast<double>(expected.size());
        CHECK(mask.sparsity() == doctest::Approx(100 * hidden));
        CHECK(mask.report().byAnalysis + mask.report().bySamples + mask.report().byEvaluation == mask.report().blocks);
      }
}

TEST_CASE("causal at 2048, worked by hand") {
  const BlockMask mask = need(createBlockMask(parse("q_idx >= kv_idx"), {}, 1, 1, 2048, 2048));
  CHECK(mask.sparsity() == doctest::Approx(46.875));
  CHECK(mask.numel() == 2048.0 * 2048);
  CHECK(mask.isDerived());
  const BlockTensors tensors = need(mask.tensors());
  CHECK(tensors.kvNumBlocks.data == std::vector<std::int32_t>(16, 1)); // the diagonal
  for (std::int32_t row = 0; row < 16; ++row) {
    CHECK(tensors.kvIndices.data[row * 16] == row);
    CHECK(tensors.fullKvNumBlocks->data[row] == row);
    CHECK(tensors.fullQNumBlocks->data[row] == 15 - row);
    // present ones ascending, then absent ones ascending
    for (std::int32_t i = 0; i < 16; ++i)
      CHECK(tensors.fullKvIndices->data[row * 16 + i] == i);
  }
  CHECK(need(mask.tensors(false)).qNumBlocks.has_value() == false);
  const BlockMask together = need(createBlockMask(parse("q_idx >= kv_idx"), {}, 1, 1, 2048, 2048, {.separateFullBlocks = false}));
  const BlockTensors joined = need(together.tensors());
  CHECK_FALSE(joined.fullKvIndices.has_value());
  CHECK(joined.kvNumBlocks.data[5] == 6);
}

TEST_CASE("pictures") {
  const BlockMask mask =
      need(createBlockMask(parse("(q_idx >= kv_idx) & (q_idx - kv_idx < 64 * (h + 1))"), {}, 1, 6, 256, 256, Options(64, 64)));
  CHECK(mask.slice(IndexRange::one(0), IndexRange::one(0))->text() == "BlockMask(shape=(1, 1, 256, 256), block=(64, 64), sparsity=56.25%)\n"
                                                                      "(0, 0)\n"
                                                                      "██      \n"
                                                                      "████    \n"
                                                                      "  ████  \n"
                                                                      "    ████\n");
  CHECK(mask.slice({}, IndexRange::one(5))->toString(2, 2) == "(0, 0)\n"
                                                              "░░  \n"
                                                              "██░░\n");
  CHECK(contains(mask.toString(20, 20, 2), "(0, 1)"));
  CHECK_FALSE(contains(mask.toString(20, 20, 2), "(0, 2)"));
  CHECK(contains(mask.toString(20, 20, 2), "4 more"));
  CHECK(mask.toString(-1, -1, 1) == mask.toString(4, 4, 1));
}

TEST_CASE("lists: any order, any integers, ragged lengths, shared heads") {
  const std::vector<std::int64_t> counts{2, 1, 0, 2, 1, 0};
  const std::vector<std::int64_t> indices{2, 0, 9, 1, 9, 9, 9, 9, 9, 2, 0, 9, 1, 9, 9, 9, 9, 9}; // past the counts: never looked at
  const std::vector<std::int32_t> fullCounts{1, 0, 3}, fullIndices{1, 0, 0, 0, 0, 0, 2, 1, 0};
  KvBlocks blocks;
  blocks.kvNumBlocks = TensorRef::dense(const_cast<std::int64_t *>(counts.data()), DType::I64, {2, 1, 3});
  blocks.kvIndices = TensorRef::dense(const_cast<std::int64_t *>(indices.data()), DType::I64, {2, 1, 3, 3});
  blocks.fullKvNumBlocks = TensorRef::dense(const_cast<std::int32_t *>(fullCounts.data()), DType::I32, {2, 1, 3});
  blocks.fullKvIndices = TensorRef::dense(const_cast<std::int32_t *>(fullIndices.data()), DType::I32, {2, 1, 3, 3});
  blocks.fullKvNumBlocks->strides[0] = blocks.fullKvIndices->strides[0] = 0; // broadcast over the batch
  FromKvBlocksOptions options;
  options.blockQ = 10;
  options.blockKv = 20;
  options.qLength = 25;
  const BlockMask mask = need(BlockMask::fromKvBlocks(blocks, options));
  CHECK(mask.shape() == std::array<std::int64_t, 4>{2, 1, 25, 60});
  CHECK_FALSE(mask.isDerived());
  CHECK(statesOf(mask) == std::vector<int>{1, 2, 1, 0, 1, 0, 2, 2, 2, 1, 2, 1, 0, 1, 0, 2, 2, 2});
  CHECK(mask.bytes() < 100); // one batch is kept
}

TEST_CASE("what is wrong with lists is said with its place") {
  std::vector<std::int32_t> counts{1, 2}, indices{0, 1, 2, 1, 0, 2}, fullCounts{1, 1}, fullIndices{1, 0, 0, 2, 0, 0};
  KvBlocks blocks;
  FromKvBlocksOptions options;
  const auto make = [&] {
    blocks.kvNumBlocks = TensorRef::dense(counts.data(), DType::I32, {2});
    blocks.kvIndices = TensorRef::dense(indices.data(), DType::I32, {2, 3});
    blocks.fullKvNumBlocks = TensorRef::dense(fullCounts.data(), DType::I32, {2});
    blocks.fullKvIndices = TensorRef::dense(fullIndices.data(), DType::I32, {2, 3});
    return BlockMask::fromKvBlocks(blocks, options);
  };
  CHECK(make());
  counts[1] = 4;
  CHECK(contains(errorOf(make()), "kvNumBlocks[0, 0, 1] is 4; a row has 0 to 3 blocks"));
  counts[1] = -1;
  CHECK(contains(errorOf(make()), "kvNumBlocks[0, 0, 1] is -1"));
  counts[1] = 2;
  indices[4] = 3;
  CHECK(contains(errorOf(make()), "kvIndices[0, 0, 1, 1] is 3; columns are 0 to 2"));
  indices[4] = 1;
  CHECK(contains(errorOf(make()), "column 1 is listed twice: kvIndices[0, 0, 1, 0] and kvIndices[0, 0, 1, 1]"));
  indices[4] = 2;
  CHECK(contains(errorOf(make()),
                 "column 2 is listed twice: kvIndices[0, 0, 1, 1] and fullKvIndices[0, 0, 1, 0]; a block is partial or full"));
  indices[4] = 0;
  options.qLength = 300;
  CHECK(contains(errorOf(make()), "qLength is 300: blocks of 128 make 3 of them, the lists have 2"));
  options.qLength = 0;
  options.kvLength = -4;
  CHECK(contains(errorOf(make()), "kvLength is -4"));
  options.kvLength = 0;
  options.blockQ = 0;
  CHECK(contains(errorOf(make()), "blockQ is 0"));
  options.blockQ = 128;
  (void)make();
  blocks.fullKvIndices.reset();
  CHECK(contains(errorOf(BlockMask::fromKvBlocks(blocks, options)), "give both or neither"));
  (void)make();
  blocks.kvNumBlocks.sizes[0] = 1;
  CHECK(contains(errorOf(BlockMask::fromKvBlocks(blocks, options)), "one count per row"));
  (void)make();
  blocks.kvIndices.dtype = DType::F32;
  CHECK(contains(errorOf(BlockMask::fromKvBlocks(blocks, options)), "expected i32 or i64"));
  (void)make();
  blocks.kvIndices.rank = 1;
  CHECK(contains(errorOf(BlockMask::fromKvBlocks(blocks, options)), "has 1 dimensions"));
  (void)make();
  blocks.kvIndices.data = nullptr;
  CHECK(contains(errorOf(BlockMask::fromKvBlocks(blocks, options)), "data is null"));
}

TEST_CASE("what is wrong with creating a mask") {
  const Mod causal = parse("q_idx >= kv_idx"), captured = parse("docs[q_idx] > 0", {{"docs", DType::I32, 1}});
  CHECK(contains(errorOf(createBlockMask(causal, {}, 0, 1, 8, 8)), "B is 0; 1 to"));
  CHECK(contains(errorOf(createBlockMask(causal, {}, 1, 1, -8, 8)), "qLength is -8"));
  CHECK(contains(errorOf(createBlockMask(causal, {}, 1, 1, 8, 8, Options(0, 4))), "blockQ is 0"));
  CHECK(contains(errorOf(createBlockMask(causal, {}, 1, 1, std::int64_t{1} << 40, 8, Options(1, 4))), "use larger blocks"));
  CHECK(contains(errorOf(createBlockMask(captured, {}, 1, 1, 8, 8)), "capture 'docs': it is missing"));
  std::vector<std::int32_t> docs(7, 1);
  const std::vector<CaptureArgument> tooShort{{"docs", TensorRef::dense(docs.data(), DType::I32, {7})}};
  const Result<BlockMask> outside = createBlockMask(captured, tooShort, 1, 1, 8, 8);
  REQUIRE_FALSE(outside);
  CHECK(outside.error().code == ErrorCode::IndexOutOfRange);
  CHECK(contains(outside.error().message, "('docs') outside its sizes; the first such position is b = 0, h = 0, q_idx = 7, kv_idx = 0"));
  const Result<DenseMask> dense = createMask(captured, tooShort, 1, 1, 8, 8);
  REQUIRE_FALSE(dense);
  CHECK(contains(dense.error().message, "q_idx = 7, kv_idx = 0"));
  CHECK_FALSE(createMask(causal, {}, 1, 1, 1 << 20, 1 << 20));
  const BlockMask huge = need(createBlockMask(causal, {}, 64, 64, 1 << 20, 1 << 20));
  CHECK(huge.toDense().error().code == ErrorCode::Unsupported);
  CHECK(contains(huge.tensors().error().message, "slice the mask"));
  CHECK(huge.bytes() < 300000);
}

TEST_CASE("slices: the formula moves along") {
  std::vector<std::int32_t> docs = ids(200), width{3, 30, 300, 50};
  const std::vector<CaptureInfo> infos{{"docs", DType::I32, 1}, {"width", DType::I32, 1}};
  const std::vector<CaptureArgument> captures{{"docs", TensorRef::dense(docs.data(), DType::I32, {200})},
                                              {"width", TensorRef::dense(width.data(), DType::I32, {4})}};
  const Mod mod = parse("(docs[q_idx] == docs[kv_idx]) & (abs(q_idx - kv_idx) <= width[h]) & (kv_idx >= 10 * b)", infos);
  const BlockMask whole = need(createBlockMask(mod, captures, 3, 4, 200, 200, Options(16, 16)));
  const DenseMask dense = need(createMask(mod, captures, 3, 4, 200, 200));
  const auto check = [&](const BlockMask &slice, std::int64_t b0, std::int64_t h0, std::int64_t q0) {
    const auto [B, H, M, N] = slice.shape();
    const DenseMask part = need(createMask(slice.maskMod(), slice.captures(), B, H, M, N));
    for (std::int64_t b = 0; b < B; ++b)
      for (std::int64_t h = 0; h < H; ++h)
        for (std::int64_t q = 0; q < M; ++q)
          for (std::int64_t kv = 0; kv < N; ++kv)
            REQUIRE(part.data[((b * H + h) * M + q) * N + kv] == dense.data[(((b + b0) * 4 + h + h0) * 200 + q + q0) * 200 + kv]);
    CHECK(statesOf(slice) == statesOf(part, 16, 16));
  };
  check(need(whole.slice({})), 0, 0, 0);
  check(need(whole.slice({1, 3}, {}, {2, 5})), 1, 0, 32);
  check(need(whole.slice({}, IndexRange::one(-1), IndexRange::one(-1))), 0, 3, 192);
  check(need(need(whole.slice({1, 3}, {1, 3}, {2, 9})).slice({1, 2}, {}, {3, -1})), 2, 1, 80);
  check(need(need(whole.slice({}, {}, {2, 9})).adjust(20, 200)), 0, 0, 32);
  // Another offset is another number, not another formula.
  CHECK(need(whole.slice({}, {}, {0, 1})).maskMod().canonicalText() == need(whole.slice({}, {}, {5, 6})).maskMod().canonicalText());
  CHECK(need(whole.slice({})).maskMod().captures().size() == 2);
  CHECK(contains(errorOf(whole.slice({3, 4})), "batches [3, 4) is empty or outside; the mask has 3"));
  CHECK(contains(errorOf(whole.slice({}, {2, 2})), "heads [2, 2)"));
  CHECK(contains(errorOf(whole.slice({}, {}, {-14, 2})), "rows of blocks [-14, 2)"));
}

TEST_CASE("masks grow with their sequences: only new blocks are decided, and all are as if made at once") {
  std::vector<std::int32_t> docs = ids(400);
  const std::vector<CaptureInfo> infos{{"docs", DType::I32, 1}};
  for (const char *text : {"q_idx >= kv_idx", "(docs[q_idx] == docs[kv_idx]) & (q_idx >= kv_idx)", "(q_idx + kv_idx * h) % 5 < 3",
                           "abs(q_idx - kv_idx) < 40"}) {
    CAPTURE(std::string(text));
    const Mod mod = parse(text, infos);
    const auto captures = [&](std::int64_t n) {
      return std::vector<CaptureArgument>{{"docs", TensorRef::dense(docs.data(), DType::I32, {n})}};
    };
    for (const bool separate : {true, false}) {
      Options options(16, 32);
      options.separateFullBlocks = separate;
      BlockMask mask = need(createBlockMask(mod, captures(100), 1, 2, 100, 100, options));
      for (const auto &[M, N] :
           {std::pair<std::int64_t, std::int64_t>{101, 101}, {101, 130}, {128, 130}, {300, 300}, {300, 300}, {301, 399}}) {
        const std::int64_t before = mask.report().blocks, known = (mask.qLength() / 16) * (mask.kvLength() / 32);
        const std::vector<CaptureArgument> now = mask.captures().empty() ? std::vector<CaptureArgument>{} : captures(std::max(M, N));
        mask = need(mask.grow(M, N, now));
        const BlockMask anew = need(createBlockMask(mod, captures(std::max(M, N)), 1, 2, M, N, options));
        CHECK(statesOf(mask) == statesOf(anew));
        CHECK(mask.sparsity() == anew.sparsity());
        CHECK(mask.report().blocks <= anew.report().blocks - known);
        CHECK(before >= 0);
      }
    }
  }
  const BlockMask causal = need(createBlockMask(parse("q_idx >= kv_idx"), {}, 1, 1, 100, 100));
  CHECK(contains(errorOf(causal.grow(50, 100, {})), "adjust() makes it shorter"));
  CHECK(contains(errorOf(causal.adjust(100, 101)), "kvLength 101 is larger than now; the mask has 100, grow() makes it longer"));
  // One query and ever more keys: what is decided and what is looked at is new keys only.
  const Mod decoding = parse("docs[q_idx + 63] == docs[kv_idx]", infos);
  const auto all = std::vector<CaptureArgument>{{"docs", TensorRef::dense(docs.data(), DType::I32, {400})}};
  BlockMask step = need(createBlockMask(decoding, all, 1, 1, 1, 64, Options(16, 16)));
  for (std::int64_t n = 65; n <= 400; n += 37) {
    step = need(step.grow(1, n, all));
    CHECK(statesOf(step) == statesOf(need(createBlockMask(decoding, all, 1, 1, 1, n, Options(16, 16)))));
    CHECK(step.report().blocks <= 4);
    CHECK(step.report().valuesTabulated <= 37 + 16 + 1);
  }
  // A slice grows too: its rows stay where they were cut.
  const BlockMask decode = need(need(createBlockMask(parse("q_idx >= kv_idx"), {}, 1, 1, 64, 64, Options(16, 16))).slice({}, {}, {3, 4}));
  CHECK(statesOf(need(decode.grow(16, 80, {}))) == std::vector<int>{2, 2, 2, 1, 0});
}

TEST_CASE("masks combine block by block, and so do their formulas") {
  std::vector<std::int32_t> docs = ids(200);
  const std::vector<CaptureArgument> captures{{"docs", TensorRef::dense(docs.data(), DType::I32, {200})}};
  const Mod causal = parse("q_idx >= kv_idx"), document = parse("docs[q_idx] == docs[kv_idx]", {{"docs", DType::I32, 1}}),
            head = parse("kv_idx % 64 < 16 * h");
  const auto make = [&](const Mod &mod, std::int64_t H) {
    return need(createBlockMask(mod, mod.captures().empty() ? std::vector<CaptureArgument>{} : captures, 1, H, 200, 190, Options(16, 32)));
  };
  const auto check = [&](const BlockMask &mask, const Mod &mod) {
    CHECK(mask.maskMod().canonicalText() == mod.canonicalText());
    const auto [B, H, M, N] = mask.shape();
    const std::vector<int> found = statesOf(mask), truth = statesOf(need(createMask(mod, mask.captures(), B, H, M, N)), 16, 32);
    for (std::size_t i = 0; i < truth.size(); ++i)
      CHECK((found[i] == truth[i] || found[i] == 1));
    CHECK(mask.isDerived());
  };
  const std::pair<Mod, std::int64_t> parts[] = {{causal, 1}, {document, 1}, {head, 5}};
  for (const auto &[x, hx] : parts)
    for (const auto &[y, hy] : parts) {
      check(need(andMasks(make(x, hx), make(y, hy))), need(andMasks({x, y})));
      check(need(orMasks(make(x, hx), make(y, hy))), need(orMasks({x, y})));
      check(need(xorMasks(make(x, hx), make(y, hy))), need(xorMasks({x, y})));
      check(need(notMask(make(x, hx))), need(notMask(x)));
    }
  // Blocks that both settle are settled: causal and document is as sparse as made at once, but for blocks that both cut.
  CHECK(statesOf(need(andMasks(make(causal, 1), make(causal, 1)))) == statesOf(make(causal, 1)));

  CHECK(contains(errorOf(andMasks(make(causal, 1), need(createBlockMask(causal, {}, 1, 1, 200, 200, Options(16, 32))))),
                 "one mask is of 200 x 190 positions, the other of 200 x 200"));
  CHECK(contains(errorOf(andMasks(make(causal, 1), need(createBlockMask(causal, {}, 1, 1, 200, 190, Options(16, 16))))),
                 "blocks of 16 x 32"));
  CHECK(contains(errorOf(orMasks(make(head, 5), make(head, 4))), "H is 5 in one mask and 4 in the other"));
}

TEST_CASE("lists without a mask_mod combine as whole blocks; with one they do not") {
  std::vector<std::int32_t> counts{1, 2}, indices{1, 0, 0, 1};
  KvBlocks blocks{TensorRef::dense(counts.data(), DType::I32, {2}), TensorRef::dense(indices.data(), DType::I32, {2, 2}), {}, {}};
  FromKvBlocksOptions options;
  options.blockQ = options.blockKv = 16;
  const BlockMask lists = need(BlockMask::fromKvBlocks(blocks, options));
  const BlockMask causal = need(createBlockMask(parse("q_idx >= kv_idx"), {}, 1, 1, 32, 32, Options(16, 16)));
  CHECK(statesOf(need(andMasks(lists, causal))) == std::vector<int>{0, 0, 2, 1});
  CHECK(statesOf(need(orMasks(lists, causal))) == std::vector<int>{1, 2, 2, 2});
  CHECK(need(orMasks(lists, causal)).maskMod().canonicalText() == causal.maskMod().canonicalText());
  CHECK(statesOf(need(xorMasks(lists, lists))) == std::vector<int>{0, 0, 0, 0});
  CHECK(contains(errorOf(xorMasks(lists, causal)), "one mask is made of lists"));
  options.maskMod = parse("q_idx >= kv_idx");
  CHECK(contains(errorOf(andMasks(need(BlockMask::fromKvBlocks(blocks, options)), causal)), "come from lists that need not agree"));
  CHECK(contains(errorOf(lists.grow(48, 48, {})), "the blocks come from lists"));
}

TEST_CASE("dense masks: by mask_mod, or by a score_mod alone") {
  CHECK(need(createMask(parse("q_idx == kv_idx"), {}, 1, 1, 2, 3)).data == std::vector<std::uint8_t>{1, 0, 0, 0, 1, 0});
  const Mod score = parse("", {}, "torch.where(q_idx >= kv_idx, score, -float('inf'))");
  CHECK(need(createMask(score, {}, 1, 1, 2, 3)).data == std::vector<std::uint8_t>{1, 0, 0, 1, 1, 0});
  CHECK(need(createMask(parse(""), {}, 2, 1, 1, 2)).data == std::vector<std::uint8_t>(4, 1));
}

TEST_CASE("the number of threads never changes a mask") {
  constexpr std::int64_t M = 9000, N = 8000; // large enough for threads to be used
  std::vector<std::int32_t> docs = ids(M);
  const std::vector<CaptureArgument> captures{{"docs", TensorRef::dense(docs.data(), DType::I32, {M})}};
  const Mod mod = parse("(docs[q_idx] == docs[kv_idx]) | ((q_idx * 7919 + kv_idx * 104729) % 997 == h)", {{"docs", DType::I32, 1}});
  Options options(64, 32);
  const BlockMask one = need(createBlockMask(mod, captures, 1, 2, M, N, options));
  for (const int threads : {0, 2, 7}) {
    options.threads = threads;
    const BlockMask many = need(createBlockMask(mod, captures, 1, 2, M, N, options));
    CHECK(need(many.tensors()).kvIndices.data == need(one.tensors()).kvIndices.data);
    CHECK(need(many.tensors()).kvNumBlocks.data == need(one.tensors()).kvNumBlocks.data);
    CHECK(many.report().byEvaluation == one.report().byEvaluation);
  }
}
