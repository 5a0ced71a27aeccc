// The compiler as the engine sees it: images that run, errors, threads.
#include "Specs.h"

#include "attnjit/KernelAbi.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

using namespace attnjit;
using namespace attnjit::compiler;

namespace {

struct Mapped {
  explicit Mapped(const KernelImage &image) : size(image.code.size()) {
    memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(memory != MAP_FAILED);
    std::memcpy(memory, image.code.data(), size);
    REQUIRE(mprotect(memory, size, PROT_READ | PROT_EXEC) == 0);
    entry = reinterpret_cast<CpuKernelFn>(static_cast<char *>(memory) + image.meta.entryOffset);
  }
  ~Mapped() { munmap(memory, size); }
  std::size_t size;
  void *memory;
  CpuKernelFn entry;
};

/// A dense [1, heads, rows, cols] operand.
OperandArg dense(float *data, std::int64_t heads, std::int64_t rows, std::int64_t cols) {
  return {data, {heads * rows * cols, rows * cols, cols, 1}};
}

/// Largest error of causal attention by `image` against a loop in f64; GQA 4 : 2, M 37, N 53.
double causalError(const KernelImage &image, std::int64_t D, std::int64_t Dv) {
  const std::int64_t Hq = 4, Hkv = 2, M = 37, N = 53;
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  auto fill = [&](std::int64_t count) {
    std::vector<float> values(count);
    for (float &value : values)
      value = normal(random);
    return values;
  };
  std::vector<float> q = fill(Hq * M * D), k = fill(Hkv * N * D), v = fill(Hkv * N * Dv), out(Hq * M * Dv, 777), lse(Hq * M, 777),
                     max(Hq * M, 777);
  FunctionTable functions{};
  std::int64_t status = kStatusOk;
  KernelArgs args{};
  args.B = 1;
  args.Hq = Hq;
  args.Hkv = Hkv;
  args.M = M;
  args.N = N;
  args.scale = 1 / std::sqrt(double(D));
  args.q = dense(q.data(), Hq, M, D);
  args.k = dense(k.data(), Hkv, N, D);
  args.v = dense(v.data(), Hkv, N, Dv);
  args.out = dense(out.data(), Hq, M, Dv);
  args.lse = {lse.data(), {Hq * M, M, 1, 0}};
  args.max = {max.data(), {Hq * M, M, 1, 0}};
  args.status = &status;
  args.functions = &functions;

  void *workspace = nullptr;
  REQUIRE(posix_memalign(&workspace, 64, image.meta.workspaceBytes + 64) == 0);
  Mapped mapped(image);
  const std::int64_t tiles = Hq * ((M + image.meta.tileRows - 1) / image.meta.tileRows);
  mapped.entry(&args, 0, tiles / 2, workspace);
  mapped.entry(&args, tiles / 2, tiles, workspace);
  std::free(workspace);
  CHECK(status == kStatusOk);

  double error = 0;
  for (std::int64_t h = 0; h < Hq; h++)
    for (std::int64_t i = 0; i < M; i++) {
      const std::int64_t g = h / (Hq / Hkv);
      double m = -INFINITY, sum = 0;
      std::vector<double> s(i + 1), o(Dv, 0.0);
      for (std::int64_t j = 0; j <= i; j++) {
        for (std::int64_t d = 0; d < D; d++)
          s[j] += double(q[(h * M + i) * D + d]) * k[(g * N + j) * D + d];
        m = std::max(m, s[j] *= args.scale);
      }
      for (std::int64_t j = 0; j <= i; j++) {
        const double p = std::exp(s[j] - m);
        sum += p;
        for (std::int64_t d = 0; d < Dv; d++)
          o[d] += p * v[(g * N + j) * Dv + d];
      }
      for (std::int64_t d = 0; d < Dv; d++)
        error = std::max(error, std::abs(o[d] / sum - out[(h * M + i) * Dv + d]));
      error = std::max({error, std::abs(m + std::log(sum) - lse[h * M + i]), std::abs(m - max[h * M + i])});
    }
  return error;
}

std::string readFile(const std::filesystem::path &path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

} // namespace

TEST_CASE("images of both pipelines compute causal attention") {
  KernelCompiler compiler;
  Result<TargetDesc> host = hostTarget();
  REQUIRE(host);
  for (SDPBackend backend : {SDPBackend::Math, SDPBackend::FlashAttention})
    for (const char *target : {"x86-64-v3", "x86-64-v4"}) {
      if (parseTarget(target)->vectorBits > host->vectorBits)
        continue;
      CAPTURE(int(backend));
      CAPTURE(target);
      Result<KernelImage> image = compiler.compile(makeSpec({"", "", "q_idx >= kv_idx", {}, DType::F32, 64, 32, backend, target}), {});
      if (!image) {
        FAIL_CHECK(image.error().message);
        continue;
      }
      CHECK(image->meta.hasMask);
      CHECK(image->meta.buildId == compiler.buildId());
      CHECK(causalError(*image, 64, 32) < 2e-6);
    }
}

TEST_CASE("metadata lists what a launcher binds") {
  KernelCompiler compiler;
  const KernelSpec spec = makeSpec(
      {"", "score + slope[h] * bias", "", {{"slope", DType::BF16, 1}, {"bias", DType::F64, -1}}, DType::F32, 16, 16, SDPBackend::Math});
  Result<KernelImage> image = compiler.compile(spec, {});
  if (!image)
    FAIL(image.error().message);
  REQUIRE(image->meta.captures.size() == 1);
  CHECK(image->meta.captures[0] == CaptureMeta{"slope", DType::BF16, 1});
  REQUIRE(image->meta.scalars.size() == 1);
  CHECK(image->meta.scalars[0] == ScalarMeta{"bias", true});
  CHECK_FALSE(image->meta.hasMask);
  CHECK(image->meta.pipeline == "MATH");
  CHECK(image->meta.tileRows > 0);
  CHECK(deserialize(serialize(*image))->meta == image->meta);
}

TEST_CASE("what this build does not compile is Unsupported with a reason") {
  KernelCompiler compiler;
  KernelSpec spec = makeSpec(specRows()[0]);
  spec.backend = SDPBackend::CudnnAttention;
  Result<KernelImage> image = compiler.compile(spec, {});
  REQUIRE_FALSE(image);
  CHECK(image.error().code == ErrorCode::Unsupported);
}

TEST_CASE("a failed compile leaves a reproducer and names it") {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / ("attnjit-test-" + std::to_string(getpid()));
  std::filesystem::create_directory(folder);
  setenv("ATTNJIT_REPRODUCER_DIR", folder.c_str(), 1);
  KernelCompiler compiler;
  KernelSpec spec = makeSpec(specRows()[1]);
  spec.D = 0; // the engine refuses this before; here it stands for a bug
  Result<KernelImage> image = compiler.compile(spec, {});
  REQUIRE_FALSE(image);
  CHECK(image.error().code == ErrorCode::Internal);
  std::vector<std::filesystem::path> files;
  for (const auto &entry : std::filesystem::directory_iterator(folder))
    files.push_back(entry.path());
  REQUIRE(files.size() == 1);
  CHECK(image.error().message.find(files[0].string()) != std::string::npos);
  CHECK(readFile(files[0]).find("// D = 0") != std::string::npos);

  setenv("ATTNJIT_REPRODUCER_DIR", (folder / "absent").c_str(), 1);
  image = compiler.compile(spec, {});
  REQUIRE_FALSE(image);
  CHECK(image.error().message.find("ATTNJIT_REPRODUCER_DIR") != std::string::npos);
  unsetenv("ATTNJIT_REPRODUCER_DIR");
  std::filesystem::remove_all(folder);
}

TEST_CASE("compiles run side by side and give what they give alone") {
  KernelCompiler compiler;
  std::vector<KernelSpec> specs;
  for (int D = 8; D < 16; D++)
    specs.push_back(makeSpec({"", "score * 2", "q_idx >= kv_idx", {}, DType::F32, D, 16, SDPBackend::Math}));
  std::vector<KernelImage> alone(specs.size()), together(specs.size());
  for (std::size_t i = 0; i < specs.size(); i++) {
    Result<KernelImage> image = compiler.compile(specs[i], {});
    REQUIRE(image);
    alone[i] = *image;
  }
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < specs.size(); i++)
    threads.emplace_back([&, i] {
      if (Result<KernelImage> image = compiler.compile(specs[i], {}))
        together[i] = *image;
    });
  for (std::thread &thread : threads)
    thread.join();
  for (std::size_t i = 0; i < specs.size(); i++) {
    CHECK(together[i].code == alone[i].code);
    CHECK(together[i].meta == alone[i].meta);
  }
}
