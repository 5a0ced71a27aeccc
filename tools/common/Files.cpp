// Texts and bytes between the command line, files and standard output.
#include "common/ProblemFlags.h"

#include "Support/Files.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fmt/format.h>

namespace attnjit::tools {

Result<std::string> readFile(const std::string &path) {
  std::FILE *file = std::fopen(path.c_str(), "rb");
  std::string bytes;
  char chunk[1 << 16];
  bool isRead = file != nullptr;
  for (std::size_t got = 0; file && (got = std::fread(chunk, 1, sizeof chunk, file)) > 0;)
    bytes.append(chunk, got);
  const int problem = errno;
  if (file) {
    isRead = !std::ferror(file);
    std::fclose(file);
  }
  if (!isRead)
    return Error{ErrorCode::Io, fmt::format("cannot read {}: {}", path, std::strerror(problem))};
  return bytes;
}

Result<std::string> textOrFile(const std::string &text, std::string_view flag) {
  if (!text.starts_with('@'))
    return text;
  Result<std::string> read = readFile(text.substr(1));
  if (!read)
    return Error{read.error().code, fmt::format("{}: {}", flag, read.error().message)};
  return read;
}

Result<void> writeFile(const std::string &path, std::string_view bytes) {
  if (!path.empty() && path != "-")
    return writeWholeFile(path, std::as_bytes(std::span(bytes)));
  std::fwrite(bytes.data(), 1, bytes.size(), stdout);
  return finishOutput();
}

Result<void> finishOutput() {
  if (std::fflush(stdout) == 0 && !std::ferror(stdout))
    return {};
  return Error{ErrorCode::Io, fmt::format("cannot write standard output: {}", std::strerror(errno))};
}

} // namespace attnjit::tools
