#include "attnjit-mlir/Pipelines/Pipelines.h"

#include "attnjit-mlir/Conversion/AttnToTile/AttnToTile.h"
#include "attnjit-mlir/Dialect/Tile/Tile.h"

using namespace mlir;

namespace attnjit::pipelines {

llvm::LogicalResult attnToTile(ModuleOp module, bool splitKeys) {
  if (failed(verifyStage(module, MlirStage::Attn)))
    return failure();
  attn::ForwardOp forward;
  module.walk([&](attn::ForwardOp op) { forward = op; });
  if (failed(attn::lowerToTile(forward, splitKeys)))
    return failure();
  return verifyStage(module, MlirStage::Tile);
}

tile::TileSizes chooseTile(const CpuOptions &options, int64_t headDim, int64_t valueDim, int64_t computeBits, bool inBf16) {
  switch (options.schedule) {
  case CpuSchedule::Generic:
    return tile::chooseGenericTile(headDim, valueDim);
  case CpuSchedule::Flash:
    return tile::chooseFlashTile(headDim, valueDim, computeBits, inBf16, options.target);
  case CpuSchedule::Efficient:
    return tile::chooseEfficientTile(headDim, valueDim, options.target);
  }
  llvm_unreachable("all schedules are listed");
}

std::optional<std::string> refusal(const tile::TileProgram &program, const CpuOptions &options) {
  switch (options.schedule) {
  case CpuSchedule::Generic:
    return std::nullopt; // it takes every legal program
  case CpuSchedule::Flash:
    return tile::flashRefusal(program, options.target);
  case CpuSchedule::Efficient:
    return tile::efficientRefusal(program, options.target);
  }
  llvm_unreachable("all schedules are listed");
}

/// The program of the module's one kernel.
static FailureOr<tile::TileProgram> programOf(ModuleOp module) {
  auto kernel = singleOp<tile::KernelOp>(module);
  if (!kernel)
    return module.emitOpError("holds no tile.kernel");
  return tile::TileProgram::match(kernel);
}

static llvm::LogicalResult lower(const tile::TileProgram &program, const CpuOptions &options) {
  switch (options.schedule) {
  case CpuSchedule::Generic:
    return tile::lowerGeneric(program, options.target);
  case CpuSchedule::Flash:
    return tile::lowerFlash(program, options.target, options.inPhases);
  case CpuSchedule::Efficient:
    return tile::lowerEfficient(program, options.target);
  }
  llvm_unreachable("all schedules are listed");
}

llvm::LogicalResult tileToVector(ModuleOp module, const CpuOptions &options) {
  FailureOr<tile::TileProgram> program = programOf(module);
  if (failed(program) || failed(lower(*program, options)))
    return failure();
  return verifyStage(module, MlirStage::Vector);
}

llvm::LogicalResult tileToGpu(ModuleOp module, const tile::GpuTarget &target) {
  FailureOr<tile::TileProgram> program = programOf(module);
  if (failed(program) || failed(tile::lowerForGpu(*program, target)))
    return failure();
  return verifyStage(module, MlirStage::Gpu);
}

} // namespace attnjit::pipelines
