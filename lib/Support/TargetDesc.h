// The machine a kernel is compiled for, described without LLVM so that it can be part of a cache key in a process that has no
// compiler.
#pragma once

#include "attnjit/Result.h"

#include <string>
#include <string_view>

namespace attnjit {

struct TargetDesc {
  enum class Kind { Cpu, Nvptx } kind = Kind::Cpu;
  std::string triple;   ///< x86_64-unknown-linux-gnu, aarch64-unknown-linux-gnu or nvptx64-nvidia-cuda
  std::string cpu;      ///< x86-64-v2, x86-64-v3, x86-64-v4, x86-64-v4+bf16, x86-64-v4+amx, aarch64 or sm_80, sm_90a ...
  int vectorBits = 256; ///< native vector width; CPU only
  int registers = 16;   ///< architectural vector registers; CPU only
  /// vdpbf16ps of AVX-512 BF16.
  bool hasBf16() const { return cpu.ends_with("+bf16") || hasAmx(); }
  /// AMX-TILE and AMX-BF16; implies hasBf16().
  bool hasAmx() const { return cpu.ends_with("+amx"); }
  bool isX86() const { return triple.starts_with("x86_64"); }
  bool isAArch64() const { return triple.starts_with("aarch64"); }
  /// Fused multiply-add and conversions of f16 are instructions. Older CPUs get them spelled out.
  bool hasFma() const { return cpu != "x86-64-v2"; }
  /// A machine that is `this` runs code for `other`; CPU only.
  bool runs(const TargetDesc &other) const;
  bool operator==(const TargetDesc &) const = default;
};

/// The best target this process can run, by cpuid. Where the CPU has AMX, the system is asked once for leave to use it (Linux: arch_prctl
/// ARCH_REQ_XCOMP_PERM, which holds for the whole process); without it the target is the next lower one. Unsupported on a CPU without
/// SSE4.2.
Result<TargetDesc> hostTarget();

/// What a kernel for a CPU target needs of it, comma separated: "avx2,fma,bmi2,f16c".
std::string_view requiredFeatures(const TargetDesc &target);

/// "native", "x86-64-v2", "x86-64-v3", "x86-64-v4", "x86-64-v4+bf16", "x86-64-v4+amx", "aarch64", "sm_80", "sm_89", "sm_90", "sm_90a",
/// "sm_100" ...; the error lists what is known.
Result<TargetDesc> parseTarget(std::string_view text);

} // namespace attnjit
