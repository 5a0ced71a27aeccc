// Everything of attnjit that a compiler built on MLIR can use, registered in one go. What attnjit-opt and the plugin do first; nothing
// registers itself.
#pragma once

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace attnjit {

/// The dialects attn and tile, and what attn.attention implements for bufferization and tiling.
void registerAllDialects(mlir::DialectRegistry &registry);

/// Our passes and the pipeline attn-lower-to-llvm.
void registerAllPasses();

} // namespace attnjit
