// The image's byte format:  magic (8) | format version u32 | body size u64 | body hash u64 | body.  All integers little endian.
// The body is the metadata, field by field in declaration order, then the code. Strings and lists carry a length that is checked
// against what is left before it is used.
#include "Support/KernelImage.h"
#include "attnjit/KernelAbi.h"

#include <bit>
#include <cstring>
#include <fmt/format.h>
#include <type_traits>

#define XXH_INLINE_ALL
#include <xxhash.h>

static_assert(std::endian::native == std::endian::little, "images are written in host order; only little-endian hosts are supported");

namespace attnjit {

namespace {

constexpr char kMagic[8] = {'a', 't', 't', 'n', 'j', 'i', 't', '\n'};
constexpr std::uint32_t kFormatVersion = 6;
constexpr std::size_t kHeaderBytes = sizeof(kMagic) + sizeof(kFormatVersion) + 2 * sizeof(std::uint64_t);

/// Reader and Writer share one field list (visitMetadata), so that they cannot drift apart.
struct Writer {
  std::vector<std::byte> bytes;
  void raw(const void *data, std::size_t size) {
    const auto *first = static_cast<const std::byte *>(data);
    bytes.insert(bytes.end(), first, first + size);
  }
  template <typename T>
    requires(std::is_trivially_copyable_v<T>)
  void operator()(T &value) {
    raw(&value, sizeof value);
  }
  template <typename T> void operator()(std::optional<T> &value) {
    bool present = value.has_value();
    (*this)(present);
    if (present)
      (*this)(*value);
  }
  void operator()(std::string &text) {
    std::uint64_t size = text.size();
    (*this)(size);
    raw(text.data(), text.size());
  }
  template <typename T> void operator()(std::vector<T> &list) {
    std::uint64_t size = list.size();
    (*this)(size);
    for (T &element : list)
      visitElement(*this, element);
  }
};

struct Reader {
  std::span<const std::byte> rest;
  bool ok = true;

  bool take(void *out, std::size_t size) {
    if (!ok || size > rest.size())
      return ok = false;
    if (size != 0) // an image without code: memcpy must not see its null pointer
      std::memcpy(out, rest.data(), size);
    rest = rest.subspan(size);
    return true;
  }
  template <typename T>
    requires(std::is_trivially_copyable_v<T>)
  void operator()(T &value) {
    take(&value, sizeof value);
  }
  // A bool or enum of any other bit pattern would be undefined behaviour to hold.
  void operator()(bool &value) {
    std::uint8_t byte = 0;
    take(&byte, 1);
    ok = ok && byte <= 1;
    value = byte == 1;
  }
  void operator()(DType &value) {
    std::uint8_t byte = 0;
    take(&byte, 1);
    ok = ok && byte <= static_cast<std::uint8_t>(DType::I64);
    value = ok ? static_cast<DType>(byte) : DType::F32;
  }
  void operator()(ImageKind &value) {
    std::uint8_t byte = 0;
    take(&byte, 1);
    ok = ok && byte <= static_cast<std::uint8_t>(ImageKind::CpuAArch64);
    value = ok ? static_cast<ImageKind>(byte) : ImageKind::CpuX86_64;
  }
  template <typename T> void operator()(std::optional<T> &value) {
    bool present = false;
    (*this)(present);
    value.reset();
    if (present)
      (*this)(value.emplace());
  }
  std::uint64_t length() {
    std::uint64_t size = 0;
    (*this)(size);
    if (size > rest.size()) // every element takes at least one byte
      ok = false;
    return ok ? size : 0;
  }
  void operator()(std::string &text) {
    text.resize(length());
    take(text.data(), text.size());
  }
  template <typename T> void operator()(std::vector<T> &list) {
    std::uint64_t size = length();
    for (std::uint64_t i = 0; ok && i < size; ++i)
      visitElement(*this, list.emplace_back());
  }
};

template <typename Visitor> void visitElement(Visitor &visit, CaptureMeta &capture) {
  visit(capture.name);
  visit(capture.dtype);
  visit(capture.rank);
}

template <typename Visitor> void visitElement(Visitor &visit, ScalarMeta &scalar) {
  visit(scalar.name);
  visit(scalar.isFloat);
}

template <typename Visitor> void visitMetadata(Visitor &visit, ImageMetadata &meta) {
  visit(meta.abiVersion);
  visit(meta.buildId);
  visit(meta.kind);
  visit(meta.pipeline);
  visit(meta.triple);
  visit(meta.cpu);
  visit(meta.features);
  visit(meta.entry);
  visit(meta.entryOffset);
  visit(meta.qType);
  visit(meta.kvType);
  visit(meta.outType);
  visit(meta.D);
  visit(meta.Dv);
  visit(meta.contiguous);
  visit(meta.paged);
  visit(meta.checkedIndices);
  visit(meta.narrowIndices);
  visit(meta.sinks);
  visit(meta.hasMask);
  visit(meta.hasClosedForm);
  visit(meta.tileRows);
  visit(meta.tileCols);
  visit(meta.workspaceBytes);
  visit(meta.stateRowBytes);
  visit(meta.rounds);
  visit(meta.callsFunctions);
  visit(meta.threadsPerBlock);
  visit(meta.sharedBytes);
  visit(meta.qBoxRows);
  visit(meta.kvBoxRows);
  visit(meta.captures);
  visit(meta.scalars);
  visit(meta.problemText);
}

Error corrupt(std::string_view why) { return {ErrorCode::Io, fmt::format("not a usable kernel image: {}", why)}; }

} // namespace

std::vector<std::byte> serialize(const KernelImage &image) {
  Writer body;
  ImageMetadata meta = image.meta;
  visitMetadata(body, meta);
  std::uint64_t codeSize = image.code.size();
  body(codeSize);
  body.raw(image.code.data(), image.code.size());

  Writer file;
  file.raw(kMagic, sizeof kMagic);
  std::uint32_t version = kFormatVersion;
  file(version);
  std::uint64_t size = body.bytes.size(), checksum = XXH3_64bits(body.bytes.data(), body.bytes.size());
  file(size);
  file(checksum);
  file.raw(body.bytes.data(), body.bytes.size());
  return std::move(file.bytes);
}

std::vector<std::span<const std::byte>> splitImages(std::span<const std::byte> bytes) {
  std::vector<std::span<const std::byte>> images;
  for (std::span<const std::byte> rest = bytes; !rest.empty();) {
    std::uint64_t bodyBytes = 0;
    if (rest.size() < kHeaderBytes || std::memcmp(rest.data(), kMagic, sizeof kMagic) != 0)
      return {bytes};
    std::memcpy(&bodyBytes, rest.data() + sizeof kMagic + sizeof kFormatVersion, sizeof bodyBytes);
    if (bodyBytes > rest.size() - kHeaderBytes)
      return {bytes};
    images.push_back(rest.first(kHeaderBytes + bodyBytes));
    rest = rest.subspan(kHeaderBytes + bodyBytes);
  }
  return images;
}

Result<KernelImage> deserialize(std::span<const std::byte> bytes) {
  if (bytes.size() < kHeaderBytes || std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0)
    return corrupt("it does not begin with attnjit's mark");
  Reader read{bytes.subspan(sizeof kMagic)};
  std::uint32_t version = 0;
  std::uint64_t size = 0, checksum = 0;
  read(version);
  read(size);
  read(checksum);
  if (version != kFormatVersion)
    return corrupt(fmt::format("its format version is {}, this library reads {}", version, kFormatVersion));
  if (size != read.rest.size())
    return corrupt(fmt::format("its header promises {} bytes, {} follow (truncated?)", size, read.rest.size()));
  if (checksum != XXH3_64bits(read.rest.data(), read.rest.size()))
    return corrupt("its checksum does not match");

  KernelImage image;
  visitMetadata(read, image.meta);
  image.code.resize(read.length());
  read.take(image.code.data(), image.code.size());
  if (!read.ok || !read.rest.empty())
    return corrupt("its fields do not add up");
  if (image.meta.abiVersion != kAbiVersion)
    return corrupt(fmt::format("it was built for ABI version {}, this library has {}", image.meta.abiVersion, kAbiVersion));
  if (isCpu(image.meta.kind) && !image.code.empty() && image.meta.entryOffset >= image.code.size())
    return corrupt("its entry point lies outside its code");
  return image;
}

} // namespace attnjit
