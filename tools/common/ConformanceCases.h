// Cases as problems, and those of the modules of test/Corpus.
#pragma once

#include "common/Grid.h"
#include "common/ProblemFlags.h"

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace attnjit::conformance {

/// The flags of a command line. Error: InvalidArgument with CLI11's message.
Result<tools::ProblemOptions> parseCommandLine(std::string_view commandLine);

/// The same command line for other sizes.
Result<std::string> withShape(std::string_view commandLine, const std::function<void(tools::Dims &)> &change);

/// The cases in a module's lines "#! ...", each as it stands, with odd lengths that fill no block, and with one kv head for all query
/// heads. Captured tensors have the sizes that the line states, so lengths only shrink.
Result<std::vector<tools::GridCase>> casesOfModule(const std::string &file);

/// The cases in its lines "#% ...": long sequences whose blocks are for analysis alone to decide.
Result<std::vector<tools::GridCase>> longCasesOfModule(const std::string &file);

} // namespace attnjit::conformance
