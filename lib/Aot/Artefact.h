// One problem compiled for several targets, and the texts that are made of it.
#pragma once

#include "Aot/AotArguments.h"
#include "Support/KernelImage.h"
#include "Support/TargetDesc.h"

#include <string>
#include <vector>

namespace attnjit::aot {

struct TargetImage {
  TargetDesc target;
  KernelImage image;
};

struct Program {
  std::string name;
  AotKind kind = AotKind::Runtime;
  Mod mod;
  AotArguments arguments;
  std::vector<TargetImage> images; ///< what a machine would rather have comes first
  std::vector<std::string> files;  ///< their names, for the manifest
  const ImageMetadata &meta() const { return images.front().image.meta; }
  bool forGpu() const { return meta().kind == ImageKind::Ptx; }
  std::uint64_t workspaceBytes() const; ///< that serves every target
  bool callsFunctions() const;
};

/// NAME.h.
std::string headerText(const Program &program);
/// NAME.json.
std::string manifestText(const Program &program);
/// LLVM IR around the code of all images for one architecture: the functions of kind Bare.
std::string bareModule(const Program &program, const std::string &triple);
/// LLVM IR that hands the images to libattnjit: the functions of kind Runtime.
std::string runtimeModule(const Program &program);
/// All images one after the other.
std::string imageBytes(const Program &program);

/// `name:` with `bytes` behind it as assembler directives, each line as an IR module wants it ("module asm").
std::string assemblyBytes(std::string_view bytes);

} // namespace attnjit::aot
