// Images on disk, one file per key, in a directory that nobody else can write.
//
// The directory holds machine code that will be run, so it is trusted only if this user owns it and no one else may enter it (0700), and
// each file only if this user owns it and it passes its checksum. Whatever is missing, unreadable, foreign or corrupt is a miss; whatever
// cannot be written is left unwritten. Nothing here ever fails a call. Writers stage and rename, so any number of processes may share a
// directory.
#pragma once

#include "Engine/Hashing.h"
#include "Support/KernelImage.h"
#include "attnjit/Result.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace attnjit::engine {

class DiskCache {
public:
  /// $XDG_CACHE_HOME/attnjit, else $HOME/.cache/attnjit; "" if neither names an absolute path.
  static std::string defaultDirectory();

  /// Creates the directory (and its parents) if need be. Error: Io saying why it cannot be trusted or used.
  static Result<std::unique_ptr<DiskCache>> open(const std::string &directory);
  ~DiskCache();
  DiskCache(const DiskCache &) = delete;
  DiskCache &operator=(const DiskCache &) = delete;

  /// The image of `key` if it is there, whole, and `isRight` agrees with its metadata.
  std::optional<KernelImage> load(const Hash128 &key, const std::function<bool(const ImageMetadata &)> &isRight);
  /// Whether there is an entry of that name, right or not.
  bool contains(const Hash128 &key) const;
  /// Error: Io, for the log.
  Result<void> store(const Hash128 &key, const KernelImage &image);

  const std::string &directory() const { return path; }
  std::uint64_t rejects() const { return rejectCount.load(std::memory_order_relaxed); }

private:
  DiskCache(std::string path, int descriptor) : path(std::move(path)), descriptor(descriptor) {}

  const std::string path;
  const int descriptor; ///< of the directory that was checked: a path could lead elsewhere later
  std::atomic<std::uint64_t> rejectCount{0};
};

} // namespace attnjit::engine
