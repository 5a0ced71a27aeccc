// The stages between a formula and LLVM IR as library functions. Each takes a module that satisfies the post-condition of the stage before
// and leaves one that satisfies its own, or fails with diagnostics on the context:
//
//   stage    the module holds
//   attn     one func.func around one attn.forward
//   tile     one tile.kernel in normal form, nothing else
//   vector   one func.func with the signature of CpuKernelFn and `attnjit.workspace_bytes` (and, with parts,
//            `attnjit.state_row_bytes` and perhaps `attnjit.rounds`), made of arith, math, vector, scf and llvm ops; private ones
//            that it calls
//   gpu      one llvm.func with nvvm.kernel, made of arith, scf, vector, llvm and nvvm ops, beside its shared memory; more in
//            Conversion/TileToGPU/Schedules.h
//   llvm     one llvm.func made of llvm ops that calls nothing by name but private ones beside it; for a GPU also nvvm ops and the
//            shared memory
//
// attnToTile, tileToVector and tileToGpu rewrite in one step; vectorToLlvm is a pass pipeline that a context builds once.
#pragma once

#include "attnjit-mlir/Conversion/TileToGPU/Schedules.h"
#include "attnjit-mlir/Conversion/TileToVector/Schedules.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"

#include <memory>
#include <optional>
#include <string>

namespace llvm {
class LLVMContext;
class Module;
} // namespace llvm

namespace attnjit::pipelines {

/// The stages in MLIR, in order.
enum class MlirStage { Attn, Tile, Vector, Gpu, Llvm };

/// Everything that a context needs for all stages down to LLVM IR.
void registerDialects(mlir::DialectRegistry &registry);

/// Checks the post-condition of a stage, as in the table above; a failure is reported on the op that breaks it.
llvm::LogicalResult verifyStage(mlir::ModuleOp module, MlirStage stage);

/// The CPU lowerings of a tile program (Conversion/TileToVector/Schedules.h): MATH, FLASH_ATTENTION, EFFICIENT_ATTENTION.
enum class CpuSchedule { Generic, Flash, Efficient };

struct CpuOptions {
  CpuSchedule schedule = CpuSchedule::Flash;
  tile::CpuTarget target;
  bool inPhases = false; ///< the phases of a schedule that has them become functions
};

/// Tile sizes which the schedule of `options` wants (Conversion/TileToVector/Schedules.h); the attn stage holds them.
tile::TileSizes chooseTile(const CpuOptions &options, int64_t headDim, int64_t valueDim, int64_t computeBits, bool inBf16);

/// [attn] -> [tile]. `splitKeys`: as the efficient schedule wants it, with tile.split.
llvm::LogicalResult attnToTile(mlir::ModuleOp module, bool splitKeys = false);

/// Why the schedule of `options` cannot take this tile program; empty: it can.
std::optional<std::string> refusal(const tile::TileProgram &program, const CpuOptions &options);

/// [tile] -> [vector]. The caller has asked refusal().
llvm::LogicalResult tileToVector(mlir::ModuleOp module, const CpuOptions &options);

/// [tile] -> [gpu]. The caller has called tile::chooseGpuSchedule() and asked tile::gpuRefusal().
llvm::LogicalResult tileToGpu(mlir::ModuleOp module, const tile::GpuTarget &target);

/// Adds the passes of [vector] -> [llvm], which are those of [gpu] -> [llvm] too.
void buildVectorToLlvm(mlir::OpPassManager &passes);

/// [vector] or [gpu] -> [llvm] for modules of one context. Patterns are collected and frozen once per object, not per module.
class VectorToLlvm {
public:
  explicit VectorToLlvm(mlir::MLIRContext *context);
  llvm::LogicalResult run(mlir::ModuleOp module);

private:
  mlir::PassManager passes;
};

/// [llvm] -> [ll]. Null, with diagnostics on the MLIR context, on failure.
std::unique_ptr<llvm::Module> llvmToLl(mlir::ModuleOp module, llvm::LLVMContext &context);

/// The one op of type `Op` at the top of a module; null if there is none.
template <typename Op> Op singleOp(mlir::ModuleOp module) {
  auto ops = module.getOps<Op>();
  return ops.empty() ? Op() : *ops.begin();
}

} // namespace attnjit::pipelines
