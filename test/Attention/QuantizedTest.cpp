// Descales through scaled_dot_product_attention, packed and paged calls: operands stand for themselves times their factors.
#include "Attention/Oracle.h"

#include "Support/FloatFormat.h"

using namespace attnjit;
using namespace attnjit::test;

namespace {

constexpr std::int64_t kOuter = 2, kInner = 3, kHeads = 2, kLength = 20, kDim = 16;

/// The factor of batch (o, i) and head h.
float factorOf(std::int64_t o, std::int64_t i, std::int64_t h, double seed) {
  return static_cast<float>(0.5 + std::abs(std::sin(seed * static_cast<double>((o * kInner + i) * kHeads + h + 1))));
}

/// [outer, inner, heads, length, dim] in e4m3, its factors, and the product as f32.
struct Quantized {
  Quantized(std::int64_t heads, double seed, bool sharedOverOuter = false)
      : real({kOuter, kInner, heads, kLength, kDim}, seed), bytes(real.memory.size()),
        factors(static_cast<std::size_t>((sharedOverOuter ? 1 : kOuter) * kInner * kHeads)) {
    const FloatFormat &format = *FloatFormat::of(DType::F8E4M3);
    for (std::int64_t o = 0; o < kOuter; ++o)
      for (std::int64_t i = 0; i < kInner; ++i)
        for (std::int64_t h = 0; h < heads; ++h) {
          const float factor = factorOf(sharedOverOuter ? 0 : o, i, h / (heads / kHeads), seed);
          factors[static_cast<std::size_t>(((sharedOverOuter ? 0 : o) * kInner + i) * kHeads + h / (heads / kHeads))] = factor;
          for (std::int64_t n = 0; n < kLength * kDim; ++n) {
            const auto at = static_cast<std::size_t>(((o * kInner + i) * heads + h) * kLength * kDim + n);
            bytes[at] = static_cast<std::uint8_t>(format.encode(format.round(4 * real.memory[at])));
            real.memory[at] = static_cast<float>(format.decode(bytes[at]) * factor);
          }
        }
    ref = real.ref;
    ref.data = bytes.data();
    ref.dtype = DType::F8E4M3;
    descale = sharedOverOuter ? TensorRef::dense(factors.data(), DType::F32, {kInner, kHeads})
                              : TensorRef::dense(factors.data(), DType::F32, {kOuter, kInner, kHeads});
  }
  Tensor real;
  std::vector<std::uint8_t> bytes;
  std::vector<float> factors;
  TensorRef ref, descale;
};

} // namespace

TEST_CASE("8-bit operands with descales are what they stand for, over batch dimensions and grouped heads") {
  for (const bool grouped : {false, true}) {
    CAPTURE(grouped);
    const std::int64_t queryHeads = grouped ? 2 * kHeads : kHeads;
    const Quantized query(queryHeads, 0.3), key(kHeads, 0.7), value(kHeads, 1.1, /*sharedOverOuter=*/true);
    Tensor expected({kOuter, kInner, queryHeads, kLength, kDim}, 1), got({kOuter, kInner, queryHeads, kLength, kDim}, 2);
    SdpaCall call;
    call.enableGqa = grouped;
    call.isCausal = true;
    call.query = query.real.ref, call.key = key.real.ref, call.value = value.real.ref, call.out = expected.ref;
    REQUIRE(scaledDotProductAttention(realEngine(), call));
    call.query = query.ref, call.key = key.ref, call.value = value.ref, call.out = got.ref;
    call.qDescale = query.descale, call.kDescale = key.descale, call.vDescale = value.descale;
    const Result<ForwardReport> report = scaledDotProductAttention(realEngine(), call);
    REQUIRE_MESSAGE(report, report.error().message);
    double worst = 0;
    for (std::size_t i = 0; i + 1 < expected.memory.size(); ++i)
      worst = std::max<double>(worst, std::abs(expected.memory[i] - got.memory[i]));
    CHECK(worst < 2e-5);
    CHECK(worst > 0); // the factors are applied elsewhere: equal bits would mean that both calls read the same
  }
}

TEST_CASE("descales that do not fit are named as PyTorch names them") {
  const Quantized query(kHeads, 0.3), key(kHeads, 0.7), value(kHeads, 1.1);
  Tensor out({kOuter, kInner, kHeads, kLength, kDim}, 1);
  SdpaCall call;
  call.query = query.ref, call.key = key.ref, call.value = value.ref, call.out = out.ref;
  const auto message = [&] {
    const Result<std::vector<ForwardCall>> calls = toForwardCalls(call);
    return calls ? std::string() : calls.error().message;
  };
  call.kDescale = TensorRef::dense(nullptr, DType::F32, {kOuter, kInner, kHeads + 1});
  CHECK(message().find("k_descale") == 0);
  call.kDescale = TensorRef::dense(nullptr, DType::F32, {kOuter, kInner, kHeads, 1});
  CHECK(message().find("k_descale: it has 4 dimensions; at most 3") == 0);
  call.kDescale = TensorRef::dense(nullptr, DType::F16, {1});
  CHECK(message().find("k_descale: its dtype is f16; expected f32") == 0);
  call.kDescale = TensorRef::dense(nullptr, DType::F32, {1});
  CHECK(message().empty());
}

namespace {

/// Any shape in e4m3, with values of up to 4.
struct Bytes {
  Bytes(std::initializer_list<std::int64_t> sizes, double seed) {
    std::int64_t count = 1;
    for (const std::int64_t size : sizes)
      count *= size;
    const FloatFormat &format = *FloatFormat::of(DType::F8E4M3);
    for (std::int64_t i = 0; i < count; ++i)
      memory.push_back(static_cast<std::uint8_t>(format.encode(format.round(4 * std::sin(seed * static_cast<double>(i + 1))))));
    ref = TensorRef::dense(memory.data(), DType::F8E4M3, sizes);
  }
  double at(const std::vector<std::int64_t> &index) const {
    return FloatFormat::of(DType::F8E4M3)->decode(memory[static_cast<std::size_t>(offsetOf(ref, index))]);
  }
  std::vector<std::uint8_t> memory;
  TensorRef ref;
};

/// f32 [rows, columns] of factors in [0.5, 1.5].
struct Factors {
  Factors(std::int64_t rows, std::int64_t columns, double seed) {
    for (std::int64_t i = 0; i < rows * columns; ++i)
      memory.push_back(static_cast<float>(1 + 0.5 * std::sin(seed * static_cast<double>(i + 1))));
    ref = TensorRef::dense(memory.data(), DType::F32, {rows, columns});
  }
  double at(std::int64_t s, std::int64_t head) const { return element(ref, {s, head}); }
  std::vector<float> memory;
  TensorRef ref;
};

constexpr std::int64_t kHq = 4, kHkv = 2, kD = 16;

/// The factors of a call of three sequences: for each of their kv heads, for each kv head, for all.
struct Descales {
  Factors q{3, kHkv, 0.9}, k{1, kHkv, 1.7}, v{3, 1, 2.3};
  template <typename Call> void give(Call &call) const { call.qDescale = q.ref, call.kDescale = k.ref, call.vDescale = v.ref; }

  /// One causal row of query head h, aligned to the last key, by the definition; `query(d)`, `key(j, d)` and `value(j, d)` are the bytes.
  template <typename Q, typename K, typename V>
  Row row(std::int64_t s, std::int64_t h, std::int64_t visible, const Q &query, const K &key, const V &value) const {
    const std::int64_t kv = h / (kHq / kHkv);
    return softmaxRow(
        visible, kD,
        [&](std::int64_t j) {
          double dot = 0;
          for (std::int64_t d = 0; d < kD; ++d)
            dot += query(d) * key(j, d);
          return dot / 4 * q.at(s, kv) * k.at(s, kv);
        },
        [&](std::int64_t j, std::int64_t d) { return value(j, d) * v.at(s, kv); });
  }
};

} // namespace

TEST_CASE("descales of packed sequences are those of each sequence, in one piece and in pages") {
  const Descales descales;
  std::vector<std::int32_t> cuQ = {0, 5, 6, 46}, cuK = {0, 7, 137, 197}, used = {7, 130, 60};
  const Bytes q({46, kHq, kD}, 0.37), k({197, kHkv, kD}, 0.73), v({197, kHkv, kD}, 1.1);
  Tensor out({46, kHq, kD}, 0), lse({kHq, 46}, 0), fromPages({46, kHq, kD}, 0);
  VarlenCall call;
  call.q = q.ref, call.k = k.ref, call.v = v.ref, call.out = out.ref, call.lse = lse.ref;
  call.cuSeqQ = TensorRef::dense(cuQ.data(), DType::I32, {4});
  call.cuSeqK = TensorRef::dense(cuK.data(), DType::I32, {4});
  call.window = {-1, 0};
  call.enableGqa = true;
  descales.give(call);
  const Result<ForwardReport> report = varlenAttention(realEngine(), call);
  REQUIRE_MESSAGE(report, report.error().message);
  double worst = 0, worstLse = 0;
  for (std::int64_t s = 0; s < 3; ++s)
    for (std::int64_t h = 0; h < kHq; ++h)
      for (std::int64_t row = cuQ[s]; row < cuQ[s + 1]; ++row) {
        const std::int64_t first = cuK[s];
        const Row expected = descales.row(
            s, h, used[s] - (cuQ[s + 1] - 1 - row), [&](std::int64_t d) { return q.at({row, h, d}); },
            [&](std::int64_t j, std::int64_t d) { return k.at({first + j, h / 2, d}); },
            [&](std::int64_t j, std::int64_t d) { return v.at({first + j, h / 2, d}); });
        for (std::int64_t d = 0; d < kD; ++d)
          worst = std::max(worst, std::abs(expected.out[static_cast<std::size_t>(d)] - element(out.ref, {row, h, d})));
        worstLse = std::max(worstLse, std::abs(expected.lse - element(lse.ref, {h, row})));
      }
  CHECK(worst < 2e-5);
  CHECK(worstLse < 2e-5);

  // Token i of all lies in row i % 16 of a page of its sequence; pages are handed out backwards.
  constexpr std::int64_t kPage = 16, kPerSequence = 9, kPages = 3 * kPerSequence;
  Bytes keyPool({kPages, kPage, kHkv, kD}, 0.1), valuePool({kPages, kPage, kHkv, kD}, 0.2);
  std::vector<std::int64_t> table;
  for (std::int64_t i = 0; i < kPages; ++i)
    table.push_back(kPages - 1 - i);
  for (std::int64_t s = 0; s < 3; ++s)
    for (std::int64_t j = 0; j < used[s]; ++j) {
      const std::int64_t row = kHkv * kD, to = (table[s * kPerSequence + j / kPage] * kPage + j % kPage) * row, from = (cuK[s] + j) * row;
      std::copy_n(k.memory.begin() + from, row, keyPool.memory.begin() + to);
      std::copy_n(v.memory.begin() + from, row, valuePool.memory.begin() + to);
    }
  call.k = keyPool.ref, call.v = valuePool.ref, call.out = fromPages.ref;
  call.cuSeqK = {};
  call.seqUsedK = TensorRef::dense(used.data(), DType::I32, {3});
  call.blockTable = TensorRef::dense(table.data(), DType::I64, {3, kPerSequence});
  const Result<ForwardReport> paged = varlenAttention(realEngine(), call);
  REQUIRE_MESSAGE(paged, paged.error().message);
  CHECK(fromPages.memory == out.memory);
}

TEST_CASE("descales of paged calls are those of each batch") {
  const Descales descales;
  constexpr std::int64_t kM = 3, kPage = 16, kPages = 12;
  std::vector<std::int64_t> lengths = {70, 33, 50};
  PagedAttention books = *PagedAttention::create(kPages, kPage, 3);
  for (std::int64_t s : {2, 0, 1})
    REQUIRE(books.reserve(s, lengths[static_cast<std::size_t>(s)]));
  const Bytes q({3, kHq, kM, kD}, 0.37), keys({1, kHkv, kPages * kPage, kD}, 0.73), values({1, kHkv, kPages * kPage, kD}, 1.1);
  Tensor out({3, kHq, kM, kD}, 0);
  PagedCall call{.pages = &books, .batches = {0, 1, 2}};
  call.q = q.ref, call.kCache = keys.ref, call.vCache = values.ref, call.out = out.ref;
  call.kvLen = TensorRef::dense(lengths.data(), DType::I64, {3});
  call.window = {-1, 0};
  descales.give(call);
  const Result<ForwardReport> report = pagedAttention(realEngine(), call);
  REQUIRE_MESSAGE(report, report.error().message);
  const auto *table = static_cast<const std::int64_t *>(books.pageTable().data);
  double worst = 0;
  forEachIndex({3, kHq, kM}, [&](const std::vector<std::int64_t> &at) {
    const std::int64_t s = at[0], h = at[1], row = at[2];
    const auto place = [&](std::int64_t j) { return table[s * kPages + j / kPage] * kPage + j % kPage; };
    const Row expected = descales.row(
        s, h, lengths[static_cast<std::size_t>(s)] - (kM - 1 - row), [&](std::int64_t d) { return q.at({s, h, row, d}); },
        [&](std::int64_t j, std::int64_t d) { return keys.at({0, h / 2, place(j), d}); },
        [&](std::int64_t j, std::int64_t d) { return values.at({0, h / 2, place(j), d}); });
    for (std::int64_t d = 0; d < kD; ++d)
      worst = std::max(worst, std::abs(expected.out[static_cast<std::size_t>(d)] - element(out.ref, {s, h, row, d})));
  });
  CHECK(worst < 2e-5);

  Factors tooMany(4, 1, 1);
  call.vDescale = tooMany.ref;
  const Result<ForwardReport> refused = pagedAttention(realEngine(), call);
  REQUIRE(!refused);
  CHECK_MESSAGE(refused.error().message.find("vDescale: its first size is 4; expected 3, one row for each batch") == 0,
                refused.error().message);
}
