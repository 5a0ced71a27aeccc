// run-image FILE: loads a saved kernel and computes with it. Links libattnjit only: neither LLVM nor MLIR is in the process. The second
// half of the saved-image test.
#include "attnjit/attnjit.h"

#include <cmath>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

using namespace attnjit;

namespace {

constexpr int kHeads = 2, kLength = 90, kDim = 16;

std::vector<float> fill(double seed) {
  std::vector<float> values(kHeads * kLength * kDim);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(std::sin(seed * static_cast<double>(i + 1)));
  return values;
}

double largestError(const std::vector<float> &q, const std::vector<float> &k, const std::vector<float> &v, const std::vector<float> &out) {
  double worst = 0;
  for (int h = 0; h < kHeads; ++h)
    for (int m = 0; m < kLength; ++m) {
      const std::size_t row = static_cast<std::size_t>(h * kLength + m) * kDim;
      double sum = 0, acc[kDim] = {};
      for (int n = 0; n <= m; ++n) {
        const std::size_t key = static_cast<std::size_t>(h * kLength + n) * kDim;
        double score = 0;
        for (int d = 0; d < kDim; ++d)
          score += double(q[row + d]) * k[key + d];
        const double p = std::exp(score / std::sqrt(double(kDim)));
        sum += p;
        for (int d = 0; d < kDim; ++d)
          acc[d] += p * v[key + d];
      }
      for (int d = 0; d < kDim; ++d)
        worst = std::max(worst, std::abs(acc[d] / sum - out[row + d]));
    }
  return worst;
}

} // namespace

int main(int argc, char **argv) {
  if (argc != 2)
    return 2;
  Result<Kernel> kernel = Kernel::load(argv[1]);
  if (!kernel) {
    std::fprintf(stderr, "%s\n", kernel.error().message.c_str());
    return 1;
  }
  std::vector<float> q = fill(0.3), k = fill(0.7), v = fill(1.1), out(q.size()), bias = {1.0f, -2.0f};
  auto view = [](std::vector<float> &memory) { return TensorRef::dense(memory.data(), DType::F32, {1, kHeads, kLength, kDim}); };
  ForwardCall call;
  call.q = view(q);
  call.k = view(k);
  call.v = view(v);
  call.out = view(out);
  call.captures = {{"bias", TensorRef::dense(bias.data(), DType::F32, {kHeads})}};
  Result<ForwardReport> report = kernel->forward(call);
  if (!report) {
    std::fprintf(stderr, "%s\n", report.error().message.c_str());
    return 1;
  }
  const double error = largestError(q, k, v, out);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);)
    if (line.find("libLLVM") != std::string::npos || line.find("libMLIR") != std::string::npos) {
      std::fprintf(stderr, "a compiler is in the process: %s\n", line.c_str());
      return 1;
    }
  std::printf("%s, largest error %g\n", kernel->pipeline().c_str(), error);
  return error < 1e-5 ? 0 : 1;
}
