// Whole files, read and written with errors that name them.
#pragma once

#include "attnjit/Result.h"

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace attnjit {

/// Errors: Io, also for a file above `maxBytes` or one that is no regular file.
Result<std::vector<std::byte>> readFile(const std::string &path, std::size_t maxBytes);
/// Reads an open descriptor of a regular file to its end.
Result<std::vector<std::byte>> readDescriptor(int file, std::size_t maxBytes);

/// Writes all bytes; an errno value, 0 on success.
int writeDescriptor(int file, std::span<const std::byte> bytes);

/// Where a path leads over symbolic links, also to a file that is yet to be made.
std::string behindLinks(std::string path);

/// A file appears or is replaced whole, by a staging file beside it and a rename; symbolic links are followed, permissions kept. What is no
/// regular file (a FIFO, a device) is written into. Error: Io.
Result<void> writeWholeFile(const std::string &path, std::span<const std::byte> bytes);

/// A name for a staging file that no other process or thread uses.
std::string stagingName();

} // namespace attnjit
