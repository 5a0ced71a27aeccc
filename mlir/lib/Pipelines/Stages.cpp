#include "attnjit-mlir/Pipelines/Pipelines.h"

#include "attnjit-mlir/Conversion/AttnToTile/AttnToTile.h"
#include "attnjit-mlir/Dialect/Tile/Tile.h"

using namespace mlir;

namespace attnjit::pipelines {

llvm::LogicalResult attnToTile(ModuleOp module) {
  if (failed(verifyStage(module, MlirStage::Attn)))
    return failure();
  attn::ForwardOp forward;
  module.walk([&](attn::ForwardOp op) { forward = op; });
  if (failed(attn::lowerToTile(forward)))
    return failure();
  return verifyStage(module, MlirStage::Tile);
}

std::optional<std::string> refusal(const tile::TileProgram &program, const CpuOptions &options) {
  // The generic lowering takes every legal program.
  return options.flash ? tile::flashRefusal(program, options.target) : std::nullopt;
}

/// The program of the module's one kernel.
static FailureOr<tile::TileProgram> programOf(ModuleOp module) {
  auto kernel = singleOp<tile::KernelOp>(module);
  if (!kernel)
    return module.emitOpError("holds no tile.kernel");
  return tile::TileProgram::match(kernel);
}

llvm::LogicalResult tileToVector(ModuleOp module, const CpuOptions &options) {
  FailureOr<tile::TileProgram> program = programOf(module);
  if (failed(program))
    return failure();
  if (failed(options.flash ? tile::lowerFlash(*program, options.target) : tile::lowerGeneric(*program, options.target)))
    return failure();
  return verifyStage(module, MlirStage::Vector);
}

llvm::LogicalResult tileToGpu(ModuleOp module, const tile::GpuTarget &target) {
  FailureOr<tile::TileProgram> program = programOf(module);
  if (failed(program) || failed(tile::lowerMmaSync(*program, target)))
    return failure();
  return verifyStage(module, MlirStage::Gpu);
}

} // namespace attnjit::pipelines
