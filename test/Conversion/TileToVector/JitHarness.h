// Runs what TileToVector emits: MLIR in the vector stage -> LLVM -> linked image -> callable memory. For tests of this room only; the
// product's own way is lib/Compiler and lib/Runtime.
#pragma once

#include "Support/TargetDesc.h"
#include "attnjit/KernelAbi.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace llvm {
class Module;
}

namespace attnjit::testing {

/// Code of one kernel in executable memory.
class JitKernel {
public:
  JitKernel(const JitKernel &) = delete;
  ~JitKernel();
  CpuKernelFn entry() const { return function; }
  std::uint64_t workspaceBytes = 0;

private:
  friend std::unique_ptr<JitKernel> compileVectorStage(mlir::ModuleOp, const TargetDesc &, std::string &);
  JitKernel() = default;
  void *memory = nullptr;
  std::size_t mappedBytes = 0;
  CpuKernelFn function = nullptr;
};

/// A context with all dialects; failures of parsing and lowering end in `diagnostics`.
std::unique_ptr<mlir::MLIRContext> makeContext(std::string &diagnostics);

/// Compiles the one function of `module`. Null on failure, with the reason in `message`.
std::unique_ptr<JitKernel> compileVectorStage(mlir::ModuleOp module, const TargetDesc &target, std::string &message);

/// Targets that this machine can run: one for each kind of vector.
std::vector<TargetDesc> runnableTargets();

/// Those that multiply bf16. Where the machine lacks AMX alone, TileEmulator.cpp stands in for it.
std::vector<TargetDesc> bf16Targets();

/// Replaces AMX instructions by calls to functions that do the same.
void emulateTiles(llvm::Module &module);

/// A function table that calls libm.
const FunctionTable &libmTable();

} // namespace attnjit::testing
