// From an llvm::Module to position-independent machine code for a CPU, in four steps that can each be taken alone:
//
//   prepare    triple, data layout and function attributes of the target, what it lacks spelled out   (the "ll" stage is the text after
//              this step)
//   optimize   verifier, then the few passes that pay for themselves
//   emit       "asm" text or an "obj" (ELF); assemble() leads from the first to the second
//   linkImage  the object becomes one block of bytes that runs wherever it is mapped        (ImageLinker.h)
//
// Nothing here exits or aborts on a bad module: every LLVMContext made by createCpuContext() collects diagnostics instead.
#pragma once

#include "Support/TargetDesc.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <memory>
#include <string>

namespace llvm {
class LLVMContext;
class Module;
class TargetMachine;
} // namespace llvm

namespace attnjit::target {

/// A context whose errors are collected (takeDiagnostics) instead of ending the process, and whose code generation leaves out loop
/// strength reduction: it costs a third of the time, and our lowerings emit their own carried offsets.
std::unique_ptr<llvm::LLVMContext> createCpuContext();

/// The errors which LLVM has reported to a context of createCpuContext() since the last call, one per line; empty if none.
std::string takeDiagnostics(llvm::LLVMContext &context);

/// Parses the text of an "ll" stage and verifies the module. The error holds LLVM's message with line and column.
llvm::Expected<std::unique_ptr<llvm::Module>> parseLl(llvm::StringRef text, llvm::LLVMContext &context);

/// A target in LLVM's words: a CPU it knows, and what that lacks.
struct LlvmCpu {
  std::string name, features;
};
LlvmCpu llvmCpu(const TargetDesc &target);

/// Generates code for one target, module after module. Not thread safe; what LLVM knows of a target takes milliseconds to make.
class CpuBackend {
public:
  /// Fails if this build of LLVM has no such target.
  static llvm::Expected<CpuBackend> create(const TargetDesc &target);
  CpuBackend(CpuBackend &&);
  ~CpuBackend();

  const TargetDesc &target() const { return desc; }
  /// Makes `module` a module of this target: triple, data layout, and the attributes of every function.
  void prepare(llvm::Module &module) const;
  /// Verifies and runs the mid-level passes. Fails on an invalid module with the verifier's words.
  llvm::Error optimize(llvm::Module &module) const;
  /// Bytes of a relocatable ELF object. Uses the module up.
  llvm::Expected<std::string> emitObject(llvm::Module &module) const;
  /// Assembly text of what emitObject would make; the module stays as it was.
  llvm::Expected<std::string> emitAssembly(const llvm::Module &module) const;
  /// The object of an assembly text. Errors carry line and column.
  llvm::Expected<std::string> assemble(llvm::StringRef text) const;

private:
  explicit CpuBackend(std::unique_ptr<llvm::TargetMachine> machine, const TargetDesc &desc);
  llvm::Expected<std::string> emit(llvm::Module &module, bool assembly) const;

  std::unique_ptr<llvm::TargetMachine> machine;
  TargetDesc desc;
};

} // namespace attnjit::target
