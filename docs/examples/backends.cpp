// docs/examples/backends.cpp: which pipeline computes a call, and why not another.
#include <attnjit/attnjit.h>

#include <cstdio>
#include <vector>

using namespace attnjit;

int main() {
  Result<Engine> engine = Engine::create();
  if (!engine) {
    std::fprintf(stderr, "%s\n", engine.error().message.c_str());
    return 1;
  }
  // Shapes are enough to ask; no memory is touched.
  ForwardCall call;
  call.q = call.k = call.v = call.out = TensorRef::dense(nullptr, DType::F32, {1, 8, 1000, 64});
  auto chosen = [&] {
    Result<ExplainReport> report = engine->explain(call);
    return report ? report->chosen : SDPBackend::Error;
  };

  if (chosen() != SDPBackend::FlashAttention)
    return 2;
  {
    SdpaKernelScope onlyMath({SDPBackend::Math});
    if (chosen() != SDPBackend::Math)
      return 2;
    {
      SdpaKernelScope mathFirst(BackendSet({SDPBackend::Math, SDPBackend::FlashAttention}, /*setPriority=*/true));
      if (chosen() != SDPBackend::Math)
        return 2;
    }
    call.backends = BackendSet{SDPBackend::FlashAttention}; // a set in the call itself wins over every scope
    if (chosen() != SDPBackend::FlashAttention)
      return 2;
    call.backends.reset();
  }

  // Long queries are not for EFFICIENT, and cuDNN is not there. When nothing allowed fits, the report, and forward()'s error, list every
  // reason.
  call.backends = BackendSet{SDPBackend::CudnnAttention, SDPBackend::EfficientAttention};
  Result<ExplainReport> report = engine->explain(call);
  if (!report || report->chosen != SDPBackend::Error)
    return 2;
  std::printf("%s", report->text().c_str());
  return 0;
}
