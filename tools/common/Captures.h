// Values of captured names, as command lines spell them.
#pragma once

#include "common/ProblemFlags.h"

namespace attnjit::tools {

/// The generators, for --help and messages.
std::string captureFormsHelp();

} // namespace attnjit::tools
