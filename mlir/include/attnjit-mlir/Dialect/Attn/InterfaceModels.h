// What attn.attention does for the passes of other dialects, as external models, so that the dialect itself depends on none of them.
#pragma once

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace attnjit::attn {

/// BufferizableOpInterface: results are written into the buffers of `outs`, which are not read; nothing else is written.
void registerBufferizableOpInterfaceExternalModels(mlir::DialectRegistry &registry);

/// TilingInterface over batch, head and query, all parallel. A tile keeps its place in the regions by `offsets`. Heads that share keys stay
/// together or lie within one group: the number of heads of a tile has to divide Hq / Hkv or be a multiple of it, which it does if it is 1.
void registerTilingInterfaceExternalModels(mlir::DialectRegistry &registry);

} // namespace attnjit::attn
