// docs/examples/save_kernel.cpp: compiles softcapped causal attention and saves the kernel: save_kernel FILE.
#include <attnjit/attnjit.h>

#include <cstdio>

using namespace attnjit;

int main(int argc, char **argv) {
  if (argc != 2)
    return 1;
  auto fail = [](const Error &error) {
    std::fprintf(stderr, "%s\n", error.message.c_str());
    return 1;
  };
  EngineOptions options;
  options.target = "x86-64-v3"; // runs on every CPU with AVX2; "native" would ask for what this machine has
  Result<Engine> engine = Engine::create(options);
  if (!engine)
    return fail(engine.error());
  Result<Mod> mod = Mod::parse("cap * tanh(score / cap)", "q_idx >= kv_idx", {{"cap", DType::F64}});
  if (!mod)
    return fail(mod.error());

  // D, Dv, dtypes and whether the last strides are 1 are compiled in. Lengths, batch, heads and the number `cap` are not.
  ForwardCall call;
  call.mod = *mod;
  call.q = call.k = call.v = call.out = TensorRef::dense(nullptr, DType::F32, {1, 1, 128, 64});
  call.captures = {{"cap", 30.0}};
  Result<Kernel> kernel = engine->prepare(call);
  if (!kernel)
    return fail(kernel.error());
  if (Result<void> saved = kernel->save(argv[1]); !saved)
    return fail(saved.error());
  std::printf("%s: %zu bytes of code\n", kernel->pipeline().c_str(), kernel->codeBytes());
  return 0;
}
