// Packed sequences against the definition, one sequence at a time; windows, caches, pages, formulas; and that a sequence keeps its bits
// whatever it is packed with.
#include "Attention/Oracle.h"

#include <algorithm>
#include <cstring>

using namespace attnjit;
using namespace attnjit::test;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr std::int64_t kHq = 4, kHkv = 2, kD = 16;

std::vector<std::int32_t> prefixSums(const std::vector<std::int32_t> &lengths) {
  std::vector<std::int32_t> sums = {0};
  for (std::int32_t length : lengths)
    sums.push_back(sums.back() + length);
  return sums;
}

TensorRef indices(std::vector<std::int32_t> &values) {
  return TensorRef::dense(values.data(), DType::I32, {static_cast<std::int64_t>(values.size())});
}

/// A packed batch with its outputs.
struct Packed {
  Packed(const std::vector<std::int32_t> &qLengths, const std::vector<std::int32_t> &kLengths)
      : cuQ(prefixSums(qLengths)), cuK(prefixSums(kLengths)), q({cuQ.back() + 3, kHq, kD}, 0.37), k({cuK.back() + 2, kHkv, kD}, 0.73),
        v({cuK.back() + 2, kHkv, kD}, 1.1), out({cuQ.back() + 3, kHq, kD}, 0), lse({kHq, cuQ.back() + 3}, 0) {
    std::fill(out.memory.begin(), out.memory.end(), 77.0f);
    std::fill(lse.memory.begin(), lse.memory.end(), 77.0f);
    call.q = q.ref;
    call.k = k.ref;
    call.v = v.ref;
    call.out = out.ref;
    call.lse = lse.ref;
    call.cuSeqQ = indices(cuQ);
    call.cuSeqK = indices(cuK);
    call.enableGqa = true;
  }

  std::vector<std::int32_t> cuQ, cuK;
  Tensor q, k, v, out, lse;
  VarlenCall call;
};

/// What a query of a sequence adds to the score of a key, -inf to hide it.
using BiasFn = std::function<double(std::int64_t s, std::int64_t h, std::int64_t q, std::int64_t kv, double score)>;

void check(Packed &packed, const std::vector<std::int64_t> &used, const BiasFn &score) {
  const Result<ForwardReport> report = varlenAttention(realEngine(), packed.call);
  REQUIRE_MESSAGE(report, report.error().message);
  double worst = 0, worstLse = 0;
  for (std::size_t s = 0; s + 1 < packed.cuQ.size(); ++s)
    for (std::int64_t h = 0; h < kHq; ++h)
      for (std::int64_t q = packed.cuQ[s]; q < packed.cuQ[s + 1]; ++q) {
        const std::int64_t base = packed.cuK[s];
        const Row expected = softmaxRow(
            used[s], kD,
            [&](std::int64_t kv) {
              double dot = 0;
              for (std::int64_t d = 0; d < kD; ++d)
                dot += double(element(packed.q.ref, {q, h, d})) * element(packed.k.ref, {base + kv, h / 2, d});
              return score(static_cast<std::int64_t>(s), h, q - packed.cuQ[s], kv, dot / 4);
            },
            [&](std::int64_t kv, std::int64_t d) { return element(packed.v.ref, {base + kv, h / 2, d}); });
        for (std::int64_t d = 0; d < kD; ++d)
          worst = std::max(worst, std::abs(expected.out[d] - element(packed.out.ref, {q, h, d})));
        const double got = element(packed.lse.ref, {h, q});
        if (std::isinf(expected.lse))
          CHECK(got == expected.lse);
        else
          worstLse = std::max(worstLse, std::abs(expected.lse - got));
      }
  CHECK(worst < 5e-6);
  CHECK(worstLse < 1e-5);
  // Rows past the last sequence are left alone.
  for (std::int64_t q = packed.cuQ.back(); q < packed.cuQ.back() + 3; ++q)
    CHECK(element(packed.out.ref, {q, kHq - 1, kD - 1}) == 77.0f);
}

std::vector<std::int64_t> lengthsOf(const std::vector<std::int32_t> &sums) {
  std::vector<std::int64_t> lengths;
  for (std::size_t i = 0; i + 1 < sums.size(); ++i)
    lengths.push_back(sums[i + 1] - sums[i]);
  return lengths;
}

} // namespace

TEST_CASE("windows count from the bottom right corner, for any lengths, and compile nothing new") {
  std::uint64_t compiles = 0;
  for (auto [left, right] : {std::pair<std::int64_t, std::int64_t>{-1, -1}, {-1, 0}, {3, 0}, {2, 5}, {-1, 4}, {6, -1}, {0, 0}}) {
    CAPTURE(left);
    CAPTURE(right);
    Packed packed({5, 0, 70, 1, 9}, {7, 4, 150, 30, 3});
    packed.call.window = {left, right};
    const std::vector<std::int64_t> used = lengthsOf(packed.cuK), queries = lengthsOf(packed.cuQ);
    check(packed, used, [&, left = left, right = right](std::int64_t s, std::int64_t, std::int64_t q, std::int64_t kv, double score) {
      const std::int64_t place = q + used[s] - queries[s];
      return (left < 0 || kv >= place - left) && (right < 0 || kv <= place + right) ? score : -kInf;
    });
  }
  compiles = realEngine().counters().compiles;
  Packed other({11, 200}, {13, 201});
  other.call.window = {17, 2};
  REQUIRE(varlenAttention(realEngine(), other.call));
  CHECK(realEngine().counters().compiles == compiles);
}

TEST_CASE("formulas see the number of the sequence and positions inside it") {
  Packed packed({6, 33, 2}, {8, 90, 5});
  std::vector<float> slopes(3 * kHq);
  for (std::size_t i = 0; i < slopes.size(); ++i)
    slopes[i] = 0.1f * static_cast<float>(i);
  const Result<Mod> mod = Mod::parse("score + slope[b, h] * (kv_idx - q_idx)", "(kv_idx < prefix[b]) | (kv_idx <= q_idx)",
                                     {{"slope", DType::F32, 2}, {"prefix", DType::I64, 1}});
  REQUIRE(mod);
  std::vector<std::int64_t> prefix = {2, 40, 0};
  packed.call.mod = *mod;
  const CaptureValue values[] = {TensorRef::dense(slopes.data(), DType::F32, {3, kHq}), TensorRef::dense(prefix.data(), DType::I64, {3})};
  for (bool named : {true, false}) {
    packed.call.captures = {{named ? "slope" : "", values[0]}, {named ? "prefix" : "", values[1]}};
    packed.call.window = {50, -1};
    check(packed, lengthsOf(packed.cuK), [&](std::int64_t s, std::int64_t h, std::int64_t q, std::int64_t kv, double score) {
      const std::int64_t shift = packed.cuK[s + 1] - packed.cuK[s] - packed.cuQ[s + 1] + packed.cuQ[s];
      const bool visible = (kv < prefix[s] || kv <= q) && kv >= q + shift - 50;
      return visible ? score + slopes[s * kHq + h] * double(kv - q) : -kInf;
    });
  }
}

TEST_CASE("numbers of a module, and sizes of captures, come along, and another number is no new kernel") {
  std::vector<float> bias(40);
  for (std::size_t i = 0; i < bias.size(); ++i)
    bias[i] = 0.05f * static_cast<float>(i);
  std::uint64_t compiles = 0;
  for (int window : {7, 30}) {
    Packed packed({6, 33}, {8, 40});
    ModText text;
    text.module = "def last(n):\n  return lambda b, h, q_idx, kv_idx: kv_idx >= n - b\n"
                  "def biased(score, b, h, q_idx, kv_idx):\n  return score + bias[bias.shape[0] - 1 - kv_idx]\n";
    text.scoreMod = "biased";
    const std::string mask = "last(" + std::to_string(window) + ")";
    text.maskMod = mask;
    const Result<Mod> mod = Mod::parse(text, {{"bias", DType::F32, 1}});
    REQUIRE_MESSAGE(mod, mod.error().message);
    packed.call.mod = *mod;
    packed.call.captures = {{"bias", TensorRef::dense(bias.data(), DType::F32, {40})}};
    packed.call.window = {-1, 3};
    check(packed, lengthsOf(packed.cuK), [&](std::int64_t s, std::int64_t, std::int64_t q, std::int64_t kv, double score) {
      const std::int64_t shift = packed.cuK[s + 1] - packed.cuK[s] - packed.cuQ[s + 1] + packed.cuQ[s];
      return kv >= window - s && kv <= q + shift + 3 ? score + bias[static_cast<std::size_t>(39 - kv)] : -kInf;
    });
    if (compiles != 0)
      CHECK(realEngine().counters().compiles == compiles);
    compiles = realEngine().counters().compiles;
  }
}

TEST_CASE("seqused_k ends a sequence early, and the window with it") {
  Packed packed({5, 3, 4}, {20, 30, 10});
  std::vector<std::int32_t> used = {12, 0, 10};
  packed.call.seqUsedK = indices(used);
  packed.call.window = {-1, 0};
  check(packed, {12, 0, 10}, [&](std::int64_t s, std::int64_t, std::int64_t q, std::int64_t kv, double score) {
    return kv <= q + used[s] - (packed.cuQ[s + 1] - packed.cuQ[s]) ? score : -kInf;
  });
}

TEST_CASE("a sequence has the same bits alone, in any company, in any place, on any number of threads") {
  const Result<Mod> mod = Mod::parse("score * 1.5 + 0.01 * h", "kv_idx % 7 != 3");
  REQUIRE(mod);
  auto rowsOf = [&](const std::vector<std::int32_t> &before, const std::vector<std::int32_t> &after, int threads) {
    std::vector<std::int32_t> lengths = before;
    lengths.push_back(83);
    lengths.insert(lengths.end(), after.begin(), after.end());
    Packed packed(lengths, lengths);
    packed.call.mod = *mod;
    packed.call.window = {40, 10};
    packed.call.threads = threads;
    const std::int64_t begin = packed.cuQ[before.size()];
    for (std::int64_t t = 0; t < 83; ++t) { // the same 83 tokens wherever they lie
      for (std::int64_t i = 0; i < kHq * kD; ++i)
        packed.q.memory[(begin + t) * kHq * kD + i] = std::sin(0.3f * static_cast<float>(t * kHq * kD + i));
      for (std::int64_t i = 0; i < kHkv * kD; ++i) {
        packed.k.memory[(begin + t) * kHkv * kD + i] = std::sin(0.7f * static_cast<float>(t * kHkv * kD + i));
        packed.v.memory[(begin + t) * kHkv * kD + i] = std::sin(1.3f * static_cast<float>(t * kHkv * kD + i));
      }
    }
    REQUIRE(varlenAttention(realEngine(), packed.call));
    return std::vector<float>(packed.out.memory.begin() + begin * kHq * kD, packed.out.memory.begin() + (begin + 83) * kHq * kD);
  };
  const std::vector<float> alone = rowsOf({}, {}, 1);
  CHECK(rowsOf({5}, {}, 1) == alone);
  CHECK(rowsOf({37, 1, 200}, {64, 9}, 1) == alone);
  CHECK(rowsOf({37, 1, 200}, {64, 9}, 2) == alone);
  CHECK(rowsOf({128, 3, 3, 3}, {500}, 2) == alone);
}

TEST_CASE("pages: any page size and order gives the bits of unpaged keys") {
  for (std::int64_t pageSize : {1, 16, 100}) {
    CAPTURE(pageSize);
    const std::vector<std::int32_t> queries = {3, 1, 20}, keys = {70, 129, 20};
    Packed plain(queries, keys), paged(queries, keys);
    plain.call.window = paged.call.window = {-1, 0};
    REQUIRE(varlenAttention(realEngine(), plain.call));

    std::int64_t most = 0, total = 0;
    std::vector<std::int64_t> counts;
    for (std::int32_t length : keys) {
      counts.push_back((length + pageSize - 1) / pageSize);
      most = std::max(most, counts.back());
      total += counts.back();
    }
    for (bool scattered : {true, false}) {
      Tensor k({total + 1, pageSize, kHkv, kD}, 0.1), v({total + 1, pageSize, kHkv, kD}, 0.2);
      std::vector<std::int32_t> table(3 * most, -1), used(keys);
      std::int64_t next = 0;
      for (std::size_t s = 0; s < 3; ++s)
        for (std::int64_t page = 0; page < counts[s]; ++page) {
          const std::int64_t physical = scattered ? total - next : next;
          ++next;
          table[s * most + page] = static_cast<std::int32_t>(physical);
          for (std::int64_t i = 0; i < pageSize && page * pageSize + i < keys[s]; ++i) {
            const std::int64_t row = kHkv * kD, from = (plain.cuK[s] + page * pageSize + i) * row, to = (physical * pageSize + i) * row;
            std::copy_n(plain.k.memory.begin() + from, row, k.memory.begin() + to);
            std::copy_n(plain.v.memory.begin() + from, row, v.memory.begin() + to);
          }
        }
      paged.call.k = k.ref;
      paged.call.v = v.ref;
      paged.call.cuSeqK = {};
      paged.call.blockTable = TensorRef::dense(table.data(), DType::I32, {3, most});
      paged.call.seqUsedK = indices(used);
      const Result<ForwardReport> report = varlenAttention(realEngine(), paged.call);
      REQUIRE_MESSAGE(report, report.error().message);
      CHECK(paged.out.memory == plain.out.memory);
      CHECK(paged.lse.memory == plain.lse.memory);
    }
  }
}

TEST_CASE("long sequences in scattered pages") {
  const std::vector<std::int32_t> queries(12, 1), keys(12, 3000);
  constexpr std::int64_t kPageSize = 16, kPerSequence = 3000 / kPageSize + 1, kPages = 12 * kPerSequence;
  Packed plain(queries, keys), paged(queries, keys);
  REQUIRE(varlenAttention(realEngine(), plain.call));
  Tensor k({kPages, kPageSize, kHkv, kD}, 0.1), v({kPages, kPageSize, kHkv, kD}, 0.2);
  std::vector<std::int32_t> table, used(keys);
  for (std::int64_t i = 0; i < kPages; ++i) {
    const std::int64_t page = i * 35 % kPages, s = i / kPerSequence,
                       first = i % kPerSequence * kPageSize; // 35 and 2256 have no common divisor
    table.push_back(static_cast<std::int32_t>(page));
    const std::int64_t row = kHkv * kD, count = std::min<std::int64_t>(kPageSize, 3000 - first);
    std::copy_n(plain.k.memory.begin() + (plain.cuK[s] + first) * row, count * row, k.memory.begin() + page * kPageSize * row);
    std::copy_n(plain.v.memory.begin() + (plain.cuK[s] + first) * row, count * row, v.memory.begin() + page * kPageSize * row);
  }
  paged.call.k = k.ref;
  paged.call.v = v.ref;
  paged.call.cuSeqK = {};
  paged.call.blockTable = TensorRef::dense(table.data(), DType::I32, {12, kPerSequence});
  paged.call.seqUsedK = indices(used);
  for (int threads : {1, 2}) {
    paged.call.threads = threads;
    const Result<ForwardReport> report = varlenAttention(realEngine(), paged.call);
    REQUIRE_MESSAGE(report, report.error().message);
    CHECK(paged.out.memory == plain.out.memory);
    CHECK(paged.lse.memory == plain.lse.memory);
  }

  // Errors count sequences.
  used[11] = 2999;
  std::vector<float> bias(2998);
  paged.call.threads = 1;
  for (int s = 0; s < 11; ++s)
    used[s] = 2998;
  paged.call.mod = *Mod::parse("score + bias[kv_idx]", "", {{"bias", DType::F32, 1}});
  paged.call.captures = {{"bias", TensorRef::dense(bias.data(), DType::F32, {2998})}};
  const Result<ForwardReport> outside = varlenAttention(realEngine(), paged.call);
  REQUIRE(!outside);
  CHECK_MESSAGE(outside.error().message.find("sequence 11: ") == 0, outside.error().message);
}

TEST_CASE("no work is done for pairs of different sequences") {
  // 64 sequences of 64 would be 64 times the blocks if they were one masked sequence.
  const std::vector<std::int32_t> lengths(64, 64);
  Packed packed(lengths, lengths);
  packed.call.mod = *Mod::parse("", "doc[q_idx] == doc[kv_idx]", {{"doc", DType::I32, 1}});
  std::vector<std::int32_t> doc(64);
  for (int i = 0; i < 64; ++i)
    doc[i] = i / 40;
  packed.call.captures = {{"doc", indices(doc)}};
  packed.call.tiles = {16, 16};
  const Result<ForwardReport> report = varlenAttention(realEngine(), packed.call);
  REQUIRE_MESSAGE(report, report.error().message);
  CHECK(report->plan.totalBlocks == 64 * kHq * 4 * 4);
  CHECK(report->plan.visibleBlocks < report->plan.totalBlocks);
}

TEST_CASE("an index that leaves its tensor names the sequence and the place inside it") {
  Packed packed({6, 33}, {8, 90});
  std::vector<float> table(50);
  packed.call.mod = *Mod::parse("score + t[kv_idx]", "", {{"t", DType::F32, 1}});
  packed.call.captures = {{"t", TensorRef::dense(table.data(), DType::F32, {50})}};
  const Result<ForwardReport> report = varlenAttention(realEngine(), packed.call);
  REQUIRE(!report);
  CHECK(report.error().code == ErrorCode::IndexOutOfRange);
  CHECK_MESSAGE(report.error().message.find("sequence 1: ") == 0, report.error().message);
  CHECK_MESSAGE(report.error().message.find("q_idx = 0, kv_idx = 50") != std::string::npos, report.error().message);
}
