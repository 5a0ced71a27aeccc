// docs/examples/stages.cpp: the attn module of a call as text, and a kernel from such a text.
#include <attnjit/attnjit.h>

#include <cstdio>
#include <string>

using namespace attnjit;

int main() {
  auto fail = [](const Error &error) {
    std::fprintf(stderr, "%s\n", error.message.c_str());
    return 1;
  };
  Result<Engine> engine = Engine::create();
  if (!engine)
    return fail(engine.error());
  Result<Mod> mod = Mod::parse("", "q_idx - kv_idx < 128");
  if (!mod)
    return fail(mod.error());
  ForwardCall call;
  call.mod = *mod;
  call.q = call.k = call.v = call.out = TensorRef::dense(nullptr, DType::BF16, {1, 8, 1000, 128});

  std::string attn;
  StageOptions stopAtAttn;
  stopAtAttn.stopAfter = "attn";
  stopAtAttn.onStage = [&](std::string_view, std::string_view text) { attn = text; };
  if (Result<Kernel> stopped = engine->compileStages(call, stopAtAttn); !stopped)
    return fail(stopped.error());
  std::printf("%s\n", attn.c_str());

  Result<Kernel> fromText = engine->compileFrom("attn", attn, {});
  if (!fromText)
    return fail(fromText.error());
  Result<Kernel> direct = engine->compileStages(call, {});
  if (!direct)
    return fail(direct.error());
  return fromText->bytes() && direct->bytes() && *fromText->bytes() == *direct->bytes() ? 0 : 2;
}
