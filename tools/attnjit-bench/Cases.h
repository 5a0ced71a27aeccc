// The cases of a grid to bench: lines as in the conformance grids (tools/common/Grid.h), each with a name and perhaps a case to be compared
// with.
//
//   --name full --shape H=8,S={512|2048},D=64
//   --name ALiBi --relative-to full --shape H=8,S={512|2048},D=64 --score-mod 'score + slope[h] * (kv_idx - q_idx)' --capture slope=alibi:8
//
// --relative-to means the case of that name with the same --shape, and with the same --dtype if that leaves several.
#pragma once

#include "common/ProblemFlags.h"

#include <nlohmann/json_fwd.hpp>

namespace attnjit::tools {

struct BenchCase {
  int line = 0;
  std::string name;    ///< the command line, if the grid gives none
  std::string command; ///< what attnjit-run would be given
  std::string relativeTo;
  std::optional<std::size_t> base; ///< index of the case that it is relative to
  ProblemOptions problem;
};

/// All cases of a grid's text; flags that a line does not give are those of `defaults`. Errors: InvalidArgument with line and cure.
Result<std::vector<BenchCase>> parseCases(std::string_view text, const ProblemOptions &defaults);

/// Those whose name or command contains `filter`, and those that they are relative to.
std::vector<BenchCase> filterCases(const std::vector<BenchCase> &cases, std::string_view filter);

/// [{"line", "name", "command", "relativeTo"}, ...]
nlohmann::json toJson(const std::vector<BenchCase> &cases);

} // namespace attnjit::tools
