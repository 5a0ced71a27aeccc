// Expands the scalar body of a map (score_mod, mask_mod) on whatever a schedule calls an element.
//
// A CPU schedule's element is one native vector of `lanes` values whose positions are (b, h) uniform and q and kv each either a
// scalar (the same for every lane) or a vector (one per lane). Values of the body are computed at the level of what they depend on: uniform
// ones once as scalars, q-only or kv-only ones once per bind, only the rest per element. Usage:
//
//   MapExpander score(builder, loc, program, *program.score, abi, lanes);
//   score.bindHeads(b, h);                    // at the top of the tile
//   score.bindQuery(qVector);                 // e.g. per panel: emits everything that depends on (b, h, q) only
//   score.bindKey(kvScalar);                  // per row of the panel
//   MapResult r = score.expand(s);            // per element
//
// bindQuery and bindKey may come in either order and be repeated; a later bind forgets what hung on the earlier one. Each bind emits at the builder's insertion
// point, which must dominate later uses.
#pragma once

#include "attnjit-mlir/Conversion/TileToVector/KernelFrame.h"
#include "mlir/IR/IRMapping.h"

namespace attnjit::tile {

struct MapResult {
  mlir::Value value;      ///< vector<lanes x computeType> or vector<lanes x i1>; may be a scalar if the whole body was uniform: use splat()
  mlir::Value outOfRange; ///< vector<lanes x i1> (or scalar i1): a captured index left its tensor here; null if none can (A10)
};

class MapExpander {
public:
  MapExpander(mlir::OpBuilder &builder, mlir::Location loc, const TileProgram &program, mlir::Region &body, AbiAccess &abi, int64_t lanes);

  /// b, h: scalars of program.indexType. Captured scalars are read here too.
  void bindHeads(mlir::Value b, mlir::Value h);
  /// Scalar or vector<lanes> of program.indexType. Lanes past the end must be clamped to the last valid index by the caller.
  void bindQuery(mlir::Value q);
  void bindKey(mlir::Value kv);
  /// The rest of the body. `score` is null for a mask, else vector<lanes x computeType>.
  MapResult expand(mlir::Value score);

  /// Broadcasts a scalar to a vector of `lanes`; vectors pass through.
  mlir::Value splat(mlir::Value value);

private:
  void emitReady();
  mlir::OpBuilder &builder;
  mlir::Location loc;
  const TileProgram &program;
  mlir::Region &body;
  AbiAccess &abi;
  int64_t lanes;
  mlir::IRMapping heads, query, key; // values known after each bind
};

/// Lowers the (b, h, q, kv) codes of lanes in `outOfRange and visible` into the status word, atomically keeping the smallest. Emits nothing if outOfRange is null.
/// q and kv: scalar or vector of index type; visible: vector<lanes x i1> or null for all.
void emitReport(mlir::OpBuilder &builder, mlir::Location loc, AbiAccess &abi, mlir::Value outOfRange, mlir::Value visible, mlir::Value b,
                mlir::Value h, mlir::Value q, mlir::Value kv, int64_t lanes);

} // namespace attnjit::tile
