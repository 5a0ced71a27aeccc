// docs/examples/quantized.cpp: keys and values kept in 8 bits, with a factor for each head, next to queries in f32.
#include <attnjit/attnjit.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

using namespace attnjit;

int main() {
  auto fail = [](const Error &error) {
    std::fprintf(stderr, "%s\n", error.message.c_str());
    return 1;
  };
  Result<Engine> engine = Engine::create();
  if (!engine)
    return fail(engine.error());

  // 4 query heads on 2 key heads, 1000 keys. In e4m3 the byte 0x38 is 1 and 0x40 is 2; what they stand for is that times the head's factor.
  constexpr int kKeys = 1000, kDim = 64;
  std::vector<float> q(4 * kDim, 0.0f), out(4 * kDim);
  std::vector<std::uint8_t> k(2 * kKeys * kDim, 0x38), v(2 * kKeys * kDim, 0x40);
  float kFactors[2] = {0.5f, 0.25f}, vFactors[2] = {0.125f, 3.0f};

  Result<Mod> mod = Mod::parse("score + 0.01 * kv_idx", ""); // any formula; it sees scores of what the bytes stand for
  if (!mod)
    return fail(mod.error());
  ForwardCall call{.mod = *mod};
  call.q = TensorRef::dense(q.data(), DType::F32, {1, 4, 1, kDim});
  call.k = TensorRef::dense(k.data(), DType::F8E4M3, {1, 2, kKeys, kDim});
  call.v = TensorRef::dense(v.data(), DType::F8E4M3, {1, 2, kKeys, kDim});
  call.out = TensorRef::dense(out.data(), DType::F32, {1, 4, 1, kDim});
  call.kDescale = TensorRef::dense(kFactors, DType::F32, {1, 2});
  call.vDescale = TensorRef::dense(vFactors, DType::F32, {1, 2});
  if (Result<ForwardReport> report = engine->forward(call); !report)
    return fail(report.error());
  std::printf("heads 0 and 1 average 2 * 0.125, heads 2 and 3 2 * 3: %.3f %.3f\n", out[0], out[2 * kDim]);
  return std::abs(out[0] - 0.25f) < 1e-6f && std::abs(out[2 * kDim] - 6.0f) < 1e-5f ? 0 : 2;
}
