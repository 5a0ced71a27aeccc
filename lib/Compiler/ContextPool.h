// MLIR contexts, each used by one compile at a time. Making one costs milliseconds (dialects, patterns), so they are kept.
#pragma once

#include "Support/ForkMutex.h"
#include "attnjit-mlir/Pipelines/Pipelines.h"

#include "mlir/IR/MLIRContext.h"

#include <memory>
#include <mutex>
#include <vector>

namespace attnjit::compiler {

/// What one compile needs and the next can use again.
struct CompileSlot {
  CompileSlot();
  mlir::MLIRContext context;
  pipelines::VectorToLlvm vectorToLlvm;
  int uses = 0;
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

  ForkMutex mutex;
  std::vector<std::unique_ptr<CompileSlot>> idle;
};

} // namespace attnjit::compiler
