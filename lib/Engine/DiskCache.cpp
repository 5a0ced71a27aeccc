#include "Engine/DiskCache.h"

#include "Support/Files.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

namespace attnjit::engine {

namespace {

/// Larger than any kernel.
constexpr std::size_t kMaxEntryBytes = std::size_t{64} << 20;

std::string fileName(const Hash128 &key) { return hex(key) + ".attnjit"; }

/// mkdir -p, everything new private to this user. An errno value, 0 on success.
int makeDirectories(const std::string &path) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string prefix = path.substr(0, end);
    if (::mkdir(prefix.c_str(), 0700) != 0 && errno != EEXIST) {
      // A parent may be there and read-only all the same; what counts is the last one.
      if (end == std::string::npos || errno == ENOTDIR || errno == ENAMETOOLONG)
        return errno;
    }
    if (end == std::string::npos)
      return 0;
  }
}

Error unusable(const std::string &path, std::string_view why) { return {ErrorCode::Io, fmt::format("cache directory {}: {}", path, why)}; }

} // namespace

std::string DiskCache::defaultDirectory() {
  // A relative XDG_CACHE_HOME has to be ignored, says the XDG base directory specification.
  if (const char *cache = std::getenv("XDG_CACHE_HOME"); cache && cache[0] == '/')
    return std::string(cache) + "/attnjit";
  if (const char *home = std::getenv("HOME"); home && home[0] == '/')
    return std::string(home) + "/.cache/attnjit";
  return "";
}

Result<std::unique_ptr<DiskCache>> DiskCache::open(const std::string &directory) {
  if (int reason = makeDirectories(directory); reason != 0)
    return unusable(directory, fmt::format("cannot be created: {}", std::strerror(reason)));
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0)
    return unusable(directory, fmt::format("cannot be opened: {}", std::strerror(errno)));

  struct stat info;
  std::string why;
  if (::fstat(descriptor, &info) != 0)
    why = fmt::format("cannot be examined: {}", std::strerror(errno));
  else if (info.st_uid != ::geteuid())
    why = fmt::format("belongs to user {}, not to this one ({})", info.st_uid, ::geteuid());
  else if ((info.st_mode & 0077) != 0)
    why = fmt::format("is open to other users (mode {:04o}); chmod 700 it", info.st_mode & 07777);
  if (!why.empty()) {
    ::close(descriptor);
    return unusable(directory, why);
  }
  return std::unique_ptr<DiskCache>(new DiskCache(directory, descriptor));
}

DiskCache::~DiskCache() { ::close(descriptor); }

std::optional<KernelImage> DiskCache::load(const Hash128 &key, const std::function<bool(const ImageMetadata &)> &isRight) {
  // No symbolic links, no waiting for the writer of a FIFO.
  const int file = ::openat(descriptor, fileName(key).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (file < 0) {
    if (errno != ENOENT)
      ++rejectCount;
    return std::nullopt;
  }
  struct stat info;
  const bool ours = ::fstat(file, &info) == 0 && info.st_uid == ::geteuid() && (info.st_mode & 0022) == 0;
  Result<std::vector<std::byte>> bytes = ours ? readDescriptor(file, kMaxEntryBytes) : Error{ErrorCode::Io, "foreign"};
  ::close(file);

  if (bytes)
    if (Result<KernelImage> image = deserialize(*bytes); image && isRight(image->meta))
      return std::move(*image);
  ++rejectCount;
  return std::nullopt;
}

bool DiskCache::contains(const Hash128 &key) const { return ::faccessat(descriptor, fileName(key).c_str(), R_OK, 0) == 0; }

Result<void> DiskCache::store(const Hash128 &key, const KernelImage &image) {
  const std::vector<std::byte> bytes = serialize(image);
  const std::string staging = stagingName(), name = fileName(key);
  const int file = ::openat(descriptor, staging.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0)
    return unusable(path, fmt::format("cannot be written: {}", std::strerror(errno)));
  int reason = writeDescriptor(file, bytes);
  if (::close(file) != 0 && reason == 0)
    reason = errno;
  if (reason == 0 && ::renameat(descriptor, staging.c_str(), descriptor, name.c_str()) != 0)
    reason = errno;
  if (reason == 0)
    return {};
  ::unlinkat(descriptor, staging.c_str(), 0);
  return unusable(path, fmt::format("cannot be written: {}", std::strerror(reason)));
}

} // namespace attnjit::engine
