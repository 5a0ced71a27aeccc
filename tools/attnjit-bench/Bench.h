// The measurements of attnjit-bench. Each answers JSON with its samples summed up as p10, median and p90.
#pragma once

#include "common/Reports.h"

namespace attnjit::tools {

/// p10, median, p90 and count of samples.
nlohmann::json summary(const std::vector<double> &samples);

/// One kernel on one core or several, head by head, a probe of the FMA peak before and after each work item: shares of a peak that was true
/// at that moment.
Result<nlohmann::json> measureThroughput(const Engine &engine, const ProblemOptions &options, int passes);

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

} // namespace attnjit::tools
