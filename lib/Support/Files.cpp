#include "Engine/Files.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace attnjit::engine {

namespace {

Error ioError(std::string_view what, int reason) { return {ErrorCode::Io, fmt::format("{}: {}", what, std::strerror(reason))}; }

} // namespace

Result<std::vector<std::byte>> readDescriptor(int file, std::size_t maxBytes) {
  struct stat info;
  if (::fstat(file, &info) != 0)
    return ioError("cannot be examined", errno);
  if (!S_ISREG(info.st_mode))
    return Error{ErrorCode::Io, "it is not a regular file"};
  if (static_cast<std::uint64_t>(info.st_size) > maxBytes)
    return Error{ErrorCode::Io, fmt::format("it has {} bytes; at most {} are accepted", info.st_size, maxBytes)};

  std::vector<std::byte> bytes(static_cast<std::size_t>(info.st_size));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::read(file, bytes.data() + done, bytes.size() - done);
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return ioError("cannot be read", errno);
    if (got == 0)
      break; // it shrank meanwhile; whoever reads the bytes checks them
    done += static_cast<std::size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

Result<std::vector<std::byte>> readFile(const std::string &path, std::size_t maxBytes) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0)
    return ioError(fmt::format("{}: cannot be opened", path), errno);
  Result<std::vector<std::byte>> bytes = readDescriptor(file, maxBytes);
  ::close(file);
  if (!bytes)
    return Error{bytes.error().code, fmt::format("{}: {}", path, bytes.error().message)};
  return bytes;
}

int writeDescriptor(int file, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(file, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR)
      continue;
    if (put <= 0)
      return put < 0 ? errno : ENOSPC;
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
  return 0;
}

std::string stagingName() {
  static std::atomic<std::uint64_t> counter{0};
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return fmt::format(".staging-{}-{}-{}", ::getpid(), now.tv_nsec, counter.fetch_add(1));
}

Result<void> writeFileAtomically(const std::string &path, std::span<const std::byte> bytes) {
  const std::size_t slash = path.rfind('/');
  const std::string staging = (slash == std::string::npos ? "" : path.substr(0, slash + 1)) + stagingName();
  const int file = ::open(staging.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file < 0)
    return ioError(fmt::format("{}: cannot be created", path), errno);
  int reason = writeDescriptor(file, bytes);
  if (::close(file) != 0 && reason == 0)
    reason = errno;
  if (reason == 0 && ::rename(staging.c_str(), path.c_str()) != 0)
    reason = errno;
  if (reason == 0)
    return {};
  ::unlink(staging.c_str());
  return ioError(fmt::format("{}: cannot be written", path), reason);
}

} // namespace attnjit::engine
