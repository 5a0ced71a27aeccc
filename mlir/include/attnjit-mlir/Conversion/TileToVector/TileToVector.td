//===- TileToVector.td - pass convert-tile-to-vector ------------------------------------------------------------------===//
#ifndef ATTNJIT_CONVERSION_TILETOVECTOR_TD
#define ATTNJIT_CONVERSION_TILETOVECTOR_TD

include "mlir/Pass/PassBase.td"

def ConvertTileToVectorPass : Pass<"convert-tile-to-vector", "::mlir::ModuleOp"> {
  let summary = "Replaces each tile.kernel by a function for the CPU";
  let description = [{
    Before: `tile.kernel @f` in normal form (tile-verify).

    After: `func.func @f(%args: !llvm.ptr, %begin: i64, %end: i64, %workspace: !llvm.ptr)` with the ABI of CpuKernelFn (attnjit/KernelAbi.h) and the
    attribute `attnjit.workspace_bytes`. Memory is reached through LLVM dialect loads and stores of scalars and native vectors, arithmetic
    is arith and vector, control flow scf. No op is left that would become a call into libm or compiler-rt.

    `pipeline=math` lowers op by op through buffers and accepts every program. `pipeline=flash` is the transposed flash schedule and
    `pipeline=efficient` the streaming one of split programs, which also sets `attnjit.state_row_bytes` and, for two passes, `attnjit.rounds`; they fail with
    their reason on a program that they cannot schedule.
  }];
  let options = [
    Option<"pipeline", "pipeline", "std::string", "\"math\"", "math, flash or efficient">,
    Option<"vectorBits", "vector-bits", "int64_t", "256", "width of a native vector: 128 (SSE, NEON), 256 (AVX2) or 512 (AVX-512)">,
    Option<"bf16", "bf16", "std::string", "\"none\"", "what multiplies bf16: none, vector (AVX-512 BF16) or tile (AMX)">,
  ];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect", "::mlir::scf::SCFDialect",
                           "::mlir::vector::VectorDialect"];
}

#endif // ATTNJIT_CONVERSION_TILETOVECTOR_TD
