#include "Runtime/CpuLauncher.h"

#include "Runtime/FunctionTable.h"
#include "Runtime/ThreadPool.h"

#include <algorithm>
#include <atomic>
#include <utility>
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

/// Hands out runs of units of one round: job after job. Tiles go head after head (a head's keys and values stay in the cache), within a
/// head from the last query tile to the first: under a causal mask late tiles cost most, so every head, and above all the last one, ends
/// with the small pieces that even out the finish. Parts go in ascending order: a run reads on where the one before it in memory ended.
class UnitQueue {
public:
  UnitQueue(std::span<LaunchJob> jobs, int round, std::int64_t units, int workers)
      : jobs(jobs), round(round), grain(std::max<std::int64_t>(1, units / (kPiecesPerWorker * workers))) {
    pieceEnds.reserve(jobs.size());
    for (const LaunchJob &job : jobs)
      pieceEnds.push_back((pieceEnds.empty() ? 0 : pieceEnds.back()) + pieces(job.shape));
  }

  /// Units [begin, end) of job `job`.
  bool next(std::size_t &job, std::int64_t &begin, std::int64_t &end) {
    std::int64_t piece = taken.fetch_add(1, std::memory_order_relaxed);
    if (piece >= pieceEnds.back())
      return false;
    job = static_cast<std::size_t>(std::upper_bound(pieceEnds.begin(), pieceEnds.end(), piece) - pieceEnds.begin());
    piece -= job == 0 ? 0 : pieceEnds[job - 1];
    const LaunchShape &shape = jobs[job].shape;
    if (shape.parts > 1) {
      begin = piece * grain;
      end = std::min(begin + grain, shape.units());
      return true;
    }
    const std::int64_t perHead = ceilDiv(shape.tilesPerHead), head = piece / perHead, fromLast = piece % perHead;
    end = shape.tilesPerHead - fromLast * grain;
    begin = std::max<std::int64_t>(0, end - grain);
    begin += head * shape.tilesPerHead;
    end += head * shape.tilesPerHead;
    return true;
  }

private:
  std::int64_t ceilDiv(std::int64_t units) const { return (units + grain - 1) / grain; }
  std::int64_t pieces(const LaunchShape &shape) const {
    if (round >= shape.rounds)
      return 0;
    return shape.parts > 1 ? ceilDiv(shape.units()) : shape.heads * ceilDiv(shape.tilesPerHead);
  }

  std::span<LaunchJob> jobs;
  const int round;
  const std::int64_t grain;
  std::vector<std::int64_t> pieceEnds; ///< one past the last piece of each job
  std::atomic<std::int64_t> taken{0};
};

/// Where the parts of one job meet: their states, and how many of each tile are still out.
class Meeting {
public:
  explicit Meeting(WorkspacePool &pool) : pool(pool) {}
  ~Meeting() {
    if (states.memory)
      pool.release(states);
  }
  Meeting(Meeting &&other) noexcept : pool(other.pool), states(std::exchange(other.states, {})), partsLeft(std::move(other.partsLeft)) {}
  Meeting &operator=(Meeting &&) = delete;

  Result<void> prepare(LaunchJob &job) {
    job.args.split = {job.shape.keysPerPart, job.shape.parts, nullptr};
    if (job.shape.parts <= 1 || job.shape.tiles() == 0)
      return {};
    Result<WorkspacePool::Buffer> buffer = pool.acquire(static_cast<std::size_t>(job.shape.units()) * job.shape.stateBytes);
    if (!buffer)
      return buffer.error();
    states = *buffer;
    job.args.split.states = states.memory;
    partsLeft = std::vector<std::atomic<std::int64_t>>(static_cast<std::size_t>(job.shape.tiles()));
    for (std::atomic<std::int64_t> &left : partsLeft)
      left.store(job.shape.parts, std::memory_order_relaxed);
    return {};
  }

  /// Computes units of a round of `job`. Nobody waits for all parts: whoever returns from the last one of a tile has seen the states of the
  /// others, merges them and makes the tile ready for another round.
  void run(const LaunchJob &job, int round, std::int64_t begin, std::int64_t end, void *workspace) {
    const LaunchShape &shape = job.shape;
    const std::int64_t first = round * (shape.units() + shape.tiles());
    job.kernel(&job.args, first + begin, first + end, workspace);
    for (std::int64_t unit = begin; shape.parts > 1 && unit < end; ++unit) {
      const std::int64_t tile = unit / (shape.parts * shape.tilesPerHead) * shape.tilesPerHead + unit % shape.tilesPerHead;
      std::atomic<std::int64_t> &left = partsLeft[static_cast<std::size_t>(tile)];
      if (left.fetch_sub(1, std::memory_order_acq_rel) != 1)
        continue;
      const std::int64_t merge = first + shape.units() + tile;
      job.kernel(&job.args, merge, merge + 1, workspace);
      left.store(shape.parts, std::memory_order_relaxed);
    }
  }

private:
  WorkspacePool &pool;
  WorkspacePool::Buffer states{};
  std::vector<std::atomic<std::int64_t>> partsLeft;
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

int workersFor(double flops, std::int64_t units, int threads) {
  const std::int64_t worth = static_cast<std::int64_t>(std::min(flops / kFlopsPerWorker, 1e6));
  return static_cast<int>(std::clamp<std::int64_t>(std::min(worth, units), 1, std::max(1, threads)));
}

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

Result<int> CpuLauncher::launch(std::span<LaunchJob> jobs, int threads) {
  std::int64_t units = 0;
  int rounds = 1;
  std::size_t workspaceBytes = 0;
  double flops = 0;
  std::vector<Meeting> meetings;
  meetings.reserve(jobs.size());
  for (LaunchJob &job : jobs) {
    // Kernels lower the word atomically; it is read only after every worker has returned.
    job.status = kStatusOk;
    job.args.status = &job.status;
    job.args.functions = &functionTable();
    if (Result<void> prepared = meetings.emplace_back(workspaces).prepare(job); !prepared)
      return prepared.error();
    units += job.shape.units();
    rounds = std::max(rounds, job.shape.rounds);
    workspaceBytes = std::max(workspaceBytes, job.shape.workspaceBytes);
    flops += job.shape.flops;
  }
  if (units == 0)
    return 1;

  Scratch scratch(workspaces);
  Result<int> workers = scratch.acquire(workersFor(flops, units, threads), workspaceBytes);
  if (!workers)
    return workers.error();

  for (int round = 0; round < rounds; ++round) {
    if (*workers == 1) {
      DefaultFloatEnvironment environment;
      for (std::size_t job = 0; job < jobs.size(); ++job)
        if (round < jobs[job].shape.rounds && jobs[job].shape.units() > 0)
          meetings[job].run(jobs[job], round, 0, jobs[job].shape.units(), scratch.of(0));
      continue;
    }
    UnitQueue queue(jobs, round, units, *workers);
    Result<void> ran = parallelFor(parallelForHook, *workers, [&](int worker) {
      DefaultFloatEnvironment environment;
      std::size_t job = 0;
      for (std::int64_t begin, end; queue.next(job, begin, end);)
        meetings[job].run(jobs[job], round, begin, end, scratch.of(worker));
    });
    if (!ran)
      return ran.error();
  }
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
