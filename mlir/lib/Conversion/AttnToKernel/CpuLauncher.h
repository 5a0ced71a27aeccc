// The function that stands between a module of somebody else's and a kernel: it fills in KernelArgs and hands out tiles.
#pragma once

#include "attnjit-mlir/Conversion/TileToVector/Schedules.h"
#include "attnjit-mlir/Dialect/Attn/Attn.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

namespace attnjit::attn {

/// A kernel in the module, and what its launcher has to know (KernelAbi.h).
struct CpuKernel {
  mlir::LLVM::LLVMFuncOp function;
  tile::TileSizes tile;
  int64_t workspaceBytes;
  bool hasParts; ///< units are parts, of the rows of all heads of a kv head; else tiles
  bool checksIndices;
};

/// Fills in the body of `launcher`, whose arguments are the operands of `op` in their order.
void buildCpuLauncher(AttentionOp op, const CpuKernel &kernel, mlir::func::FuncOp launcher);

} // namespace attnjit::attn
