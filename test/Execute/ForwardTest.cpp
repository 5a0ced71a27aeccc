// Calls that are in order: results, reports, classes, saved images.
#include "EngineTestUtil.h"

#include <doctest/doctest.h>
#include <fstream>

using namespace attnjit;
using namespace attnjit::test;

TEST_CASE("the number of threads never changes a bit, and lse and max are optional") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  Operands one(2, 6, 2, 333, 100), many(2, 6, 2, 333, 100);
  one.call.threads = 1;
  one.call.lse = one.rows(one.lse);
  REQUIRE(engine.forward(one.call));
  for (int threads : {2, 3, 8, 64}) {
    many.call.threads = threads;
    many.call.lse = many.rows(many.lse);
    many.call.max = many.rows(many.max);
    Result<ForwardReport> report = engine.forward(many.call);
    REQUIRE(report);
    CHECK(report->workers > 1);
    CHECK(many.out == one.out);
    CHECK(many.lse == one.lse);
  }
  CHECK(one.max[0] == -1.0f);
  CHECK(many.max[0] != -1.0f);
}

TEST_CASE("strides, grouped heads and a shared batch reach the kernel") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  Operands dense(2, 4, 1, 9, 13);
  // The same keys for both batches, once as copies and once as a batch of 1; q laid out [B, M, H, D].
  std::copy_n(dense.k.begin(), dense.k.size() / 2, dense.k.begin() + dense.k.size() / 2);
  std::copy_n(dense.v.begin(), dense.v.size() / 2, dense.v.begin() + dense.v.size() / 2);
  REQUIRE(engine.forward(dense.call));

  Operands strided(2, 4, 1, 9, 13);
  for (int b = 0; b < 2; ++b)
    for (int h = 0; h < 4; ++h)
      for (int m = 0; m < 9; ++m)
        std::copy_n(&dense.q[((b * 4 + h) * 9 + m) * kHeadDim], kHeadDim, &strided.q[((b * 9 + m) * 4 + h) * kHeadDim]);
  strided.call.q.strides = {9 * 4 * kHeadDim, kHeadDim, 4 * kHeadDim, 1};
  strided.call.k = TensorRef::dense(dense.k.data(), DType::F32, {1, 1, 13, kHeadDim});
  strided.call.v = TensorRef::dense(dense.v.data(), DType::F32, {1, 1, 13, kHeadDim});
  REQUIRE(engine.forward(strided.call));
  CHECK(strided.out == dense.out);
}

TEST_CASE("no query rows: nothing to do, nothing compiled") {
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  for (auto [B, M] : {std::pair{0, 5}, {2, 0}}) {
    Operands empty(B, 2, 2, M, 7);
    Result<ForwardReport> report = engine.forward(empty.call);
    REQUIRE(report);
    CHECK(report->source == KernelSource::None);
  }
  CHECK(compiler.calls == 0);
  Operands noKeys(1, 2, 2, 5, 0);
  REQUIRE(engine.forward(noKeys.call));
  CHECK(noKeys.out == std::vector<float>(noKeys.out.size(), 0.0f));
}

TEST_CASE("an index out of range comes back with its position") {
  FakeCompiler compiler;
  compiler.kernel = outOfRangeKernel;
  const Engine engine = makeEngine(compiler);
  Operands mine(2, 4, 4, 10, 11);
  std::vector<float> table(10);
  mine.call.mod = parseMod("score + t[q_idx + 1]", "", {{"t", DType::F32, 1}});
  mine.call.captures = {{"t", TensorRef::dense(table.data(), DType::F32, {10})}};
  for (int threads : {1, 4}) {
    mine.call.threads = threads;
    Result<ForwardReport> report = engine.forward(mine.call);
    REQUIRE(!report);
    CHECK(report.error().code == ErrorCode::IndexOutOfRange);
    CHECK(contains(report.error().message, "b = 1, h = 2, q_idx = 3, kv_idx = 4"));
    CHECK(contains(report.error().message, "'t'"));
  }
}

TEST_CASE("the index classes are decided per call") {
  FakeCompiler compiler;
  std::vector<std::pair<bool, bool>> asked; // checked, narrow
  compiler.onCompile = [&](const compiler::KernelSpec &spec) { asked.push_back({spec.checkedIndices, spec.narrowIndices}); };
  const Engine engine = makeEngine(compiler);
  const Mod mod = parseMod("score + t[q_idx] + w", "", {{"t", DType::F32, 1}, {"w", DType::I64}});
  std::vector<float> table(64);
  auto prepare = [&](std::int64_t M, std::int64_t size, std::int64_t w) {
    Operands mine(1, 1, 1, M, 8);
    mine.call.mod = mod;
    mine.call.captures = {{"", TensorRef::dense(table.data(), DType::F32, {size})}, {"", w}};
    REQUIRE(engine.prepare(mine.call));
  };
  prepare(20, 20, 1);
  prepare(20, 21, 1); // the same class
  prepare(20, 19, 1); // q_idx = 19 is outside
  prepare(20, 20, std::int64_t{1} << 31);
  REQUIRE(asked.size() == 3);
  CHECK(asked[0] == std::pair{false, true});
  CHECK(asked[1] == std::pair{true, true});
  CHECK(asked[2] == std::pair{false, false});
}

TEST_CASE("captures come by name in any order, or by position") {
  FakeCompiler compiler;
  static double seen[2];
  compiler.kernel = [](const KernelArgs *args, std::int64_t, std::int64_t, void *) {
    seen[0] = args->scalars[0].f;
    seen[1] = static_cast<const float *>(args->captures[0].data)[0] +
              static_cast<double>(args->captures[0].sizes[0] * 1000 + args->captures[0].strides[0] * 100);
  };
  const Engine engine = makeEngine(compiler);
  Operands mine;
  std::vector<float> table = {7, 8, 9, 10};
  const TensorRef half{table.data(), DType::F32, 1, {2}, {2}};
  mine.call.mod = parseMod("score * a + t[h]", "", {{"t", DType::F32, 1}, {"a", DType::F64}});
  mine.call.captures = {{"a", 0.5}, {"t", half}};
  REQUIRE(engine.forward(mine.call));
  CHECK(seen[0] == 0.5);
  CHECK(seen[1] == 2207);
  mine.call.captures = {{"", half}, {"", std::int64_t{3}}}; // an int where a float is declared
  REQUIRE(engine.forward(mine.call));
  CHECK(seen[0] == 3.0);
}

TEST_CASE("a mask over captured data gets a host plan; a closed form needs none") {
  FakeCompiler compiler;
  static std::vector<RunArg> runs;
  static bool planned;
  compiler.kernel = [](const KernelArgs *args, std::int64_t begin, std::int64_t end, void *) {
    planned = args->plan.offsets != nullptr;
    runs.clear();
    for (std::int64_t tile = begin; planned && tile < end; ++tile)
      runs.insert(runs.end(), args->plan.runs + args->plan.offsets[tile], args->plan.runs + args->plan.offsets[tile + 1]);
  };
  const Engine engine = makeEngine(compiler);
  Operands mine(1, 1, 1, 64, 64);
  mine.call.threads = 1;
  std::vector<std::int32_t> document(64);
  for (int i = 0; i < 64; ++i)
    document[i] = i / 32;
  mine.call.mod = parseMod("", "doc[q_idx] == doc[kv_idx]", {{"doc", DType::I32, 1}});
  mine.call.captures = {{"doc", TensorRef::dense(document.data(), DType::I32, {64})}};
  Result<ForwardReport> report = engine.forward(mine.call);
  REQUIRE(report);
  CHECK(planned);
  CHECK(report->plan.hostPlan);
  CHECK(report->plan.totalBlocks == 8);
  CHECK(report->plan.visibleBlocks == 4);
  REQUIRE(runs.size() == 4);
  CHECK(runs[0].kvBegin == 0);
  CHECK(runs[0].kvEnd == 32);
  CHECK(runs[3].kvBegin == 32);
  CHECK(runs[3].kvEnd == 64);

  mine.call.mod = parseMod("", "q_idx >= kv_idx");
  mine.call.captures.clear();
  report = engine.forward(mine.call);
  REQUIRE(report);
  CHECK(!planned);
  CHECK(!report->plan.hostPlan);
}

TEST_CASE("a kernel is saved, loaded and run without an engine") {
  TempDir temp;
  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  Operands mine, again, narrow(1, 2, 2, 20, 40, 4);
  Result<Kernel> kernel = engine.prepare(mine.call);
  REQUIRE(kernel);
  CHECK(kernel->source() == KernelSource::Compiled);
  REQUIRE(kernel->forward(mine.call));
  REQUIRE(kernel->save(temp.file("k.attnjit")));
  Result<Kernel> loaded = Kernel::load(temp.file("k.attnjit"));
  REQUIRE(loaded);
  CHECK(loaded->pipeline() == "FLASH_ATTENTION");
  CHECK(loaded->backend() == SDPBackend::FlashAttention);
  CHECK(loaded->problemText() == kernel->problemText());
  Result<ForwardReport> report = loaded->forward(again.call);
  REQUIRE(report);
  CHECK(report->source == KernelSource::Saved);
  CHECK(again.out == mine.out);

  Result<ForwardReport> unfit = loaded->forward(narrow.call);
  REQUIRE(!unfit);
  CHECK(contains(unfit.error().message, "D = 8"));
  again.call.q.strides = {0, 1, 16, 2};
  unfit = loaded->forward(again.call);
  REQUIRE(!unfit);
  CHECK(contains(unfit.error().message, "last stride"));

  std::filesystem::create_symlink("k.attnjit", temp.file("link"));
  REQUIRE(kernel->save(temp.file("link")));
  CHECK(std::filesystem::is_symlink(temp.file("link")));
  CHECK(Kernel::load(temp.file("link")));

  Result<void> unwritable = kernel->save(temp.file("no/such/place"));
  REQUIRE(!unwritable);
  CHECK(unwritable.error().code == ErrorCode::Io);
  CHECK(contains(unwritable.error().message, "no/such/place"));
}

TEST_CASE("files that are no image, or for another CPU, are refused by name") {
  TempDir temp;
  auto expect = [&](std::string_view name, ErrorCode code, std::string_view part) {
    CAPTURE(name);
    Result<Kernel> loaded = Kernel::load(temp.file(name));
    REQUIRE(!loaded);
    CHECK(loaded.error().code == code);
    CHECK(contains(loaded.error().message, name));
    CHECK_MESSAGE(contains(loaded.error().message, part), loaded.error().message);
  };
  expect("missing", ErrorCode::Io, "No such file");
  std::ofstream(temp.file("text")) << "hello";
  expect("text", ErrorCode::Io, "mark");
  std::filesystem::create_directory(temp.file("folder"));
  expect("folder", ErrorCode::Io, "regular");

  FakeCompiler compiler;
  const Engine engine = makeEngine(compiler);
  Operands mine;
  Result<std::vector<std::byte>> bytes = engine.prepare(mine.call)->bytes();
  REQUIRE(bytes);
  KernelImage image = *deserialize(*bytes);
  auto save = [&](std::string_view name, const KernelImage &changed) {
    const std::vector<std::byte> out = serialize(changed);
    std::ofstream(temp.file(name), std::ios::binary)
        .write(reinterpret_cast<const char *>(out.data()), static_cast<std::streamsize>(out.size()));
  };
  KernelImage changed = image;
  changed.meta.cpu = "x86-64-v9";
  save("cpu", changed);
  expect("cpu", ErrorCode::Unsupported, "x86-64-v9");
  changed = image;
  changed.meta.tileRows = 0;
  save("tiles", changed);
  expect("tiles", ErrorCode::Io, "make no sense");
  changed = image;
  changed.meta.captures.push_back({"ghost", DType::F32, 1});
  save("captures", changed);
  expect("captures", ErrorCode::Io, "argument list");
  changed = image;
  changed.meta.problemText = "nothing";
  save("formula", changed);
  expect("formula", ErrorCode::Io, "which formula");
}

TEST_CASE("kernels for a GPU can be made without one") {
  FakeCompiler compiler;
  EngineOptions options;
  options.target = "sm_80";
  options.cudaLibrary = "/nowhere/libcuda.so.1";
  const Engine engine = makeEngine(compiler, options);
  CHECK(engine.target() == "sm_80");
  Operands mine;
  for (TensorRef *tensor : {&mine.call.q, &mine.call.k, &mine.call.v, &mine.call.out})
    tensor->dtype = DType::BF16;
  Result<ForwardReport> report = engine.forward(mine.call);
  REQUIRE(!report);
  CHECK(report.error().code == ErrorCode::Unsupported);
  CHECK(engine.prepare(mine.call));
}

TEST_CASE("unknown targets and half a memory hook are refused when the engine is made") {
  EngineOptions options;
  options.target = "pentium";
  Result<Engine> engine = Engine::create(options);
  REQUIRE(!engine);
  CHECK(contains(engine.error().message, "pentium"));
  CHECK(contains(engine.error().message, "x86-64-v3"));
  options.target = "native";
  options.hooks.memory.allocate = [](std::size_t, std::size_t) -> void * { return nullptr; };
  engine = Engine::create(options);
  REQUIRE(!engine);
  CHECK(contains(engine.error().message, "allocate and free"));
}

TEST_CASE("without a compiler the error says how to get one") {
  EngineOptions options;
  options.cacheDirectory = "";
  options.compilerLibrary = "/nowhere/libattnjit-compiler.so";
  Result<Engine> engine = Engine::create(options);
  REQUIRE(engine);
  Operands mine;
  Result<ForwardReport> report = engine->forward(mine.call);
  REQUIRE(!report);
  CHECK(report.error().code == ErrorCode::Unsupported);
  CHECK(contains(report.error().message, "/nowhere/libattnjit-compiler.so"));
  CHECK(contains(report.error().message, "ATTNJIT_COMPILER_LIBRARY"));
  // No ELF file at all.
  options.compilerLibrary = "/etc/passwd";
  report = Engine::create(options)->forward(mine.call);
  REQUIRE(!report);
  CHECK(contains(report.error().message, "/etc/passwd"));
}
