#include "Support/Files.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <optional>
#include <sys/stat.h>
#include <unistd.h>

namespace attnjit {

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

std::string behindLinks(std::string path) {
  constexpr int kMaxLinks = 40; // as the system's own limit
  std::error_code noLink;
  for (int link = 0; link < kMaxLinks; ++link) {
    const std::filesystem::path target = std::filesystem::read_symlink(path, noLink);
    if (noLink)
      break;
    path = (std::filesystem::path(path).parent_path() / target).string();
  }
  return path;
}

namespace {

/// An errno value, 0 on success. A full disk may show at the end only.
int writeAndClose(int file, std::span<const std::byte> bytes) {
  const int reason = writeDescriptor(file, bytes);
  return ::close(file) != 0 && reason == 0 ? errno : reason;
}

/// An errno value, 0 on success.
int writeInPlace(const std::string &path, std::span<const std::byte> bytes) {
  const int file = ::open(path.c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  return file < 0 ? errno : writeAndClose(file, bytes);
}

/// An errno value, 0 on success. `mode` is that of the file to be replaced, if there is one.
int replaceFile(const std::string &path, std::optional<mode_t> mode, std::span<const std::byte> bytes) {
  const std::string staging = path.substr(0, path.rfind('/') + 1) + stagingName();
  const int file = ::open(staging.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file < 0)
    return errno;
  if (mode)
    (void)::fchmod(file, *mode & 0777);
  int reason = writeAndClose(file, bytes);
  if (reason == 0 && ::rename(staging.c_str(), path.c_str()) != 0)
    reason = errno;
  if (reason != 0)
    ::unlink(staging.c_str());
  return reason;
}

} // namespace

Result<void> writeWholeFile(const std::string &path, std::span<const std::byte> bytes) {
  const std::string target = behindLinks(path);
  struct stat given, named;
  int reason = ::stat(path.c_str(), &given) == 0 ? 0 : errno;
  const bool isThere = reason == 0;
  // A device or a FIFO keeps its place. So does what has no name that a rename could take, as behind /dev/stdout.
  const bool isReplaceable = !isThere || (S_ISREG(given.st_mode) && ::lstat(target.c_str(), &named) == 0 && named.st_dev == given.st_dev &&
                                          named.st_ino == given.st_ino);
  if (!isThere && reason != ENOENT) // links in a circle, say
    return ioError(fmt::format("cannot write {}", path), reason);
  if (isThere && ::access(path.c_str(), W_OK) != 0) // a rename would not ask
    reason = errno;
  else if (!isReplaceable)
    reason = writeInPlace(path, bytes);
  else
    reason = replaceFile(target, isThere ? std::optional(given.st_mode) : std::nullopt, bytes);
  if (reason != 0)
    return ioError(fmt::format("cannot write {}", path), reason);
  return {};
}

} // namespace attnjit
