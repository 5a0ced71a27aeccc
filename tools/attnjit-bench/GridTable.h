// --grid of attnjit-bench: its flags, its table.
#pragma once

#include "Bench.h"

namespace attnjit::tools {

struct GridOptions {
  std::string file, filter, peer;
  bool list = false;
};

void addGridOptions(CLI::App &app, GridOptions &options);

/// Measures the grid and, unless `quiet`, prints its table row by row. Flags that a line leaves out are those of `defaults`. On a terminal
/// it says on standard error what it is at.
Result<nlohmann::json> benchGrid(const Engine &engine, const GridOptions &options, const ProblemOptions &defaults, int passes, bool quiet);

/// Prints the cases instead of measuring them, as commands of attnjit-run or as JSON. Answers the exit status.
int listGrid(const GridOptions &options, const ProblemOptions &defaults, bool asJson);

/// "p10 / median / p90" of a summary.
std::string show(const nlohmann::json &summary, int digits);

} // namespace attnjit::tools
