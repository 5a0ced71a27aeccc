// docs/examples/sdpa.cpp: scaled_dot_product_attention as in PyTorch: a padding mask, and decoding with a cache.
#include <attnjit/attnjit.h>

#include <cmath>
#include <cstdio>
#include <memory>
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

  // Two sentences of 6 and 4 words, padded to 6: True = may attend, one row of keys for each, repeated over heads and queries.
  constexpr int kBatch = 2, kHeads = 4, kLength = 6, kDim = 32;
  std::vector<float> q(kBatch * kHeads * kLength * kDim), k(q.size()), v(q.size()), out(q.size());
  for (std::size_t i = 0; i < v.size(); ++i)
    v[i] = static_cast<float>(i / kDim % kLength); // the value of key n is n, and all scores are 0
  const std::unique_ptr<bool[]> isWord(new bool[kBatch * kLength]);
  for (int i = 0; i < kBatch * kLength; ++i)
    isWord[i] = i < 6 + 4;

  SdpaCall call;
  call.query = TensorRef::dense(q.data(), DType::F32, {kBatch, kHeads, kLength, kDim});
  call.key = TensorRef::dense(k.data(), DType::F32, {kBatch, kHeads, kLength, kDim});
  call.value = TensorRef::dense(v.data(), DType::F32, {kBatch, kHeads, kLength, kDim});
  call.out = TensorRef::dense(out.data(), DType::F32, {kBatch, kHeads, kLength, kDim});
  call.attnMask = TensorRef::dense(isWord.get(), DType::Bool, {kBatch, 1, 1, kLength});
  if (Result<ForwardReport> report = scaledDotProductAttention(*engine, call); !report)
    return fail(report.error());
  const float first = out.front(), second = out.back();
  std::printf("means of 0..5 and 0..3: %.2f %.2f\n", first, second);
  if (std::abs(first - 2.5f) > 1e-5f || std::abs(second - 1.5f) > 1e-5f)
    return 2;

  // The last 2 queries of each sentence, which end where the keys end: causal from the lower right corner.
  call.query = TensorRef::dense(q.data(), DType::F32, {kBatch, kHeads, 2, kDim});
  call.out = TensorRef::dense(out.data(), DType::F32, {kBatch, kHeads, 2, kDim});
  call.attnMask = causalLowerRight(2, kLength);
  if (Result<ForwardReport> report = scaledDotProductAttention(*engine, call); !report)
    return fail(report.error());
  std::printf("means of 0..4 and 0..5: %.2f %.2f\n%s", out[0], out[kDim], causalLowerRight(2, kLength).toString().c_str());
  if (std::abs(out[0] - 2.0f) > 1e-5f || std::abs(out[kDim] - 2.5f) > 1e-5f)
    return 2;

  // Every reason against a backend, not the first.
  std::vector<BackendReason> reasons;
  const SDPAParams params{.query = call.query, .key = call.key, .value = call.value};
  if (!canUseCudnnAttention(*engine, params, &reasons))
    for (const BackendReason &reason : reasons)
      std::printf("cuDNN: %s: %s\n", reason.predicate.c_str(), reason.detail.c_str());
  return canUseFlashAttention(*engine, params) ? 0 : 2;
}
