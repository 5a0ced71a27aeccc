// Conversions inside kernels, bit by bit, on every pipeline and both vector widths. With a single key the output is v, so an f32 output
// shows how the elements of v were widened, and an 8-bit output how an f32 was rounded.
#include "EngineTestUtil.h"

#include "Support/FloatFormat.h"

#include <doctest/doctest.h>

#include <bit>
#include <vector>

using namespace attnjit;
using namespace attnjit::test;

namespace {

constexpr SDPBackend kBackends[] = {SDPBackend::FlashAttention, SDPBackend::EfficientAttention, SDPBackend::Math};

/// AVX2, and AVX-512 where the machine has it.
std::vector<Engine> engines() {
  std::vector<Engine> all;
  for (const char *target : {"x86-64-v3", "native"}) {
    EngineOptions options;
    options.cacheDirectory = "";
    options.target = target;
    Result<Engine> engine = Engine::create(std::move(options));
    REQUIRE_MESSAGE(engine, (engine ? "" : engine.error().message));
    all.push_back(*engine);
  }
  return all;
}

/// Attention of one query to one key whose value is `v`; the answer lies in `out`, which has as many elements.
void passThrough(const Engine &engine, SDPBackend backend, DType compute, TensorRef v, TensorRef out) {
  std::vector<double> memory(8, 0);
  ForwardCall call;
  call.q = TensorRef::dense(memory.data(), compute, {1, 1, 1, 1});
  call.k = TensorRef::dense(memory.data(), v.dtype, {1, 1, 1, 1});
  call.v = v;
  call.out = out;
  call.backends = BackendSet{backend};
  const Result<ForwardReport> report = engine.forward(call);
  REQUIRE_MESSAGE(report, (report ? "" : report.error().message));
}

/// Every number of a format and every tie between two, with the f32 right below and right above it; beyond the largest, too.
std::vector<float> hardNumbers(const FloatFormat &format) {
  std::vector<float> numbers;
  const auto addAround = [&](double x) {
    for (float near :
         {static_cast<float>(x), std::nextafter(static_cast<float>(x), 0.0f), std::nextafter(static_cast<float>(x), HUGE_VALF)})
      for (float sign : {1.0f, -1.0f})
        numbers.push_back(sign * near);
  };
  for (int pattern = 0; pattern < 128; ++pattern) {
    const double low = format.decode(pattern), high = format.decode(pattern + 1);
    if (!std::isfinite(low))
      continue;
    addAround(low);
    addAround(std::isfinite(high) && high > low ? (low + high) / 2 : 1.0);
  }
  const double largest = format.largest(),
               step = largest - format.round(largest * 0.99) > 0 ? largest - format.decode(format.encode(largest) - 1) : 0;
  for (double x : {largest + step / 2, largest + step, 2 * largest, 1e30, HUGE_VAL})
    addAround(x);
  numbers.push_back(NAN);
  return numbers;
}

} // namespace

TEST_CASE("all 256 values of an 8-bit float are widened exactly") {
  for (const Engine &engine : engines())
    for (DType dtype : {DType::F8E4M3, DType::F8E5M2})
      for (DType compute : {DType::F32, DType::F64})
        for (SDPBackend backend : kBackends) {
          CAPTURE(name(dtype));
          CAPTURE(name(compute));
          CAPTURE(name(backend));
          std::vector<std::uint8_t> v(256);
          for (int pattern = 0; pattern < 256; ++pattern)
            v[static_cast<std::size_t>(pattern)] = static_cast<std::uint8_t>(pattern);
          std::vector<double> out(256, -1);
          passThrough(engine, backend, compute, TensorRef::dense(v.data(), dtype, {1, 1, 1, 256}),
                      TensorRef::dense(out.data(), DType::F64, {1, 1, 1, 256}));
          for (int pattern = 0; pattern < 256; ++pattern) {
            const double expected = FloatFormat::of(dtype)->decode(pattern), got = out[static_cast<std::size_t>(pattern)];
            CHECK_MESSAGE((std::isnan(expected) ? std::isnan(got) : got == expected), pattern, ": ", got, " instead of ", expected);
          }
        }
}

TEST_CASE("numbers, ties and their neighbours are rounded as PyTorch does it, straight from f32 and from f64") {
  for (const Engine &engine : engines())
    for (DType dtype : {DType::F8E4M3, DType::F8E5M2, DType::BF16, DType::F16})
      for (DType compute : {DType::F32, DType::F64})
        for (SDPBackend backend : kBackends) {
          CAPTURE(name(dtype));
          CAPTURE(name(compute));
          CAPTURE(name(backend));
          // In f64 a neighbour lies far closer to a tie than any f32: rounding to f32 first would fall onto the tie.
          const FloatFormat &format = *FloatFormat::of(dtype);
          std::vector<double> numbers;
          if (isFloat8(dtype)) {
            for (float number : hardNumbers(format))
              numbers.push_back(number);
          } else {
            for (double x : {1.0, 1.5, 100.25, 0x1p-14, 3e-8, 6e4, 1e-38})
              for (double tie : {x, format.round(x) * (1 + std::ldexp(1.0, -format.fractionBits - 1))})
                numbers.insert(numbers.end(), {tie, -tie});
          }
          if (compute == DType::F64)
            for (std::size_t i = 0, count = numbers.size(); i < count; ++i)
              numbers.insert(numbers.end(), {numbers[i] * (1 + 0x1p-50), numbers[i] * (1 - 0x1p-50)});
          for (std::size_t begin = 0; begin < numbers.size(); begin += 500) {
            const std::size_t count = std::min<std::size_t>(500, numbers.size() - begin);
            const auto columns = static_cast<std::int64_t>(count);
            std::vector<float> singles(numbers.begin() + begin, numbers.begin() + begin + count);
            std::vector<std::uint16_t> out(500, 0x1234);
            passThrough(engine, backend, compute,
                        compute == DType::F64 ? TensorRef::dense(numbers.data() + begin, DType::F64, {1, 1, 1, columns})
                                              : TensorRef::dense(singles.data(), DType::F32, {1, 1, 1, columns}),
                        TensorRef::dense(out.data(), dtype, {1, 1, 1, columns}));
            for (std::size_t i = 0; i < count; ++i) {
              const double x = 0.0 + (compute == DType::F64 ? numbers[begin + i] : singles[i]); // a sum of one -0 is 0
              const int expected = format.encode(format.round(x));
              const int got = isFloat8(dtype) ? reinterpret_cast<const std::uint8_t *>(out.data())[i] : out[i];
              const bool same = std::isnan(x) ? std::isnan(format.decode(got)) : got == expected;
              CHECK_MESSAGE(same, x, " became ", got, " instead of ", expected);
            }
          }
        }
}
