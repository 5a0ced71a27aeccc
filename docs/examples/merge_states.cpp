// docs/examples/merge_states.cpp: attention over two pieces of the keys, put together, is attention over all of them.
#include <attnjit/attnjit.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

using namespace attnjit;

namespace {

constexpr std::int64_t H = 4, M = 2, N = 900, D = 64;

std::vector<float> numbers(std::int64_t count, double seed) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(std::sin(seed * static_cast<double>(i + 1)));
  return values;
}

/// What one call gives.
struct State {
  std::vector<float> out = std::vector<float>(H * M * D), lse = std::vector<float>(H * M);
  TensorRef outView = TensorRef::dense(out.data(), DType::F32, {1, H, M, D}), lseView = TensorRef::dense(lse.data(), DType::F32, {1, H, M});
};

} // namespace

int main() {
  Result<Engine> engine = Engine::create();
  if (!engine)
    return 1;
  std::vector<float> q = numbers(H * M * D, 0.3), k = numbers(H * N * D, 0.7), v = numbers(H * N * D, 1.1);

  // Attention over keys [begin, end): views into the same memory. lse says how much the piece weighs.
  auto attend = [&](std::int64_t begin, std::int64_t end, State &state) {
    auto keys = [&](std::vector<float> &tensor) {
      TensorRef view = TensorRef::dense(tensor.data() + begin * D, DType::F32, {1, H, N, D});
      view.sizes[2] = end - begin; // the strides stay those of the whole
      return view;
    };
    ForwardCall call;
    call.q = TensorRef::dense(q.data(), DType::F32, {1, H, M, D});
    call.k = keys(k);
    call.v = keys(v);
    call.out = state.outView;
    call.lse = state.lseView;
    return engine->forward(call);
  };
  State prefix, rest, merged, whole;
  if (!attend(0, 300, prefix) || !attend(300, N, rest) || !attend(0, N, whole))
    return 1;

  const PartialState parts[] = {{prefix.outView, prefix.lseView}, {rest.outView, rest.lseView}};
  if (Result<void> done = mergeStates(parts, merged.outView, merged.lseView); !done) {
    std::fprintf(stderr, "%s\n", done.error().message.c_str());
    return 1;
  }
  float worst = 0;
  for (std::size_t i = 0; i < merged.out.size(); ++i)
    worst = std::max(worst, std::fabs(merged.out[i] - whole.out[i]));
  std::printf("largest difference %.1e\n", static_cast<double>(worst));
  return worst < 1e-5f ? 0 : 2;
}
