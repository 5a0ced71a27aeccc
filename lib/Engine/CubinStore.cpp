#include "Engine/CubinStore.h"

#include "Compiler/CompilerInterface.h"
#include "attnjit/KernelAbi.h"

#include <fmt/format.h>

namespace attnjit::engine {

namespace {

/// How messages call the kernel.
std::string nameOf(const ImageMetadata &meta) {
  return fmt::format("the {} kernel for {} ({}, D {}, Dv {})", meta.pipeline, meta.cpu, name(meta.qType), meta.D, meta.Dv);
}

/// One for each text, architecture and driver.
Hash128 keyOf(const Hash128 &ptx, const std::string &target) {
  const std::string text =
      fmt::format("attnjit cubin\nabi = {}\nbuild = {}\ntarget = {}\nptx = {}\n", kAbiVersion, compiler::buildId(), target, hex(ptx));
  return hashBytes(text.data(), text.size());
}

ImageMetadata metadataFor(ImageMetadata meta, const std::string &target) {
  meta.kind = ImageKind::Cubin;
  meta.features = target;
  return meta;
}

runtime::CubinCache cacheOf(const std::shared_ptr<CubinStore> &store, const ImageMetadata &meta, const Hash128 &ptx) {
  if (!store || !store->disk)
    return {};
  runtime::CubinCache cache;
  cache.load = [=](const std::string &target) -> std::optional<std::vector<std::byte>> {
    const ImageMetadata wanted = metadataFor(meta, target);
    std::optional<KernelImage> image = store->disk->load(keyOf(ptx, target), [&](const ImageMetadata &found) { return found == wanted; });
    if (!image)
      return std::nullopt;
    ++store->hits;
    return std::move(image->code);
  };
  cache.store = [=](const std::string &target, std::span<const std::byte> cubin) {
    const Result<void> stored = store->disk->store(keyOf(ptx, target), {metadataFor(meta, target), {cubin.begin(), cubin.end()}});
    if (stored) {
      ++store->writes;
      return;
    }
    try {
      if (store->log)
        store->log(LogLevel::Warning, stored.error().message);
    } catch (...) {
      // A logger that fails must not fail the call it reports on.
    }
  };
  return cache;
}

} // namespace

std::shared_ptr<const runtime::GpuProgram> programOf(const KernelImage &image, const std::shared_ptr<CubinStore> &store) {
  const ImageMetadata &meta = image.meta;
  runtime::GpuSource source{
      {reinterpret_cast<const char *>(image.code.data()), image.code.size()}, meta.entry, nameOf(meta), meta.sharedBytes};
  return std::make_shared<const runtime::GpuProgram>(std::move(source), meta.threadsPerBlock, meta.cpu,
                                                     cacheOf(store, meta, hashBytes(image.code.data(), image.code.size())));
}

} // namespace attnjit::engine
