// save-image FILE: compiles causal attention and saves the kernel. The first half of the saved-image test.
#include "attnjit/attnjit.h"

#include <cstdio>

using namespace attnjit;

int main(int argc, char **argv) {
  if (argc != 2)
    return 2;
  auto fail = [](const Error &error) {
    std::fprintf(stderr, "%s\n", error.message.c_str());
    return error.code == ErrorCode::Unsupported ? 77 : 1;
  };
  EngineOptions options;
  options.cacheDirectory = "";
  Result<Engine> engine = Engine::create(options);
  if (!engine)
    return fail(engine.error());
  Result<Mod> mod = Mod::parse("score + bias[h]", "q_idx >= kv_idx", {{"bias", DType::F32, 1}});
  if (!mod)
    return fail(mod.error());
  ForwardCall call;
  call.mod = *mod;
  call.q = call.k = call.v = call.out = TensorRef::dense(nullptr, DType::F32, {1, 2, 50, 16});
  call.captures = {{"bias", TensorRef::dense(nullptr, DType::F32, {2})}};
  Result<Kernel> kernel = engine->prepare(call);
  if (!kernel)
    return fail(kernel.error());
  Result<void> saved = kernel->save(argv[1]);
  return saved ? 0 : fail(saved.error());
}
