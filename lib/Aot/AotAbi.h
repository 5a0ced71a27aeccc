// What objects made ahead of time and libattnjit say to each other, and how the struct that their callers fill is laid out. Any change here
// is a new kAotVersion.
#pragma once

#include "attnjit/KernelAbi.h"

#include <cstddef>
#include <cstdint>

namespace attnjit::aot {

inline constexpr std::uint32_t kAotVersion = 1;

/// What NAME_args begins with. Captured tensors (CaptureArg), then captured numbers (ScalarArg) follow.
struct CallArgs {
  std::int64_t B, Hq, Hkv, M, N;
  double scale; ///< 0: 1 / sqrt(D)
  OperandArg q, k, v, out, lse, max, sinks;
  DescaleArg qDescale, kDescale, vDescale;
  // Of kind Runtime alone:
  std::int64_t threads;
  void *stream;
};

inline constexpr std::size_t kBareCallBytes = offsetof(CallArgs, threads), kRuntimeCallBytes = sizeof(CallArgs);

// Both kinds copy what KernelArgs begins with as it lies.
static_assert(offsetof(CallArgs, scale) == offsetof(KernelArgs, scale) && offsetof(CallArgs, sinks) == offsetof(KernelArgs, sinks));
static_assert(offsetof(CallArgs, qDescale) == offsetof(KernelArgs, captures));
static_assert(sizeof(CallArgs) - offsetof(CallArgs, qDescale) == 3 * sizeof(DescaleArg) + 16);

/// How a call ended, in C: enum attnjit_aot_status.
enum Status : int { kOk = 0, kIndexOutOfRange = 1, kBadArguments = 2, kNoTarget = 3, kFailed = 4 };

/// What an object of kind Runtime hands over with each call. `loaded` starts as null and is libattnjit's.
struct Artefact {
  std::uint64_t version;
  const void *images;
  std::uint64_t imagesBytes;
  void *loaded;
};

} // namespace attnjit::aot

extern "C" {
/// A call of NAME. A Status.
int attnjit_aot_run(attnjit::aot::Artefact *artefact, const void *args);
/// What went wrong in the last call of this thread; "" after one that did not.
const char *attnjit_aot_error();
/// Of a GPU, when the caller has waited for the stream of the last call of this thread: whether a captured tensor was indexed out of range
/// in it (A10), which attnjit_aot_error() then describes. A Status.
int attnjit_aot_status();
/// The target of the image that calls use, loaded if need be; null if there is none for this machine.
const char *attnjit_aot_target(attnjit::aot::Artefact *artefact);
/// Forgets what was loaded. No call of the artefact may run.
void attnjit_aot_release(attnjit::aot::Artefact *artefact);
}
