// From an llvm::Module to PTX text for one generation of NVIDIA GPUs:
//
//   prepare    triple, data layout and calling convention of the target   (the "ll" stage is the text after this step)
//   optimize   verifier, then the few passes that pay for themselves: ptxas and the driver optimise again
//   emitPtx    PTX text, complete in itself: a function that it would have to find elsewhere is an error that names it
//
// No CUDA toolkit is needed. Nothing here exits or aborts on a bad module.
#pragma once

#include "Support/TargetDesc.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <memory>
#include <string>

namespace llvm {
class Module;
class TargetMachine;
} // namespace llvm

namespace attnjit::target {

/// Generates PTX for one target. Not thread safe; cheap enough to make one per kernel.
class NvptxBackend {
public:
  /// Fails if this build of LLVM has no such target.
  static llvm::Expected<NvptxBackend> create(const TargetDesc &target);
  NvptxBackend(NvptxBackend &&);
  ~NvptxBackend();

  /// Makes `module` a module of this target: triple and data layout.
  void prepare(llvm::Module &module) const;
  /// Verifies and runs the mid-level passes. Fails on an invalid module with the verifier's words.
  llvm::Error optimize(llvm::Module &module) const;
  /// PTX text. Uses the module up. While it runs, errors that LLVM reports to the module's context become the Error.
  llvm::Expected<std::string> emitPtx(llvm::Module &module) const;

private:
  explicit NvptxBackend(std::unique_ptr<llvm::TargetMachine> machine);
  std::unique_ptr<llvm::TargetMachine> machine;
};

} // namespace attnjit::target
