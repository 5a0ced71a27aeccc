#include "Compiler/Reproducer.h"

#include <cstdlib>
#include <filesystem>
#include <unistd.h>

namespace attnjit::compiler {

namespace {

std::string directory() {
  if (const char *named = std::getenv("ATTNJIT_REPRODUCER_DIR"); named && *named)
    return named;
  std::error_code error;
  const std::filesystem::path path = std::filesystem::temp_directory_path(error);
  return error ? "/tmp" : path.string();
}

void appendComment(std::string &text, std::string_view lines) {
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find('\n'), lines.size());
    text.append("// ").append(lines.substr(0, end)).push_back('\n');
    lines.remove_prefix(std::min(end + 1, lines.size()));
  }
}

bool writeAll(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written <= 0)
      return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

} // namespace

std::string writeReproducer(std::string_view error, std::string_view spec, std::string_view attnText) {
  std::string text = "// A failed compile of attnjit. To see it fail: attnjit-dump --from attn FILE --emit all\n//\n";
  appendComment(text, error);
  if (attnText.empty())
    appendComment(text, spec);
  text += attnText;

  // mkstemps: a new file of our own, whoever else writes to the directory.
  std::string path = directory() + "/attnjit-reproducer-XXXXXX.mlir";
  const int file = ::mkstemps(path.data(), 5);
  if (file < 0)
    return "";
  const bool written = writeAll(file, text);
  return ::close(file) == 0 && written ? path : "";
}

} // namespace attnjit::compiler
