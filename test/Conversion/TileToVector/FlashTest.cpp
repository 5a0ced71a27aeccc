// The flash schedule, run: sizes that fit nothing, groups of heads, strides, types, masks, plans and NaN, against attention by its
// definition in f64. Every operand ends where a page without access begins, so that a read past its end is a crash.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "JitHarness.h"

#include "attnjit-mlir/Conversion/TileToVector/Schedules.h"
#include "attnjit-mlir/Dialect/Tile/Tile.h"
#include "attnjit-mlir/Pipelines/Pipelines.h"
#include "mlir/Parser/Parser.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <doctest/doctest.h>
#include <functional>
#include <random>
#include <sys/mman.h>

using namespace attnjit;
using namespace attnjit::testing;

namespace {

constexpr double kInf = INFINITY;

//===------------------------------------------------------------------------------------------------------------------===//
// Operands
//===------------------------------------------------------------------------------------------------------------------===//

/// Memory whose last byte lies before a page without access.
class GuardedMemory {
public:
  explicit GuardedMemory(std::size_t bytes) : mapped((bytes + 4095) / 4096 * 4096 + 4096) {
    base = static_cast<char *>(mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REQUIRE(base != MAP_FAILED);
    REQUIRE(mprotect(base + mapped - 4096, 4096, PROT_NONE) == 0);
    data = base + mapped - 4096 - bytes;
  }
  GuardedMemory(GuardedMemory &&other) : mapped(other.mapped), base(std::exchange(other.base, nullptr)), data(other.data) {}
  ~GuardedMemory() {
    if (base)
      munmap(base, mapped);
  }

private:
  std::size_t mapped;
  char *base;

public:
  char *data;
};

enum class Float { F64, F32, BF16, F16 };

std::uint16_t bf16Bits(float x) {
  auto bits = std::bit_cast<std::uint32_t>(x);
  return std::isnan(x) ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

/// A tensor [B, H, rows, columns] of some float type, with any order and padding of its dimensions.
class Tensor {
public:
  enum class Layout {
    HeadMajor,
    RowMajor,
    Strided,
    Reversed
  }; ///< [B,H,R,C], [B,R,H,C], [B,H,C,R], [B,H,R,C] with rows and columns falling
  Tensor(std::int64_t b, std::int64_t h, std::int64_t rows, std::int64_t columns, Float type, Layout layout = Layout::HeadMajor)
      : sizes{b, h, rows, columns}, type(type), memory(std::max<std::int64_t>(1, b * h * rows * columns) * elementBytes()) {
    switch (layout) {
    case Layout::HeadMajor:
      setStrides({h * rows * columns, rows * columns, columns, 1});
      break;
    case Layout::RowMajor:
      setStrides({h * rows * columns, columns, h * columns, 1});
      break;
    case Layout::Strided:
      setStrides({h * rows * columns, rows * columns, 1, rows});
      break;
    case Layout::Reversed:
      setStrides({h * rows * columns, rows * columns, -columns, -1});
      origin = std::max<std::int64_t>(0, rows * columns - 1) * std::int64_t(elementBytes());
      break;
    }
  }
  std::size_t elementBytes() const { return type == Float::F64 ? 8 : type == Float::F32 ? 4 : 2; }
  OperandArg argument() {
    OperandArg arg{memory.data + origin, {}};
    std::copy(strides, strides + 4, arg.strides);
    return arg;
  }
  double at(std::int64_t b, std::int64_t h, std::int64_t row, std::int64_t column) const {
    const char *element = address(b, h, row, column);
    if (type == Float::F64)
      return load<double>(element);
    if (type == Float::F32)
      return load<float>(element);
    if (type == Float::BF16)
      return std::bit_cast<float>(std::uint32_t(load<std::uint16_t>(element)) << 16);
    return load<_Float16>(element);
  }
  void set(std::int64_t b, std::int64_t h, std::int64_t row, std::int64_t column, double value) {
    char *element = address(b, h, row, column);
    if (type == Float::F64)
      store(element, value);
    else if (type == Float::F32)
      store(element, float(value));
    else if (type == Float::BF16)
      store(element, bf16Bits(float(value)));
    else
      store(element, _Float16(value));
  }
  void forEach(const std::function<double()> &value) {
    for (std::int64_t b = 0; b < sizes[0]; ++b)
      for (std::int64_t h = 0; h < sizes[1]; ++h)
        for (std::int64_t row = 0; row < sizes[2]; ++row)
          for (std::int64_t column = 0; column < sizes[3]; ++column)
            set(b, h, row, column, value());
  }
  std::vector<char> bytes() const {
    std::size_t size = sizes[0] * sizes[1] * sizes[2] * sizes[3] * elementBytes();
    return std::vector<char>(memory.data, memory.data + size);
  }

  std::int64_t sizes[4], strides[4];

private:
  void setStrides(std::initializer_list<std::int64_t> values) { std::copy(values.begin(), values.end(), strides); }
  char *address(std::int64_t b, std::int64_t h, std::int64_t row, std::int64_t column) const {
    return memory.data + origin + (b * strides[0] + h * strides[1] + row * strides[2] + column * strides[3]) * std::int64_t(elementBytes());
  }
  template <typename T> static T load(const char *from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  template <typename T> static void store(char *to, T value) { std::memcpy(to, &value, sizeof value); }
  Float type;
  std::int64_t origin = 0; ///< of element (0, 0, 0, 0), in bytes
  GuardedMemory memory;
};

//===------------------------------------------------------------------------------------------------------------------===//
// Formulas
//===------------------------------------------------------------------------------------------------------------------===//

/// A formula as the regions of attn.forward, and as C++. Both see one captured f32 tensor of rank 1, %c.
struct Formula {
  const char *name;
  const char *score; ///< empty: identity
  const char *mask;  ///< empty: always true
  std::function<double(double s, int h, int q, int kv, const std::vector<float> &c)> scoreFn = nullptr;
  std::function<bool(int h, int q, int kv, const std::vector<float> &c)> maskFn = nullptr;
};

const Formula kPlain = {"plain", "", ""};
const Formula kCausal = {"causal", "", "%m = arith.cmpi sle, %kv, %q : i32\nattn.yield %m : i1", nullptr,
                         [](int, int q, int kv, const auto &) { return kv <= q; }};
const Formula kWindow = {
    "window", "",
    "%d = arith.subi %q, %kv : i32\n%w = arith.constant 20 : i32\n%z = arith.constant -3 : i32\n"
    "%a = arith.cmpi sle, %d, %w : i32\n%e = arith.cmpi sge, %d, %z : i32\n%m = arith.andi %a, %e : i1\nattn.yield %m : i1",
    nullptr, [](int, int q, int kv, const auto &) { return q - kv <= 20 && q - kv >= -3; }};
const Formula kTwoBands = {"two bands of whole granules", "",
                           "%x = arith.constant 16 : i32\n%y = arith.constant 48 : i32\n%a = arith.cmpi slt, %kv, %x : i32\n"
                           "%e = arith.cmpi sge, %kv, %y : i32\n%m = arith.ori %a, %e : i1\nattn.yield %m : i1",
                           nullptr, [](int, int, int kv, const auto &) { return kv < 16 || kv >= 48; }};
const Formula kSoftcap = {"softcap",
                          "%x = arith.constant 2.0 : f32\n%a = arith.divf %s, %x : f32\n%t = math.tanh %a : f32\n"
                          "%r = arith.mulf %t, %x : f32\nattn.yield %r : f32",
                          "", [](double s, int, int, int, const auto &) { return 2 * std::tanh(s / 2); }};
const Formula kAlibiCausal = {
    "alibi-causal",
    "%g = attn.load %c[%h] : memref<?xf32>, i32 -> f32\n%d = arith.subi %kv, %q : i32\n"
    "%f = arith.sitofp %d : i32 to f32\n%p = arith.mulf %f, %g : f32\n%r = arith.addf %s, %p : f32\nattn.yield %r : f32",
    kCausal.mask, [](double s, int h, int q, int kv, const auto &c) { return s + double(c[h]) * (kv - q); }, kCausal.maskFn};
const Formula kKeyBias = {"key-bias",
                          "%g = attn.load %c[%kv] : memref<?xf32>, i32 -> f32\n%r = arith.addf %s, %g : f32\nattn.yield %r : f32", "",
                          [](double s, int, int, int kv, const auto &c) { return s + double(c[kv]); }};
const Formula kDocuments = {"documents", "",
                            "%x = attn.load %c[%q] : memref<?xf32>, i32 -> f32\n%y = attn.load %c[%kv] : memref<?xf32>, i32 -> f32\n"
                            "%f = arith.cmpf olt, %x, %y : f32\nattn.yield %f : i1",
                            nullptr, [](int, int q, int kv, const auto &c) { return c[q] < c[kv]; }};
const Formula kEveryThird = {"every third row empty", "",
                             "%n = arith.constant 3 : i32\n%x = arith.remui %q, %n : i32\n%z = arith.constant 0 : i32\n"
                             "%m = arith.cmpi ne, %x, %z : i32\nattn.yield %m : i1",
                             nullptr, [](int, int q, int, const auto &) { return q % 3 != 0; }};
const Formula kNothing = {"nothing visible", "", "%m = arith.constant false\nattn.yield %m : i1", nullptr,
                          [](int, int, int, const auto &) { return false; }};
const Formula kVeryNegative = {"-1e30 is a number", "%x = arith.constant -1.0e30 : f32\nattn.yield %x : f32", "",
                               [](double, int, int, int, const auto &) { return double(-1e30f); }};
const Formula kHuge = {"scores of 1e30", "%x = arith.constant 1.0e30 : f32\n%r = arith.mulf %s, %x : f32\nattn.yield %r : f32", "",
                       [](double s, int, int, int, const auto &) { return double(float(s) * 1e30f); }};

struct Problem {
  std::int64_t B = 1, Hq = 1, Hkv = 1, M = 1, N = 1, D = 16, Dv = 16;
  Float qType = Float::F32, kvType = Float::F32;
  Tensor::Layout layout = Tensor::Layout::HeadMajor;
  std::int64_t tileRows = 0, tileCols = 0; ///< 0: the schedule's choice
  bool checkedIndices = false;

  bool isBf16() const { return qType == Float::BF16 && kvType == Float::BF16; }
  Float computeType() const { return qType == Float::F64 ? Float::F64 : Float::F32; }
  tile::TileSizes tileSizes(const tile::CpuTarget &target) const {
    return tile::chooseFlashTile(D, Dv, qType == Float::F64 ? 64 : 32, isBf16(), target);
  }
};

tile::CpuTarget cpuTarget(const TargetDesc &target) {
  using tile::Bf16Unit;
  return {target.vectorBits, target.registers, target.hasAmx() ? Bf16Unit::Tile : target.hasBf16() ? Bf16Unit::Vector : Bf16Unit::None};
}

std::vector<TargetDesc> flashTargets(const Problem &p) {
  std::vector<TargetDesc> targets = runnableTargets();
  if (p.isBf16())
    for (const TargetDesc &target : bf16Targets())
      targets.push_back(target);
  return targets;
}

std::string moduleText(const Problem &p, const Formula &formula, const tile::CpuTarget &target) {
  tile::TileSizes sizes = p.tileSizes(target);
  auto element = [](Float type) {
    return type == Float::F64 ? "xf64" : type == Float::F32 ? "xf32" : type == Float::BF16 ? "xbf16" : "xf16";
  };
  std::string compute = element(p.computeType()) + 1;
  bool isContiguous = p.layout == Tensor::Layout::HeadMajor || p.layout == Tensor::Layout::RowMajor;
  std::string layout = isContiguous ? ">" : ", strided<[?, ?, ?, ?]>>";
  std::string qk = "memref<?x?x?x" + std::to_string(p.D), v = "memref<?x?x?x" + std::to_string(p.Dv);
  std::string q = qk + element(p.qType) + layout, k = qk + element(p.kvType) + layout, row = "memref<?x?x?x" + compute + ">";
  std::string out = v + element(p.qType) + layout;
  v += element(p.kvType) + layout;
  std::string capture = "memref<?xf32>";
  std::string arguments = "%b: i32, %h: i32, %q: i32, %kv: i32, %c: " + capture;
  std::string text = "func.func @flash(%queries: " + q + ", %keys: " + k + ", %values: " + v + ", %out: " + out + ", %lse: " + row +
                     ", %max: " + row + ", %scale: " + compute + ", %table: " + capture +
                     ") {\nattn.forward ins(%queries, %keys, %values : " + q + ", " + k + ", " + v + ") outs(%out : " + out +
                     ") lse(%lse : " + row + ") max(%max : " + row + ") scale(%scale : " + compute + ") captures(%table : " + capture +
                     ") config <tile_rows = " + std::to_string(p.tileRows ? p.tileRows : sizes.rows) +
                     ", tile_cols = " + std::to_string(p.tileCols ? p.tileCols : sizes.cols) +
                     ", checked_indices = " + (p.checkedIndices ? "true" : "false") + ", narrow = true>\n";
  if (*formula.score)
    text += std::string("score {\n^bb0(%s: " + compute + ", ") + arguments + "):\n" + formula.score + "\n}\n";
  if (*formula.mask)
    text += std::string("mask {\n^bb0(") + arguments + "):\n" + formula.mask + "\n}\n";
  return text + "return\n}\n";
}

std::unique_ptr<JitKernel> compile(const std::string &text, const TargetDesc &target) {
  std::string message;
  auto context = makeContext(message);
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, context.get());
  std::unique_ptr<JitKernel> kernel;
  pipelines::CpuOptions options;
  options.target = cpuTarget(target);
  if (module && succeeded(pipelines::attnToTile(*module)) && succeeded(pipelines::tileToVector(*module, options)))
    kernel = compileVectorStage(*module, target, message);
  INFO(text);
  REQUIRE_MESSAGE(kernel, message);
  return kernel;
}

//===------------------------------------------------------------------------------------------------------------------===//
// One call
//===------------------------------------------------------------------------------------------------------------------===//

struct Call {
  Call(const Problem &p, unsigned seed = 1)
      : problem(p), q(p.B, p.Hq, p.M, p.D, p.qType, p.layout), k(p.B, p.Hkv, p.N, p.D, p.kvType, p.layout),
        v(p.B, p.Hkv, p.N, p.Dv, p.kvType, p.layout), out(p.B, p.Hq, p.M, p.Dv, p.qType, p.layout), lse(p.B, p.Hq, p.M, 1, p.computeType()),
        max(p.B, p.Hq, p.M, 1, p.computeType()), captured(std::max({p.M, p.N, p.Hq})) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal;
    for (Tensor *tensor : {&q, &k, &v})
      tensor->forEach([&] { return normal(random); });
    for (Tensor *tensor : {&out, &lse, &max})
      tensor->forEach([&] { return 77.0; }); // whatever is not written stands out
    for (float &value : captured)
      value = float(normal(random));
  }

  /// Runs the kernel on all its tiles, `step` at a time.
  void run(const JitKernel &kernel, std::int64_t tileRows, std::int64_t step = INT64_MAX) {
    const Problem &p = problem;
    KernelArgs args{};
    args.B = p.B, args.Hq = p.Hq, args.Hkv = p.Hkv, args.M = p.M, args.N = visibleKeys.value_or(p.N);
    args.scale = 1 / std::sqrt(double(p.D));
    args.q = q.argument(), args.k = k.argument(), args.v = v.argument(), args.out = out.argument();
    if (wantsRows)
      args.lse = lse.argument(), args.max = max.argument();
    if (broadcastsKv)
      args.k.strides[0] = args.v.strides[0] = 0;
    GuardedMemory captureMemory(captured.size() * sizeof(float));
    std::memcpy(captureMemory.data, captured.data(), captured.size() * sizeof(float));
    CaptureArg capture{captureMemory.data, {std::int64_t(captured.size())}, {1}};
    args.captures = &capture;
    args.plan = plan;
    args.status = &status;
    args.functions = &libmTable();
    GuardedMemory workspace(kernel.workspaceBytes);
    std::int64_t tiles = p.B * p.Hq * ((p.M + tileRows - 1) / tileRows);
    for (std::int64_t begin = 0; begin < tiles; begin += std::min(step, tiles - begin))
      kernel.entry()(&args, begin, std::min(tiles, begin + std::min(step, tiles)), workspace.data);
  }

  /// Compares out, lse and max with attention by its definition.
  void check(const Formula &formula, const TargetDesc &target) {
    const Problem &p = problem;
    // Where the machine multiplies bf16, probabilities are rounded to it.
    const double unitOfP = p.isBf16() && target.hasBf16() ? 0x1p-8 : 0;
    double unit = p.computeType() == p.qType ? 0 : p.qType == Float::BF16 ? 0x1p-8 : 0x1p-11;
    std::int64_t keys = visibleKeys.value_or(p.N);
    std::int64_t wrong = 0;
    // A score in the hundreds (ALiBi) is itself rounded by some 1e-5 in f32.
    double largest = 0;
    auto compare = [&](double got, double want, double relative, double absolute = 0) {
      double computed = p.qType == Float::F64 ? 1e-14 : 3e-6 + 1e-7 * std::min(largest, 1e3);
      double tolerance = computed * (1 + std::abs(want)) + relative * std::abs(want) + absolute;
      wrong += std::isnan(want) ? !std::isnan(got) : std::isinf(want) ? got != want : !(std::abs(got - want) <= tolerance);
    };
    for (std::int64_t b = 0; b < p.B; ++b)
      for (std::int64_t h = 0; h < p.Hq; ++h)
        for (std::int64_t row = 0; row < p.M; ++row) {
          std::int64_t kvBatch = broadcastsKv ? 0 : b, kvHead = h / (p.Hq / p.Hkv);
          std::vector<double> u(keys);
          double m = -kInf, sum = 0;
          bool sawNan = false;
          for (std::int64_t kv = 0; kv < keys; ++kv) {
            double s = 0;
            for (std::int64_t d = 0; d < p.D; ++d)
              s += q.at(b, h, row, d) * k.at(kvBatch, kvHead, kv, d);
            s /= std::sqrt(double(p.D));
            double t = formula.scoreFn ? formula.scoreFn(s, h, row, kv, captured) : s;
            u[kv] = !formula.maskFn || formula.maskFn(h, row, kv, captured) ? t : -kInf;
            sawNan |= std::isnan(u[kv]);
            m = std::max(m, u[kv]);
            if (std::isfinite(u[kv]))
              largest = std::max(largest, std::abs(u[kv]));
          }
          std::vector<double> o(p.Dv), magnitude(p.Dv);
          for (std::int64_t kv = 0; kv < keys; ++kv) {
            double e = u[kv] == -kInf ? 0 : std::exp(u[kv] - m);
            sum += e;
            for (std::int64_t d = 0; d < p.Dv && u[kv] != -kInf; ++d) {
              o[d] += e * v.at(kvBatch, kvHead, kv, d);
              magnitude[d] += e * std::abs(v.at(kvBatch, kvHead, kv, d));
            }
          }
          for (std::int64_t d = 0; d < p.Dv; ++d)
            compare(out.at(b, h, row, d), sum == 0 ? 0 : o[d] / sum, unit, sum == 0 ? 0 : unitOfP * magnitude[d] / sum);
          if (!wantsRows)
            continue;
          compare(lse.at(b, h, row, 0), sawNan ? NAN : sum == 0 ? -kInf : m + std::log(sum), 0);
          compare(max.at(b, h, row, 0), sawNan ? NAN : m, 0);
        }
    CHECK(wrong == 0);
  }

  Problem problem;
  Tensor q, k, v, out, lse, max;
  std::vector<float> captured;
  PlanArg plan{};
  std::int64_t status = kStatusOk;
  bool wantsRows = true, broadcastsKv = false;
  std::optional<std::int64_t> visibleKeys; ///< N, where the tensors have more rows than that
};

std::int64_t tileRowsOf(const Problem &p, const TargetDesc &target) {
  return p.tileRows ? p.tileRows : p.tileSizes(cpuTarget(target)).rows;
}

void runAndCheck(const Problem &p, const Formula &formula, const std::function<void(Call &)> &prepare = nullptr) {
  for (const TargetDesc &target : flashTargets(p)) {
    CAPTURE(target.cpu);
    CAPTURE(std::string(formula.name));
    INFO("B=" << p.B << " Hq=" << p.Hq << " Hkv=" << p.Hkv << " M=" << p.M << " N=" << p.N << " D=" << p.D << " Dv=" << p.Dv);
    auto kernel = compile(moduleText(p, formula, cpuTarget(target)), target);
    Call call(p);
    if (prepare)
      prepare(call);
    call.run(*kernel, tileRowsOf(p, target));
    call.check(formula, target);
    CHECK(call.status == kStatusOk);
  }
}

} // namespace

//===------------------------------------------------------------------------------------------------------------------===//

TEST_CASE("sizes that fit no tile") {
  const Formula *formulas[] = {&kPlain, &kCausal, &kSoftcap, &kWindow, &kAlibiCausal, &kDocuments};
  struct {
    std::int64_t M, N, D, Dv;
  } sizes[] = {{1, 1, 1, 1},      {1, 200, 64, 64},    {5, 7, 3, 2},     {23, 129, 8, 9},   {24, 128, 16, 16},
               {47, 127, 31, 33}, {48, 16, 64, 64},    {49, 17, 63, 65}, {130, 300, 33, 5}, {193, 257, 64, 48},
               {200, 31, 100, 7}, {97, 140, 128, 128}, {20, 40, 512, 4}, {20, 40, 2, 512},  {33, 70, 257, 255}};
  int next = 0;
  for (auto [M, N, D, Dv] : sizes)
    for (int i = 0; i < 2; ++i)
      runAndCheck({.M = M, .N = N, .D = D, .Dv = Dv}, *formulas[next++ % 6]);
}

TEST_CASE("bf16, multiplied in pairs: sizes that fit tiles and some that do not") {
  const Formula *formulas[] = {&kPlain, &kCausal, &kSoftcap, &kWindow, &kAlibiCausal, &kDocuments, &kTwoBands};
  struct {
    std::int64_t M, N, D, Dv;
  } sizes[] = {{1, 1, 32, 16},    {33, 31, 64, 48},   {70, 129, 96, 32}, {193, 257, 128, 64}, {400, 300, 64, 64},
               {50, 160, 32, 16}, {64, 200, 256, 80}, {17, 33, 33, 17},  {40, 131, 1, 3},     {90, 127, 63, 64}};
  int next = 0;
  for (auto [M, N, D, Dv] : sizes)
    for (int i = 0; i < 3; ++i)
      runAndCheck({.B = 2, .Hq = 2, .Hkv = 1, .M = M, .N = N, .D = D, .Dv = Dv, .qType = Float::BF16, .kvType = Float::BF16},
                  *formulas[next++ % 7]);
  for (const Formula *formula : {&kPlain, &kCausal, &kKeyBias, &kEveryThird, &kNothing, &kVeryNegative})
    runAndCheck({.B = 2, .Hq = 2, .Hkv = 2, .M = 210, .N = 290, .D = 32, .Dv = 32, .qType = Float::BF16, .kvType = Float::BF16}, *formula);
}

TEST_CASE("bf16, multiplied in pairs: NaN, and nothing behind the last key") {
  for (std::int64_t D : {32, 40}) {
    Problem p{.M = 70, .N = 70, .D = D, .Dv = 16, .qType = Float::BF16, .kvType = Float::BF16};
    runAndCheck(p, kCausal, [](Call &call) { call.k.set(0, 0, 40, 3, NAN); });
    runAndCheck(p, kPlain, [](Call &call) { call.q.set(0, 0, 7, 0, NAN); });
    runAndCheck(p, kSoftcap, [](Call &call) { call.k.set(0, 0, 69, 0, NAN); });
    runAndCheck(p, kPlain, [](Call &call) { call.v.set(0, 0, 33, 5, NAN); });
    for (std::int64_t keys : {0, 1, 15, 16, 17, 32, 37, 69})
      runAndCheck(p, kPlain, [&](Call &call) {
        for (std::int64_t row = keys; row < 70; ++row)
          for (std::int64_t d = 0; d < 16; ++d)
            call.k.set(0, 0, row, d, NAN), call.v.set(0, 0, row, d, NAN);
        call.visibleKeys = keys;
      });
  }
}

TEST_CASE("every formula over several blocks and panels") {
  for (const Formula *formula : {&kPlain, &kCausal, &kWindow, &kTwoBands, &kSoftcap, &kAlibiCausal, &kKeyBias, &kDocuments, &kEveryThird,
                                 &kNothing, &kVeryNegative, &kHuge})
    runAndCheck({.B = 2, .Hq = 2, .Hkv = 2, .M = 210, .N = 290, .D = 20, .Dv = 12}, *formula);
}

TEST_CASE("no keys, no queries") {
  runAndCheck({.B = 2, .M = 50, .N = 0}, kPlain);
  runAndCheck({.M = 50, .N = 0}, kCausal);
  runAndCheck({.M = 0, .N = 5}, kCausal);
}

TEST_CASE("groups of heads, and one batch of K and V for all") {
  runAndCheck({.B = 2, .Hq = 6, .Hkv = 2, .M = 30, .N = 40}, kAlibiCausal);
  runAndCheck({.B = 3, .Hq = 3, .Hkv = 1, .M = 30, .N = 40}, kPlain, [](Call &call) { call.broadcastsKv = true; });
}

TEST_CASE("types and strides") {
  for (Float type : {Float::F32, Float::BF16, Float::F16})
    for (auto layout : {Tensor::Layout::HeadMajor, Tensor::Layout::RowMajor, Tensor::Layout::Strided, Tensor::Layout::Reversed})
      runAndCheck({.B = 2, .Hq = 2, .Hkv = 1, .M = 60, .N = 150, .D = 37, .Dv = 21, .qType = type, .kvType = type, .layout = layout},
                  kCausal);
  runAndCheck({.M = 60, .N = 150, .D = 32, .Dv = 32, .qType = Float::F32, .kvType = Float::BF16}, kPlain);
  runAndCheck({.M = 60, .N = 150, .D = 32, .Dv = 32, .qType = Float::BF16, .kvType = Float::F32}, kSoftcap);
}

TEST_CASE("tile sizes of the caller's choice") {
  for (auto [rows, cols] : {std::pair{1, 1}, {50, 37}, {300, 200}, {7, 3}})
    runAndCheck({.M = 101, .N = 130, .tileRows = rows, .tileCols = cols}, kCausal);
}

TEST_CASE("lse and max are optional") {
  runAndCheck({.M = 30, .N = 40}, kCausal, [](Call &call) { call.wantsRows = false; });
}

TEST_CASE("an unmasked NaN arrives, a masked one does not (A6)") {
  Problem p{.M = 70, .N = 70, .D = 16, .Dv = 16};
  runAndCheck(p, kCausal, [](Call &call) { call.k.set(0, 0, 40, 3, NAN); });
  runAndCheck(p, kPlain, [](Call &call) { call.q.set(0, 0, 7, 0, NAN); });
  runAndCheck(p, kSoftcap, [](Call &call) { call.k.set(0, 0, 69, 0, NAN); });
  runAndCheck(p, kPlain, [](Call &call) { call.v.set(0, 0, 33, 5, NAN); });
  runAndCheck(p, kNothing, [](Call &call) { call.v.set(0, 0, 33, 5, NAN); });
}

TEST_CASE("keys and values behind the last one are not looked at") {
  for (Float type : {Float::F32, Float::BF16})
    runAndCheck({.M = 20, .N = 40, .kvType = type}, kPlain, [](Call &call) {
      call.visibleKeys = 33;
      for (std::int64_t kv = 33; kv < 40; ++kv) {
        call.k.set(0, 0, kv, 0, NAN);
        call.v.set(0, 0, kv, 0, NAN);
      }
    });
}

TEST_CASE("the same bits however tiles are dealt out (A11)") {
  Problem p{.B = 2, .Hq = 3, .Hkv = 3, .M = 400, .N = 170, .tileRows = 48};
  for (const TargetDesc &target : flashTargets(p)) {
    auto kernel = compile(moduleText(p, kAlibiCausal, cpuTarget(target)), target);
    Call whole(p), single(p);
    whole.run(*kernel, p.tileRows);
    single.run(*kernel, p.tileRows, 1);
    CHECK(whole.out.bytes() == single.out.bytes());
    CHECK(whole.lse.bytes() == single.lse.bytes());
    CHECK(whole.max.bytes() == single.max.bytes());
  }
}

TEST_CASE("a plan of runs") {
  // Keys [3, 10) count without a look at the mask, [40, 75) under it, the rest not at all.
  const RunArg runs[] = {{3, 10, 1}, {40, 75, 0}};
  const std::int64_t offsets[] = {0, 2, 4, 6};
  const RunArg all[] = {runs[0], runs[1], runs[0], runs[1], runs[0], runs[1]};
  for (const Formula *mask : {&kEveryThird, &kCausal}) {
    Formula planned = *mask;
    planned.maskFn = [mask](int h, int q, int kv, const std::vector<float> &c) {
      return (kv >= 3 && kv < 10) || (kv >= 40 && kv < 75 && mask->maskFn(h, q, kv, c));
    };
    runAndCheck({.M = 130, .N = 80, .tileRows = 48, .tileCols = 32}, planned, [&](Call &call) { call.plan = {offsets, all, 3, 3}; });
  }
}

TEST_CASE("the first visible index out of range is reported (A10)") {
  // The captured tensor is too short for keys from 50 on; causal rows see key 50 from query 50 on.
  Problem p{.Hq = 2, .Hkv = 2, .M = 64, .N = 64, .checkedIndices = true};
  Formula formula = kKeyBias;
  formula.mask = kCausal.mask;
  for (const TargetDesc &target : flashTargets(p)) {
    auto kernel = compile(moduleText(p, formula, cpuTarget(target)), target);
    Call call(p);
    call.captured.resize(50);
    call.run(*kernel, tileRowsOf(p, target));
    CHECK(call.status == (0 * 64 + 50) * 64 + 50);
    Call inRange(p);
    inRange.run(*kernel, tileRowsOf(p, target));
    CHECK(inRange.status == kStatusOk);
  }
}

TEST_CASE("f64 is computed in f64, from keys of any type") {
  const Formula shifted = {"shifted", "%x = arith.constant 0.5 : f64\n%r = arith.addf %s, %x : f64\nattn.yield %r : f64", "",
                           [](double s, int, int, int, const auto &) { return s + 0.5; }};
  for (Float kvType : {Float::F64, Float::F32, Float::BF16, Float::F16})
    for (const Formula *formula : {&kPlain, &kCausal, &kEveryThird, &shifted})
      for (auto [M, N, D, Dv] : {std::array{1, 1, 1, 1}, {70, 150, 33, 20}, {130, 129, 64, 65}})
        runAndCheck({.Hq = 4, .Hkv = 2, .M = M, .N = N, .D = D, .Dv = Dv, .qType = Float::F64, .kvType = kvType}, *formula);
}
