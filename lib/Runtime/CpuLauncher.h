// Runs a CPU kernel over all of its tiles, on as many threads as the work is worth.
#pragma once

#include "Runtime/Workspace.h"
#include "attnjit/Hooks.h"
#include "attnjit/KernelAbi.h"
#include "attnjit/Result.h"

#include <cstddef>
#include <cstdint>

namespace attnjit::runtime {

/// How a launch is cut up (KernelAbi.h).
struct LaunchShape {
  std::int64_t heads = 0;        ///< B * Hq; with parts B * Hkv
  std::int64_t tilesPerHead = 0; ///< ceil(M / tileRows); with parts rowTiles
  std::size_t workspaceBytes = 0;
  double flops = 0; ///< a guess of the whole work, used only to leave threads asleep

  std::int64_t keysPerPart = 0;
  std::int64_t parts = 1;     ///< per tile; 1 also for kernels whose units are tiles
  std::size_t stateBytes = 0; ///< of one unit
  std::int64_t tiles() const { return heads * tilesPerHead; }
};

/// Keys per part of a problem with `keys` keys and `rows` packed rows per kv head, for an image with blocks of `tileCols` keys: at least one. Batch and
/// heads do not count, so that a sequence gets the same bits whatever else is in its batch (A11); neither do threads.
std::int64_t keysPerPart(std::int64_t keys, std::int64_t rows, std::int64_t tileCols);

struct LaunchResult {
  std::int64_t status = kStatusOk; ///< as KernelArgs::status
  int workers = 1;
};

/// Hooks and scratch memory of an engine. Thread safe.
class CpuLauncher {
public:
  explicit CpuLauncher(const Hooks &hooks) : parallelForHook(hooks.parallelFor), workspaces(hooks.memory) {}

  /// Computes every tile. `args.status`, `args.functions` and `args.split` are set here; the rest is the caller's. At most `threads` workers.
  /// Results do not depend on the number of workers: only whole units are handed out, and a unit's result depends on nothing but its index. With
  /// parts the worker that returns from the last part of a tile merges the tile. Error: Unsupported when memory is out.
  Result<LaunchResult> launch(CpuKernelFn kernel, KernelArgs args, const LaunchShape &shape, int threads);

private:
  class Scratch;
  Result<void> runTiles(CpuKernelFn kernel, const KernelArgs &args, const LaunchShape &shape, const Scratch &scratch, int workers);
  Result<void> runParts(CpuKernelFn kernel, KernelArgs args, const LaunchShape &shape, const Scratch &scratch, int workers);

  ParallelForHook parallelForHook;
  WorkspacePool workspaces;
};

/// The position that a status code names.
struct StatusPosition {
  std::int64_t b, h, q, kv;
};
StatusPosition decodeStatus(std::int64_t status, const KernelArgs &args);

} // namespace attnjit::runtime
