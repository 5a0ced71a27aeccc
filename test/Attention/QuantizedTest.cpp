// Descales through scaled_dot_product_attention: the same as operands that were multiplied beforehand.
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
