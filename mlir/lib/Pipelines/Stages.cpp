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

llvm::LogicalResult tileToVector(ModuleOp module, const CpuOptions &options) {
  auto kernel = singleOp<tile::KernelOp>(module);
  if (!kernel)
    return module.emitOpError("holds no tile.kernel");
  FailureOr<tile::TileProgram> program = tile::TileProgram::match(kernel);
  if (failed(program))
    return failure();
  if (failed(options.flash ? tile::lowerFlash(*program, options.target) : tile::lowerGeneric(*program, options.target)))
    return failure();
  return verifyStage(module, MlirStage::Vector);
}

} // namespace attnjit::pipelines
