// Calls functions that were made ahead of time for GPUs (functions.sh), with what a program has that links libattnjit and no compiler, and
// compares with the definition in double. Usage: aot-on-gpu     Exit status: 0 all right, 1 something is wrong, 77 no GPU
#include "Driver.h"
#include "Problem.h"
#include "documents.h"
#include "few_bf16.h"
#include "of_bf16.h"
#include "of_bf16_sm80.h"
#include "of_f32.h"

#include <string>

using namespace gpu;

namespace {

constexpr std::int64_t kWindow = 19;
constexpr double kGain = 0.75;
constexpr float kSlopes[] = {0.5f, 0.25f, 0.125f, 0.0625f};

/// The functions of one header.
template <typename Args> struct Functions {
  const char *name;
  int (*run)(const Args *);
  int (*status)();
  const char *(*error)();
  const char *(*target)();
};
#define FUNCTIONS(NAME)                                                                                                                    \
  Functions<NAME##_args> { #NAME, NAME, NAME##_status, NAME##_error, NAME##_target }

template <typename T> struct OnDevice {
  OnDevice(const Driver &driver, const Operands<T> &operands)
      : driver(driver), operands(operands), q(driver, operands.q), k(driver, operands.k), v(driver, operands.v),
        out(driver, chance<T>(static_cast<std::int64_t>(operands.q.size()), 4)), lse(driver, chance<float>(rows(), 5)) {}

  std::int64_t rows() const { return operands.sizes.B * operands.sizes.Hq * operands.sizes.M; }

  template <typename Args> Args arguments() const {
    const auto [B, Hq, Hkv, M, N, D] = operands.sizes;
    Args args{};
    args.B = B, args.Hq = Hq, args.Hkv = Hkv, args.M = M, args.N = N;
    args.q = attnjit_aot_dense(q.data(), Hq, M, D), args.out = attnjit_aot_dense(out.data(), Hq, M, D);
    args.k = attnjit_aot_dense(k.data(), Hkv, N, D), args.v = attnjit_aot_dense(v.data(), Hkv, N, D);
    args.lse = {lse.data(), {Hq * M, M, 1, 0}};
    args.stream = driver.stream;
    return args;
  }

  const Driver &driver;
  const Operands<T> &operands;
  Memory<T> q, k, v, out;
  Memory<float> lse;
};

/// The call, its end, and what the function says about both.
template <typename Args> bool runs(const Driver &driver, const Functions<Args> &functions, const Args &args, int run, int status) {
  const int got = functions.run(&args);
  driver.wait();
  const int later = got == ATTNJIT_AOT_OK ? functions.status() : status;
  if (got == run && later == status && (got == 0 && later == 0) == (*functions.error() == '\0'))
    return true;
  std::printf("FAILED %s: status %d and %d, expected %d and %d; error '%s'\n", functions.name, got, later, run, status, functions.error());
  return false;
}

bool hasTarget(const char *name, const char *target, int capability, bool onlySm80) {
  const char *expected = capability == 90 && !onlySm80 ? "sm_90a" : "sm_80";
  if (target && std::string(target) == expected)
    return true;
  std::printf("FAILED %s: target %s, expected %s\n", name, target ? target : "none", expected);
  return false;
}

/// Slopes in memory of the host, and again in memory of the GPU; with too few of them; and what the function was not compiled for.
template <typename T, typename Args> bool check(const Driver &driver, const Functions<Args> &functions, const Sizes &sizes) {
  const std::int64_t shift = sizes.N - sizes.M; // negative: the first rows see no key
  const Formulas formulas{[&](double score, std::int64_t h, std::int64_t q, std::int64_t kv) {
                            return kGain * score + static_cast<double>(kSlopes[h]) * static_cast<double>(kv - q - shift);
                          },
                          [&](std::int64_t q, std::int64_t kv) { return q + shift >= kv && q + shift - kv < kWindow; }};
  const Operands<T> operands(sizes);
  const OnDevice<T> device(driver, operands);
  const Memory<float> slopes(driver, std::vector<float>(std::begin(kSlopes), std::end(kSlopes)));
  Args args = device.template arguments<Args>();
  args.numbers.window = kWindow, args.numbers.gain = kGain, args.numbers.shift = shift;
  std::int64_t count = sizes.Hq;
  bool right = true;
  for (const float *data : {kSlopes, static_cast<const float *>(slopes.data())}) {
    args.tensors.slope = attnjit_aot_dense_tensor(data, 1, &count);
    right &= runs(driver, functions, args, ATTNJIT_AOT_OK, ATTNJIT_AOT_OK) &&
             isRight(functions.name, operands, formulas, device.out.values(), device.lse.values());
  }
  Args wrong = args;
  wrong.tensors.slope.sizes[0] = count - 1;
  right &= runs(driver, functions, wrong, ATTNJIT_AOT_OK, ATTNJIT_AOT_INDEX_OUT_OF_RANGE);
  wrong = args, wrong.q.strides[3] = 2;
  right &= runs(driver, functions, wrong, ATTNJIT_AOT_BAD_ARGUMENTS, ATTNJIT_AOT_OK);
  wrong = args, wrong.q.data = operands.q.empty() ? nullptr : const_cast<T *>(operands.q.data());
  return right & runs(driver, functions, wrong, ATTNJIT_AOT_BAD_ARGUMENTS, ATTNJIT_AOT_OK); // memory of the host
}

/// A mask of a captured tensor alone: libattnjit plans by it which blocks of keys the GPU reads.
bool checkDocuments(const Driver &driver) {
  constexpr std::int64_t kLength = 777;
  std::vector<std::int32_t> document;
  for (std::int64_t i = 0; i < kLength; ++i)
    document.push_back(static_cast<std::int32_t>((i * i) / 100000));
  const Formulas formulas{
      [](double score, std::int64_t, std::int64_t, std::int64_t) { return score; },
      [&](std::int64_t q, std::int64_t kv) { return document[static_cast<std::size_t>(q)] == document[static_cast<std::size_t>(kv)]; }};
  const auto functions = FUNCTIONS(documents);
  const Operands<Bf16> operands({2, 4, 2, kLength, kLength, 64});
  const OnDevice<Bf16> device(driver, operands);
  auto args = device.arguments<documents_args>();
  args.tensors.doc = attnjit_aot_dense_tensor(document.data(), 1, &kLength);
  return hasTarget(functions.name, functions.target(), driver.capability(), false) &&
         runs(driver, functions, args, ATTNJIT_AOT_OK, ATTNJIT_AOT_OK) &&
         isRight(functions.name, operands, formulas, device.out.values(), device.lse.values());
}

template <typename T, typename Args>
bool checkAll(const Driver &driver, const Functions<Args> &functions, std::int64_t D, bool onlySm80 = false) {
  bool right = hasTarget(functions.name, functions.target(), driver.capability(), onlySm80);
  for (auto [M, N] : {std::pair<std::int64_t, std::int64_t>{37, 53}, {3, 2001}, {200, 131}})
    right &= check<T>(driver, functions, {2, 4, 2, M, N, D});
  return right;
}

} // namespace

int main() {
  Driver driver;
  std::string reason;
  if (!driver.open(reason) || driver.capability() < 80) {
    std::printf("skipped: %s\n", reason.empty() ? "the GPU is older than an sm_80" : reason.c_str());
    return 77;
  }
  bool right = checkAll<Bf16>(driver, FUNCTIONS(of_bf16), 64);
  right &= checkAll<Bf16>(driver, FUNCTIONS(of_bf16_sm80), 64, /*onlySm80=*/true);
  right &= checkAll<float>(driver, FUNCTIONS(of_f32), 24);
  right &= checkAll<Bf16>(driver, FUNCTIONS(few_bf16), 64);
  right &= checkDocuments(driver);
  return right ? 0 : 1;
}
