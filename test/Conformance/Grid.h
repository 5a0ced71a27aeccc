// Text grids: one line states many cases.
//
//   # comment
//   --shape M={1|17},N=33,D=64 --dtype {f32|bf16} --mask-mod 'q_idx >= kv_idx' --backend {flash|math}
//   --shape M=4,D=8 --score-mod 'score + t[q_idx]' --capture t=iota:3:f32 => index-out-of-range
//
// Braces list alternatives; the line stands for the cross product, the last brace running fastest. What is left is the command line of
// attnjit-run. `=> CODE` expects the call to fail with that error code.
#pragma once

#include "attnjit/Result.h"

#include <string>
#include <string_view>
#include <vector>

namespace attnjit::conformance {

struct GridCase {
  int line = 0;
  std::string commandLine;
  std::string expectedError; ///< empty: it has to compute the right thing
};

/// All cases of a grid's text. Errors name the line.
Result<std::vector<GridCase>> parseGrid(std::string_view text);

/// The grid that a Python module carries in its lines "#! ...", or of another marker, with line numbers of the module.
std::string gridOfModule(std::string_view text, std::string_view marker = "#! ");

/// Words of a command line as a shell would see them: blanks separate, single and double quotes group.
Result<std::vector<std::string>> splitWords(std::string_view commandLine);

/// `commandLine` without the given flag and its value.
std::string withoutFlag(std::string_view commandLine, std::string_view flag);

} // namespace attnjit::conformance
