// What a program outside this repository does with an installed attnjit.
#include <attnjit/attnjit.h>

#include <cmath>
#include <cstdio>
#include <string_view>
#include <vector>

using namespace attnjit;

int main(int argc, char **argv) {
  const bool withCompiler = argc > 1 && std::string_view(argv[1]) == "with-compiler";
  auto fail = [](const Error &error) {
    std::fprintf(stderr, "%s: %s\n", name(error.code), error.message.c_str());
    return 1;
  };
  EngineOptions options;
  options.cacheDirectory = "";
  Result<Engine> engine = Engine::create(options);
  if (!engine)
    return fail(engine.error());
  Result<Mod> mod = Mod::parse("", "q_idx >= kv_idx");
  if (!mod)
    return fail(mod.error());

  std::vector<float> q(32 * 8, 0.5f), v(32 * 8), out(32 * 8);
  for (std::size_t i = 0; i < v.size(); ++i)
    v[i] = static_cast<float>(i / 8);
  ForwardCall call;
  call.mod = *mod;
  call.q = call.k = TensorRef::dense(q.data(), DType::F32, {1, 1, 32, 8});
  call.v = TensorRef::dense(v.data(), DType::F32, {1, 1, 32, 8});
  call.out = TensorRef::dense(out.data(), DType::F32, {1, 1, 32, 8});

  Result<ExplainReport> explained = engine->explain(call);
  if (!explained)
    return fail(explained.error());
  std::puts(explained->text().c_str());

  Result<ForwardReport> report = engine->forward(call);
  if (!withCompiler)
    return !report && report.error().code == ErrorCode::Unsupported ? 0 : 1;
  if (!report)
    return fail(report.error());
  // All scores are equal: row m is the mean of 0 .. m.
  for (int m = 0; m < 32; ++m)
    if (std::abs(out[static_cast<std::size_t>(m) * 8] - 0.5f * static_cast<float>(m)) > 1e-4f)
      return 1;
  return 0;
}
