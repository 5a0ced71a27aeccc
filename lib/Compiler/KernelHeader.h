// What every stage text carries besides its code, so that compilation can go on from it: the spec, and what later stages have found out
// about the kernel. As text it is print(KernelSpec) with a few more `key = value` lines in front.
#pragma once

#include "Compiler/CompilerInterface.h"

namespace attnjit::compiler {

struct KernelHeader {
  KernelSpec spec; ///< with the tile sizes that were chosen
  bool hasMask = false;
  bool hasClosedForm = false;
  std::uint64_t workspaceBytes = 0;                   ///< CPU
  std::uint64_t stateRowBytes = 0;                    ///< as in ImageMetadata
  std::uint32_t rounds = 1;                           ///< CPU; as in ImageMetadata
  bool callsFunctions = false;                        ///< CPU; as in ImageMetadata
  std::uint32_t threadsPerBlock = 0, sharedBytes = 0; ///< GPU only
  std::uint32_t qBoxRows = 0, kvBoxRows = 0;          ///< GPU only; as in ImageMetadata
};

/// The symbol of every kernel; one kernel is one module.
inline constexpr std::string_view kEntryName = "attention";

std::string print(const KernelHeader &header);
/// Reads what print() wrote; lines may come in any order before `formula:`. The error names the line.
Result<KernelHeader> parseHeader(std::string_view text);

/// In front of an image's problem text: it was compiled from an edited text of the named stage, so `formula:` is what the text was made
/// from, and not necessarily what it computes. The launcher then makes no plan.
std::string editedMark(Stage stage);

/// Metadata of the image that the header describes; entryOffset is left for the linker.
ImageMetadata metadataOf(const KernelHeader &header, std::string_view buildId);

} // namespace attnjit::compiler
