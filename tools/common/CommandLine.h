// What every tool does at its beginning and at its end: read flags, report errors, answer an exit status.
#pragma once

#include "attnjit/Result.h"

#include <optional>
#include <string_view>

namespace CLI {
class App;
}

namespace attnjit::tools {

/// 1 for a user's error, 2 for ours.
inline int exitStatus(const Error &error) { return error.isUserError() ? 1 : 2; }

/// "attnjit-run: error (no-backend): ..." on standard error; answers exitStatus().
int fail(std::string_view tool, const Error &error);

/// Reads the flags. Answers an exit status where that ends the tool: after --help, after --version, or after a wrong flag.
std::optional<int> parseFlags(CLI::App &app, int argc, const char *const *argv);

/// Answers `status`, or that of an error where standard output could not be written: a report that nobody can read is none.
int finish(std::string_view tool, int status);

} // namespace attnjit::tools
