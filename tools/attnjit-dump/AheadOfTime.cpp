#include "AheadOfTime.h"

#include "common/CommandLine.h"
#include "common/ProblemFlags.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <spawn.h>
#include <sstream>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

namespace attnjit::tools {

namespace {

bool isOnPath(const std::string &program) {
  const char *path = std::getenv("PATH");
  std::istringstream folders(path ? path : "");
  for (std::string folder; std::getline(folders, folder, ':');)
    if (access((std::filesystem::path(folder) / program).c_str(), X_OK) == 0)
      return true;
  return false;
}

/// Exit status 0.
bool runs(std::vector<std::string> words) {
  std::vector<char *> arguments;
  for (std::string &word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t child = 0;
  int state = 0;
  return posix_spawnp(&child, arguments[0], nullptr, nullptr, arguments.data(), environ) == 0 && waitpid(child, &state, 0) == child &&
         WIFEXITED(state) && WEXITSTATUS(state) == 0;
}

/// A folder that goes when this does.
class ScratchFolder {
public:
  ScratchFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "attnjit-XXXXXX").string();
    if (mkdtemp(name.data()))
      path = name;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    if (!path.empty())
      std::filesystem::remove_all(path, ignored);
  }
  ScratchFolder(const ScratchFolder &) = delete;
  ScratchFolder &operator=(const ScratchFolder &) = delete;
  std::filesystem::path path;
};

Result<std::string> assembleByPtxas(const std::string &ptx, const std::string &target) {
  const ScratchFolder scratch;
  if (scratch.path.empty())
    return Error{ErrorCode::Io, "no folder for ptxas could be made"};
  const std::string from = scratch.path / "kernel.ptx", to = scratch.path / "kernel.cubin";
  if (Result<void> written = writeFile(from, ptx); !written)
    return written.error();
  if (!runs({"ptxas", "-arch=" + target, "-o", to, from}))
    return Error{
        ErrorCode::Unsupported,
        fmt::format("ptxas does not assemble for {} (its message is above): take a newer one, or take it off the PATH for PTX alone",
                    target)};
  return readFile(to);
}

std::vector<std::string> split(const std::string &list) {
  std::vector<std::string> parts;
  std::istringstream stream(list);
  for (std::string part; std::getline(stream, part, ',');)
    parts.push_back(part);
  return parts;
}

} // namespace

Result<void> writeAheadOfTime(const ForwardCall &call, const std::string &targets, const AheadOfTimeOptions &options,
                              const std::string &folder) {
  AotOptions aot;
  if (!options.name.empty())
    aot.name = options.name;
  aot.targets = split(targets);
  aot.kind = options.bare ? AotKind::Bare : AotKind::Runtime;
  if (isOnPath("ptxas"))
    aot.assemble = assembleByPtxas;
  const Result<std::vector<AotFile>> files = compileAheadOfTime(call, aot);
  if (!files)
    return files.error();
  std::error_code problem;
  std::filesystem::create_directories(folder, problem);
  if (problem)
    return Error{ErrorCode::Io, fmt::format("cannot create the folder {}: {}", folder, problem.message())};
  for (const AotFile &file : *files)
    if (Result<void> written = writeFile((std::filesystem::path(folder) / file.name).string(), file.bytes); !written)
      return written;
  return {};
}

} // namespace attnjit::tools
