// docs/examples/run_kernel.cpp: runs the kernel that save_kernel wrote; no engine, no compiler: run_kernel FILE.
#include <attnjit/attnjit.h>

#include <cmath>
#include <cstdio>
#include <vector>

using namespace attnjit;

int main(int argc, char **argv) {
  if (argc != 2)
    return 1;
  Result<Kernel> kernel = Kernel::load(argv[1]);
  if (!kernel) {
    std::fprintf(stderr, "%s\n", kernel.error().message.c_str());
    return 1;
  }
  // Other sizes than those it was prepared with: 4 query heads share 2 key heads.
  constexpr int kLength = 333, kDim = 64;
  std::vector<float> q(4 * kLength * kDim, 1.0f), k(2 * kLength * kDim, 1.0f), v(k.size()), out(q.size());
  for (std::size_t i = 0; i < v.size(); ++i)
    v[i] = static_cast<float>(i / kDim % kLength);
  ForwardCall call; // the kernel carries its formula; call.mod is not looked at
  call.q = TensorRef::dense(q.data(), DType::F32, {1, 4, kLength, kDim});
  call.k = TensorRef::dense(k.data(), DType::F32, {1, 2, kLength, kDim});
  call.v = TensorRef::dense(v.data(), DType::F32, {1, 2, kLength, kDim});
  call.out = TensorRef::dense(out.data(), DType::F32, {1, 4, kLength, kDim});
  call.captures = {{"cap", 50.0}};
  Result<ForwardReport> report = kernel->forward(call);
  if (!report) {
    std::fprintf(stderr, "%s\n", report.error().message.c_str());
    return 1;
  }
  std::printf("kernel %s, %s\n", std::string(name(report->source)).c_str(), report->pipeline.c_str());
  // All scores are equal, so row m is the mean of 0 .. m.
  for (int m = 0; m < kLength; ++m)
    if (std::abs(out[m * kDim] - 0.5f * m) > 1e-3f)
      return 2;
  return 0;
}
