#include "common/CommandLine.h"

#include "common/ProblemFlags.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace attnjit::tools {

int fail(std::string_view tool, const Error &error) {
  std::fputs(fmt::format("{}: error ({}): {}\n", tool, name(error.code), error.message).c_str(), stderr);
  return exitStatus(error);
}

std::optional<int> parseFlags(CLI::App &app, int argc, const char *const *argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success &wanted) { // --help and --version
    app.exit(wanted);
    return finish(app.get_name(), 0);
  } catch (const CLI::ParseError &error) {
    return fail(app.get_name(), {ErrorCode::InvalidArgument, fmt::format("{}; see {} --help", error.what(), app.get_name())});
  }
  return std::nullopt;
}

int finish(std::string_view tool, int status) {
  const Result<void> written = finishOutput();
  return written ? status : std::max(status, fail(tool, written.error()));
}

} // namespace attnjit::tools
