// The measurements of attnjit-bench. Each answers JSON with its samples summed up as p10, median and p90.
#pragma once

#include "Cases.h"
#include "Turns.h"

#include "common/PlacedProblem.h"
#include "common/Reports.h"

namespace attnjit::tools {

/// p10, median, p90 and count of samples.
nlohmann::json summary(const std::vector<double> &samples);

/// What multiplies in a kernel of that pipeline, on an engine's target: bf16 has units of its own in FLASH_ATTENTION only. With AMX that is
/// the yardstick also of heads that fill no tiles and go by FMA: the machine could do better.
PeakUnit unitOf(const LoadedProblem &problem, std::string_view pipeline, const Engine &engine);

/// What a turn times: the kernel of a call alone, first tile to last.
std::function<Result<double>()> kernelOf(const Engine &engine, const ForwardCall &call);
/// The whole of forward(), from outside: finding the kernel, planning, running.
std::function<Result<double>()> wholeCall(const Engine &engine, const ForwardCall &call);
/// The same on a CPU; on a GPU its kernel, by the GPU's own clock. Borrows both.
std::function<Result<double>()> callOf(const Engine &engine, const LoadedProblem &problem, const PlacedProblem &placed);

/// One kernel on one core or several, head by head, a probe of the peak before and after each work item: shares of a peak that was true
/// at that moment.
Result<nlohmann::json> measureThroughput(const Engine &engine, const ProblemOptions &options, int passes);

/// The kernel of the whole call on the engine's GPU, by the GPU's own clock.
Result<nlohmann::json> measureOnGpu(const Engine &engine, const ProblemOptions &options, int passes);

/// The whole call on 1, 2, 4 ... threads.
Result<nlohmann::json> measureScaling(const Engine &engine, const ProblemOptions &options, int maxThreads, int repeats);

/// The whole call, a probe of the read bandwidth over the very same K and V before and after it: what share of the time it would take only
/// to read them.
Result<nlohmann::json> measureBandwidth(const Engine &engine, const ProblemOptions &options, int passes);

/// Compiling formulas that this process has never seen; finding a kernel in memory; finding one on disk.
Result<nlohmann::json> measureLatency(int formulas);

/// Runs one problem in this process and answers the largest resident size so far, in bytes.
Result<nlohmann::json> measurePeakMemory(const Engine &engine, const ProblemOptions &options);

/// createBlockMask on the families of masks that are in use, in blocks of 128 x 128, one thread, in its processor time.
Result<nlohmann::json> measureBlockMasks(const std::vector<std::int64_t> &lengths, int passes);

/// Packed sequences of equal length, causal: varlenAttention, and one call whose mask compares document numbers, as multiples of the time
/// of a batch over the same memory.
Result<nlohmann::json> measureVarlen(const Engine &engine, int passes);

/// Who wants to know how a grid comes along.
struct GridEvents {
  std::function<void(const BenchCase &about, std::size_t done)> onBegin;
  std::function<void(nlohmann::json &row)> onRow; ///< may add to the row; in the order of measuring
};

/// Whole calls of every case. A case and all that are relative to it take turns, so that their ratios can be trusted. Answers {"machine",
/// "rows"}, rows in the order of the grid.
Result<nlohmann::json> measureGrid(const Engine &engine, std::span<const BenchCase> cases, int passes, const GridEvents &events);

/// The rows of a file that attnjit-bench --grid --json or bench-peers --json wrote, by command. Errors: Io, InvalidArgument.
Result<std::map<std::string, nlohmann::json>> readPeer(const std::string &path);
/// Adds to a row what the peer's row of the same command says: {"peers": {NAME: {"ms", "timesAsFast"}}}.
void addPeer(const std::map<std::string, nlohmann::json> &peer, std::string_view peerName, nlohmann::json &row);

/// Times calls for another program, which asks by lines and is answered by lines of JSON (docs/cli.md). Ends with the input.
int serve(const Engine &engine, const ProblemOptions &defaults);

} // namespace attnjit::tools
