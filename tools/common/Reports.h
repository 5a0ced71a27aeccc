// Reports of the engine as JSON and as lines for people.
#pragma once

#include "common/Check.h"
#include "common/CommandLine.h"

#include "attnjit/Engine.h"

#include <nlohmann/json.hpp>

namespace attnjit::tools {

nlohmann::json toJson(const LoadedProblem &problem);
/// One line: size, share that is skipped, how it was decided.
std::string describe(const BlockMask &mask);
nlohmann::json toJson(const BlockMask &mask);
nlohmann::json toJson(const ForwardReport &report);
nlohmann::json toJson(const EngineCounters &counters);
nlohmann::json toJson(const AutotuneReport &report);
nlohmann::json toJson(const ExplainReport &report);
nlohmann::json toJson(const CheckResult &check);

/// "B=2 Hq=8 Hkv=2 M=1000 N=1000 D=64, f32".
std::string describe(const LoadedProblem &problem);
/// "mean error 3.1e-08, 0.9 times a plain f32 implementation (allowed 2)".
std::string describe(const CheckResult &check, DType dtype);

} // namespace attnjit::tools
