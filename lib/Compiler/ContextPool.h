// MLIR contexts, each used by one compile at a time. Making one costs milliseconds (dialects, patterns), so they are kept.
#pragma once

#include "Compiler/FunctionCache.h"
#include "Support/ForkMutex.h"
#include "Target/Cpu/CpuBackend.h"
#include "Target/Cpu/ImageLinker.h"
#include "attnjit-mlir/Pipelines/Pipelines.h"

#include "mlir/IR/MLIRContext.h"

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace attnjit::compiler {

/// What compiles of all slots of a pool share.
struct KnownFunctions {
  FunctionCache<target::LinkedCode> phases;
  FunctionCache<std::string> entries; ///< objects
};

/// What one compile needs and the next can use again.
struct CompileSlot {
  explicit CompileSlot(KnownFunctions &known);
  mlir::MLIRContext context;
  pipelines::VectorToLlvm vectorToLlvm;
  KnownFunctions &known;
  int uses = 0;
  /// Made anew where the compile before was for another target.
  llvm::Expected<const target::CpuBackend *> backendFor(const TargetDesc &target);

private:
  std::optional<target::CpuBackend> backend;
};

class ContextPool {
public:
  /// A slot on loan; goes back on destruction.
  class Lease {
  public:
    Lease(ContextPool &pool, std::unique_ptr<CompileSlot> slot) : pool(pool), slot(std::move(slot)) {}
    ~Lease() { pool.giveBack(std::move(slot)); }
    Lease(const Lease &) = delete;
    Lease &operator=(const Lease &) = delete;
    CompileSlot &operator*() { return *slot; }

  private:
    ContextPool &pool;
    std::unique_ptr<CompileSlot> slot;
  };

  /// Never waits: makes a new slot when all are out.
  Lease borrow();

private:
  void giveBack(std::unique_ptr<CompileSlot> slot);

  KnownFunctions known;
  ForkMutex mutex;
  std::vector<std::unique_ptr<CompileSlot>> idle;
};

} // namespace attnjit::compiler
