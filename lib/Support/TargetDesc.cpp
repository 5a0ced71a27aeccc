#include "Support/TargetDesc.h"

#include <array>
#include <cpuid.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace attnjit {

namespace {

constexpr std::string_view kCpuTriple = "x86_64-unknown-linux-gnu";
constexpr std::string_view kGpuTriple = "nvptx64-nvidia-cuda";
constexpr std::array<std::string_view, 10> kGpus = {"sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_90a", "sm_100", "sm_100a", "sm_120", "sm_120a"};

TargetDesc x86V3() { return {TargetDesc::Kind::Cpu, std::string(kCpuTriple), "x86-64-v3", 256, 16}; }
TargetDesc x86V4(std::string_view more = "") {
  return {TargetDesc::Kind::Cpu, std::string(kCpuTriple), fmt::format("x86-64-v4{}", more), 512, 32};
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

Result<TargetDesc> hostTarget() {
  // __builtin_cpu_supports also asks the operating system (XGETBV) whether it saves the wide registers.
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("f16c");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const Leaf7 leaf7;
  if (v4 && leaf7.hasAvx512Bf16() && leaf7.hasAmxBf16() && mayUseTiles())
    return x86V4("+amx");
  if (v4 && leaf7.hasAvx512Bf16() && Leaf7::isAvx512Bf16Fast())
    return x86V4("+bf16");
  if (v4)
    return x86V4();
  if (v3)
    return x86V3();
  return Error{ErrorCode::Unsupported, "this CPU has no AVX2, FMA, BMI2 and F16C (x86-64-v3), which attnjit's CPU kernels need"};
}

Result<TargetDesc> parseTarget(std::string_view text) {
  if (text == "native")
    return hostTarget();
  if (text == "x86-64-v3")
    return x86V3();
  for (std::string_view more : {"", "+bf16", "+amx"})
    if (text.starts_with("x86-64-v4") && text.substr(9) == more)
      return x86V4(more);
  for (std::string_view gpu : kGpus)
    if (text == gpu)
      return TargetDesc{TargetDesc::Kind::Nvptx, std::string(kGpuTriple), std::string(gpu), 0, 0};
  return Error{ErrorCode::InvalidArgument,
               fmt::format("unknown target '{}'; known are: native, native-gpu, x86-64-v3, x86-64-v4, x86-64-v4+bf16, x86-64-v4+amx, {}", text, fmt::join(kGpus, ", "))};
}

} // namespace attnjit
