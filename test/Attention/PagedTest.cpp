// Attention over a page pool: the bits of unpaged keys; and the same through the formula over the whole cache, as PyTorch does it.
#include "Attention/Oracle.h"

using namespace attnjit;
using namespace attnjit::test;

namespace {

constexpr std::int64_t kHq = 4, kHkv = 2, kD = 16, kPageSize = 16, kPages = 24;

/// Three sequences of which two share a prefix, written token by token into a pool.
struct Pool {
  Pool()
      : books(*PagedAttention::create(kPages, kPageSize, 4)), k({1, kHkv, kPages * kPageSize, kD}, 0.1),
        v({1, kHkv, kPages * kPageSize, kD}, 0.2) {
    for (float *poison : {k.memory.data(), v.memory.data()}) // rows that hold no token must not matter
      std::fill_n(poison, kHkv * kPages * kPageSize * kD, 1e30f);
    write(2, 0, 5);
    write(0, 0, 100);
    REQUIRE(books.share(0, 3, 90));
    write(2, 5, 50); // pages of different sequences alternate
    write(3, 90, 133);
    write(0, 100, 121);
  }

  /// What token t of sequence s is: sequences 0 and 3 are alike before 90.
  static float token(std::int64_t s, std::int64_t t, std::int64_t i) {
    return std::sin(0.3f * static_cast<float>((s == 3 && t < 90 ? 0 : s) * 1000 + t) + 0.7f * static_cast<float>(i));
  }

  void write(std::int64_t s, std::int64_t begin, std::int64_t end) {
    REQUIRE(books.reserve(s, end));
    const std::int64_t S = end - begin;
    std::vector<std::int64_t> positions(S);
    std::vector<float> keys(kHkv * S * kD), values(keys.size());
    for (std::int64_t h = 0; h < kHkv; ++h)
      for (std::int64_t t = 0; t < S; ++t) {
        positions[t] = begin + t;
        for (std::int64_t d = 0; d < kD; ++d) {
          keys[(h * S + t) * kD + d] = token(s, begin + t, h * kD + d);
          values[(h * S + t) * kD + d] = token(s, begin + t, 100 + h * kD + d);
        }
      }
    const std::int64_t batches[] = {s};
    const Result<void> assigned = books.assign(batches, TensorRef::dense(positions.data(), DType::I64, {1, S}),
                                               TensorRef::dense(keys.data(), DType::F32, {1, kHkv, S, kD}),
                                               TensorRef::dense(values.data(), DType::F32, {1, kHkv, S, kD}), k.ref, v.ref);
    REQUIRE_MESSAGE(assigned, assigned.error().message);
  }

  PagedAttention books;
  Tensor k, v;
};

/// The output of one sequence without pages.
std::vector<float> plain(std::int64_t s, std::int64_t length, const Tensor &q, std::int64_t batch, const Mod &mod,
                         std::vector<CaptureArgument> captures) {
  Tensor k({1, kHkv, length, kD}, 0), v({1, kHkv, length, kD}, 0);
  for (std::int64_t h = 0; h < kHkv; ++h)
    for (std::int64_t t = 0; t < length; ++t)
      for (std::int64_t d = 0; d < kD; ++d) {
        k.memory[(h * length + t) * kD + d] = Pool::token(s, t, h * kD + d);
        v.memory[(h * length + t) * kD + d] = Pool::token(s, t, 100 + h * kD + d);
      }
  const std::int64_t M = q.ref.sizes[2], row = kHq * M * kD;
  Tensor out({1, kHq, M, kD}, 0);
  ForwardCall call;
  call.mod = mod;
  call.captures = std::move(captures);
  call.q = TensorRef::dense(const_cast<float *>(q.memory.data()) + batch * row, DType::F32, {1, kHq, M, kD});
  call.k = k.ref;
  call.v = v.ref;
  call.out = out.ref;
  const Result<ForwardReport> report = realEngine().forward(call);
  REQUIRE_MESSAGE(report, report.error().message);
  return {out.memory.begin(), out.memory.begin() + row};
}

} // namespace

TEST_CASE("sequences in pages, shared and scattered, have the bits that they have without") {
  const Pool pool;
  const std::vector<std::int64_t> sequences = {3, 0, 2};
  for (std::int64_t M : {1, 7}) {
    Tensor q({3, kHq, M, kD}, 0.37), out({3, kHq, M, kD}, 0), lse({3, kHq, M}, 0);
    std::vector<std::int64_t> lengths = {133, 121, 50};
    PagedCall call{.pages = &pool.books, .batches = sequences};
    call.q = q.ref;
    call.kCache = pool.k.ref;
    call.vCache = pool.v.ref;
    call.out = out.ref;
    call.lse = lse.ref;
    call.kvLen = TensorRef::dense(lengths.data(), DType::I64, {3});
    call.window = {-1, 0};
    call.mod = *Mod::parse("score + 0.1 * b + 0.01 * kv_idx", "kv_idx % 5 != 1");
    const Result<ForwardReport> report = pagedAttention(realEngine(), call);
    REQUIRE_MESSAGE(report, report.error().message);
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      const Mod same = *Mod::parse("score + 0.1 * n + 0.01 * kv_idx", "(kv_idx % 5 != 1) & (kv_idx - q_idx <= shift)",
                                   {{"n", DType::I64}, {"shift", DType::I64}});
      const std::vector<float> expected = plain(sequences[i], lengths[i], q, static_cast<std::int64_t>(i), same,
                                                {{"n", static_cast<std::int64_t>(i)}, {"shift", lengths[i] - M}});
      const std::int64_t row = kHq * M * kD;
      CHECK(std::vector<float>(out.memory.begin() + i * row, out.memory.begin() + (i + 1) * row) == expected);
    }
  }
}

TEST_CASE("the formula over the whole cache says the same") {
  const Pool pool;
  const std::int64_t M = 5;
  // b is the sequence itself here: all four, of which 1 holds nothing.
  Tensor q({4, kHq, M, kD}, 0.37), out({4, kHq, M, kD}, 0), byPages({4, kHq, M, kD}, 0);
  std::vector<std::int64_t> lengths = {120, 0, 50, 131};
  const TensorRef kvLen = TensorRef::dense(lengths.data(), DType::I64, {4});
  std::vector<float> bias(kPages * kPageSize);
  for (std::size_t i = 0; i < bias.size(); ++i)
    bias[i] = 0.01f * static_cast<float>(i);
  const Mod mod = *Mod::parse("score + bias[kv_idx]", "kv_idx % 3 != 0", {{"bias", DType::F32, 1}});
  const TensorRef biasOf133 = TensorRef::dense(bias.data(), DType::F32, {133}); // as long as the sequences: a physical index would leave it

  const Result<Mod> physical = pool.books.physicalMod(mod, true);
  REQUIRE_MESSAGE(physical, physical.error().message);
  ForwardCall call;
  call.mod = *physical;
  call.captures = pool.books.captures(kvLen);
  call.captures.push_back({"bias", biasOf133});
  call.q = q.ref;
  call.k = pool.k.ref;
  call.v = pool.v.ref;
  call.out = out.ref;
  const Result<ForwardReport> report = realEngine().forward(call);
  REQUIRE_MESSAGE(report, report.error().message);
  CHECK(report->plan.visibleBlocks < report->plan.totalBlocks);

  PagedCall paged{.pages = &pool.books, .batches = {0, 1, 2, 3}};
  paged.mod = mod;
  paged.captures = {{"bias", biasOf133}};
  paged.q = q.ref;
  paged.kCache = pool.k.ref;
  paged.vCache = pool.v.ref;
  paged.out = byPages.ref;
  paged.kvLen = kvLen;
  REQUIRE(pagedAttention(realEngine(), paged));
  double worst = 0;
  for (std::size_t i = 0; i < out.memory.size(); ++i)
    worst = std::max(worst, std::abs(double(out.memory[i]) - byPages.memory[i]));
  CHECK(worst < 1e-5);
  CHECK(byPages.memory[kHq * M * kD] == 0); // sequence 1 sees nothing

  // And with a block mask over the keys of sequences 2 and 3, whose batches are 0 and 1.
  BlockMaskOptions options;
  options.blockQ = 4;
  options.blockKv = kPageSize;
  const TensorRef lastLengths = TensorRef::dense(lengths.data() + 2, DType::I64, {2});
  const Result<BlockMask> logical = createBlockMask(mod.maskOnly(), {}, 2, 1, M, 131, options);
  REQUIRE_MESSAGE(logical, logical.error().message);
  const Result<BlockMask> blocks = pool.books.convertLogicalBlockMask(*logical, 2, 2, lastLengths);
  REQUIRE_MESSAGE(blocks, blocks.error().message);
  call.mod = physical->scoreOnly();
  call.blockMask = *blocks;
  call.captures = pool.books.captures(lastLengths, 2);
  call.captures.push_back({"bias", biasOf133});
  for (TensorRef *operand : {&call.q, &call.out}) {
    operand->sizes[0] = 2;
    operand->data = static_cast<float *>(operand->data) + 2 * operand->strides[0];
  }
  std::fill(out.memory.begin(), out.memory.end(), 77.0f);
  const Result<ForwardReport> masked = realEngine().forward(call);
  REQUIRE_MESSAGE(masked, masked.error().message);
  worst = 0;
  for (std::size_t i = 2 * kHq * M * kD; i < 4 * kHq * M * kD; ++i)
    worst = std::max(worst, std::abs(double(out.memory[i]) - byPages.memory[i]));
  CHECK(worst < 1e-5);

  CHECK(!pool.books.physicalMod(*Mod::parse("", "kv_idx < kv_len", {{"kv_len", DType::I64}}), true));
}
