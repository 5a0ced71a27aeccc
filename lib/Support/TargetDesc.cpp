#include "Support/TargetDesc.h"

#include <algorithm>
#include <array>
#include <cpuid.h>
#include <fmt/format.h>
#include <iterator>
#include <sys/syscall.h>
#include <unistd.h>

namespace attnjit {

namespace {

constexpr std::string_view kX86Triple = "x86_64-unknown-linux-gnu", kArmTriple = "aarch64-unknown-linux-gnu";
constexpr std::string_view kGpuTriple = "nvptx64-nvidia-cuda";
constexpr std::array<std::string_view, 10> kGpus = {"sm_80",  "sm_86",  "sm_87",   "sm_89",  "sm_90",
                                                    "sm_90a", "sm_100", "sm_100a", "sm_120", "sm_120a"};

struct CpuRow {
  std::string_view name, triple;
  int vectorBits, registers;
  std::string_view features;
};
constexpr CpuRow kCpus[] = {
    {"x86-64-v2", kX86Triple, 128, 16, "sse4.2,ssse3,popcnt"},
    {"x86-64-v3", kX86Triple, 256, 16, "avx2,fma,bmi2,f16c"},
    {"x86-64-v4", kX86Triple, 512, 32, "avx2,fma,bmi2,f16c,avx512f,avx512bw,avx512cd,avx512dq,avx512vl"},
    {"x86-64-v4+bf16", kX86Triple, 512, 32, "avx2,fma,bmi2,f16c,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16"},
    {"x86-64-v4+amx", kX86Triple, 512, 32, "avx2,fma,bmi2,f16c,avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16"},
    {"aarch64", kArmTriple, 128, 32, "neon"},
};

const CpuRow *findCpu(std::string_view name) {
  const auto *found = std::find_if(std::begin(kCpus), std::end(kCpus), [&](const CpuRow &row) { return row.name == name; });
  return found == std::end(kCpus) ? nullptr : found;
}

TargetDesc describe(const CpuRow &row) {
  return {TargetDesc::Kind::Cpu, std::string(row.triple), std::string(row.name), row.vectorBits, row.registers};
}

/// Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, CPUID, leaf 7.
struct Leaf7 {
  unsigned edx = 0, eax1 = 0;

  Leaf7() {
    unsigned eax = 0, ebx = 0, ecx = 0;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && eax >= 1)
      __get_cpuid_count(7, 1, &eax1, &ebx, &ecx, &eax);
  }
  bool hasAvx512Bf16() const { return eax1 >> 5 & 1; }
  /// AMD's processors take a vdpbf16ps every cycle, as an FMA. Intel's (Sapphire Rapids) take several: there it gains nothing over AVX-512.
  static bool isAvx512Bf16Fast() { return __builtin_cpu_is("amd"); }
  bool hasAmxBf16() const { return (edx >> 22 & 1) && (edx >> 24 & 1); }
};

/// Tile registers have to be asked for: https://docs.kernel.org/arch/x86/xstate.html
bool mayUseTiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  static const bool granted = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return granted;
}

} // namespace

bool TargetDesc::runs(const TargetDesc &other) const {
  return triple == other.triple && vectorBits >= other.vectorBits && hasBf16() >= other.hasBf16() && hasAmx() >= other.hasAmx();
}

std::string_view requiredFeatures(const TargetDesc &target) {
  const CpuRow *row = findCpu(target.cpu);
  return row ? row->features : std::string_view();
}

Result<TargetDesc> hostTarget() {
  // __builtin_cpu_supports also asks the operating system (XGETBV) whether it saves the wide registers.
  __builtin_cpu_init();
  const bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("ssse3") && __builtin_cpu_supports("popcnt");
  const bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
                  __builtin_cpu_supports("f16c");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const Leaf7 leaf7;
  if (v4 && leaf7.hasAvx512Bf16() && leaf7.hasAmxBf16() && mayUseTiles())
    return parseTarget("x86-64-v4+amx");
  if (v4 && leaf7.hasAvx512Bf16() && Leaf7::isAvx512Bf16Fast())
    return parseTarget("x86-64-v4+bf16");
  if (v4)
    return parseTarget("x86-64-v4");
  if (v3)
    return parseTarget("x86-64-v3");
  if (v2)
    return parseTarget("x86-64-v2");
  return Error{ErrorCode::Unsupported, "this CPU has no SSE4.2 (x86-64-v2), which attnjit's CPU kernels need"};
}

Result<TargetDesc> parseTarget(std::string_view text) {
  if (text == "native")
    return hostTarget();
  if (const CpuRow *row = findCpu(text))
    return describe(*row);
  for (std::string_view gpu : kGpus)
    if (text == gpu)
      return TargetDesc{TargetDesc::Kind::Nvptx, std::string(kGpuTriple), std::string(gpu), 0, 0};
  std::string cpus;
  for (const CpuRow &row : kCpus)
    cpus += fmt::format("{}, ", row.name);
  return Error{ErrorCode::InvalidArgument,
               fmt::format("unknown target '{}'; known are: native, native-gpu, {}{}", text, cpus, fmt::join(kGpus, ", "))};
}

} // namespace attnjit
