// Runs a CPU kernel over all of its tiles, on as many threads as the work is worth.
#pragma once

#include "Runtime/Workspace.h"
#include "attnjit/Hooks.h"
#include "attnjit/KernelAbi.h"
#include "attnjit/Result.h"

#include <cstddef>
#include <cstdint>

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

/// Hooks and scratch memory of an engine. Thread safe.
class CpuLauncher {
public:
  explicit CpuLauncher(const Hooks &hooks) : parallelForHook(hooks.parallelFor), workspaces(hooks.memory) {}

  /// Computes every tile. `args.status` and `args.functions` are set here; the rest is the caller's. At most `threads` workers. Results do
  /// not depend on the number of workers: only whole tiles are handed out, and a tile's result depends on nothing but its index.
  Result<LaunchResult> launch(CpuKernelFn kernel, KernelArgs args, const LaunchShape &shape, int threads);

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
