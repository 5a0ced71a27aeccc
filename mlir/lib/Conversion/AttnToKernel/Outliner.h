// Ops of a module -> calls of functions that compute them.
#pragma once

#include "KernelSource.h"
#include "attnjit-mlir/Dialect/Attn/Attn.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/SymbolTable.h"

namespace attnjit::attn {

/// One function, and one kernel, for all ops of a module that agree in formula, types and the roles of their operands.
class Outliner {
public:
  explicit Outliner(mlir::ModuleOp module) : module(module), symbols(module) {}

  /// Makes a kernel for `function`, a declaration whose arguments are the operands of `op` in their order; may give it a body.
  using BuildFn = llvm::function_ref<mlir::LogicalResult(AttentionOp op, KernelSource &source, mlir::func::FuncOp function)>;
  /// Replaces every attn.attention by a call. Fails on the first that is on tensors, that no formula can say, or for which `build` fails.
  mlir::LogicalResult run(BuildFn build);
  /// Adds an op to the module, under a name that nothing else has.
  void insert(mlir::Operation *symbol) { symbols.insert(symbol); }

private:
  mlir::FailureOr<mlir::func::FuncOp> functionOf(AttentionOp op, BuildFn build);

  mlir::ModuleOp module;
  mlir::SymbolTable symbols;
  llvm::StringMap<mlir::func::FuncOp> functions;
};

} // namespace attnjit::attn
