#include "Support/TargetDesc.h"

#include <array>
#include <fmt/format.h>

namespace attnjit {

namespace {

constexpr std::string_view kCpuTriple = "x86_64-unknown-linux-gnu";
constexpr std::string_view kGpuTriple = "nvptx64-nvidia-cuda";
constexpr std::array<std::string_view, 10> kGpus = {"sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_90a", "sm_100", "sm_100a", "sm_120", "sm_120a"};

TargetDesc x86V3() { return {TargetDesc::Kind::Cpu, std::string(kCpuTriple), "x86-64-v3", 256, 16}; }
TargetDesc x86V4() { return {TargetDesc::Kind::Cpu, std::string(kCpuTriple), "x86-64-v4", 512, 32}; }

} // namespace

Result<TargetDesc> hostTarget() {
  // __builtin_cpu_supports also asks the operating system (XGETBV) whether it saves the wide registers.
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("f16c");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
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
  if (text == "x86-64-v4")
    return x86V4();
  for (std::string_view gpu : kGpus)
    if (text == gpu)
      return TargetDesc{TargetDesc::Kind::Nvptx, std::string(kGpuTriple), std::string(gpu), 0, 0};
  return Error{ErrorCode::InvalidArgument,
               fmt::format("unknown target '{}'; known are: native, x86-64-v3, x86-64-v4, {}", text, fmt::join(kGpus, ", "))};
}

} // namespace attnjit
