// An embedder's own launcher for what convert-attn-to-gpu leaves: it knows attnjit/KernelAbi.h and the CUDA driver, nothing else of ours.
// Its input is attention.mlir after gpu-module-to-binary, as modules.sh makes it; results are compared with the definition in double.
// Usage: launch-module FILE...     Exit status: 0 all right, 1 something is wrong, 77 no GPU
#include "Driver.h"
#include "Problem.h"
#include "attnjit/KernelAbi.h"

#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

using namespace gpu;

namespace {

//===- What the module says -------------------------------------------------------------------------------------------------===//

struct Kernel {
  std::string ptx;
  std::int64_t tileRows = 0, threadsPerBlock = 0, sharedBytes = 0;
};

std::string_view after(std::string_view text, std::string_view what) {
  const std::size_t at = text.find(what);
  if (at == std::string_view::npos) {
    std::fprintf(stderr, "the module has no '%s'\n", std::string(what).c_str());
    std::exit(1);
  }
  return text.substr(at + what.size());
}

std::int64_t numberAfter(std::string_view text, std::string_view name) {
  return std::strtoll(after(text, std::string(name) + " = ").data(), nullptr, 10);
}

/// A string of MLIR's, up to its quote: \0A is the character of that code.
std::string unquoted(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size() && text[i] != '"'; ++i) {
    if (text[i] != '\\') {
      result += text[i];
    } else if (text[i + 1] == '\\') {
      result += text[++i];
    } else {
      result += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    }
  }
  return result;
}

/// The kernel of the declaration that takes `operand`.
Kernel kernelFor(std::string_view module, const std::string &operand) {
  std::string_view line = module; // of the declaration
  do {
    line = after(line, "func.func private @");
  } while (!line.substr(line.find('(') + 1).starts_with(operand));
  line = line.substr(0, line.find('\n'));
  const std::string_view symbol = after(line, "attnjit.kernel = @");
  const std::string binary(symbol.substr(0, symbol.find("::")));
  return {unquoted(after(after(module, "gpu.binary @" + binary + " "), "assembly = \"")), numberAfter(line, "attnjit.tile_rows"),
          numberAfter(line, "attnjit.threads_per_block"), numberAfter(line, "attnjit.shared_bytes")};
}

//===- The launcher ---------------------------------------------------------------------------------------------------------===//

class Launcher {
public:
  Launcher(const Driver &driver, const Kernel &kernel) : driver(driver), kernel(kernel) {
    void *loaded = nullptr;
    driver.call("cuModuleLoadData", &loaded, static_cast<const void *>(kernel.ptx.c_str()));
    driver.call("cuModuleGetFunction", &function, loaded, "attention");
    driver.call("cuFuncSetAttribute", function, 8, static_cast<int>(kernel.sharedBytes)); // dynamic shared memory, at most
  }

  void launch(const attnjit::KernelArgs &args) const {
    const std::int64_t blocks = args.B * args.Hq * ((args.M + kernel.tileRows - 1) / kernel.tileRows);
    const void *parameters[] = {&args};
    driver.call("cuLaunchKernel", function, static_cast<unsigned>(blocks), 1u, 1u, static_cast<unsigned>(kernel.threadsPerBlock), 1u, 1u,
                static_cast<unsigned>(kernel.sharedBytes), driver.stream, static_cast<const void **>(parameters),
                static_cast<void **>(nullptr));
  }

private:
  const Driver &driver;
  const Kernel &kernel;
  void *function = nullptr;
};

template <typename T> attnjit::OperandArg dense(T *data, std::int64_t heads, std::int64_t rows, std::int64_t columns) {
  return {data, {heads * rows * columns, rows * columns, columns, 1}};
}

//===- The cases ------------------------------------------------------------------------------------------------------------===//

/// Where the tile lies within the whole, and the numbers of the formulas.
constexpr std::int64_t kFirstHead = 1, kWindow = 19;
constexpr double kGain = 0.75;

double slopeOf(std::int64_t h) { return std::exp2(-static_cast<double>(h)); }

/// With the first query at position `firstQuery`; negative, rows before position 0 see no key.
template <typename T>
bool check(const Driver &driver, const Launcher &launcher, const char *name, const Sizes &sizes, std::int64_t firstQuery) {
  const Formulas formulas{[&](double score, std::int64_t h, std::int64_t q, std::int64_t kv) {
                            return kGain * score + slopeOf(kFirstHead + h) * static_cast<double>(kv - q - firstQuery);
                          },
                          [&](std::int64_t q, std::int64_t kv) { return q + firstQuery >= kv && q + firstQuery - kv < kWindow; }};
  const Operands<T> operands(sizes);
  const auto [B, Hq, Hkv, M, N, D] = sizes;
  std::vector<float> slopes;
  for (std::int64_t h = 0; h < kFirstHead + Hq; ++h)
    slopes.push_back(static_cast<float>(slopeOf(h)));
  const Memory<T> q(driver, operands.q), k(driver, operands.k), v(driver, operands.v), out(driver, chance<T>(B * Hq * M * D, 4));
  const Memory<float> lse(driver, chance<float>(B * Hq * M, 5)), slope(driver, slopes);

  // What the pointers lead to is the device's, tables too. Numbers are the op's and then its offsets.
  attnjit::CaptureArg capture{slope.data(), {static_cast<std::int64_t>(slopes.size())}, {1}};
  std::vector<attnjit::ScalarArg> numbers(5);
  numbers[0].f = kGain, numbers[1].i = kWindow, numbers[2].i = 0, numbers[3].i = kFirstHead, numbers[4].i = firstQuery;
  const Memory<attnjit::CaptureArg> captures(driver, {capture});
  const Memory<attnjit::ScalarArg> scalars(driver, numbers);
  const Memory<std::int64_t> status(driver, {attnjit::kStatusOk});

  attnjit::KernelArgs args{};
  args.B = B, args.Hq = Hq, args.Hkv = Hkv, args.M = M, args.N = N;
  args.scale = 1 / std::sqrt(static_cast<double>(D));
  args.q = dense(q.data(), Hq, M, D), args.out = dense(out.data(), Hq, M, D);
  args.k = dense(k.data(), Hkv, N, D), args.v = dense(v.data(), Hkv, N, D);
  args.lse = {lse.data(), {Hq * M, M, 1, 0}};
  args.captures = captures.data(), args.scalars = scalars.data(), args.status = status.data();
  launcher.launch(args);
  if (!isRight(name, operands, formulas, out.values(), lse.values()) || status.values()[0] != attnjit::kStatusOk)
    return false;

  // Without a slope for the last head: the first visible position there is what the status says.
  capture.sizes[0] -= 1;
  const Memory<attnjit::CaptureArg> tooFew(driver, {capture});
  args.captures = tooFew.data();
  launcher.launch(args);
  std::int64_t expected = attnjit::kStatusOk;
  for (std::int64_t m = 0; m < M && expected == attnjit::kStatusOk; ++m)
    for (std::int64_t n = 0; n < N && expected == attnjit::kStatusOk; ++n)
      if (formulas.isVisible(m, n))
        expected = ((Hq - 1) * M + m) * N + n; // of batch 0
  const std::int64_t got = status.values()[0];
  if (got != expected)
    std::printf("FAILED %s: status %lld of a tensor that is too short, expected %lld\n", name, static_cast<long long>(got),
                static_cast<long long>(expected));
  return got == expected;
}

template <typename T>
bool checkAll(const Driver &driver, const std::string &module, const std::string &operand, const std::string &name, std::int64_t D) {
  const Kernel kernel = kernelFor(module, operand);
  const Launcher launcher(driver, kernel);
  bool right = true;
  for (auto [M, N] : {std::pair<std::int64_t, std::int64_t>{37, 53}, {1, 301}, {200, 131}})
    right &= check<T>(driver, launcher, name.c_str(), {2, 4, 2, M, N, D}, N - M);
  return right & check<T>(driver, launcher, name.c_str(), {1, 3, 1, 65, 64, D}, 0);
}

} // namespace

int main(int count, char **files) {
  Driver driver;
  std::string reason;
  if (!driver.open(reason)) {
    std::printf("skipped: %s\n", reason.c_str());
    return 77;
  }
  bool right = count > 1;
  for (int i = 1; i < count; ++i) {
    std::ifstream stream(files[i]);
    const std::string module((std::istreambuf_iterator<char>(stream)), {}), name(files[i]), stem = name.substr(name.rfind('/') + 1);
    right &= checkAll<Bf16>(driver, module, "memref<?x?x?x64xbf16>", stem + ", bf16", 64);
    right &= checkAll<float>(driver, module, "memref<?x?x?x24xf32>", stem + ", f32", 24);
  }
  return right ? 0 : 1;
}
