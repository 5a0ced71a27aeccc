// Text grids: one line states many cases.
//
//   # comment
//   --shape M={1|17},N=33,D=64 --dtype {f32|bf16} --mask-mod 'q_idx >= kv_idx' --backend {flash|math}
//   --shape M=4,D=8 --score-mod 'score + t[q_idx]' --capture t=iota:3:f32 => index-out-of-range
//
// Braces list alternatives; the line stands for the cross product, the last brace running fastest. What is left is the command line of
// attnjit-run, to which attnjit-bench adds --name and --relative-to. `=> CODE` expects the call to fail with that error code.
#pragma once

#include "attnjit/Result.h"

#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace attnjit::tools {

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

/// The inverse of splitWords: words that need it are quoted.
std::string joinWords(const std::vector<std::string> &words);

/// Hands the words of a command line to the options of `app`. Errors: InvalidArgument in CLI11's words.
Result<void> parseWords(CLI::App &app, std::vector<std::string> words);

/// `commandLine` without the given flag and its value.
std::string withoutFlag(std::string_view commandLine, std::string_view flag);

} // namespace attnjit::tools
