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

/// How a launch is cut up (KernelAbi.h).
struct LaunchShape {
  std::int64_t heads = 0;        ///< B * Hq; with parts B * Hkv
  std::int64_t tilesPerHead = 0; ///< ceil(M / tileRows); with parts rowTiles
  std::size_t workspaceBytes = 0;
  double flops = 0; ///< a guess of the whole work, used only to leave threads asleep

  std::int64_t keysPerPart = 0;
  std::int64_t parts = 1;     ///< per tile; 1 also for kernels whose units are tiles
  std::size_t stateBytes = 0; ///< of one unit
  int rounds = 1;             ///< over all parts, one after the other
  std::int64_t tiles() const { return heads * tilesPerHead; }
  std::int64_t units() const { return tiles() * parts; } ///< of a round, merges not counted
};

/// Keys per part of a problem with `keys` keys and `rows` packed rows per kv head, for an image with blocks of `tileCols` keys: at least
/// one. Batch and heads do not count, so that a sequence gets the same bits whatever else is in its batch (A11); neither do threads.
std::int64_t keysPerPart(std::int64_t keys, std::int64_t rows, std::int64_t tileCols);

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

  /// Computes every tile of every job in one parallel region per round; answers for the number of workers. `args.status`, `args.functions`
  /// and `args.split` are set here; the rest is the caller's. At most `threads` workers. Results do not depend on the number of workers or
  /// on the other jobs: only whole units are handed out, and a unit's result depends on nothing but its job and its index. With parts the
  /// worker that returns from the last part of a tile in a round merges the tile. Error: Unsupported when memory is out.
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
