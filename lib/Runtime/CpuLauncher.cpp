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

/// Hands out runs of tiles: job after job, head after head (a head's keys and values stay in the cache), within a head from the last query
/// tile to the first. Under a causal mask late tiles cost most, so every head, and above all the last one, ends with the small pieces that
/// even out the finish.
class TileQueue {
public:
  TileQueue(std::span<LaunchJob> jobs, std::int64_t tiles, int workers)
      : jobs(jobs), grain(std::max<std::int64_t>(1, tiles / (kPiecesPerWorker * workers))) {
    pieceEnds.reserve(jobs.size());
    for (const LaunchJob &job : jobs)
      pieceEnds.push_back((pieceEnds.empty() ? 0 : pieceEnds.back()) + job.shape.heads * piecesPerHead(job.shape));
  }

  bool next(LaunchJob *&job, std::int64_t &begin, std::int64_t &end) {
    std::int64_t piece = taken.fetch_add(1, std::memory_order_relaxed);
    if (piece >= pieceEnds.back())
      return false;
    const auto place = std::upper_bound(pieceEnds.begin(), pieceEnds.end(), piece) - pieceEnds.begin();
    job = &jobs[static_cast<std::size_t>(place)];
    piece -= place == 0 ? 0 : pieceEnds[static_cast<std::size_t>(place - 1)];
    const std::int64_t perHead = piecesPerHead(job->shape), tilesPerHead = job->shape.tilesPerHead;
    const std::int64_t head = piece / perHead, fromLast = piece % perHead;
    end = tilesPerHead - fromLast * grain;
    begin = std::max<std::int64_t>(0, end - grain);
    begin += head * tilesPerHead;
    end += head * tilesPerHead;
    return true;
  }

private:
  std::int64_t piecesPerHead(const LaunchShape &shape) const { return (shape.tilesPerHead + grain - 1) / grain; }

  std::span<LaunchJob> jobs;
  const std::int64_t grain;
  std::vector<std::int64_t> pieceEnds; ///< one past the last piece of each job
  std::atomic<std::int64_t> taken{0};
};

/// One buffer per worker, given back when the launch ends.
class Scratch {
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

int workersFor(double flops, std::int64_t tiles, int threads) {
  const std::int64_t worth = static_cast<std::int64_t>(std::min(flops / kFlopsPerWorker, 1e6));
  return static_cast<int>(std::clamp<std::int64_t>(std::min(worth, tiles), 1, std::max(1, threads)));
}

} // namespace

Result<int> CpuLauncher::launch(std::span<LaunchJob> jobs, int threads) {
  std::int64_t tiles = 0;
  std::size_t workspaceBytes = 0;
  double flops = 0;
  for (LaunchJob &job : jobs) {
    // Kernels lower the word atomically; it is read only after every worker has returned.
    job.status = kStatusOk;
    job.args.status = &job.status;
    job.args.functions = &functionTable();
    tiles += job.shape.heads * job.shape.tilesPerHead;
    workspaceBytes = std::max(workspaceBytes, job.shape.workspaceBytes);
    flops += job.shape.flops;
  }
  if (tiles == 0)
    return 1;

  Scratch scratch(workspaces);
  Result<int> workers = scratch.acquire(workersFor(flops, tiles, threads), workspaceBytes);
  if (!workers)
    return workers.error();

  if (*workers == 1) {
    DefaultFloatEnvironment environment;
    for (const LaunchJob &job : jobs)
      if (const std::int64_t own = job.shape.heads * job.shape.tilesPerHead; own > 0)
        job.kernel(&job.args, 0, own, scratch.of(0));
    return 1;
  }

  TileQueue queue(jobs, tiles, *workers);
  Result<void> ran = parallelFor(parallelForHook, *workers, [&](int worker) {
    DefaultFloatEnvironment environment;
    LaunchJob *job = nullptr;
    for (std::int64_t begin, end; queue.next(job, begin, end);)
      job->kernel(&job->args, begin, end, scratch.of(worker));
  });
  if (!ran)
    return ran.error();
  return *workers;
}

Result<LaunchResult> CpuLauncher::launch(CpuKernelFn kernel, const KernelArgs &args, const LaunchShape &shape, int threads) {
  LaunchJob job{kernel, args, shape};
  Result<int> workers = launch({&job, 1}, threads);
  if (!workers)
    return workers.error();
  return LaunchResult{job.status, *workers};
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
