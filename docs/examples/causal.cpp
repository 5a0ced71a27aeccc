// docs/examples/causal.cpp: ALiBi, causal: a bias per head that falls off with the distance.
#include <attnjit/attnjit.h>

#include <cmath>
#include <cstdio>
#include <vector>

using namespace attnjit;

int main() {
  auto fail = [](const Error &error) {
    std::fprintf(stderr, "%s: %s\n", name(error.code), error.message.c_str());
    return error.isUserError() ? 1 : 2;
  };

  // Once per program: an engine. Once per formula: a Mod.
  Result<Engine> engine = Engine::create();
  if (!engine)
    return fail(engine.error());
  Result<Mod> mod = Mod::parse("score + slope[h] * (kv_idx - q_idx)", "q_idx >= kv_idx", {{"slope", DType::F32, 1}});
  if (!mod)
    return fail(mod.error());

  // The memory is yours. Here all scores are 0 before the bias, and the value of key n is n.
  constexpr int kHeads = 2, kLength = 100, kDim = 16;
  std::vector<float> q(kHeads * kLength * kDim), k(q.size()), v(q.size()), out(q.size()), lse(kHeads * kLength), slope = {0.0f, 100.0f};
  for (std::size_t i = 0; i < v.size(); ++i)
    v[i] = static_cast<float>(i / kDim % kLength);

  ForwardCall call;
  call.mod = *mod;
  call.q = TensorRef::dense(q.data(), DType::F32, {1, kHeads, kLength, kDim});
  call.k = TensorRef::dense(k.data(), DType::F32, {1, kHeads, kLength, kDim});
  call.v = TensorRef::dense(v.data(), DType::F32, {1, kHeads, kLength, kDim});
  call.out = TensorRef::dense(out.data(), DType::F32, {1, kHeads, kLength, kDim});
  call.lse = TensorRef::dense(lse.data(), DType::F32, {1, kHeads, kLength});
  call.captures = {{"slope", TensorRef::dense(slope.data(), DType::F32, {kHeads})}};
  Result<ForwardReport> report = engine->forward(call);
  if (!report)
    return fail(report.error());
  std::printf("%s, kernel %s, %d thread(s)\n", report->pipeline.c_str(), std::string(name(report->source)).c_str(), report->workers);

  // Head 0 has no bias: row m is the mean of 0 .. m. Head 1 is so steep that every row sees only itself.
  for (int m = 0; m < kLength; ++m) {
    const float mean = out[m * kDim], self = out[(kLength + m) * kDim];
    if (std::abs(mean - 0.5f * m) > 1e-3f || std::abs(self - m) > 1e-3f || std::abs(lse[m] - std::log(m + 1.0f)) > 1e-4f)
      return 2;
  }
  std::printf("row %d: head 0 %.2f, head 1 %.2f\n", kLength - 1, out[(kLength - 1) * kDim], out[(2 * kLength - 1) * kDim]);
  return 0;
}
