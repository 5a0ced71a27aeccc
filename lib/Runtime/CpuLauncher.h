// Runs a CPU kernel over all of its tiles, on as many threads as the work is worth.
#pragma once

#include "Runtime/Workspace.h"
#include "attnjit/Hooks.h"
#include "attnjit/KernelAbi.h"
#include "attnjit/Result.h"

#include <cstddef>
#include <cstdint>
#include <span>

namespace attnjit::runtime {

/// How a launch is cut up.
struct LaunchShape {
  std::int64_t heads = 0;        ///< B * Hq
  std::int64_t tilesPerHead = 0; ///< ceil(M / tileRows)
  std::size_t workspaceBytes = 0;
  double flops = 0; ///< a guess of the whole work, used only to leave threads asleep
};

struct LaunchResult {
  std::int64_t status = kStatusOk; ///< as KernelArgs::status
  int workers = 1;
};

/// One kernel with its arguments; several make a group. `status` is set by the launch, as KernelArgs::status.
struct LaunchJob {
  CpuKernelFn kernel = nullptr;
  KernelArgs args{};
  LaunchShape shape;
  std::int64_t status = kStatusOk;
};

/// Hooks and scratch memory of an engine. Thread safe.
class CpuLauncher {
public:
  explicit CpuLauncher(const Hooks &hooks) : parallelForHook(hooks.parallelFor), workspaces(hooks.memory) {}

  /// Computes every tile of every job in one parallel region; answers for the number of workers. `args.status` and `args.functions` are set
  /// here; the rest is the caller's. At most `threads` workers. Results do not depend on the number of workers or on the other jobs: only
  /// whole tiles are handed out, and a tile's result depends on nothing but its job and its index.
  Result<int> launch(std::span<LaunchJob> jobs, int threads);

  /// A group of one.
  Result<LaunchResult> launch(CpuKernelFn kernel, const KernelArgs &args, const LaunchShape &shape, int threads);

private:
  ParallelForHook parallelForHook;
  WorkspacePool workspaces;
};

/// The position that a status code names.
struct StatusPosition {
  std::int64_t b, h, q, kv;
};
StatusPosition decodeStatus(std::int64_t status, const KernelArgs &args);

} // namespace attnjit::runtime
