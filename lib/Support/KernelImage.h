// A compiled kernel as data: code bytes plus everything a launcher must know, with no pointer into the compiler.
//
// The same bytes run fresh from the JIT, from the disk cache and from a file saved ahead of time; there is one execution path. CPU
// code is already linked and position independent; GPU code is PTX text, or that text assembled.
#pragma once

#include "attnjit/Result.h"
#include "attnjit/Types.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace attnjit {

/// Ptx runs on every GPU that has what its `cpu` names, once the driver has assembled it.
enum class ImageKind : std::uint8_t { CpuX86_64 = 0, Ptx = 1, CpuAArch64 = 2 };
inline bool isCpu(ImageKind kind) { return kind != ImageKind::Ptx; }

/// Begins the problem text of an image that was compiled from an edited text of a later stage than attn: there the formula is no longer
/// certain to be what the code computes, and nobody may plan by it.
inline constexpr std::string_view kEditedKey = "edited = ";

/// What the kernel expects behind KernelArgs::captures[i].
struct CaptureMeta {
  std::string name;
  DType dtype = DType::F32;
  int rank = 0;
  bool operator==(const CaptureMeta &) const = default;
};

/// What the kernel expects behind KernelArgs::scalars[i].
struct ScalarMeta {
  std::string name;
  bool isFloat = false;
  bool operator==(const ScalarMeta &) const = default;
};

/// Everything that was compiled in, and how to launch.
struct ImageMetadata {
  std::uint32_t abiVersion = 0;
  std::string buildId; ///< of the compiler; an image of another build is a cache miss
  ImageKind kind = ImageKind::CpuX86_64;
  std::string pipeline;          ///< "MATH", "FLASH_ATTENTION", "EFFICIENT_ATTENTION" or an embedder's name
  std::string triple;            ///< e.g. x86_64-pc-linux-gnu
  std::string cpu;               ///< e.g. znver4, sm_80
  std::string features;          ///< required CPU features, comma separated: "avx2,fma"
  std::string entry;             ///< symbol name
  std::uint64_t entryOffset = 0; ///< of the entry point in `code` (CPU)
  DType qType = DType::F32, kvType = DType::F32, outType = DType::F32;
  std::int64_t D = 0, Dv = 0;
  bool contiguous = true;      ///< stride class: last strides are 1 (q, k, v); else any strides
  bool paged = false;          ///< k and v lie in pages (KernelArgs::pages)
  bool checkedIndices = false; ///< captured indices are checked at run time (A10)
  bool narrowIndices = true;   ///< indices and int scalars were assumed to lie within +-2^30
  std::optional<DType> sinks;  ///< element type of the attention sinks; empty: the kernel has none
  bool hasMask = false;
  bool hasClosedForm = false;       ///< the kernel narrows its runs by itself; a plan is optional
  std::int64_t tileRows = 0;        ///< query rows per tile; with parts, packed rows
  std::int64_t tileCols = 0;        ///< keys per block
  std::uint64_t workspaceBytes = 0; ///< per concurrent call
  std::uint64_t stateRowBytes = 0;  ///< 0: units are tiles; else they are parts (KernelAbi.h), with states of so many bytes per row
  std::uint32_t rounds = 1;         ///< 2: several parts are gone through twice (KernelAbi.h)
  bool callsFunctions = false;      ///< it calls through KernelArgs::functions (CPU)
  std::uint32_t threadsPerBlock = 0, sharedBytes = 0; ///< GPU only
  /// GPU only. 0: one thread block per tile, whose one parameter is KernelArgs. Else the kernel wants aligned operands
  /// (KernelSpec::aligned), three tensor maps with boxes of so many rows, and two counters, and its blocks take tiles until there are none
  /// (Conversion/TileToGPU/Schedules.h).
  std::uint32_t qBoxRows = 0, kvBoxRows = 0;
  std::vector<CaptureMeta> captures;
  std::vector<ScalarMeta> scalars;
  std::string problemText; ///< canonical formula and problem, for people and reproducers
  /// The code computes `problemText`'s formula (see kEditedKey).
  bool followsFormula() const { return !problemText.starts_with(kEditedKey); }
  bool operator==(const ImageMetadata &) const = default;
};

struct KernelImage {
  ImageMetadata meta;
  std::vector<std::byte> code;
};

/// Bytes with magic, version and checksum, so that deserialize can tell a whole image from anything else.
std::vector<std::byte> serialize(const KernelImage &image);

/// The images of a fat artefact, which are written one after the other; all of `bytes` where that is no row of images.
std::vector<std::span<const std::byte>> splitImages(std::span<const std::byte> bytes);

/// Rejects truncated, foreign, corrupt or other-version bytes with ErrorCode::Io; never trusts a length it has not checked.
Result<KernelImage> deserialize(std::span<const std::byte> bytes);

} // namespace attnjit
