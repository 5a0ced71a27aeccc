#include "Runtime/CpuLauncher.h"

#include "Runtime/FunctionTable.h"
#include "Runtime/ThreadPool.h"

#include <algorithm>
#include <atomic>
#include <vector>
#include <xmmintrin.h>

namespace attnjit::runtime {

namespace {

/// Below this much work a second thread costs more to wake than it saves (about 20 us of one core).
constexpr double kFlopsPerWorker = 2e6;

/// Pieces that each worker should get to choose from, so that the last to finish is not far behind.
constexpr std::int64_t kPiecesPerWorker = 16;

/// Kernels count on round-to-nearest, gradual underflow and masked exceptions, whatever the calling thread has set: padding lanes may well
/// divide by zero, and results must not depend on which thread computes a tile (A11).
class DefaultFloatEnvironment {
public:
  DefaultFloatEnvironment() : saved(_mm_getcsr()) { _mm_setcsr(kDefault); }
  ~DefaultFloatEnvironment() { _mm_setcsr(saved); }

private:
  static constexpr unsigned kDefault = 0x1f80;
  unsigned saved;
};

/// Hands out runs of tiles: head after head (a head's keys and values stay in the cache), within a head from the last query tile to the
/// first. Under a causal mask late tiles cost most, so every head, and above all the last one, ends with the small pieces that even out the
/// finish.
class TileQueue {
public:
  TileQueue(const LaunchShape &shape, int workers) : tilesPerHead(shape.tilesPerHead) {
    const std::int64_t total = shape.heads * shape.tilesPerHead;
    grain = std::clamp<std::int64_t>(total / (kPiecesPerWorker * workers), 1, tilesPerHead);
    piecesPerHead = (tilesPerHead + grain - 1) / grain;
    pieces = shape.heads * piecesPerHead;
  }

  bool next(std::int64_t &begin, std::int64_t &end) {
    const std::int64_t piece = taken.fetch_add(1, std::memory_order_relaxed);
    if (piece >= pieces)
      return false;
    const std::int64_t head = piece / piecesPerHead, fromLast = piece % piecesPerHead;
    end = tilesPerHead - fromLast * grain;
    begin = std::max<std::int64_t>(0, end - grain);
    begin += head * tilesPerHead;
    end += head * tilesPerHead;
    return true;
  }

private:
  std::int64_t tilesPerHead, grain, piecesPerHead, pieces;
  std::atomic<std::int64_t> taken{0};
};

} // namespace

/// One buffer per worker, given back when the launch ends.
class CpuLauncher::Scratch {
public:
  explicit Scratch(WorkspacePool &pool) : pool(pool) {}
  ~Scratch() {
    for (WorkspacePool::Buffer buffer : buffers)
      pool.release(buffer);
  }
  Scratch(const Scratch &) = delete;
  Scratch &operator=(const Scratch &) = delete;

  /// Buffers for up to `workers`; answers for how many there was memory. Fails only if there is not even one.
  Result<int> acquire(int workers, std::size_t bytes) {
    buffers.reserve(static_cast<std::size_t>(workers));
    for (int worker = 0; worker < workers; ++worker) {
      Result<WorkspacePool::Buffer> buffer = pool.acquire(bytes);
      if (!buffer && worker == 0)
        return buffer.error();
      if (!buffer)
        return worker;
      buffers.push_back(*buffer);
    }
    return workers;
  }
  void *of(int worker) const { return buffers[static_cast<std::size_t>(worker)].memory; }

private:
  WorkspacePool &pool;
  std::vector<WorkspacePool::Buffer> buffers;
};

namespace {

int workersFor(const LaunchShape &shape, int threads) {
  const std::int64_t worth = static_cast<std::int64_t>(std::min(shape.flops / kFlopsPerWorker, 1e6));
  return static_cast<int>(std::clamp<std::int64_t>(std::min(worth, shape.tiles() * shape.parts), 1, std::max(1, threads)));
}

/// A buffer of the pool for as long as this lives.
class PooledBuffer {
public:
  PooledBuffer(WorkspacePool &pool, WorkspacePool::Buffer buffer) : pool(pool), buffer(buffer) {}
  ~PooledBuffer() { pool.release(buffer); }
  PooledBuffer(const PooledBuffer &) = delete;
  PooledBuffer &operator=(const PooledBuffer &) = delete;

private:
  WorkspacePool &pool;
  WorkspacePool::Buffer buffer;
};

/// Hands out the units of a launch with parts in runs, ascending: a run reads on where the one before it in memory ended.
class PartQueue {
public:
  PartQueue(std::int64_t units, int workers) : units(units), grain(std::max<std::int64_t>(1, units / (kPiecesPerWorker * workers))) {}

  bool next(std::int64_t &begin, std::int64_t &end) {
    begin = taken.fetch_add(grain, std::memory_order_relaxed);
    end = std::min(begin + grain, units);
    return begin < units;
  }

private:
  std::int64_t units, grain;
  std::atomic<std::int64_t> taken{0};
};

} // namespace

Result<LaunchResult> CpuLauncher::launch(CpuKernelFn kernel, KernelArgs args, const LaunchShape &shape, int threads) {
  const std::int64_t tiles = shape.tiles();
  if (tiles == 0)
    return LaunchResult{};

  // Kernels lower the word atomically; it is read here only after every worker has returned.
  alignas(64) std::int64_t status = kStatusOk;
  args.status = &status;
  args.functions = &functionTable();
  args.split = {shape.keysPerPart, shape.parts, nullptr};

  Scratch scratch(workspaces);
  Result<int> workers = scratch.acquire(workersFor(shape, threads), shape.workspaceBytes);
  if (!workers)
    return workers.error();
  Result<void> ran = shape.parts > 1 ? runParts(kernel, args, shape, scratch, *workers) : runTiles(kernel, args, shape, scratch, *workers);
  if (!ran)
    return ran.error();
  return LaunchResult{status, *workers};
}

Result<void> CpuLauncher::runTiles(CpuKernelFn kernel, const KernelArgs &args, const LaunchShape &shape, const Scratch &scratch,
                                   int workers) {
  if (workers == 1) {
    DefaultFloatEnvironment environment;
    kernel(&args, 0, shape.tiles(), scratch.of(0));
    return {};
  }
  TileQueue queue(shape, workers);
  return parallelFor(parallelForHook, workers, [&](int worker) {
    DefaultFloatEnvironment environment;
    for (std::int64_t begin, end; queue.next(begin, end);)
      kernel(&args, begin, end, scratch.of(worker));
  });
}

Result<void> CpuLauncher::runParts(CpuKernelFn kernel, KernelArgs args, const LaunchShape &shape, const Scratch &scratch, int workers) {
  const std::int64_t tiles = shape.tiles(), units = tiles * shape.parts;
  Result<WorkspacePool::Buffer> states = workspaces.acquire(static_cast<std::size_t>(units) * shape.stateBytes);
  if (!states)
    return states.error();
  const PooledBuffer pooled(workspaces, *states);
  args.split.states = states->memory;

  // Nobody waits for all parts: whoever returns from the last one of a tile has seen the states of the others and merges them.
  std::vector<std::atomic<std::int64_t>> partsLeft(static_cast<std::size_t>(tiles));
  for (std::atomic<std::int64_t> &left : partsLeft)
    left.store(shape.parts, std::memory_order_relaxed);
  const auto tileOf = [&](std::int64_t unit) {
    return unit / (shape.parts * shape.tilesPerHead) * shape.tilesPerHead + unit % shape.tilesPerHead;
  };
  PartQueue queue(units, workers);
  const auto work = [&](int worker) {
    DefaultFloatEnvironment environment;
    for (std::int64_t begin, end; queue.next(begin, end);) {
      kernel(&args, begin, end, scratch.of(worker));
      for (std::int64_t unit = begin; unit < end; ++unit) {
        const std::int64_t tile = tileOf(unit);
        if (partsLeft[static_cast<std::size_t>(tile)].fetch_sub(1, std::memory_order_acq_rel) == 1)
          kernel(&args, units + tile, units + tile + 1, scratch.of(worker));
      }
    }
  };
  if (workers > 1)
    return parallelFor(parallelForHook, workers, work);
  work(0);
  return {};
}

namespace {
/// A part should stream for longer than it takes to start one (a few microseconds): with 512 keys of 128 columns in f32 it is 512 KiB, 20
/// us or more.
constexpr std::int64_t kLeastPartKeys = 512;
/// Parts of a sequence, times its packed rows: enough parts for every core of a large machine, few enough that states are small beside K
/// and V.
constexpr std::int64_t kMostPartRows = 1024, kMostParts = 128, kFewestParts = 8;
} // namespace

std::int64_t keysPerPart(std::int64_t keys, std::int64_t rows, std::int64_t tileCols) {
  const std::int64_t most = std::clamp(kMostPartRows / std::max<std::int64_t>(rows, 1), kFewestParts, kMostParts);
  const std::int64_t least = std::max(kLeastPartKeys, keys / most + (keys % most != 0));
  return (least + tileCols - 1) / tileCols * tileCols;
}

StatusPosition decodeStatus(std::int64_t status, const KernelArgs &args) {
  StatusPosition position{};
  position.kv = status % args.N;
  status /= args.N;
  position.q = status % args.M;
  status /= args.M;
  position.h = status % args.Hq;
  position.b = status / args.Hq;
  return position;
}

} // namespace attnjit::runtime
