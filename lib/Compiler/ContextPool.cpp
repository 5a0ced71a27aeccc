#include "Compiler/ContextPool.h"

namespace attnjit::compiler {

namespace {

// A context never frees the types and constants it has seen; a fresh one after this many compiles bounds what a long-lived process keeps.
constexpr int kMaxUses = 256;
// Idle contexts beyond this are freed: a burst of parallel compiles should not hold memory for ever.
constexpr std::size_t kMaxIdle = 4;

mlir::DialectRegistry makeRegistry() {
  mlir::DialectRegistry registry;
  pipelines::registerDialects(registry);
  return registry;
}

} // namespace

CompileSlot::CompileSlot(KnownFunctions &known)
    // Threads belong to the embedder: MLIR starts none of its own.
    : context(makeRegistry(), mlir::MLIRContext::Threading::DISABLED),
      // The pipeline looks for conversion interfaces on loaded dialects.
      vectorToLlvm((context.loadAllAvailableDialects(), &context)), known(known) {}

llvm::Expected<const target::CpuBackend *> CompileSlot::backendFor(const TargetDesc &target) {
  if (!backend || backend->target() != target) {
    llvm::Expected<target::CpuBackend> made = target::CpuBackend::create(target);
    if (!made)
      return made.takeError();
    backend.reset();
    backend.emplace(std::move(*made));
  }
  return &*backend;
}

ContextPool::Lease ContextPool::borrow() {
  {
    std::lock_guard lock(mutex);
    if (!idle.empty()) {
      std::unique_ptr<CompileSlot> slot = std::move(idle.back());
      idle.pop_back();
      return Lease(*this, std::move(slot));
    }
  }
  return Lease(*this, std::make_unique<CompileSlot>(known));
}

void ContextPool::giveBack(std::unique_ptr<CompileSlot> slot) {
  if (++slot->uses >= kMaxUses)
    return;
  std::lock_guard lock(mutex);
  if (idle.size() < kMaxIdle)
    idle.push_back(std::move(slot));
}

} // namespace attnjit::compiler
