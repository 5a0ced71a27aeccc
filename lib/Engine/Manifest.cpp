// What an engine's kernels were compiled for, as a file, so that the next process can have them before its first request.
//
//   attnjit manifest 1
//   checksum = 5c1e0a...        of all that follows
//   kernel 431
//   target = x86_64-unknown-linux-gnu
//   ...                         a spec as compiler::print writes it, 431 bytes
//   kernel 388
//   ...
//
// Most recently used first. It holds no code, so it outlives the build that wrote it; the checksum is against half a file, not against an
// enemy.
#include "Engine/EngineImpl.h"
#include "Engine/Guard.h"
#include "Engine/Keys.h"
#include "Runtime/ThreadPool.h"
#include "Support/Files.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>

namespace attnjit::inline v0 {

using namespace engine;

namespace {

constexpr std::string_view kTitle = "attnjit manifest 1\n", kChecksum = "checksum = ", kKernel = "kernel ";
constexpr std::size_t kMaxManifestBytes = std::size_t{256} << 20;

/// The line that `text` begins with, which is taken away; empty at the end.
std::string_view takeLine(std::string_view &text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

/// The specs of a manifest, in order.
Result<std::vector<std::string>> readManifest(const std::string &path) {
  const Result<std::vector<std::byte>> file = readFile(path, kMaxManifestBytes);
  if (!file)
    return file.error();
  const auto refuse = [&](std::string_view why) {
    return Error{ErrorCode::Io, fmt::format("{}: {}; write a new one with Engine::saveManifest", path, why)};
  };
  std::string_view text(reinterpret_cast<const char *>(file->data()), file->size());
  if (!text.starts_with(kTitle))
    return refuse("no manifest of kernels, or one of another version");
  text.remove_prefix(kTitle.size());
  const std::string_view checksum = takeLine(text);
  if (checksum != fmt::format("{}{}", kChecksum, hex(hashBytes(text.data(), text.size()))))
    return refuse("the manifest is not intact");
  std::vector<std::string> specs;
  while (!text.empty()) {
    const std::string_view line = takeLine(text);
    std::size_t bytes = 0;
    if (!line.starts_with(kKernel) || std::from_chars(line.data() + kKernel.size(), line.data() + line.size(), bytes).ec != std::errc() ||
        bytes > text.size())
      return refuse("the manifest is not intact");
    specs.emplace_back(text.substr(0, bytes));
    text.remove_prefix(bytes);
  }
  return specs;
}

} // namespace

Result<void> EngineImpl::saveManifest(const std::string &path) const {
  std::string body;
  for (const std::string &spec : memory.specs())
    body += fmt::format("{}{}\n{}", kKernel, spec.size(), spec);
  const std::string whole = fmt::format("{}{}{}\n{}", kTitle, kChecksum, hex(hashBytes(body.data(), body.size())), body);
  return writeWholeFile(path, std::as_bytes(std::span(whole)));
}

Result<KernelSource> EngineImpl::warmUpOne(const std::string &text) {
  Result<compiler::KernelSpec> spec = compiler::parseSpec(text);
  if (!spec)
    return spec.error();
  if (spec->D < 1 || spec->D > kMaxHeadDim || spec->Dv < 1 || spec->Dv > kMaxHeadDim)
    return Error{ErrorCode::InvalidArgument, fmt::format("there are no kernels for D = {} and Dv = {}", spec->D, spec->Dv)};
  if (spec->target != target)
    return KernelSource::None;
  const Mod mod(makeModImpl(spec->formula));
  Candidate candidate;
  candidate.report.pipeline = name(spec->backend);
  const Hash128 key = keyOf(*spec, candidate);
  Obtained how;
  const MemoryCache::Obtained obtained =
      memory.obtain({key, std::nullopt, text}, [&] { return makeImageKernel(*spec, key, mod, how, Haste::Ahead); });
  if (!obtained.kernel)
    return obtained.kernel.error();
  return obtained.made ? how.source : KernelSource::Memory;
}

Result<WarmUpReport> EngineImpl::warmUp(const std::string &path) {
  Result<std::vector<std::string>> specs = readManifest(path);
  if (!specs)
    return specs.error();
  specs->resize(std::min(specs->size(), options.memoryCacheKernels));

  WarmUpReport report;
  std::mutex reportMutex;
  std::atomic<std::int64_t> left{static_cast<std::int64_t>(specs->size())};
  const auto body = [&](int) {
    // From the back, so that the most recently used one is that again.
    for (std::int64_t at = --left; at >= 0; at = --left) {
      const Result<KernelSource> made = guarded([&] { return warmUpOne((*specs)[static_cast<std::size_t>(at)]); });
      std::lock_guard lock(reportMutex);
      if (!made) {
        ++report.failed;
        report.problems += made.error().message + "\n";
        continue;
      }
      ++(*made == KernelSource::None     ? report.skipped
         : *made == KernelSource::Memory ? report.present
         : *made == KernelSource::Disk   ? report.fromDisk
                                         : report.compiled);
    }
  };
  const int workers = static_cast<int>(std::min<std::size_t>(static_cast<std::size_t>(site.threads), specs->size()));
  if (workers > 0)
    if (Result<void> ran = runtime::parallelFor(options.hooks.parallelFor, workers, body); !ran)
      return ran.error();
  log(LogLevel::Info, fmt::format("warm-up: {} kernels from disk, {} compiled, {} in memory already, {} for other targets, {} failed",
                                  report.fromDisk, report.compiled, report.present, report.skipped, report.failed));
  return report;
}

} // namespace attnjit::inline v0
