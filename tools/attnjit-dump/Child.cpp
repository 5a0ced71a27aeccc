#include "Child.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sys/wait.h>
#include <unistd.h>

namespace attnjit::tools {

int runInChild(const std::string &what, const std::function<int()> &work) {
  int ends[2];
  std::fflush(nullptr);
  const pid_t child = pipe(ends) == 0 ? fork() : -1;
  if (child < 0) {
    std::fputs(fmt::format("attnjit-dump: error (io): no child process for {}: {}\n", what, std::strerror(errno)).c_str(), stderr);
    return 2;
  }
  if (child == 0) {
    close(ends[0]);
    const unsigned char status = static_cast<unsigned char>(work());
    std::fflush(nullptr);
    // Only a status that came this way is ours: exit(1) inside LLVM looks the same from outside.
    const bool isTold = write(ends[1], &status, 1) == 1;
    _exit(isTold ? 0 : 2);
  }
  close(ends[1]);
  unsigned char status = 0;
  ssize_t got = 0;
  while ((got = read(ends[0], &status, 1)) < 0 && errno == EINTR) {
  }
  close(ends[0]);
  int state = 0;
  while (waitpid(child, &state, 0) < 0 && errno == EINTR) {
  }
  if (got == 1)
    return status;
  const std::string how = WIFSIGNALED(state) ? fmt::format("signal {} ({})", WTERMSIG(state), strsignal(WTERMSIG(state)))
                                             : fmt::format("exit status {}", WEXITSTATUS(state));
  std::fputs(
      fmt::format("attnjit-dump: error (invalid-argument): the compiler gave up on {} with {}; see its message above\n", what, how).c_str(),
      stderr);
  return 1;
}

} // namespace attnjit::tools
