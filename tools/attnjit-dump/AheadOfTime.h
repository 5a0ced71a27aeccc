// --emit aot: a problem as files for other programs to link (attnjit/Aot.h).
#pragma once

#include "attnjit/Aot.h"

#include <string>

namespace attnjit::tools {

/// What the flags say.
struct AheadOfTimeOptions {
  std::string name; ///< empty: "attention"
  bool bare = false;
};

/// Compiles `call` for the targets of a comma separated list and writes the files into `folder`, which is made if need be. Where ptxas is
/// on the PATH, PTX is assembled too.
Result<void> writeAheadOfTime(const ForwardCall &call, const std::string &targets, const AheadOfTimeOptions &options,
                              const std::string &folder);

} // namespace attnjit::tools
