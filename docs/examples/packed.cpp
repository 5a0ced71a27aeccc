// docs/examples/packed.cpp: sequences of different lengths without padding, with a formula combined from two.
#include <attnjit/attnjit.h>

#include <algorithm>
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

  // A prompt that is seen from everywhere, of another length in each sequence, or what came before: b is the number of the sequence.
  Result<Mod> causal = Mod::parse("", "q_idx >= kv_idx"), prompt = Mod::parse("", "kv_idx < prompt[b]", {{"prompt", DType::I32, 1}});
  if (!causal || !prompt)
    return fail(causal ? prompt.error() : causal.error());
  Result<Mod> either = orMasks({*causal, *prompt});
  if (!either)
    return fail(either.error());

  constexpr int kHeads = 2, kDim = 16;
  std::vector<std::int32_t> starts = {0, 5, 7, 20}, prompts = {3, 0, 8}; // three sequences of 5, 2 and 13 tokens
  std::vector<float> q(20 * kHeads * kDim), k(q.size()), v(q.size()), out(q.size());
  for (int s = 0; s < 3; ++s)
    for (int token = starts[s]; token < starts[s + 1]; ++token)
      for (int i = 0; i < kHeads * kDim; ++i)
        v[token * kHeads * kDim + i] = static_cast<float>(token - starts[s]); // the value of key n of a sequence is n

  VarlenCall call;
  call.mod = *either;
  call.captures = {{"prompt", TensorRef::dense(prompts.data(), DType::I32, {3})}};
  call.q = TensorRef::dense(q.data(), DType::F32, {20, kHeads, kDim});
  call.k = TensorRef::dense(k.data(), DType::F32, {20, kHeads, kDim});
  call.v = TensorRef::dense(v.data(), DType::F32, {20, kHeads, kDim});
  call.out = TensorRef::dense(out.data(), DType::F32, {20, kHeads, kDim});
  call.cuSeqQ = call.cuSeqK = TensorRef::dense(starts.data(), DType::I32, {4});
  if (Result<ForwardReport> report = varlenAttention(*engine, call); !report)
    return fail(report.error());

  for (int s = 0; s < 3; ++s)
    for (int token = starts[s]; token < starts[s + 1]; ++token) {
      const int visible = std::max<int>(prompts[s], token - starts[s] + 1);
      if (std::abs(out[token * kHeads * kDim] - 0.5f * static_cast<float>(visible - 1)) > 1e-5f)
        return 2;
    }
  std::printf("first token of each sequence: %.1f %.1f %.1f\n", out[0], out[5 * kHeads * kDim], out[7 * kHeads * kDim]);
  return 0;
}
