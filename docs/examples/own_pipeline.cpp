// docs/examples/own_pipeline.cpp: a pipeline of the program's own under OVERRIDEABLE: decoding one token without any compilation.
#include <attnjit/attnjit.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <vector>

using namespace attnjit;

namespace {

/// f32, no formula, one query row per head.
Result<void> decode(const ForwardCall &call) {
  const auto [B, Hq, M, D] = std::array{call.q.sizes[0], call.q.sizes[1], call.q.sizes[2], call.q.sizes[3]};
  const std::int64_t N = call.k.sizes[2], Dv = call.v.sizes[3], group = Hq / call.k.sizes[1];
  const double scale = call.scale.value_or(1 / std::sqrt(static_cast<double>(D)));
  auto at = [](const TensorRef &t, std::int64_t b, std::int64_t h, std::int64_t row, std::int64_t column) -> float & {
    const std::int64_t batch = t.sizes[0] == 1 ? 0 : b;
    return static_cast<float *>(t.data)[batch * t.strides[0] + h * t.strides[1] + row * t.strides[2] + column * t.strides[3]];
  };
  std::vector<double> p(static_cast<std::size_t>(N));
  for (std::int64_t b = 0; b < B; ++b)
    for (std::int64_t h = 0; h < Hq; ++h) {
      double most = -HUGE_VAL, sum = 0;
      for (std::int64_t n = 0; n < N; ++n) {
        double score = 0;
        for (std::int64_t d = 0; d < D; ++d)
          score += double(at(call.q, b, h, 0, d)) * at(call.k, b, h / group, n, d);
        p[static_cast<std::size_t>(n)] = score * scale;
        most = std::max(most, score * scale);
      }
      for (double &x : p)
        sum += x = std::exp(x - most);
      for (std::int64_t d = 0; d < Dv; ++d) {
        double value = 0;
        for (std::int64_t n = 0; n < N; ++n)
          value += p[static_cast<std::size_t>(n)] * at(call.v, b, h / group, n, d);
        at(call.out, b, h, 0, d) = static_cast<float>(N > 0 ? value / sum : 0);
      }
    }
  return {};
}

} // namespace

int main() {
  Result<Engine> engine = Engine::create();
  if (!engine)
    return 1;
  OverridePipeline pipeline;
  pipeline.name = "decode-one";
  pipeline.predicates = {
      {"query-length", [](const Problem &p) { return p.M == 1 ? "" : "M is " + std::to_string(p.M) + ", not 1"; }},
      {"formula", [](const Problem &p) { return p.scoreIsIdentity && !p.hasMask ? "" : "there is a formula"; }},
      {"dtype", [](const Problem &p) { return p.qType == DType::F32 && p.kvType == DType::F32 ? "" : "not f32"; }},
      {"outputs", [](const Problem &p) { return p.wantsLse || p.wantsMax ? "lse and max are not computed" : ""; }},
  };
  pipeline.build = [](const Problem &, const PipelineContext &) -> Result<BuiltPipeline> { return BuiltPipeline(HostKernel(decode)); };
  if (Result<void> registered = engine->registerPipeline(pipeline); !registered) {
    std::fprintf(stderr, "%s\n", registered.error().message.c_str());
    return 1;
  }

  std::vector<float> q(2 * 16, 1.0f), k(2 * 50 * 16, 1.0f), v(k.size()), out(q.size());
  for (std::size_t i = 0; i < v.size(); ++i)
    v[i] = static_cast<float>(i / 16 % 50);
  ForwardCall call;
  call.q = TensorRef::dense(q.data(), DType::F32, {1, 2, 1, 16});
  call.k = TensorRef::dense(k.data(), DType::F32, {1, 2, 50, 16});
  call.v = TensorRef::dense(v.data(), DType::F32, {1, 2, 50, 16});
  call.out = TensorRef::dense(out.data(), DType::F32, {1, 2, 1, 16});
  call.backends = BackendSet({SDPBackend::Overrideable, SDPBackend::FlashAttention, SDPBackend::Math}, /*setPriority=*/true);
  Result<ForwardReport> report = engine->forward(call);
  if (!report || report->pipeline != "decode-one" || std::abs(out[0] - 24.5f) > 1e-4f)
    return 2;
  std::printf("%s, kernel %s: %.2f\n", report->pipeline.c_str(), std::string(name(report->source)).c_str(), out[0]);
  return 0;
}
