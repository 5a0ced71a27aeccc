// The last step of a call: plan, launch, and what came of it.
#pragma once

#include "BlockMask/Planner.h"
#include "Engine/CallCheck.h"
#include "Engine/KernelImpl.h"

#include <chrono>
#include <memory>
#include <span>
#include <vector>

namespace attnjit::engine {

/// Whether a kernel was compiled for problems of this class. Error: InvalidArgument with the first difference.
Result<void> checkFits(const KernelImpl &kernel, const Problem &problem);

/// A call that is ready to run, with all that its kernel's arguments point to. Borrows the kernel, the mod and the call.
struct PreparedCall {
  const KernelImpl *kernel = nullptr;
  const ModImpl *mod = nullptr;
  const ForwardCall *call = nullptr;
  std::vector<CaptureArg> captures;
  std::vector<ScalarArg> scalars;
  std::vector<std::int64_t> pages;
  plan::Plan plan;
  bool hasRows = true;
  runtime::LaunchJob job;                               ///< of a kernel with code and rows
  std::unique_ptr<runtime::GpuArguments> gpu = nullptr; ///< of a kernel for a GPU, in place of job
  ForwardReport report;                                 ///< source and the times before the plan are left to the caller
  std::unique_ptr<const ForwardCall> ownCall = nullptr; ///< what `call` points to when it is not the user's
};

/// Builds the host plan if the mask wants one. `mod` is the formula that the captures of `checked` are bound to.
Result<PreparedCall> prepareLaunch(const KernelImpl &kernel, const ModImpl &mod, CheckedCall checked, const ForwardCall &call);

/// Computes the calls, all kernels in one parallel region of `threads` workers. Answers for all of them together: times and blocks are
/// sums. Error: of the first call that failed, which `failed` names.
Result<ForwardReport> launch(std::span<PreparedCall> calls, runtime::CpuLauncher &launcher, int threads, std::size_t &failed);

/// Error: IndexOutOfRange with the position of `status`; `captures` are their names (expr::listCaptures).
Error outOfRangeError(std::int64_t status, const KernelArgs &args, std::string_view captures);

/// Adds the report of one more group to that of several: sums, and the names of the pipelines that took part.
void addReport(ForwardReport &total, const ForwardReport &one);

/// Both functions of the memory hook or neither.
Result<void> checkHooks(const Hooks &hooks);

inline std::int64_t nanosecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start).count();
}

} // namespace attnjit::engine
